//! All files of a run: its report is folded once, and written in every form that was asked for.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::{durations, json};
use crate::disk::{self, DiskError};
use crate::event::{Event, EventSink, Record};
use crate::report::Report;

/// Folds the events of a run as they come, and writes its files when it has ended.
#[derive(Debug)]
pub struct RunFiles {
    results_dir: PathBuf,
    report: Report,
    ended: Arc<OnceLock<Report>>,
}

impl RunFiles {
    /// Files to be written below `results_dir`.
    #[must_use]
    pub fn new(results_dir: PathBuf) -> Self {
        Self { results_dir, report: Report::default(), ended: Arc::default() }
    }

    /// Where the report is found when the run has ended.
    #[must_use]
    pub fn ended(&self) -> Arc<OnceLock<Report>> {
        Arc::clone(&self.ended)
    }

    /// Writes all of them; one that can't be written does not keep the others from it.
    fn write(&self, report: &Report) -> Result<(), Failed> {
        let written = [keep(&self.results_dir, report), durations::keep(&self.results_dir, report)];
        let failed: Vec<DiskError> = written.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() { Ok(()) } else { Err(Failed(failed)) }
    }
}

impl EventSink for RunFiles {
    fn name(&self) -> &'static str {
        "report"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.report.take(record);
        if matches!(record.event, Event::RunEnded { .. }) {
            let report = std::mem::take(&mut self.report);
            self.write(self.ended.get_or_init(|| report))?;
        }
        Ok(())
    }
}

/// Writes the report of a run, and makes it the latest.
fn keep(results_dir: &Path, report: &Report) -> Result<(), DiskError> {
    let path = results_dir.join("runs").join(&report.run_id).join("report.json");
    disk::replace_by(&path, |file| json::write(report, file))?;
    disk::publish(&path, &results_dir.join("latest.json"))
}

/// The files that could not be written.
#[derive(Debug)]
struct Failed(Vec<DiskError>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> =
            self.0.iter().map(|error| format!("{error}: {}", error.source)).collect();
        f.write_str(&told.join("; "))
    }
}

impl Error for Failed {}
