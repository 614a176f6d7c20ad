//! Sums of integers and long decimals that do not wrap.
//!
//! The built-in accumulators add in the type of the result, and wrap where a sum leaves it. Here they add in a type twice
//! as wide, in which neither a sum nor anything on the way to it overflows, and the result is checked when it is read. So
//! only the sum itself decides whether there is an error, not the order in which values came and were retracted.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, DecimalType as _,
    Field, FieldRef, Int64Type, UInt64Type, i256,
};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::functions::ExactKind;

/// Up to this many digits, a sum in 128 bits needs ten billion values to overflow, and its declared type is checked.
const MAX_DIGITS_IN_128_BITS: u8 = 28;

/// How one aggregate is computed in a wider type.
#[derive(Debug, Clone)]
pub(super) struct Wide {
    /// The type in which values are added.
    pub input: DataType,
    /// The type of the built-in's result over it.
    pub output: DataType,
    /// The type of the aggregate's own result.
    result: DataType,
    /// What was aggregated, for errors.
    what: &'static str,
}

impl Wide {
    /// How an aggregate of `input` with this `result` is widened, where it must be.
    pub fn of(kind: ExactKind, input: &DataType, result: &DataType) -> Option<Self> {
        let (what, result) = (kind.name(), result.clone());
        match (kind, input, &result) {
            (ExactKind::Sum, DataType::Int64 | DataType::UInt64, _) => {
                let wide = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);
                Some(Self { input: wide.clone(), output: wide, result, what })
            }
            (_, DataType::Decimal128(digits, scale), DataType::Decimal128(_, result_scale))
                if *digits > MAX_DIGITS_IN_128_BITS =>
            {
                let input = DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale);
                let output = DataType::Decimal256(DECIMAL256_MAX_PRECISION, *result_scale);
                Some(Self { input, output, result, what })
            }
            _ => None,
        }
    }

    /// The same field with another type.
    pub fn field(field: &Field, data_type: &DataType) -> FieldRef {
        Arc::new(field.clone().with_data_type(data_type.clone()))
    }

    fn widened(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let [values] = values else { return internal_err!("{} takes one argument", self.what) };
        let wide: ArrayRef = match values.data_type() {
            DataType::Int64 => Arc::new(self.of_128(&values.as_primitive::<Int64Type>().unary(i128::from))),
            DataType::UInt64 => Arc::new(self.of_128(&values.as_primitive::<UInt64Type>().unary(i128::from))),
            DataType::Decimal128(_, _) => {
                let wide: PrimitiveArray<Decimal256Type> =
                    values.as_primitive::<Decimal128Type>().unary(i256::from_i128);
                Arc::new(wide.with_data_type(self.input.clone()))
            }
            other => return internal_err!("{} of {other} is not widened", self.what),
        };
        Ok(vec![wide])
    }

    fn of_128(&self, wide: &PrimitiveArray<Decimal128Type>) -> PrimitiveArray<Decimal128Type> {
        wide.clone().with_data_type(self.input.clone())
    }

    fn narrowed(&self, sums: &ArrayRef) -> Result<ArrayRef> {
        let out_of_range = |sum: String| {
            let advice = if self.result.is_integer() { "; sum a DECIMAL(38, 0) instead" } else { "" };
            let result = match &self.result {
                DataType::Int64 => "BIGINT".to_owned(),
                DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
                DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
                other => other.to_string(),
            };
            exec_datafusion_err!("{} is out of the range of {result}: {sum}{advice}", self.what)
        };
        let of_128 = |sum: i128| out_of_range(sum.to_string());
        Ok(match &self.result {
            DataType::Int64 => {
                let sums = sums.as_primitive::<Decimal128Type>();
                let narrow: PrimitiveArray<Int64Type> =
                    sums.try_unary(|sum| i64::try_from(sum).map_err(|_| of_128(sum)))?;
                Arc::new(narrow)
            }
            DataType::UInt64 => {
                let sums = sums.as_primitive::<Decimal128Type>();
                let narrow: PrimitiveArray<UInt64Type> =
                    sums.try_unary(|sum| u64::try_from(sum).map_err(|_| of_128(sum)))?;
                Arc::new(narrow)
            }
            DataType::Decimal128(precision, scale) => {
                let limit = 10_i128.pow(u32::from(*precision));
                let sums = sums.as_primitive::<Decimal256Type>();
                let narrow: PrimitiveArray<Decimal128Type> = sums.try_unary(|sum| {
                    let narrow = sum.to_i128().filter(|sum| sum.unsigned_abs() < limit.unsigned_abs());
                    narrow.ok_or_else(|| {
                        out_of_range(Decimal256Type::format_decimal(sum, DECIMAL256_MAX_PRECISION, *scale))
                    })
                })?;
                Arc::new(narrow.with_data_type(self.result.clone()))
            }
            other => return internal_err!("a wide sum does not become {other}"),
        })
    }
}

/// The built-in accumulator over wide values.
#[derive(Debug)]
pub(super) struct WideAccumulator {
    pub inner: Box<dyn Accumulator>,
    pub wide: Wide,
}

impl Accumulator for WideAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&self.wide.widened(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&self.wide.widened(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.inner.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&self.wide.narrowed(&sum)?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.inner.size()
    }
}

/// The built-in accumulator of groups over wide values.
pub(super) struct WideGroups {
    pub inner: Box<dyn GroupsAccumulator>,
    pub wide: Wide,
}

impl GroupsAccumulator for WideGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.inner.update_batch(&self.wide.widened(values)?, groups, filter, total)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(states, groups, total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.wide.narrowed(&self.inner.evaluate(emit)?)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&self.wide.widened(values)?, filter)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.inner.size()
    }
}
