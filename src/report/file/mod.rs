//! Reports that are files.

mod json;

pub use json::{JsonReport, schema, write as write_json};
