//! What was made lately, so that many who ask for the same cost as much as one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use tokio::task::JoinError;

/// Results of long computations by their keys, the newest of them.
///
/// # Contract
/// What is asked for by several at once is computed once, on a thread that may block; the others wait without one.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    limit: usize,
    entries: Mutex<VecDeque<(K, Arc<OnceCell<V>>)>>,
}

impl<K: PartialEq, V: Clone + Send + Sync + 'static> Recent<K, V> {
    /// Keeps this many.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, entries: Mutex::default() }
    }

    /// The result for a key; `make` gives it if nobody has asked for it lately. An error says that `make` panicked.
    pub(super) async fn get(&self, key: K, make: impl FnOnce() -> V + Send + 'static) -> Result<V, JoinError> {
        let cell = self.cell(key);
        cell.get_or_try_init(|| tokio::task::spawn_blocking(make)).await.cloned()
    }

    fn cell(&self, key: K) -> Arc<OnceCell<V>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cell)) = entries.iter().find(|(known, _)| *known == key) {
            return Arc::clone(cell);
        }
        if entries.len() >= self.limit {
            entries.pop_front();
        }
        let cell = Arc::<OnceCell<V>>::default();
        entries.push_back((key, Arc::clone(&cell)));
        cell
    }

    /// Forgets what is for other keys.
    pub(super) fn retain(&self, keep: impl Fn(&K) -> bool) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).retain(|(key, _)| keep(key));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_get_one_result() {
        let (recent, made) = (Recent::new(2), Arc::new(AtomicUsize::new(0)));
        let ask = |key: u32| {
            let made = Arc::clone(&made);
            recent.get(key, move || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                made.fetch_add(1, Ordering::Relaxed);
                key * 10
            })
        };
        let answers = futures::future::join_all((0..50).map(|_| ask(1))).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap() == 10));
        assert_eq!(made.load(Ordering::Relaxed), 1);
        ask(2).await.unwrap();
        ask(3).await.unwrap();
        ask(1).await.unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 4, "two are kept");
    }
}
