//! Reports that are files.

pub mod durations;
mod json;
mod kept;

pub use durations::last_durations;
pub use json::{schema, write as write_json};
pub use kept::RunFiles;
