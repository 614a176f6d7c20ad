//! Results as files: one per view, each there complete or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use tempfile::TempPath;

use super::text::write_view;
use super::{Format, ResultFormat, SinkError};

/// A folder that holds `NAME.EXT` for each view.
pub struct OutputDir {
    path: PathBuf,
}

impl OutputDir {
    /// The folder, created where it is missing.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, SinkError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|source| SinkError::File { path: path.clone(), source })?;
        Ok(Self { path })
    }

    /// Writes one view and returns its file's path. A reader of the folder sees the old file or the new one.
    pub fn write_view(
        &self,
        format: Format,
        name: &str,
        schema: &SchemaRef,
        batches: &[RecordBatch],
    ) -> Result<PathBuf, SinkError> {
        let mut file = self.begin(format.into(), name)?;
        write_view(&mut file, format, name, schema, batches)?;
        file.commit()
    }

    /// A file for the caller to write; it appears under its name at [`PendingFile::commit`].
    pub fn begin(&self, encoding: ResultFormat, name: &str) -> Result<PendingFile, SinkError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(SinkError::FileName { name: name.to_owned() });
        }
        PendingFile::at(&self.path.join(format!("{name}.{}", encoding.extension())))
    }
}

/// A file on its way: under a temporary name until it is complete, removed if it never is.
///
/// Where the path is not a regular file (a device, a named pipe), it is written to directly: it cannot be replaced.
pub struct PendingFile {
    writer: BufWriter<File>,
    /// Where the bytes wait; `None` where they are at their target already.
    temporary: Option<TempPath>,
    target: PathBuf,
}

impl PendingFile {
    /// A file that appears at this path when it is complete, replacing an existing one.
    pub fn at(path: &Path) -> Result<Self, SinkError> {
        // A symbolic link continues to point there.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let failed = |source| SinkError::File { path: path.to_owned(), source };
        if fs::metadata(&target).is_ok_and(|there| !there.is_file()) {
            let file = OpenOptions::new().write(true).open(&target).map_err(failed)?;
            return Ok(Self { writer: BufWriter::new(file), temporary: None, target });
        }
        let (Some(name), Some(folder)) = (target.file_name(), target.parent()) else {
            return Err(SinkError::FileName { name: path.display().to_string() });
        };
        let mut prefix = OsString::from(".");
        prefix.push(name);
        // In the same folder, because a rename is atomic within one file system only.
        let mut temporary = tempfile::Builder::new();
        temporary.prefix(&prefix).suffix(".part");
        // Read by others as far as the umask lets them, like every result.
        #[cfg(unix)]
        temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let (file, temporary) = temporary.tempfile_in(folder).map_err(failed)?.into_parts();
        Ok(Self { writer: BufWriter::new(file), temporary: Some(temporary), target })
    }

    /// Gives the file its name, once every byte is on disk.
    pub fn commit(mut self) -> Result<PathBuf, SinkError> {
        let written = self.writer.flush().and_then(|()| match self.temporary {
            Some(temporary) => {
                self.writer.get_ref().sync_all()?;
                temporary.persist(&self.target).map_err(|refused| refused.error)
            }
            None => Ok(()),
        });
        match written {
            Ok(()) => Ok(self.target),
            Err(source) => Err(SinkError::File { path: self.target, source }),
        }
    }
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn each_view_gets_its_file_and_the_folder_is_made() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![7])) as ArrayRef)]).unwrap();
        let dir = OutputDir::create(&path).unwrap();
        for format in [Format::Csv, Format::Json, Format::Markdown] {
            dir.write_view(format, "view", &batch.schema(), std::slice::from_ref(&batch)).unwrap();
            dir.write_view(format, "view", &batch.schema(), std::slice::from_ref(&batch)).unwrap();
        }
        assert_eq!(names(&path), ["view.csv", "view.json", "view.md"]);
        assert_eq!(fs::read_to_string(path.join("view.csv")).unwrap(), "n\n7\n");
    }

    #[test]
    fn an_unfinished_file_leaves_the_old_one_and_no_trace() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("view.csv"), "old").unwrap();
        let dir = OutputDir::create(root.path()).unwrap();
        let mut file = dir.begin(Format::Csv.into(), "view").unwrap();
        file.write_all(b"half of").unwrap();
        drop(file);
        assert_eq!(names(root.path()), ["view.csv"]);
        assert_eq!(fs::read_to_string(root.path().join("view.csv")).unwrap(), "old");
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let dir = OutputDir::create(root.path()).unwrap();
        for name in ["", "..", "../x", "a/b", "/etc/x"] {
            assert!(matches!(dir.begin(Format::Csv.into(), name), Err(SinkError::FileName { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_file_takes_the_place_of_another_but_of_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out.csv");
        for text in ["first", "second"] {
            let mut file = PendingFile::at(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.commit().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(root.path()), ["out.csv"]);
        assert!(PendingFile::at(root.path()).is_err(), "a folder is not a place for a file");
        assert!(PendingFile::at(&root.path().join("no/such/folder.csv")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_written_to_and_links_stay_links() {
        use std::os::unix::fs::FileTypeExt as _;
        let mut null = PendingFile::at(Path::new("/dev/null")).unwrap();
        null.write_all(b"nothing").unwrap();
        null.commit().unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());

        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut file = PendingFile::at(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
