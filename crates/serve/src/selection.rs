//! The selection of an address: `/?wall&near.lat=41.4` is the wall display, with file `near` at another latitude. The API
//! takes the same values of a view's parameters.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tallgrass_pipeline::{MAX_VARIANTS, Published, Variant, Variants};

/// Parameters of an address at most.
const MAX_PARAMETERS: usize = 64;

/// The `key=value` pairs of an address, decoded.
pub type AddressPairs = [(String, String)];

/// What an address selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only tiles, as large as the screen.
    pub wall: bool,
    /// The files with values other than their own.
    pub variants: BTreeMap<String, Variant>,
    /// The files that refuse the given values.
    pub refused: BTreeMap<String, RefusedValues>,
}

/// Values that a file refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedValues {
    /// Their texts, by parameter.
    pub given: BTreeMap<String, String>,
    /// The reason, for people.
    pub message: String,
}

/// All room for other values is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_VARIANTS} other sets of values are in use, which is the limit: try again in a minute")]
pub struct TooMany;

impl Selection {
    /// Reads the query of an address; the error is for people. Wrong values do not fail: they are `refused`.
    pub fn parse(pairs: &AddressPairs, published: Option<&Published>) -> Result<Self, String> {
        let mut selection = Self::default();
        let mut given: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        if pairs.len() > MAX_PARAMETERS {
            return Err(format!("an address has {MAX_PARAMETERS} parameters at most"));
        }
        for (key, value) in pairs {
            if key == "wall" {
                selection.wall = !matches!(value.as_str(), "false" | "0");
            } else if let Some((file, param)) = key.split_once('.') {
                given.entry(file).or_default().insert(param.to_owned(), value.clone());
            }
        }
        for (name, given) in given {
            // A file that does not exist (any more, or yet) must not hide the others.
            let Some(file) = published.and_then(|published| published.file(name)?.file.as_ref()) else { continue };
            match Variant::new(file, &given) {
                Ok(Some(variant)) => _ = selection.variants.insert(name.to_owned(), variant),
                Ok(None) => {}
                Err(error) => {
                    let refusal = RefusedValues { given, message: error.to_string() };
                    selection.refused.insert(name.to_owned(), refusal);
                }
            }
        }
        Ok(selection)
    }

    /// Keeps the variants in use.
    pub fn keep(&self, variants: &Variants) -> Result<(), TooMany> {
        if self.variants.values().all(|variant| variants.want(variant)) { Ok(()) } else { Err(TooMany) }
    }

    /// The same; variants without room are refused.
    pub fn keep_what_fits(&mut self, variants: &Variants) {
        self.variants.retain(|file, variant| {
            let fits = variants.want(variant);
            if !fits {
                let refusal = RefusedValues { given: variant.values().clone(), message: TooMany.to_string() };
                self.refused.insert(file.clone(), refusal);
            }
            fits
        });
    }

    /// The view to show for a file.
    pub fn view_of<'a>(&'a self, file: &'a str) -> &'a str {
        self.variants.get(file).map_or(file, |variant| variant.name())
    }
}

/// A name or a value as a part of an address.
pub fn encoded(text: &str) -> String {
    /// All but the unreserved characters of RFC 3986.
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &RESERVED).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use tallgrass_pipeline::FileState;
    use tallgrass_view::SqlFile;

    fn selection(pairs: &[(&str, &str)], published: &Published) -> Result<Selection, String> {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Selection::parse(&pairs, Some(published))
    }

    #[test]
    fn an_address_names_files_and_values() {
        let near = "-- @param lat DOUBLE = 40\n-- @param name VARCHAR = 'a'\nSELECT $lat AS lat, $name AS name";
        let mut published = Published::default();
        let file = SqlFile::parse("near", "near.sql", near).unwrap();
        let state = FileState {
            name: "near".into(),
            file: Some(file),
            running: None,
            warnings: Vec::new(),
            error: None,
            swap: None,
        };
        Arc::make_mut(&mut published.files).push(state);
        let it =
            selection(&[("wall", ""), ("near.name", "a b&c"), ("near.lat", "41"), ("x", "1")], &published).unwrap();
        assert!(it.wall);
        assert_eq!(it.view_of("near"), "near?lat=41&name=a b&c");
        assert_eq!(it.view_of("far"), "far");
        assert!(!selection(&[("wall", "false")], &published).unwrap().wall);
        assert!(selection(&[("a", "1"); MAX_PARAMETERS + 1], &published).is_err());
        let it = selection(&[("near.lat", "1e400"), ("near.name", "b")], &published).unwrap();
        assert_eq!(it.view_of("near"), "near", "not a latitude that a double can hold");
        let refusal = &it.refused["near"];
        assert_eq!((&*refusal.given["lat"], &*refusal.given["name"]), ("1e400", "b"));
        assert!(refusal.message.contains("'1e400' is not a value for parameter 'lat'"), "{}", refusal.message);
    }

    #[test]
    fn variants_without_room_are_refused() {
        let near = SqlFile::parse("near", "near.sql", "-- @param n BIGINT = 0\nSELECT $n AS n").unwrap();
        let given = |n: usize| BTreeMap::from([("n".to_owned(), (n + 1).to_string())]);
        let variant = |n| Variant::new(&near, &given(n)).unwrap().unwrap();
        let variants = Variants::default();
        assert!((0..MAX_VARIANTS).all(|n| variants.want(&variant(n))));
        let mut it = Selection::default();
        it.variants.insert("near".to_owned(), variant(MAX_VARIANTS));
        it.keep_what_fits(&variants);
        assert_eq!((it.view_of("near"), &it.refused["near"].given), ("near", &given(MAX_VARIANTS)));
    }
}
