//! Where a place is on a map around another place: the azimuthal equidistant projection.
//!
//! Every distance and bearing from the centre is true, and on a map of a city's size all others nearly so (Snyder,
//! *Map Projections: A Working Manual*, 1987, pages 191 to 202).

use super::sphere::{EARTH_RADIUS_KM, distance_km};

/// A plane that touches the sphere in one place.
#[derive(Debug, Clone, Copy)]
pub struct Projection {
    lat: f64,
    lon: f64,
    sin_lat: f64,
    cos_lat: f64,
}

impl Projection {
    /// Around a centre in degrees.
    pub fn new(lat: f64, lon: f64) -> Self {
        let (sin_lat, cos_lat) = lat.to_radians().sin_cos();
        Self { lat, lon, sin_lat, cos_lat }
    }

    /// Kilometres east and north; `None` for an invalid position.
    pub fn forward(&self, lat: f64, lon: f64) -> Option<(f64, f64)> {
        let distance = distance_km(self.lat, self.lon, lat, lon);
        if distance.is_nan() {
            return None;
        }
        let turn = (lon - self.lon).to_radians();
        let cos_lat = lat.to_radians().cos();
        let east = cos_lat * turn.sin();
        // cos φ₀ sin φ − sin φ₀ cos φ cos Δλ, without its subtraction of near numbers.
        let north = (lat - self.lat).to_radians().sin() + 2.0 * self.sin_lat * cos_lat * (turn / 2.0).sin().powi(2);
        let length = east.hypot(north);
        if length == 0.0 {
            return Some((0.0, distance));
        }
        Some((distance * east / length, distance * north / length))
    }

    /// The sine of the centre's latitude.
    pub fn sin_lat(&self) -> f64 {
        self.sin_lat
    }

    /// Its cosine.
    pub fn cos_lat(&self) -> f64 {
        self.cos_lat
    }

    /// The place that many kilometres east and north.
    pub fn inverse(&self, east_km: f64, north_km: f64) -> (f64, f64) {
        let distance = east_km.hypot(north_km);
        if distance == 0.0 {
            return (self.lat, self.lon);
        }
        let (sin_angle, cos_angle) = (distance / EARTH_RADIUS_KM).sin_cos();
        let (east, north) = (sin_angle * east_km / distance, sin_angle * north_km / distance);
        let outward = self.cos_lat * cos_angle - self.sin_lat * north;
        let axis = self.sin_lat * cos_angle + self.cos_lat * north;
        let lat = axis.atan2(outward.hypot(east)).to_degrees();
        let lon = self.lon + east.atan2(outward).to_degrees();
        (lat, (lon + 540.0).rem_euclid(360.0) - 180.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn distances_and_bearings_from_the_centre_are_true() {
        for (lat, lon) in [(40.4168, -3.7038), (89.9999, 12.0), (-90.0, 0.0), (0.0, 180.0), (-34.6, -58.4)] {
            let plane = Projection::new(lat, lon);
            for (east, north) in [(0.0, 1.0), (1.0, 0.0), (-0.001, 0.002), (300.0, -400.0), (-9000.0, 5000.0)] {
                let (to_lat, to_lon) = plane.inverse(east, north);
                let apart = distance_km(lat, lon, to_lat, to_lon);
                assert!((apart - f64::hypot(east, north)).abs() < 1e-6, "{apart} {east} {north}");
                let (x, y) = plane.forward(to_lat, to_lon).unwrap();
                assert!((x.hypot(y) - apart).abs() < 1e-9);
                if lat.abs() < 89.0 {
                    assert!((x - east).abs() < 1e-6 && (y - north).abs() < 1e-6, "{x} {y} for {east} {north}");
                }
            }
        }
        assert_eq!(Projection::new(0.0, 0.0).forward(91.0, 0.0), None);
    }
}
