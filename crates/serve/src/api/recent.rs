//! Recently computed results, so that many requests for the same one cost as much as one.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::OnceCell;
use tokio::task::JoinError;

type Entries<K, V> = LruCache<K, Arc<OnceCell<V>>>;

/// Results of long computations by their keys, the last used of them.
///
/// # Contract
/// What is asked for by several at once is computed once, on a thread that may block; the others wait without one.
#[derive(Debug)]
pub(super) struct Recent<K: Hash + Eq, V>(Mutex<Entries<K, V>>);

impl<K: Hash + Eq, V: Clone + Send + Sync + 'static> Recent<K, V> {
    /// Keeps this many.
    pub(super) fn new(limit: usize) -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN))))
    }

    /// The result for a key; `make` computes it if it is not kept. An error says that `make` panicked.
    pub(super) async fn get(&self, key: K, make: impl FnOnce() -> V + Send + 'static) -> Result<V, JoinError> {
        let cell = Arc::clone(self.entries().get_or_insert(key, Arc::default));
        cell.get_or_try_init(|| tokio::task::spawn_blocking(make)).await.cloned()
    }

    /// Forgets what is for other keys.
    pub(super) fn retain(&self, keep: impl Fn(&K) -> bool) {
        self.entries().retain(|key, _| keep(key));
    }

    fn entries(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
