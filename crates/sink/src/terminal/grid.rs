//! Where the tiles go: twelve columns, as many rows of tiles as fit.

use ratatui::layout::Rect;

/// Columns of the grid; a tile's width counts in these.
const COLUMNS: u32 = 12;
/// Blank cells between two tiles of a row.
const GUTTER: u16 = 3;
/// Blank lines between two rows of tiles.
const GAP: u16 = 1;

/// A tile's size requirements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Its columns of twelve
    pub columns: u16,
    /// The least useful width in cells; it takes more columns rather than be narrower
    pub min_width: u16,
    /// The least useful height in lines
    pub min_height: u16,
    /// The largest useful height in lines
    pub full_height: u16,
}

/// Where each visible tile goes, and what is left over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Index of the item and its place
    pub tiles: Vec<(usize, Rect)>,
    /// Items above the visible ones
    pub above: usize,
    /// Items below them
    pub below: usize,
    /// Rows of tiles that can be scrolled past, at most
    pub max_scroll: usize,
}

/// Lays the items out in their order, skipping `scroll` rows.
pub fn place(items: &[Item], scroll: usize, area: Rect) -> Placed {
    let rows = pack(items, area.width);
    let max_scroll = last_start(items, &rows, area.height);
    let first = scroll.min(max_scroll);
    let (mut heights, mut used) = (Vec::new(), 0);
    for row in &rows[first..] {
        let height = row.clone().map(|index| items[index].min_height).max().unwrap_or(0);
        let gap = if heights.is_empty() { 0 } else { GAP };
        // The first row is always shown, however little room there is.
        if used + gap + height > area.height && !heights.is_empty() {
            break;
        }
        used += gap + height;
        heights.push(height.min(area.height));
    }
    let visible = &rows[first..first + heights.len()];
    let full = visible.iter().map(|row| row.clone().map(|index| items[index].full_height).max().unwrap_or(0));
    stretch(&mut heights, &full.collect::<Vec<_>>(), area.height.saturating_sub(used));
    let mut tiles = Vec::new();
    let mut y = area.y;
    for (row, height) in visible.iter().zip(&heights) {
        tiles.extend(place_row(items, row.clone(), Rect { y, height: *height, ..area }));
        y = y.saturating_add(height + GAP);
    }
    let above = rows.get(first).map_or(0, |row| row.start);
    Placed { above, below: items.len() - above - tiles.len(), tiles, max_scroll }
}

/// Columns that the item takes on a screen this wide.
fn columns(item: Item, width: u16) -> u32 {
    let needed = (u32::from(item.min_width) * COLUMNS).div_ceil(u32::from(width.max(1)));
    u32::from(item.columns.max(1)).max(needed).min(COLUMNS)
}

/// Items by row: as many side by side as twelve columns take.
fn pack(items: &[Item], width: u16) -> Vec<std::ops::Range<usize>> {
    let (mut rows, mut start, mut taken) = (Vec::new(), 0, 0);
    for (index, item) in items.iter().enumerate() {
        let columns = columns(*item, width);
        if taken + columns > COLUMNS && taken > 0 {
            rows.push(start..index);
            (start, taken) = (index, 0);
        }
        taken += columns;
    }
    if start < items.len() {
        rows.push(start..items.len());
    }
    rows
}

/// The last row from which on everything fits: scrolling further would only show blank space.
fn last_start(items: &[Item], rows: &[std::ops::Range<usize>], height: u16) -> usize {
    let mut used = 0_u32;
    for (number, row) in rows.iter().enumerate().rev() {
        used += u32::from(row.clone().map(|index| items[index].min_height).max().unwrap_or(0));
        if used > u32::from(height) {
            return (number + 1).min(rows.len() - 1);
        }
        used += u32::from(GAP);
    }
    0
}

/// Gives spare lines to the rows that can use them, the lowest first, so that they grow evenly.
fn stretch(heights: &mut [u16], full: &[u16], spare: u16) {
    for _ in 0..spare {
        let lowest = (0..heights.len()).filter(|row| heights[*row] < full[*row]).min_by_key(|row| heights[*row]);
        let Some(row) = lowest else { return };
        heights[row] += 1;
    }
}

/// Shares a row's cells by the tiles' columns; a row that is not full is widened to the edge.
fn place_row(items: &[Item], row: std::ops::Range<usize>, area: Rect) -> Vec<(usize, Rect)> {
    let total: u32 = row.clone().map(|index| columns(items[index], area.width)).sum();
    let edge = |columns: u32| (u32::from(area.width) * columns / total.max(1)) as u16;
    let (mut taken, last) = (0, row.end - 1);
    row.map(|index| {
        let from = edge(taken);
        taken += columns(items[index], area.width);
        let gutter = if index == last { 0 } else { GUTTER };
        let width = (edge(taken) - from).saturating_sub(gutter);
        (index, Rect { x: area.x + from, width, ..area })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMBER: Item = Item { columns: 3, min_width: 16, min_height: 5, full_height: 5 };
    const CHART: Item = Item { columns: 6, min_width: 30, min_height: 7, full_height: 20 };

    fn rects(items: &[Item], scroll: usize, width: u16, height: u16) -> Placed {
        place(items, scroll, Rect::new(0, 0, width, height))
    }

    #[test]
    fn narrow_screens_put_fewer_tiles_side_by_side() {
        let abreast = |width| rects(&[NUMBER; 4], 0, width, 60).tiles.iter().filter(|(_, rect)| rect.y == 0).count();
        assert_eq!([abreast(120), abreast(64), abreast(40), abreast(20)], [4, 4, 2, 1]);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_can_be_scrolled_to() {
        let items = [NUMBER, NUMBER, NUMBER, NUMBER, CHART, CHART, CHART, CHART];
        let top = rects(&items, 0, 80, 16);
        assert_eq!((top.tiles.len(), top.above, top.below), (6, 0, 2));
        let end = rects(&items, 99, 80, 16);
        assert_eq!((end.above + end.tiles.len(), end.below), (8, 0));
        assert_eq!(end, rects(&items, end.max_scroll, 80, 16));
    }

    #[test]
    fn spare_lines_go_where_they_help() {
        let items = [NUMBER, NUMBER, NUMBER, NUMBER, CHART, CHART, CHART, CHART];
        let heights: Vec<u16> = rects(&items, 0, 80, 40).tiles.iter().map(|(_, rect)| rect.height).collect();
        assert_eq!(heights, [5, 5, 5, 5, 17, 17, 16, 16]);
    }

    proptest! {
        #[test]
        fn tiles_stay_inside_and_never_overlap(
            kinds in prop::collection::vec((0_u16..20, 0_u16..60, 0_u16..12, 0_u16..30), 0..12),
            scroll in 0_usize..12, width in 0_u16..200, height in 0_u16..60,
        ) {
            let items: Vec<Item> = kinds
                .into_iter()
                .map(|(columns, min_width, min_height, more)| {
                    Item { columns, min_width, min_height, full_height: min_height + more }
                })
                .collect();
            let area = Rect::new(3, 2, width, height);
            let placed = place(&items, scroll, area);
            prop_assert_eq!(placed.above + placed.tiles.len() + placed.below, items.len());
            for (number, (_, rect)) in placed.tiles.iter().enumerate() {
                prop_assert_eq!(rect.intersection(area), *rect);
                for (_, other) in &placed.tiles[number + 1..] {
                    prop_assert!(rect.intersection(*other).is_empty());
                }
            }
        }
    }
}
