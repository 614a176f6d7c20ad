//! A live result compared with the rows of its replay.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, LargeStringArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use serde_json::{Map, Value};

use crate::claim::{LiveResult, LiveRows};
use crate::report::{Side, Verdict};
use tallgrass_sink::SinkError;
use tallgrass_sink::text::json_rows;
use tallgrass_view::results::{Difference, Digest, Tolerances};

/// Why two results cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    /// A type that has no row format.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A type that has no JSON.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Never: what was just written reads back.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Compares the digests, and the rows where those differ. Rows of a line are compared anyway, since nothing but the replay
/// can say whether they are still those that the line's digest was of.
pub(crate) fn compare(
    view: &str,
    live: &LiveResult,
    schema: &SchemaRef,
    replay: &[RecordBatch],
    tolerances: &Tolerances,
) -> Result<Verdict, CompareError> {
    let digest = Digest::of(schema, replay)?;
    let mut difference = match &live.rows {
        LiveRows::Arrow(..) if digest == live.digest => Difference::default(),
        LiveRows::Arrow(live_schema, rows) => Difference::between((live_schema, rows), (schema, replay))?,
        LiveRows::Json(rows) => {
            let replay = json_rows(view, schema, replay)?;
            let replay = replay.iter().map(|row| serde_json::from_str(row)).collect::<Result<Vec<_>, _>>()?;
            let [live, replay] = as_columns([rows, &replay])?;
            Difference::between((&live.schema(), &[live]), (&replay.schema(), &[replay]))?
        }
    };
    let close = difference.forgive(tolerances)?;
    let rows = replay.iter().map(RecordBatch::num_rows).sum();
    // Rows within the tolerance explain another digest; without any, something differs that no row shows.
    if difference.is_empty() && (digest == live.digest || close > 0) {
        return Ok(Verdict::Agrees { rows, digest: live.digest });
    }
    let live = Side::new(live.rows.count(), live.digest, &difference.removed)?;
    Ok(Verdict::Differs { live, replay: Side::new(rows, digest, &difference.added)? })
}

/// Objects as columns of JSON text, so that values that read back alike are equal. Both sides have the columns of both; a
/// key that is missing is null, which no text is.
fn as_columns(sides: [&[Map<String, Value>]; 2]) -> Result<[RecordBatch; 2], ArrowError> {
    let names: BTreeSet<&String> = sides.iter().copied().flatten().flat_map(Map::keys).collect();
    let fields = names.iter().map(|name| Field::new(*name, DataType::LargeUtf8, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = |rows: &[Map<String, Value>]| {
        let column = |name: &&String| -> ArrayRef {
            Arc::new(rows.iter().map(|row| row.get(*name).map(Value::to_string)).collect::<LargeStringArray>())
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&schema), names.iter().map(column).collect(), &options)
    };
    let [live, replay] = sides.map(columns);
    Ok([live?, replay?])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{Float64Array, StringArray};
    use serde_json::json;

    use super::*;
    use tallgrass_view::results::Tolerance;

    fn batch(rows: &[(&str, f64)]) -> RecordBatch {
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(name, _)| name)));
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, value)| *value)));
        RecordBatch::try_from_iter([("name", names), ("x", values)]).unwrap()
    }

    fn digest(rows: &RecordBatch) -> Digest {
        Digest::of(&rows.schema(), std::slice::from_ref(rows)).unwrap()
    }

    fn verdict(live: LiveRows, of: &[(&str, f64)], replay: &[(&str, f64)], tolerances: &Tolerances) -> String {
        let (live, replay) = (LiveResult { digest: digest(&batch(of)), rows: live }, batch(replay));
        let verdict = compare("v", &live, &replay.schema(), &[replay], tolerances).unwrap();
        let lines = [vec![verdict.to_string()], verdict.rows()].concat();
        lines.join("\n").replace(&live.digest.to_string(), "…")
    }

    fn arrow(live: &[(&str, f64)], replay: &[(&str, f64)], tolerances: &Tolerances) -> String {
        let rows = batch(live);
        verdict(LiveRows::Arrow(rows.schema(), vec![rows]), live, replay, tolerances)
    }

    fn json(rows: &Value, of: &[(&str, f64)], replay: &[(&str, f64)], tolerances: &Tolerances) -> String {
        verdict(LiveRows::Json(serde_json::from_value(rows.clone()).unwrap()), of, replay, tolerances)
    }

    #[test]
    fn a_changed_row_shows_on_both_sides_and_only_the_first_are_shown() {
        let many = |x: f64| [("\x1b[2J", 1.0), ("b", x), ("c", x), ("d", x), ("e", x), ("f", x), ("g", x)];
        let found = arrow(&many(1.0), &many(2.0), &Tolerances::new());
        assert!(
            found.starts_with("DIFFERS: 6 rows only live, 6 rows only in the replay\n- only live: name = b, x = 1.0")
        );
        assert!(found.contains("- only live: … and 1 more\n+ only replay: name = b, x = 2.0\n"), "{found}");
        assert!(found.ends_with("\n+ only replay: … and 1 more") && found.lines().count() == 13, "{found}");
        let hostile = arrow(&[("\x1b[2J", f64::NAN)], &[], &Tolerances::new());
        assert!(hostile.ends_with("\n- only live: name = \\x1b[2J, x = NaN"), "{hostile}");
    }

    #[test]
    fn rows_of_a_line_are_compared_as_values_whatever_its_digest() {
        let replay = [("a", 1.0), ("b", f64::NAN)];
        let good = json!([{"x": null, "name": "b"}, {"name": "a", "x": 1.0}]);
        assert_eq!(json(&good, &replay, &replay, &Tolerances::new()), "live and replay agree, 2 rows, digest …");
        let changed = json!([{"x": null, "name": "b"}, {"name": "a", "x": 2}]);
        let found = json(&changed, &replay, &replay, &Tolerances::new());
        insta::assert_snapshot!(found, @r#"
        DIFFERS: 1 row only live, 1 row only in the replay
        - only live: name = "a", x = 2
        + only replay: name = "a", x = 1.0
        "#);
        let missing = json(&json!([{"name": "b"}, {"name": "a", "x": 1.0}]), &replay, &replay, &Tolerances::new());
        assert!(missing.contains("- only live: name = \"b\", x = NULL\n"), "{missing}");
        let other_digest = json(&good, &replay[..1], &replay, &Tolerances::new());
        assert!(other_digest.starts_with("DIFFERS: the rows read the same, but not the digest"), "{other_digest}");
    }

    #[test]
    fn rows_within_the_tolerance_explain_another_digest() {
        let tolerances = Tolerances::from([("x".to_owned(), Tolerance::Relative(1e-12))]);
        let (live, replay) = ([("a", 1.0 + 1e-15)], [("a", 1.0)]);
        assert!(arrow(&live, &replay, &Tolerances::new()).starts_with("DIFFERS"));
        assert!(arrow(&live, &replay, &tolerances).starts_with("live and replay agree, 1 row"));
        let lines = json!([{"name": "a", "x": 1.000_000_000_000_001}]);
        assert!(json(&lines, &live, &replay, &tolerances).starts_with("live and replay agree, 1 row"));
        assert!(json(&json!([{"name": "a", "x": 1.1}]), &live, &replay, &tolerances).starts_with("DIFFERS: 1 row"));
    }
}
