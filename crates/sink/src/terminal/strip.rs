//! The line on top: is it running, is it correct.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::draw::fit;
use super::trend::sparkline;
use super::{ScreenState, Strip};
use crate::cells::{group_digits, show_double};
use crate::sanitize::sanitize;

/// Lines of the strip, its rule included.
pub const HEIGHT: u16 = 2;
/// Columns of the pulse: what a glance can take in.
const PULSE: usize = 16;

/// One fact of the strip; the least important is dropped first when there is no room.
struct Fact {
    text: String,
    style: Style,
    importance: u8,
}

/// Draws the facts that fit, and below them a rule that fills while history is read.
pub fn draw(strip: &Strip, state: &ScreenState, area: Rect, buf: &mut Buffer) {
    let palette = state.palette;
    let mut facts = facts(strip, state);
    let width = usize::from(area.width);
    let needed = |facts: &[Fact]| facts.iter().map(|fact| Span::raw(&fact.text).width() + 3).sum::<usize>();
    while needed(&facts) > width + 3 && facts.len() > 1 {
        let least = (0..facts.len()).min_by_key(|index| facts[*index].importance).unwrap_or(0);
        facts.remove(least);
    }
    let mut line = Line::default();
    for (number, fact) in facts.iter().enumerate() {
        if number > 0 {
            line.push_span(Span::styled(if number == 1 { "   " } else { " · " }, palette.quiet()));
        }
        line.push_span(Span::styled(fit(&fact.text, width), fact.style));
    }
    buf.set_line(area.x, area.y, &line, area.width);
    if area.height > 1 {
        rule(strip, state, Rect { y: area.y + 1, height: 1, ..area }, buf);
    }
}

fn facts(strip: &Strip, state: &ScreenState) -> Vec<Fact> {
    let palette = state.palette;
    let fact = |importance, style, text: String| Fact { text, style, importance };
    let count = |count: u64| group_digits(&count.to_string());
    let pulse = sparkline(&state.trends.rate(), PULSE);
    let mut facts = vec![
        fact(9, palette.title(), sanitize(&strip.name).into_owned()),
        fact(8, palette.accent(), format!("{} events/s", show_double(strip.events_per_s.round(), 0))),
        fact(3, palette.accent(), pulse),
        fact(4, palette.text(), format!("{} events", count(strip.events))),
    ];
    facts.push(if strip.lag > 0 {
        fact(6, palette.text(), format!("lag {}", count(strip.lag)))
    } else {
        fact(5, palette.good(), "up to date".to_owned())
    });
    if strip.bad_records > 0 {
        facts.push(fact(7, palette.warning(), format!("! {} bad records", count(strip.bad_records))));
    }
    if !strip.as_of.is_empty() {
        facts.push(fact(6, palette.text(), format!("as of {}", sanitize(&strip.as_of))));
    }
    if let Some(proof) = &strip.proof {
        let (importance, style) = if proof.good { (5, palette.good()) } else { (8, palette.warning()) };
        facts.push(fact(importance, style, sanitize(&proof.text).into_owned()));
    }
    facts.push(fact(5, palette.text(), sanitize(&strip.page).into_owned()));
    facts.push(fact(2, palette.quiet(), show_duration(strip.elapsed)));
    facts.push(fact(1, palette.quiet(), sanitize(&strip.broker).into_owned()));
    facts.retain(|fact| !fact.text.is_empty());
    facts
}

fn rule(strip: &Strip, state: &ScreenState, area: Rect, buf: &mut Buffer) {
    let palette = state.palette;
    let mut bar = area;
    if let Some(share) = strip.catching_up.map(|share| if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }) {
        let text = format!("catching up {:>3.0}% ", (share * 100.0).floor());
        let end = buf.set_stringn(area.x, area.y, &text, usize::from(area.width), palette.warning()).0;
        bar = Rect { x: end, width: area.right().saturating_sub(end), ..area };
        let filled = (f64::from(bar.width) * share) as u16;
        buf.set_string(bar.x, bar.y, "━".repeat(usize::from(filled)), palette.warning());
        bar = Rect { x: bar.x + filled, width: bar.width - filled, ..bar };
    }
    buf.set_string(bar.x, bar.y, "─".repeat(usize::from(bar.width)), palette.quiet());
}

/// A running time in its two largest units.
pub fn show_duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes:02}m"),
        (days, hours, _, _) => format!("{days}d {hours:02}h"),
    }
}
