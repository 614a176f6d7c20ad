//! A panel's row as the page gets it: text of every column, where it lies on the map, its time.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use super::ground::plain;
use tallgrass_chart::ChartKind;
use tallgrass_diagnostics::Diagnostic;
use tallgrass_geo::Projection;
use tallgrass_sink::cells::{Cells, is_text, is_time, numbers};
use tallgrass_sink::chart::Axes;
use tallgrass_view::SqlFile;

/// Characters of one value that are shown: events are hostile, and two hundred rows of each panel are kept.
const MAX_CHARS: usize = 160;

/// Decimals of degrees and kilometres: a centimetre, and a metre.
const DECIMALS: usize = 7;

/// What the page needs to know of the columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowShape {
    /// Their names.
    pub names: Vec<String>,
    /// The one that names a row: `name`, or else the first text.
    pub title: Option<usize>,
    /// Other texts.
    pub tags: Vec<usize>,
    /// The first truth value: what it holds for is marked by another shape.
    pub flag: Option<usize>,
    #[serde(skip)]
    time: Option<usize>,
    /// Latitude and longitude.
    #[serde(skip)]
    location: Option<(usize, usize)>,
}

impl RowShape {
    /// Of a file's result. Its latitude and longitude are those of a map: `lat` and `lon`, or what `@y` and `@x` name.
    pub fn of(file: &SqlFile, schema: &Schema) -> Self {
        let front_matter = file.front_matter();
        let x = front_matter.x.as_ref().map(|column| column.name.as_str());
        let y: Vec<&str> = front_matter.y.iter().map(|column| column.name.as_str()).collect();
        let axes = Axes::of(ChartKind::Map, schema, x, &y);
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let texts: Vec<usize> = (0..names.len()).filter(|column| is_text(schema.field(*column).data_type())).collect();
        let name = texts.iter().find(|column| names[**column].eq_ignore_ascii_case("name"));
        let title = name.or(texts.first()).copied();
        let first = |fits: fn(&DataType) -> bool| schema.fields().iter().position(|field| fits(field.data_type()));
        Self {
            title,
            tags: texts.into_iter().filter(|column| Some(*column) != title).collect(),
            flag: first(|data_type| *data_type == DataType::Boolean),
            time: first(is_time),
            location: axes.and_then(|axes| Some((*axes.y.first()?, axes.x))),
            names,
        }
    }

    /// Whether rows can be put on the map.
    pub fn has_location(&self) -> bool {
        self.location.is_some()
    }
}

/// A warning for a panel whose rows cannot be put on its map.
pub fn off_the_map(file: &SqlFile, schema: &Schema) -> Option<Diagnostic> {
    if RowShape::of(file, schema).has_location() {
        return None;
    }
    let warning = file.warned("no column says where a row lies, so the map stays empty");
    Some(warning.with_hint("select lat and lon, or name two other columns: -- @x: longitude  @y: latitude".to_owned()))
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PanelRow {
    /// Its number among all of its panel.
    pub k: u64,
    /// Milliseconds since 1970.
    pub t: Option<i64>,
    /// Kilometres east and north of the panel's centre.
    pub at: Option<(f64, f64)>,
    /// Whether its flag is set.
    pub flag: bool,
    /// Every column, nulls too.
    pub values: Vec<Option<String>>,
}

/// Makes rows of some of a batch's; `first` is the number of the first one.
pub fn json_rows(
    shape: &RowShape,
    plane: &Projection,
    batch: &RecordBatch,
    chosen: &[usize],
    first: u64,
) -> Result<Vec<Arc<str>>, ArrowError> {
    let cells = batch.columns().iter().map(|column| Cells::new(column.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let doubles = |column: usize| numbers(std::slice::from_ref(batch), column);
    let places = shape.location.map(|(lat, lon)| (doubles(lat), doubles(lon)));
    let times = shape.time.map(doubles);
    let flags = shape.flag.and_then(|column| batch.column(column).as_boolean_opt());
    let is_float: Vec<bool> = batch.schema_ref().fields().iter().map(|field| field.data_type().is_floating()).collect();
    let row = |(k, row): (u64, &usize)| {
        let at = places.as_ref().and_then(|(lat, lon)| plane.forward(lat[*row]?, lon[*row]?));
        let row = PanelRow {
            k,
            t: times.as_ref().and_then(|times| times[*row]).map(|millis| millis as i64),
            at: at.map(|(x, y)| (round(x), round(y))),
            flag: flags.is_some_and(|flags| flags.is_valid(*row) && flags.value(*row)),
            values: cells
                .iter()
                .zip(&is_float)
                .take(shape.names.len())
                .map(|(cell, float)| shown(cell.get(*row), *float))
                .collect(),
        };
        serde_json::to_string(&row).unwrap_or_default().into()
    };
    Ok((first..).zip(chosen).map(row).collect())
}

fn round(km: f64) -> f64 {
    // A zero has no sign here.
    (km * 1e6).round() / 1e6 + 0.0
}

fn shown(value: Option<String>, float: bool) -> Option<String> {
    let value = value?;
    if float
        && let Ok(number) = value.parse::<f64>()
        && number.abs() < 1e15
    {
        return Some(plain(number, DECIMALS));
    }
    match value.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => Some(format!("{}…", &value[..end])),
        None => Some(value),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, TimestampMillisecondArray};
    use datafusion::arrow::datatypes::Field;

    use super::*;

    #[test]
    fn a_row_is_text_with_a_place_and_a_time() {
        let batch = RecordBatch::try_from_iter([
            ("kind", Arc::new(StringArray::from(vec![Some("Fire"), None])) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec!["<b>\u{202e}x\n".to_owned(), "é".repeat(9_000)]))),
            ("legendary", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("lat", Arc::new(Float64Array::from(vec![Some(1.0), None]))),
            ("lon", Arc::new(Float64Array::from(vec![0.123_456_789_1, 0.0]))),
            ("_timestamp", Arc::new(TimestampMillisecondArray::from(vec![Some(5), None]))),
        ])
        .unwrap();
        let file = SqlFile::parse("a", "a.sql", "SELECT 1").unwrap();
        let shape = RowShape::of(&file, &batch.schema());
        assert_eq!((shape.title, shape.tags.as_slice(), shape.flag), (Some(1), &[0][..], Some(2)));
        let rows = json_rows(&shape, &Projection::new(0.0, 0.0), &batch, &[0, 1], 7).unwrap();
        let rows: Vec<PanelRow> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
        assert_eq!((rows[0].k, rows[1].k, rows[0].flag, rows[1].flag), (7, 8, true, false));
        assert_eq!(rows[0].values[1].as_deref(), Some("<b>\\u{202e}x\\n"));
        assert_eq!(rows[0].values[4].as_deref(), Some("0.1234568"));
        let (x, y) = rows[0].at.unwrap();
        assert!((x.hypot(y) - tallgrass_geo::distance_km(0.0, 0.0, 1.0, 0.123_456_789_1)).abs() < 1e-5);
        assert_eq!((rows[0].t, rows[1].t, rows[1].at), (Some(5), None, None));
        assert_eq!(rows[1].values[1].as_ref().unwrap().chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn columns_of_other_names_are_named_by_the_file() {
        let double = |name: &str| Field::new(name, DataType::Float64, true);
        let schema = Schema::new(vec![double("breite"), double("laenge"), double("longitude"), double("Latitude")]);
        let file = |front_matter: &str| {
            SqlFile::parse("a", "q/panels/a.sql", format!("-- @title: A {front_matter}\n\nSELECT 1")).unwrap()
        };
        assert_eq!(RowShape::of(&file(""), &schema).location, Some((3, 2)));
        assert_eq!(RowShape::of(&file("@x: laenge @y: breite"), &schema).location, Some((0, 1)));
        assert!(off_the_map(&file(""), &schema).is_none());
        let wrong = off_the_map(&file("@x: lange @y: breite"), &schema).unwrap().to_string();
        insta::assert_snapshot!(wrong, @r"
        q/panels/a.sql:3:1: warning: no column says where a row lies, so the map stays empty
          3 | SELECT 1
            | ^^^^^^
        help: select lat and lon, or name two other columns: -- @x: longitude  @y: latitude
        ");
    }
}
