//! The great-circle distance and the kernels that run it over columns.

use datafusion::arrow::array::{Array, BooleanArray, Float64Array};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};

/// The Earth's mean radius, km: R1 = (2a + b) / 3 of the GRS 80 ellipsoid, 6,371,008.7714 m, to the decimetre
/// (H. Moritz, "Geodetic Reference System 1980", Journal of Geodesy 74, 2000).
pub const EARTH_RADIUS_KM: f64 = 6371.0088;

/// The same in metres.
pub(super) const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// The great-circle distance in km between two places in degrees; NaN where one of them is not valid.
pub fn distance_km(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    EARTH_RADIUS_KM * Position::new(lat1, lon1).angle_to(Position::new(lat2, lon2))
}

/// A place, prepared for measuring: for a constant this is done once per batch.
#[derive(Debug, Clone, Copy)]
struct Position {
    lat: f64,
    lon: f64,
    cos_lat: f64,
}

impl Position {
    /// NaN marks an invalid latitude; it propagates through the arithmetic, so that the loop has no branch for it.
    #[inline]
    fn new(lat: f64, lon: f64) -> Self {
        let lat = if lat.abs() <= 90.0 { lat } else { f64::NAN };
        // `%` is exact; it keeps the difference of two huge longitudes finite and turns an infinity into NaN.
        let lon = if lon.abs() <= 360.0 { lon } else { lon % 360.0 };
        // The sine of the distance to the pole: exactly 0 there, where cos(90°) would leave 6e-17.
        Self { lat, lon, cos_lat: (90.0 - lat.abs()).to_radians().sin() }
    }

    /// The central angle, radians.
    ///
    /// The haversine of the angle is h = sin²(Δφ/2) + cos φ₁ cos φ₂ sin²(Δλ/2) (R. W. Sinnott, "Virtues of the
    /// Haversine", Sky & Telescope 68, 1984), exact for near places. `asin(√h)` loses half of the digits near the
    /// antipode, where h is almost 1. So this also takes the haversine of the angle to the antipode,
    /// 1 − h = sin²((φ₁+φ₂)/2) + cos φ₁ cos φ₂ cos²(Δλ/2), which has no subtraction, and `atan2` of both: no
    /// argument can leave the domain, and neither end needs a clamp.
    #[inline]
    fn angle_to(self, other: Self) -> f64 {
        let across = ((other.lat - self.lat) * 0.5).to_radians().sin();
        let along = ((other.lat + self.lat) * 0.5).to_radians().sin();
        let turn = other.lon - self.lon;
        let turn = turn - 360.0 * (turn / 360.0).round();
        let (sin_turn, cos_turn) = (turn * 0.5).to_radians().sin_cos();
        let cosines = self.cos_lat * other.cos_lat;
        let near = across * across + cosines * (sin_turn * sin_turn);
        let far = along * along + cosines * (cos_turn * cos_turn);
        2.0 * near.sqrt().atan2(far.sqrt())
    }
}

/// One numeric argument: a constant, or one value per row (whose null rows hold any value).
#[derive(Debug, Clone, Copy)]
pub(super) enum Operand<'a> {
    Constant(f64),
    Rows(&'a [f64]),
}

impl Operand<'_> {
    #[inline]
    fn at(self, row: usize) -> f64 {
        match self {
            Self::Constant(value) => value,
            Self::Rows(values) => values[row],
        }
    }
}

/// One end of the distances.
#[derive(Debug, Clone, Copy)]
enum Endpoint<'a> {
    One(Position),
    Many(Operand<'a>, Operand<'a>),
}

impl<'a> Endpoint<'a> {
    fn new(lat: Operand<'a>, lon: Operand<'a>) -> Self {
        match (lat, lon) {
            (Operand::Constant(lat), Operand::Constant(lon)) => Self::One(Position::new(lat, lon)),
            (lat, lon) => Self::Many(lat, lon),
        }
    }

    #[inline]
    fn at(self, row: usize) -> Position {
        match self {
            Self::One(position) => position,
            Self::Many(lat, lon) => Position::new(lat.at(row), lon.at(row)),
        }
    }
}

/// `radius` times the angle between the two ends of each row; null where `nulls` has one or an end is not valid.
pub(super) fn distances(
    rows: usize,
    radius: f64,
    [lat1, lon1, lat2, lon2]: [Operand<'_>; 4],
    nulls: Option<NullBuffer>,
) -> Float64Array {
    let (from, to) = (Endpoint::new(lat1, lon1), Endpoint::new(lat2, lon2));
    let mut nowhere = false;
    let distances: Vec<f64> = (0..rows)
        .map(|row| {
            let distance = radius * from.at(row).angle_to(to.at(row));
            nowhere |= distance.is_nan();
            distance
        })
        .collect();
    let nulls = if nowhere { without(nulls.as_ref(), rows, |row| distances[row].is_nan()) } else { nulls };
    Float64Array::new(distances.into(), nulls)
}

/// `distance <= limit` per row; null where either is, or the limit is NaN.
pub(super) fn within(distances: &Float64Array, limit: Operand<'_>, limit_nulls: Option<&NullBuffer>) -> BooleanArray {
    let rows = distances.values();
    let inside = BooleanBuffer::collect_bool(rows.len(), |row| rows[row] <= limit.at(row));
    let nulls = NullBuffer::union(distances.nulls(), limit_nulls);
    let nulls = without(nulls.as_ref(), rows.len(), |row| limit.at(row).is_nan());
    BooleanArray::new(inside, nulls)
}

/// `nulls` and also every row for which `unknown` holds.
fn without(nulls: Option<&NullBuffer>, rows: usize, unknown: impl Fn(usize) -> bool) -> Option<NullBuffer> {
    let known = NullBuffer::new(BooleanBuffer::collect_bool(rows, |row| !unknown(row)));
    NullBuffer::union(nulls, Some(&known)).filter(|nulls| nulls.null_count() > 0)
}
