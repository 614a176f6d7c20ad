//! `tallgrass control-panel`: what appears near a place. Each panel is a consumer group of its own.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use tokio_util::sync::CancellationToken;

use super::lines::{RowValues, lines_of};
use super::{Exit, group};
use crate::cli::ControlPanel;
use tallgrass_diagnostics::Diagnostic;
use tallgrass_kafka::GroupStart;
use tallgrass_pipeline::{AppendingView, GroupMember};
use tallgrass_relation::BadRecords;
use tallgrass_serve::panel::{GROUP_PREFIX, new_id};
use tallgrass_sink::cells::is_text;
use tallgrass_view::{AREA, Bindings, SqlFile, Workspace};

/// The column with a row's distance.
const DISTANCE: &str = "distance_km";

/// Runs the command.
pub async fn run(args: ControlPanel, stop: CancellationToken) -> anyhow::Result<Exit> {
    let workspace = Workspace::load(&args.queries.queries)?;
    let file = workspace.panel(args.panel.as_deref())?;
    let bindings = bind(&file, args.lat, args.lon, args.radius_km)?;
    let view = AppendingView::plan(&workspace, &file, &bindings).await?;
    let id = args.id.unwrap_or_else(new_id);
    let member = GroupMember {
        kafka: args.connection.config(),
        group: consumer_group(&id),
        start: if args.from_beginning { GroupStart::Earliest } else { GroupStart::Latest },
        limits: args.batching.limits(),
        bad: BadRecords::default(),
    };
    eprintln!(
        "panel {id}: {} within {} km of {}, {} (--id {id} continues where it stopped)",
        file.title(),
        args.radius_km,
        args.lat,
        args.lon
    );
    group::print(member, view, &stop, lines_of(args.format, lines)).await
}

/// The area as the file's parameters; its others have their defaults.
pub fn bind(file: &SqlFile, lat: f64, lon: f64, radius_km: f64) -> Result<Bindings, Diagnostic> {
    file.bind(AREA.into_iter().zip([lat, lon, radius_km].map(ScalarValue::from)))
}

/// The consumer group of a panel.
pub fn consumer_group(id: &str) -> String {
    format!("{GROUP_PREFIX}{id}")
}

/// The text for the rows of a panel: the distance, the name with its kind, and the other columns by name.
pub fn lines(rows: &[RecordBatch]) -> anyhow::Result<Vec<String>> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let headline = Headline::of(&first.schema());
    Ok(RowValues::all(rows)?.into_iter().map(|line| headline.line(line)).collect())
}

/// The columns at the beginning of a line.
struct Headline {
    /// `name`, or the first text.
    title: Option<String>,
    /// The texts right after it.
    kinds: Vec<String>,
    /// The first boolean column, whose name is printed where it is true.
    flag: Option<String>,
}

impl Headline {
    fn of(schema: &datafusion::arrow::datatypes::Schema) -> Self {
        let fields = schema.fields();
        let is_text = |index: &usize| is_text(fields[*index].data_type());
        let name = |index: usize| fields[index].name().clone();
        let named = (0..fields.len()).filter(is_text).find(|index| fields[*index].name() == "name");
        let title = named.or_else(|| (0..fields.len()).find(is_text));
        let kinds = title.map_or(0..0, |title| title + 1..fields.len()).take_while(is_text).map(name).collect();
        let flag = fields.iter().find(|field| *field.data_type() == DataType::Boolean);
        Self { title: title.map(name), kinds, flag: flag.map(|field| field.name().clone()) }
    }

    fn line(&self, mut line: RowValues) -> String {
        let title = self.title.as_ref().and_then(|column| line.take(column)).unwrap_or_else(|| "—".to_owned());
        let kinds = self.kinds.iter().filter_map(|column| line.take(column)).collect::<Vec<_>>().join("/");
        let flag = self.flag.as_ref().filter(|column| line.take(column).as_deref() == Some("true"));
        let distance = line.take(DISTANCE).and_then(|km| km.parse::<f64>().ok());
        let distance = distance.map(|km| format!("{km:6.3} km  ")).unwrap_or_default();
        let notes = [kinds.as_str(), flag.map_or("", String::as_str)];
        let notes = notes.into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(", ");
        let notes = if notes.is_empty() { notes } else { format!(" ({notes})") };
        format!("{distance}{title}{notes}  {}", line.rest())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};

    use super::*;

    fn text(values: [Option<&str>; 2]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn the_name_what_kind_and_how_far_come_first_whatever_it_is() {
        let bikes = RecordBatch::try_from_iter([
            ("station", text([Some("Sol"), Some("Ópera")])),
            ("charge", Arc::new(Int64Array::from(vec![80, 7])) as ArrayRef),
            (DISTANCE, Arc::new(Float64Array::from(vec![Some(0.12), None]))),
            ("note", text([None, Some("flat")])),
        ])
        .unwrap();
        assert_eq!(lines(&[bikes]).unwrap(), [" 0.120 km  Sol  charge 80", "Ópera  charge 7, note flat"]);
        let pokemons = RecordBatch::try_from_iter([
            ("at", text([Some("0@1"), Some("0@2")])),
            ("name", text([Some("Mew"), Some("Oddish")])),
            ("type_1", text([Some("Psychic"), Some("Grass")])),
            ("type_2", text([None, Some("Poison")])),
            ("legendary", Arc::new(BooleanArray::from(vec![true, false]))),
        ])
        .unwrap();
        assert_eq!(lines(&[pokemons]).unwrap(), ["Mew (Psychic, legendary)  at 0@1", "Oddish (Grass/Poison)  at 0@2"]);
    }
}
