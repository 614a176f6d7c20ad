//! Functions whose output can be far larger than their input, measured before they run.
//!
//! The memory of operators is accounted for; the output of one function call is not, and `repeat('x', 2000000000)` would
//! take the memory of the live run. So an upper bound of such a call's output is computed first.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::{cast, kernels::length::length};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type, IntervalUnit, TimeUnit};
use datafusion::common::{Result, resources_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Bytes that one call may produce: for a whole batch, whose values are most often far below the bound.
const MAX_CALL_BYTES: f64 = (128_u64 << 20) as f64;

/// How a function's output depends on its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// The text of the first, repeated as often as the second says.
    Repeat,
    /// A text as long as the second says.
    Pad,
    /// The first with each occurrence of the second replaced by the third.
    Replace,
    /// The first with each match of the pattern replaced by the third.
    RegexpReplace,
    /// All numbers or moments between two.
    Series,
    /// A list as long as the second says.
    List,
    /// No output, but a step for each pair of characters: the bound on memory bounds time here.
    Compare,
}

const GROWING: [(&str, Growth); 10] = [
    ("repeat", Growth::Repeat),
    ("lpad", Growth::Pad),
    ("rpad", Growth::Pad),
    ("replace", Growth::Replace),
    ("regexp_replace", Growth::RegexpReplace),
    ("range", Growth::Series),
    ("generate_series", Growth::Series),
    ("array_repeat", Growth::List),
    ("array_resize", Growth::List),
    ("levenshtein", Growth::Compare),
];

/// The measured form of every such function that `find` returns.
pub fn functions(find: impl Fn(&str) -> Option<Arc<ScalarUDF>>) -> Vec<ScalarUDF> {
    let measured = GROWING.iter().filter_map(|(name, growth)| Some(Measured { inner: find(name)?, growth: *growth }));
    measured.map(ScalarUDF::new_from_impl).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Measured {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Measured {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.growth.bytes(&args)?;
        if bytes > MAX_CALL_BYTES && self.growth == Growth::Compare {
            return resources_err!(
                "{}() would compare about {:.0} million characters at once",
                self.name(),
                bytes / 1e6
            );
        }
        if bytes > MAX_CALL_BYTES {
            return resources_err!(
                "{}() would produce about {:.0} MB at once",
                self.name(),
                bytes / f64::from(1 << 20)
            );
        }
        self.inner.invoke_with_args(args)
    }
}

impl Growth {
    /// About how many bytes a call produces, never much too low. Doubles, for they do not overflow.
    fn bytes(self, args: &ScalarFunctionArgs) -> Result<f64> {
        // Constants alone give one value, which holds for all rows.
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let (number, text) = (|at: usize| numbers(arrays.get(at)), |at: usize| lengths(arrays.get(at)));
        let sum = |each: &dyn Fn(usize) -> f64| (0..rows).map(each).map(|bytes| bytes.max(0.0)).sum::<f64>();
        Ok(match self {
            Self::Repeat => {
                let (text, times) = (text(0)?, number(1)?);
                sum(&|row| text[row] * times[row].max(0.0))
            }
            Self::Pad => {
                let width = number(1)?;
                sum(&|row| 4.0 * width[row])
            }
            Self::Replace => {
                let (text, from, to) = (text(0)?, text(1)?, text(2)?);
                sum(&|row| text[row] + text[row] / from[row].max(1.0) * to[row])
            }
            Self::RegexpReplace => {
                let (text, to) = (text(0)?, text(2)?);
                // A pattern may match the empty text everywhere.
                sum(&|row| if text[row] * to[row] > MAX_CALL_BYTES { text[row] * to[row] } else { 0.0 })
            }
            Self::Series => {
                let one = arrays.len() == 1;
                let (start, stop) = if one { (vec![0.0; rows], number(0)?) } else { (number(0)?, number(1)?) };
                let step = if arrays.len() > 2 { number(2)? } else { vec![1.0; rows] };
                sum(&|row| 8.0 * ((stop[row] - start[row]) / step[row]).abs())
            }
            Self::List => {
                let times = number(1)?;
                let size =
                    arrays.first().map_or(8.0, |array| array.get_array_memory_size() as f64 / rows.max(1) as f64);
                sum(&|row| size.max(8.0) * times[row])
            }
            Self::Compare => {
                let (one, other) = (text(0)?, text(1)?);
                sum(&|row| one[row] * other[row])
            }
        })
    }
}

/// Numbers, or moments and spans in nanoseconds, row by row; 0 for nulls and non-numbers.
fn numbers(array: Option<&ArrayRef>) -> Result<Vec<f64>> {
    let Some(array) = array else { return Ok(Vec::new()) };
    let moment = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let values = match array.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            cast(&cast(array, &moment)?, &DataType::Int64)?
        }
        DataType::Interval(_) => {
            let spans = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            let spans = spans.as_primitive::<datafusion::arrow::datatypes::IntervalMonthDayNanoType>();
            let nanos = |span: datafusion::arrow::datatypes::IntervalMonthDayNano| {
                let days = i64::from(span.months) * 28 + i64::from(span.days);
                days.saturating_mul(86_400_000_000_000).saturating_add(span.nanoseconds)
            };
            Arc::new(spans.iter().map(|span| span.map(nanos)).collect::<Int64Array>())
        }
        number if number.is_numeric() => cast(array, &DataType::Int64)?,
        _ => return Ok(vec![0.0; array.len()]),
    };
    Ok(values.as_primitive::<Int64Type>().iter().map(|value| value.unwrap_or(0) as f64).collect())
}

/// Bytes of texts, row by row.
fn lengths(array: Option<&ArrayRef>) -> Result<Vec<f64>> {
    let Some(array) = array else { return Ok(Vec::new()) };
    let texts = cast(array, &DataType::LargeUtf8)?;
    numbers(Some(&length(&texts)?))
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::panic)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    fn context() -> SessionContext {
        let context = SessionContext::new();
        let state = context.state();
        for function in functions(|name| state.scalar_functions().get(name).cloned()) {
            context.register_udf(function);
        }
        context
    }

    async fn run(sql: &str) -> Result<usize> {
        let batches = tallgrass_planner::sql(&context(), sql).await?.collect().await?;
        Ok(batches.iter().map(datafusion::arrow::array::RecordBatch::num_rows).sum())
    }

    #[tokio::test]
    async fn what_would_burst_is_refused_before_it_is_made() {
        let bursting = [
            "SELECT repeat('x', 2000000000)",
            "SELECT length(repeat(repeat('x', 10000000), 100))",
            "SELECT lpad('x', 2000000000, 'y'), 1",
            "SELECT rpad('x', 2000000000)",
            "SELECT replace(repeat('a', 1000000), 'a', repeat('b', 1000000))",
            "SELECT regexp_replace(repeat('a', 1000000), 'a', repeat('b', 1000000), 'g')",
            "SELECT range(1, 10000000000)",
            "SELECT range(DATE '0001-01-01', DATE '9999-01-01', INTERVAL '1' DAY), range(10000000000)",
            "SELECT array_repeat('x', 10000000000)",
            "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))",
            "SELECT array_resize(make_array(1), 10000000000)",
            "SELECT repeat('x', n) FROM (VALUES (1), (1000000000)) AS t(n)",
        ];
        for sql in bursting {
            let error = run(sql).await.expect_err(sql).to_string();
            assert!(error.contains("at once"), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn what_fits_is_made() {
        let fitting = [
            "SELECT repeat('x', 1000), lpad('1', 3, '0'), rpad('1', 3), replace('banana', 'a', 'oo')",
            "SELECT regexp_replace(a, '[0-9]+', 'x') FROM (VALUES ('a1'), (NULL)) AS t(a)",
            "SELECT range(1, 10), range(DATE '2026-01-01', DATE '2026-02-01', INTERVAL '1' DAY), array_repeat('x', 3)",
            "SELECT repeat('x', -1), range(10, 1, -1), levenshtein('kitten', 'sitting')",
        ];
        for sql in fitting {
            assert!(run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")) > 0);
        }
    }
}
