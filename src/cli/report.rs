//! `trueup report`.

use std::io::Write as _;
use std::path::Path;

use super::args::{REPORT_LIMIT, ReportArgs, ReportCommand};
use super::exit::{ExitCode, Failure};
use super::terminal;
use crate::diagnostic::Diagnostic;
use crate::disk;
use crate::event::{Outcome, OverallStatus, RunId, read_log};
use crate::report::{Report, file, fold, summary};

pub(super) fn report(options: &ReportArgs) -> Result<ExitCode, Failure> {
    let results = &options.state.results;
    let mut out = std::io::stdout().lock();
    match &options.command {
        ReportCommand::Show { run, json } => {
            let run = match run {
                Some(run) => run.clone(),
                None => last_run(results)?,
            };
            let report = load(results, &run)?;
            if *json {
                file::write_json(&report, &mut out)?;
            } else {
                let folder = results.join("runs").join(&run);
                // A run that was cut off has only its record.
                let path = [folder.join("report.json"), folder.join("events.jsonl")];
                let path = path.iter().find(|path| path.exists()).unwrap_or(&folder);
                out.write_all(
                    summary(&report, &path.display().to_string(), terminal::width()).as_bytes(),
                )?;
            }
        }
        ReportCommand::List => {
            for run in runs(results)?.iter().rev() {
                let report = load(results, run)?;
                let status = report.overall_status.map_or("CUT OFF", OverallStatus::word);
                let good = report
                    .phases
                    .values()
                    .filter(|phase| phase.status.is_some_and(Outcome::is_good))
                    .count();
                let (all, name) = (report.phases.len(), &report.pipeline.name);
                writeln!(
                    out,
                    "{run}  {status:<15} {:>7.1} s  {good}/{all} phases  {name}",
                    report.total_optimization_time
                )?;
            }
        }
        ReportCommand::Schema => {
            serde_json::to_writer_pretty(&mut out, &file::schema())?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::Success)
}

fn runs(results: &Path) -> Result<Vec<String>, Failure> {
    disk::list(&results.join("runs")).map_err(|error| Failure::because("report::runs", &error))
}

fn last_run(results: &Path) -> Result<String, Failure> {
    runs(results)?.pop().ok_or_else(|| {
        Diagnostic::error("report::none", format!("there is no run in {}", results.display()))
            .help("make one with `trueup run`, or name the folder with --results")
            .into()
    })
}

/// The report of a run, made again from its events: so one that was cut off has a report as well.
fn load(results: &Path, run: &str) -> Result<Report, Failure> {
    let id: RunId = run
        .parse()
        .map_err(|error| Failure::because("report::run", &error).exit(ExitCode::Invalid))?;
    let folder = results.join("runs").join(id.as_str());
    if let Ok(text) = disk::read_bounded(&folder.join("report.json"), REPORT_LIMIT.0)
        && let Ok(report) = serde_json::from_slice(&text)
    {
        return Ok(report);
    }
    let records = read_log(&folder.join("events.jsonl")).map_err(|error| {
        Failure::because("report::run", &error).help("`trueup report list` shows the runs")
    })?;
    Ok(fold(&records))
}
