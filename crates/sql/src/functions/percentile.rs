//! `percentile_cont` to the last digit.
//!
//! `DataFusion`'s rounds the place between two values to a millionth, so the 95th percentile of 1 to 10 is 9.549999.
//! This one keeps its state, and interpolates as PostgreSQL does.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, plan_datafusion_err};
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature};
use datafusion::physical_expr::expressions::Literal;

/// The function that replaces the built-in one.
pub(super) fn percentile_cont() -> AggregateUDF {
    AggregateUDF::new_from_impl(PercentileCont { builtin: percentile_cont_udaf() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PercentileCont {
    builtin: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for PercentileCont {
    fn name(&self) -> &str {
        self.builtin.name()
    }

    fn aliases(&self) -> &[String] {
        self.builtin.aliases()
    }

    fn signature(&self) -> &Signature {
        self.builtin.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.builtin.inner().return_type(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.builtin.inner().state_fields(args)
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.builtin.inner().simplify()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.expr_fields[0].data_type().is_null() {
            return self.builtin.inner().accumulator(args);
        }
        let place = Place::of(&args)?;
        Ok(Box::new(One { inner: self.builtin.inner().accumulator(args)?, place }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.builtin.inner().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let place = Place::of(&args)?;
        Ok(Box::new(Groups { inner: self.builtin.inner().create_groups_accumulator(args)?, place }))
    }
}

/// What is asked for: a part of the values, and the type of the result.
#[derive(Debug, Clone)]
struct Place {
    part: f64,
    result: DataType,
}

impl Place {
    fn of(args: &AccumulatorArgs) -> Result<Self> {
        let literal = (args.exprs[1].as_ref() as &dyn std::any::Any).downcast_ref::<Literal>();
        let part = literal.map(|literal| literal.value().cast_to(&DataType::Float64)).transpose()?;
        let Some(ScalarValue::Float64(Some(part))) = part else {
            return Err(plan_datafusion_err!("percentile_cont takes a constant part, from 0 to 1"));
        };
        let descending = args.order_bys.first().is_some_and(|order| order.options.descending);
        let part = if descending { 1.0 - part } else { part };
        Ok(Self { part, result: args.return_field.data_type().clone() })
    }

    /// The value at that place of each list, null for an empty one.
    fn of_lists(&self, lists: &ArrayRef) -> Result<ArrayRef> {
        let lists = lists.as_list::<i32>();
        let values = (0..lists.len()).map(|row| {
            if lists.is_null(row) {
                return Ok(None);
            }
            let values = cast(&lists.value(row), &DataType::Float64)?;
            let mut values: Vec<f64> = values.as_primitive::<Float64Type>().iter().flatten().collect();
            Ok(self.interpolated(&mut values))
        });
        let values: Float64Array = values.collect::<Result<Vec<_>>>()?.into();
        Ok(cast(&values, &self.result)?)
    }

    fn interpolated(&self, values: &mut [f64]) -> Option<f64> {
        let at = self.part * (values.len().checked_sub(1)? as f64);
        let below = at.floor() as usize;
        let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
        let low = *low;
        let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
        let share = at - at.floor();
        Some(if share == 0.0 { low } else { low + (high - low) * share })
    }
}

#[derive(Debug)]
struct One {
    inner: Box<dyn Accumulator>,
    place: Place,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
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
        // Reading the state empties it, and a window goes on.
        let states = self.inner.state()?.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
        self.inner.merge_batch(&states)?;
        ScalarValue::try_from_array(&self.place.of_lists(&states[0])?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.inner.size()
    }
}

struct Groups {
    inner: Box<dyn GroupsAccumulator>,
    place: Place,
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.inner.update_batch(values, groups, filter, total)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(states, groups, total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.place.of_lists(&self.inner.state(emit)?[0])
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.inner.size()
    }
}
