//! `results/runs/<id>/report.json`, and its copy `results/latest.json`.

use std::path::PathBuf;

use schemars::{Schema, schema_for};

use crate::disk;
use crate::event::{Event, EventSink, Record};
use crate::report::{Report, fold};

/// Collects the events of a run and writes its report when it has ended.
#[derive(Debug)]
pub struct JsonReport {
    results_dir: PathBuf,
    records: Vec<Record>,
}

impl JsonReport {
    /// A report to be written below `results_dir`.
    #[must_use]
    pub fn new(results_dir: PathBuf) -> Self {
        Self { results_dir, records: Vec::new() }
    }
}

impl EventSink for JsonReport {
    fn name(&self) -> &'static str {
        "report"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.records.push(record.clone());
        if matches!(record.event, Event::RunEnded { .. }) {
            let report = fold(&self.records);
            let mut text = serde_json::to_vec_pretty(&report)?;
            text.push(b'\n');
            disk::replace(
                &self.results_dir.join("runs").join(&report.run_id).join("report.json"),
                &text,
            )?;
            disk::replace(&self.results_dir.join("latest.json"), &text)?;
        }
        Ok(())
    }
}

/// The JSON Schema of a report, as published in docs/report.schema.json.
#[must_use]
pub fn schema() -> Schema {
    schema_for!(Report)
}
