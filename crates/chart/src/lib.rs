//! The kinds of pictures that a file can ask for.
//!
//! ```
//! use tallgrass_chart::ChartKind;
//!
//! assert_eq!(ChartKind::named("bar"), Some(ChartKind::Bar));
//! assert_eq!(ChartKind::Map.to_string(), "map");
//! ```

use std::fmt;

/// A picture of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChartKind {
    /// One big number
    Number,
    /// A horizontal bar for each row
    Bar,
    /// Measures over time, or over another number
    Line,
    /// A mark for each pair of numbers
    Scatter,
    /// A mark for each latitude and longitude
    Map,
    /// The rows themselves
    Table,
}

impl ChartKind {
    /// Every kind, in the order in which help names them.
    pub const ALL: [Self; 6] = [Self::Number, Self::Bar, Self::Line, Self::Scatter, Self::Map, Self::Table];

    /// The kind of that name in a file's front matter.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == word)
    }

    /// Its name in a file's front matter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Bar => "bar",
            Self::Line => "line",
            Self::Scatter => "scatter",
            Self::Map => "map",
            Self::Table => "table",
        }
    }
}

impl fmt::Display for ChartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chart_is_found_by_its_name() {
        for kind in ChartKind::ALL {
            assert_eq!(ChartKind::named(kind.name()), Some(kind));
        }
        assert_eq!(ChartKind::named("pie"), None);
    }
}
