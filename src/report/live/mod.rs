//! Views of a run while it goes on.

mod board;
mod estimate;
mod jsonl;
mod line;
mod plain;
mod progress;
mod systemd;

pub use jsonl::JsonLines;
pub use plain::PlainLines;
pub use progress::{ProgressBars, Screen};
pub use systemd::ServiceStatus;
