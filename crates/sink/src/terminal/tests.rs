#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, NullArray, StringArray, TimestampMillisecondArray};
use insta::assert_snapshot;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::fixture::{frame, logs, noise, tile};
use super::*;
use crate::sanitize::is_unsafe;

fn drawn(frame: &Frame, state: &ScreenState, width: u16, height: u16) -> (Buffer, Drawn) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut drawn = Drawn::default();
    terminal.draw(|target| drawn = render(frame, state, target.area(), target.buffer_mut())).unwrap();
    (terminal.backend().buffer().clone(), drawn)
}

/// The screen's text. Cells that a wide character covers are left out, so that its line is as long as on screen.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let (mut line, mut covered) = (String::new(), 0_u16);
        for x in buffer.area.left()..buffer.area.right() {
            if covered == 0 {
                let symbol = buffer[(x, y)].symbol();
                line += symbol;
                covered = symbol.cell_width();
            }
            covered = covered.saturating_sub(1);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn state() -> ScreenState {
    let mut state = ScreenState::default();
    let mut frame = frame();
    for second in 0..90 {
        frame.strip.elapsed = std::time::Duration::from_secs(second as u64);
        frame.strip.events_per_s = 1000.0 + noise(second) * 500.0;
        let online = 380 + (noise(second) * 40.0) as i64;
        frame.tiles[0] = tile("users_online", "", 3, vec![("online", fixture::longs([online]))]);
        state.trends.sample(&frame);
    }
    state
}

#[test]
fn a_proof_is_seen_on_the_line_on_top_and_a_difference_even_where_there_is_little_room() {
    for (good, note, width) in [(true, "live = replay, 12 s ago", 160), (false, "DIFFERS: by_type", 80)] {
        let mut frame = frame();
        frame.strip.proof = Some(ProofNote { text: note.to_owned(), good });
        let screen = text(&drawn(&frame, &state(), width, 24).0);
        assert!(screen.lines().next().unwrap().contains(note), "{screen}");
        let mut plain = Vec::new();
        draw_plain(&mut plain, &frame).unwrap();
        assert!(String::from_utf8(plain).unwrap().lines().next().unwrap().contains(note));
    }
}

#[test]
fn a_small_terminal() {
    assert_snapshot!(text(&drawn(&frame(), &state(), 80, 24).0));
}

#[test]
fn a_usual_terminal() {
    assert_snapshot!(text(&drawn(&frame(), &state(), 120, 40).0));
}

#[test]
fn a_wide_terminal_with_logs() {
    assert_snapshot!(text(&drawn(&Frame { logs: logs(), ..frame() }, &state(), 200, 60).0));
}

#[test]
fn a_small_terminal_with_logs_while_catching_up() {
    let mut frame = Frame { logs: logs(), ..frame() };
    frame.strip.catching_up = Some(0.437);
    frame.strip.lag = 700_000;
    assert_snapshot!(text(&drawn(&frame, &state(), 80, 24).0));
}

#[test]
fn a_narrow_terminal() {
    assert_snapshot!(text(&drawn(&frame(), &state(), 40, 30).0));
}

#[test]
fn scrolled_to_the_end() {
    let state = ScreenState { scroll: usize::MAX, ..state() };
    assert_snapshot!(text(&drawn(&frame(), &state, 80, 24).0));
}

#[test]
fn nothing_yet() {
    assert_snapshot!(text(&drawn(&Frame::default(), &ScreenState::default(), 80, 6).0));
}

#[test]
fn plain_blocks() {
    let mut out = Vec::new();
    draw_plain(&mut out, &Frame { logs: logs(), ..frame() }).unwrap();
    let block = String::from_utf8(out).unwrap();
    assert!(!block.contains(|c| c != '\n' && is_unsafe(c)));
    assert_snapshot!(block);
}

#[test]
fn no_color_leaves_no_colour() {
    let state = ScreenState { palette: Palette { colours: false }, ..state() };
    let (buffer, _) = drawn(&Frame { logs: logs(), ..frame() }, &state, 120, 40);
    assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let (coloured, _) = drawn(&Frame { logs: logs(), ..frame() }, &self::state(), 120, 40);
    assert_eq!(text(&buffer), text(&coloured));
}

#[test]
fn nothing_from_events_reaches_the_terminal_raw() {
    let nasty: String = (0..=0x9f_u32).chain(0x2000..0x2070).filter_map(char::from_u32).collect();
    let text = || Arc::new(StringArray::from(vec![nasty.as_str()])) as ArrayRef;
    for chart in ChartKind::ALL {
        let mut tile = tile(&nasty, &nasty, 12, vec![(&nasty, text()), ("n", fixture::longs([1]))]);
        (tile.chart, tile.note, tile.foot) = (chart, Some(nasty.clone()), nasty.clone());
        let strip = Strip { name: nasty.clone(), broker: nasty.clone(), as_of: nasty.clone(), ..Strip::default() };
        let logs = vec![LogPane { title: nasty.clone(), lines: [nasty.clone()].into() }];
        let frame = Frame { strip, tiles: vec![tile], logs };
        let (buffer, _) = drawn(&frame, &ScreenState::default(), 200, 40);
        assert!(buffer.content().iter().all(|cell| !cell.symbol().contains(is_unsafe)), "{chart}");
        let mut out = Vec::new();
        draw_plain(&mut out, &frame).unwrap();
        assert!(!String::from_utf8(out).unwrap().contains(|c| c != '\n' && is_unsafe(c)), "{chart}");
    }
}

/// Any column: the types that charts look for, with nulls and the doubles that break arithmetic.
fn column() -> impl Strategy<Value = ArrayRef> {
    let rows = 0..6_usize;
    let double = prop_oneof![any::<f64>(), Just(f64::MAX), Just(f64::MIN), Just(0.0), Just(5e-324), -200.0..200.0];
    prop_oneof![
        prop::collection::vec(prop::option::of(double), 6)
            .prop_map(|values| Arc::new(Float64Array::from(values)) as ArrayRef),
        prop::collection::vec(prop::option::of(any::<i64>()), 6)
            .prop_map(|values| Arc::new(Int64Array::from(values)) as ArrayRef),
        prop::collection::vec(prop::option::of(any::<i64>()), 6)
            .prop_map(|values| Arc::new(TimestampMillisecondArray::from(values)) as ArrayRef),
        prop::collection::vec(prop::option::of(any::<String>()), 6)
            .prop_map(|values| Arc::new(StringArray::from(values)) as ArrayRef),
        rows.prop_map(|_| Arc::new(NullArray::new(6)) as ArrayRef),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_size_draws_without_a_panic(width in 0_u16..120, height in 0_u16..40, scroll in 0_usize..9, panes in 0_usize..4) {
        let mut frame = Frame { logs: logs(), ..frame() };
        frame.logs.truncate(panes);
        let state = ScreenState { scroll, ..ScreenState::default() };
        let area = Rect::new(0, 0, width, height);
        render(&frame, &state, area, &mut Buffer::empty(area));
    }

    #[test]
    fn any_rows_draw_in_any_chart(
        columns in prop::collection::vec(column(), 1..5),
        rows in 0_usize..6, width in 0_u16..100, height in 0_u16..30, span in 0_u16..20,
    ) {
        const NAMES: [&str; 4] = ["lat", "lon", "third", "fourth"];
        let mut tile = tile("t", "T", span, NAMES.into_iter().zip(columns).collect());
        tile.rows.iter_mut().for_each(|batch| *batch = batch.slice(0, rows));
        let area = Rect::new(0, 0, width, height);
        for chart in ChartKind::ALL {
            let frame = Frame { tiles: vec![Tile { chart, ..tile.clone() }], ..Frame::default() };
            render(&frame, &ScreenState::default(), area, &mut Buffer::empty(area));
            prop_assert!(draw_plain(&mut Vec::new(), &frame).is_ok());
        }
    }
}
