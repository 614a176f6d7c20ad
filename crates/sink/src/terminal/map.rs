//! Latitudes and longitudes as marks on a map, at equal distances in every direction.
//!
//! A degree of longitude is drawn at its width around the data: `cos(latitude)` of a degree of latitude. Places that lie
//! far apart (two cities on two continents) would each be one dot of a shared map, so each gets a map of its own, side by
//! side. The newest mark, by the first time column, is a filled dot and older ones fade; a row whose first boolean column
//! is true is a diamond, since meaning must not depend on colour alone.

use datafusion::arrow::array::RecordBatch;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Points};

use super::charts::put_ends;
use super::draw::width;
use super::{Palette, ScreenState, Tile};
use crate::cells::group_digits;
use crate::chart::Axes;
use crate::places::{
    KM_PER_DEGREE, LATITUDE, LONGITUDE, MAX_MAPS, Mark, Plane, marks, show_degrees, split, unwrap_longitudes,
};
use crate::readable::showing;
use crate::scale::round_up;
use crate::series::newest_rows;

/// The least useful width of a map in columns.
const MIN_WIDTH: u16 = 18;
/// Diamonds of one map: beyond, they would hide it.
const MAX_DIAMONDS: usize = 100;
/// Share of the marks that counts as new.
const NEW_SHARE: usize = 8;

/// Draws the marks; `None` without columns of latitude and longitude, else what is left out.
pub fn draw(tile: &Tile, state: &ScreenState, area: Rect, buf: &mut Buffer) -> Option<String> {
    let axes = Axes::of(tile.chart, &tile.schema, tile.x.as_deref(), tile.y.as_deref().as_slice())?;
    let rows = newest_rows(&tile.rows);
    let mut marks = marks(&tile.schema, &rows, axes.x, *axes.y.first()?);
    let total = tile.total_rows();
    let nowhere = total.min(rows.iter().map(RecordBatch::num_rows).sum()) - marks.len();
    unwrap_longitudes(&mut marks);
    let mut maps = split(&marks);
    let room = usize::from(area.width / MIN_WIDTH).clamp(1, MAX_MAPS);
    let hidden = maps.len().saturating_sub(room);
    if hidden > 0 {
        maps.sort_by_key(|map| std::cmp::Reverse(map.len()));
        maps.truncate(room);
    }
    let count = maps.len().max(1) as u16;
    for (number, map) in (0..count).zip(&maps) {
        let (from, to) = (area.width * number / count, area.width * (number + 1) / count);
        let gutter = if number + 1 == count { 0 } else { 2 };
        let place = Rect { x: area.x + from, width: (to - from).saturating_sub(gutter), ..area };
        draw_map(map, state.palette, place, buf);
    }
    let mut notes = vec![showing(total - nowhere, total)];
    if nowhere > 0 {
        notes = vec![format!("{} rows have no place", group_digits(&nowhere.to_string()))];
    }
    if hidden > 0 {
        notes.push(if hidden == 1 { "1 more place".to_owned() } else { format!("{hidden} more places") });
    }
    Some(notes.into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(", "))
}

fn draw_map(marks: &[Mark], palette: Palette, area: Rect, buf: &mut Buffer) {
    let plot = Rect { height: area.height.saturating_sub(u16::from(area.height >= 4)), ..area };
    let (Some(plane), false) = (Plane::around(marks), plot.is_empty()) else { return };
    // Braille: two dots per column, four per line.
    let (plane, per_dot) = plane.fitted(f64::from(plot.width) * 2.0, f64::from(plot.height) * 4.0);
    let coords: Vec<(f64, f64)> = marks.iter().map(|mark| (plane.x(mark), mark.lat)).collect();
    let (old, new) = coords.split_at(coords.len() - coords.len().div_ceil(NEW_SHARE));
    let (faded, bright) = (palette.paint(palette.faded()), palette.paint(palette.accent()));
    let diamonds = marks.iter().zip(&coords).rev().filter(|(mark, _)| mark.special).take(MAX_DIAMONDS);
    let diamonds: Vec<(f64, f64)> = diamonds.map(|(_, at)| *at).collect();
    Canvas::default()
        .x_bounds([plane.west, plane.east])
        .y_bounds([plane.south, plane.north])
        .paint(|context| {
            context.draw(&Points { coords: old, color: faded });
            context.layer();
            context.draw(&Points { coords: new, color: bright });
            for (x, y) in &diamonds {
                context.print(*x, *y, Span::styled("◆", palette.warning()));
            }
            if let Some((x, y)) = new.last() {
                context.print(*x, *y, Span::styled("●", palette.accent().patch(palette.title())));
            }
        })
        .render(plot, buf);
    if plot.height == area.height || area.width < 16 {
        return;
    }
    let lon = |x: f64| show_degrees(x / plane.narrowing, 2, LONGITUDE);
    let (west, east) = (lon(plane.west), lon(plane.east));
    put_below(
        [&west, &scale_bar(per_dot, area.width), &east],
        palette,
        Rect { y: plot.bottom(), height: 1, ..area },
        buf,
    );
    put_degrees(plane.north, palette, plot.x, plot.y, buf);
    put_degrees(plane.south, palette, plot.x, plot.bottom() - 1, buf);
}

fn put_degrees(lat: f64, palette: Palette, x: u16, y: u16, buf: &mut Buffer) {
    let text = show_degrees(lat.clamp(-90.0, 90.0), 2, LATITUDE);
    buf.set_string(x, y, text, palette.quiet());
}

/// West, scale and east on one line; where it is too short, the scale matters more than the east.
fn put_below([west, scale, east]: [&str; 3], palette: Palette, area: Rect, buf: &mut Buffer) {
    let room = usize::from(area.width);
    let between = room.saturating_sub(width(west) + width(east));
    if between >= width(scale) + 4 {
        put_ends(west, east, palette.quiet(), area, buf);
        let x = area.x + (width(west) + (between - width(scale)) / 2) as u16;
        buf.set_string(x, area.y, scale, palette.quiet());
    } else {
        put_ends(west, scale, palette.quiet(), area, buf);
    }
}

/// A bar of a round length, a tenth to a quarter of the map.
fn scale_bar(per_dot: f64, columns: u16) -> String {
    let km_per_column = per_dot * 2.0 * KM_PER_DEGREE;
    let km = round_up(km_per_column * f64::from(columns) / 10.0);
    let cells = ((km / km_per_column).round() as usize).clamp(2, usize::from(columns.max(2)));
    let length = if km >= 1.0 { format!("{km:.0} km") } else { format!("{:.0} m", km * 1000.0) };
    format!("├{}┤ {length}", "─".repeat(cells - 2))
}
