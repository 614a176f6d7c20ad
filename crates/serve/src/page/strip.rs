//! The line on top: is it running, is it correct, how far has it read.

use std::sync::Arc;
use std::time::SystemTime;

use maud::{Markup, html};

use crate::app::App;
use crate::captions;
use tallgrass_pipeline::Published;
use tallgrass_sink::cells::group_digits;
use tallgrass_sink::sanitize::sanitize;
use tallgrass_sink::trend::Trend;

/// Width and height of the pulse, in its own units.
const PULSE: (f64, f64) = (120.0, 24.0);

/// Seconds that the pulse shows.
const PULSE_S: f64 = 60.0;

/// The facts of a refresh.
pub fn html(app: &App, published: &Published, rate: &Trend) -> Markup {
    let status = &published.status;
    let proof = app.proof();
    let lag: i64 = status.topics.keys().map(|topic| status.lag(topic, &published.snapshot.as_of)).sum();
    let per_second = rate.samples().last().map_or(0.0, |(_, value)| value);
    html! {
        div.fact.rate title="Events read in the last second" {
            b { (group_digits(&format!("{per_second:.0}"))) } " events/s"
            (pulse(rate))
        }
        div.fact title="Everything below these offsets is in every tile" {
            "as of " b { (time_of_day(published.at)) }
        }
        @if status.caught_up() {
            div.fact.lag title=(lags(published)) { "lag " b { (group_digits(&lag.to_string())) } }
        } @else {
            div.fact.lag.warn title=(lags(published)) { (captions::catching_up(status)) }
        }
        @if status.bad_records > 0 {
            a.fact.warn href="/bad-records" { "⚠ " b { (group_digits(&status.bad_records.to_string())) } " bad records" }
        } @else {
            a.fact href="/bad-records" { "no bad records" }
        }
        @if let Some(trouble) = &status.trouble {
            div.fact.bad role="alert" title=(sanitize(trouble)) { "✕ broker does not answer, trying again" }
        } @else {
            div.fact.broker title="Bootstrap servers" { (sanitize(app.kafka.brokers())) }
        }
        @match proof {
            Some(proof) if proof.good => div.fact.good title="A replay from the earliest offsets gives the same rows" { "✓ " (sanitize(&proof.text)) },
            Some(proof) => div.fact.bad role="alert" { "✕ " (sanitize(&proof.text)) },
            None => {}
        }
        @if let Some(error) = &status.sources_error { div.fact.bad.long role="alert" { pre { (tallgrass_sink::sanitize::sanitize_lines(error)) } } }
    }
}

/// Topic by topic.
fn lags(published: &Published) -> String {
    let lag = |topic: &Arc<str>| {
        let lag = published.status.lag(topic, &published.snapshot.as_of);
        format!("{}: {} behind", sanitize(topic), group_digits(&lag.to_string()))
    };
    let lags: Vec<String> = published.status.topics.keys().map(lag).collect();
    if lags.is_empty() { "no topic is read yet".to_owned() } else { lags.join("\n") }
}

/// The event rate of the last minute.
fn pulse(rate: &Trend) -> Markup {
    let samples: Vec<(f64, f64)> = rate.samples().filter(|(ago_s, _)| *ago_s <= PULSE_S).collect();
    let top = samples.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let point = |(ago_s, value): &(f64, f64)| {
        let (x, y) = (PULSE.0 * (1.0 - ago_s / PULSE_S), 1.0 + (PULSE.1 - 2.0) * (1.0 - value / top));
        format!("{x:.1},{y:.1}")
    };
    let points: Vec<String> = samples.iter().map(point).collect();
    html! {
        svg.pulse viewBox={ "0 0 " (PULSE.0) " " (PULSE.1) } preserveAspectRatio="none" aria-hidden="true" {
            polyline points=(points.join(" ")) {}
        }
    }
}

/// `12:03:07 UTC`
pub fn time_of_day(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|at| at.strftime("%H:%M:%S UTC").to_string()).unwrap_or_default()
}
