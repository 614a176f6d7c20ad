//! The SQL that ships, against tables of the shipped declarations: every file plans without a warning, shows rows, and
//! shows the same ones in whatever order its input comes. A replay reads in another order than the live run did.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::Float64Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, Volatility, create_udf};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::{DFParser, Statement};

use crate::*;

/// In which order events lie in the tables.
#[derive(Clone, Copy)]
enum Input {
    Empty,
    Ordered,
    Scattered,
}

/// The folder of the SQL that ships. Its LOCATIONs are relative to the folder above, which becomes the working directory.
pub(crate) fn queries() -> &'static Path {
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).unwrap();
    Path::new("queries")
}

/// A function of the right name, type and rough size; `geo` has its own tests.
fn haversine_km() -> datafusion::logical_expr::ScalarUDF {
    create_udf(
        "haversine_km",
        vec![DataType::Float64; 4],
        DataType::Float64,
        Volatility::Immutable,
        Arc::new(|args: &[ColumnarValue]| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let column = |i: usize| arrays[i].as_any().downcast_ref::<Float64Array>().unwrap().iter();
            let pairs = column(0).zip(column(1)).zip(column(2).zip(column(3)));
            let distances =
                pairs.map(|((lat1, lon1), (lat2, lon2))| Some(111.0 * (lat1? - lat2?).hypot(lon1? - lon2?)));
            Ok(ColumnarValue::Array(Arc::new(distances.collect::<Float64Array>())))
        }),
    )
}

/// The tables of `sources.sql`: Kafka relations in memory, with their metadata columns; the Pokédex as it is.
pub(crate) async fn session(partitions: usize) -> SessionContext {
    let ctx = SessionContext::new_with_config(
        SessionConfig::new().with_target_partitions(partitions).with_information_schema(true),
    );
    ctx.register_udf(haversine_km());
    let sources = std::fs::read_to_string(queries().join("sources.sql")).unwrap();
    for statement in DFParser::parse_sql(&sources).unwrap() {
        let Statement::CreateExternalTable(table) = &statement else { panic!("not a declaration: {statement}") };
        if table.file_type == "KAFKA" {
            let columns: Vec<String> = table.columns.iter().map(ToString::to_string).collect();
            let sql = format!(
                "CREATE TABLE {} ({}, _key VARCHAR, _partition INT, _offset BIGINT, _timestamp TIMESTAMP(3))",
                table.name,
                columns.join(", ")
            );
            tallgrass_planner::sql(&ctx, &sql).await.unwrap();
        } else {
            let plan = tallgrass_planner::logical_plan(&ctx.state(), statement).await.unwrap();
            tallgrass_planner::dataframe(&ctx, plan).await.unwrap();
        }
    }
    ctx
}

/// A few thousand events full of ties: equal counts, equal times, equal totals.
async fn fill(ctx: &SessionContext, input: Input) {
    let order = match input {
        Input::Empty => return,
        Input::Ordered => "_offset",
        Input::Scattered => "(_offset * 7919) % 10007, _offset",
    };
    let near = |column: &str, madrid: f64, buenos_aires: f64| {
        format!("CASE number % 3 WHEN 0 THEN {madrid} WHEN 1 THEN {buenos_aires} ELSE 0 END + g * 0.01 AS {column}")
    };
    let pokemons = format!(
        "INSERT INTO pokemons SELECT * FROM (
           SELECT number, name, type_1, type_2, total, hp, attack, defense, sp_attack, sp_defense, speed, generation, legendary,
             {}, {}, CAST(NULL AS VARCHAR) AS _key, CAST(number % 4 AS INT) AS _partition, g * 1100 + number AS _offset,
             to_timestamp_millis(1700000000000 + g * 60000 + number / 8) AS _timestamp
           FROM pokedex CROSS JOIN (SELECT value AS g FROM generate_series(1, 5))
           WHERE number % 7 <> 0 AND number % g <> 1
         ) ORDER BY {order}",
        near("lat", 40.4168, -34.6037),
        near("lon", -3.7038, -58.3816),
    );
    let user = "id, CASE WHEN deleted THEN NULL ELSE 'User ' || (id % 9) END AS name,
         CASE WHEN deleted THEN NULL ELSE 'u' || id || '@' || (id % 20) || '.example' END AS email";
    let metadata = "CAST(id AS VARCHAR) AS _key, CAST(id % 4 AS INT) AS _partition, g * 100 + id AS _offset,
         to_timestamp_millis(1700000000000 + g * 60000 + id / 8) AS _timestamp";
    let events = format!(
        "INSERT INTO user_events SELECT * FROM (
           SELECT {user}, CASE WHEN deleted THEN NULL WHEN g % 2 = 0 THEN 'logoff' ELSE 'login' END AS action, {metadata}
           FROM (SELECT a.value AS id, b.value AS g, b.value % 2 = 0 AND a.value % 2 = 0 AS deleted
                 FROM generate_series(1, 60) a CROSS JOIN generate_series(1, 5) b) WHERE id % g <> 1
         ) ORDER BY {order}"
    );
    let users = format!(
        "INSERT INTO users SELECT * FROM (
           SELECT {user}, 'login' AS action, {metadata} FROM (SELECT value AS id, 1 AS g, false AS deleted FROM generate_series(1, 60))
         ) ORDER BY {order}"
    );
    for sql in [pokemons, events, users] {
        tallgrass_planner::sql(ctx, &sql).await.unwrap().collect().await.unwrap();
    }
}

fn dashboard() -> Vec<SqlFile> {
    let files: Vec<SqlFile> = load_folder(&queries().join("dashboard")).into_iter().map(Result::unwrap).collect();
    assert!(files.len() >= 12, "only {} dashboard files", files.len());
    files
}

fn all_files() -> Vec<SqlFile> {
    dashboard().into_iter().chain(appending()).collect()
}

fn appending() -> Vec<SqlFile> {
    let panels = load_panels(queries()).into_iter().map(|panel| panel.file);
    let files = panels.chain([SqlFile::load(&queries().join("login_checker.sql"))]).map(Result::unwrap);
    let files: Vec<SqlFile> = files.collect();
    assert!(files.len() >= 2, "only {} of them", files.len());
    files
}

fn madrid(file: &SqlFile) -> Bindings {
    let given = [("lat", 40.4168), ("lon", -3.7038)].map(|(name, value)| (name, ScalarValue::from(value)));
    let takes = |name: &str| file.params().iter().any(|param| param.name == name);
    file.bind(given.into_iter().filter(|(name, _)| takes(name))).unwrap()
}

async fn rows(ctx: &SessionContext, file: &SqlFile) -> Vec<String> {
    let plan = plan_with(ctx, file, &madrid(file)).await.unwrap();
    let batches = tallgrass_planner::dataframe(ctx, plan).await.unwrap().collect().await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    text.lines().filter(|line| line.starts_with('|')).skip(1).map(str::to_owned).collect()
}

/// Whether an operator of this name is anywhere in the optimized plan.
fn has_operator(ctx: &SessionContext, plan: &LogicalPlan, name: &str) -> bool {
    let mut found = false;
    let mut visit = |node: &LogicalPlan| {
        found |= node.display().to_string().starts_with(name);
        Ok(TreeNodeRecursion::Continue)
    };
    ctx.state().optimize(plan).unwrap().apply(&mut visit).unwrap();
    found
}

#[tokio::test]
async fn every_shipped_file_plans_without_a_warning() {
    let ctx = session(2).await;
    for file in all_files() {
        let plan = plan_unbound(&ctx, &file).await.unwrap_or_else(|error| panic!("{error}"));
        let warnings: Vec<String> = (file.warnings().iter().cloned())
            .chain(file.check_columns(plan.schema().as_arrow()))
            .map(|warning| warning.to_string())
            .collect();
        assert!(warnings.is_empty(), "{}", warnings.join("\n"));
    }
}

#[tokio::test]
async fn every_shipped_file_shows_the_same_rows_in_whatever_order_its_input_comes() {
    let (ordered, scattered) = (session(1).await, session(4).await);
    fill(&ordered, Input::Ordered).await;
    fill(&scattered, Input::Scattered).await;
    for file in all_files() {
        let (mut a, mut b) = (rows(&ordered, &file).await, rows(&scattered, &file).await);
        assert!(!a.is_empty(), "{} shows nothing", file.name());
        let plan = plan_with(&ordered, &file, &madrid(&file)).await.unwrap();
        if !has_operator(&ordered, &plan, "Sort") {
            a.sort();
            b.sort();
        }
        assert_eq!(a, b, "{} depends on the order of its input", file.name());
    }
}

#[tokio::test]
async fn every_shipped_file_runs_over_empty_topics() {
    let ctx = session(2).await;
    fill(&ctx, Input::Empty).await;
    for file in all_files() {
        rows(&ctx, &file).await;
    }
}

#[tokio::test]
async fn what_appends_is_linear() {
    let ctx = session(2).await;
    for file in &appending() {
        let plan = plan_with(&ctx, file, &madrid(file)).await.unwrap();
        for operator in ["Aggregate", "Sort", "Limit", "Join", "Distinct", "Window"] {
            assert!(!has_operator(&ctx, &plan, operator), "{} has a {operator}", file.name());
        }
    }
}

#[tokio::test]
async fn species_are_reduced_below_the_join_with_the_pokedex() {
    let ctx = session(2).await;
    for file in dashboard().iter().filter(|file| file.text().contains("SELECT DISTINCT number")) {
        let plan = ctx.state().optimize(&plan(&ctx, file).await.unwrap()).unwrap().display_indent().to_string();
        let aggregate = plan.rfind("Aggregate: groupBy=[[pokemons.number]]");
        let join = plan.find("Join:").unwrap();
        assert!(aggregate.is_some_and(|at| at > join), "{}:\n{plan}", file.name());
    }
}

#[tokio::test]
async fn the_figures_are_what_the_events_say() {
    let ctx = session(2).await;
    fill(&ctx, Input::Ordered).await;
    let shown = async |name: &str| {
        let file = dashboard().into_iter().find(|file| file.name() == name).unwrap();
        rows(&ctx, &file).await.join("\n")
    };
    let snapshot = [
        "users_online",
        "pokemons_seen",
        "by_type",
        "top_species",
        "legendaries_last_seen",
        "spawns_per_minute",
        "strongest_seen",
        "types_near_spawns",
        "logins_and_logoffs",
        "species_not_seen_yet",
        "pokedex_progress",
        "online_by_mail_domain",
        "most_active_users",
        "newest_online",
    ];
    let mut text = String::new();
    for name in snapshot {
        text.extend([name, "\n", &shown(name).await, "\n\n"]);
    }
    insta::assert_snapshot!("shipped_figures", text);
}
