//! Views of a run while it goes on.

mod jsonl;
mod line;
mod plain;
mod progress;

pub use jsonl::JsonLines;
pub use plain::PlainLines;
pub use progress::ProgressBars;
