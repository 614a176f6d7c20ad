//! What an address asks for: `/?wall&near.lat=41.4` is the wall display, with file `near` at another latitude. The API
//! understands the same values of a view's parameters.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tallgrass_pipeline::{MAX_VARIANTS, Shot, Variant, Variants};

/// Parameters of an address at most.
const MAX_PARAMETERS: usize = 64;

/// The `key=value` pairs of an address, decoded.
pub type Pairs = [(String, String)];

/// What somebody wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Nothing but tiles, as large as the screen is.
    pub wall: bool,
    /// The files with other values than their own.
    pub variants: BTreeMap<String, Variant>,
    /// The files that cannot have the values that are given.
    pub refused: BTreeMap<String, Refusal>,
}

/// Values that a file cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Their texts, by parameter.
    pub given: BTreeMap<String, String>,
    /// Why, for people.
    pub words: String,
}

/// Others look at other values already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_VARIANTS} other sets of values are looked at just now, and that is the limit: try again in a minute")]
pub struct TooMany;

impl Wish {
    /// Reads the query of an address; what is wrong with all of it, for people. Values that are wrong are `refused`.
    pub fn parse(pairs: &Pairs, shot: Option<&Shot>) -> Result<Self, String> {
        let mut wish = Self::default();
        let mut given: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        if pairs.len() > MAX_PARAMETERS {
            return Err(format!("an address has {MAX_PARAMETERS} parameters at most"));
        }
        for (key, value) in pairs {
            if key == "wall" {
                wish.wall = !matches!(value.as_str(), "false" | "0");
            } else if let Some((file, param)) = key.split_once('.') {
                given.entry(file).or_default().insert(param.to_owned(), value.clone());
            }
        }
        for (name, given) in given {
            // A file that is gone, or not there yet, is no reason to show nothing.
            let Some(file) = shot.and_then(|shot| shot.file(name)?.file.as_ref()) else { continue };
            match Variant::new(file, &given) {
                Ok(Some(variant)) => _ = wish.variants.insert(name.to_owned(), variant),
                Ok(None) => {}
                Err(error) => {
                    let refusal = Refusal { given, words: error.to_string() };
                    wish.refused.insert(name.to_owned(), refusal);
                }
            }
        }
        Ok(wish)
    }

    /// Goes on to want the variants.
    pub fn keep(&self, variants: &Variants) -> Result<(), TooMany> {
        if self.variants.values().all(|variant| variants.want(variant)) { Ok(()) } else { Err(TooMany) }
    }

    /// The same; variants that there is no room for are refused.
    pub fn keep_what_fits(&mut self, variants: &Variants) {
        self.variants.retain(|file, variant| {
            let fits = variants.want(variant);
            if !fits {
                let refusal = Refusal { given: variant.values().clone(), words: TooMany.to_string() };
                self.refused.insert(file.clone(), refusal);
            }
            fits
        });
    }

    /// The view to show in a file's place.
    pub fn view_of<'a>(&'a self, file: &'a str) -> &'a str {
        self.variants.get(file).map_or(file, |variant| variant.name())
    }
}

/// A name or a value as a part of an address.
pub fn encoded(text: &str) -> String {
    /// All but what RFC 3986 calls unreserved.
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

    fn wish(pairs: &[(&str, &str)], shot: &Shot) -> Result<Wish, String> {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Wish::parse(&pairs, Some(shot))
    }

    #[test]
    fn an_address_names_files_and_values() {
        let near = "-- @param lat DOUBLE = 40\n-- @param name VARCHAR = 'a'\nSELECT $lat AS lat, $name AS name";
        let mut shot = Shot::default();
        let file = SqlFile::parse("near", "near.sql", near).unwrap();
        let state = FileState {
            name: "near".into(),
            file: Some(file),
            running: None,
            warnings: Vec::new(),
            error: None,
            swap: None,
        };
        Arc::make_mut(&mut shot.files).push(state);
        let it = wish(&[("wall", ""), ("near.name", "a b&c"), ("near.lat", "41"), ("x", "1")], &shot).unwrap();
        assert!(it.wall);
        assert_eq!(it.view_of("near"), "near?lat=41&name=a b&c");
        assert_eq!(it.view_of("far"), "far");
        assert!(!wish(&[("wall", "false")], &shot).unwrap().wall);
        assert!(wish(&[("a", "1"); MAX_PARAMETERS + 1], &shot).is_err());
        let it = wish(&[("near.lat", "1e400"), ("near.name", "b")], &shot).unwrap();
        assert_eq!(it.view_of("near"), "near", "no latitude that a double can hold");
        let refusal = &it.refused["near"];
        assert_eq!((&*refusal.given["lat"], &*refusal.given["name"]), ("1e400", "b"));
        assert!(refusal.words.contains("'1e400' is no value for parameter 'lat'"), "{}", refusal.words);
    }

    #[test]
    fn variants_without_room_are_refused() {
        let near = SqlFile::parse("near", "near.sql", "-- @param n BIGINT = 0\nSELECT $n AS n").unwrap();
        let given = |n: usize| BTreeMap::from([("n".to_owned(), (n + 1).to_string())]);
        let variant = |n| Variant::new(&near, &given(n)).unwrap().unwrap();
        let variants = Variants::default();
        assert!((0..MAX_VARIANTS).all(|n| variants.want(&variant(n))));
        let mut it = Wish::default();
        it.variants.insert("near".to_owned(), variant(MAX_VARIANTS));
        it.keep_what_fits(&variants);
        assert_eq!((it.view_of("near"), &it.refused["near"].given), ("near", &given(MAX_VARIANTS)));
    }
}
