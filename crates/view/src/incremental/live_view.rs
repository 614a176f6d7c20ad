//! A running view: fed with deltas, asked for its result.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::plan_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::displayable;

use crate::files::refusal::refusal;
use crate::incremental::clock;
use crate::incremental::cut::{Cut, Use, cut};
use crate::incremental::explain::{Description, describe};
use crate::incremental::reducer::{Reducer, StateSize};
use crate::incremental::run::{InputRows, Runner};

/// How a view is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    /// New rows are appended to the result; no state.
    Append,
    /// Reducers take in insertions and retractions; a refresh costs as much as their state is large.
    Incremental,
    /// Evaluated over the current rows of keyed tables at each refresh, possibly together with reducers.
    FromTables,
    /// Keeps rows of a stream and evaluates over them at each refresh.
    Recomputed,
    /// Reads nothing that changes.
    Static,
}

/// The name of the kind.
impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Incremental => "incremental",
            Self::FromTables => "from the table's rows",
            Self::Recomputed => "recomputed",
            Self::Static => "static",
        })
    }
}

/// One view, planned once.
#[derive(Debug)]
pub struct LiveView {
    schema: SchemaRef,
    description: Arc<Description>,
    reducers: Vec<Reducer>,
    root: Root,
}

#[derive(Debug)]
enum Root {
    Append(Runner),
    Evaluate { residual: Runner, logical: Option<LogicalPlan>, state: Box<SessionState> },
}

impl LiveView {
    /// Plans a view from its unoptimized logical plan over live relations.
    ///
    /// `max_rows` limits what a slot may keep that has no smaller state than its rows.
    pub async fn plan(state: &SessionState, plan: LogicalPlan, usage: Use, max_rows: usize) -> Result<Self> {
        // A refusal of the plan as written names what the user wrote; views that it reads are expanded only afterwards.
        let as_written = refusal(&plan)?;
        let plan = state.optimize(&clock::lift(plan)?)?;
        if let Some(refused) = as_written.map_or_else(|| refusal(&plan), |refused| Ok(Some(refused)))? {
            return Err(DataFusionError::External(Box::new(refused)));
        }
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let cut = cut(plan, usage)?;
        let description = Arc::new(describe(&cut)?);
        match cut {
            Cut::Append(plan) => Ok(Self {
                schema,
                description,
                reducers: Vec::new(),
                root: Root::Append(Runner::plan(state, &plan).await?),
            }),
            Cut::Evaluate { .. } if usage == Use::NewRows => plan_err!(
                "rows can be passed on as they arrive only from a SELECT of filters and projections over streams: \
                 no aggregate, DISTINCT, ORDER BY, LIMIT, window or keyed table"
            ),
            Cut::Evaluate { residual, slots, tables: _ } => {
                let mut reducers = Vec::with_capacity(slots.len());
                for slot in &slots {
                    reducers.push(Reducer::plan(state, slot, max_rows).await?);
                }
                let asks = clock::asks_for_now(&residual)?;
                let bound = if asks { clock::bind(residual.clone(), 0)? } else { residual.clone() };
                let runner = Runner::plan(state, &bound).await?;
                let logical = asks.then_some(residual);
                let root = Root::Evaluate { residual: runner, logical, state: Box::new(state.clone()) };
                Ok(Self { schema, description, reducers, root })
            }
        }
    }

    /// The result's columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How it is maintained.
    pub fn maintenance(&self) -> Maintenance {
        self.description.maintenance
    }

    /// The same as text, and what it costs.
    pub fn describe(&self) -> &Arc<Description> {
        &self.description
    }

    /// Whether the result can change without a delta.
    pub fn follows_the_clock(&self) -> bool {
        matches!(&self.root, Root::Evaluate { logical: Some(_), .. })
    }

    /// Every relation that it reads, with the columns (indices into the relation's schema) it needs.
    pub fn inputs(&self) -> Vec<(Arc<str>, Vec<usize>)> {
        let (Root::Append(root) | Root::Evaluate { residual: root, .. }) = &self.root;
        let runners = self.reducers.iter().map(Reducer::delta).chain([root]);
        runners
            .flat_map(Runner::leaves)
            .filter(|leaf| !self.reducers.iter().any(|reducer| reducer.name() == &leaf.relation))
            .map(|leaf| (Arc::clone(&leaf.relation), leaf.columns.clone()))
            .collect()
    }

    /// Whether it needs the deltas of a relation, by [`Self::apply`] and [`Self::retract`].
    pub fn reads_deltas_of(&self, relation: &str) -> bool {
        self.reducers.iter().any(|reducer| reducer.delta().reads(relation))
            || matches!(&self.root, Root::Append(delta) if delta.reads(relation))
    }

    /// Whether it must be given the current rows of a table, in [`Self::evaluate`].
    pub fn reads_rows_of(&self, table: &str) -> bool {
        matches!(&self.root, Root::Evaluate { residual, .. } if residual.reads(table))
    }

    /// Takes in retractions of a table: rows inserted before that have been updated or deleted. Their replacements are for
    /// [`Self::apply`]. Between the two calls the state does not belong to any as-of.
    pub async fn retract(&mut self, retractions: InputRows<'_>) -> Result<()> {
        for reducer in &mut self.reducers {
            reducer.retract(retractions).await?;
        }
        Ok(())
    }

    /// Takes in insertions of a relation; returns the rows that an appending view adds to its result.
    pub async fn apply(&mut self, insertions: InputRows<'_>) -> Result<Vec<RecordBatch>> {
        for reducer in &mut self.reducers {
            reducer.apply(insertions).await?;
        }
        match &mut self.root {
            Root::Append(delta) if delta.reads(insertions.relation) => {
                delta.fill(insertions)?;
                delta.run().await
            }
            Root::Append(_) | Root::Evaluate { .. } => Ok(Vec::new()),
        }
    }

    /// The result over all rows so far, given the current rows of every table that it [reads](Self::reads_rows_of);
    /// nothing for an appending view. `now_ns`, in nanoseconds since 1970 UTC, is the value of `now()`.
    pub async fn evaluate(&mut self, tables: &[InputRows<'_>], now_ns: i64) -> Result<Vec<RecordBatch>> {
        let Root::Evaluate { residual, logical, state } = &mut self.root else {
            return Ok(Vec::new());
        };
        if let Some(logical) = logical {
            let plan = clock::bind(logical.clone(), now_ns)?;
            *residual = Runner::plan(state, &plan).await?;
        }
        for reducer in &mut self.reducers {
            let columns: Vec<usize> = (0..reducer.width()).collect();
            let batches = reducer.evaluate().await?;
            residual.fill(InputRows { relation: reducer.name(), columns: &columns, batches: &batches })?;
        }
        for rows in tables {
            residual.fill(*rows)?;
        }
        residual.run().await
    }

    /// How many columns each slot has.
    #[cfg(test)]
    pub(crate) fn slot_widths(&self) -> Vec<usize> {
        self.reducers.iter().map(Reducer::width).collect()
    }

    /// Its plans, each with a note on when it runs, from the relations up to the result.
    pub fn stages(&self) -> Vec<(String, String)> {
        let text = |runner: &Runner| displayable(runner.physical().as_ref()).indent(false).to_string();
        let reduced = self.reducers.iter().map(|reducer| {
            let into = format!("each micro-batch runs through this, into the state of {}", reducer.name());
            (into, text(reducer.delta()))
        });
        let root = match &self.root {
            Root::Append(delta) => {
                ("each micro-batch runs through this, and its rows are passed on".to_owned(), text(delta))
            }
            Root::Evaluate { residual, .. } => ("each refresh runs this".to_owned(), text(residual)),
        };
        reduced.chain([root]).collect()
    }

    /// What its reducers hold.
    pub fn state_size(&self) -> StateSize {
        self.reducers.iter().map(Reducer::size).fold(StateSize::default(), |sum, size| StateSize {
            bytes: sum.bytes + size.bytes,
            rows: sum.rows + size.rows,
        })
    }
}
