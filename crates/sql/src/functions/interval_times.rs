//! `interval_times(interval, number)`: `2 * INTERVAL '10 minutes'`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray as _, PrimitiveArray};
use datafusion::arrow::compute::try_binary;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

const NANOS_PER_DAY: f64 = 86_400e9;

/// The function.
pub(super) fn interval_times() -> ScalarUDF {
    let signature = Signature::exact(vec![INTERVAL, DataType::Float64], Volatility::Immutable);
    ScalarUDF::new_from_impl(IntervalTimes { signature })
}

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalTimes {
    signature: Signature,
}

impl ScalarUDFImpl for IntervalTimes {
    fn name(&self) -> &'static str {
        "interval_times"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let intervals = args.args[0].to_array(args.number_rows)?;
        let factors = args.args[1].to_array(args.number_rows)?;
        let products: PrimitiveArray<IntervalMonthDayNanoType> = try_binary(
            intervals.as_primitive::<IntervalMonthDayNanoType>(),
            factors.as_primitive::<Float64Type>(),
            |interval, factor| {
                product(interval, factor)
                    .ok_or_else(|| ArrowError::ComputeError(format!("interval out of range: {interval:?} * {factor}")))
            },
        )?;
        let products: ArrayRef = Arc::new(products);
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&products, 0)?)
        } else {
            ColumnarValue::Array(products)
        })
    }
}

/// As in PostgreSQL: a part of a month is days of thirty, a part of a day is time.
fn product(interval: IntervalMonthDayNano, factor: f64) -> Option<IntervalMonthDayNano> {
    let whole = |value: f64| (value.is_finite() && value.abs() < f64::from(i32::MAX)).then_some(value.trunc());
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor + (months - whole(months)?) * 30.0;
    let nanos = interval.nanoseconds as f64 * factor + (days - whole(days)?) * NANOS_PER_DAY;
    if nanos.is_nan() || nanos.abs() >= i64::MAX as f64 {
        return None;
    }
    Some(IntervalMonthDayNano::new(whole(months)? as i32, whole(days)? as i32, nanos.round() as i64))
}
