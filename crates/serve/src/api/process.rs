//! The kernel's figures of this process, most of them from `/proc`; none on systems without it.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Clock ticks a second in `/proc/self/stat`: Linux has shown 100 on every platform since 2.6.
const TICKS_PER_S: f64 = 100.0;

/// Measured now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) max_open_files: Option<u64>,
    /// Seconds since 1970 UTC.
    pub(super) started: Option<f64>,
}

impl Process {
    pub(super) fn now() -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
        let (stat, status) = (read("self/stat"), read("self/status"));
        // The name in parentheses may hold anything; the numbers come after it. The first of them is the third field.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let number = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let kilobytes = |name: &str| Some(number(name)? * 1024);
        let booted = read("stat").lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS_PER_S),
            resident_bytes: kilobytes("VmRSS"),
            virtual_bytes: kilobytes("VmSize"),
            threads: number("Threads"),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            max_open_files: getrlimit(Resource::Nofile).current,
            started: booted.zip(field(22)).map(|(booted, ticks)| booted + ticks / TICKS_PER_S),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_measured() {
        let process = Process::now();
        assert!(process.cpu_seconds.unwrap() < 1e6);
        assert!((1 << 20..1 << 40).contains(&process.resident_bytes.unwrap()));
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.threads.unwrap() >= 1 && process.open_files.unwrap() >= 3);
        assert!(process.max_open_files > process.open_files);
        let now = jiff::Timestamp::now().as_second() as f64;
        assert!((now - process.started.unwrap()).abs() < 86_400.0, "{process:?}");
    }
}
