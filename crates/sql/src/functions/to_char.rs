//! `to_char` of times and numbers by PostgreSQL's patterns: `YYYY-MM-DD HH24:MI`, `FM999G990D00`.
//!
//! A pattern with a `%`, of which PostgreSQL has none, is one of `DataFusion`'s (chrono's).

mod number;
mod time;

use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::replaced::Replaced;

/// The function that replaces the built-in one.
pub(super) fn to_char() -> ScalarUDF {
    ScalarUDF::new_from_impl(ToChar {
        builtin: Replaced(datafusion::functions::datetime::to_char()),
        aliases: vec!["date_format".to_owned()],
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    builtin: Replaced,
    aliases: Vec<String>,
    signature: Signature,
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &'static str {
        "to_char"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, _] = arg_types else { return plan_err!("to_char takes a time or a number, and a pattern") };
        let value = match value {
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
                DataType::Timestamp(TimeUnit::Nanosecond, None)
            }
            other => other.clone(),
        };
        Ok(vec![value, DataType::Utf8])
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_chrono = match &args.args[1] {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern))) => pattern.contains('%'),
            _ => false,
        };
        let data_type = args.args[0].data_type();
        let is_number = data_type.is_numeric();
        if is_chrono && !is_number {
            return self.builtin.invoke(args);
        }
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let values = args.args[0].to_array(args.number_rows)?;
        let patterns = args.args[1].to_array(args.number_rows)?;
        let texts: ArrayRef = if is_number {
            numbers(&values, patterns.as_string::<i32>())?
        } else {
            times(&values, patterns.as_string::<i32>())?
        };
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)
        } else {
            ColumnarValue::Array(texts)
        })
    }
}

type Patterns = datafusion::arrow::array::StringArray;

fn times(values: &ArrayRef, patterns: &Patterns) -> Result<ArrayRef> {
    let (zone, nanos) = match values.data_type() {
        DataType::Timestamp(unit, zone) => (zone.clone(), *unit == TimeUnit::Nanosecond),
        DataType::Date32 | DataType::Date64 | DataType::Null => (None, false),
        other => return plan_err!("to_char takes a timestamp, a date or a number, not {other}"),
    };
    let offset = zone.as_deref().map(str::parse::<datafusion::arrow::array::timezone::Tz>).transpose()?;
    let micros = if nanos {
        // Towards the past, also before 1970.
        let nanos = values.as_primitive::<datafusion::arrow::datatypes::TimestampNanosecondType>();
        Arc::new(nanos.unary::<_, TimestampMicrosecondType>(|nanos| nanos.div_euclid(1_000))) as ArrayRef
    } else {
        cast(values, &DataType::Timestamp(TimeUnit::Microsecond, zone))?
    };
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    let mut pattern = time::Pattern::default();
    write_each(micros.len(), |row, out| {
        if micros.is_null(row) || patterns.is_null(row) {
            return Ok(false);
        }
        pattern.set(patterns.value(row))?;
        pattern.write(micros.value(row), offset.as_ref(), out)?;
        Ok(true)
    })
}

fn numbers(values: &ArrayRef, patterns: &Patterns) -> Result<ArrayRef> {
    let is_float = values.data_type().is_floating();
    let doubles = is_float.then(|| cast(values, &DataType::Float64)).transpose()?;
    let texts = if is_float { None } else { Some(cast(values, &DataType::Utf8)?) };
    let mut pattern = number::Pattern::default();
    write_each(values.len(), |row, out| {
        if values.is_null(row) || patterns.is_null(row) {
            return Ok(false);
        }
        pattern.set(patterns.value(row))?;
        let text = match (&doubles, &texts) {
            (Some(doubles), _) => {
                let value = doubles.as_primitive::<datafusion::arrow::datatypes::Float64Type>().value(row);
                format!("{value:.*}", pattern.decimals())
            }
            (None, Some(texts)) => texts.as_string::<i32>().value(row).to_owned(),
            (None, None) => return Ok(false),
        };
        pattern.write(&text, out);
        Ok(true)
    })
}

/// A text a row, or null where nothing is written.
fn write_each(rows: usize, mut write: impl FnMut(usize, &mut String) -> Result<bool>) -> Result<ArrayRef> {
    let mut texts = StringBuilder::with_capacity(rows, rows * 16);
    let mut text = String::new();
    for row in 0..rows {
        text.clear();
        if write(row, &mut text)? {
            _ = texts.write_str(&text);
            texts.append_value("");
        } else {
            texts.append_null();
        }
    }
    Ok(Arc::new(texts.finish()))
}
