//! What panels are shown, and when: the rows that wait become rows of the result, a few times a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;

use super::{Evaluated, Made, Panels};
use crate::panel::content::Content;
use crate::panel::pairs::{PAIRS_AT_ONCE, Pair};

/// Rows made for all panels together, a second: about a fifth of a core. Beyond, each panel gets fewer at once, and all
/// are still counted, so that panels at busy places do not fall behind.
const ROWS_A_SECOND: usize = 40_000;

/// New rows that a panel is shown at once however many panels are busy.
const FEWEST_AT_ONCE: usize = 4;

/// What is new in a panel is shown this often at most.
pub const PACE: Duration = Duration::from_millis(250);

impl Panels {
    /// Makes rows of the result from what waits in these panels.
    async fn evaluate_waiting(&mut self, numbers: &[u32]) -> Vec<Made> {
        let alone = self.pairs.near().is_some_and(|near| near.alone);
        let mut waiting: Vec<(u32, Arc<RecordBatch>, usize)> = Vec::new();
        for number in numbers {
            if let Some(panel) = self.slots[*number as usize].as_mut() {
                waiting.extend(panel.waiting.drain(..).map(|(batch, row)| (*number, batch, row)));
            }
        }
        let mut made: Vec<Made> = Vec::new();
        let mut add = |number: u32, batch: &Arc<RecordBatch>, row: usize| match made.last_mut() {
            Some((last, same, rows)) if *last == number && Arc::ptr_eq(same, batch) => rows.push(row),
            _ => made.push((number, Arc::clone(batch), vec![row])),
        };
        if !alone {
            for (number, batch, row) in &waiting {
                add(*number, batch, *row);
            }
            return made;
        }
        for some in waiting.chunks(PAIRS_AT_ONCE) {
            let mut places: HashMap<*const RecordBatch, usize> = HashMap::new();
            let mut batches: Vec<&RecordBatch> = Vec::new();
            let pairs: Vec<Pair> = some
                .iter()
                .map(|(number, batch, row)| {
                    let place = *places.entry(Arc::as_ptr(batch)).or_insert_with(|| {
                        batches.push(batch);
                        batches.len() - 1
                    });
                    (place, *row, *number)
                })
                .collect();
            for Evaluated { rows, pairs } in self.evaluate(&batches, pairs).await {
                let batch = Arc::new(rows);
                for (row, (_, _, owner)) in pairs.into_iter().enumerate() {
                    add(owner, &batch, row);
                }
            }
        }
        made
    }

    pub(super) fn take_rows(&mut self, made: Vec<Made>) {
        for (number, batch, chosen) in made {
            let Some(Some(panel)) = self.slots.get_mut(number as usize) else { continue };
            if let Err(error) = panel.log.push(&batch, &chosen) {
                panel.error = Some(error.to_string().into());
            }
        }
    }

    /// Shows what is new in the panels whose time has come; when the next one's comes.
    pub async fn publish(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let (mut due, mut busy, mut next) = (Vec::new(), 0, None::<Instant>);
        for (number, panel) in (0..).zip(&mut self.slots) {
            let Some(panel) = panel else { continue };
            panel.log.pass_time(now);
            let published = panel.open.content.borrow();
            let dirty = panel.dirty || panel.log.content.minute != published.minute;
            if !dirty || !panel.seeded || (!self.force && !panel.open.is_followed() && published.ready) {
                continue;
            }
            busy += usize::from(!panel.waiting.is_empty());
            let time = panel.shown + PACE;
            if time <= now {
                due.push(number);
            } else {
                next = Some(next.map_or(time, |next| next.min(time)));
            }
        }
        let share = (ROWS_A_SECOND as f64 * PACE.as_secs_f64()) as usize / busy.max(1);
        for number in &due {
            if let Some(Some(panel)) = self.slots.get_mut(*number as usize) {
                panel.leave_out(share.max(FEWEST_AT_ONCE));
            }
        }
        let made = self.evaluate_waiting(&due).await;
        self.take_rows(made);
        for number in due {
            let Some(Some(panel)) = self.slots.get_mut(number as usize) else { continue };
            panel.dirty = false;
            panel.shown = now;
            let content = &panel.log.content;
            let oldest = content.next_k - content.rows.len() as u64;
            panel.open.content.send_replace(Arc::new(Content {
                ready: true,
                sampled: panel.gap_before.is_some_and(|k| k > oldest),
                error: panel.error.clone(),
                ..content.clone()
            }));
        }
        next
    }

    /// The same, whatever the time.
    #[cfg(test)]
    pub async fn force_publish(&mut self) {
        let long_ago = Instant::now().checked_sub(PACE);
        for panel in self.slots.iter_mut().flatten() {
            panel.shown = long_ago.unwrap_or(panel.shown);
            panel.dirty = true;
        }
        self.force = true;
        self.publish().await;
        self.force = false;
    }
}
