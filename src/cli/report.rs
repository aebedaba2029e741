//! `trueup report`.

use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use super::args::{REPORT_LIMIT, ReportArgs, ReportCommand, ReportFormat};
use super::exit::{ExitCode, Failure};
use super::terminal;
use crate::change::journal::Resumed;
use crate::change::{Aftermath, Fate, aftermath};
use crate::diagnostic::{Diagnostic, Severity};
use crate::disk;
use crate::event::{Outcome, OverallStatus, Record, RunId, read_log};
use crate::report::diff::{self, Difference};
use crate::report::file::{self, Format};
use crate::report::runs::{self, RunNameError};
use crate::report::{Report, Since, fold, summary};
use crate::shown;

pub(super) fn report(options: &ReportArgs) -> Result<ExitCode, Failure> {
    let results = &options.state.results;
    let mut out = std::io::stdout().lock();
    match &options.command {
        ReportCommand::Show { run, json } => show(results, run, *json)?,
        ReportCommand::List { json } => list(results, *json)?,
        ReportCommand::Diff { before, after, json } => {
            let of = |name: &str| load(results, &find(results, name)?);
            let difference = Difference::between(&of(before)?, &of(after)?);
            if *json {
                serde_json::to_writer_pretty(&mut out, &difference)?;
                writeln!(out)?;
            } else {
                out.write_all(diff::text(&difference, terminal::width()).as_bytes())?;
            }
        }
        ReportCommand::Export { format, run } => {
            return export(results, run, Format::from(*format));
        }
        ReportCommand::Schema => {
            serde_json::to_writer_pretty(&mut out, &file::schema())?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::Success)
}

impl From<ReportFormat> for Format {
    fn from(format: ReportFormat) -> Self {
        match format {
            ReportFormat::Json => Self::Json,
            ReportFormat::Junit => Self::Junit,
            ReportFormat::Markdown => Self::Markdown,
            ReportFormat::Prometheus => Self::Prometheus,
        }
    }
}

/// Prints a report in a form. What was recorded is what happened, and the report is made of it; where the record is
/// damaged, what was written when the run ended has to do, and that is told.
fn export(results: &Path, name: &str, format: Format) -> Result<ExitCode, Failure> {
    let run = find(results, name)?;
    let (report, damage) = match (recorded(results, &run), written(results, &run)) {
        (Ok(recorded), Some(written))
            if recorded.overall_status.is_none() && written.overall_status.is_some() =>
        {
            let told = format!("the record of run {run} ends before the run did");
            (written, vec![Diagnostic::warning("report::record", told)])
        }
        (Ok(recorded), _) => (recorded, Vec::new()),
        (Err(failure), Some(written)) => {
            let warning =
                |found| Diagnostic { severity: Severity::Warning, code: "report::record", ..found };
            (written, failure.diagnostics.into_iter().map(warning).collect())
        }
        (Err(failure), None) => return Err(failure),
    };
    let help = "what is printed is the report that was written when the run ended";
    let damage: Vec<_> = damage.into_iter().map(|found| found.help(help)).collect();
    terminal::warn(&damage);
    let since = until_now(results, &report);
    format.write_later(&report, since.as_ref(), &mut std::io::stdout().lock())?;
    Ok(if damage.is_empty() { ExitCode::Success } else { ExitCode::Failed })
}

/// True while the run is at work.
fn is_at_work(results: &Path, run: &str) -> bool {
    disk::is_held(&results.join("runs").join(run).join("events.jsonl"))
}

fn show(results: &Path, name: &str, json: bool) -> Result<(), Failure> {
    let run = find(results, name)?;
    let report = load(results, &run)?;
    let mut out = std::io::stdout().lock();
    if json {
        return Ok(Format::Json.write(&report, &mut out)?);
    }
    let folder = results.join("runs").join(run.as_str());
    // A run that was cut off has only its record.
    let path = [folder.join("report.json"), folder.join("events.jsonl")];
    let path = path.iter().find(|path| path.exists()).unwrap_or(&folder);
    let since = until_now(results, &report);
    let path = path.display().to_string();
    let text = summary(&report, &path, since.as_ref(), terminal::width());
    Ok(out.write_all(text.as_bytes())?)
}

/// What is said of the changes of a run as they are now.
fn until_now(results: &Path, report: &Report) -> Option<Since> {
    let run = &report.run_id;
    let as_recorded =
        |told: String, at_work| Some(Since { settings: report.changes_kept(), told, at_work });
    match aftermath(&results.join("journal").join(format!("{run}.jsonl"))) {
        _ if is_at_work(results, run) => as_recorded("the run is still at work".to_owned(), true),
        Ok(after) => after.and_then(|after| since(report, &after)),
        Err(error) => {
            as_recorded(format!("nobody can tell what has become of that: {error}"), false)
        }
    }
}

/// What is said of the changes of a run that is no longer as it ended; nothing where all that it kept is in place.
fn since(report: &Report, after: &Aftermath) -> Option<Since> {
    let run = &report.run_id;
    let when = |by: &Resumed| {
        let at = by.at.map(|at| format!(" at {}", at.strftime("%Y-%m-%d %H:%M:%SZ")));
        let by = by.by.as_deref().unwrap_or("a rollback");
        format!("taken back{} by {by}", at.unwrap_or_default())
    };
    let told = match &after.fate {
        // A run whose disk was full may have taken back what its record says was changed.
        Fate::TakenBack { by: Resumed { at: None, .. }, .. } if report.changes_kept() > 0 => {
            "taken back by the run itself".to_owned()
        }
        Fate::Kept | Fate::TakenBack { by: Resumed { at: None, .. }, .. } => return None,
        Fate::Due => {
            format!("not taken back yet: the next run does it, or trueup rollback {run}")
        }
        Fate::Rebooted => "a reboot has taken that back".to_owned(),
        Fate::Partly { by, back } => {
            let (count, were) = (*back, if *back == 1 { "was" } else { "were" });
            format!("{count} more {were} {}; undo: trueup rollback {run}", when(by))
        }
        Fate::TakenBack { by, handed, left } => {
            let mut told = when(by);
            for (path, newer) in handed {
                told += &*format!(", but for {path}, which run {newer} has set since");
            }
            for (path, found) in left {
                told += &*format!(", but for {path}, left alone at {found}");
            }
            if !left.is_empty() {
                told += &*format!("; undo that as well: trueup rollback --force {run}");
            }
            told
        }
    };
    // A run that was cut off may have changed more than its record tells.
    let settings = match report.changes_kept() {
        _ if matches!(after.fate, Fate::Partly { .. }) => after.settings,
        kept if kept > 0 && report.overall_status.is_some() => kept,
        _ => after.settings,
    };
    Some(Since { settings, told, at_work: false })
}

/// Lists the runs; one that can't be read does not hide the others.
fn list(results: &Path, json: bool) -> Result<(), Failure> {
    let runs = runs::recorded(results).map_err(|error| Failure::because("report::runs", &error))?;
    let mut out = std::io::stdout().lock();
    let mut all = Vec::new();
    for run in runs.iter().rev() {
        let report = load(results, run).ok();
        if json {
            all.push(report.map_or_else(|| json!({ "run": run }), |report| in_json(&report)));
            continue;
        }
        let Some(report) = report else {
            writeln!(out, "{run}  can't be read")?;
            continue;
        };
        let without = if is_at_work(results, run.as_str()) { "AT WORK" } else { "CUT OFF" };
        let status = report.overall_status.map_or(without, OverallStatus::word);
        let (good, all) = (good(&report), report.phases.len());
        let name = shown::in_line(&report.pipeline.name);
        // Of one that was cut off, only what was recorded is known: it took longer.
        let more = if report.overall_status.is_none() { ">" } else { "" };
        let seconds = format!("{more}{:.1}", report.total_optimization_time);
        writeln!(out, "{run}  {status:<15} {seconds:>7} s  {good}/{all} phases  {name}")?;
    }
    if json {
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
    }
    Ok(())
}

fn in_json(report: &Report) -> serde_json::Value {
    json!({
        "run": report.run_id,
        "started_at": report.started_at,
        "status": report.overall_status,
        "seconds": report.total_optimization_time,
        "pipeline": report.pipeline.name,
        "phases": report.phases.len(),
        "ended_well": good(report),
    })
}

/// How many phases ended well.
fn good(report: &Report) -> usize {
    report.phases.values().filter(|phase| phase.status.is_some_and(Outcome::is_good)).count()
}

/// The run that is meant by a name.
fn find(results: &Path, name: &str) -> Result<RunId, Failure> {
    runs::find(results, name).map_err(|error| {
        let code = match &error {
            RunNameError::None(_) => "report::none",
            RunNameError::Disk(_) => "report::runs",
            _ => "report::run",
        };
        let help = match &error {
            RunNameError::None(_) => {
                "make one with `trueup run`, or name the folder with --results"
            }
            RunNameError::Ambiguous { .. } => "write more of its name",
            _ => "`trueup report list` shows the runs",
        };
        let failure = Failure::because(code, &error).help(help);
        match error {
            RunNameError::Name(_) => failure.exit(ExitCode::Invalid),
            _ => failure,
        }
    })
}

/// The report of a run, made again from its events where it was not written: so one that was cut off has a report as well.
fn load(results: &Path, run: &RunId) -> Result<Report, Failure> {
    written(results, run).map_or_else(|| recorded(results, run), Ok)
}

/// The report of a run as it was written.
fn written(results: &Path, run: &RunId) -> Option<Report> {
    let path = results.join("runs").join(run.as_str()).join("report.json");
    serde_json::from_slice(&disk::read_bounded(&path, REPORT_LIMIT.0).ok()?).ok()
}

/// The report of a run from its events.
fn recorded(results: &Path, run: &RunId) -> Result<Report, Failure> {
    Ok(fold(&events(results, run)?))
}

fn events(results: &Path, run: &RunId) -> Result<Vec<Record>, Failure> {
    let path = results.join("runs").join(run.as_str()).join("events.jsonl");
    read_log(&path).map_err(|error| {
        Failure::because("report::run", &error).help("`trueup report list` shows the runs")
    })
}

/// The record of the run that is meant by a name.
pub(super) fn records(results: &Path, name: &str) -> Result<Vec<Record>, Failure> {
    events(results, &find(results, name)?)
}
