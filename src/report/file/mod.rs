//! Reports that are files.

mod json;

pub use json::{JsonReport, schema};
