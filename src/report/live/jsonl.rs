//! The events themselves, one JSON object a line, for another program to read.

use std::io::Write;

use crate::event::{EventSink, Record};

/// Writes every event as a line.
#[derive(Debug)]
pub struct JsonLines<W>(pub W);

impl<W: Write + Send> EventSink for JsonLines<W> {
    fn name(&self) -> &'static str {
        "json"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let line = serde_json::to_string(record)?;
        Ok(writeln!(self.0, "{line}")?)
    }

    fn flush(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.flush()?)
    }
}
