//! `timezone(zone, time)`, which is `time AT TIME ZONE zone`, as in PostgreSQL: of a moment the wall clock of that zone, of
//! a wall clock in that zone the moment.

use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::types::{
    ArrowTimestampType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, PrimitiveArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::arrow::temporal_conversions::as_datetime_with_timezone;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use tallgrass_relation::TIME_ZONE;

/// The function.
pub(super) fn timezone() -> ScalarUDF {
    ScalarUDF::new_from_impl(Timezone { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Timezone {
    signature: Signature,
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &'static str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [_, time] = arg_types else { return plan_err!("AT TIME ZONE takes a time and the name of a zone") };
        let time = match time {
            DataType::Timestamp(_, _) => time.clone(),
            // A text or a day is a moment of the session's zone, as PostgreSQL takes it.
            _ => DataType::Timestamp(TimeUnit::Nanosecond, Some(TIME_ZONE.into())),
        };
        Ok(vec![DataType::Utf8, time])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match &arg_types[1] {
            DataType::Timestamp(unit, None) => DataType::Timestamp(*unit, Some(TIME_ZONE.into())),
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, None),
            other => return plan_err!("AT TIME ZONE takes a timestamp, not {other}"),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(ScalarValue::Utf8(zone)) = &args.args[0] else {
            return exec_err!("AT TIME ZONE takes a constant zone, such as 'Europe/Madrid'");
        };
        let Some(zone) = zone else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(args.return_type())?));
        };
        let tz: Tz = zone.parse().map_err(|_| exec_datafusion_err!("time zone '{zone}' is not known"))?;
        let is_scalar = matches!(args.args[1], ColumnarValue::Scalar(_));
        let times = args.args[1].to_array(args.number_rows)?;
        let DataType::Timestamp(unit, of_zone) = times.data_type() else {
            return exec_err!("AT TIME ZONE takes a timestamp");
        };
        let converted = if of_zone.is_none() {
            let moments = cast(&times, &DataType::Timestamp(*unit, Some(zone.as_str().into())))?;
            cast(&moments, args.return_type())?
        } else {
            match unit {
                TimeUnit::Second => local::<TimestampSecondType>(&times, tz)?,
                TimeUnit::Millisecond => local::<TimestampMillisecondType>(&times, tz)?,
                TimeUnit::Microsecond => local::<TimestampMicrosecondType>(&times, tz)?,
                TimeUnit::Nanosecond => local::<TimestampNanosecondType>(&times, tz)?,
            }
        };
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&converted, 0)?)
        } else {
            ColumnarValue::Array(converted)
        })
    }
}

/// What the clocks of a zone show at these moments.
fn local<T: ArrowTimestampType>(moments: &ArrayRef, zone: Tz) -> Result<ArrayRef> {
    let clocks: PrimitiveArray<T> = moments.as_primitive::<T>().try_unary(|moment| {
        as_datetime_with_timezone::<T>(moment, zone)
            .and_then(|moment| T::from_naive_datetime(moment.naive_local(), None))
            .ok_or_else(|| exec_datafusion_err!("timestamp out of range: {moment} AT TIME ZONE"))
    })?;
    Ok(Arc::new(clocks.with_timezone_opt(None::<Arc<str>>)))
}
