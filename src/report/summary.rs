//! What a person reads in ten seconds when a run has ended.

use std::fmt::Write as _;

use super::text::wrap;
use super::triage::{Triage, late, word};
use super::{PhaseReport, Report};
use crate::event::{DecisionSource, Outcome};
use crate::shown;

/// Most lines of a phase that is one of many.
const LINES: usize = 4;

/// What has become of the changes of a run since it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// How many settings it had changed.
    pub settings: usize,
    /// What has become of them.
    pub told: String,
    /// Whether the run is still at work.
    pub at_work: bool,
}

/// The summary of a run as text of at most `width` columns where words allow it; nothing is known of what came `since`
/// when it has just ended.
#[must_use]
pub fn summary(report: &Report, report_path: &str, since: Option<&Since>, width: usize) -> String {
    let mut text = String::new();
    let seconds = report.total_optimization_time;
    let ended = match report.overall_status {
        Some(status) => format!("{} in {seconds:.1} s", status.word()),
        None if since.is_some_and(|since| since.at_work) => {
            format!("AT WORK, last recorded after {seconds:.1} s")
        }
        None => format!("CUT OFF, last recorded after {seconds:.1} s"),
    };
    let name = shown::in_line(&report.pipeline.name);
    let _ = writeln!(text, "{ended}: {name}, run {}", report.run_id);
    if let Some(signal) = &report.signal {
        let _ = writeln!(text, "cancelled by {signal}; what the run had changed was taken back");
    }
    text.push('\n');
    let triage = Triage::of(report);
    let rest = triage.rest_in_words();
    let most = if rest.is_some() { LINES } else { usize::MAX };
    let names = triage.listed.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, phase) in &triage.listed {
        let late = late(phase).map_or_else(String::new, |late| format!("  {late}"));
        let _ = match phase.status {
            Some(status) => {
                writeln!(text, "  {name:names$}  {status:<14} {:>7.1} s{late}", phase.seconds)
            }
            None if since.is_some_and(|since| since.at_work) => {
                writeln!(text, "  {name:names$}  AT WORK")
            }
            None => writeln!(text, "  {name:names$}  {}", word(phase)),
        };
        let lines = told(phase).into_iter().flat_map(|told| wrap(&told, width.saturating_sub(6)));
        let mut lines: Vec<String> = lines.collect();
        if lines.len() > most {
            lines.truncate(most - 1);
            lines.push("...".to_owned());
        }
        for line in lines {
            let _ = writeln!(text, "      {line}");
        }
    }
    if let Some(rest) = rest {
        let and = if triage.listed.is_empty() { "" } else { "and " };
        let _ = writeln!(text, "  {and}{rest}");
    }
    text.push('\n');
    let of_settings = |count: usize| {
        let noun = if count == 1 { "setting" } else { "settings" };
        format!("{count} {noun} of the host")
    };
    let changed = match (since, report.changes_kept()) {
        (Some(since), _) => format!("{}; {}", of_settings(since.settings), since.told),
        (None, 0) => "nothing on the host that outlives the run".to_owned(),
        (None, kept) => format!("{}; undo: trueup rollback {}", of_settings(kept), report.run_id),
    };
    for (at, line) in wrap(&changed, width.saturating_sub(9)).iter().enumerate() {
        let _ = writeln!(text, "{:<9}{line}", if at == 0 { "changed" } else { "" });
    }
    let _ = writeln!(text, "report   {}", shown::in_line(report_path));
    text
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChangeRecord, ChangeResult, Outcome, OverallStatus};

    fn ended(status: Outcome, decided: &str, reason: Option<&str>) -> PhaseReport {
        PhaseReport {
            status: Some(status),
            attempts: u32::from(status != Outcome::Blocked),
            seconds: 0.5,
            decided: Some(decided.to_owned()),
            reason: reason.map(str::to_owned),
            ..PhaseReport::default()
        }
    }

    #[test]
    fn of_a_hundred_phases_what_matters_is_read_in_ten_seconds() {
        let mut report =
            Report { overall_status: Some(OverallStatus::Failed), ..Report::default() };
        for at in 0..97 {
            let phase = ended(Outcome::Success, "runs /bin/true", None);
            report.phases.insert(format!("step_{at}").parse().unwrap(), phase);
        }
        let long = "it said a great deal before it ended, ".repeat(20);
        let phase = ended(Outcome::Failed, "runs /bin/false", Some(&long));
        report.phases.insert("broken".parse().unwrap(), phase);
        let late = PhaseReport { attempts: 3, ..ended(Outcome::Success, "runs /bin/flaky", None) };
        report.phases.insert("flaky".parse().unwrap(), late);
        let phase = ended(Outcome::Blocked, "", Some("broken did not end well"));
        report.phases.insert("after".parse().unwrap(), phase);
        let change = ChangeRecord {
            target: "/proc/sys/vm/swappiness".to_owned(),
            from: "60".to_owned(),
            to: "10".to_owned(),
            result: ChangeResult::Applied,
        };
        let back = ChangeRecord { result: ChangeResult::Reverted, ..change.clone() };
        let reason = "inconclusive: +0.4% (-1.2% to +2.0%, 8 pairs); taken back";
        let reverted = PhaseReport {
            changes: vec![change, back],
            ..ended(Outcome::Reverted, "swappiness=10", Some(reason))
        };
        report.phases.insert("memory".parse().unwrap(), reverted);
        let text = summary(&report, "results/runs/r/report.json", None, 80);
        insta::assert_snapshot!(
            text,
            @r##"
            FAILED in 0.0 s: , run 

              broken  FAILED             0.5 s
                  runs /bin/false
                  it said a great deal before it ended, it said a great deal before it
                  ended, it said a great deal before it ended, it said a great deal before
                  ...
              flaky   SUCCESS            0.5 s  (3rd attempt)
                  runs /bin/flaky
              memory  REVERTED           0.5 s
                  swappiness=10
                  inconclusive: +0.4% (-1.2% to +2.0%, 8 pairs); taken back
              and 98 more: 1 BLOCKED, 97 SUCCESS

            changed  nothing on the host that outlives the run
            report   results/runs/r/report.json
            "##
        );
    }
}
