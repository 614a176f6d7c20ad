//! Variants: a dashboard file with other values for its `@param`s, wanted for as long as it is looked at.
//!
//! ```text
//!  near.sql: -- @param lat DOUBLE = 40.4        view `near`
//!  a reader asks for lat = 41                   view `near?lat=41`, planned and rebuilt like a file that was saved
//! ```
//!
//! A variant is a view among the others: read from the earliest offsets, kept up to date, shown at the same as-of, proved
//! by the same replay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use datafusion::scalar::ScalarValue;
use tokio::sync::Notify;

use tallgrass_diagnostics::Diagnostic;
use tallgrass_view::{LoadedFile, SqlFile};

/// Variants at one time: each is a view with a state of its own, and links are handed around.
pub const MAX_VARIANTS: usize = 16;

/// How long a variant stays when it is no longer in use: a page that is reloaded still finds it.
const KEEP: Duration = Duration::from_mins(1);

/// How long a variant keeps its place against others: a reader who asks for one value after another gets no more than
/// [`MAX_VARIANTS`] views built in that time. As long as the API waits for a view.
const SETTLED: Duration = Duration::from_secs(5);

/// What stands between the file's name and the values; no file's name has it.
const MARK: char = '?';

/// A file with values for some of its parameters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    file: Arc<str>,
    values: BTreeMap<String, String>,
    name: Arc<str>,
}

impl Variant {
    /// The variant of a file by texts of its values, or what is wrong with them; none where all are the file's own.
    pub fn new(file: &SqlFile, given: &BTreeMap<String, String>) -> Result<Option<Self>, Diagnostic> {
        let text = |(name, value): (&String, &String)| (name.clone(), ScalarValue::Utf8(Some(value.clone())));
        let given: Vec<(String, ScalarValue)> = given.iter().map(text).collect();
        let bound = file.bind(given.iter().map(|(name, value)| (name.as_str(), value.clone())))?;
        // A file whose parameters have no defaults is not a view itself.
        if file.bind([]).is_ok_and(|own| own == bound) {
            return Ok(None);
        }
        let values: BTreeMap<String, String> =
            given.into_iter().map(|(name, value)| (name, value.to_string())).collect();
        let texts: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let name = format!("{}{MARK}{}", file.name(), texts.join("&")).into();
        Ok(Some(Self { file: file.name().into(), values, name }))
    }

    /// The view's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The texts of its values, by parameter.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The file with these values in the place of its own; none while the file cannot be read or has other parameters.
    pub(super) fn of(&self, files: &[LoadedFile]) -> Option<SqlFile> {
        let file = files.iter().filter_map(|file| file.as_ref().ok()).find(|file| file.name() == &*self.file)?;
        let values = self.values.iter().map(|(name, value)| (name.as_str(), ScalarValue::Utf8(Some(value.clone()))));
        Some(file.with_values(&self.name, &file.bind(values).ok()?))
    }

    /// Whether a view of this name is a variant.
    pub fn is_name(name: &str) -> bool {
        name.contains(MARK)
    }

    /// The name of the file that a variant is of.
    pub fn base(name: &str) -> Option<&str> {
        name.split_once(MARK).map(|(base, _)| base)
    }
}

/// The variants that are wanted just now; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Variants {
    shared: Arc<WantedVariants>,
}

#[derive(Debug, Default)]
struct WantedVariants {
    wanted: Mutex<BTreeMap<Variant, Looks>>,
    changed: Notify,
}

/// Who looks at a variant.
#[derive(Debug)]
struct Looks {
    last: Instant,
    /// The names in the hands of those who asked: an open stream, or a request that waits, holds its own.
    holders: Vec<Weak<str>>,
}

impl Looks {
    fn is_held(&self) -> bool {
        self.holders.iter().any(|holder| holder.strong_count() > 0)
    }

    fn is_wanted(&self, now: Instant) -> bool {
        self.is_held() || now.duration_since(self.last) < KEEP
    }
}

impl Variants {
    /// Asks for a variant, or goes on to; it is held for as long as the caller keeps `variant`. Where all places are
    /// taken it gets that of the one which is not held and which was looked at longest ago; false where there is none.
    pub fn want(&self, variant: &Variant) -> bool {
        self.want_at(variant, Instant::now())
    }

    fn want_at(&self, variant: &Variant, now: Instant) -> bool {
        let mut wanted = self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = wanted.len();
        wanted.retain(|known, looks| known == variant || looks.is_wanted(now));
        let is_new = !wanted.contains_key(variant);
        if is_new && wanted.len() >= MAX_VARIANTS {
            let gives_way = |looks: &Looks| !looks.is_held() && now.duration_since(looks.last) >= SETTLED;
            let oldest = wanted.iter().filter(|(_, looks)| gives_way(looks)).min_by_key(|(_, looks)| looks.last);
            let Some(oldest) = oldest.map(|(variant, _)| variant.clone()) else { return false };
            wanted.remove(&oldest);
        }
        // With a name of its own, since that of the caller shows whether it is looked at.
        let own = || Variant { name: Arc::from(&*variant.name), ..variant.clone() };
        let looks = wanted.entry(own()).or_insert_with(|| Looks { last: now, holders: Vec::new() });
        looks.last = now;
        looks.holders.retain(|holder| holder.strong_count() > 0);
        let holder = Arc::downgrade(&variant.name);
        if !looks.holders.iter().any(|known| known.ptr_eq(&holder)) {
            looks.holders.push(holder);
        }
        if is_new || wanted.len() != before {
            self.shared.changed.notify_one();
        }
        true
    }

    /// Forgets those that are no longer looked at.
    pub fn sweep(&self) {
        let mut wanted = self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = wanted.len();
        let now = Instant::now();
        wanted.retain(|_, looks| looks.is_wanted(now));
        if wanted.len() != before {
            self.shared.changed.notify_one();
        }
    }

    /// Waits until others are wanted.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Those that are wanted.
    pub(super) fn wanted(&self) -> Vec<Variant> {
        self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn near() -> SqlFile {
        let text = "-- @param lat DOUBLE = 40.5\n-- @param n BIGINT = 3\nSELECT $lat AS lat, $n AS n";
        SqlFile::parse("near", "near.sql", text).unwrap()
    }

    fn given(values: &[(&str, &str)]) -> BTreeMap<String, String> {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_variant_is_the_file_with_other_values() {
        let variant = Variant::new(&near(), &given(&[("lat", "41")])).unwrap().unwrap();
        assert_eq!((&**variant.name(), Variant::base(variant.name())), ("near?lat=41", Some("near")));
        let file = variant.of(&[Ok(near())]).unwrap();
        assert_ne!(file.meaning(), near().meaning());
        assert_eq!(file.bind([]).unwrap(), near().bind([("lat", ScalarValue::from(41.0))]).unwrap());
    }

    #[test]
    fn its_own_values_are_no_variant_and_wrong_ones_an_error() {
        assert_eq!(Variant::new(&near(), &given(&[("lat", "40.50")])).unwrap(), None);
        assert!(Variant::new(&near(), &given(&[("lat", "north")])).is_err());
        assert!(Variant::new(&near(), &given(&[("long", "1")])).is_err());
    }

    fn variant(n: usize) -> Variant {
        Variant::new(&near(), &given(&[("n", &(n + 10).to_string())])).unwrap().unwrap()
    }

    #[test]
    fn a_file_without_defaults_has_variants() {
        let file = SqlFile::parse("near", "near.sql", "-- @param n BIGINT\nSELECT $n AS n").unwrap();
        let variant = Variant::new(&file, &given(&[("n", "1")])).unwrap().unwrap();
        assert!(variant.of(&[Ok(file.clone())]).unwrap().bind([]).is_ok());
        assert!(Variant::new(&file, &given(&[])).is_err());
    }

    #[test]
    fn there_are_only_so_many() {
        let variants = Variants::default();
        assert!((0..MAX_VARIANTS).all(|n| variants.want(&variant(n))));
        assert!(!variants.want(&variant(MAX_VARIANTS)), "each was asked for just now");
        assert!(variants.want(&variant(0)));
        assert_eq!(variants.wanted().len(), MAX_VARIANTS);
    }

    #[test]
    fn a_new_one_takes_the_place_of_the_one_that_was_looked_at_longest_ago() {
        let (variants, start) = (Variants::default(), Instant::now());
        assert!((0..MAX_VARIANTS).all(|n| variants.want_at(&variant(n), start)));
        assert!((0..MAX_VARIANTS).filter(|n| *n != 3).all(|n| variants.want_at(&variant(n), start + SETTLED)));
        assert!(variants.want_at(&variant(MAX_VARIANTS), start + SETTLED));
        assert!(!variants.want_at(&variant(3), start + SETTLED), "it has given way, and no other does so soon");
        assert_eq!(variants.wanted().len(), MAX_VARIANTS);
        assert!(variants.want_at(&variant(3), start + SETTLED * 2));
    }

    #[test]
    fn one_that_is_held_never_gives_way() {
        let (variants, start) = (Variants::default(), Instant::now());
        let mut held: Vec<Variant> = (0..MAX_VARIANTS).map(variant).collect();
        assert!(held.iter().all(|variant| variants.want_at(variant, start)));
        assert!(!variants.want_at(&variant(MAX_VARIANTS), start + KEEP * 2));
        // Another look at the same values ends; the first one goes on.
        assert!(variants.want_at(&variant(5), start + KEEP * 2));
        assert!(!variants.want_at(&variant(MAX_VARIANTS), start + KEEP * 3));
        held.remove(5);
        assert!(variants.want_at(&variant(MAX_VARIANTS), start + KEEP * 3));
        assert!(!variants.wanted().contains(&variant(5)));
    }
}
