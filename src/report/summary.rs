//! What a person reads in ten seconds when a run has ended.

use std::fmt::Write as _;

use super::text::wrap;
use super::{PhaseReport, Report};
use crate::event::{ChangeResult, DecisionSource, Outcome};

/// The summary of a run as text of at most `width` columns where words allow it.
#[must_use]
pub fn summary(report: &Report, report_path: &str, width: usize) -> String {
    let mut text = String::new();
    let status = report.overall_status.map_or("CUT OFF", crate::event::OverallStatus::word);
    let _ = writeln!(
        text,
        "{status} in {:.1} s: {}, run {}",
        report.total_optimization_time, report.pipeline.name, report.run_id
    );
    if let Some(signal) = &report.signal {
        let _ = writeln!(text, "cancelled by {signal}; what the run had changed was taken back");
    }
    text.push('\n');
    let names = report.phases.keys().map(String::len).max().unwrap_or(0);
    for (name, phase) in &report.phases {
        let _ = match phase.status {
            Some(status) => {
                writeln!(text, "  {name:names$}  {status:<14} {:>7.1} s", phase.seconds)
            }
            None => writeln!(text, "  {name:names$}  CUT OFF"),
        };
        for told in told(phase) {
            for line in wrap(&told, width.saturating_sub(6)) {
                let _ = writeln!(text, "      {line}");
            }
        }
    }
    text.push('\n');
    let changes = kept(report);
    if changes > 0 {
        let noun = if changes == 1 { "setting" } else { "settings" };
        let _ = writeln!(
            text,
            "changed  {changes} {noun} of the host; undo: trueup rollback {}",
            report.run_id
        );
    } else {
        let _ = writeln!(text, "changed  nothing on the host that outlives the run");
    }
    let _ = writeln!(text, "report   {report_path}");
    text
}

/// Changes of the host that are still in place at the end of the run.
fn kept(report: &Report) -> usize {
    let all = report.phases.values().flat_map(|phase| &phase.changes);
    let is = |wanted: fn(&ChangeResult) -> bool| {
        all.clone().filter(|change| wanted(&change.result)).count()
    };
    let made = is(|result| matches!(result, ChangeResult::Applied | ChangeResult::Clamped { .. }));
    let taken_back = is(|result| matches!(result, ChangeResult::Reverted));
    if report.signal.is_some() { 0 } else { made.saturating_sub(taken_back) }
}

/// What is said of a phase: its decision with what its gate found, then its reason.
fn told(phase: &PhaseReport) -> Vec<String> {
    let cached = phase.cache.as_ref().is_some_and(|cache| cache.hit);
    let from = if cached { " (from the cache)" } else { "" };
    let gained = phase.gate.as_ref().filter(|_| phase.status == Some(Outcome::Success));
    let gained = gained.map_or_else(String::new, |gate| {
        let remembered = matches!(gate.source, DecisionSource::Cache { .. });
        let from = if remembered { " (from the cache)" } else { "" };
        format!(": {}, kept{from}", gate.gain())
    });
    let decided = phase.decided.as_ref().map(|decided| format!("{decided}{from}{gained}"));
    decided.into_iter().chain(phase.reason.clone()).collect()
}
