//! Latitudes and longitudes: clusters of places, and a plane of equal distances around each.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema};

use super::cells::{is_time, numbers};

/// Kilometres of a degree of latitude on a sphere of 6,371.0088 km (the mean radius of the IUGG).
pub(crate) const KM_PER_DEGREE: f64 = 111.195_08;
/// Maps side by side at most.
pub(crate) const MAX_MAPS: usize = 4;
/// Below this extent everything is one place, however scattered: a region fits on a map.
const ONE_PLACE_KM: f64 = 500.0;
/// Cells per side of the grid that finds clusters.
const COARSE: usize = 16;
/// One row with a place on the sphere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// Which of the rows it is
    pub row: usize,
    /// Degrees north
    pub lat: f64,
    /// Degrees east; beyond 180 where marks on both sides of the date line belong together
    pub lon: f64,
    /// The row's first boolean column
    pub special: bool,
}

/// The rows that have a place on the sphere, oldest first by the first time column. Without one the first row is the
/// newest: queries for the last records put them on top.
pub(crate) fn marks(schema: &Schema, rows: &[RecordBatch], lon: usize, lat: usize) -> Vec<Mark> {
    let first = |fits: fn(&DataType) -> bool| schema.fields().iter().position(|field| fits(field.data_type()));
    let moments = first(is_time).map(|column| numbers(rows, column));
    let special = first(|data_type| matches!(data_type, DataType::Boolean));
    let special = special.map(|column| rows.iter().flat_map(|batch| truths(batch, column)).collect::<Vec<_>>());
    let mut marks: Vec<(f64, Mark)> = numbers(rows, lat)
        .into_iter()
        .zip(numbers(rows, lon))
        .enumerate()
        .rev()
        .filter_map(|(row, (lat, lon))| {
            let (lat, lon) = (lat.filter(|lat| lat.abs() <= 90.0)?, lon.filter(|lon| lon.abs() <= 180.0)?);
            let moment = moments.as_ref().and_then(|moments| moments[row]).unwrap_or(f64::MIN);
            let special = special.as_ref().is_some_and(|special| special[row]);
            Some((moment, Mark { row, lat, lon, special }))
        })
        .collect();
    marks.sort_by(|left, right| left.0.total_cmp(&right.0));
    marks.into_iter().map(|(_, mark)| mark).collect()
}

fn truths(batch: &RecordBatch, column: usize) -> Vec<bool> {
    match batch.column(column).as_boolean_opt() {
        Some(flags) => (0..flags.len()).map(|row| flags.is_valid(row) && flags.value(row)).collect(),
        None => vec![false; batch.num_rows()],
    }
}

/// Cuts the circle of longitudes where it is emptiest, so that marks on both sides of the date line stay together.
pub(crate) fn unwrap_longitudes(marks: &mut [Mark]) {
    let mut longitudes: Vec<f64> = marks.iter().map(|mark| mark.lon).collect();
    longitudes.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (longitudes.first(), longitudes.last()) else { return };
    let around = first + 360.0 - last;
    let widest = longitudes.windows(2).map(|pair| (pair[1] - pair[0], pair[1])).max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((gap, after)) = widest.filter(|(gap, _)| *gap > around) {
        debug_assert!(gap > 0.0);
        marks.iter_mut().filter(|mark| mark.lon < after).for_each(|mark| mark.lon += 360.0);
    }
}

/// Clusters of marks that are small compared to the distances between them, west to east; all marks in one where there
/// are none, or too many.
pub(crate) fn split(marks: &[Mark]) -> Vec<Vec<Mark>> {
    let whole = || vec![marks.to_vec()];
    let Some(plane) = Plane::around(marks) else { return Vec::new() };
    let span = (plane.east - plane.west).max(plane.north - plane.south);
    if span * KM_PER_DEGREE < ONE_PLACE_KM {
        return whole();
    }
    let cell = |mark: &Mark| {
        let at = |from: f64, to: f64| (((to - from) / span * COARSE as f64) as usize).min(COARSE - 1);
        at(plane.west, plane.x(mark)) + COARSE * at(plane.south, mark.lat)
    };
    let mut group_of = [None; COARSE * COARSE];
    let mut taken = [false; COARSE * COARSE];
    for mark in marks {
        taken[cell(mark)] = true;
    }
    let mut groups = 0;
    for start in 0..COARSE * COARSE {
        if !taken[start] || group_of[start].is_some() {
            continue;
        }
        let mut next = vec![start];
        while let Some(at) = next.pop() {
            if group_of[at].is_some() {
                continue;
            }
            group_of[at] = Some(groups);
            let (x, y) = (at % COARSE, at / COARSE);
            for y in y.saturating_sub(1)..=(y + 1).min(COARSE - 1) {
                next.extend(
                    (x.saturating_sub(1)..=(x + 1).min(COARSE - 1)).map(|x| x + COARSE * y).filter(|at| taken[*at]),
                );
            }
        }
        groups += 1;
    }
    if !(2..=2 * MAX_MAPS).contains(&groups) {
        return whole();
    }
    let mut maps = vec![Vec::new(); groups];
    for mark in marks {
        if let Some(group) = group_of[cell(mark)] {
            maps[group].push(*mark);
        }
    }
    let small = |map: &Vec<Mark>| {
        Plane::around(map).is_none_or(|part| (part.east - part.west).max(part.north - part.south) < span / 6.0)
    };
    if !maps.iter().all(small) {
        return whole();
    }
    let west = |map: &Vec<Mark>| map.iter().map(|mark| mark.lon).fold(f64::MAX, f64::min);
    maps.sort_by(|left, right| west(left).total_cmp(&west(right)));
    maps
}

/// The plane around some marks: degrees of latitude in both directions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    /// How wide a degree of longitude is here
    pub narrowing: f64,
    /// The left edge
    pub west: f64,
    /// The right edge
    pub east: f64,
    /// The lower edge
    pub south: f64,
    /// The upper edge
    pub north: f64,
}

impl Plane {
    /// The smallest plane with all marks in it.
    pub fn around(marks: &[Mark]) -> Option<Self> {
        let fold = |of: fn(&Mark) -> f64| {
            marks.iter().map(of).fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let ((south, north), (west, east)) = (fold(|mark| mark.lat), fold(|mark| mark.lon));
        // At a pole all longitudes are one place; a little width keeps them apart on screen.
        let narrowing = f64::midpoint(south, north).to_radians().cos().max(0.02);
        (!marks.is_empty()).then_some(Self { narrowing, west: west * narrowing, east: east * narrowing, south, north })
    }

    /// Where the mark is between west and east.
    pub fn x(&self, mark: &Mark) -> f64 {
        mark.lon * self.narrowing
    }

    /// Grown to the picture's shape: a dot is as wide as it is high, in degrees and on screen.
    pub(crate) fn fitted(mut self, dots_x: f64, dots_y: f64) -> (Self, f64) {
        const MARGIN: f64 = 1.08;
        // A single mark still has some ground around it: about 200 m.
        let smallest = 0.002;
        let need = |from: f64, to: f64, dots: f64| ((to - from) * MARGIN).max(smallest) / dots.max(1.0);
        let per_dot = need(self.west, self.east, dots_x).max(need(self.south, self.north, dots_y));
        let (x, y) = (f64::midpoint(self.west, self.east), f64::midpoint(self.south, self.north));
        let (half_x, half_y) = (per_dot * dots_x / 2.0, per_dot * dots_y / 2.0);
        (self.west, self.east, self.south, self.north) = (x - half_x, x + half_x, y - half_y, y + half_y);
        (self, per_dot)
    }
}

/// The sides of a latitude.
pub const LATITUDE: (char, char) = ('N', 'S');
/// The sides of a longitude.
pub const LONGITUDE: (char, char) = ('E', 'W');

/// Degrees with so many decimals, and their side of the equator or of the prime meridian.
pub fn show_degrees(degrees: f64, decimals: usize, (positive, negative): (char, char)) -> String {
    // Longitudes were shifted past 180 to keep neighbours of the date line together.
    let degrees = if positive == 'E' { (degrees + 180.0).rem_euclid(360.0) - 180.0 } else { degrees };
    let side = if degrees < 0.0 { negative } else { positive };
    format!("{:.decimals$}°{side}", degrees.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(places: &[(f64, f64)]) -> Vec<Mark> {
        places.iter().map(|(lat, lon)| Mark { row: 0, lat: *lat, lon: *lon, special: false }).collect()
    }

    #[test]
    fn far_cities_get_a_map_each_and_one_city_gets_one() {
        let madrid = [(40.41, -3.70), (40.45, -3.69), (40.38, -3.74)];
        let buenos_aires = [(-34.60, -58.38), (-34.57, -58.42)];
        assert_eq!(split(&marks(&madrid)).len(), 1);
        let both = split(&marks(&[madrid.as_slice(), &buenos_aires].concat()));
        assert_eq!(both.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3], "west first");
        assert!(split(&[]).is_empty());
        assert_eq!(split(&marks(&[(1.0, 1.0); 5])).len(), 1);
    }

    #[test]
    fn the_date_line_does_not_tear_a_place_apart() {
        let mut fiji = marks(&[(-17.0, 179.9), (-17.0, -179.9), (-16.9, 179.8)]);
        unwrap_longitudes(&mut fiji);
        let longitudes: Vec<f64> = fiji.iter().map(|mark| mark.lon).collect();
        assert!(longitudes.iter().all(|lon| (179.0..181.0).contains(lon)), "{longitudes:?}");
        assert_eq!(show_degrees(180.1, 2, LONGITUDE), "179.90°W");
    }

    #[test]
    fn distances_are_equal_in_both_directions() {
        let plane = Plane::around(&marks(&[(60.0, 10.0), (60.0, 12.0)])).map(|plane| plane.fitted(80.0, 80.0));
        let Some((plane, _)) = plane else { unreachable!() };
        assert!(((plane.east - plane.west) - (plane.north - plane.south)).abs() < 1e-9);
        // At 60° north a degree of longitude is half as long as one of latitude.
        assert!((plane.narrowing - 0.5).abs() < 1e-9);
    }
}
