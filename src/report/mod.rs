//! Views of a run, all made from its events: live ones while it goes on, files when it has ended.
//!
//! Knows events and nothing of what made them; any report can be made again from `events.jsonl`.

pub mod file;
pub mod live;
mod model;
mod summary;
mod text;

pub use model::{CacheReport, PhaseReport, Report, fold};
pub use summary::summary;
pub use text::wrap;
