//! The report as JSON: `results/runs/<id>/report.json`, which is also `results/latest.json`.

use std::io::{self, BufWriter, Write};

use schemars::{Schema, schema_for};

use crate::report::Report;

/// Writes a report as it stands in `report.json`.
///
/// # Errors
/// When it can't be written.
pub fn write(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    // It is made of very many small pieces, each of which would ask the writer what it is.
    let mut to = BufWriter::with_capacity(1 << 16, to);
    serde_json::to_writer_pretty(&mut to, report)?;
    to.write_all(b"\n")?;
    to.flush()
}

/// The JSON Schema of a report, as published in docs/report.schema.json.
#[must_use]
pub fn schema() -> Schema {
    schema_for!(Report)
}
