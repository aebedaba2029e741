//! How long a run will still take, by what its phases took the last time.
//!
//! A lower bound made of two: the longest chain of what is left, and all that is left shared among the jobs. Resources
//! that phases exclude each other from are not looked at. A phase that never ran before counts nothing, and that is said.

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::event::{DecisionSource, Event, PhaseName, PhaseSummary};
use crate::report::file::durations::Took;

/// What is known of the time of a run.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    jobs: usize,
    at: HashMap<PhaseName, usize>,
    phases: Vec<Phase>,
    /// Positions of the phases, each after those it needs.
    order: Vec<usize>,
}

#[derive(Debug)]
struct Phase {
    needs: Vec<usize>,
    took: Option<Took>,
    /// How long it is thought to take, from its start to its end.
    seconds: Option<f64>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Waiting,
    /// Since that second of the run.
    Running(f64),
    Ended,
}

/// How long it will still take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Left {
    pub(super) seconds: f64,
    /// False when something of it never ran before.
    pub(super) whole: bool,
}

impl Estimate {
    /// What is known of a run of these phases before it begins.
    pub(super) fn new(phases: &[PhaseSummary], took: &IndexMap<String, Took>, jobs: usize) -> Self {
        let at: HashMap<PhaseName, usize> =
            phases.iter().enumerate().map(|(at, phase)| (phase.name.clone(), at)).collect();
        let phases: Vec<Phase> = phases
            .iter()
            .map(|phase| {
                let took = took.get(phase.name.as_str()).copied();
                let needs = phase.needs.iter().filter_map(|need| at.get(need).copied()).collect();
                Phase { needs, took, seconds: took.map(|took| took.last), state: State::Waiting }
            })
            .collect();
        let order = order(&phases);
        Self { jobs: jobs.max(1), at, phases, order }
    }

    /// Takes note of what happened `elapsed` seconds after the run began.
    pub(super) fn take(&mut self, event: &Event, elapsed: f64) {
        match event {
            Event::PhaseStarted { phase, attempt: 1 } => {
                self.set(phase, |phase| phase.state = State::Running(elapsed));
            }
            Event::Decided { phase, source, .. } => self.set(phase, |phase| {
                let cached = matches!(source, DecisionSource::Cache { .. });
                let took =
                    phase.took.and_then(|took| if cached { took.cached } else { took.measured });
                phase.seconds = took.or(phase.seconds);
            }),
            Event::PhaseEnded { phase, .. } => self.set(phase, |phase| phase.state = State::Ended),
            _ => {}
        }
    }

    fn set(&mut self, name: &PhaseName, set: impl FnOnce(&mut Phase)) {
        if let Some(phase) = self.at.get(name).and_then(|at| self.phases.get_mut(*at)) {
            set(phase);
        }
    }

    /// How long a phase is thought to take in all.
    pub(super) fn of(&self, name: &PhaseName) -> Option<f64> {
        self.phases.get(*self.at.get(name)?)?.seconds
    }

    /// How long the run will still take, `elapsed` seconds after it began; none when nothing is known of what is left.
    pub(super) fn left(&self, elapsed: f64) -> Option<Left> {
        let mut ends = vec![0.0; self.phases.len()];
        let (mut longest, mut work): (f64, f64) = (0.0, 0.0);
        let (mut known, mut unknown) = (0, 0);
        for at in &self.order {
            let phase = &self.phases[*at];
            let left = match (phase.state, phase.seconds) {
                (State::Ended, _) => Some(0.0),
                (State::Waiting, seconds) => seconds,
                (State::Running(since), seconds) => {
                    seconds.map(|seconds| (seconds - (elapsed - since)).max(0.0))
                }
            };
            if !matches!(phase.state, State::Ended) {
                if left.is_some() { known += 1 } else { unknown += 1 }
            }
            let left = left.unwrap_or(0.0);
            let ready = phase.needs.iter().map(|need| ends[*need]).fold(0.0, f64::max);
            ends[*at] = ready + left;
            longest = longest.max(ends[*at]);
            work += left;
        }
        let seconds = longest.max(work / self.jobs as f64);
        (known > 0).then_some(Left { seconds, whole: unknown == 0 })
    }
}

/// Positions of the phases, each after those it needs.
fn order(phases: &[Phase]) -> Vec<usize> {
    let mut dependents = vec![Vec::new(); phases.len()];
    let mut missing: Vec<usize> = phases.iter().map(|phase| phase.needs.len()).collect();
    for (at, phase) in phases.iter().enumerate() {
        phase.needs.iter().for_each(|need| dependents[*need].push(at));
    }
    let mut order: Vec<usize> = (0..phases.len()).filter(|at| missing[*at] == 0).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for dependent in &dependents[at] {
            missing[*dependent] -= 1;
            if missing[*dependent] == 0 {
                order.push(*dependent);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> PhaseName {
        name.parse().unwrap()
    }

    fn phase(of: &str, needs: &[&str]) -> PhaseSummary {
        PhaseSummary {
            name: name(of),
            uses: "command".to_owned(),
            needs: needs.iter().map(|need| name(need)).collect(),
            optional: false,
        }
    }

    fn took(last: f64) -> Took {
        Took { last, measured: Some(last), cached: Some(0.5) }
    }

    fn ended(of: &str) -> Event {
        let (phase, outcome) = (name(of), crate::event::Outcome::Success);
        let outputs = crate::event::Data::default();
        Event::PhaseEnded {
            phase,
            outcome,
            reason: None,
            seconds: 0.0,
            stages: crate::event::StageSeconds::default(),
            told: None,
            outputs,
        }
    }

    fn left(estimate: &Estimate, elapsed: f64) -> (f64, bool) {
        estimate.left(elapsed).map(|left| (left.seconds, left.whole)).unwrap()
    }

    #[test]
    fn what_is_left_is_the_longest_chain_or_the_work_shared_among_the_jobs() {
        // In the file, a phase may stand before what it needs.
        let phases = [phase("c", &["a"]), phase("a", &[]), phase("b", &[])];
        let known: IndexMap<String, Took> = [("a", 10.0), ("b", 30.0), ("c", 5.0)]
            .map(|(of, last)| (of.to_owned(), took(last)))
            .into();
        assert_eq!(left(&Estimate::new(&phases, &known, 4), 0.0), (30.0, true));
        let mut estimate = Estimate::new(&phases, &known, 1);
        assert_eq!(left(&estimate, 0.0), (45.0, true));
        estimate.take(&Event::PhaseStarted { phase: name("a"), attempt: 1 }, 2.0);
        assert_eq!(left(&estimate, 6.0), (41.0, true));
        assert_eq!(left(&estimate, 60.0), (35.0, true), "one that takes longer owes nothing");
        estimate.take(&ended("a"), 60.0);
        estimate.take(&ended("b"), 60.0);
        assert_eq!(left(&estimate, 60.0), (5.0, true));
    }

    #[test]
    fn a_phase_that_never_ran_makes_it_a_lower_bound() {
        let phases = [phase("a", &[]), phase("new", &["a"])];
        let known = IndexMap::from([("a".to_owned(), took(10.0))]);
        let mut estimate = Estimate::new(&phases, &known, 2);
        assert_eq!(left(&estimate, 0.0), (10.0, false));
        estimate.take(&ended("a"), 10.0);
        assert_eq!(estimate.left(10.0), None, "nothing is known of what is left");
    }

    #[test]
    fn a_decision_from_the_cache_shortens_what_is_left() {
        let known = IndexMap::from([("a".to_owned(), took(24.0))]);
        let mut estimate = Estimate::new(&[phase("a", &[])], &known, 2);
        estimate.take(&Event::PhaseStarted { phase: name("a"), attempt: 1 }, 0.0);
        let source = DecisionSource::Cache {
            key: "k".to_owned(),
            age_seconds: Some(1.0),
            measured_by: "r".to_owned(),
        };
        let (decision, told) = (crate::event::Data::default(), String::new());
        estimate.take(&Event::Decided { phase: name("a"), source, decision, told }, 0.1);
        assert_eq!(estimate.of(&name("a")), Some(0.5));
        assert!((left(&estimate, 0.1).0 - 0.4).abs() < 1e-9);
    }
}
