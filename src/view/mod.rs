//! A view: one SQL file, planned once, kept up to date by what is new.

pub mod clock;
pub mod cut;
pub mod exact_sum;
pub mod live_view;
pub mod reducer;
pub mod run;
pub mod session;
pub mod source;

pub use live_view::{LiveView, Maintenance};
pub use run::Rows;
