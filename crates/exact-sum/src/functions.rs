//! `sum` and `avg` of SQL, exact for doubles, and without overflow for integers and decimals.
//!
//! They replace the built-in functions by name, and delegate everything to them that is not an accumulator:
//! which types are accepted and how they are coerced (REAL, and every integer under `avg`, arrives as DOUBLE), what is
//! returned, how a column is named. So a plan looks the same with them, and durations and intervals are summed as before.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::{average::avg_udaf, sum::sum_udaf};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};

use super::groups::ExactGroups;
use super::scalar::{ExactAccumulator, ExactDistinct};
use super::wide::{Wide, WideAccumulator, WideGroups};

/// What is computed from the exact sum in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExactKind {
    /// The sum, rounded.
    Sum,
    /// The rounded sum, divided by the number of values.
    Avg,
}

impl ExactKind {
    /// The function's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
        }
    }

    /// The result for `count` values that add up to `sum` (already rounded); `None`, SQL's NULL, for no values.
    pub(super) fn result(self, sum: f64, count: i64) -> Option<f64> {
        (count != 0).then(|| match self {
            Self::Sum => sum,
            // A division may change a NaN's sign or payload; ours is always the same.
            Self::Avg if sum.is_nan() => sum,
            Self::Avg => sum / count as f64,
        })
    }
}

/// The functions to register over the defaults of a session: `sum`, `avg` alias `mean`, and the [name](EXACT_SUM) under
/// which plans carry sums of doubles.
pub fn functions() -> Vec<AggregateUDF> {
    let exact = |kind, builtin: &Arc<AggregateUDF>, name: Option<&'static str>| {
        AggregateUDF::new_from_impl(ExactFunction { kind, builtin: Arc::clone(builtin), name })
    };
    vec![
        exact(ExactKind::Sum, &sum_udaf(), None),
        exact(ExactKind::Avg, &avg_udaf(), None),
        exact(ExactKind::Sum, &sum_udaf(), Some(EXACT_SUM)),
    ]
}

/// Which of them `function` is, if any. Its accumulators are exact where its argument is a DOUBLE.
///
/// Prefer this to comparing the name, which is `sum`, `avg` or `exact_sum`.
pub fn exact_kind(function: &AggregateUDF) -> Option<ExactKind> {
    function.inner().downcast_ref::<ExactFunction>().map(|exact| exact.kind)
}

/// The name of a sum of doubles inside a plan, from the first simplification on; it is still displayed as `sum`.
///
/// The optimizer splits any function that is called `sum` in two where a DISTINCT is next to it
/// (`sum(y), count(DISTINCT x)` becomes sums per `x` that are summed again), which would round twice. It goes by the
/// name, so sums of doubles have another one, and those of integers keep the faster plan. It also means that a plan that
/// is sent elsewhere cannot fall back to a rounding sum unnoticed.
const EXACT_SUM: &str = "exact_sum";

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactFunction {
    kind: ExactKind,
    /// The function that it replaces.
    builtin: Arc<AggregateUDF>,
    /// Its name, where that differs from the built-in's.
    name: Option<&'static str>,
}

impl ExactFunction {
    fn builtin(&self) -> &dyn AggregateUDFImpl {
        self.builtin.inner().as_ref()
    }

    fn wide(&self, input: &[FieldRef], result: &FieldRef) -> Option<Wide> {
        match input {
            [input] => Wide::of(self.kind, input.data_type(), result.data_type()),
            _ => None,
        }
    }
}

/// What a built-in makes of the arguments if its input and its result are wide.
#[allow(clippy::needless_pass_by_value, reason = "as the functions that it is passed on to")]
fn over_wide<T>(wide: &Wide, args: AccumulatorArgs, make: impl FnOnce(AccumulatorArgs) -> Result<T>) -> Result<T> {
    let expr_fields = [Wide::field(&args.expr_fields[0], &wide.input)];
    let return_field = Wide::field(&args.return_field, &wide.output);
    make(AccumulatorArgs { expr_fields: &expr_fields, return_field, ..args })
}

/// Whether the argument is one that is summed exactly.
fn is_double(fields: &[FieldRef]) -> bool {
    matches!(fields, [field] if field.data_type() == &DataType::Float64)
}

impl AggregateUDFImpl for ExactFunction {
    fn name(&self) -> &str {
        self.name.unwrap_or_else(|| self.builtin.name())
    }

    fn aliases(&self) -> &[String] {
        if self.name.is_some() { &[] } else { self.builtin.aliases() }
    }

    // The names in results and in EXPLAIN are the built-in's, whatever the function's own name.

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.builtin().schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.builtin().human_display(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.builtin().display_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.builtin().window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.builtin().window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.builtin().signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.builtin().return_type(arg_types)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        self.builtin().return_field(arg_fields)
    }

    fn is_nullable(&self) -> bool {
        self.builtin().is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.builtin().default_value(data_type)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(match (is_double(args.expr_fields), args.is_distinct) {
            (true, false) => Box::new(ExactAccumulator::new(self.kind)),
            (true, true) => Box::new(ExactDistinct::new(self.kind)),
            (false, _) => match self.wide(args.expr_fields, &args.return_field) {
                Some(wide) => {
                    let inner = over_wide(&wide, args, |args| self.builtin().accumulator(args))?;
                    Box::new(WideAccumulator { inner, wide })
                }
                None => self.builtin().accumulator(args)?,
            },
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        // All exact accumulators can retract.
        if is_double(args.expr_fields) {
            self.accumulator(args)
        } else if let Some(wide) = self.wide(args.expr_fields, &args.return_field) {
            let inner = over_wide(&wide, args, |args| self.builtin().create_sliding_accumulator(args))?;
            Ok(Box::new(WideAccumulator { inner, wide }))
        } else {
            self.builtin().create_sliding_accumulator(args)
        }
    }

    /// A count, signed so that a state can also represent a delta, and the exact sum. For DISTINCT the built-in's list.
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if let Some(wide) = self.wide(args.input_fields, &args.return_field) {
            let input_fields = [Wide::field(&args.input_fields[0], &wide.input)];
            let return_field = Wide::field(&args.return_field, &wide.output);
            return self.builtin().state_fields(StateFieldsArgs { input_fields: &input_fields, return_field, ..args });
        }
        if args.is_distinct || !is_double(args.input_fields) {
            return self.builtin().state_fields(args);
        }
        Ok(vec![
            Field::new(format_state_name(args.name, "count"), DataType::Int64, true).into(),
            Field::new(format_state_name(args.name, "exact sum"), DataType::Binary, true).into(),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.builtin().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if is_double(args.expr_fields) {
            Ok(Box::new(ExactGroups::new(self.kind)))
        } else if let Some(wide) = self.wide(args.expr_fields, &args.return_field) {
            let inner = over_wide(&wide, args, |args| self.builtin().create_groups_accumulator(args))?;
            Ok(Box::new(WideGroups { inner, wide }))
        } else {
            self.builtin().create_groups_accumulator(args)
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.builtin().order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.builtin().reverse_expr()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.builtin().set_monotonicity(data_type)
    }

    /// Gives a sum of doubles its [own name](EXACT_SUM).
    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        if self.kind != ExactKind::Sum || self.name.is_some() {
            return None;
        }
        let renamed = Self { kind: ExactKind::Sum, builtin: Arc::clone(&self.builtin), name: Some(EXACT_SUM) };
        let renamed = Arc::new(AggregateUDF::new_from_impl(renamed));
        Some(Box::new(move |mut function: AggregateFunction, info| {
            let double = match function.params.args.as_slice() {
                [argument] => info.get_data_type(argument)? == DataType::Float64,
                _ => false,
            };
            // A sum of distinct values is better rewritten: by groups instead of a hash set for each group, and exact.
            if double && !function.params.distinct {
                function.func = Arc::clone(&renamed);
            }
            Ok(Expr::AggregateFunction(function))
        }))
    }

    /// `sum(x + 1)` to `sum(x) + 1 * count(x)`, but not for doubles: that sums other numbers than the query says, and
    /// only where a second such sum is next to it.
    fn simplify_expr_op_literal(
        &self,
        function: &AggregateFunction,
        arg: &Expr,
        op: Operator,
        literal: &Expr,
        arg_is_left: bool,
    ) -> Result<Option<Expr>> {
        match literal {
            Expr::Literal(value, _) if value.data_type().is_floating() => Ok(None),
            _ => self.builtin().simplify_expr_op_literal(function, arg, op, literal, arg_is_left),
        }
    }

    /// Never for doubles: such a sum in statistics has been rounded on the way.
    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        if args.return_type.is_floating() { None } else { self.builtin().value_from_stats(args) }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.builtin().documentation()
    }
}
