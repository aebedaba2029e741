//! The events themselves, one JSON object a line, for another program to read.

use std::error::Error;
use std::io::{BufWriter, Write};

use crate::event::{EventSink, Record};

/// Writes every event as a line.
#[derive(Debug)]
pub struct JsonLines<W: Write>(BufWriter<W>);

impl<W: Write> JsonLines<W> {
    /// Lines to be written to `to`: at once, unless more events are waiting already.
    pub fn new(to: W) -> Self {
        Self(BufWriter::new(to))
    }
}

impl<W: Write + Send> EventSink for JsonLines<W> {
    fn name(&self) -> &'static str {
        "json"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn Error + Send + Sync>> {
        serde_json::to_writer(&mut self.0, record)?;
        Ok(self.0.write_all(b"\n")?)
    }

    fn pause(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.flush()?)
    }
}
