//! The picture that fits a result, and the columns that it shows.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema};

use super::cells::{is_number, is_text, is_time};
use tallgrass_chart::ChartKind;

/// The picture that fits when none is named: one number alone is a [`Number`](ChartKind::Number), text and one number
/// are [`Bar`](ChartKind::Bar)s, time and numbers a [`Line`](ChartKind::Line), a latitude and a longitude a
/// [`Map`](ChartKind::Map), and all else is a [`Table`](ChartKind::Table).
///
/// The shape of the columns decides; of the rows only whether there is more than one, and only for a lone number.
pub fn chart_for(schema: &Schema, rows: &[RecordBatch]) -> ChartKind {
    let count = |fits: fn(&DataType) -> bool| schema.fields().iter().filter(|field| fits(field.data_type())).count();
    let (columns, numbers, times, texts) = (schema.fields().len(), count(is_number), count(is_time), count(is_text));
    if latitude(schema).is_some() && longitude(schema).is_some() {
        return ChartKind::Map;
    }
    match (columns, numbers, times, texts) {
        (1, 1, _, _) if rows.iter().map(RecordBatch::num_rows).sum::<usize>() <= 1 => ChartKind::Number,
        (2, 1, 0, 1) => ChartKind::Bar,
        // A text column beside them names the series.
        (_, 1.., 1, 0 | 1) if columns == numbers + times + texts && (texts == 0 || numbers == 1) => ChartKind::Line,
        _ => ChartKind::Table,
    }
}

/// Column indices of a chart; it cannot show what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes {
    /// The position of a mark: the label, the moment, the longitude
    pub x: usize,
    /// The measures: one or several columns, the latitude of a map
    pub y: Vec<usize>,
    /// The text column that separates the series
    pub series: Option<usize>,
}

impl Axes {
    /// The columns that a chart of this kind shows: the named ones where given, else the first ones that fit. `None`
    /// when they are not there, or (for tables) not needed.
    pub fn of(kind: ChartKind, schema: &Schema, x: Option<&str>, y: &[&str]) -> Option<Self> {
        // A name that does not exist is an error to show, not a reason to guess.
        let index = |name: &str| schema.index_of(name).ok();
        let x = match x {
            None => None,
            Some(name) => Some(index(name)?),
        };
        let named = y.iter().map(|name| index(name)).collect::<Option<Vec<usize>>>()?;
        let y = named.first().copied();
        let first = |fits: &dyn Fn(usize, &DataType) -> bool| {
            schema.fields().iter().enumerate().position(|(index, field)| fits(index, field.data_type()))
        };
        let measure = |x: usize| y.or_else(|| first(&|index, data_type| index != x && is_number(data_type)));
        match kind {
            ChartKind::Number => {
                let y = y.or_else(|| first(&|_, data_type| is_number(data_type))).or_else(|| first(&|_, _| true))?;
                Some(Self { x: y, y: vec![y], series: None })
            }
            ChartKind::Bar => {
                let x = x
                    .or_else(|| first(&|index, data_type| Some(index) != y && is_text(data_type)))
                    .or_else(|| first(&|index, data_type| Some(index) != y && !is_number(data_type)))
                    .or_else(|| first(&|index, _| Some(index) != y))?;
                Some(Self { x, y: vec![measure(x)?], series: None })
            }
            ChartKind::Line | ChartKind::Scatter => {
                let x = x
                    .or_else(|| first(&|index, data_type| !named.contains(&index) && is_time(data_type)))
                    .or_else(|| first(&|index, data_type| !named.contains(&index) && is_number(data_type)))?;
                let series = first(&|index, data_type| index != x && !named.contains(&index) && is_text(data_type));
                let measures = match (named.len(), kind, series) {
                    // Several measures are the series.
                    (2.., _, _) => return Some(Self { x, y: named, series: None }),
                    (0, ChartKind::Line, None) => (0..schema.fields().len())
                        .filter(|index| *index != x && is_number(schema.field(*index).data_type()))
                        .collect(),
                    _ => vec![measure(x)?],
                };
                (!measures.is_empty()).then_some(Self { x, y: measures, series })
            }
            ChartKind::Map => Some(Self {
                x: x.or_else(|| longitude(schema))?,
                y: vec![y.or_else(|| latitude(schema))?],
                series: None,
            }),
            ChartKind::Table => None,
        }
    }
}

fn latitude(schema: &Schema) -> Option<usize> {
    number_called(schema, &["lat", "latitude"])
}

fn longitude(schema: &Schema) -> Option<usize> {
    number_called(schema, &["lon", "lng", "long", "longitude"])
}

fn number_called(schema: &Schema, names: &[&str]) -> Option<usize> {
    schema.fields().iter().position(|field| {
        is_number(field.data_type()) && names.iter().any(|name| field.name().eq_ignore_ascii_case(name))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::arrow::datatypes::{Field, TimeUnit};

    use super::*;

    const TIME: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(columns.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect::<Vec<_>>())
    }

    #[test]
    fn the_columns_choose_the_chart() {
        use DataType::{Boolean, Float64, Int64, Utf8View};
        let cases: [(&[(&str, DataType)], ChartKind); 11] = [
            (&[("n", Int64)], ChartKind::Number),
            (&[("type", Utf8View), ("n", Int64)], ChartKind::Bar),
            (&[("n", Int64), ("type", Utf8View)], ChartKind::Bar),
            (&[("minute", TIME), ("n", Int64)], ChartKind::Line),
            (&[("minute", TIME), ("n", Int64), ("m", Float64)], ChartKind::Line),
            (&[("minute", TIME), ("city", Utf8View), ("n", Int64)], ChartKind::Line),
            (&[("name", Utf8View), ("lat", Float64), ("lon", Float64)], ChartKind::Map),
            (&[("name", Utf8View)], ChartKind::Table),
            (&[("type", Utf8View), ("n", Int64), ("m", Int64)], ChartKind::Table),
            (&[("minute", TIME), ("n", Int64), ("flag", Boolean)], ChartKind::Table),
            (&[], ChartKind::Table),
        ];
        for (columns, kind) in cases {
            assert_eq!(chart_for(&schema(columns), &[]), kind, "{columns:?}");
        }
        let two = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
        assert_eq!(chart_for(&two.schema(), std::slice::from_ref(&two)), ChartKind::Table);
    }

    #[test]
    fn named_columns_win_and_wrong_names_are_not_guessed_away() {
        let schema =
            schema(&[("a", DataType::Utf8), ("b", DataType::Utf8), ("n", DataType::Int64), ("m", DataType::Int64)]);
        let bar = |x, y: &[&str]| Axes::of(ChartKind::Bar, &schema, x, y);
        assert_eq!(bar(None, &[]), Some(Axes { x: 0, y: vec![2], series: None }));
        assert_eq!(bar(Some("b"), &["m"]), Some(Axes { x: 1, y: vec![3], series: None }));
        assert_eq!(bar(Some("c"), &[]), None);
        let line = Axes::of(ChartKind::Line, &schema, Some("n"), &[]);
        assert_eq!(line, Some(Axes { x: 2, y: vec![3], series: Some(0) }));
    }
}
