//! The ground of a panel's map: rings, graticule and their labels, and the texts of distances and bearings.
//!
//! On paper the circle's radius is [`RADIUS_UNITS`], y downwards.

use std::f64::consts::TAU;
use std::fmt::Write as _;

use serde::Serialize;

use super::link::Area;
use tallgrass_geo::{EARTH_RADIUS_KM, Projection};
use tallgrass_sink::places::{LATITUDE, LONGITUDE, show_degrees};
use tallgrass_sink::scale::{decimals_of, multiples};

/// The radius of the panel's circle on paper.
pub const RADIUS_UNITS: f64 = 92.0;

/// Points of a line of the graticule: enough that a curve looks like one.
const LINE_POINTS: u32 = 48;

/// Lines of the graticule across the circle, about.
const LINES: f64 = 5.0;

/// A circle of the map with its distance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ring {
    /// On paper.
    pub r: f64,
    /// `1.5 km`.
    pub label: String,
}

/// A word at a line of the graticule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    /// On paper.
    pub x: f64,
    /// On paper, downwards.
    pub y: f64,
    /// `40.42°N`.
    pub text: String,
}

/// What the map shows before anything appears.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ground {
    /// Circles of equal distance, the outermost last: the panel's own.
    pub rings: Vec<Ring>,
    /// Parallels and meridians as one path.
    pub graticule: String,
    /// Their names.
    pub labels: Vec<Label>,
}

impl Ground {
    /// Of a panel.
    pub fn of(area: Area) -> Self {
        let plane = Projection::new(area.lat, area.lon);
        let mut ground = Self { rings: rings(area.radius_km), graticule: String::new(), labels: Vec::new() };
        let reach = (area.radius_km / EARTH_RADIUS_KM).to_degrees();
        let (south, north) = ((area.lat - reach).max(-90.0), (area.lat + reach).min(90.0));
        let step = nice(2.0 * reach / LINES).min(30.0);
        for parallel in multiples((south, north), step) {
            if parallel.abs() < 90.0 {
                let turn = half_turn(&plane, parallel, reach);
                let points = (0..=LINE_POINTS).map(|point| {
                    let share = f64::from(point) / f64::from(LINE_POINTS) * 2.0 - 1.0;
                    (parallel, area.lon + turn * share)
                });
                ground.line(
                    &plane,
                    area.radius_km,
                    points,
                    &show_degrees(parallel, decimals_of(step), LATITUDE),
                    false,
                );
            }
        }
        // The widest turn that the circle reaches, wherever that is.
        let turn = if north >= 90.0 || south <= -90.0 {
            180.0
        } else {
            (reach.to_radians().sin() / plane.cos_lat()).clamp(-1.0, 1.0).asin().to_degrees()
        };
        let step = nice(2.0 * turn / LINES).min(30.0);
        for meridian in multiples((area.lon - turn, area.lon + turn), step) {
            if turn >= 180.0 && meridian >= area.lon + 180.0 {
                continue;
            }
            let points = (0..=LINE_POINTS).map(|point| {
                let share = f64::from(point) / f64::from(LINE_POINTS);
                (south + (north - south) * share, meridian)
            });
            ground.line(&plane, area.radius_km, points, &show_degrees(meridian, decimals_of(step), LONGITUDE), true);
        }
        ground
    }

    /// Draws what lies in the circle of a line, and names it where it enters.
    fn line(
        &mut self,
        plane: &Projection,
        radius_km: f64,
        points: impl Iterator<Item = (f64, f64)>,
        name: &str,
        upright: bool,
    ) {
        let scale = RADIUS_UNITS / radius_km;
        let (mut drawing, mut last, mut named) = (false, None::<(f64, f64)>, false);
        for (lat, lon) in points {
            let Some((east, north)) = plane.forward(lat, lon) else { continue };
            let (x, y) = (east * scale, -north * scale);
            // A little beyond the rim, which the clip then cuts. Behind the antipode a line jumps to the other side.
            let inside = x.hypot(y) <= RADIUS_UNITS * 1.1;
            let jumped = last.is_some_and(|(px, py)| (x - px).hypot(y - py) > RADIUS_UNITS * 0.6);
            if inside {
                let command = if drawing && !jumped { 'L' } else { 'M' };
                _ = write!(self.graticule, "{command}{x:.1} {y:.1}");
                let room = if upright { y < RADIUS_UNITS * 0.8 && y > 0.0 } else { x > -RADIUS_UNITS * 0.8 && x < 0.0 };
                if !named && room && x.hypot(y) <= RADIUS_UNITS * 0.86 {
                    self.labels.push(Label { x: round(x), y: round(y), text: name.to_owned() });
                    named = true;
                }
            }
            drawing = inside;
            last = Some((x, y));
        }
    }
}

/// How far a parallel can be followed east and west without leaving the circle, degrees.
fn half_turn(plane: &Projection, parallel: f64, reach: f64) -> f64 {
    let (sin_lat, cos_lat) = parallel.to_radians().sin_cos();
    let cos_reach = (reach.min(180.0) * 1.1).min(180.0).to_radians().cos();
    let cos_turn = (cos_reach - plane.sin_lat() * sin_lat) / (plane.cos_lat() * cos_lat);
    if cos_turn.is_nan() { 180.0 } else { cos_turn.clamp(-1.0, 1.0).acos().to_degrees() }
}

/// The rings of a radius: two or three round distances, then itself.
fn rings(radius_km: f64) -> Vec<Ring> {
    let step = nice(radius_km / 3.0);
    let ring = |km: f64| Ring { r: round(km / radius_km * RADIUS_UNITS), label: distance(km) };
    let inner = multiples((step, radius_km * 0.9), step);
    inner.into_iter().chain([radius_km]).map(ring).collect()
}

/// The round number (1, 2 or 5 and zeros) that is nearest.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().min_by(|a, b| {
        let off = |step: &f64| (step * power / value).ln().abs();
        off(a).total_cmp(&off(b))
    });
    step.unwrap_or(1.0) * power
}

/// `850 m`, `1.25 km`, `6,000 km`.
pub fn distance(km: f64) -> String {
    if km < 1.0 {
        return format!("{} m", plain(km * 1000.0, 1));
    }
    format!("{} km", tallgrass_sink::cells::group_digits(&plain(km, 3)))
}

/// At most so many decimals, none of them a trailing zero.
pub fn plain(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The wind that blows from there, of 16.
pub fn compass(east_km: f64, north_km: f64) -> &'static str {
    const WINDS: [&str; 16] =
        ["N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"];
    let turn = east_km.atan2(north_km).rem_euclid(TAU) / TAU;
    WINDS[(turn * 16.0).round() as usize % 16]
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn winds_are_named_clockwise_from_north() {
        let named =
            [(0.0, 1.0), (1.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (-0.01, 1.0)].map(|(x, y)| compass(x, y));
        assert_eq!(named, ["N", "NE", "E", "S", "W", "N"]);
    }

    #[test]
    fn rings_are_round_distances_and_the_radius() {
        let labels = |radius: f64| rings(radius).into_iter().map(|ring| ring.label).collect::<Vec<_>>().join(" ");
        assert_eq!(labels(3.0), "1 km 2 km 3 km");
        assert_eq!(labels(1.5), "500 m 1 km 1.5 km");
        assert_eq!(labels(0.05), "20 m 40 m 50 m");
        assert_eq!(labels(20_000.0), "5,000 km 10,000 km 15,000 km 20,000 km");
    }

    #[test]
    fn there_is_a_graticule_everywhere() {
        for (lat, lon) in [(40.4168, -3.7038), (90.0, 0.0), (-89.99, 77.0), (0.0, 180.0), (65.0, -179.9)] {
            for radius_km in [0.01, 3.0, 500.0, 9_000.0, 20_100.0] {
                let ground = Ground::of(Area { lat, lon, radius_km });
                assert!(ground.graticule.matches('M').count() >= 2, "{lat} {lon} {radius_km}: {ground:?}");
                assert!(ground.graticule.len() < 100_000 && !ground.graticule.contains("NaN"));
                assert!(ground.labels.iter().all(|label| label.x.hypot(label.y) < RADIUS_UNITS));
            }
        }
    }
}
