//! Integer arithmetic that does not wrap: `+`, `-`, `*` and unary minus fail where the result leaves its type.
//!
//! `DataFusion`'s operators wrap, in constants too, which are folded long before there is a physical plan. So they become
//! functions right after the types are known. Decimals are checked by arrow itself.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Datum};
use datafusion::arrow::compute::kernels::numeric::{add, mul, neg, sub};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, exec_datafusion_err};
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;

/// Replaces the operators on integers.
#[derive(Debug)]
pub(super) struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &'static str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let mut schema = merge_schema(&node.inputs());
            if let LogicalPlan::TableScan(scan) = &node {
                schema = scan.projected_schema.as_ref().clone();
            }
            let names = NamePreserver::new(&node);
            let rewritten = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| Ok(checked(expr, &schema)))?;
                Ok(if rewritten.transformed { rewritten.update_data(|expr| name.restore(expr)) } else { rewritten })
            })?;
            if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
        });
        rewritten.map(|rewritten| rewritten.data)
    }
}

fn checked(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let function = match &expr {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Plus, .. }) => &*ADD,
        Expr::BinaryExpr(BinaryExpr { op: Operator::Minus, .. }) => &*SUBTRACT,
        Expr::BinaryExpr(BinaryExpr { op: Operator::Multiply, .. }) => &*MULTIPLY,
        Expr::Negative(inner) if !matches!(**inner, Expr::Literal(..)) => &*NEGATE,
        _ => return Transformed::no(expr),
    };
    // The difference of two dates is a number of days, and cannot overflow.
    let is_integer = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| data_type.is_integer());
    let of_integers = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => is_integer(left) && is_integer(right),
        expr => is_integer(expr),
    };
    if !of_integers {
        return Transformed::no(expr);
    }
    Transformed::yes(match expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => function.call(vec![*left, *right]),
        Expr::Negative(inner) => function.call(vec![*inner]),
        expr => expr,
    })
}

static ADD: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::function("+"));
static SUBTRACT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::function("-"));
static MULTIPLY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::function("*"));
static NEGATE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::function("negate"));

/// One operator; shown as it is written.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operator: &'static str,
    signature: Signature,
}

impl Checked {
    fn function(operator: &'static str) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { operator, signature }))
    }

    fn written(&self, args: &[Expr], show: impl Fn(&Expr) -> Result<String>) -> Result<String> {
        // As `BinaryExpr` shows itself: with parentheses where an operand binds less.
        let operand = |expr: &Expr| {
            let shown = show(expr)?;
            let is_sum = matches!(expr, Expr::ScalarFunction(inner)
                if inner.func.inner().downcast_ref::<Self>().is_some_and(|inner| matches!(inner.operator, "+" | "-")));
            Ok::<_, DataFusionError>(if is_sum && self.operator == "*" { format!("({shown})") } else { shown })
        };
        match args {
            [only] => Ok(format!("(- {})", show(only)?)),
            [left, right] => Ok(format!("{} {} {}", operand(left)?, self.operator, operand(right)?)),
            _ => Ok(self.operator.to_owned()),
        }
    }

    fn apply(&self, left: &dyn Datum, right: Option<&dyn Datum>) -> Result<ArrayRef, ArrowError> {
        match (self.operator, right) {
            ("+", Some(right)) => add(left, right),
            ("-", Some(right)) => sub(left, right),
            ("*", Some(right)) => mul(left, right),
            _ => neg(left.get().0),
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        self.operator
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.written(args, |expr| Ok(expr.to_string()))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.written(args, |expr| Ok(expr.schema_name().to_string()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = |value: &ColumnarValue| match value {
            ColumnarValue::Array(array) => Ok(Arc::clone(array)),
            ColumnarValue::Scalar(scalar) => scalar.to_array(),
        };
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let result = match args.args.as_slice() {
            [only] => self.apply(&array(only)?, None),
            [ColumnarValue::Array(left), ColumnarValue::Scalar(right)] => self.apply(left, Some(&right.to_scalar()?)),
            [ColumnarValue::Scalar(left), ColumnarValue::Array(right)] => self.apply(&left.to_scalar()?, Some(right)),
            [left, right] => self.apply(&array(left)?, Some(&array(right)?)),
            _ => return Err(exec_datafusion_err!("{} takes one or two numbers", self.operator)),
        };
        let result = result.map_err(|error| explained(error, args.return_type()))?;
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

/// An overflow, in SQL's terms.
fn explained(error: ArrowError, data_type: &DataType) -> DataFusionError {
    let ArrowError::ArithmeticOverflow(message) = &error else { return error.into() };
    let operation = message.rsplit("Overflow happened on: ").next().unwrap_or(message);
    let name = match data_type {
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        _ => "UNSIGNED",
    };
    exec_datafusion_err!("{name} out of range: {operation}")
}
