//! Which phases of a run are worth a line of their own. Of a hundred phases a person wants to see the few that failed,
//! were taken back, or found something out; the rest is a count.

use std::collections::BTreeMap;

use super::text::ordinal;
use super::{PhaseReport, Report};
use crate::event::Outcome;

/// Most phases that each get a line.
const MOST: usize = 20;

/// The phases of a run, divided.
pub(super) struct Triage<'a> {
    /// Worth a line, in the order of the pipeline.
    pub(super) listed: Vec<(&'a str, &'a PhaseReport)>,
    /// How many of the rest ended how.
    pub(super) rest: BTreeMap<&'static str, usize>,
}

impl<'a> Triage<'a> {
    /// Divides the phases of a run; those of a small one are all listed.
    pub(super) fn of(report: &'a Report) -> Self {
        let all = report.phases.iter().map(|(name, phase)| (name.as_str(), phase));
        if report.phases.len() <= MOST {
            return Self { listed: all.collect(), rest: BTreeMap::new() };
        }
        let mut ranked: Vec<(usize, (&str, &PhaseReport))> = all.enumerate().collect();
        ranked.retain(|(_, (_, phase))| weight(phase) > 0);
        ranked.sort_by_key(|(at, (_, phase))| (std::cmp::Reverse(weight(phase)), *at));
        ranked.truncate(MOST);
        ranked.sort_by_key(|(at, _)| *at);
        let mut rest: BTreeMap<&'static str, usize> = BTreeMap::new();
        for phase in report.phases.values() {
            *rest.entry(word(phase)).or_default() += 1;
        }
        for (_, (_, phase)) in &ranked {
            let word = word(phase);
            if let Some(count) = rest.get_mut(word) {
                *count -= 1;
            }
        }
        rest.retain(|_, count| *count > 0);
        Self { listed: ranked.into_iter().map(|(_, phase)| phase).collect(), rest }
    }

    /// How many phases are not listed and how they ended, such as `92 more: 90 SUCCESS, 2 BLOCKED`.
    pub(super) fn rest_in_words(&self) -> Option<String> {
        let count: usize = self.rest.values().sum();
        let each: Vec<String> =
            self.rest.iter().map(|(word, count)| format!("{count} {word}")).collect();
        (count > 0).then(|| format!("{count} more: {}", each.join(", ")))
    }
}

/// How a phase ended, in one word.
pub(super) fn word(phase: &PhaseReport) -> &'static str {
    phase.status.map_or("CUT OFF", Outcome::word)
}

/// At which attempt a phase ended, if not at the first.
pub(super) fn late(phase: &PhaseReport) -> Option<String> {
    (phase.attempts > 1).then(|| format!("({} attempt)", ordinal(phase.attempts)))
}

/// How much a person wants to see of a phase: 0 for not at all.
fn weight(phase: &PhaseReport) -> u8 {
    match phase.status {
        Some(Outcome::Failed | Outcome::TimedOut) => 5,
        None | Some(Outcome::Cancelled) if phase.attempts > 0 => 4,
        Some(Outcome::Reverted) => 3,
        Some(Outcome::Success) if !phase.changes.is_empty() => 2,
        Some(Outcome::Success)
            if phase.attempts > 1 || !phase.measurements.is_empty() || !phase.notes.is_empty() =>
        {
            1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(outcomes: &[(Outcome, usize)]) -> Report {
        let mut report = Report::default();
        for (outcome, count) in outcomes {
            for at in 0..*count {
                let phase =
                    PhaseReport { status: Some(*outcome), attempts: 1, ..PhaseReport::default() };
                report.phases.insert(format!("{outcome}{at}").parse().unwrap(), phase);
            }
        }
        report
    }

    #[test]
    fn of_a_small_run_every_phase_is_listed() {
        let report = run(&[(Outcome::Success, MOST)]);
        let triage = Triage::of(&report);
        assert_eq!((triage.listed.len(), triage.rest_in_words()), (MOST, None));
    }

    #[test]
    fn of_a_large_run_only_what_matters_is_listed_and_the_rest_is_counted() {
        let report = run(&[
            (Outcome::Success, 90),
            (Outcome::Reverted, 1),
            (Outcome::Failed, 2),
            (Outcome::Blocked, 7),
        ]);
        let triage = Triage::of(&report);
        let names: Vec<&str> = triage.listed.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["REVERTED0", "FAILED0", "FAILED1"]);
        assert_eq!(triage.rest_in_words().unwrap(), "97 more: 7 BLOCKED, 90 SUCCESS");
    }

    #[test]
    fn of_very_many_that_matter_the_worst_are_listed() {
        let report = run(&[(Outcome::Reverted, 50), (Outcome::Failed, 12)]);
        let triage = Triage::of(&report);
        assert_eq!(triage.listed.len(), MOST);
        assert_eq!(triage.rest_in_words().unwrap(), "42 more: 42 REVERTED");
    }
}
