//! Which panels a row may concern: an index of their circles.
//!
//! Two steps, each cheaper than asking SQL. An R-tree over the circles' bounding boxes in degrees gives candidates; then
//! the straight line between two points of the unit sphere says on which side of a circle a row lies. Within
//! [`MARGIN`] of the rim it does not say: there only SQL does.
//!
//! # Contract
//! For `haversine_km(row, centre) <= radius` (or `<`): a row [`RowPosition::Inside`] is taken by it, a row [`RowPosition::Outside`] or
//! of a panel that is no candidate is not.

use std::collections::HashMap;

use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

use tallgrass_geo::EARTH_RADIUS_KM;

/// Added to each side of a box, degrees (about a metre): more than all rounding on the way there.
const BOX_MARGIN_DEGREES: f64 = 1e-5;

/// Length on the unit sphere (0.06 mm on the Earth) within which SQL decides: some thousand times the rounding error of
/// either formula.
const MARGIN: f64 = 1e-11;

/// Where a row lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    lat: f64,
    lon: f64,
    xyz: [f64; 3],
}

impl Spot {
    /// From degrees; none for what does not lie on the Earth: SQL's distance to it is null.
    pub fn new(lat: f64, lon: f64) -> Option<Self> {
        if lat.is_nan() || lat.abs() > 90.0 || !lon.is_finite() {
            return None;
        }
        let lon = lon % 360.0;
        let lon = if lon >= 180.0 {
            lon - 360.0
        } else if lon < -180.0 {
            lon + 360.0
        } else {
            lon
        };
        Some(Self { lat, lon, xyz: unit(lat, lon) })
    }
}

fn unit(lat: f64, lon: f64) -> [f64; 3] {
    let ((sin_lat, cos_lat), (sin_lon, cos_lon)) = (lat.to_radians().sin_cos(), lon.to_radians().sin_cos());
    [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
}

/// Where a row lies of a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPosition {
    /// SQL would take it.
    Inside,
    /// SQL must be asked.
    Rim,
    /// SQL would not take it.
    Outside,
}

/// A panel's circle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circle {
    centre: Spot,
    angle: f64,
    /// Squared straight distances.
    inside: f64,
    outside: f64,
}

impl Circle {
    /// From degrees and kilometres; none where SQL takes no row: the centre does not lie on the Earth, or the radius is null.
    pub fn new(lat: Option<f64>, lon: Option<f64>, radius_km: Option<f64>) -> Option<Self> {
        let (centre, radius_km) = (Spot::new(lat?, lon?)?, radius_km?);
        if radius_km.is_nan() {
            // Arrow orders NaN above all numbers.
            return Some(Self { centre, angle: f64::INFINITY, inside: -1.0, outside: f64::INFINITY });
        }
        if radius_km / EARTH_RADIUS_KM > std::f64::consts::PI + MARGIN {
            return Some(Self { centre, angle: f64::INFINITY, inside: f64::INFINITY, outside: f64::INFINITY });
        }
        let angle = (radius_km / EARTH_RADIUS_KM).clamp(0.0, std::f64::consts::PI);
        let chord = 2.0 * (angle / 2.0).sin();
        let inside = if chord > MARGIN { (chord - MARGIN).powi(2) } else { -1.0 };
        Some(Self { centre, angle, inside, outside: (chord + MARGIN).powi(2) })
    }

    /// On which side a row lies.
    #[inline]
    pub fn side(&self, spot: &Spot) -> RowPosition {
        let [x, y, z] = [0, 1, 2].map(|axis| self.centre.xyz[axis] - spot.xyz[axis]);
        let square = x * x + y * y + z * z;
        if square <= self.inside {
            RowPosition::Inside
        } else if square > self.outside {
            RowPosition::Outside
        } else {
            RowPosition::Rim
        }
    }

    /// The bounding boxes in degrees, `[lon, lat]`: two where the circle crosses the date line.
    fn boxes(&self) -> Vec<Rectangle<[f64; 2]>> {
        let Spot { lat, lon, .. } = self.centre;
        let reach = self.angle.to_degrees() + BOX_MARGIN_DEGREES;
        let (south, north) = (lat - reach, lat + reach);
        let rectangle = |west: f64, east: f64| Rectangle::from_corners([west, south], [east, north]);
        if north >= 90.0 || south <= -90.0 {
            return vec![rectangle(-180.0, 180.0)];
        }
        // The meridian that touches the circle: sin Δλ = sin δ / cos φ.
        let turn = (reach.to_radians().sin() / lat.to_radians().cos()).clamp(-1.0, 1.0).asin().to_degrees();
        let turn = turn + BOX_MARGIN_DEGREES;
        let (west, east) = (lon - turn, lon + turn);
        if west < -180.0 {
            vec![rectangle(-180.0, east), rectangle(west + 360.0, 180.0)]
        } else if east > 180.0 {
            vec![rectangle(west, 180.0), rectangle(-180.0, east - 360.0)]
        } else {
            vec![rectangle(west, east)]
        }
    }
}

type Boxed = GeomWithData<Rectangle<[f64; 2]>, u32>;

/// Circles by the number of their panel.
#[derive(Debug, Default)]
pub struct CircleIndex {
    tree: RTree<Boxed>,
    circles: HashMap<u32, Circle>,
}

impl CircleIndex {
    /// Adds a panel that has none yet.
    pub fn insert(&mut self, panel: u32, circle: Circle) {
        for rectangle in circle.boxes() {
            self.tree.insert(Boxed::new(rectangle, panel));
        }
        self.circles.insert(panel, circle);
    }

    /// Takes a panel out.
    pub fn remove(&mut self, panel: u32) {
        for rectangle in self.circles.remove(&panel).iter().flat_map(Circle::boxes) {
            self.tree.remove(&Boxed::new(rectangle, panel));
        }
    }

    /// Every panel whose box holds the spot; each once.
    pub fn candidates(&self, spot: &Spot) -> impl Iterator<Item = u32> + '_ {
        let point = AABB::from_point([spot.lon, spot.lat]);
        self.tree.locate_in_envelope_intersecting(point).map(|boxed| boxed.data)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use tallgrass_geo::distance_km;

    fn degrees(limit: f64) -> impl Strategy<Value = f64> {
        prop_oneof![
            -limit..=limit,
            Just(limit),
            Just(-limit),
            Just(0.0),
            (limit - 0.01)..=limit,
            -limit..=(0.01 - limit)
        ]
    }

    fn radius() -> impl Strategy<Value = f64> {
        prop_oneof![0.0..10.0, 0.0..20_100.0, Just(0.0), Just(20_015.1), Just(10_007.55), Just(1e9), Just(-1.0)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn no_row_that_the_distance_takes_is_missed_and_no_side_is_wrong(
            (lat, lon, radius) in (degrees(90.0), degrees(180.0), radius()),
            (row_lat, row_lon) in (degrees(90.0), degrees(540.0)),
            near in any::<bool>(),
        ) {
            // Half of the rows close to the rim, where it matters.
            let (row_lat, row_lon) = if near && radius < 20_015.0 && radius > 0.0 {
                tallgrass_geo::Projection::new(lat, lon)
                    .inverse(radius * row_lon.to_radians().sin(), radius * row_lon.to_radians().cos())
            } else { (row_lat, row_lon) };
            let circle = Circle::new(Some(lat), Some(lon), Some(radius)).unwrap();
            let spot = Spot::new(row_lat, row_lon).unwrap();
            let mut index = CircleIndex::default();
            index.insert(7, circle);
            let found: Vec<u32> = index.candidates(&spot).collect();
            let taken = distance_km(row_lat, row_lon, lat, lon) <= radius;
            prop_assert!(found.len() <= 1, "once");
            prop_assert!(!taken || found == [7], "missed at {row_lat} {row_lon}");
            match circle.side(&spot) {
                RowPosition::Inside => prop_assert!(taken),
                RowPosition::Outside => prop_assert!(!taken),
                RowPosition::Rim => {}
            }
            index.remove(7);
            prop_assert_eq!(index.candidates(&spot).count(), 0);
        }
    }

    #[test]
    fn an_invalid_place_is_nowhere() {
        assert!(Spot::new(90.1, 0.0).is_none() && Spot::new(f64::NAN, 0.0).is_none());
        assert!(Spot::new(0.0, f64::INFINITY).is_none());
        assert!(Circle::new(None, Some(0.0), Some(1.0)).is_none());
        assert_eq!(Spot::new(10.0, 180.0), Spot::new(10.0, -180.0));
        assert_eq!(Spot::new(10.0, 540.0), Spot::new(10.0, -180.0));
    }

    #[test]
    fn few_boxes_are_looked_at() {
        let mut index = CircleIndex::default();
        for panel in 0..1000 {
            let (lat, lon) = (f64::from(panel / 40) * 5.0 - 60.0, f64::from(panel % 40) * 9.0 - 180.0);
            index.insert(panel, Circle::new(Some(lat), Some(lon), Some(3.0)).unwrap());
        }
        let spot = Spot::new(0.0, 0.0).unwrap();
        assert_eq!(index.candidates(&spot).count(), 1);
        assert_eq!(index.candidates(&Spot::new(2.5, 4.5).unwrap()).count(), 0);
    }
}
