//! `tallgrass control-panel`: the Pokémon that appear near a place. Each panel is a consumer group of its own.

use datafusion::arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::group::{GroupRole, RoleView};
use super::lines::{Line, lines_of};
use crate::cli::ControlPanel;
use crate::kafka::GroupStart;
use crate::view::{Bindings, SqlError, SqlFile, Workspace};

/// The file that says what near is.
pub const FILE: &str = "control_panel";

/// Runs the command.
pub async fn run(args: ControlPanel, stop: CancellationToken) -> anyhow::Result<Exit> {
    let workspace = Workspace::load(&args.queries.queries)?;
    let file = workspace.role(FILE)?;
    let view = RoleView::plan(&workspace, &file, &bind(&file, args.lat, args.lon, args.radius_km)?).await?;
    let id = args.id.unwrap_or_else(new_id);
    let role = GroupRole {
        kafka: args.connection.config(),
        group: group(&id),
        start: if args.from_beginning { GroupStart::Earliest } else { GroupStart::Latest },
        limits: args.batching.limits(),
    };
    eprintln!(
        "panel {id}: Pokémon within {} km of {}, {} (--id {id} goes on where it stopped)",
        args.radius_km, args.lat, args.lon
    );
    role.print(view, &stop, lines_of(args.format, lines)).await
}

/// The panel's place as the file's parameters; one that the file does not have is an error that says so.
pub fn bind(file: &SqlFile, lat: f64, lon: f64, radius_km: f64) -> Result<Bindings, SqlError> {
    let double = |value| ScalarValue::Float64(Some(value));
    file.bind([("lat", double(lat)), ("lon", double(lon)), ("radius_km", double(radius_km))])
}

/// What the names of all panels' consumer groups begin with.
pub const GROUP_PREFIX: &str = "control-panel-";

/// The consumer group of a panel.
pub fn group(id: &str) -> String {
    format!("{GROUP_PREFIX}{id}")
}

/// Eight letters and digits: a panel's id has nothing to do with user ids.
pub fn new_id() -> String {
    use rand::RngExt as _;
    use rand::distr::Alphanumeric;
    let letters = rand::rng().sample_iter(Alphanumeric).take(8);
    letters.map(|letter| char::from(letter).to_ascii_lowercase()).collect()
}

/// What is printed as text for the rows of the view.
pub fn lines(rows: &[RecordBatch]) -> anyhow::Result<Vec<String>> {
    let lines = Line::all(rows)?.into_iter().map(|mut line| {
        let name = line.take("name").unwrap_or_else(|| "something".to_owned());
        let types = [line.take("type_1"), line.take("type_2")].into_iter().flatten().collect::<Vec<_>>().join("/");
        let legendary = if line.take("legendary").as_deref() == Some("true") { ", legendary" } else { "" };
        let distance = line.take("distance_km").and_then(|km| km.parse::<f64>().ok());
        let distance = distance.map(|km| format!("{km:6.3} km  ")).unwrap_or_default();
        let types = if types.is_empty() { types } else { format!(" ({types}{legendary})") };
        format!("{distance}{name}{types}  {}", line.rest())
    });
    Ok(lines.collect())
}
