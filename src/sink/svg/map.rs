//! Latitudes and longitudes at their true distances from the middle, without tiles and without a network.
//!
//! Each cluster of places has a panel of its own, in the azimuthal equidistant projection around its middle: every
//! distance and bearing from there is true, and in a panel of a city's size so are all others to a hair (Snyder, *Map
//! Projections: A Working Manual*, 1987, pages 191 to 202). The middle and the scale are kept from picture to picture as
//! long as the marks fit, for a map that moves with every record cannot be read.

use maud::{Markup, html};

use super::ink::{Px, clean, dots, polyline};
use super::marks::Rows;
use super::{Drawing, Look, Medium};
use crate::geo::EARTH_RADIUS_KM;
use crate::sink::cells::{group_digits, is_time, numbers};
use crate::sink::chart::Axes;
use crate::sink::places::{MAX_MAPS, Mark, marks, show_degrees, split, unwrap_longitudes};
use crate::sink::scale::{multiples, round_up};
use crate::sink::series::newest_rows;
use crate::sink::terminal::show_duration;

/// Marks that are elements of their own; older ones are one path.
const MAX_MARKS: usize = 500;
/// Pixels of a panel at least.
const MIN_PANEL: f64 = 220.0;
/// Pixels between two panels.
const GAP: f64 = 16.0;
/// Pixels around the marks.
const MARGIN: f64 = 14.0;
/// A lone mark still has some ground around it.
const MIN_RADIUS_KM: f64 = 0.1;
/// Half of the earth's girth: nothing is farther away.
const MAX_RADIUS_KM: f64 = std::f64::consts::PI * EARTH_RADIUS_KM;
/// A map is drawn anew when its marks fill less than this of it.
const MIN_FILL: f64 = 0.4;
/// How old marks fade, newest last, and the share of all that are at most this new.
const FADES: [(&str, f64); 4] = [("0.25", 1.0), ("0.45", 0.6), ("0.7", 0.3), ("1", 0.1)];

/// A middle, and how far around it the map shows at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Degrees north
    pub lat: f64,
    /// Degrees east
    pub lon: f64,
    /// Kilometres from the middle to the nearer edges
    pub radius_km: f64,
}

impl Place {
    /// Kilometres east and north of the middle.
    fn project(&self, lat: f64, lon: f64) -> (f64, f64) {
        let (lat, lat0, east) = (lat.to_radians(), self.lat.to_radians(), (lon - self.lon).to_radians());
        // Haversine, since the arc cosine of the usual formula loses what is near.
        let half = ((lat - lat0) / 2.0).sin().powi(2) + lat0.cos() * lat.cos() * (east / 2.0).sin().powi(2);
        let arc = 2.0 * half.clamp(0.0, 1.0).sqrt().asin();
        let stretch = if arc.sin().abs() > 1e-9 { arc / arc.sin() } else { 1.0 };
        let x = stretch * lat.cos() * east.sin() * EARTH_RADIUS_KM;
        let y = stretch * (lat0.cos() * lat.sin() - lat0.sin() * lat.cos() * east.cos()) * EARTH_RADIUS_KM;
        (x, y)
    }

    /// How much radius these marks need in a panel of this shape.
    fn needs(&self, marks: &[Mark], (wide, high): (f64, f64)) -> f64 {
        let reach = |mark: &Mark| {
            let (x, y) = self.project(mark.lat, mark.lon);
            (x.abs() / wide).max(y.abs() / high)
        };
        marks.iter().map(reach).fold(0.0, f64::max)
    }

    /// A middle for the marks, and a radius that leaves them room to move.
    fn around(marks: &[Mark], shape: (f64, f64)) -> Self {
        let ends = |of: fn(&Mark) -> f64| {
            marks.iter().map(of).fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let ((south, north), (west, east)) = (ends(|mark| mark.lat), ends(|mark| mark.lon));
        let mut place = Self { lat: f64::midpoint(south, north), lon: f64::midpoint(west, east), radius_km: 0.0 };
        place.radius_km = (place.needs(marks, shape) * 1.15).clamp(MIN_RADIUS_KM, MAX_RADIUS_KM);
        place
    }

    /// Whether the marks can be read on a map of this place.
    fn suits(&self, marks: &[Mark], shape: (f64, f64)) -> bool {
        let needs = self.needs(marks, shape);
        needs <= self.radius_km && (needs >= self.radius_km * MIN_FILL || self.radius_km <= 2.0 * MIN_RADIUS_KM)
    }
}

struct Panel {
    place: Place,
    marks: Vec<Mark>,
    width: f64,
    height: f64,
    pinned: bool,
}

impl Panel {
    fn px_per_km(&self) -> f64 {
        (self.width.min(self.height) / 2.0 - MARGIN) / self.place.radius_km.max(1e-3)
    }

    /// Pixels from the panel's upper left corner.
    fn at(&self, lat: f64, lon: f64) -> (f64, f64) {
        let (east, north) = self.place.project(lat, lon);
        (self.width / 2.0 + east * self.px_per_km(), self.height / 2.0 - north * self.px_per_km())
    }

    fn inside(&self, (x, y): (f64, f64)) -> bool {
        (0.0..=self.width).contains(&x) && (0.0..=self.height).contains(&y)
    }
}

/// Draws the newest marks, a panel for each cluster.
pub fn draw(look: &Look, axes: &Axes, medium: Medium) -> Drawing {
    let rows = newest_rows(look.batches);
    let mut all = marks(look.schema, &rows, axes.x, axes.y.first().copied().unwrap_or(axes.x));
    let (total, placed) = (look.rows(), all.len());
    unwrap_longitudes(&mut all);
    let mut clusters = if look.around.is_some() { vec![all.clone()] } else { split(&all) };
    let room = ((f64::from(look.width) / MIN_PANEL) as usize).clamp(1, MAX_MAPS);
    let hidden = clusters.len().saturating_sub(room);
    if hidden > 0 {
        let mut sizes: Vec<usize> = clusters.iter().map(Vec::len).collect();
        sizes.sort_unstable_by(|left, right| right.cmp(left));
        clusters.retain(|cluster| cluster.len() >= sizes[room - 1]);
        clusters.truncate(room);
    }
    let count = clusters.len().max(1) as f64;
    let (width, height) = (((f64::from(look.width) + GAP) / count - GAP).floor(), f64::from(look.height));
    let half = width.min(height) / 2.0 - MARGIN;
    let shape = ((width / 2.0 - MARGIN) / half, (height / 2.0 - MARGIN) / half);
    let panels: Vec<Panel> = clusters
        .into_iter()
        .map(|marks| {
            let before = look.places.iter().find(|place| place.suits(&marks, shape)).copied();
            let place = look.around.or(before).unwrap_or_else(|| Place::around(&marks, shape));
            Panel { place, marks, width, height, pinned: look.around.is_some() }
        })
        .collect();
    let shown: usize = panels.iter().map(|panel| panel.marks.len()).sum();
    let summary = summary(&panels);
    let body = html! {
        @if medium == Medium::Page {
            div.maps { @for (number, panel) in panels.iter().enumerate() { (draw_panel(panel, number, look, &rows, medium)) } }
        } @else {
            @for (number, panel) in panels.iter().enumerate() { (draw_panel(panel, number, look, &rows, medium)) }
        }
    };
    let mut drawing = Drawing::new(body, height, summary, shown, total);
    let nowhere = rows.iter().map(|batch| batch.num_rows()).sum::<usize>() - placed;
    let mut words = vec![drawing.left_out];
    if nowhere > 0 {
        let rows = if nowhere == 1 { "row has" } else { "rows have" };
        words = vec![format!("{} {rows} no place", group_digits(&nowhere.to_string()))];
    }
    if hidden > 0 {
        words.push(if hidden == 1 { "1 more place".to_owned() } else { format!("{hidden} more places") });
    }
    drawing.left_out = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
    drawing.places = panels.iter().map(|panel| panel.place).collect();
    drawing
}

fn middle(place: &Place) -> String {
    format!("{} {}", show_degrees(place.lat, 'N', 'S'), show_degrees(place.lon, 'E', 'W'))
}

fn many(count: usize) -> String {
    if count == 1 { "1 mark".to_owned() } else { format!("{} marks", group_digits(&count.to_string())) }
}

fn summary(panels: &[Panel]) -> String {
    let parts: Vec<String> = panels
        .iter()
        .map(|panel| {
            format!("{} within {} of {}", many(panel.marks.len()), show_km(reach(panel)), middle(&panel.place))
        })
        .collect();
    if parts.is_empty() { "Map, no marks".to_owned() } else { format!("Map, {}", parts.join("; ")) }
}

/// A round number of kilometres that all marks are within.
fn reach(panel: &Panel) -> f64 {
    let far = |mark: &Mark| {
        let (x, y) = panel.place.project(mark.lat, mark.lon);
        x.hypot(y)
    };
    let km = panel.marks.iter().map(far).fold(0.0, f64::max);
    let step = 10_f64.powf(km.max(0.01).log10().floor());
    (km.max(0.01) / step).ceil() * step
}

fn show_km(km: f64) -> String {
    if km < 0.9995 {
        return format!("{:.0} m", km * 1000.0);
    }
    let text = if km < 10.0 { format!("{km:.1}") } else { format!("{km:.0}") };
    format!("{} km", group_digits(text.trim_end_matches(".0")))
}

fn draw_panel(
    panel: &Panel,
    number: usize,
    look: &Look,
    rows: &[datafusion::arrow::array::RecordBatch],
    medium: Medium,
) -> Markup {
    let id = format!("{}-m{number}", look.id);
    let file = medium == Medium::File;
    let special = panel.marks.iter().any(|mark| mark.special);
    html! {
        svg.pic.map role=[(!file).then_some("img")] aria-labelledby=[(!file).then(|| format!("{id}-t {id}-d"))]
            x=[file.then(|| Px(number as f64 * (panel.width + GAP)))]
            width=[file.then_some(Px(panel.width))] height=[file.then_some(Px(panel.height))]
            viewBox={ "0 0 " (Px(panel.width)) " " (Px(panel.height)) }
            data-lat0=(format!("{:.6}", panel.place.lat)) data-lon0=(format!("{:.6}", panel.place.lon))
            data-px-per-km=(format!("{:.5}", panel.px_per_km())) {
            @if !file {
                title id={ (id) "-t" } { (look.heading()) ", around " (middle(&panel.place)) }
                desc id={ (id) "-d" } { "Map, " (many(panel.marks.len())) " within " (show_km(reach(panel))) }
            }
            rect.ground width="100%" height="100%" rx="6" {}
            (graticule(panel))
            (rings(panel))
            (draw_marks(panel, look, rows, medium))
            @if special {
                path.special.key d=(format!("M14 {}l.01 .01", panel.height - 14.0)) {}
                text.key x="24" y=(Px(panel.height - 10.0)) { (clean(special_name(look))) }
            }
        }
    }
}

fn special_name<'a>(look: &'a Look) -> &'a str {
    let mut flags = look
        .schema
        .fields()
        .iter()
        .filter(|field| *field.data_type() == datafusion::arrow::datatypes::DataType::Boolean);
    flags.next().map_or("", |field| field.name())
}

/// Circles at round distances, each with its own.
fn rings(panel: &Panel) -> Markup {
    let (px, radius) = (panel.px_per_km(), panel.place.radius_km);
    let step = if panel.pinned { radius / 3.0 } else { round_up(radius / 4.0) };
    let (x, y) = (panel.width / 2.0, panel.height / 2.0);
    let corner = x.hypot(y) / px;
    let steps = multiples((step, corner.min(MAX_RADIUS_KM)), step);
    html! {
        g.rings {
            @for km in &steps {
                circle.edge[panel.pinned && (*km - radius).abs() < step / 2.0] cx=(Px(x)) cy=(Px(y)) r=(Px(km * px)) {}
            }
            path d={ "M" (Px(x - 4.0)) " " (Px(y)) "h8M" (Px(x)) " " (Px(y - 4.0)) "v8" } {}
            @for km in &steps {
                // On the diagonal, where neither the graticule nor its words are.
                @let at = (x + km * px * std::f64::consts::FRAC_1_SQRT_2, y - km * px * std::f64::consts::FRAC_1_SQRT_2);
                @if panel.inside((at.0 + 24.0, at.1 - 6.0)) {
                    text x=(Px(at.0)) y=(Px(at.1 + 3.5)) text-anchor="middle" { (show_km(*km)) }
                }
            }
        }
    }
}

/// Lines of round latitudes and longitudes.
fn graticule(panel: &Panel) -> Markup {
    const SEGMENTS: u32 = 24;
    let place = panel.place;
    let px = panel.px_per_km();
    let degrees = |pixels: f64| pixels / px / (EARTH_RADIUS_KM.to_radians());
    let half_lat = degrees(panel.height / 2.0).min(90.0);
    let half_lon = (degrees(panel.width / 2.0) / place.lat.to_radians().cos().max(0.02)).min(180.0);
    // Beyond a quarter of the earth lines wind around the edge of the map.
    let (lats, lons) = (
        ((place.lat - half_lat).max(-80.0), (place.lat + half_lat).min(80.0)),
        (place.lon - half_lon, place.lon + half_lon),
    );
    let step = |span: f64| degree_step(span / 4.0);
    let (lat_step, lon_step) = (step(lats.1 - lats.0), step(lons.1 - lons.0));
    let along = |(low, high): (f64, f64)| {
        (0..=SEGMENTS).map(move |at| low + (high - low) * f64::from(at) / f64::from(SEGMENTS))
    };
    let local = half_lat < 20.0;
    let segments = |ends: (f64, f64)| -> Vec<f64> {
        if local && half_lat < 1.0 { vec![ends.0, ends.0.midpoint(ends.1), ends.1] } else { along(ends).collect() }
    };
    html! {
        g.graticule {
            @for lat in multiples(lats, lat_step) {
                path d=(polyline(segments(lons).into_iter().map(|lon| panel.at(lat, lon)))) {}
            }
            @for lon in multiples(lons, lon_step) {
                path d=(polyline(segments(lats).into_iter().map(|lat| panel.at(lat, lon)))) {}
            }
            @if local {
                @for lat in multiples(lats, lat_step) {
                    @let y = panel.at(lat, lons.0).1;
                    @if (14.0..panel.height - 26.0).contains(&y) { text x="6" y=(Px(y - 3.0)) { (show_line(lat, lat_step, ('N', 'S'))) } }
                }
                @for lon in multiples(lons, lon_step) {
                    @let x = panel.at(lats.0, lon).0;
                    @if (8.0..panel.width - 56.0).contains(&x) { text x=(Px(x + 4.0)) y="13" { (show_line(lon, lon_step, ('E', 'W'))) } }
                }
            }
        }
    }
}

/// The next round part of a degree, or of the circle.
fn degree_step(degrees: f64) -> f64 {
    [5.0, 10.0, 15.0, 30.0, 45.0]
        .into_iter()
        .find(|step| degrees <= *step && degrees > 2.0)
        .unwrap_or_else(|| round_up(degrees).min(45.0))
}

fn show_line(degrees: f64, step: f64, (positive, negative): (char, char)) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 5.0) as usize;
    let degrees = if positive == 'E' { (degrees + 180.0).rem_euclid(360.0) - 180.0 } else { degrees };
    format!("{:.decimals$}°{}", degrees.abs(), if degrees < 0.0 { negative } else { positive })
}

/// The marks, oldest first and faintest, so that new ones lie above.
fn draw_marks(panel: &Panel, look: &Look, rows: &[datafusion::arrow::array::RecordBatch], medium: Medium) -> Markup {
    let inside: Vec<&Mark> =
        panel.marks.iter().filter(|mark| !panel.pinned || panel.inside(panel.at(mark.lat, mark.lon))).collect();
    let (older, marks) = inside.split_at(inside.len().saturating_sub(MAX_MARKS));
    let texts = Rows::pick(look.schema, rows, &marks.iter().map(|mark| mark.row).collect::<Vec<_>>());
    let ages = ages(look, rows);
    let tip = |index: usize, mark: &Mark| {
        let age = ages.as_ref().and_then(|ages| ages.get(mark.row).copied().flatten());
        let age = age.map(|seconds| show_duration(std::time::Duration::from_secs(seconds)) + " ago");
        texts.tip(index, None, age.as_deref().map(|age| ("age", age)))
    };
    let from = |fade: usize| {
        FADES.get(fade).map_or(marks.len(), |(_, share)| marks.len() - (marks.len() as f64 * share).ceil() as usize)
    };
    html! {
        @if !older.is_empty() { path.dots.s1 opacity="0.2" d=(dots(older.iter().map(|mark| panel.at(mark.lat, mark.lon)))) {} }
        @for (fade, (opacity, _)) in FADES.iter().enumerate() {
            @let (from, to) = (from(fade), from(fade + 1));
            @if from < to {
                g.places opacity=(opacity) {
                    @for (index, mark) in marks[from..to].iter().enumerate().map(|(at, mark)| (from + at, mark)) {
                        @let (x, y) = panel.at(mark.lat, mark.lon);
                        @let tip = tip(index, mark);
                        path.special[mark.special].new[index + 1 == marks.len()] d={ "M" (Px(x)) " " (Px(y)) @if mark.special { "l.01 .01" } @else { "h0" } }
                            data-at=[medium.tip(&format!("{:.5},{:.5}", mark.lat, wrap(mark.lon)))] data-tip=[medium.tip(&tip)] { (medium.title(&tip)) }
                    }
                }
            }
        }
    }
}

fn wrap(lon: f64) -> f64 {
    if lon.abs() <= 180.0 { lon } else { (lon + 180.0).rem_euclid(360.0) - 180.0 }
}

/// Seconds since each row's first moment; `None` without a column of moments or a clock.
fn ages(look: &Look, rows: &[datafusion::arrow::array::RecordBatch]) -> Option<Vec<Option<u64>>> {
    let now_ms = look.now_ms? as f64;
    let column = look.schema.fields().iter().position(|field| is_time(field.data_type()))?;
    let age = |moment: Option<f64>| moment.map(|moment| ((now_ms - moment) / 1000.0).max(0.0) as u64);
    Some(numbers(rows, column).into_iter().map(age).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::distance_km;

    const MADRID: Place = Place { lat: 40.4168, lon: -3.7038, radius_km: 5.0 };

    #[test]
    fn distances_from_the_middle_are_true() {
        for (lat, lon) in [(40.43, -3.70), (41.0, -3.7), (40.4168, 10.0), (-34.6, -58.4), (-40.0, 176.0), (90.0, 0.0)] {
            let (x, y) = MADRID.project(lat, lon);
            let km = distance_km(MADRID.lat, MADRID.lon, lat, lon);
            assert!((x.hypot(y) - km).abs() < 1e-6 * km.max(1.0), "{lat} {lon}: {} {km}", x.hypot(y));
        }
        let (x, y) = MADRID.project(40.4168, -3.60);
        assert!(x > 8.0 && y.abs() < 0.01, "east is right: {x} {y}");
        assert_eq!(MADRID.project(MADRID.lat, MADRID.lon), (0.0, 0.0));
    }

    #[test]
    fn a_map_stays_while_its_marks_fit() {
        let mark = |lat, lon| Mark { row: 0, lat, lon, special: false };
        let marks = [mark(40.40, -3.72), mark(40.44, -3.69)];
        let place = Place::around(&marks, (1.0, 1.0));
        assert!(place.suits(&marks, (1.0, 1.0)));
        assert!(place.suits(&[mark(40.401, -3.72), mark(40.441, -3.69)], (1.0, 1.0)), "a little movement");
        assert!(!place.suits(&[mark(40.40, -3.72), mark(41.0, -3.69)], (1.0, 1.0)), "beyond its edge");
        assert!(!place.suits(&[mark(40.42, -3.7049)], (1.0, 1.0)), "far too large");
    }

    #[test]
    fn distances_and_degrees_read_well() {
        assert_eq!([0.25, 1.0, 2.5, 10.0, 1500.0].map(show_km), ["250 m", "1 km", "2.5 km", "10 km", "1,500 km"]);
        assert_eq!(show_line(-3.7, 0.05, ('E', 'W')), "3.70°W");
        assert_eq!(show_line(190.0, 5.0, ('E', 'W')), "170°W");
        assert_eq!([0.3, 0.017, 3.0, 12.0, 80.0].map(degree_step), [0.5, 0.02, 5.0, 15.0, 45.0]);
    }
}
