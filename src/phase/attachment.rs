//! A file beside the pipeline in which a phase is told more than its `with` has room for, such as a suite of checks.
//!
//! What is wrong with it is told with what is wrong with the pipeline, before anything runs. What it says is known to its
//! kind alone.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostic, Source};

/// What is known of a `with` before any phase has run.
#[derive(Debug, Clone, Default)]
pub struct Beforehand {
    /// The parts that have a value.
    pub with: Map<String, Value>,
    /// The keys that lead to those which have none yet, from the top of `with`.
    pub open: Vec<Vec<String>>,
}

/// A file beside the pipeline in which a phase is told more than its `with` has room for.
#[derive(Debug)]
pub struct Attachment {
    /// The key of `with` that names it.
    pub key: &'static str,
    /// As it was read; nothing where it can't be.
    pub source: Option<Arc<Source>>,
    /// All that is wrong with it, as far as that can be told beforehand. What has no place is told where it is named.
    pub wrong: Vec<Diagnostic>,
}

/// What was expected, without the names of types of the source code.
#[must_use]
pub fn in_plain_words(message: &str) -> String {
    let Some((found, wanted)) = message.rsplit_once("expected ") else { return message.to_owned() };
    let plain = match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        other => other,
    };
    format!("{found}expected {plain}").replace("invalid type: sequence", "invalid type: list")
}

/// What helps where a text was expected and something else was written without quotes.
#[must_use]
pub fn in_quotes(message: &str) -> Option<String> {
    let wants_text = message.ends_with("expected a string")
        || message.ends_with("expected path string")
        || message.ends_with("expected a string, a number or a boolean");
    let is_plain = ["integer", "floating point", "boolean", "null", "unit"]
        .iter()
        .any(|kind| message.contains(&format!("invalid type: {kind}")));
    (wants_text && is_plain).then(|| "if it is a text, write it in quotes".to_owned())
}
