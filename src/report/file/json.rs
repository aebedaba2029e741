//! `results/runs/<id>/report.json`, and its copy `results/latest.json`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use schemars::{Schema, schema_for};

use crate::disk::{self, DiskError};
use crate::event::{Event, EventSink, Record};
use crate::report::Report;

/// Folds the events of a run as they come, and writes its report when it has ended.
#[derive(Debug)]
pub struct JsonReport {
    results_dir: PathBuf,
    report: Report,
    ended: Arc<OnceLock<Report>>,
}

impl JsonReport {
    /// A report to be written below `results_dir`.
    #[must_use]
    pub fn new(results_dir: PathBuf) -> Self {
        Self { results_dir, report: Report::default(), ended: Arc::default() }
    }

    /// Where the report is found when the run has ended.
    #[must_use]
    pub fn ended(&self) -> Arc<OnceLock<Report>> {
        Arc::clone(&self.ended)
    }
}

impl EventSink for JsonReport {
    fn name(&self) -> &'static str {
        "report"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.report.take(record);
        if matches!(record.event, Event::RunEnded { .. }) {
            let report = self.ended.get_or_init(|| std::mem::take(&mut self.report));
            keep(&self.results_dir, report)?;
        }
        Ok(())
    }
}

/// Writes the report of a run, and makes it the latest.
fn keep(results_dir: &Path, report: &Report) -> Result<(), DiskError> {
    let path = results_dir.join("runs").join(&report.run_id).join("report.json");
    disk::replace_by(&path, |file| write(report, file))?;
    disk::publish(&path, &results_dir.join("latest.json"))
}

/// Writes a report as it stands in `report.json`.
///
/// # Errors
/// When it can't be written.
pub fn write(report: &Report, mut to: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut to, report)?;
    to.write_all(b"\n")
}

/// The JSON Schema of a report, as published in docs/report.schema.json.
#[must_use]
pub fn schema() -> Schema {
    schema_for!(Report)
}
