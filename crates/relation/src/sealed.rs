//! A shared value whose type the compiler does not look into.
//!
//! That `DataFusion`'s syntax trees, plans and sessions may move between threads takes the compiler seconds to prove, anew in
//! each generic function and each future that holds one. Here it is proved once, where the value is sealed.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Derefs to the value; clones share it.
pub struct Sealed<T>(Arc<dyn Held<T>>);

trait Held<T>: Send + Sync {
    fn get(&self) -> &T;
}

impl<T: Send + Sync> Held<T> for T {
    fn get(&self) -> &T {
        self
    }
}

impl<T: Send + Sync + 'static> Sealed<T> {
    /// Seals a value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Sealed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        Held::<T>::get(&*self.0)
    }
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
