//! From a statement's text to a plan: the tiles' planner first, then one for the dialect of Postgres's tools.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, Result, plan_err};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion_postgres::arrow_pg::datatypes::{PG_OID_ALIAS_KEY, field_into_pg_type};
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};

use super::encode::Encoding;
use super::errors::{at, code, error, failed, unplanned};
use super::interrupt::{Ended, interruptible};
use super::run::Planned;
use super::tables::Tables;
use super::text::Piece;
use tallgrass_diagnostics::message_of;
use tallgrass_relation::PlannedQuery;
use tallgrass_sql::logical_plan;
use tallgrass_view::{allow_prepared, only_reads, refuse_deep_statement};

/// Parameters that a statement may have.
const MAX_PARAMETERS: usize = 1_000;

/// The query of SHOW TABLES.
const SHOW_TABLES: &str = "SELECT table_name, table_type FROM information_schema.tables \
                           WHERE table_schema = 'public' ORDER BY table_name";

/// The dialect of tools; built once, for it parses its own replacements.
static DIALECT_OF_TOOLS: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);

/// A parameter of a prepared statement.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// The planner's type, where it is known and the client has not declared one.
    pub inferred: Option<DataType>,
    /// The type announced to the client.
    pub wire: Type,
}

/// Plans a statement, whose parameters may still be unbound.
pub async fn logical(context: &SessionContext, piece: &Piece) -> PgWireResult<LogicalPlan> {
    if piece.sql.trim().to_uppercase().starts_with("SHOW TABLES") {
        return Box::pin(logical(context, &Piece::of(SHOW_TABLES))).await;
    }
    refuse_deep_statement(&piece.sql).map_err(|error| at(code::TOO_COMPLEX, &error, piece))?;
    let state = context.state();
    let ours = async || planned(&state, piece, parse(piece)?).await;
    let theirs = async || planned(&state, piece, parse_as_tools_do(piece)?).await;
    // A query of the catalog is in the dialect of tools, any other in that of tiles.
    let (first, second) = if piece.asks_the_catalog() {
        match theirs().await {
            Ok(plan) => return Ok(plan),
            Err(error) => (error, ours().await),
        }
    } else {
        match ours().await {
            Ok(plan) => return Ok(plan),
            Err(error) => (error, theirs().await),
        }
    };
    // For a statement that only the dialect of tools has, its errors are the useful ones.
    second.map_err(|second| if is_syntax(&first) && !is_syntax(&second) { second } else { first })
}

fn is_syntax(failure: &PgWireError) -> bool {
    matches!(failure, PgWireError::UserError(info) if info.code == code::SYNTAX)
}

fn parse(piece: &Piece) -> PgWireResult<Statement> {
    allow_prepared(&piece.sql).map_err(|error| {
        let refused = error.message.starts_with("only SELECT, EXPLAIN");
        at(if refused { code::READ_ONLY } else { code::SYNTAX }, &error, piece)
    })
}

fn parse_as_tools_do(piece: &Piece) -> PgWireResult<Statement> {
    let syntax = |message: String| error(code::SYNTAX, message);
    let mut statements = DIALECT_OF_TOOLS.parse(&piece.for_tools()).map_err(|error| syntax(error.to_string()))?;
    let statement = match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Statement::Statement(Box::new(statement)),
        _ => return Err(syntax("write one statement".to_owned())),
    };
    match only_reads(&statement) {
        Ok(()) => Ok(statement),
        Err(verb) => Err(error(code::READ_ONLY, format!("cannot execute {verb}: this server is read-only"))),
    }
}

async fn planned(state: &SessionState, piece: &Piece, statement: Statement) -> PgWireResult<LogicalPlan> {
    let explained = |error: DataFusionError| unplanned(state, piece, &error);
    let plan = logical_plan(state, statement).await.map_err(explained)?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(|failure| {
        let message = message_of(&failure);
        error(code::READ_ONLY, format!("this server is read-only: {message}"))
    })?;
    // The optimizer's errors have a position too; unbound parameters may hide them.
    if parameter_fields(&plan).is_ok_and(|open| open.is_empty()) {
        state.optimize(&plan).map_err(explained)?;
    }
    Ok(plan)
}

/// Makes a plan ready to run.
pub async fn physical(
    context: &SessionContext,
    tables: &Tables,
    piece: &Piece,
    plan: LogicalPlan,
    format: &Format,
    ended: &Ended,
) -> PgWireResult<Planned> {
    let encoding = Encoding::new(plan.schema().as_arrow(), format)?;
    let read = tables_read(&plan);
    tables.settle_bounds(&read);
    let warnings = read.iter().filter_map(|name| tables.warning(name)).collect();
    let state = context.state();
    let optimized = state.optimize(&plan).map_err(|error| unplanned(&state, piece, &error))?;
    let planner = state.query_planner();
    let plan = planner.create_physical_plan(&optimized, &state).await.map_err(|error| failed(&error))?;
    let plan = interruptible(plan, ended).map_err(|error| failed(&error))?;
    Ok(Planned { plan, context: context.task_ctx(), encoding, warnings })
}

/// The views and relations that a plan reads, each once.
fn tables_read(plan: &LogicalPlan) -> Vec<String> {
    let mut names = Vec::new();
    _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name.schema().is_none_or(|schema| schema == "public")
            && !names.iter().any(|name| name == scan.table_name.table())
        {
            names.push(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names
}

/// The parameters of a plan by their number; `declared` are the client's types.
pub fn parameters(plan: &LogicalPlan, declared: &[Option<Type>]) -> PgWireResult<Vec<Parameter>> {
    let fields = parameter_fields(plan).map_err(|failure| error(code::UNTYPED_PARAMETER, message_of(&failure)))?;
    let count = fields.keys().last().copied().unwrap_or(0).max(declared.len());
    if count > MAX_PARAMETERS {
        return Err(error(code::TOO_COMPLEX, format!("{count} parameters: the limit is {MAX_PARAMETERS}")));
    }
    let parameter = |index: usize| {
        let field = fields.get(&(index + 1)).and_then(Option::as_ref);
        let declared = declared.get(index).cloned().flatten();
        // A text may be a value of any type, but a number of the client's own type keeps that type.
        let field = field.filter(|field| declared.as_ref().is_none_or(|own| is_open(own, field.data_type())));
        let wire = match (declared, field) {
            (Some(declared), _) => declared,
            (None, Some(field)) => field_into_pg_type(&without_aliases(field))?,
            (None, None) => Type::TEXT,
        };
        Ok(Parameter { inferred: field.map(|field| field.data_type().clone()), wire })
    };
    (0..count).map(parameter).collect()
}

/// Whether the type that a client declares for a parameter leaves the engine's type open.
fn is_open(declared: &Type, inferred: &DataType) -> bool {
    match *declared {
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => true,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => matches!(inferred, DataType::Timestamp(_, _)),
        _ => false,
    }
}

/// Of the catalog's own types clients bind only `oid` as such; the others are bound as text.
fn without_aliases(field: &FieldRef) -> FieldRef {
    let is_oid = field.metadata().get(PG_OID_ALIAS_KEY).is_some_and(|kind| kind == "oid");
    if is_oid { Arc::clone(field) } else { Arc::new(Field::new(field.name(), field.data_type().clone(), true)) }
}

/// Number → the inferred type of the parameter: that of its comparison or cast.
fn parameter_fields(plan: &LogicalPlan) -> Result<BTreeMap<usize, Option<FieldRef>>> {
    let mut fields = BTreeMap::new();
    for (name, field) in plan.get_parameter_fields()? {
        fields.insert(number(&name)?, field);
    }
    if fields.values().all(Option::is_some) {
        return Ok(fields);
    }
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(placeholder) = &**count
                    && let Some(field) = fields.get_mut(&number(&placeholder.id)?)
                {
                    field.get_or_insert_with(|| Arc::new(Field::new("count", DataType::Int64, true)));
                }
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let Expr::Placeholder(placeholder) = &*cast.expr
                    && let Some(field) = fields.get_mut(&number(&placeholder.id)?)
                {
                    field.get_or_insert_with(|| Arc::clone(&cast.field));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(fields)
}

fn number(name: &str) -> Result<usize> {
    match name.trim_start_matches('$').parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => plan_err!("parameters are $1, $2 and so on, not {name}"),
    }
}

/// The plan with values for its parameters.
pub fn bind(plan: LogicalPlan, values: Vec<ScalarValue>) -> PgWireResult<LogicalPlan> {
    let bound = plan.replace_params_with_values(&ParamValues::from(values));
    bound.map_err(|failure| error(code::INVALID_PARAMETER, message_of(&failure)))
}

/// Values that carry only their types: with them a plan shows the columns that it will have.
pub fn nulls(parameters: &[Parameter]) -> PgWireResult<Vec<ScalarValue>> {
    let null = |parameter: &Parameter| {
        let data_type = parameter.inferred.clone().unwrap_or_else(|| arrow_type(&parameter.wire));
        ScalarValue::try_from(&data_type).map_err(|error| failed(&error))
    };
    parameters.iter().map(null).collect()
}

/// The engine's type for a client's value.
fn arrow_type(wire: &Type) -> DataType {
    let list = |of| DataType::List(Arc::new(Field::new_list_field(of, true)));
    match *wire {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(38, 10),
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        Type::TIME => DataType::Time64(TimeUnit::Nanosecond),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::BYTEA => DataType::Binary,
        Type::BOOL_ARRAY => list(DataType::Boolean),
        Type::INT2_ARRAY => list(DataType::Int16),
        Type::INT4_ARRAY => list(DataType::Int32),
        Type::INT8_ARRAY => list(DataType::Int64),
        Type::FLOAT4_ARRAY => list(DataType::Float32),
        Type::FLOAT8_ARRAY => list(DataType::Float64),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => list(DataType::Utf8),
        _ => DataType::Utf8,
    }
}

/// The values of EXECUTE: the result of a SELECT of them.
pub async fn values(context: &SessionContext, list: &str) -> PgWireResult<Vec<ScalarValue>> {
    if list.trim().is_empty() {
        return Ok(Vec::new());
    }
    let piece = Piece::of(&format!("SELECT {list}"));
    let plan = logical(context, &piece).await?;
    let query = PlannedQuery::new(context, plan).await.map_err(|error| failed(&error))?;
    let batches = query.collect().await.map_err(|error| failed(&error))?;
    let Some(batch) = batches.first().filter(|batch| batch.num_rows() == 1) else {
        return Err(error(code::SYNTAX, "EXECUTE takes values, one for each parameter"));
    };
    let value = |column: &ArrayRef| ScalarValue::try_from_array(column, 0).map_err(|error| failed(&error));
    batch.columns().iter().map(value).collect()
}
