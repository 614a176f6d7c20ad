//! Which panel a link asks for: an area, and values for the file's own parameters.
//!
//! The link is the panel: two links that ask for the same give one panel, whichever tab opens them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::cities::{self, CITIES};
use crate::selection::encoded;
use tallgrass_diagnostics::Diagnostic;
use tallgrass_view::{AREA, Bindings, Param, SqlFile};

/// Half of the Earth's circumference and a little: from there on a panel sees everything.
pub const MAX_RADIUS_KM: f64 = 20_100.0;

/// Radius where neither the link nor the file has one.
const DEFAULT_RADIUS_KM: f64 = 3.0;

/// Values that a link may give besides the area: more than any file has parameters, few enough to bound a link.
const MAX_VALUES: usize = 16;

/// Longest name or value in a link, bytes.
const MAX_BYTES: usize = 200;

/// A centre and a radius.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Area {
    /// Degrees north, −90 to 90.
    pub lat: f64,
    /// Degrees east, −180 to 180.
    pub lon: f64,
    /// Kilometres, above 0 and at most [`MAX_RADIUS_KM`].
    pub radius_km: f64,
}

/// What a link asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Where.
    pub area: Area,
    /// Values of the file's own parameters, as they were written.
    pub values: BTreeMap<String, String>,
    /// Whether the panel shall have a consumer group of its own.
    pub own_group: bool,
}

/// A link, understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Address {
    /// It is the panel's own link.
    Canonical(Link),
    /// It is another spelling of this link.
    Alias(Link),
}

/// What is wrong in a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {reason}")]
pub struct BadLink {
    /// The parameter.
    pub parameter: String,
    /// Why it is refused.
    pub reason: String,
}

impl BadLink {
    fn new(parameter: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { parameter: parameter.into(), reason: reason.into() }
    }
}

impl Address {
    /// What is asked for.
    pub fn into_link(self) -> Link {
        match self {
            Self::Canonical(link) | Self::Alias(link) => link,
        }
    }
}

impl Link {
    /// Reads the query of a link. Without a file, which is broken then, any values will do: the plan that still runs judges
    /// them.
    pub fn parse(pairs: Vec<(String, String)>, file: Option<&SqlFile>) -> Result<Address, BadLink> {
        let mut given: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in pairs {
            let value = value.trim();
            if value.len() > MAX_BYTES || name.len() > MAX_BYTES {
                let shown: String = name.chars().take(40).collect();
                return Err(BadLink::new(shown, format!("longer than {MAX_BYTES} bytes")));
            }
            // A form sends its empty fields too.
            if !value.is_empty() {
                given.insert(name, value.to_owned());
            }
        }
        let default = |name: &str| file.and_then(|file| default_of(file, name));
        let radius_km = match given.remove("radius_km") {
            Some(text) => number("radius_km", &text)?,
            None => default("radius_km").unwrap_or(DEFAULT_RADIUS_KM),
        };
        if !(radius_km > 0.0 && radius_km <= MAX_RADIUS_KM) {
            let reason = format!("{radius_km} is not a radius: kilometres, above 0 and at most {MAX_RADIUS_KM}");
            return Err(BadLink::new("radius_km", reason));
        }
        let (named, lat, lon) = (given.remove("place"), given.remove("lat"), given.remove("lon"));
        let is_alias = named.is_some() || (lat.is_none() && lon.is_none());
        let (lat, lon) = match (named, lat, lon) {
            (Some(text), _, _) => cities::find(&text).ok_or_else(|| {
                let reason = format!(
                    "'{text}' is not a known place: write latitude and longitude as in 40.4168, -3.7038, or a name \
                     from the list"
                );
                BadLink::new("place", reason)
            })?,
            (None, Some(lat), Some(lon)) => (number("lat", &lat)?, number("lon", &lon)?),
            (None, None, None) => default("lat").zip(default("lon")).unwrap_or((CITIES[0].1, CITIES[0].2)),
            (None, None, Some(_)) => return Err(BadLink::new("lat", "is missing: a place needs lat and lon")),
            (None, Some(_), None) => return Err(BadLink::new("lon", "is missing: a place needs lat and lon")),
        };
        if lat.abs() > 90.0 {
            return Err(BadLink::new("lat", format!("{lat} is not a latitude: degrees north, -90 to 90")));
        }
        if lon.abs() > 180.0 {
            return Err(BadLink::new("lon", format!("{lon} is not a longitude: degrees east, -180 to 180")));
        }
        let own_group = match given.remove("own_group").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(BadLink::new("own_group", "is true or false")),
        };
        if given.len() > MAX_VALUES {
            return Err(BadLink::new("the link", format!("has more than {MAX_VALUES} parameters")));
        }
        let link = Self { area: Area { lat, lon, radius_km }, values: given, own_group };
        file.map_or(Ok(()), |file| link.check_values(file))?;
        Ok(if is_alias { Address::Alias(link) } else { Address::Canonical(link) })
    }

    /// Names the first value that the file cannot take, or lacks.
    fn check_values(&self, file: &SqlFile) -> Result<(), BadLink> {
        if let Some(name) = self.values.keys().find(|name| own_params(file).all(|param| param.name != **name)) {
            let names: Vec<&str> = file.params().iter().map(|param| param.name.as_str()).collect();
            let reason = format!("{}.sql has no such parameter; it has {}", file.name(), names.join(", "));
            return Err(BadLink::new(name, reason));
        }
        for param in own_params(file) {
            match self.values.get(&param.name).map(|text| (text, ScalarValue::from(text.as_str()))) {
                Some((text, value)) if value.cast_to(&param.data_type).is_err() => {
                    let reason = format!("'{text}' is not a value of type {}", param.data_type);
                    return Err(BadLink::new(&param.name, reason));
                }
                None if param.default.is_none() => {
                    let reason = format!("is missing: {}.sql has no default for it", file.name());
                    return Err(BadLink::new(&param.name, reason));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The values of all the file's parameters.
    pub fn bind(&self, file: &SqlFile) -> Result<Bindings, Diagnostic> {
        let Area { lat, lon, radius_km } = self.area;
        let area = AREA.into_iter().zip([lat, lon, radius_km].map(ScalarValue::from));
        file.bind(area.chain(self.values.iter().map(|(name, text)| (name.as_str(), ScalarValue::from(text.as_str())))))
    }

    /// The query of the panel's own link, always in one order.
    pub fn query(&self) -> String {
        let Area { lat, lon, radius_km } = self.area;
        let mut query = format!("lat={lat}&lon={lon}&radius_km={radius_km}");
        for (name, value) in &self.values {
            _ = write!(query, "&{}={}", encoded(name), encoded(value));
        }
        if self.own_group {
            query.push_str("&own_group=true");
        }
        query
    }
}

/// The parameters of a file that are not its area.
pub fn own_params(file: &SqlFile) -> impl Iterator<Item = &Param> {
    file.params().iter().filter(|param| !AREA.contains(&param.name.as_str()))
}

fn default_of(file: &SqlFile, name: &str) -> Option<f64> {
    let param = file.params().iter().find(|param| param.name == name)?;
    match param.default.as_ref()?.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(value)) => value,
        _ => None,
    }
}

fn number(parameter: &str, text: &str) -> Result<f64, BadLink> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(BadLink::new(parameter, format!("'{text}' is not a number"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn parse(given: &[(&str, &str)]) -> Result<Address, BadLink> {
        Link::parse(pairs(given), None)
    }

    #[test]
    fn a_link_says_where() {
        let Address::Canonical(link) =
            parse(&[("lon", "-3.7038"), ("lat", " 40.4168 "), ("radius_km", "1.5")]).unwrap()
        else {
            panic!("it is the panel's own")
        };
        assert_eq!(link.query(), "lat=40.4168&lon=-3.7038&radius_km=1.5");
        let pasted = parse(&[("place", "40.4168, -3.7038"), ("lat", "1"), ("lon", "2"), ("radius_km", "1.5")]).unwrap();
        assert_eq!(pasted, Address::Alias(link.clone()));
        let named = parse(&[("place", "madrid"), ("radius_km", "1.5"), ("lat", ""), ("lon", "")]).unwrap();
        assert_eq!(named, Address::Alias(link));
        assert!(matches!(parse(&[]).unwrap(), Address::Alias(Link { area, .. }) if area.radius_km == 3.0));
    }

    #[test]
    fn values_of_a_files_own_parameters_are_part_of_the_link() {
        let asked = parse(&[("lat", "0"), ("lon", "0"), ("kind", "Fire & Ice"), ("own_group", "true")]).unwrap();
        let Address::Canonical(link) = asked else { panic!("it is the panel's own") };
        assert_eq!(link.query(), "lat=0&lon=0&radius_km=3&kind=Fire%20%26%20Ice&own_group=true");
    }

    #[test]
    fn a_files_defaults_count_and_its_parameters_are_the_only_ones() {
        let sql = "-- @param lat DOUBLE = 52.5\n-- @param lon DOUBLE = 13.4\n-- @param radius_km DOUBLE = 2\n\
                   -- @param charge INT\nSELECT $lat, $lon, $radius_km, $charge";
        let file = SqlFile::parse("bikes", "q/panels/bikes.sql", sql).unwrap();
        let parse = |given: &[(&str, &str)]| Link::parse(pairs(given), Some(&file));
        let link = parse(&[("charge", "20")]).unwrap().into_link();
        assert_eq!(link.query(), "lat=52.5&lon=13.4&radius_km=2&charge=20");
        let refused = [parse(&[("charge", "20"), ("colour", "red")]), parse(&[("charge", "much")]), parse(&[])];
        let messages: Vec<String> = refused.into_iter().map(|refused| refused.unwrap_err().to_string()).collect();
        assert_eq!(
            messages,
            [
                "colour: bikes.sql has no such parameter; it has lat, lon, radius_km, charge",
                "charge: 'much' is not a value of type Int32",
                "charge: is missing: bikes.sql has no default for it",
            ]
        );
    }

    #[test]
    fn a_wrong_link_names_its_wrong_parameter() {
        for (pairs, parameter) in [
            (&[("lat", "91"), ("lon", "0")][..], "lat"),
            (&[("lat", "0"), ("lon", "-180.1")], "lon"),
            (&[("lat", "0"), ("lon", "NaN")], "lon"),
            (&[("lat", "0")], "lon"),
            (&[("lon", "0")], "lat"),
            (&[("lat", "0"), ("lon", "0"), ("radius_km", "0")], "radius_km"),
            (&[("lat", "0"), ("lon", "0"), ("radius_km", "20100.1")], "radius_km"),
            (&[("lat", "0"), ("lon", "0"), ("radius_km", "3 km")], "radius_km"),
            (&[("place", "Atlantis")], "place"),
            (&[("place", "1e999, 0")], "place"),
            (&[("lat", "0"), ("lon", "0"), ("own_group", "yes")], "own_group"),
        ] {
            assert_eq!(parse(pairs).unwrap_err().parameter, parameter, "{pairs:?}");
        }
    }
}
