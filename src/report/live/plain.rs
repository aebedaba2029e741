//! Lines for a log: no colour, no cursor, nothing rewritten.

use std::error::Error;
use std::io::{BufWriter, Write};

use super::line::Teller;
use crate::event::{EventSink, Record};

/// Writes a line for every event that a person would want to see.
#[derive(Debug)]
pub struct PlainLines<W: Write> {
    to: BufWriter<W>,
    teller: Teller,
}

impl<W: Write> PlainLines<W> {
    /// Lines to be written to `to`: at once, unless more events are waiting already.
    pub fn new(to: W) -> Self {
        Self { to: BufWriter::new(to), teller: Teller::default() }
    }
}

impl<W: Write + Send> EventSink for PlainLines<W> {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn Error + Send + Sync>> {
        if let Some((who, text)) = self.teller.line(&record.event) {
            writeln!(self.to, "{:8.2}s  {who:<18} {text}", record.elapsed)?;
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.to.flush()?)
    }
}
