//! `deleted_when`: the condition under which a record of a keyed relation deletes its row.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result, plan_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_expr::PhysicalExpr;

/// A condition over the declared columns, planned once and evaluated on whole batches.
///
/// # Contract
/// The answer depends on the record alone: functions that may answer differently another time (`now()`, `random()`) are
/// refused, or a replay would delete other rows than the live run did. Null counts as "not deleted".
#[derive(Debug)]
pub struct DeletedWhen {
    sql: String,
    columns: Vec<usize>,
    schema: SchemaRef,
    condition: Arc<dyn PhysicalExpr>,
}

impl DeletedWhen {
    /// Plans a condition over the declared columns.
    pub(super) fn plan(state: &SessionState, sql: &str, declared: &SchemaRef) -> Result<Self> {
        let all = DFSchema::try_from(Arc::clone(declared))?;
        let condition = state.create_logical_expr(sql, &all)?;
        refuse_unrepeatable(&condition)?;
        let columns: BTreeSet<usize> = condition
            .column_refs()
            .into_iter()
            .map(|column| declared.index_of(&column.name).map_err(DataFusionError::from))
            .collect::<Result<_>>()?;
        let columns: Vec<usize> = columns.into_iter().collect();
        // Only what the condition reads is decoded for it, so it is planned over exactly that.
        let schema = Arc::new(declared.project(&columns)?);
        let read = DFSchema::try_from(Arc::clone(&schema))?;
        let condition = state.create_physical_expr(condition, &read)?;
        match condition.data_type(&schema)? {
            DataType::Boolean => Ok(Self { sql: sql.to_owned(), columns, schema, condition }),
            other => plan_err!("it must be true or false, this is {other}"),
        }
    }

    /// The condition as written.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Indices of the declared columns that the condition reads, ascending.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Which of `rows` rows are deletions; `columns` are those of [`Self::columns`].
    pub(super) fn evaluate(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<BooleanBuffer> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let answer = self.condition.evaluate(&batch)?.into_array(rows)?;
        let Some(answer) = answer.as_any().downcast_ref::<BooleanArray>() else {
            return plan_err!("deleted_when must be true or false, this is {}", answer.data_type());
        };
        Ok(match answer.nulls() {
            Some(valid) => answer.values() & valid.inner(),
            None => answer.values().clone(),
        })
    }
}

fn refuse_unrepeatable(condition: &Expr) -> Result<()> {
    condition.apply(|expr| match expr {
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
            plan_err!("{}() may answer differently in a replay; it must depend on the record alone", call.func.name())
        }
        Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
            plan_err!("deleted_when looks at one record: aggregates and windows have no place in it")
        }
        Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => {
            plan_err!("deleted_when looks at one record: subqueries have no place in it")
        }
        Expr::Placeholder(_) => plan_err!("deleted_when takes no parameters"),
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(())
}
