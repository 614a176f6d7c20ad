//! A panel's event stream: a snapshot first, then what is new, always the newest, never more than a tab can take.
//!
//! | event | holds |
//! |---|---|
//! | `snapshot` | everything: place, ground of the map, columns, rows, counts, state |
//! | `rows` | new rows, the number of the oldest that still counts, and counts |
//! | `state` | how the consumer is doing |
//!
//! The content is a place of one: a tab that sleeps misses states in between and gets the newest when it wakes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures::Stream;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::content::Content;
use super::ground::Ground;
use super::group::OwnGroup;
use super::link::Area;
use super::open::{About, Follower, OpenPanel, OpenPanels};
use super::row::RowShape;
use super::state::ConsumerState;

/// When a browser that lost the stream tries again.
const RETRY: Duration = Duration::from_secs(2);

/// One tab's place in a panel.
pub struct Follow {
    panel: Arc<OpenPanel>,
    content: watch::Receiver<Arc<Content>>,
    state: watch::Receiver<Arc<ConsumerState>>,
    about: watch::Receiver<Arc<About>>,
    sent: Option<(u64, u64)>,
    begun: bool,
    stop: CancellationToken,
    /// The tab counted, and the consumer that ends with it.
    _hold: (Follower, Option<OwnGroup>),
}

#[derive(Serialize)]
struct PanelSnapshot<'a> {
    area: Area,
    ground: Ground,
    shape: &'a RowShape,
    has_location: bool,
    state: &'a ConsumerState,
    about: &'a About,
    #[serde(flatten)]
    counts: Counts<'a>,
}

#[derive(Serialize)]
struct Counts<'a> {
    first: u64,
    total: u64,
    minute: u64,
    ready: bool,
    sampled: bool,
    error: Option<&'a str>,
}

impl Counts<'_> {
    fn of(content: &Content) -> Counts<'_> {
        Counts {
            first: content.next_k - content.rows.len() as u64,
            total: content.total,
            minute: content.minute,
            ready: content.ready,
            sampled: content.sampled,
            error: content.error.as_deref(),
        }
    }
}

impl Follow {
    /// Follows a panel of the hub.
    pub fn shared(open: &OpenPanels, follower: Follower, stop: CancellationToken) -> Self {
        Self::new(open.state.subscribe(), open.about.subscribe(), (follower, None), stop)
    }

    /// Follows a panel with a consumer of its own.
    pub fn own(group: OwnGroup, follower: Follower, stop: CancellationToken) -> Self {
        Self::new(group.state.clone(), group.about.clone(), (follower, Some(group)), stop)
    }

    fn new(
        state: watch::Receiver<Arc<ConsumerState>>,
        about: watch::Receiver<Arc<About>>,
        hold: (Follower, Option<OwnGroup>),
        stop: CancellationToken,
    ) -> Self {
        let panel = Arc::clone(&hold.0.panel);
        Self { content: panel.content.subscribe(), panel, state, about, sent: None, begun: false, stop, _hold: hold }
    }

    /// The events, for as long as the tab listens and the server runs.
    pub fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, |mut follow| async move { Some((Ok(follow.next().await?), follow)) })
    }

    async fn next(&mut self) -> Option<Event> {
        if !self.begun {
            self.begun = true;
            return Some(self.snapshot().retry(RETRY));
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            changed = self.content.changed() => {
                changed.ok()?;
                Some(self.newest())
            }
            changed = self.about.changed() => {
                changed.ok()?;
                Some(self.snapshot())
            }
            changed = self.state.changed() => {
                changed.ok()?;
                let state = self.state.borrow_and_update().clone();
                Some(Event::default().event("state").data(json(&*state)))
            }
        }
    }

    fn newest(&mut self) -> Event {
        let content = self.content.borrow_and_update().clone();
        match self.sent {
            Some((epoch, sent_k)) if epoch == content.epoch && sent_k <= content.next_k => {
                let new = (content.next_k - sent_k).min(content.rows.len() as u64) as usize;
                let rows = &content.rows[content.rows.len() - new..];
                self.event("rows", &content, rows, &json(&Counts::of(&content)))
            }
            _ => self.snapshot(),
        }
    }

    fn snapshot(&mut self) -> Event {
        let content = self.content.borrow_and_update().clone();
        let (state, about) = (self.state.borrow_and_update().clone(), self.about.borrow_and_update().clone());
        let area = self.panel.link.area;
        let head = PanelSnapshot {
            area,
            ground: Ground::of(area),
            shape: &content.shape,
            has_location: content.shape.has_location() || !content.ready,
            state: &state,
            about: &about,
            counts: Counts::of(&content),
        };
        self.event("snapshot", &content, &content.rows, &json(&head))
    }

    /// `{"rows":[…],` and what `rest` has behind its brace.
    fn event(&mut self, name: &str, content: &Content, rows: &[Arc<str>], rest: &str) -> Event {
        self.sent = Some((content.epoch, content.next_k));
        let length = rows.iter().map(|row| row.len() + 1).sum::<usize>();
        let mut data = String::with_capacity(length + rest.len() + 16);
        data.push_str("{\"rows\":[");
        for (number, row) in rows.iter().enumerate() {
            if number > 0 {
                data.push(',');
            }
            data.push_str(row);
        }
        data.push_str("],");
        data.push_str(rest.trim_start_matches('{'));
        Event::default().event(name).id(format!("{}-{}", content.epoch, content.next_k)).data(data)
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}
