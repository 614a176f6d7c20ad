//! Places by name, for people who would rather type one than its coordinates.

/// Name, degrees north, degrees east.
pub const CITIES: [(&str, f64, f64); 32] = [
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

/// Latitude and longitude of a text: two numbers as people paste them, or the name of a city.
pub fn find(text: &str) -> Option<(f64, f64)> {
    let parts: Vec<&str> =
        text.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|part| !part.is_empty()).collect();
    if let [lat, lon] = parts.as_slice()
        && let (Ok(lat), Ok(lon)) = (lat.parse::<f64>(), lon.parse::<f64>())
        && lat.is_finite()
        && lon.is_finite()
    {
        return Some((lat, lon));
    }
    let wanted = text.to_lowercase();
    CITIES.iter().find(|(name, _, _)| name.to_lowercase() == wanted).map(|(_, lat, lon)| (*lat, *lon))
}
