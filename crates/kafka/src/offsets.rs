//! Offsets are the clock: how far each partition has been read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Topic → partition → next offset: everything below those offsets is in the result, nothing at or above them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AsOf {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, i64>>,
}

impl AsOf {
    /// Moves one partition to `next_offset`.
    pub fn set(&mut self, topic: &Arc<str>, partition: i32, next_offset: i64) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.insert(partition, next_offset);
        } else {
            self.topics.insert(Arc::clone(topic), BTreeMap::from([(partition, next_offset)]));
        }
    }

    /// The next offset of one partition.
    pub fn next_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.topics.get(topic)?.get(&partition).copied()
    }

    /// Partition → next offset of one topic.
    pub fn topic(&self, topic: &str) -> Option<&BTreeMap<i32, i64>> {
        self.topics.get(topic)
    }

    /// Every (topic, partition, next offset), ordered.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, i64)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |(partition, next)| (topic, *partition, *next)))
    }

    /// `{"pokemons":{"0":120,"1":98},"users":{"0":7}}`
    pub fn to_json(&self) -> serde_json::Value {
        let topic = |(topic, partitions): (&Arc<str>, &BTreeMap<i32, i64>)| {
            let partitions = partitions.iter().map(|(partition, next)| (partition.to_string(), (*next).into()));
            (topic.to_string(), serde_json::Value::Object(partitions.collect()))
        };
        serde_json::Value::Object(self.topics.iter().map(topic).collect())
    }

    /// Reads what [`to_json`](Self::to_json) gives.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, BadAsOf> {
        let bad = |json: &serde_json::Value, reason| BadAsOf { text: json.to_string(), reason };
        let mut as_of = Self::default();
        for (topic, partitions) in json.as_object().ok_or_else(|| bad(json, "not an object of topics"))? {
            let topic: Arc<str> = topic.as_str().into();
            for (partition, next) in
                partitions.as_object().ok_or_else(|| bad(partitions, "not an object of partitions"))?
            {
                let next_offset = next.as_i64().filter(|next| *next >= 0).ok_or_else(|| bad(next, "not an offset"))?;
                let partition: u16 = partition.parse().map_err(|_| bad(partitions, "not a partition number"))?;
                as_of.set(&topic, i32::from(partition), next_offset);
            }
        }
        Ok(as_of)
    }
}

/// `pokemons 0:120 1:98, users 0:7`
impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (topic, partitions)) in self.topics.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(topic)?;
            for (partition, next_offset) in partitions {
                write!(f, " {partition}:{next_offset}")?;
            }
        }
        Ok(())
    }
}

/// What is wrong with the text of an [`AsOf`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not an offset list ({reason}): use TOPIC PARTITION:OFFSET …, as in 'pokemons 0:120 1:98, users 0:7'"
)]
pub struct BadAsOf {
    /// The part that is wrong.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Reads what [`Display`](fmt::Display) writes, and the JSON of [`AsOf::to_json`].
impl FromStr for AsOf {
    type Err = BadAsOf;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |text: &str, reason| BadAsOf { text: text.to_owned(), reason };
        let mut as_of = Self::default();
        if text.trim().is_empty() {
            return Ok(as_of);
        }
        if text.trim_start().starts_with('{') {
            let json = serde_json::from_str(text).map_err(|_| bad(text, "its JSON is broken"))?;
            return Self::from_json(&json);
        }
        for part in text.split(',') {
            let mut tokens = part.split_whitespace();
            let topic: Arc<str> = Arc::from(tokens.next().ok_or_else(|| bad(part, "a topic is missing"))?);
            if topic.contains(':') {
                return Err(bad(part, "a topic is missing"));
            }
            let mut partitions = 0;
            for token in tokens {
                let (partition, next_offset) = token.split_once(':').ok_or_else(|| bad(token, "a colon is missing"))?;
                let partition: u16 = partition.parse().map_err(|_| bad(token, "not a partition number"))?;
                let next_offset: i64 = next_offset.parse().map_err(|_| bad(token, "not an offset"))?;
                if next_offset < 0 {
                    return Err(bad(token, "not an offset"));
                }
                if as_of.next_offset(&topic, i32::from(partition)).is_some() {
                    return Err(bad(token, "a partition is named twice"));
                }
                as_of.set(&topic, i32::from(partition), next_offset);
                partitions += 1;
            }
            if partitions == 0 {
                return Err(bad(part.trim(), "its partitions are missing"));
            }
        }
        Ok(as_of)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        let (pokemons, users) = (Arc::from("pokemons"), Arc::from("my.users_2-x"));
        let mut as_of = AsOf::default();
        assert_eq!(AsOf::from_str(&as_of.to_string()), Ok(as_of.clone()));
        as_of.set(&pokemons, 0, 120);
        as_of.set(&pokemons, 11, i64::MAX);
        as_of.set(&users, 0, 0);
        as_of.set(&users, 0, 7);
        assert_eq!(as_of.to_string(), "my.users_2-x 0:7, pokemons 0:120 11:9223372036854775807");
        assert_eq!(AsOf::from_str(&as_of.to_string()), Ok(as_of));
    }

    #[test]
    fn its_json_reads_back_too() {
        let as_of = AsOf::from_str("pokemons 0:120 11:98, users 0:7").unwrap();
        assert_eq!(as_of.to_json().to_string(), r#"{"pokemons":{"0":120,"11":98},"users":{"0":7}}"#);
        assert_eq!(AsOf::from_str(&as_of.to_json().to_string()), Ok(as_of));
        for wrong in ["{", "{\"t\":7}", "{\"t\":{\"0\":-1}}", "{\"t\":{\"x\":1}}", "{\"t\":{\"0\":\"1\"}}"] {
            assert!(AsOf::from_str(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spaces_do_not_matter() {
        assert_eq!(
            AsOf::from_str("  users  0:7,pokemons 1:2   0:1 ").unwrap().to_string(),
            "pokemons 0:1 1:2, users 0:7"
        );
    }

    #[test]
    fn a_wrong_text_names_its_wrong_part() {
        for (text, part) in [
            ("users", "users"),
            ("users 0", "0"),
            ("users 0:x", "0:x"),
            ("users 0:-1", "0:-1"),
            ("users -1:4", "-1:4"),
            ("users 0:1 0:2", "0:2"),
            ("0:1", "0:1"),
            ("users 0:1,", ""),
        ] {
            assert_eq!(AsOf::from_str(text).unwrap_err().text, part, "{text}");
        }
    }
}
