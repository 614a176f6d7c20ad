//! Small functions of PostgreSQL that `DataFusion` lacks: `pg_typeof`, `to_json`, `format`, `age`.

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, Datelike as _};
use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, IntervalMonthDayNanoBuilder, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampNanosecondType,
};
use datafusion::arrow::json::writer::{EncoderOptions, make_encoder};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

/// All of them.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let age = TypeSignature::Exact(vec![MOMENT, MOMENT]);
    [
        Small { name: "pg_typeof", returns: DataType::Utf8, signature: TypeSignature::Any(1), run: pg_typeof },
        Small { name: "to_json", returns: DataType::Utf8, signature: TypeSignature::Any(1), run: to_json },
        Small { name: "format", returns: DataType::Utf8, signature: TypeSignature::VariadicAny, run: format },
        Small { name: "age", returns: DataType::Interval(IntervalUnit::MonthDayNano), signature: age, run: age_of },
    ]
    .map(|small| {
        let signature = Signature::new(small.signature.clone(), Volatility::Immutable);
        ScalarUDF::new_from_impl(Function { small, signature })
    })
    .into()
}

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

type Run = fn(&[ArrayRef], usize) -> Result<ArrayRef>;

#[derive(Debug)]
struct Small {
    name: &'static str,
    returns: DataType,
    signature: TypeSignature,
    run: Run,
}

#[derive(Debug)]
struct Function {
    small: Small,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.small.name == other.small.name
    }
}

impl Eq for Function {}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.small.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.small.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.small.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let result = (self.small.run)(&arrays, rows)?;
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

#[allow(clippy::unnecessary_wraps, reason = "one of several")]
fn pg_typeof(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let name = type_name(args[0].data_type());
    let mut names = StringBuilder::new();
    (0..rows).for_each(|_| names.append_value(&name));
    Ok(Arc::new(names.finish()))
}

/// A type's name as PostgreSQL writes it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt16 => "integer".to_owned(),
        DataType::Int64 | DataType::UInt32 => "bigint".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric".to_owned(),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text".to_owned(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "bytea".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone".to_owned(),
        DataType::Timestamp(_, None) => "timestamp without time zone".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "interval".to_owned(),
        DataType::List(item) | DataType::LargeList(item) => format!("{}[]", type_name(item.data_type())),
        DataType::Struct(_) => "record".to_owned(),
        DataType::Null => "unknown".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

fn to_json(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let values = &args[0];
    let field = Arc::new(Field::new("value", values.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, values, &options)?;
    let (mut texts, mut bytes) = (StringBuilder::new(), Vec::new());
    for row in 0..rows {
        if values.is_null(row) || encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        bytes.clear();
        encoder.encode(row, &mut bytes);
        texts.append_value(String::from_utf8_lossy(&bytes));
    }
    Ok(Arc::new(texts.finish()))
}

fn format(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let Some((patterns, values)) = args.split_first() else { return plan_err!("format takes a text and its values") };
    let text = |array: &ArrayRef| cast(array, &DataType::Utf8);
    let patterns = text(patterns)?;
    let patterns = patterns.as_string::<i32>();
    let values = values.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let mut texts = StringBuilder::new();
    for row in 0..rows {
        if patterns.is_null(row) {
            texts.append_null();
            continue;
        }
        let (mut written, mut next) = (String::new(), 0);
        let mut chars = patterns.value(row).chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                written.push(c);
                continue;
            }
            let kind = chars.next();
            if kind == Some('%') {
                written.push('%');
                continue;
            }
            let Some(values) = values.get(next) else { return exec_err!("too few arguments for format()") };
            let value = (!values.is_null(row)).then(|| values.as_string::<i32>().value(row));
            next += 1;
            match (kind, value) {
                (Some('s'), value) => written.push_str(value.unwrap_or_default()),
                (Some('I'), Some(value)) => _ = write!(written, "\"{}\"", value.replace('"', "\"\"")),
                (Some('L'), Some(value)) => _ = write!(written, "'{}'", value.replace('\'', "''")),
                (Some('L'), None) => written.push_str("NULL"),
                _ => return exec_err!("format() knows %s, %I, %L and %%"),
            }
        }
        texts.append_value(written);
    }
    Ok(Arc::new(texts.finish()))
}

/// The time between two moments in years, months, days and time, as one counts on a calendar.
#[allow(clippy::unnecessary_wraps, reason = "one of several")]
fn age_of(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (later, earlier) =
        (args[0].as_primitive::<TimestampNanosecondType>(), args[1].as_primitive::<TimestampNanosecondType>());
    let mut ages = IntervalMonthDayNanoBuilder::new();
    for row in 0..rows {
        if later.is_null(row) || earlier.is_null(row) {
            ages.append_null();
        } else {
            ages.append_value(between(later.value(row), earlier.value(row)));
        }
    }
    Ok(Arc::new(ages.finish()))
}

fn between(later: i64, earlier: i64) -> IntervalMonthDayNano {
    if later < earlier {
        let age = between(earlier, later);
        return IntervalMonthDayNano::new(-age.months, -age.days, -age.nanoseconds);
    }
    let (later, earlier) = (DateTime::from_timestamp_nanos(later), DateTime::from_timestamp_nanos(earlier));
    let month = |moment: DateTime<chrono::Utc>| moment.year() * 12 + moment.month0() as i32;
    let mut months = month(later) - month(earlier);
    let mut days = later.day() as i32 - earlier.day() as i32;
    let mut time = later.time() - earlier.time();
    if time < chrono::TimeDelta::zero() {
        time += chrono::TimeDelta::days(1);
        days -= 1;
    }
    // As in PostgreSQL, a borrowed month is as long as that of the earlier moment.
    if days < 0 {
        days += i32::from(earlier.num_days_in_month());
        months -= 1;
    }
    IntervalMonthDayNano::new(months, days, time.num_nanoseconds().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> i64 {
        text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_nanos_opt().unwrap()
    }

    /// The ages are `PostgreSQL`'s.
    #[test]
    fn an_age_borrows_the_days_of_the_earlier_month() {
        const HOUR: i64 = 3_600_000_000_000;
        for (later, earlier, age) in [
            ("2026-03-01T00:00:00Z", "2026-01-15T00:00:00Z", (1, 17, 0)),
            ("2026-01-15T00:00:00Z", "2026-03-01T00:00:00Z", (-1, -17, 0)),
            ("2026-03-31T00:00:00Z", "2026-02-28T00:00:00Z", (1, 3, 0)),
            ("2024-03-01T01:00:00Z", "2024-02-29T02:00:00Z", (0, 0, 23 * HOUR)),
            ("2026-05-30T00:00:00Z", "2026-01-31T00:00:00Z", (3, 30, 0)),
        ] {
            let found = between(nanos(later), nanos(earlier));
            assert_eq!((found.months, found.days, found.nanoseconds), age, "{later} since {earlier}");
        }
    }
}
