//! The program itself, as a user runs it: its output, and its exit code.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tempfile::TempDir;

use crate::support::{Broker, wait_for};

/// A finished run.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The run, if it ended well.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

fn command<S: AsRef<str>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallgrass"));
    command.args(args.iter().map(AsRef::as_ref)).env("NO_COLOR", "1");
    // The user who runs the tests may have settings of their own.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"TALLGRASS_")) {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end, in the root of the project.
pub fn tallgrass<S: AsRef<str>>(args: &[S]) -> Run {
    finish(&mut command(args))
}

/// The same in another folder, with variables of the environment.
pub fn tallgrass_in(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Run {
    finish(command(args).current_dir(folder).envs(variables.iter().copied()))
}

fn finish(command: &mut Command) -> Run {
    let output = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The same against a broker.
pub fn on(broker: &Broker, args: &[&str]) -> Run {
    let mut all = args.to_vec();
    all.extend(["-b", broker.brokers()]);
    tallgrass(&all)
}

/// Starts the program against a broker, for a test that reads its stdout by itself.
pub fn spawn(broker: &Broker, args: &[&str]) -> Child {
    let mut all = args.to_vec();
    all.extend(["-b", broker.brokers()]);
    command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// A running program whose lines of stdout are collected.
pub struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    errors: Arc<Mutex<Vec<String>>>,
}

/// What a run that ends well writes to stdout, which need not be text.
pub fn bytes_of<S: AsRef<str>>(args: &[S]) -> Vec<u8> {
    let output = command(args).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Starts the program against a broker.
pub fn start(broker: &Broker, args: &[&str]) -> Running {
    start_at(broker.brokers(), args)
}

/// Starts the program against whatever is at an address.
pub fn start_at(brokers: &str, args: &[&str]) -> Running {
    let mut all = args.to_vec();
    all.extend(["-b", brokers, "-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500"]);
    let mut child = command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let (lines, errors) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<String>>>::default());
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let err = BufReader::new(child.stderr.take().expect("piped"));
    let (out_lines, err_lines) = (Arc::clone(&lines), Arc::clone(&errors));
    let readers = vec![
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).for_each(|line| out_lines.lock().unwrap().push(line));
        }),
        std::thread::spawn(move || {
            err.lines().map_while(Result::ok).for_each(|line| err_lines.lock().unwrap().push(line));
        }),
    ];
    Running { child, lines, readers, errors }
}

impl Running {
    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a line of stderr.
    pub fn wait_for_log(&self, part: &str) {
        wait_for(part, || self.errors.lock().unwrap().iter().any(|line| line.contains(part)).then_some(()));
    }

    /// The rest of the line of stderr after `part`, once it has been written.
    pub fn word_after(&self, part: &str) -> String {
        let found = |line: &String| line.split_once(part)?.1.split_whitespace().next().map(str::to_owned);
        wait_for(part, || self.errors.lock().unwrap().iter().find_map(found))
    }

    /// Ctrl-C, and the exit code and lines that follow.
    /// Pauses its process, or resumes it.
    #[cfg(unix)]
    pub fn halt(&self, halt: bool) {
        let signal = if halt { "-STOP" } else { "-CONT" };
        let done = std::process::Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    pub fn interrupt(mut self) -> Run {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
        let status = wait_for("end after an interrupt", || self.child.try_wait().expect("a child"));
        for reader in self.readers.drain(..) {
            reader.join().expect("lines are read");
        }
        let stdout = self.lines.lock().unwrap().join("\n");
        let stderr = self.errors.lock().unwrap().join("\n");
        Run { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The shipped folder of SQL over topics of the test's own.
pub fn queries(pokemons: &str, users: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    copy(Path::new("queries"), folder.path());
    let sources = folder.path().join("sources.sql");
    let sql = fs::read_to_string(&sources).expect("sources.sql");
    let sql = sql
        .replace("LOCATION 'pokemons'", &format!("LOCATION '{pokemons}'"))
        .replace("LOCATION 'users'", &format!("LOCATION '{users}'"));
    fs::write(sources, sql).expect("written");
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}
