//! The variables of a session: SET and SHOW.
//!
//! Tools set a dozen variables before their first query. Those without effect here are kept and shown again, those whose
//! value would matter accept only the value in effect, and the engine's own cannot be set.

use std::collections::BTreeMap;
use std::time::Duration;

use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};

use super::errors::{code, error, error_with_hint};

/// How long a statement may take by default.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest limit that a session can set.
pub const MAX_TIMEOUT: Duration = Duration::from_mins(10);

/// The version that clients adapt to: the tables of `pg_catalog` are modelled on it.
pub const SERVER_VERSION: &str = concat!("16.6 (Tallgrass ", env!("CARGO_PKG_VERSION"), ")");

/// Characters of a value that are kept.
const MAX_VALUE: usize = 1_000;

/// The values that a variable accepts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Any: it is kept.
    Free,
    /// Values with such a prefix; others are an error.
    Begins(&'static [&'static str]),
    /// None.
    Fixed,
}

/// Name as shown, default, and rule.
const VARIABLES: [(&str, &str, Rule); 35] = [
    ("application_name", "", Rule::Free),
    ("bytea_output", "hex", Rule::Begins(&["hex"])),
    ("client_encoding", "UTF8", Rule::Begins(&["utf8", "utf-8", "unicode"])),
    ("client_min_messages", "notice", Rule::Free),
    ("DateStyle", "ISO, MDY", Rule::Begins(&["iso"])),
    ("default_transaction_isolation", "read committed", Rule::Free),
    ("default_transaction_read_only", "on", Rule::Begins(&["on", "true", "1", "yes"])),
    ("extra_float_digits", "1", Rule::Free),
    ("idle_in_transaction_session_timeout", "0", Rule::Free),
    ("idle_session_timeout", "0", Rule::Free),
    ("in_hot_standby", "off", Rule::Fixed),
    ("integer_datetimes", "on", Rule::Fixed),
    ("IntervalStyle", "postgres", Rule::Begins(&["postgres"])),
    ("is_superuser", "off", Rule::Fixed),
    ("jit", "off", Rule::Free),
    ("lc_collate", "C", Rule::Fixed),
    ("lc_ctype", "C.UTF-8", Rule::Fixed),
    ("lock_timeout", "0", Rule::Free),
    ("max_identifier_length", "63", Rule::Fixed),
    ("max_index_keys", "32", Rule::Fixed),
    ("row_security", "on", Rule::Free),
    ("search_path", "public", Rule::Free),
    ("server_encoding", "UTF8", Rule::Fixed),
    ("server_version", SERVER_VERSION, Rule::Fixed),
    ("server_version_num", "160006", Rule::Fixed),
    ("session_authorization", "", Rule::Fixed),
    ("standard_conforming_strings", "on", Rule::Begins(&["on", "true", "1"])),
    ("statement_timeout", "30s", Rule::Free),
    ("synchronize_seqscans", "on", Rule::Free),
    ("TimeZone", "UTC", Rule::Free),
    ("transaction_isolation", "read committed", Rule::Free),
    ("transaction_read_only", "on", Rule::Begins(&["on", "true", "1", "yes"])),
    ("work_mem", "4MB", Rule::Free),
    ("xmlbinary", "base64", Rule::Free),
    ("xmloption", "content", Rule::Free),
];

/// Variables whose new value is reported to the client at once.
const REPORTED: [&str; 7] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "search_path",
    "standard_conforming_strings",
    "TimeZone",
];

/// The variables of one session.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
    statement_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { values: BTreeMap::new(), statement_timeout: DEFAULT_TIMEOUT }
    }
}

impl Settings {
    /// Takes the variables of a client's startup message; refused and unknown ones are ignored.
    pub fn start<'a>(&mut self, variables: impl IntoIterator<Item = (&'a String, &'a String)>) {
        for (name, value) in variables {
            match name.as_str() {
                "user" => _ = self.values.insert("session_authorization", value.chars().take(MAX_VALUE).collect()),
                // `-c name=value`, several of them
                "options" => {
                    for option in
                        value.split_whitespace().filter_map(|word| word.trim_start_matches("-c").split_once('='))
                    {
                        _ = self.set(option.0.trim_start_matches("--"), Some(option.1));
                    }
                }
                _ => _ = self.set(name, Some(value)),
            }
        }
    }

    /// Sets a variable, or resets it; returns name and value if they are reported to the client.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> PgWireResult<Option<(&'static str, String)>> {
        if name.eq_ignore_ascii_case("all") && value.is_none() {
            let user = self.values.remove("session_authorization");
            *self = Self::default();
            self.values.extend(user.map(|user| ("session_authorization", user)));
            return Ok(None);
        }
        let (name, default, rule) = find(name)?;
        let value = match value {
            None => {
                self.values.remove(name);
                if name == "statement_timeout" {
                    self.statement_timeout = DEFAULT_TIMEOUT;
                }
                default.to_owned()
            }
            Some(value) => {
                let value: String = value.chars().take(MAX_VALUE).collect();
                let lower = value.to_lowercase();
                match rule {
                    Rule::Begins(allowed) if !allowed.iter().any(|allowed| lower.starts_with(allowed)) => {
                        if name.ends_with("read_only") {
                            return Err(error(
                                code::READ_ONLY,
                                "cannot set transaction read-write mode: this server is read-only",
                            ));
                        }
                        let hint = format!("the only value here is {default}");
                        return Err(error_with_hint(
                            code::INVALID_PARAMETER,
                            format!("{name} cannot be {value}"),
                            hint,
                        ));
                    }
                    Rule::Fixed => {
                        return Err(error(code::NOT_PERMITTED, format!("parameter \"{name}\" cannot be changed")));
                    }
                    Rule::Begins(_) | Rule::Free => {}
                }
                if name == "statement_timeout" {
                    self.statement_timeout = timeout(&value)?;
                }
                self.values.insert(name, value.clone());
                value
            }
        };
        Ok(REPORTED.contains(&name).then_some((name, value)))
    }

    /// A variable's name in its usual spelling, and its value.
    pub fn show(&self, name: &str) -> PgWireResult<(&'static str, String)> {
        let (name, default, _) = find(name)?;
        Ok((name, self.value(name, default)))
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<String, String> {
        VARIABLES.iter().map(|(name, default, _)| ((*name).to_lowercase(), self.value(name, default))).collect()
    }

    fn value(&self, name: &str, default: &str) -> String {
        if name == "statement_timeout" {
            return show_timeout(self.statement_timeout);
        }
        self.values.get(name).cloned().unwrap_or_else(|| default.to_owned())
    }

    /// How long a statement may take.
    pub fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// The zone in which times with a zone are shown.
    pub fn time_zone(&self) -> String {
        self.value("TimeZone", "UTC")
    }
}

fn find(name: &str) -> PgWireResult<(&'static str, &'static str, Rule)> {
    let found = VARIABLES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)).copied();
    found.ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> PgWireError {
    if name.to_lowercase().starts_with("datafusion.") {
        return error(
            code::NOT_PERMITTED,
            format!("permission denied to set or show \"{name}\": the engine's options are fixed"),
        );
    }
    error(code::NO_SUCH_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

/// `5s`, `500ms`, `2min`, or milliseconds; 0 means no limit and gives the largest.
fn timeout(text: &str) -> PgWireResult<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit.trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1e3,
        "min" => 60e3,
        "h" => 3_600e3,
        "d" => 86_400e3,
        _ => return Err(invalid_timeout(text)),
    };
    let ms = number.parse::<f64>().map_err(|_| invalid_timeout(text))? * unit_ms;
    if ms == 0.0 {
        return Ok(MAX_TIMEOUT);
    }
    let asked = Duration::try_from_secs_f64(ms.max(1.0) / 1e3).map_err(|_| invalid_timeout(text))?;
    Ok(asked.min(MAX_TIMEOUT))
}

fn invalid_timeout(text: &str) -> PgWireError {
    let hint = "valid units are \"us\", \"ms\", \"s\", \"min\", \"h\" and \"d\"";
    error_with_hint(
        code::INVALID_PARAMETER,
        format!("invalid value for parameter \"statement_timeout\": \"{text}\""),
        hint,
    )
}

fn show_timeout(timeout: Duration) -> String {
    let ms = timeout.as_millis();
    match ms {
        ms if ms % 60_000 == 0 => format!("{}min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_reads_as_in_postgres_and_never_passes_the_limit() {
        let mut settings = Settings::default();
        assert_eq!(settings.show("statement_timeout").unwrap().1, "30s");
        for (value, shown) in
            [("500", "500ms"), ("5s", "5s"), ("2min", "2min"), ("1.5s", "1500ms"), ("0", "10min"), ("9h", "10min")]
        {
            settings.set("statement_timeout", Some(value)).unwrap();
            assert_eq!(settings.show("statement_timeout").unwrap().1, shown, "{value}");
        }
        assert!(settings.set("statement_timeout", Some("soon")).unwrap_err().to_string().contains("22023"));
        settings.set("statement_timeout", None).unwrap();
        assert_eq!(settings.statement_timeout(), DEFAULT_TIMEOUT);
    }

    #[test]
    fn only_what_changes_nothing_may_be_set() {
        let mut settings = Settings::default();
        assert_eq!(
            settings.set("application_name", Some("psql")).unwrap(),
            Some(("application_name", "psql".to_owned()))
        );
        assert_eq!(settings.set("EXTRA_FLOAT_DIGITS", Some("3")).unwrap(), None);
        let refused =
            |settings: &mut Settings, name: &str, value: &str| settings.set(name, Some(value)).unwrap_err().to_string();
        assert!(refused(&mut settings, "client_encoding", "LATIN1").contains("22023"));
        assert!(refused(&mut settings, "default_transaction_read_only", "off").contains("25006"));
        assert!(refused(&mut settings, "server_version", "9").contains("42501"));
        assert!(refused(&mut settings, "datafusion.execution.batch_size", "1").contains("42501"));
        assert!(refused(&mut settings, "no_such_thing", "1").contains("42704"));
    }

    #[test]
    fn a_client_says_some_at_the_start() {
        let mut settings = Settings::default();
        let sent = [
            ("user", "ana"),
            ("options", "-c statement_timeout=2s -csearch_path=public"),
            ("TimeZone", "Europe/Madrid"),
        ];
        let sent: Vec<(String, String)> = sent.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        settings.start(sent.iter().map(|(a, b)| (a, b)));
        assert_eq!(settings.statement_timeout(), Duration::from_secs(2));
        assert_eq!(settings.time_zone(), "Europe/Madrid");
        assert_eq!(settings.show("session_authorization").unwrap().1, "ana");
    }
}
