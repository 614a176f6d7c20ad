//! From the newest refresh to HTML, each changed tile once, however many tabs are open.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::tile::{self, Look};
use super::{events, strip};
use crate::app::App;
use crate::selection::Selection;
use tallgrass_pipeline::{Published, Swap};
use tallgrass_sink::svg::Picture;
use tallgrass_sink::trend::Trend;
use tallgrass_view::SqlFile;

/// Time between two pictures while a tab is open: a result shows within 250 ms, and a browser on one shared core still has
/// three quarters of it for other work.
const RENDER_INTERVAL: Duration = Duration::from_millis(200);

/// The same without an open tab; a new tab requests a current picture.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Between two samples of a number's trend.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a tile says what an edit has changed.
const SWAP_SHOWN: Duration = Duration::from_secs(20);

/// How often the figures of a tile's foot change: flickering numbers cannot be read.
const FOOT_INTERVAL: Duration = Duration::from_secs(3);

/// Open streams and requests.
#[derive(Debug, Default)]
pub struct Audience {
    /// Open event streams.
    pub streams: AtomicUsize,
    /// A current picture is requested.
    pub asked: Notify,
}

/// The whole page at one moment, except for a tab's selection.
#[derive(Debug, Default)]
pub struct Rendered {
    /// Counts up from 1; 0 is the empty one before the first.
    pub seq: u64,
    /// The refresh that it shows; `None` before the first.
    pub published: Option<Arc<Published>>,
    /// Every view with a file, variants too, in the order of the dashboard.
    pub tiles: Vec<TileHtml>,
    /// The line on top.
    pub strip: Arc<str>,
    /// The event from the previous picture to this one, for tabs without a selection: made once for all.
    pub event: OnceLock<Arc<str>>,
}

/// One tile, drawn.
#[derive(Debug, Clone)]
pub struct TileHtml {
    /// The view's name.
    pub name: Arc<str>,
    /// The `article`.
    pub html: Arc<str>,
    /// The first picture in which it looks like this.
    pub since: u64,
    /// The part that is not in the refresh.
    pub look: Look,
}

impl Rendered {
    /// A view's tile.
    pub fn tile(&self, view: &str) -> Option<&TileHtml> {
        self.tiles.iter().find(|tile| *tile.name == *view)
    }

    /// What a tab shows for a file's tile; `None` if it looks as it did in picture `before`.
    pub fn selected<'a>(
        &'a self,
        app: &App,
        tile: &'a TileHtml,
        selection: &Selection,
        before: u64,
    ) -> Option<Cow<'a, str>> {
        let (refused, published) = (selection.refused.get(&*tile.name), self.published.as_deref());
        // The file itself is shown for a variant that is not ready yet.
        let selected = self.tile(selection.view_of(&tile.name)).unwrap_or(tile);
        (selected.since > before).then(|| match (refused, published) {
            (Some(_), Some(published)) => {
                tile::html(app, published, &tile.name, &tile.look, refused).into_string().into()
            }
            _ => Cow::Borrowed(&*selected.html),
        })
    }
}

/// Draws, and keeps what it has drawn.
pub struct Renderer {
    app: Arc<App>,
    seq: u64,
    known: BTreeMap<Arc<str>, Known>,
    rate: Trend,
    messages: Option<(Instant, u64)>,
    sampled: Option<Instant>,
}

/// A view as last drawn.
struct Known {
    /// The result that the picture shows.
    of: Option<(SchemaRef, Vec<RecordBatch>, String)>,
    picture: Option<Arc<Picture>>,
    trend: Trend,
    /// The trend has a new sample that the picture does not show.
    moved: bool,
    foot: (Instant, String),
    swap: Option<(Swap, Instant)>,
    html: Arc<str>,
    since: u64,
}

impl Renderer {
    /// A renderer that has drawn nothing yet.
    pub fn new(app: Arc<App>) -> Self {
        Self { app, seq: 0, known: BTreeMap::new(), rate: Trend::default(), messages: None, sampled: None }
    }

    /// Draws until `stop`, on the current runtime.
    pub fn start(app: Arc<App>, audience: Arc<Audience>, stop: &CancellationToken) -> watch::Receiver<Arc<Rendered>> {
        let (sender, receiver) = watch::channel(Arc::<Rendered>::default());
        let renderer = Self::new(app);
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = renderer.run(&audience, &sender) => {}
            }
        });
        receiver
    }

    async fn run(mut self, audience: &Audience, sender: &watch::Sender<Arc<Rendered>>) {
        let mut newest = self.app.newest.clone();
        // The first refresh may have been published already.
        newest.mark_changed();
        loop {
            let mut asked = false;
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                () = audience.asked.notified() => asked = true,
            }
            let started = Instant::now();
            let published = newest.borrow_and_update().clone();
            if let Some(published) = published {
                let rendered = self.render(&published);
                sender.send_replace(Arc::new(rendered));
            }
            if asked {
                continue;
            }
            let looked_at = audience.streams.load(Ordering::Relaxed) > 0;
            let pause = if looked_at { RENDER_INTERVAL } else { IDLE_INTERVAL };
            tokio::select! {
                () = tokio::time::sleep_until((started + pause).into()) => {}
                () = audience.asked.notified() => newest.mark_changed(),
            }
        }
    }

    /// One picture.
    pub fn render(&mut self, published: &Arc<Published>) -> Rendered {
        self.seq += 1;
        self.app.variants.sweep();
        let sampled = self.sample(published);
        self.known.retain(|name, _| published.files.iter().any(|file| file.name == *name));
        let tiles = published.files.iter().map(|file| self.tile(published, &file.name, sampled)).collect();
        let strip = strip::html(&self.app, published, &self.rate).into_string().into();
        Rendered { seq: self.seq, published: Some(Arc::clone(published)), tiles, strip, event: OnceLock::new() }
    }

    /// Takes a sample of the event rate, once a second; returns whether it is time to sample everything.
    fn sample(&mut self, published: &Published) -> bool {
        let now = published.taken;
        if self.sampled.is_some_and(|sampled| now.duration_since(sampled) < SAMPLE_INTERVAL) {
            return false;
        }
        self.sampled = Some(now);
        if let Some((before, messages)) = self.messages {
            let seconds = now.duration_since(before).as_secs_f64().max(1e-3);
            self.rate.push(millis(published), published.status.messages.saturating_sub(messages) as f64 / seconds);
        }
        self.messages = Some((now, published.status.messages));
        true
    }

    fn tile(&mut self, published: &Published, name: &Arc<str>, sampled: bool) -> TileHtml {
        let seq = self.seq;
        let known = self.known.entry(Arc::clone(name)).or_insert_with(|| Known {
            of: None,
            picture: None,
            trend: Trend::default(),
            moved: false,
            foot: (published.taken, String::new()),
            swap: None,
            html: "".into(),
            since: 0,
        });
        let state = published.file(name);
        let result = published.result(name);
        let file = state.and_then(|state| state.running.as_ref().or(state.file.as_ref()));
        if let Some(result) = result
            && let Ok(rows) = &result.rows
        {
            if sampled && published.status.caught_up() {
                known.sample(millis(published), &result.schema, rows, file);
            }
            let text = file.map(SqlFile::text).unwrap_or_default();
            let same = |(schema, drawn, of): &(SchemaRef, Vec<RecordBatch>, String)| {
                *schema == result.schema && of == text && drawn == rows
            };
            if known.moved || !known.of.as_ref().is_some_and(same) {
                let extents = known.picture.take().map(|picture| picture.extents.clone()).unwrap_or_default();
                let now_ms = published.snapshot.now_ns / 1_000_000;
                let picture = tile::picture(name, file, &result.schema, rows, &known.trend, now_ms, &extents);
                known.picture = Some(Arc::new(picture));
                known.of = Some((Arc::clone(&result.schema), rows.clone(), text.to_owned()));
                known.moved = false;
            }
        }
        if known.foot.1.is_empty() || published.taken.duration_since(known.foot.0) >= FOOT_INTERVAL {
            known.foot = (published.taken, result.map(super::super::captions::foot).unwrap_or_default());
        }
        let swap = state.and_then(|state| state.swap.as_ref());
        match (&known.swap, swap) {
            (Some((before, _)), Some(swap)) if before == swap => {}
            (_, Some(swap)) => {
                // The number means something else from now on.
                known.trend.clear();
                known.swap = Some((swap.clone(), published.taken));
            }
            (_, None) => known.swap = None,
        }
        let look = Look {
            swap: known
                .swap
                .as_ref()
                .filter(|(_, seen)| published.taken.duration_since(*seen) < SWAP_SHOWN)
                .map(|(swap, _)| swap.clone()),
            foot: known.foot.1.clone(),
            picture: known.picture.clone(),
        };
        let html = tile::html(&self.app, published, name, &look, None).into_string();
        if *known.html != *html {
            known.html = html.into();
            known.since = seq;
        }
        TileHtml { name: Arc::clone(name), html: Arc::clone(&known.html), since: known.since, look }
    }
}

impl Known {
    /// Takes a sample of a lone number.
    fn sample(&mut self, at_ms: i64, schema: &SchemaRef, rows: &[RecordBatch], file: Option<&SqlFile>) {
        if let Some(value) = tile::number(file, schema, rows) {
            self.trend.push(at_ms, value);
            self.moved = true;
        }
    }
}

fn millis(published: &Published) -> i64 {
    published.at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renderer").field("seq", &self.seq).finish_non_exhaustive()
    }
}

/// The event that takes a tab from one picture to the next.
pub fn event(rendered: &Rendered, before: u64) -> Arc<str> {
    let make = || events::payload(rendered, |tile| (tile.since > before).then(|| Cow::Borrowed(&*tile.html))).into();
    if before > 0 && before + 1 == rendered.seq {
        return Arc::clone(rendered.event.get_or_init(make));
    }
    make()
}
