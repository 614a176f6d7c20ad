//! Few, calm colours that can be read on a dark and on a light terminal.
//!
//! A terminal cannot be asked reliably for its background, so each colour has a luminance near 0.18, which contrasts about
//! as well with black as with white. Meaning never depends on colour alone: errors have a mark, series a legend.

use std::env;

use ratatui::style::{Color, Modifier, Style};

/// The styles of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    /// Without colours bold and dim remain, as <https://no-color.org> intends.
    pub(super) colours: bool,
}

impl Default for Palette {
    fn default() -> Self {
        Self { colours: true }
    }
}

const TEAL: Color = Color::Indexed(31);
const AMBER: Color = Color::Indexed(130);
const VIOLET: Color = Color::Indexed(133);
const GREEN: Color = Color::Indexed(28);
const RED: Color = Color::Indexed(161);
const SERIES: [Color; 5] = [TEAL, AMBER, VIOLET, GREEN, RED];

#[expect(clippy::unused_self, reason = "every style is asked of the palette, also those without a colour")]
impl Palette {
    /// The environment's choice: `NO_COLOR`, set and not empty, turns the colours off.
    pub fn from_env() -> Self {
        Self { colours: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// Titles and names.
    pub fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Ordinary values.
    pub fn text(self) -> Style {
        Style::new()
    }

    /// Secondary text that should not draw the eye.
    pub fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The main numbers.
    pub fn accent(self) -> Style {
        self.coloured(TEAL)
    }

    /// All is good.
    pub fn good(self) -> Style {
        self.coloured(GREEN)
    }

    /// A warning.
    pub fn warning(self) -> Style {
        self.coloured(AMBER)
    }

    /// The n-th series of a chart.
    pub fn series(self, number: usize) -> Style {
        self.coloured(SERIES[number % SERIES.len()])
    }

    /// How many series can be distinguished.
    pub const fn max_series() -> usize {
        SERIES.len()
    }

    /// The colour of a canvas, which knows no styles.
    pub fn paint(self, style: Style) -> Color {
        style.fg.unwrap_or(Color::Reset)
    }

    /// An older mark of a map.
    pub fn faded(self) -> Style {
        // Mid-grey; without colours old and new marks look alike and only the newest one has another shape.
        self.coloured(Color::Indexed(244))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG relative luminance of a colour of the 6×6×6 cube.
    fn luminance(index: u8) -> f64 {
        let cube = index - 16;
        let channel = |level: u8| {
            let value = if level == 0 { 0.0 } else { f64::from(55 + 40 * u16::from(level)) / 255.0 };
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055_f64).powf(2.4) }
        };
        0.2126 * channel(cube / 36) + 0.7152 * channel(cube / 6 % 6) + 0.0722 * channel(cube % 6)
    }

    #[test]
    fn every_colour_reads_on_black_and_on_white() {
        for colour in SERIES {
            let Color::Indexed(index) = colour else { continue };
            let light = luminance(index) + 0.05;
            assert!(light / 0.05 > 3.9 && 1.05 / light > 3.9, "{index}: {:.2} {:.2}", light / 0.05, 1.05 / light);
        }
    }

    #[test]
    fn without_colours_there_are_none() {
        let plain = Palette { colours: false };
        for style in [plain.accent(), plain.good(), plain.warning(), plain.series(3), plain.faded(), plain.title()] {
            assert_eq!(style.fg, None);
        }
    }
}
