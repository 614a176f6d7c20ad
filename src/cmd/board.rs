//! From a snapshot of the views to a frame of the terminal.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};

use tallgrass_chart::ChartKind;
use tallgrass_kafka::AsOf;
use tallgrass_pipeline::{FileState, Live, Published, Snapshot};
use tallgrass_proof::Proofs;
use tallgrass_serve::captions;
use tallgrass_sink::terminal::{Frame, LogPane, ProofNote, Strip, Tile};

/// The default width of a tile in columns of the grid.
const TILE_WIDTH: u16 = 6;

/// The time over which the event rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// What the terminal shows: the last results, the state of the reader, and how to draw each tile.
#[derive(Debug, Clone)]
pub struct Board {
    name: String,
    broker: String,
    /// The address of its page.
    page: Option<String>,
    published: Arc<Published>,
    rate: RateMeter,
    proofs: Option<Arc<Proofs>>,
}

/// A tile as its file defines it.
#[derive(Debug, Clone)]
struct TileLook {
    name: String,
    title: String,
    chart: Option<ChartKind>,
    x: Option<String>,
    y: Option<String>,
    width: u16,
    /// What is wrong with the file; the result before its last edit is shown.
    error: Option<String>,
}

#[derive(Debug, Clone)]
struct RateMeter {
    since: Instant,
    messages: u64,
    per_second: f64,
}

impl Board {
    /// An empty board for a dashboard.
    pub fn new(name: impl Into<String>, broker: impl Into<String>, live: &Live) -> Self {
        Self {
            name: name.into(),
            broker: broker.into(),
            page: None,
            published: Arc::new(Published::of(live, Snapshot::default())),
            rate: RateMeter { since: Instant::now(), messages: 0, per_second: 0.0 },
            proofs: None,
        }
    }

    /// Shows what proofs beside the live run find.
    #[must_use]
    pub fn with_proofs(mut self, proofs: Option<Arc<Proofs>>) -> Self {
        self.proofs = proofs;
        self
    }

    /// Shows the address of the page.
    #[must_use]
    pub fn with_page(mut self, page: Option<String>) -> Self {
        self.page = page;
        self
    }

    /// Takes in a refresh.
    pub fn update(&mut self, published: Arc<Published>) {
        self.published = published;
    }

    /// The moment of all tiles.
    pub fn as_of(&self) -> &AsOf {
        &self.published.snapshot.as_of
    }

    /// The outcome of the last proof, if there is one.
    pub fn proof(&self) -> Option<ProofNote> {
        self.proofs.as_ref().and_then(|proofs| proofs.note())
    }

    /// The frame to draw now, with panes of log lines.
    pub fn frame(&mut self, logs: Vec<LogPane>) -> Frame {
        self.measure();
        let tiles: Vec<Tile> = self
            .published
            .files
            .iter()
            .filter(|file| file.variant_of().is_none())
            .map(|file| self.tile(&TileLook::of(file)))
            .collect();
        Frame { strip: self.strip(), tiles, logs }
    }

    /// Measures the rate over at least [`RATE_WINDOW`], so that it does not flicker.
    fn measure(&mut self) {
        let elapsed = self.rate.since.elapsed();
        if elapsed >= RATE_WINDOW || (self.rate.messages == 0 && elapsed >= RATE_WINDOW / 4) {
            let read = self.published.status.messages - self.rate.messages.min(self.published.status.messages);
            let per_second = read as f64 / elapsed.as_secs_f64();
            self.rate = RateMeter { since: Instant::now(), messages: self.published.status.messages, per_second };
        }
    }

    fn strip(&self) -> Strip {
        let lag = self.published.status.topics.values().map(|topic| topic.total - topic.done).sum::<i64>();
        Strip {
            name: self.name.clone(),
            page: self.page.clone().unwrap_or_default(),
            broker: match &self.published.status.trouble {
                Some(_) => format!("{} does not answer, trying again", self.broker),
                None => self.broker.clone(),
            },
            events_per_s: self.rate.per_second,
            events: self.published.status.messages,
            lag: lag.max(0).unsigned_abs(),
            bad_records: self.published.status.bad_records,
            as_of: time_of_day(self.published.at),
            elapsed: self.published.status.started.elapsed(),
            proof: self.proof(),
            catching_up: (!self.published.status.caught_up()).then(|| self.published.status.progress()),
        }
    }

    fn tile(&self, look: &TileLook) -> Tile {
        let result = self.published.result(&look.name);
        let (schema, rows, error): (SchemaRef, Vec<RecordBatch>, Option<String>) = match result {
            None => (Arc::new(Schema::empty()), Vec::new(), None),
            Some(result) => match &result.rows {
                Ok(rows) => (Arc::clone(&result.schema), rows.clone(), None),
                Err(error) => (Arc::clone(&result.schema), Vec::new(), Some(tallgrass_diagnostics::message_of(error))),
            },
        };
        let status = &self.published.status;
        let rebuilding = captions::rebuilding(status, &look.name);
        let fine = error.is_none();
        let waits = captions::waits_for(status).filter(|_| fine);
        let history = captions::counts_from(status).filter(|_| fine);
        Tile {
            name: look.name.clone(),
            title: look.title.clone(),
            chart: look.chart.unwrap_or_else(|| tallgrass_sink::chart::chart_for(&schema, &rows)),
            x: look.x.clone(),
            y: look.y.clone(),
            width: look.width,
            schema,
            rows,
            note: look.error.clone().or(error).or(rebuilding).or(waits).or(history),
            foot: result.map(captions::foot).unwrap_or_default(),
        }
    }
}

impl TileLook {
    fn of(state: &FileState) -> Self {
        let name = state.name.to_string();
        let error = state.error.as_ref().map(ToString::to_string);
        let Some(file) = &state.file else {
            return Self { title: name.clone(), name, chart: None, x: None, y: None, width: TILE_WIDTH, error };
        };
        let front = file.front_matter();
        Self {
            name,
            title: file.title().to_owned(),
            error,
            chart: front.chart,
            x: front.x.as_ref().map(|column| column.name.clone()),
            y: front.y.first().map(|column| column.name.clone()),
            width: front.width.map_or(TILE_WIDTH, u16::from),
        }
    }
}

fn time_of_day(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|at| at.strftime("%H:%M:%S UTC").to_string()).unwrap_or_default()
}
