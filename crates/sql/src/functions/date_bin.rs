//! `date_bin` over every year that a timestamp can hold.
//!
//! `DataFusion`'s computes in nanoseconds, which reach from 1677 to 2262, and gives NULL beyond. For coarser columns this
//! one computes in 128 bits; for columns of nanoseconds, the usual ones, it is `DataFusion`'s.

use std::sync::Arc;

use chrono::{DateTime, Datelike as _, Months};
use datafusion::arrow::array::types::{
    ArrowTimestampType, TimestampMicrosecondType, TimestampMillisecondType, TimestampSecondType,
};
use datafusion::arrow::array::{ArrayRef, AsArray as _, PrimitiveArray};
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::replaced::Replaced;

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i128 = 86_400;

/// The function that replaces the built-in one.
pub(super) fn date_bin() -> ScalarUDF {
    ScalarUDF::new_from_impl(DateBin { builtin: Replaced(datafusion::functions::datetime::date_bin()) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBin {
    builtin: Replaced,
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &str {
        self.builtin.0.name()
    }

    fn signature(&self) -> &Signature {
        self.builtin.0.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.builtin.0.inner().return_type(arg_types)
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.builtin.0.inner().output_ordering(input)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let data_type = args.args[1].data_type();
        let DataType::Timestamp(unit @ (TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond), zone) =
            data_type
        else {
            return self.builtin.invoke(args);
        };
        let (Some(stride), Some(origin)) = (stride(&args.args[0]), origin(args.args.get(2))?) else {
            return self.builtin.invoke(args);
        };
        let is_scalar = matches!(args.args[1], ColumnarValue::Scalar(_));
        let times = args.args[1].to_array(args.number_rows)?;
        let bins: ArrayRef = match unit {
            TimeUnit::Second => Arc::new(bins::<TimestampSecondType>(&times, stride, origin)?.with_timezone_opt(zone)),
            TimeUnit::Millisecond => {
                Arc::new(bins::<TimestampMillisecondType>(&times, stride, origin)?.with_timezone_opt(zone))
            }
            _ => Arc::new(bins::<TimestampMicrosecondType>(&times, stride, origin)?.with_timezone_opt(zone)),
        };
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&bins, 0)?)
        } else {
            ColumnarValue::Array(bins)
        })
    }
}

/// A constant stride, if it is one.
fn stride(stride: &ColumnarValue) -> Option<IntervalMonthDayNano> {
    match stride {
        ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(stride))) => Some(*stride),
        _ => None,
    }
}

/// A constant origin in nanoseconds, 1970 where none is given.
fn origin(origin: Option<&ColumnarValue>) -> Result<Option<i128>> {
    let Some(origin) = origin else { return Ok(Some(0)) };
    let ColumnarValue::Scalar(origin) = origin else { return Ok(None) };
    let DataType::Timestamp(unit, _) = origin.data_type() else { return Ok(None) };
    let count = origin.to_array()?;
    let count = match unit {
        TimeUnit::Second => count.as_primitive::<TimestampSecondType>().value(0),
        TimeUnit::Millisecond => count.as_primitive::<TimestampMillisecondType>().value(0),
        TimeUnit::Microsecond => count.as_primitive::<TimestampMicrosecondType>().value(0),
        TimeUnit::Nanosecond => count.as_primitive::<datafusion::arrow::datatypes::TimestampNanosecondType>().value(0),
    };
    Ok((!origin.is_null()).then(|| i128::from(count) * nanos_each(unit)))
}

fn nanos_each(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => NANOS_PER_SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn bins<T: ArrowTimestampType>(
    times: &ArrayRef,
    stride: IntervalMonthDayNano,
    origin: i128,
) -> Result<PrimitiveArray<T>> {
    let each = nanos_each(T::UNIT);
    let nanos = i128::from(stride.days) * SECONDS_PER_DAY * NANOS_PER_SECOND + i128::from(stride.nanoseconds);
    let out_of_range =
        |time: i64| exec_datafusion_err!("date_bin of {time}: the bin's start is out of TIMESTAMP's range");
    if stride.months != 0 {
        let months = u32::try_from(stride.months).ok().filter(|_| nanos == 0);
        let Some(months) = months else {
            return exec_err!("date_bin takes a stride of months or of shorter units, greater than 0");
        };
        return times.as_primitive::<T>().try_unary(|time| {
            let start = start_of_months(i128::from(time) * each, months, origin);
            start.and_then(|start| i64::try_from(start.div_euclid(each)).ok()).ok_or_else(|| out_of_range(time))
        });
    }
    if nanos <= 0 {
        return exec_err!("date_bin takes a stride greater than 0");
    }
    times.as_primitive::<T>().try_unary(|time| {
        let since = i128::from(time) * each - origin;
        let start = since.div_euclid(nanos) * nanos + origin;
        i64::try_from(start.div_euclid(each)).map_err(|_| out_of_range(time))
    })
}

/// The start of the bin of so many months, in nanoseconds.
fn start_of_months(time: i128, months: u32, origin: i128) -> Option<i128> {
    let moment = |nanos: i128| {
        let seconds = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).ok()?;
        DateTime::from_timestamp(seconds, nanos.rem_euclid(NANOS_PER_SECOND) as u32)
    };
    let nanos_of = |moment: DateTime<chrono::Utc>| {
        i128::from(moment.timestamp()) * NANOS_PER_SECOND + i128::from(moment.timestamp_subsec_nanos())
    };
    let (time, origin) = (moment(time)?, moment(origin)?);
    let month = |moment: DateTime<chrono::Utc>| i64::from(moment.year()) * 12 + i64::from(moment.month0());
    let bin = |index: i64| {
        let shift = index.checked_mul(i64::from(months))?;
        let size = Months::new(u32::try_from(shift.unsigned_abs()).ok()?);
        if shift < 0 { origin.checked_sub_months(size) } else { origin.checked_add_months(size) }
    };
    let index = (month(time) - month(origin)).div_euclid(i64::from(months));
    let start = bin(index)?;
    Some(nanos_of(if start > time { bin(index - 1)? } else { start }))
}
