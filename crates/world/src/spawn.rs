//! Where Pokémon appear: around a spawn point, evenly by area.
//!
//! Distances are lengths on the sphere, never degrees: a degree of longitude is 85 km in Madrid and nothing at the pole.

use std::f64::consts::{PI, TAU};

use rand::RngExt;

use tallgrass_geo::EARTH_RADIUS_KM;

/// A place on the sphere, degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeoPoint {
    /// Degrees north, −90 to 90.
    pub lat: f64,
    /// Degrees east, −180 to 180.
    pub lon: f64,
}

/// The spawn points when none are named: the centres of Madrid and of Buenos Aires.
pub const CITIES: [GeoPoint; 2] = [GeoPoint { lat: 40.4168, lon: -3.7038 }, GeoPoint { lat: -34.6037, lon: -58.3816 }];

/// A spherical cap: all places within a distance of its centre.
///
/// It keeps the centre as an orthonormal frame (up, east, north), in which nothing special happens at the poles or at
/// the date line.
#[derive(Debug, Clone)]
pub(crate) struct Cap {
    lon: f64,
    sin_lat: f64,
    cos_lat: f64,
    sin_half_radius: f64,
}

impl Cap {
    /// The cap of `radius_km` around `centre`; from half of the Earth's circumference on it is the whole sphere.
    pub fn new(centre: GeoPoint, radius_km: f64) -> Self {
        let (sin_lat, cos_lat) = centre.lat.to_radians().sin_cos();
        let half_radius = (radius_km / EARTH_RADIUS_KM).min(PI) / 2.0;
        Self { lon: centre.lon, sin_lat, cos_lat, sin_half_radius: half_radius.sin() }
    }

    /// A random place in the cap, evenly by area.
    ///
    /// The area within the angle δ is 2π(1 − cos δ) = 4π sin²(δ/2): sin²(δ/2) must be uniform. (Drawing cos δ would keep 7
    /// digits at most in a small cap, drawing δ itself would crowd the centre.)
    pub fn scatter(&self, dice: &mut impl rand::Rng) -> GeoPoint {
        let half = (dice.random::<f64>().sqrt() * self.sin_half_radius).asin();
        let bearing = dice.random::<f64>() * TAU;
        self.towards(bearing, 2.0 * half)
    }

    /// The place at an angle from the centre, at a bearing clockwise from north (radians).
    fn towards(&self, bearing: f64, angle: f64) -> GeoPoint {
        let (sin_bearing, cos_bearing) = bearing.sin_cos();
        let (sin_angle, cos_angle) = angle.sin_cos();
        let east = sin_angle * sin_bearing;
        let north = sin_angle * cos_bearing;
        let outward = self.cos_lat * cos_angle - self.sin_lat * north;
        let axis = self.sin_lat * cos_angle + self.cos_lat * north;
        // `atan2` instead of `asin(axis)`, which is blind to the last 10 cm before a pole.
        let lat = axis.atan2(outward.hypot(east)).to_degrees();
        let lon = self.lon + east.atan2(outward).to_degrees();
        GeoPoint {
            lat,
            lon: if lon >= 180.0 {
                lon - 360.0
            } else if lon < -180.0 {
                lon + 360.0
            } else {
                lon
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, dice};
    use tallgrass_geo::distance_km;

    /// A centre with the reason why it is special, and the spread around it.
    const CAPS: [(GeoPoint, f64); 8] = [
        (CITIES[0], 5.0),
        (CITIES[1], 0.05),
        (GeoPoint { lat: 90.0, lon: 0.0 }, 5.0),
        (GeoPoint { lat: -89.999, lon: 77.0 }, 2.0),
        (GeoPoint { lat: 65.0, lon: 180.0 }, 5.0),
        (GeoPoint { lat: -17.0, lon: -179.999 }, 50.0),
        (GeoPoint { lat: 10.0, lon: 20.0 }, 9_000.0),
        (GeoPoint { lat: 10.0, lon: 20.0 }, 1e9),
    ];

    #[test]
    fn every_place_is_valid_and_within_the_radius() {
        for (centre, radius_km) in CAPS {
            let (cap, mut dice) = (Cap::new(centre, radius_km), dice(1, Purpose::Pokemon));
            for _ in 0..20_000 {
                let GeoPoint { lat, lon } = cap.scatter(&mut dice);
                assert!(lat.abs() <= 90.0 && (-180.0..180.0).contains(&lon), "{lat} {lon}");
                let apart = distance_km(centre.lat, centre.lon, lat, lon);
                assert!(apart <= radius_km * (1.0 + 1e-9) + 1e-9, "{apart} km from {centre:?}");
            }
        }
    }

    #[test]
    fn area_decides_how_many_appear() {
        for (centre, radius_km) in CAPS {
            let (cap, mut dice) = (Cap::new(centre, radius_km), dice(2, Purpose::Pokemon));
            let area = |km: f64| ((km / EARTH_RADIUS_KM).min(PI) / 2.0).sin().powi(2);
            let radius_km = radius_km.min(PI * EARTH_RADIUS_KM);
            let (draws, mut inner, mut quarters) = (40_000, [0_u32; 4], [0_u32; 4]);
            for _ in 0..draws {
                let GeoPoint { lat, lon } = cap.scatter(&mut dice);
                let apart = distance_km(centre.lat, centre.lon, lat, lon);
                for (ring, count) in (1..=4).zip(&mut inner) {
                    *count += u32::from(apart <= radius_km * f64::from(ring) / 4.0);
                }
                let east = (lon - centre.lon).rem_euclid(360.0) < 180.0;
                quarters[usize::from(east) * 2 + usize::from(lat > centre.lat)] += 1;
            }
            for (ring, count) in (1..=3).zip(inner) {
                let share = area(radius_km * f64::from(ring) / 4.0) / area(radius_km);
                let seen = f64::from(count) / f64::from(draws);
                assert!((seen - share).abs() < 0.012, "ring {ring} of {centre:?}: {seen} instead of {share}");
            }
            let west = f64::from(quarters[0] + quarters[1]) / f64::from(draws);
            assert!((west - 0.5).abs() < 0.012, "west of {centre:?}: {west}");
            if radius_km < 100.0 && centre.lat.abs() < 70.0 {
                assert!(quarters.iter().all(|count| (f64::from(*count) / f64::from(draws) - 0.25).abs() < 0.012));
            }
        }
    }

    #[test]
    fn bearings_are_clockwise_from_north() {
        let cap = Cap::new(CITIES[0], 5.0);
        let step = 1.0 / EARTH_RADIUS_KM;
        let [north, east, south, west] = [0.0, 0.25, 0.5, 0.75].map(|turn| cap.towards(turn * TAU, step));
        assert!(north.lat > CITIES[0].lat && (north.lon - CITIES[0].lon).abs() < 1e-9);
        assert!(east.lon > CITIES[0].lon && (east.lat - CITIES[0].lat).abs() < 1e-4);
        assert!(south.lat < CITIES[0].lat && west.lon < CITIES[0].lon);
        assert!((distance_km(CITIES[0].lat, CITIES[0].lon, east.lat, east.lon) - 1.0).abs() < 1e-9);
    }
}
