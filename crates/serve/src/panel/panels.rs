//! The hub's panels: which rows concern which of them, counted at once and evaluated when they are shown.
//!
//! ```text
//!                      ┌ the condition is the circle alone: counted by the index,
//!  micro-batch ─index─▶┤   and of what is new the newest rows are evaluated when they are shown
//!                      └ anything else: every (row, candidate) pair goes through the SQL, and its rows are counted
//! ```
//!
//! Evaluating late is what makes a thousand panels at a busy place affordable: thousands of rows a second cannot be read,
//! so all are counted, and the SQL makes the newest of each look, at most [`SHOWN_AT_ONCE`].

mod shown;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::circle::{Circle, CircleIndex, RowPosition};
use super::content::{KEPT, RowLog};
use super::open::{OpenPanel, OpenPanels};
use super::pairs::{PAIRS_AT_ONCE, Pair, Pairs, ParamColumns, pairs_of_rows};
use super::recent::{LocatedBatch, RecentRows};
use super::row::RowShape;
use tallgrass_diagnostics::message_of;

pub use self::shown::PACE;

/// New rows of a panel shown at once: more than can be read in [`PACE`].
pub const SHOWN_AT_ONCE: usize = 50;

/// New panels taken in between two micro-batches: each looks through all recent rows.
pub const SEEDS_AT_ONCE: usize = 32;

/// Rows looked at in one run for a new panel: most of its two hundred are in the first.
const LOOK_BACK_AT_ONCE: usize = 512;

/// Rows of a result, each with its pair.
struct Evaluated {
    rows: RecordBatch,
    pairs: Vec<Pair>,
}

/// Rows of a result for a panel.
type Made = (u32, Arc<RecordBatch>, Vec<usize>);

/// One panel.
#[derive(Debug)]
struct Panel {
    open: Arc<OpenPanel>,
    log: RowLog,
    values: Vec<ScalarValue>,
    circle: Option<Circle>,
    /// Why its rows cannot be made; it then gets none until the SQL changes.
    error: Option<Arc<str>>,
    seeded: bool,
    /// Rows to be shown, oldest first, at most [`SHOWN_AT_ONCE`]: of the stream before the SQL, or of its result.
    waiting: VecDeque<(Arc<RecordBatch>, usize)>,
    /// The number of the row before which others were left out, the last time that happened.
    gap_before: Option<u64>,
    shown: Instant,
    dirty: bool,
}

impl Panel {
    /// Keeps so many of the rows that wait, the newest.
    fn leave_out(&mut self, keep: usize) {
        let over = self.waiting.len().saturating_sub(keep);
        if over > 0 {
            self.waiting.drain(..over);
            self.gap_before = Some(self.log.content.next_k);
        }
    }
}

/// All of them, over one plan.
#[derive(Debug)]
pub struct Panels {
    pairs: Pairs,
    wanted: Vec<usize>,
    shape: Arc<RowShape>,
    types: Vec<DataType>,
    slots: Vec<Option<Panel>>,
    free: Vec<u32>,
    index: CircleIndex,
    values: ParamColumns,
    values_stale: bool,
    epoch: u64,
    /// What is new is shown even where no tab follows; for tests.
    force: bool,
}

impl Panels {
    /// None yet.
    pub fn new(pairs: Pairs, epoch: u64) -> Self {
        let times: Vec<usize> = pairs.relation().schema().index_of("_timestamp").into_iter().collect();
        Self {
            wanted: pairs.wanted(&times),
            shape: Arc::new(RowShape::of(pairs.file(), pairs.shown())),
            types: pairs.file().params().iter().map(|param| param.data_type.clone()).collect(),
            pairs,
            slots: Vec::new(),
            free: Vec::new(),
            index: CircleIndex::default(),
            values: ParamColumns::default(),
            values_stale: true,
            epoch,
            force: false,
        }
    }

    /// The plan.
    pub fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// The columns of the stream that micro-batches must have.
    pub fn wanted(&self) -> &[usize] {
        &self.wanted
    }

    /// Where latitude and longitude are among them.
    pub fn location(&self) -> Option<[usize; 2]> {
        let [lat, lon] = self.pairs.near()?.columns.map(|column| self.wanted.binary_search(&column).ok());
        Some([lat?, lon?])
    }

    /// Where the time is among them.
    pub fn time(&self) -> Option<usize> {
        let column = self.pairs.relation().schema().index_of("_timestamp").ok()?;
        self.wanted.binary_search(&column).ok()
    }

    /// How rows are found, for people.
    pub fn how(&self) -> String {
        let shared = "All panels of this server share one consumer of the topic and one plan of this statement.";
        match self.pairs.near() {
            Some(near) if near.alone => format!(
                "{shared} Its condition is a circle, so an index over all panels' circles counts each row, and the \
                 statement runs over those that are shown."
            ),
            Some(_) => format!(
                "{shared} An index over all panels' circles picks the panels that a row may concern, and the statement \
                 runs over these pairs."
            ),
            None => format!(
                "{shared} No condition has the form haversine_km(lat, lon, $lat, $lon) <= $radius_km over plain columns, \
                 so every row is looked at for every panel: right, and slower the more panels are open."
            ),
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Takes one in; its content comes with [`Self::seed`].
    pub fn add(&mut self, open: Arc<OpenPanel>) {
        let (values, error) = match open.link.bind(self.pairs.file()) {
            Ok(values) => (values.into_values(), None),
            Err(error) => (Vec::new(), Some(Arc::from(error.to_string()))),
        };
        let circle = self.pairs.near().and_then(|near| near.circle(&values)).filter(|_| error.is_none());
        let log = RowLog::new(open.link.area, Arc::clone(&self.shape), self.epoch, &open.content.borrow());
        let panel = Panel {
            log,
            values,
            circle,
            error,
            seeded: false,
            waiting: VecDeque::new(),
            gap_before: None,
            shown: Instant::now().checked_sub(PACE).unwrap_or_else(Instant::now),
            dirty: true,
            open,
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        if let Some(circle) = circle {
            self.index.insert(number, circle);
        }
        self.slots[number as usize] = Some(panel);
        self.values_stale = true;
    }

    /// Takes those out that are not open any more.
    pub fn sweep(&mut self, open: &OpenPanels) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|panel| !open.is_open(&panel.open)) {
                *slot = None;
                self.index.remove(number as u32);
                self.free.push(number as u32);
                self.values_stale = true;
            }
        }
    }

    /// The panels, for another plan.
    pub fn into_open(self) -> Vec<Arc<OpenPanel>> {
        self.slots.into_iter().flatten().map(|panel| panel.open).collect()
    }

    /// Empties all of them and fills them again.
    pub fn reseed(&mut self, epoch: u64) {
        self.epoch = epoch;
        for panel in self.slots.iter_mut().flatten() {
            panel.log.content.epoch = epoch;
            panel.log.content.rows.clear();
            panel.seeded = false;
            panel.waiting.clear();
            panel.dirty = true;
        }
    }

    /// Fills some of the panels that have not been filled with what is near in the recent rows; whether all are now.
    pub async fn seed(&mut self, recent: &RecentRows) -> bool {
        let open = |slot: &Option<Panel>| slot.as_ref().is_some_and(|panel| !panel.seeded);
        let all: Vec<u32> = (0..self.slots.len() as u32).filter(|at| open(&self.slots[*at as usize])).collect();
        for &number in all.iter().take(SEEDS_AT_ONCE) {
            let found = self.look_back(number, recent).await;
            self.take_rows(found);
            if let Some(panel) = self.slots[number as usize].as_mut() {
                panel.seeded = true;
                panel.dirty = true;
            }
        }
        all.len() <= SEEDS_AT_ONCE
    }

    /// What a panel shows of recent rows, oldest first.
    async fn look_back(&mut self, number: u32, recent: &RecentRows) -> Vec<Made> {
        let Some(panel) = self.slots[number as usize].as_ref() else { return Vec::new() };
        if panel.error.is_some() {
            return Vec::new();
        }
        let (circle, by_index) = (panel.circle, self.pairs.near().is_some());
        let side = |piece: &LocatedBatch, row: usize| match (by_index, circle) {
            (false, _) => RowPosition::Rim,
            (true, None) => RowPosition::Outside,
            (true, Some(circle)) => piece.spots[row].as_ref().map_or(RowPosition::Outside, |spot| circle.side(spot)),
        };
        let (mut found, mut count) = (Vec::new(), 0);
        for piece in recent.newest_first() {
            let newest_first = (0..piece.batch.num_rows()).rev();
            let chosen: Vec<usize> = newest_first.filter(|row| side(piece, *row) != RowPosition::Outside).collect();
            for rows in chosen.chunks(LOOK_BACK_AT_ONCE) {
                let pairs: Vec<Pair> = rows.iter().rev().map(|row| (0, *row, number)).collect();
                for Evaluated { rows: batch, .. } in self.evaluate(&[&piece.batch], pairs).await.into_iter().rev() {
                    let taken = batch.num_rows().min(KEPT - count);
                    let first = batch.num_rows() - taken;
                    found.push((number, Arc::new(batch), (first..first + taken).collect()));
                    count += taken;
                }
                if count >= KEPT {
                    found.reverse();
                    return found;
                }
            }
        }
        found.reverse();
        found
    }

    /// Takes in new rows of the stream.
    pub async fn apply(&mut self, piece: &LocatedBatch) {
        let Some(near) = self.pairs.near().copied() else {
            let all_panels: Vec<u32> = self.listening().collect();
            let rows = piece.batch.num_rows();
            let all = (0..rows).flat_map(|row| all_panels.iter().map(move |panel| (0, row, *panel)));
            return self.apply_pairs(piece, all.collect::<Vec<_>>()).await;
        };
        let mut asked: Vec<Pair> = Vec::new();
        let mut certain: Vec<(usize, u32)> = Vec::new();
        for (row, spot) in piece.spots.iter().enumerate() {
            let Some(spot) = spot else { continue };
            for number in self.index.candidates(spot) {
                let Some(Some(panel)) = self.slots.get(number as usize) else { continue };
                if panel.error.is_some() || !panel.seeded {
                    continue;
                }
                match panel.circle.map_or(RowPosition::Outside, |circle| circle.side(spot)) {
                    RowPosition::Outside => {}
                    RowPosition::Inside if near.alone => certain.push((row, number)),
                    RowPosition::Inside | RowPosition::Rim => asked.push((0, row, number)),
                }
            }
        }
        if !near.alone {
            return self.apply_pairs(piece, asked).await;
        }
        // On the rim: whether SQL takes them is asked now, what it makes of them when they are shown.
        if !asked.is_empty() {
            for pairs in asked.chunks(PAIRS_AT_ONCE) {
                let taken = self.evaluate(&[&piece.batch], pairs.to_vec()).await;
                certain.extend(taken.iter().flat_map(|taken| &taken.pairs).map(|(_, row, number)| (*row, *number)));
            }
            certain.sort_unstable();
        }
        // Of a panel that takes half of the rows only the newest are of use, and the rest is a number.
        let mut taken = vec![0; self.slots.len()];
        certain.reverse();
        certain.retain(|(_, number)| {
            let taken: &mut u32 = &mut taken[*number as usize];
            *taken += 1;
            // One more than is shown, so that it is known to be left out.
            *taken as usize <= SHOWN_AT_ONCE + 1
        });
        certain.reverse();
        for (number, rows) in (0..).zip(taken).filter(|(_, rows)| *rows > 0) {
            self.count(number, rows);
        }
        for (row, number) in certain {
            self.wait(number, Arc::clone(&piece.batch), row);
        }
    }

    fn listening(&self) -> impl Iterator<Item = u32> + '_ {
        let listens = |slot: &Option<Panel>| slot.as_ref().is_some_and(|panel| panel.error.is_none() && panel.seeded);
        (0..self.slots.len() as u32).filter(move |number| listens(&self.slots[*number as usize]))
    }

    async fn apply_pairs(&mut self, piece: &LocatedBatch, pairs: Vec<Pair>) {
        for pairs in pairs.chunks(PAIRS_AT_ONCE) {
            for Evaluated { rows, pairs } in self.evaluate(&[&piece.batch], pairs.to_vec()).await {
                let batch = Arc::new(rows);
                for (row, (_, _, owner)) in pairs.into_iter().enumerate() {
                    self.count(owner, 1);
                    self.wait(owner, Arc::clone(&batch), row);
                }
            }
        }
    }

    fn count(&mut self, number: u32, rows: u32) {
        if let Some(Some(panel)) = self.slots.get_mut(number as usize) {
            panel.log.count(rows);
            panel.dirty = true;
        }
    }

    fn wait(&mut self, number: u32, batch: Arc<RecordBatch>, row: usize) {
        if let Some(Some(panel)) = self.slots.get_mut(number as usize) {
            panel.waiting.push_back((batch, row));
            panel.leave_out(SHOWN_AT_ONCE);
        }
    }

    /// Runs the SQL; a panel with whose values it fails shows the error, and the others get their rows.
    async fn evaluate(&mut self, batches: &[&RecordBatch], pairs: Vec<Pair>) -> Vec<Evaluated> {
        if self.values_stale {
            let values: Vec<_> =
                self.slots.iter().map(|slot| slot.as_ref().map(|panel| panel.values.as_slice())).collect();
            match ParamColumns::new(&self.types, &values) {
                Ok(values) => self.values = values,
                Err(error) => tracing::error!("panels' values: {}", message_of(&error)),
            }
            self.values_stale = false;
        }
        let mut open = vec![pairs];
        let mut rows = Vec::new();
        while let Some(pairs) = open.pop() {
            if pairs.is_empty() {
                continue;
            }
            let error = match self.pairs.run(&self.wanted, batches, &pairs, &self.values).await {
                Ok(batches) => {
                    rows.extend(batches.into_iter().map(|rows| {
                        let numbers = pairs_of_rows(&rows).iter();
                        Evaluated { pairs: numbers.map(|number| pairs[*number as usize]).collect(), rows }
                    }));
                    continue;
                }
                Err(error) => message_of(&error),
            };
            let mut numbers: Vec<u32> = pairs.iter().map(|pair| pair.2).collect();
            numbers.sort_unstable();
            numbers.dedup();
            if let [number] = numbers.as_slice() {
                if let Some(Some(panel)) = self.slots.get_mut(*number as usize) {
                    panel.error =
                        Some(format!("a row could not be evaluated with this panel's values: {error}").into());
                    panel.dirty = true;
                }
                continue;
            }
            let middle = numbers[numbers.len() / 2];
            let (upper, lower): (Vec<Pair>, Vec<Pair>) = pairs.into_iter().partition(|pair| pair.2 >= middle);
            open.extend([upper, lower]);
        }
        rows
    }
}
