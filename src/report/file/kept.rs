//! All files of a run: its report is folded once, and written in every form that was asked for.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::{Format, durations, markdown};
use crate::disk::{self, AppendLog, DiskError};
use crate::event::{Event, EventSink, Record};
use crate::report::Report;

/// Largest summary of a CI job, in bytes: what GitHub shows of one step.
const SUMMARY_LIMIT: usize = 1 << 20;

/// Below this much room nothing is added to it.
const LEAST_ROOM: usize = 4096;

/// What is written beside `report.json`.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Files, each in a form.
    pub files: Vec<(Format, PathBuf)>,
    /// The summary of a CI job, to which others may have written before.
    pub ci_summary: Option<PathBuf>,
}

/// Folds the events of a run as they come, and writes its files when it has ended.
#[derive(Debug)]
pub struct RunFiles {
    results_dir: PathBuf,
    wanted: Wanted,
    report: Report,
    ended: Arc<OnceLock<Report>>,
}

impl RunFiles {
    /// Files to be written below `results_dir`, and what else is wanted.
    #[must_use]
    pub fn new(results_dir: PathBuf, wanted: Wanted) -> Self {
        Self { results_dir, wanted, report: Report::default(), ended: Arc::default() }
    }

    /// Where the report is found when the run has ended.
    #[must_use]
    pub fn ended(&self) -> Arc<OnceLock<Report>> {
        Arc::clone(&self.ended)
    }

    /// Writes all of them; one that can't be written does not keep the others from it.
    fn write(&self, report: &Report) -> Result<(), Failed> {
        let own = [keep(&self.results_dir, report), durations::keep(&self.results_dir, report)];
        let asked = self
            .wanted
            .files
            .iter()
            .map(|(format, path)| disk::replace_by(path, |to| format.write(report, to)));
        let mut failed: Vec<String> = own
            .into_iter()
            .chain(asked)
            .filter_map(|written| written.err().map(|e| e.told()))
            .collect();
        if let Some(path) = &self.wanted.ci_summary {
            failed.extend(summarize(path, report).err());
        }
        if failed.is_empty() { Ok(()) } else { Err(Failed(failed)) }
    }
}

impl EventSink for RunFiles {
    fn name(&self) -> &'static str {
        "report"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.take(record.clone())
    }

    fn take(&mut self, record: Record) -> Result<(), Box<dyn Error + Send + Sync>> {
        let has_ended = matches!(record.event, Event::RunEnded { .. });
        self.report.take(record);
        if has_ended {
            let report = std::mem::take(&mut self.report);
            self.write(self.ended.get_or_init(|| report))?;
        }
        Ok(())
    }
}

/// Writes the report of a run, and makes it the latest.
fn keep(results_dir: &Path, report: &Report) -> Result<(), DiskError> {
    let path = results_dir.join("runs").join(&report.run_id).join("report.json");
    disk::replace_by(&path, |to| Format::Json.write(report, to))?;
    disk::publish(&path, &results_dir.join("latest.json"))
}

/// Adds the run to the summary of a CI job, as far as there is room.
fn summarize(path: &Path, report: &Report) -> Result<(), String> {
    let taken = match disk::read_bounded(path, SUMMARY_LIMIT as u64) {
        Ok(text) => text.len(),
        Err(error) if error.is_not_found() => 0,
        Err(error) => return Err(error.told()),
    };
    let room = SUMMARY_LIMIT.saturating_sub(taken);
    if room < LEAST_ROOM {
        return Err(format!("there is no room left in {}", path.display()));
    }
    let text = markdown::markdown(report, None, room);
    AppendLog::open(path).and_then(|mut log| log.append(&text)).map_err(|error| error.told())
}

/// The files that could not be written.
#[derive(Debug)]
struct Failed(Vec<String>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Error for Failed {}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        "20261124T000000Z-0a".clone_into(&mut report.run_id);
        report
    }

    #[test]
    fn a_file_that_cannot_be_written_keeps_no_other_from_it() {
        let dir = tempfile::tempdir().unwrap();
        disk::replace(&dir.path().join("file"), b"not a folder").unwrap();
        let files = vec![
            (Format::Junit, dir.path().join("file/junit.xml")),
            (Format::Prometheus, dir.path().join("run.prom")),
        ];
        let kept = RunFiles::new(dir.path().join("results"), Wanted { files, ci_summary: None });
        let failed = kept.write(&report()).unwrap_err().to_string();
        assert!(failed.contains("file"), "{failed}");
        assert!(dir.path().join("run.prom").exists());
        assert!(dir.path().join("results/latest.json").exists());
    }

    #[test]
    fn the_summary_of_a_job_grows_up_to_its_limit_and_no_further() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary");
        disk::replace(&path, b"# before").unwrap();
        summarize(&path, &report()).unwrap();
        let text = disk::read_text(&path, 1 << 20).unwrap();
        assert!(text.starts_with("# before\n## CUT OFF"), "{text}");
        let mut large = report();
        large.notes = vec!["x".repeat(1000); 2000];
        summarize(&path, &large).unwrap();
        let text = disk::read_text(&path, SUMMARY_LIMIT as u64).unwrap();
        assert!(text.len() > SUMMARY_LIMIT - 4096, "{}", text.len());
        assert!(text.trim_end().ends_with("shows the rest."), "{}", &text[text.len() - 200..]);
        assert!(summarize(&path, &large).unwrap_err().contains("no room"));
    }
}
