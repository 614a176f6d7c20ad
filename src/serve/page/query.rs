//! What a page's address says: `/?wall&near.lat=41.4` is the wall display, with file `near` at another latitude.

use std::collections::BTreeMap;

use crate::pipeline::{Shot, Variant, Variants};

/// Parameters of an address at most.
const MAX_PARAMETERS: usize = 64;

/// The `key=value` pairs of an address, decoded.
pub type Pairs = [(String, String)];

/// What somebody wants to see.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Nothing but tiles, as large as the screen is.
    pub wall: bool,
    /// The files with other values than their own.
    pub variants: BTreeMap<String, Variant>,
    /// The values as they were given, by file and parameter.
    pub given: BTreeMap<String, BTreeMap<String, String>>,
}

impl Wish {
    /// Reads the query of an address; what is wrong with it, for people.
    pub fn parse(pairs: &Pairs, shot: Option<&Shot>) -> Result<Self, String> {
        let mut wish = Self::default();
        if pairs.len() > MAX_PARAMETERS {
            return Err(format!("an address has {MAX_PARAMETERS} parameters at most"));
        }
        for (key, value) in pairs {
            if key == "wall" {
                wish.wall = !matches!(value.as_str(), "false" | "0");
            } else if let Some((file, param)) = key.split_once('.') {
                wish.given.entry(file.to_owned()).or_default().insert(param.to_owned(), value.clone());
            }
        }
        for (name, given) in &wish.given {
            // A file that is gone, or not there yet, is no reason to show nothing.
            let Some(file) = shot.and_then(|shot| shot.file(name)?.file.as_ref()) else { continue };
            if let Some(variant) = Variant::new(file, given).map_err(|error| error.to_string())? {
                wish.variants.insert(name.clone(), variant);
            }
        }
        Ok(wish)
    }

    /// Goes on to want the variants.
    pub fn keep(&self, variants: &Variants) {
        for variant in self.variants.values() {
            // Beyond the limit the file's own values are shown.
            variants.want(variant);
        }
    }

    /// The view to show in a file's place.
    pub fn view_of<'a>(&'a self, file: &'a str) -> &'a str {
        self.variants.get(file).map_or(file, |variant| variant.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wish(pairs: &[(&str, &str)]) -> Result<Wish, String> {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Wish::parse(&pairs, None)
    }

    #[test]
    fn an_address_names_files_and_values() {
        let it = wish(&[("wall", ""), ("near.name", "a b&c"), ("near.lat", "41"), ("x", "1")]).unwrap();
        assert!(it.wall);
        assert_eq!((&*it.given["near"]["name"], &*it.given["near"]["lat"]), ("a b&c", "41"));
        assert_eq!(it.view_of("near"), "near");
        assert!(!wish(&[("wall", "false")]).unwrap().wall);
        assert!(wish(&[("a", "1"); MAX_PARAMETERS + 1]).is_err());
    }
}
