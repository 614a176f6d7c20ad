//! The functions as `DataFusion` sees them: names, types, constants and nulls. The arithmetic is in `sphere`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue, internal_datafusion_err, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::sphere::{EARTH_RADIUS_KM, EARTH_RADIUS_M, Operand, distances, within};

/// Every function of this module.
pub fn functions() -> Vec<ScalarUDF> {
    vec![
        ScalarUDF::new_from_impl(HaversineKm::new()),
        ScalarUDF::new_from_impl(StPoint::new()),
        ScalarUDF::new_from_impl(StDistanceSphere::new()),
        ScalarUDF::new_from_impl(StDWithin::new()),
    ]
}

/// `haversine_km(lat1, lon1, lat2, lon2)`
#[derive(Debug, PartialEq, Eq, Hash)]
struct HaversineKm {
    signature: Signature,
}

impl HaversineKm {
    fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Float64; 4], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HaversineKm {
    fn name(&self) -> &'static str {
        "haversine_km"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = RowCount::of(&args);
        let [lat1, lon1, lat2, lon2] = take_function_args(self.name(), &args.args)?;
        let (Some(lat1), Some(lon1), Some(lat2), Some(lon2)) = (
            NumberArgument::of(lat1)?,
            NumberArgument::of(lon1)?,
            NumberArgument::of(lat2)?,
            NumberArgument::of(lon2)?,
        ) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Float64(None)));
        };
        let nulls = all_known([&lat1, &lon1, &lat2, &lon2].map(|numbers| numbers.nulls.as_ref()));
        let values = [lat1.values, lon1.values, lat2.values, lon2.values];
        rows.give(Arc::new(distances(rows.count, EARTH_RADIUS_KM, values, nulls)))
    }
}

/// `ST_Point(lon, lat)`
#[derive(Debug, PartialEq, Eq, Hash)]
struct StPoint {
    signature: Signature,
}

impl StPoint {
    fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Float64; 2], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for StPoint {
    fn name(&self) -> &'static str {
        "st_point"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(point_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = RowCount::of(&args);
        let [x, y] = take_function_args(self.name(), &args.args)?;
        let (Some(x), Some(y)) = (NumberArgument::of(x)?, NumberArgument::of(y)?) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(point_type())?));
        };
        let nulls = all_known([x.nulls.as_ref(), y.nulls.as_ref()]);
        // A null coordinate makes the whole point null, so the fields themselves carry no nulls.
        let columns = vec![x.column(rows.count), y.column(rows.count)];
        rows.give(Arc::new(StructArray::new(point_fields(), columns, nulls)))
    }
}

/// `ST_DistanceSphere(point, point)`
#[derive(Debug, PartialEq, Eq, Hash)]
struct StDistanceSphere {
    signature: Signature,
}

impl StDistanceSphere {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for StDistanceSphere {
    fn name(&self) -> &'static str {
        "st_distancesphere"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [a, b] if is_point(a) && is_point(b) => Ok(vec![point_type(), point_type()]),
            _ => plan_err!("ST_DistanceSphere takes two points, as made by ST_Point(lon, lat)"),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = RowCount::of(&args);
        let [a, b] = take_function_args(self.name(), &args.args)?;
        match metres_between(rows.count, a, b)? {
            Some(metres) => rows.give(Arc::new(metres)),
            None => Ok(ColumnarValue::Scalar(ScalarValue::Float64(None))),
        }
    }
}

/// `ST_DWithin(point, point, metres)`
#[derive(Debug, PartialEq, Eq, Hash)]
struct StDWithin {
    signature: Signature,
}

impl StDWithin {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for StDWithin {
    fn name(&self) -> &'static str {
        "st_dwithin"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [a, b, metres] if is_point(a) && is_point(b) && (metres.is_numeric() || metres.is_null()) => {
                Ok(vec![point_type(), point_type(), DataType::Float64])
            }
            _ => plan_err!("ST_DWithin takes two points, as made by ST_Point(lon, lat), and a number of metres"),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = RowCount::of(&args);
        let [a, b, metres] = take_function_args(self.name(), &args.args)?;
        let (Some(apart), Some(limit)) = (metres_between(rows.count, a, b)?, NumberArgument::of(metres)?) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        };
        rows.give(Arc::new(within(&apart, limit.values, limit.nulls.as_ref())))
    }
}

fn point_fields() -> Fields {
    Fields::from(vec![Field::new("x", DataType::Float64, true), Field::new("y", DataType::Float64, true)])
}

fn point_type() -> DataType {
    DataType::Struct(point_fields())
}

/// A struct of numbers `x` and `y` (a topic may carry points of its own), or an untyped NULL.
fn is_point(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null => true,
        DataType::Struct(fields) => {
            fields.len() == 2
                && ["x", "y"]
                    .iter()
                    .all(|name| fields.find(name).is_some_and(|(_, field)| field.data_type().is_numeric()))
        }
        _ => false,
    }
}

/// `None` when an end is a constant null.
fn metres_between(rows: usize, a: &ColumnarValue, b: &ColumnarValue) -> Result<Option<Float64Array>> {
    let (Some(a), Some(b)) = (PointArgument::of(a)?, PointArgument::of(b)?) else { return Ok(None) };
    let nulls = NullBuffer::union(a.nulls.as_ref(), b.nulls.as_ref());
    Ok(Some(distances(rows, EARTH_RADIUS_M, [a.y, a.x, b.y, b.x], nulls)))
}

/// How many rows to compute, and whether one result holds for all of them: so for constant arguments.
#[derive(Clone, Copy)]
struct RowCount {
    count: usize,
    constant: bool,
}

impl RowCount {
    fn of(args: &ScalarFunctionArgs) -> Self {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        Self { count: if constant { 1 } else { args.number_rows }, constant }
    }

    fn give(self, result: ArrayRef) -> Result<ColumnarValue> {
        if self.constant {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
        } else {
            Ok(ColumnarValue::Array(result))
        }
    }
}

/// A borrowed DOUBLE argument.
struct NumberArgument<'a> {
    values: Operand<'a>,
    nulls: Option<NullBuffer>,
}

impl<'a> NumberArgument<'a> {
    /// `None` for a constant null.
    fn of(argument: &'a ColumnarValue) -> Result<Option<Self>> {
        match argument {
            ColumnarValue::Scalar(ScalarValue::Float64(value)) => {
                Ok(value.map(|value| Self { values: Operand::Constant(value), nulls: None }))
            }
            ColumnarValue::Scalar(other) => internal_err!("expected a DOUBLE, got {}", other.data_type()),
            ColumnarValue::Array(array) => {
                let (values, nulls) = doubles(array)?;
                Ok(Some(Self { values, nulls }))
            }
        }
    }

    /// The values as a column without nulls: a struct has no form for a constant field.
    fn column(&self, rows: usize) -> ArrayRef {
        Arc::new(match self.values {
            Operand::Constant(value) => Float64Array::from_value(value, rows),
            Operand::Rows(values) => Float64Array::from_iter_values(values.iter().copied()),
        })
    }
}

/// A borrowed point argument.
struct PointArgument<'a> {
    x: Operand<'a>,
    y: Operand<'a>,
    nulls: Option<NullBuffer>,
}

impl<'a> PointArgument<'a> {
    /// `None` for a constant null.
    fn of(argument: &'a ColumnarValue) -> Result<Option<Self>> {
        let (points, constant) = match argument {
            ColumnarValue::Scalar(ScalarValue::Struct(point)) => (point.as_ref(), true),
            ColumnarValue::Scalar(other) => return internal_err!("expected a point, got {}", other.data_type()),
            ColumnarValue::Array(array) => match array.as_struct_opt() {
                Some(points) => (points, false),
                None => return internal_err!("expected points, got {}", array.data_type()),
            },
        };
        let field =
            |name: &str| points.column_by_name(name).ok_or_else(|| internal_datafusion_err!("a point without {name}"));
        let ((x, x_nulls), (y, y_nulls)) = (doubles(field("x")?)?, doubles(field("y")?)?);
        let nulls = all_known([points.nulls(), x_nulls.as_ref(), y_nulls.as_ref()]);
        if !constant {
            return Ok(Some(Self { x, y, nulls }));
        }
        match (x, y, nulls) {
            (Operand::Rows(&[x]), Operand::Rows(&[y]), None) => {
                Ok(Some(Self { x: Operand::Constant(x), y: Operand::Constant(y), nulls: None }))
            }
            _ => Ok(None),
        }
    }
}

fn doubles(array: &ArrayRef) -> Result<(Operand<'_>, Option<NullBuffer>)> {
    let Some(doubles) = array.as_primitive_opt::<Float64Type>() else {
        return internal_err!("expected DOUBLE, got {}", array.data_type());
    };
    Ok((Operand::Rows(doubles.values()), doubles.nulls().cloned()))
}

/// The rows that are not null in any of them; `None` when all rows are.
fn all_known<const N: usize>(nulls: [Option<&NullBuffer>; N]) -> Option<NullBuffer> {
    nulls
        .into_iter()
        .fold(None, |known, nulls| NullBuffer::union(known.as_ref(), nulls))
        .filter(|nulls| nulls.null_count() > 0)
}
