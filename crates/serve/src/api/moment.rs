//! The moment of an event, as text that a client sends back: `pokemons 0:120 1:98, users 0:7 @1767268980000000007`.
//!
//! The as-of alone would be ambiguous: a view that depends on `now()`, or whose file was edited, has several results at
//! the same offsets. So the moment of the refresh follows it.

use std::fmt;
use std::str::FromStr;

use tallgrass_kafka::AsOf;

/// Longest as-of in an id: an id comes back as a header, and those of thousands of partitions are too long for one. A
/// longer one is left out, since the moment alone is found, too.
const MAX_AS_OF_BYTES: usize = 4 << 10;

/// Offsets, and the time of their refresh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// Everything below these.
    pub(super) as_of: AsOf,
    /// The value of `now()`, in nanoseconds since 1970 UTC.
    pub(super) now_ns: i64,
}

impl Moment {
    /// Whether it is between `first` and `last`, by its clock and by each of its offsets.
    pub(super) fn is_within(&self, first: &Self, last: &Self) -> bool {
        (first.now_ns..=last.now_ns).contains(&self.now_ns)
            && self.as_of.iter().all(|(topic, partition, at)| {
                first.as_of.next_offset(topic, partition).is_none_or(|from| from <= at)
                    && last.as_of.next_offset(topic, partition).is_some_and(|to| at <= to)
            })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let as_of = self.as_of.to_string();
        if !as_of.is_empty() && as_of.len() <= MAX_AS_OF_BYTES {
            write!(f, "{as_of} ")?;
        }
        write!(f, "@{}", self.now_ns)
    }
}

impl FromStr for Moment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (as_of, now_ns) = text.rsplit_once('@').ok_or(())?;
        Ok(Self { as_of: as_of.parse().map_err(|_| ())?, now_ns: now_ns.trim().parse().map_err(|_| ())? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_sent_reads_back() {
        for text in ["pokemons 0:120 1:98, users 0:7 @1767268980000000007", "@-5"] {
            assert_eq!(moment(text).to_string(), text);
        }
        for wrong in ["", "pokemons 0:1", "@", "@x", "pokemons @1", "pokemons 0:x @1"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn thousands_of_partitions_leave_the_moment() {
        let mut long = moment("@7");
        (0..2000).for_each(|partition| long.as_of.set(&"t".into(), partition, 1_000_000));
        assert_eq!(long.to_string(), "@7");
    }

    #[test]
    fn a_moment_lies_between_two_by_clock_and_offsets() {
        let (first, last) = (moment("t 0:10 @100"), moment("t 0:20 1:5 @200"));
        for within in ["t 0:10 @100", "t 0:20 1:5 @200", "t 0:15 1:0 @150", "@150"] {
            assert!(moment(within).is_within(&first, &last), "{within}");
        }
        for without in ["t 0:10 @99", "t 0:10 @201", "t 0:9 @150", "t 0:21 @150", "other 0:1 @150"] {
            assert!(!moment(without).is_within(&first, &last), "{without}");
        }
    }
}
