//! The extent of a map: a centre and a radius. A map stays as long as its marks fit, for a map that moves with every record
//! cannot be read.

use crate::places::Mark;
use tallgrass_geo::{EARTH_RADIUS_KM, Projection};

/// A lone mark still has some ground around it.
const MIN_RADIUS_KM: f64 = 0.1;
/// Half of the earth's circumference: nothing is farther away.
pub const MAX_RADIUS_KM: f64 = std::f64::consts::PI * EARTH_RADIUS_KM;
/// A map gets a new extent when its marks fill less than this share of it.
const MIN_FILL: f64 = 0.4;

/// A centre, and the least radius around it that the map shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapExtent {
    /// Degrees north
    pub lat: f64,
    /// Degrees east
    pub lon: f64,
    /// Kilometres from the centre to the nearer edges
    pub radius_km: f64,
}

impl MapExtent {
    /// Kilometres east and north of the centre; NaN for an invalid position.
    pub(super) fn project(&self, lat: f64, lon: f64) -> (f64, f64) {
        Projection::new(self.lat, self.lon).forward(lat, lon).unwrap_or((f64::NAN, f64::NAN))
    }

    /// The radius that these marks need in a panel of this shape.
    fn needs(&self, marks: &[Mark], (wide, high): (f64, f64)) -> f64 {
        let reach = |mark: &Mark| {
            let (x, y) = self.project(mark.lat, mark.lon);
            (x.abs() / wide).max(y.abs() / high)
        };
        marks.iter().map(reach).fold(0.0, f64::max)
    }

    /// A centre for the marks, and a radius that leaves them room to move.
    pub(super) fn around(marks: &[Mark], shape: (f64, f64)) -> Self {
        let ends = |of: fn(&Mark) -> f64| {
            marks.iter().map(of).fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let ((south, north), (west, east)) = (ends(|mark| mark.lat), ends(|mark| mark.lon));
        let mut extent = Self { lat: f64::midpoint(south, north), lon: f64::midpoint(west, east), radius_km: 0.0 };
        extent.radius_km = (extent.needs(marks, shape) * 1.15).clamp(MIN_RADIUS_KM, MAX_RADIUS_KM);
        extent
    }

    /// Whether the marks can be read on a map of this extent.
    pub(super) fn suits(&self, marks: &[Mark], shape: (f64, f64)) -> bool {
        let needs = self.needs(marks, shape);
        needs <= self.radius_km && (needs >= self.radius_km * MIN_FILL || self.radius_km <= 2.0 * MIN_RADIUS_KM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_stays_while_its_marks_fit() {
        let mark = |lat, lon| Mark { row: 0, lat, lon, special: false };
        let marks = [mark(40.40, -3.72), mark(40.44, -3.69)];
        let extent = MapExtent::around(&marks, (1.0, 1.0));
        assert!(extent.suits(&marks, (1.0, 1.0)));
        assert!(extent.suits(&[mark(40.401, -3.72), mark(40.441, -3.69)], (1.0, 1.0)), "a little movement");
        assert!(!extent.suits(&[mark(40.40, -3.72), mark(41.0, -3.69)], (1.0, 1.0)), "beyond its edge");
        assert!(!extent.suits(&[mark(40.42, -3.7049)], (1.0, 1.0)), "far too large");
    }
}
