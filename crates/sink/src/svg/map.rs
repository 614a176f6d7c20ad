//! Latitudes and longitudes at their true distances from the centre, without tiles and without a network.
//!
//! Each cluster of places has a panel of its own, around its centre; the centre and the scale are kept from picture to
//! picture as long as the marks fit.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use maud::{Markup, html};

use super::extent::MAX_RADIUS_KM;
use super::ink::{Px, clean, dots, polyline};
use super::marks::ReadableRows;
use super::{Drawing, MapExtent, Medium, PictureSpec};
use crate::cells::{group_digits, is_time, numbers};
use crate::chart::Axes;
use crate::places::{LATITUDE, LONGITUDE, MAX_MAPS, Mark, marks, show_degrees, split, unwrap_longitudes};
use crate::scale::{decimals_of, multiples, round_up};
use crate::series::newest_rows;
use crate::terminal::show_duration;
use tallgrass_geo::EARTH_RADIUS_KM;

/// Marks that are elements of their own; older ones are one path.
const MAX_MARKS: usize = 300;
/// Pixels of a panel at least.
const MIN_PANEL: f64 = 220.0;
/// Pixels between two panels.
const GAP: f64 = 16.0;
/// Pixels around the marks.
const MARGIN: f64 = 14.0;
/// The fading of old marks, newest last, and the share of all marks up to which each applies.
const FADES: [(&str, f64); 4] = [("0.25", 1.0), ("0.45", 0.6), ("0.7", 0.3), ("1", 0.1)];

struct MapPanel {
    extent: MapExtent,
    marks: Vec<Mark>,
    width: f64,
    height: f64,
}

impl MapPanel {
    fn px_per_km(&self) -> f64 {
        (self.width.min(self.height) / 2.0 - MARGIN) / self.extent.radius_km.max(1e-3)
    }

    /// Pixels from the panel's upper left corner.
    fn at(&self, lat: f64, lon: f64) -> (f64, f64) {
        let (east, north) = self.extent.project(lat, lon);
        (self.width / 2.0 + east * self.px_per_km(), self.height / 2.0 - north * self.px_per_km())
    }

    fn inside(&self, (x, y): (f64, f64)) -> bool {
        (0.0..=self.width).contains(&x) && (0.0..=self.height).contains(&y)
    }
}

/// Draws the newest marks, a panel for each cluster.
pub fn draw(spec: &PictureSpec, axes: &Axes, medium: Medium) -> Drawing {
    let rows = newest_rows(spec.batches);
    let mut all = marks(spec.schema, &rows, axes.x, axes.y.first().copied().unwrap_or(axes.x));
    let (total, placed) = (spec.rows(), all.len());
    unwrap_longitudes(&mut all);
    let mut clusters = split(&all);
    let room = ((f64::from(spec.width) / MIN_PANEL) as usize).clamp(1, MAX_MAPS);
    let hidden = clusters.len().saturating_sub(room);
    if hidden > 0 {
        let mut sizes: Vec<usize> = clusters.iter().map(Vec::len).collect();
        sizes.sort_unstable_by(|left, right| right.cmp(left));
        clusters.retain(|cluster| cluster.len() >= sizes[room - 1]);
        clusters.truncate(room);
    }
    let count = clusters.len().max(1) as f64;
    let (width, height) = (((f64::from(spec.width) + GAP) / count - GAP).floor(), f64::from(spec.height));
    let half = width.min(height) / 2.0 - MARGIN;
    let shape = ((width / 2.0 - MARGIN) / half, (height / 2.0 - MARGIN) / half);
    let panels: Vec<MapPanel> = clusters
        .into_iter()
        .map(|marks| {
            let before = spec.extents.iter().find(|extent| extent.suits(&marks, shape)).copied();
            let extent = before.unwrap_or_else(|| MapExtent::around(&marks, shape));
            MapPanel { extent, marks, width, height }
        })
        .collect();
    let shown: usize = panels.iter().map(|panel| panel.marks.len()).sum();
    let summary = summary(&panels);
    let body = html! {
        @if medium == Medium::Page {
            div.maps { @for (number, panel) in panels.iter().enumerate() { (draw_panel(panel, number, spec, &rows, medium)) } }
        } @else {
            @for (number, panel) in panels.iter().enumerate() { (draw_panel(panel, number, spec, &rows, medium)) }
        }
    };
    let mut drawing = Drawing::new(body, height, summary, shown, total);
    let nowhere = rows.iter().map(RecordBatch::num_rows).sum::<usize>() - placed;
    let mut notes = vec![drawing.left_out];
    if nowhere > 0 {
        let rows = if nowhere == 1 { "row has" } else { "rows have" };
        notes = vec![format!("{} {rows} no place", group_digits(&nowhere.to_string()))];
    }
    if hidden > 0 {
        notes.push(if hidden == 1 { "1 more place".to_owned() } else { format!("{hidden} more places") });
    }
    drawing.left_out = notes.into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(", ");
    drawing.extents = panels.iter().map(|panel| panel.extent).collect();
    drawing
}

fn middle(extent: &MapExtent) -> String {
    format!("{} {}", show_degrees(extent.lat, 2, LATITUDE), show_degrees(extent.lon, 2, LONGITUDE))
}

fn many(count: usize) -> String {
    if count == 1 { "1 mark".to_owned() } else { format!("{} marks", group_digits(&count.to_string())) }
}

fn summary(panels: &[MapPanel]) -> String {
    let parts: Vec<String> = panels
        .iter()
        .map(|panel| {
            format!("{} within {} of {}", many(panel.marks.len()), show_km(reach(panel)), middle(&panel.extent))
        })
        .collect();
    if parts.is_empty() { "Map, no marks".to_owned() } else { format!("Map, {}", parts.join("; ")) }
}

/// A round number of kilometres that all marks are within.
fn reach(panel: &MapPanel) -> f64 {
    let far = |mark: &Mark| {
        let (x, y) = panel.extent.project(mark.lat, mark.lon);
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

fn draw_panel(panel: &MapPanel, number: usize, spec: &PictureSpec, rows: &[RecordBatch], medium: Medium) -> Markup {
    let id = format!("{}-m{number}", spec.id);
    let file = medium == Medium::File;
    let special = panel.marks.iter().any(|mark| mark.special);
    html! {
        svg.pic.map role=[(!file).then_some("img")] aria-labelledby=[(!file).then(|| format!("{id}-t {id}-d"))]
            x=[file.then(|| Px(number as f64 * (panel.width + GAP)))]
            width=[file.then_some(Px(panel.width))] height=[file.then_some(Px(panel.height))]
            viewBox={ "0 0 " (Px(panel.width)) " " (Px(panel.height)) }
            data-lat0=(format!("{:.6}", panel.extent.lat)) data-lon0=(format!("{:.6}", panel.extent.lon))
            data-px-per-km=(format!("{:.5}", panel.px_per_km())) {
            @if !file {
                title id={ (id) "-t" } { (spec.heading()) ", around " (middle(&panel.extent)) }
                desc id={ (id) "-d" } { "Map, " (many(panel.marks.len())) " within " (show_km(reach(panel))) }
            }
            rect.ground width="100%" height="100%" rx="6" {}
            (graticule(panel))
            (rings(panel))
            (draw_marks(panel, spec, rows, medium))
            (ring_labels(panel))
            @if special {
                path.special.key d=(format!("M14 {}l.01 .01", panel.height - 14.0)) {}
                text.key x="27" y=(Px(panel.height - 10.0)) { (clean(special_name(spec))) }
            }
        }
    }
}

fn special_name<'a>(spec: &'a PictureSpec) -> &'a str {
    let mut flags = spec.schema.fields().iter().filter(|field| *field.data_type() == DataType::Boolean);
    flags.next().map_or("", |field| field.name())
}

/// Kilometres of the rings.
fn ring_steps(panel: &MapPanel) -> Vec<f64> {
    let step = round_up(panel.extent.radius_km / 4.0);
    let corner = (panel.width / 2.0).hypot(panel.height / 2.0) / panel.px_per_km();
    multiples((step, corner.min(MAX_RADIUS_KM)), step)
}

/// Circles at round distances.
fn rings(panel: &MapPanel) -> Markup {
    let (px, x, y) = (panel.px_per_km(), panel.width / 2.0, panel.height / 2.0);
    html! {
        g.rings {
            @for km in ring_steps(panel) { circle cx=(Px(x)) cy=(Px(y)) r=(Px(km * px)) {} }
            path d={ "M" (Px(x - 4.0)) " " (Px(y)) "h8M" (Px(x)) " " (Px(y - 4.0)) "v8" } {}
        }
    }
}

/// The distance of each ring, on the diagonal, clear of the graticule and its labels.
fn ring_labels(panel: &MapPanel) -> Markup {
    let px = panel.px_per_km() * std::f64::consts::FRAC_1_SQRT_2;
    html! {
        g.labels {
            @for km in ring_steps(panel) {
                @let at = (panel.width / 2.0 + km * px, panel.height / 2.0 - km * px);
                @if panel.inside((at.0 + 24.0, at.1 - 6.0)) {
                    text x=(Px(at.0)) y=(Px(at.1 + 3.5)) text-anchor="middle" { (show_km(km)) }
                }
            }
        }
    }
}

/// Lines of round latitudes and longitudes.
fn graticule(panel: &MapPanel) -> Markup {
    const SEGMENTS: u32 = 24;
    let extent = panel.extent;
    let px = panel.px_per_km();
    let degrees = |pixels: f64| pixels / px / (EARTH_RADIUS_KM.to_radians());
    let half_lat = degrees(panel.height / 2.0).min(90.0);
    let half_lon = (degrees(panel.width / 2.0) / extent.lat.to_radians().cos().max(0.02)).min(180.0);
    // Beyond a quarter of the earth, lines would wind around the edge of the map.
    let (lats, lons) = (
        ((extent.lat - half_lat).max(-80.0), (extent.lat + half_lat).min(80.0)),
        (extent.lon - half_lon, extent.lon + half_lon),
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
                    @if (14.0..panel.height - 26.0).contains(&y) { text x="6" y=(Px(y - 3.0)) { (show_degrees(lat, decimals_of(lat_step), LATITUDE)) } }
                }
                @for lon in multiples(lons, lon_step) {
                    @let x = panel.at(lats.0, lon).0;
                    @if (8.0..panel.width - 56.0).contains(&x) { text x=(Px(x + 4.0)) y="17" { (show_degrees(lon, decimals_of(lon_step), LONGITUDE)) } }
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

/// The marks, oldest first and faintest, so that new ones are on top.
fn draw_marks(panel: &MapPanel, spec: &PictureSpec, rows: &[RecordBatch], medium: Medium) -> Markup {
    let (older, marks) = panel.marks.split_at(panel.marks.len().saturating_sub(MAX_MARKS));
    let texts = ReadableRows::pick(spec.schema, rows, &marks.iter().map(|mark| mark.row).collect::<Vec<_>>());
    let ages = ages(spec, rows);
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

/// Seconds since each row's first moment; `None` without a time column or a clock.
fn ages(spec: &PictureSpec, rows: &[RecordBatch]) -> Option<Vec<Option<u64>>> {
    let now_ms = spec.now_ms? as f64;
    let column = spec.schema.fields().iter().position(|field| is_time(field.data_type()))?;
    let age = |moment: Option<f64>| moment.map(|moment| ((now_ms - moment) / 1000.0).max(0.0) as u64);
    Some(numbers(rows, column).into_iter().map(age).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_and_degrees_read_well() {
        assert_eq!([0.25, 1.0, 2.5, 10.0, 1500.0].map(show_km), ["250 m", "1 km", "2.5 km", "10 km", "1,500 km"]);
        assert_eq!(show_degrees(-3.7, decimals_of(0.05), LONGITUDE), "3.70°W");
        assert_eq!(show_degrees(190.0, decimals_of(5.0), LONGITUDE), "170°W");
        assert_eq!(
            [0.3, 0.017, 3.0, 12.0, 80.0].map(|degrees| degree_step(degrees).to_string()),
            ["0.5", "0.02", "5", "15", "45"]
        );
    }
}
