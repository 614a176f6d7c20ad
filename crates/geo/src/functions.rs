//! The functions as `DataFusion` sees them: names, types, constants and nulls. The arithmetic is in `sphere`.

use std::hash::{Hash, Hasher};
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
    use DataType::{Boolean, Float64};
    let distance_takes = "ST_DistanceSphere takes two points, as made by ST_Point(lon, lat)";
    let within_takes = "ST_DWithin takes two points, as made by ST_Point(lon, lat), and a number of metres";
    vec![
        GeoFunction::of_numbers("haversine_km", 4, Float64, haversine_km),
        GeoFunction::of_numbers("st_point", 2, point_type(), st_point),
        GeoFunction::of_points("st_distancesphere", 0, distance_takes, Float64, st_distance_sphere),
        GeoFunction::of_points("st_dwithin", 1, within_takes, Boolean, st_dwithin),
    ]
}

/// The result for so many rows; `None` where a constant null makes all of them null.
type Run = fn(&[ColumnarValue], usize) -> Result<Option<ArrayRef>>;

/// One function by its parts; its name tells it from the others.
#[derive(Debug)]
struct GeoFunction {
    name: &'static str,
    signature: Signature,
    /// Numbers behind the two points.
    numbers: usize,
    /// Its arguments, as text.
    takes: &'static str,
    returns: DataType,
    run: Run,
}

impl GeoFunction {
    fn of_numbers(name: &'static str, numbers: usize, returns: DataType, run: Run) -> ScalarUDF {
        let signature = Signature::exact(vec![DataType::Float64; numbers], Volatility::Immutable);
        ScalarUDF::new_from_impl(Self { name, signature, numbers, takes: "", returns, run })
    }

    fn of_points(name: &'static str, numbers: usize, takes: &'static str, returns: DataType, run: Run) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::new_from_impl(Self { name, signature, numbers, takes, returns, run })
    }
}

impl PartialEq for GeoFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for GeoFunction {}

impl Hash for GeoFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for GeoFunction {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
        match arg_types {
            [a, b, numbers @ ..]
                if is_point(a) && is_point(b) && numbers.len() == self.numbers && numbers.iter().all(is_number) =>
            {
                Ok([vec![point_type(); 2], vec![DataType::Float64; numbers.len()]].concat())
            }
            _ => plan_err!("{}", self.takes),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // One result holds for all rows where all arguments are constants.
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let result = (self.run)(&args.args, if constant { 1 } else { args.number_rows })?;
        Ok(match result {
            None => ColumnarValue::Scalar(ScalarValue::try_from(&self.returns)?),
            Some(result) if constant => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            Some(result) => ColumnarValue::Array(result),
        })
    }
}

/// `haversine_km(lat1, lon1, lat2, lon2)`
fn haversine_km(args: &[ColumnarValue], rows: usize) -> Result<Option<ArrayRef>> {
    let [lat1, lon1, lat2, lon2] = take_function_args("haversine_km", args)?;
    let (Some(lat1), Some(lon1), Some(lat2), Some(lon2)) =
        (NumberArgument::of(lat1)?, NumberArgument::of(lon1)?, NumberArgument::of(lat2)?, NumberArgument::of(lon2)?)
    else {
        return Ok(None);
    };
    let nulls = NullBuffer::union_many([&lat1, &lon1, &lat2, &lon2].map(|numbers| numbers.nulls.as_ref()));
    let values = [lat1.values, lon1.values, lat2.values, lon2.values];
    Ok(Some(Arc::new(distances(rows, EARTH_RADIUS_KM, values, nulls))))
}

/// `ST_Point(lon, lat)`
fn st_point(args: &[ColumnarValue], rows: usize) -> Result<Option<ArrayRef>> {
    let [x, y] = take_function_args("st_point", args)?;
    let (Some(x), Some(y)) = (NumberArgument::of(x)?, NumberArgument::of(y)?) else { return Ok(None) };
    let nulls = NullBuffer::union_many([x.nulls.as_ref(), y.nulls.as_ref()]);
    // A null coordinate makes the whole point null, so the fields themselves carry no nulls.
    Ok(Some(Arc::new(StructArray::new(point_fields(), vec![x.column(rows), y.column(rows)], nulls))))
}

/// `ST_DistanceSphere(point, point)`
fn st_distance_sphere(args: &[ColumnarValue], rows: usize) -> Result<Option<ArrayRef>> {
    let [a, b] = take_function_args("st_distancesphere", args)?;
    Ok(metres_between(rows, a, b)?.map(|metres| Arc::new(metres) as ArrayRef))
}

/// `ST_DWithin(point, point, metres)`
fn st_dwithin(args: &[ColumnarValue], rows: usize) -> Result<Option<ArrayRef>> {
    let [a, b, metres] = take_function_args("st_dwithin", args)?;
    let (Some(apart), Some(limit)) = (metres_between(rows, a, b)?, NumberArgument::of(metres)?) else {
        return Ok(None);
    };
    Ok(Some(Arc::new(within(&apart, limit.values, limit.nulls.as_ref()))))
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
        let nulls = NullBuffer::union_many([points.nulls(), x_nulls.as_ref(), y_nulls.as_ref()]);
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
