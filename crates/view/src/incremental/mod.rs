//! A file's plan, cut in two: a delta plan that runs on each micro-batch, and a residual plan that runs at a refresh over
//! the state below it.

pub mod clock;
pub mod cut;
pub mod explain;
pub mod live_view;
pub mod needs;
pub mod reducer;
pub mod run;
pub mod signed;
pub mod source;
pub mod weights;
#[cfg(test)]
mod weights_tests;

pub use explain::Description;
pub use live_view::{LiveView, Maintenance};
pub use run::InputRows;
