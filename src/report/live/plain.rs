//! Lines for a log: no colour, no cursor, nothing rewritten.

use std::io::Write;

use super::line::line;
use crate::event::{EventSink, Record};

/// Writes a line for every event that a person would want to see.
#[derive(Debug)]
pub struct PlainLines<W>(pub W);

impl<W: Write + Send> EventSink for PlainLines<W> {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if let Some((who, text)) = line(&record.event) {
            writeln!(self.0, "{:8.2}s  {who:<18} {text}", record.elapsed)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.flush()?)
    }
}
