//! Which settings are secrets: those are never shown.

use std::ops::Range;

/// The text shown instead of a secret.
pub const HIDDEN: &str = "(hidden)";

/// Parts of the names of settings whose values are secret. Too much hidden is a nuisance, too little is a leak.
const SECRET: [&str; 9] = ["password", "passphrase", "secret", "token", "key", "credential", "jaas", "sasl", ".pem"];

/// Suffixes of names that contain one of these parts, but are not secret.
const HARMLESS: [&str; 5] = [".location", ".mechanism", ".mechanisms", "-file", "-group"];

/// Whether a setting of this name is a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('_', ".");
    SECRET.iter().any(|part| name.contains(part)) && !HARMLESS.iter().any(|end| name.ends_with(end))
}

/// A line of a config file without its secrets: a line with one is cut at the value.
///
/// `text` is the whole file and `line` the line's bytes in it. The file may be one that cannot be parsed, so this looks at
/// letters instead of keys.
pub(super) fn without_secrets(text: &str, line: Range<usize>) -> String {
    let shown = &text[line.clone()];
    // Inside a multi-line text the key is not known.
    let inside = ["\"\"\"", "'''"].iter().any(|quotes| text[..line.start].matches(quotes).count() % 2 == 1);
    if inside {
        return HIDDEN.to_owned();
    }
    let table_is_secret =
        text[..line.start].lines().rfind(|line| line.trim_start().starts_with('[')).is_some_and(is_secret_key);
    if !table_is_secret && !is_secret_key(shown) {
        return shown.to_owned();
    }
    match shown.split_once('=') {
        Some((key, _)) => format!("{key}= {HIDDEN}"),
        None if shown.trim_start().starts_with('[') => shown.to_owned(),
        None => HIDDEN.to_owned(),
    }
}

/// Whether any word of a line of TOML makes it secret; its value counts too, which does no harm.
fn is_secret_key(line: &str) -> bool {
    let line = line.to_lowercase();
    SECRET.iter().any(|part| line.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_s_name_makes_it_a_secret() {
        for name in
            ["sasl.password", "ssl.key.password", "pg-password", "TALLGRASS_API_TOKEN", "sasl.username", "ssl.key.pem"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["brokers", "security.protocol", "sasl.mechanism", "ssl.ca.location", "ssl.key.location", "refresh"]
        {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn a_line_is_shown_up_to_its_secret() {
        let text = "refresh = 5\n\"sasl.password\" = \"hunter2\nssl.key.pem = \"\"\"\nhunter3\n\"\"\"\n[properties.sasl]\nx = 4\n";
        let lines: Vec<String> = text
            .split_inclusive('\n')
            .scan(0, |start, line| {
                let range = *start..*start + line.trim_end().len();
                *start += line.len();
                Some(without_secrets(text, range))
            })
            .collect();
        assert_eq!(
            lines,
            [
                "refresh = 5",
                "\"sasl.password\" = (hidden)",
                "ssl.key.pem = (hidden)",
                "(hidden)",
                "(hidden)",
                "[properties.sasl]",
                "x = (hidden)",
            ]
        );
    }
}
