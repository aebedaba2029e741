//! Views of a run, all made from its events: live ones while it goes on, files when it has ended, and what differs
//! between two runs.
//!
//! Knows events and nothing of what made them; any report can be made again from `events.jsonl`.

pub mod diff;
pub mod file;
pub mod live;
mod model;
pub mod runs;
#[cfg(test)]
mod samples;
mod summary;
mod text;
mod triage;

pub use model::{CacheReport, PhaseReport, Report, fold};
pub use summary::{Since, summary};
pub use text::wrap;
