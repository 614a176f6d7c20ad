//! Which panel a link asks for: a place, a radius, and what else the file lets one choose.
//!
//! The link is the panel: two links that ask for the same give one panel, whoever opens them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Half of the Earth's circumference and a little: from there on a panel sees everything.
pub const MAX_RADIUS_KM: f64 = 20_100.0;

/// Radius where neither the link nor the file says one.
pub const DEFAULT_RADIUS_KM: f64 = 3.0;

/// Parameters of a file that a link may set besides the place: more than any file has, few enough to bound a link.
const MAX_OTHERS: usize = 16;

/// Longest text of such a parameter, bytes.
const MAX_OTHER_BYTES: usize = 200;

/// Places by name, for whoever would rather type one: name, degrees north, degrees east.
pub const PLACES: [(&str, f64, f64); 32] = [
    ("Madrid", 40.4168, -3.7038),
    ("Buenos Aires", -34.6037, -58.3816),
    ("Amsterdam", 52.3676, 4.9041),
    ("Athens", 37.9838, 23.7275),
    ("Auckland", -36.8509, 174.7645),
    ("Bangkok", 13.7563, 100.5018),
    ("Barcelona", 41.3874, 2.1686),
    ("Beijing", 39.9042, 116.4074),
    ("Berlin", 52.52, 13.405),
    ("Bogotá", 4.711, -74.0721),
    ("Cairo", 30.0444, 31.2357),
    ("Cape Town", -33.9249, 18.4241),
    ("Delhi", 28.6139, 77.209),
    ("Istanbul", 41.0082, 28.9784),
    ("Jakarta", -6.2088, 106.8456),
    ("Lagos", 6.5244, 3.3792),
    ("Lima", -12.0464, -77.0428),
    ("Lisbon", 38.7223, -9.1393),
    ("London", 51.5072, -0.1276),
    ("Mexico City", 19.4326, -99.1332),
    ("Montréal", 45.5019, -73.5674),
    ("Mumbai", 19.076, 72.8777),
    ("Nairobi", -1.2921, 36.8219),
    ("New York", 40.7128, -74.006),
    ("Paris", 48.8566, 2.3522),
    ("Reykjavík", 64.1466, -21.9426),
    ("Rome", 41.9028, 12.4964),
    ("San Francisco", 37.7749, -122.4194),
    ("São Paulo", -23.5505, -46.6333),
    ("Seoul", 37.5665, 126.978),
    ("Sydney", -33.8688, 151.2093),
    ("Tokyo", 35.6762, 139.6503),
];

/// A centre and a radius.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Place {
    /// Degrees north, −90 to 90.
    pub lat: f64,
    /// Degrees east, −180 to 180.
    pub lon: f64,
    /// Kilometres, above 0 and at most [`MAX_RADIUS_KM`].
    pub radius_km: f64,
}

/// What a link asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Where.
    pub place: Place,
    /// Other parameters of the file, as they were written.
    pub others: BTreeMap<String, String>,
    /// Whether the panel shall have a consumer group of its own.
    pub own_group: bool,
}

/// A link, understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// It is the panel's own.
    Panel(Request),
    /// It says in other words what this one's own link says.
    Elsewhere(Request),
}

/// What is wrong in a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {reason}")]
pub struct BadLink {
    /// The parameter.
    pub parameter: String,
    /// Why it will not do.
    pub reason: String,
}

impl BadLink {
    /// Of a parameter.
    pub fn new(parameter: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { parameter: parameter.into(), reason: reason.into() }
    }
}

impl Request {
    /// Reads the parameters of a link; `default_radius_km` is the file's own.
    pub fn parse(pairs: Vec<(String, String)>, default_radius_km: f64) -> Result<Asked, BadLink> {
        let mut given: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in pairs {
            let value = value.trim();
            if value.len() > MAX_OTHER_BYTES || name.len() > MAX_OTHER_BYTES {
                let shown: String = name.chars().take(40).collect();
                return Err(BadLink::new(shown, format!("longer than {MAX_OTHER_BYTES} bytes")));
            }
            // A form sends its empty fields too.
            if !value.is_empty() {
                given.insert(name, value.to_owned());
            }
        }
        let radius_km = match given.remove("radius_km") {
            Some(text) => number("radius_km", &text)?,
            None => default_radius_km,
        };
        if !(radius_km > 0.0 && radius_km <= MAX_RADIUS_KM) {
            let reason = format!("{radius_km} is no radius: kilometres, above 0 and at most {MAX_RADIUS_KM}");
            return Err(BadLink::new("radius_km", reason));
        }
        let (named, lat, lon) = (given.remove("place"), given.remove("lat"), given.remove("lon"));
        let elsewhere = named.is_some() || (lat.is_none() && lon.is_none());
        let (lat, lon) = match (named, lat, lon) {
            (Some(text), _, _) => named_place(&text)?,
            (None, Some(lat), Some(lon)) => (number("lat", &lat)?, number("lon", &lon)?),
            (None, None, None) => (PLACES[0].1, PLACES[0].2),
            (None, None, Some(_)) => return Err(BadLink::new("lat", "is missing: a place needs lat and lon")),
            (None, Some(_), None) => return Err(BadLink::new("lon", "is missing: a place needs lat and lon")),
        };
        if lat.abs() > 90.0 {
            return Err(BadLink::new("lat", format!("{lat} is no latitude: degrees north, -90 to 90")));
        }
        if lon.abs() > 180.0 {
            return Err(BadLink::new("lon", format!("{lon} is no longitude: degrees east, -180 to 180")));
        }
        let own_group = match given.remove("own_group").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(BadLink::new("own_group", "is true or false")),
        };
        if given.len() > MAX_OTHERS {
            return Err(BadLink::new("the link", format!("has more than {MAX_OTHERS} parameters")));
        }
        let request = Self { place: Place { lat, lon, radius_km }, others: given, own_group };
        Ok(if elsewhere { Asked::Elsewhere(request) } else { Asked::Panel(request) })
    }

    /// The parameters of the panel's own link, always in one order.
    pub fn query(&self) -> String {
        let Place { lat, lon, radius_km } = self.place;
        let mut query = format!("lat={lat}&lon={lon}&radius_km={radius_km}");
        for (name, value) in &self.others {
            query.push('&');
            push_encoded(&mut query, name);
            query.push('=');
            push_encoded(&mut query, value);
        }
        if self.own_group {
            query.push_str("&own_group=true");
        }
        query
    }
}

/// Two numbers as people paste them, or a name.
fn named_place(text: &str) -> Result<(f64, f64), BadLink> {
    let parts: Vec<&str> =
        text.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|part| !part.is_empty()).collect();
    if let [lat, lon] = parts.as_slice()
        && let (Ok(lat), Ok(lon)) = (lat.parse::<f64>(), lon.parse::<f64>())
        && lat.is_finite()
        && lon.is_finite()
    {
        return Ok((lat, lon));
    }
    let wanted = text.to_lowercase();
    let found = PLACES.iter().find(|(name, _, _)| name.to_lowercase() == wanted);
    found.map(|(_, lat, lon)| (*lat, *lon)).ok_or_else(|| {
        let reason = format!(
            "'{text}' is no place that this page knows: write latitude and longitude as in 40.4168, -3.7038, \
             or a name from its list"
        );
        BadLink::new("place", reason)
    })
}

fn number(parameter: &str, text: &str) -> Result<f64, BadLink> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(BadLink::new(parameter, format!("'{text}' is no number"))),
    }
}

/// Percent-encodes all that is not unreserved in RFC 3986.
fn push_encoded(query: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            _ = write!(query, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Asked, BadLink> {
        Request::parse(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), 3.0)
    }

    #[test]
    fn a_link_says_where() {
        let Asked::Panel(request) = parse(&[("lon", "-3.7038"), ("lat", " 40.4168 "), ("radius_km", "1.5")]).unwrap()
        else {
            panic!("it is the panel's own")
        };
        assert_eq!(request.query(), "lat=40.4168&lon=-3.7038&radius_km=1.5");
        let pasted = parse(&[("place", "40.4168, -3.7038"), ("lat", "1"), ("lon", "2"), ("radius_km", "1.5")]).unwrap();
        assert_eq!(pasted, Asked::Elsewhere(request.clone()));
        let named = parse(&[("place", "madrid"), ("radius_km", "1.5"), ("lat", ""), ("lon", "")]).unwrap();
        assert_eq!(named, Asked::Elsewhere(request));
        assert!(matches!(parse(&[]).unwrap(), Asked::Elsewhere(Request { place, .. }) if place.radius_km == 3.0));
    }

    #[test]
    fn what_else_a_file_lets_one_choose_is_part_of_the_link() {
        let asked = parse(&[("lat", "0"), ("lon", "0"), ("kind", "Fire & Ice"), ("own_group", "true")]).unwrap();
        let Asked::Panel(request) = asked else { panic!("it is the panel's own") };
        assert_eq!(request.query(), "lat=0&lon=0&radius_km=3&kind=Fire%20%26%20Ice&own_group=true");
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
