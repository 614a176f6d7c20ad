//! `GET /metrics`: `OpenMetrics` text, or the older Prometheus text on request.
//!
//! Values are read from the newest refresh on request; only the histogram of refreshes is fed as they happen.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Api;
use super::process::Process;
use crate::problem::Problem;
use tallgrass_pipeline::{Published, Variant};

/// The media type of `OpenMetrics`; every Prometheus since 2.5 requests it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From 0.25 ms to 8 s, each twice as long.
const SHORTEST_BUCKET_S: f64 = 0.000_25;
const BUCKETS: u16 = 16;

/// What is counted between two requests.
#[derive(Debug)]
pub(super) struct Metrics {
    refreshes: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { refreshes: Histogram::new(exponential_buckets(SHORTEST_BUCKET_S, 2.0, BUCKETS)) }
    }
}

/// Counts refreshes as long as they happen.
pub(super) async fn follow(api: &Api) {
    let mut newest = api.app.newest.clone();
    while newest.changed().await.is_ok() {
        let took: Option<Duration> = newest
            .borrow_and_update()
            .as_ref()
            .map(|published| published.snapshot.results.iter().map(|result| result.cost.refresh).sum());
        if let Some(took) = took {
            api.metrics.refreshes.observe(took.as_secs_f64());
        }
    }
}

/// The handler.
pub(super) async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let now = Now {
        published: api.app.newest(),
        ended: api.app.newest.has_changed().is_err(),
        agrees: api.app.proof().map(|note| note.good),
        streams: api.trackers.open_streams(),
    };
    let refreshes = api.metrics.refreshes.clone();
    let classic = wants_classic(&headers);
    let made = tokio::task::spawn_blocking(move || exposition(now, refreshes, classic)).await;
    let failed = |error: &dyn fmt::Display| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let body = made.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let content_type = if classic { prometheus_text::CONTENT_TYPE } else { OPENMETRICS };
    Ok(([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// Whether a scraper supports only the older text; a browser shows that one, too.
fn wants_classic(headers: &HeaderMap) -> bool {
    let says = |what: &str| {
        let mut accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        accept.any(|value| value.contains(what))
    };
    (says("text/plain") || says("text/html")) && !says("application/openmetrics-text")
}

fn exposition(now: Now, refreshes: Histogram, classic: bool) -> Result<String, fmt::Error> {
    let mut own = Registry::with_prefix("tallgrass");
    own.register_with_unit("refresh_duration", "Time of evaluating all views once", Unit::Seconds, refreshes);
    own.register_collector(Box::new(now));
    let mut process = Registry::with_prefix("process");
    process.register_collector(Box::new(Process::now()));
    let mut body = String::new();
    if classic {
        prometheus_text::encode(&mut body, &own)?;
        prometheus_text::encode(&mut body, &process)?;
    } else {
        text::encode_registry(&mut body, &own)?;
        text::encode_registry(&mut body, &process)?;
        text::encode_eof(&mut body)?;
    }
    Ok(body)
}

/// The run at this moment.
#[derive(Debug)]
struct Now {
    published: Option<Arc<Published>>,
    ended: bool,
    agrees: Option<bool>,
    streams: usize,
}

/// Values of one metric, each with the value of its label.
type Labelled<'a, V> = Vec<(&'a str, V)>;

/// Writes metrics; each of them needs a line of help.
struct Encoder<'a>(DescriptorEncoder<'a>);

impl Encoder<'_> {
    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        metric.encode_counter(&value, None::<&Exemplar<[(&str, &str); 0], f64>>)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        label: &str,
        values: Labelled<'_, f64>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        values.into_iter().try_for_each(|(of, value)| {
            metric.encode_family(&[(label, of)])?.encode_counter(&value, None::<&Exemplar<[(&str, &str); 0], f64>>)
        })
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(value)
    }

    fn gauges<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        label: &str,
        values: Labelled<'_, V>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        values.into_iter().try_for_each(|(of, value)| metric.encode_family(&[(label, of)])?.encode_gauge(&value))
    }
}

/// A unit that the client library has no name for.
fn of(unit: &str) -> Unit {
    Unit::Other(unit.to_owned())
}

impl Collector for Now {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut to = Encoder(encoder);
        let mut build = to.0.encode_descriptor("build", "The running version", None, MetricType::Info)?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        to.gauge("change_streams", "Streams of a view's changes that are open", None, &(self.streams as u64))?;
        if let Some(agrees) = self.agrees {
            to.gauge("proof_agrees", "Whether live and replay agreed when last compared", None, &u64::from(agrees))?;
        }
        let up = !self.ended && self.published.as_ref().is_some_and(|published| published.status.trouble.is_none());
        to.gauge("broker_up", "Whether the broker answers", None, &u64::from(up))?;
        match &self.published {
            Some(published) => {
                reading(&mut to, published)?;
                views(&mut to, published)
            }
            None => Ok(()),
        }
    }
}

fn reading(to: &mut Encoder<'_>, published: &Published) -> fmt::Result {
    let status = &published.status;
    let records = status.messages_of.iter().map(|(topic, messages)| (&**topic, *messages as f64)).collect();
    to.counters("records_consumed", "Records read, bad ones too", None, "topic", records)?;
    to.counter("consumed", "Bytes of keys and values read", Some(&Unit::Bytes), status.bytes as f64)?;
    let help = "Rows decoded from records: one in each relation over the topic";
    to.counter("records_decoded", help, None, status.rows as f64)?;
    to.counter("bad_records", "Records that did not fit their declaration", None, status.bad_records as f64)?;
    let lag = status.topics.keys().map(|topic| (&**topic, status.lag(topic, &published.snapshot.as_of))).collect();
    to.gauges(
        "consumer_lag",
        "Records at the broker that are not in a result yet, updated every 5 s",
        Some(&of("records")),
        "topic",
        lag,
    )?;
    to.counter("rebuilds", "Rebuilds of edited views begun", None, status.rebuilds as f64)?;
    let building =
        status.rebuild.iter().flat_map(|(views, status)| views.iter().map(|view| (&**view, status.progress)));
    to.gauges(
        "rebuild_progress",
        "Share of history read by a rebuild",
        Some(&of("ratio")),
        "view",
        building.collect(),
    )?;
    let caught_up = u64::from(status.caught_up() && status.missing.is_empty());
    to.gauge("caught_up", "Whether the records that existed at the start have been read", None, &caught_up)?;
    let at = published.at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    to.gauge("last_refresh_timestamp", "Time of the newest results, since 1970", Some(&Unit::Seconds), &at)
}

fn views(to: &mut Encoder<'_>, published: &Published) -> fmt::Result {
    let results = &published.snapshot.results;
    let each = |value: &dyn Fn(&tallgrass_pipeline::ViewResult) -> f64| -> Labelled<'_, f64> {
        // Clients create variants: their names must not become labels.
        let files = results.iter().filter(|result| !Variant::is_name(&result.name));
        files.map(|result| (&*result.name, value(result))).collect()
    };
    let refresh = each(&|result| result.cost.refresh.as_secs_f64());
    to.gauges("view_refresh_duration", "Time of a view's last refresh", Some(&Unit::Seconds), "view", refresh)?;
    let reducing = each(&|result| result.cost.reducing.as_secs_f64());
    to.counters("view_reducing", "Time spent on receiving rows", Some(&Unit::Seconds), "view", reducing)?;
    to.counters(
        "view_rows_taken",
        "Rows received, retractions included",
        None,
        "view",
        each(&|result| result.cost.rows as f64),
    )?;
    let bytes = each(&|result| result.cost.state.bytes as f64);
    to.gauges("view_state", "Bytes of a view's state", Some(&Unit::Bytes), "view", bytes)?;
    let kept = each(&|result| result.cost.state.rows as f64);
    to.gauges("view_state_rows", "Rows of a view's state: groups, or rows of a stream", None, "view", kept)?;
    let rows = each(&|result| result.rows.iter().flatten().map(|batch| batch.num_rows() as f64).sum());
    to.gauges("view_result_rows", "Rows of a view's result", None, "view", rows)?;
    let wrong = |name: &str| published.result(name).is_some_and(|result| result.rows.is_err());
    let files = published.files.iter().filter(|file| file.variant_of().is_none());
    let errors = files.map(|file| (&*file.name, u64::from(file.error.is_some() || wrong(&file.name))));
    to.gauges("view_errors", "Whether a file is broken or its view failed", None, "view", errors.collect())
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut to = Encoder(encoder);
        if let Some(seconds) = self.cpu_seconds {
            to.counter("cpu", "User and system time spent", Some(&Unit::Seconds), seconds)?;
        }
        for (name, help, unit, value) in [
            ("resident_memory", "Memory in RAM", Some(Unit::Bytes), self.resident_bytes),
            ("virtual_memory", "Mapped address space", Some(Unit::Bytes), self.virtual_bytes),
            ("threads", "Threads", None, self.threads),
            ("open_fds", "Files and sockets that are open", None, self.open_files),
            ("max_fds", "The limit of open files and sockets", None, self.max_open_files),
        ] {
            if let Some(value) = value {
                to.gauge(name, help, unit.as_ref(), &value)?;
            }
        }
        match self.started {
            Some(seconds) => {
                to.gauge("start_time", "Start time of the process, since 1970", Some(&Unit::Seconds), &seconds)
            }
            None => Ok(()),
        }
    }
}
