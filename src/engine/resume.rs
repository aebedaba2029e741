//! What an earlier run had brought to its end, for a run that goes on where it stopped.
//!
//! Made from the record of that run, and of those that it went on with itself. A decision holds again under the same key
//! for as long as one from the cache would. The end of a phase whose work outlasts the run holds when
//! - it was told the same, in the same folder, with the same program;
//! - nothing that it needs was done anew since: what it did was done with what was there before;
//! - nothing that always runs has cleaned up after it.
//!
//! Everything else is done again: services ended with the earlier run, and what it changed on the host may have been
//! taken back. Knows no kind of phase.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::event::{
    Data, DecisionSource, Event, Outcome, PhaseName, PhaseSummary, PipelineSummary, Record, RunId,
};
use crate::phase::Context;
use crate::plan::Plan;

/// An earlier run.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Which run.
    pub run: String,
    /// Its pipeline; nothing where no run is known.
    pub pipeline: Option<PipelineSummary>,
    /// The run that it went on with itself.
    pub resumes: Option<RunId>,
    decisions: BTreeMap<(PhaseName, String), Decided>,
    ends: BTreeMap<(PhaseName, String), Data>,
    /// Phases that were started, well or not.
    started: BTreeSet<PhaseName>,
    /// Those of them whose end was taken from a run before.
    taken: BTreeSet<PhaseName>,
    phases: Vec<PhaseSummary>,
}

/// A decision, and when it was measured.
#[derive(Debug)]
struct Decided {
    value: Data,
    at: Timestamp,
}

impl Earlier {
    /// What the records of a run tell.
    #[must_use]
    pub fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut earlier = Self::default();
        for record in records {
            match record.event {
                Event::RunStarted { run, pipeline, phases, resumes, .. } => {
                    run.as_str().clone_into(&mut earlier.run);
                    (earlier.pipeline, earlier.phases) = (Some(pipeline), phases);
                    earlier.resumes = resumes;
                }
                Event::PhaseStarted { phase, .. } => {
                    earlier.started.insert(phase);
                }
                Event::Decided { phase, source, decision, .. } => {
                    let (key, age) = match source {
                        DecisionSource::Run { key, .. } => (key, None),
                        DecisionSource::Cache { key, age_seconds, .. } => (Some(key), age_seconds),
                    };
                    let age = SignedDuration::try_from_secs_f64(age.unwrap_or(0.0));
                    let at = age.ok().and_then(|age| record.at.checked_sub(age).ok());
                    let decided = Decided { value: decision, at: at.unwrap_or(record.at) };
                    earlier.decisions.extend(key.map(|key| ((phase, key), decided)));
                }
                Event::PhaseEnded {
                    phase,
                    outcome: Outcome::Success,
                    outputs,
                    told,
                    reason,
                    ..
                } => {
                    // Of such a phase only one that was taken over has something to say beside its success.
                    if told.is_some() && reason.is_some() {
                        earlier.taken.insert(phase.clone());
                    }
                    earlier.ends.extend(told.map(|told| ((phase, told), outputs)));
                }
                _ => {}
            }
        }
        earlier
    }

    /// Takes over what the run before this one proves, as far as this one has not overtaken it.
    #[must_use]
    pub fn after(mut self, before: Self) -> Self {
        let anew: Vec<&PhaseName> = self.started.difference(&self.taken).collect();
        let mut overtaken: BTreeSet<PhaseName> = anew.into_iter().cloned().collect();
        // In the order of the file a phase may stand before what it needs.
        loop {
            let count = overtaken.len();
            for phase in &self.phases {
                if phase.needs.iter().any(|need| overtaken.contains(need)) {
                    overtaken.insert(phase.name.clone());
                }
            }
            if overtaken.len() == count {
                break;
            }
        }
        before.ends.into_iter().filter(|((phase, _), _)| !overtaken.contains(phase)).for_each(
            |(key, outputs)| {
                self.ends.entry(key).or_insert(outputs);
            },
        );
        for (key, decided) in before.decisions {
            self.decisions.entry(key).or_insert(decided);
        }
        self.started.extend(before.started);
        self.resumes = before.resumes;
        self
    }
}

/// What a run may take from an earlier one, and what it has done anew since.
#[derive(Debug)]
pub(super) struct Resumption {
    earlier: Earlier,
    /// By position: done anew, or below something that was.
    renewed: Vec<AtomicBool>,
    /// By position: something that always runs may have cleaned up after it.
    undone: Vec<bool>,
}

impl Resumption {
    pub(super) fn of(earlier: Earlier, plan: &Plan) -> Self {
        let count = plan.phases.len();
        let mut undone = vec![false; count];
        for always in (0..count).filter(|position| plan.spec(*position).always) {
            if earlier.started.contains(plan.name(always)) {
                undone[always] = true;
                for above in plan.upstream(always) {
                    undone[above] = true;
                }
            }
        }
        let renewed = std::iter::repeat_with(AtomicBool::default).take(count).collect();
        Self { earlier, renewed, undone }
    }

    /// The run that is gone on with.
    pub(super) fn run(&self) -> &str {
        &self.earlier.run
    }

    /// The decision of a phase under its key, with the key and its age, if that is not beyond `ttl`.
    pub(super) fn decision(
        &self,
        cx: &Context,
        key: impl FnOnce() -> String,
        ttl: Duration,
    ) -> Option<(String, &Data, Duration)> {
        if self.earlier.decisions.is_empty() {
            return None;
        }
        let named = (cx.phase.clone(), key());
        let decided = self.earlier.decisions.get(&named)?;
        // One from the future tells nothing of its age.
        let age = Duration::try_from(cx.run.clock.now().duration_since(decided.at)).ok()?;
        (age < ttl).then_some((named.1, &decided.value, age))
    }

    /// What a phase made visible whose work need not be done again; it is noted where it must.
    pub(super) fn end(&self, plan: &Plan, position: usize, told: Option<&str>) -> Option<&Data> {
        let needs = &plan.phases[position].needs;
        let below = needs.iter().any(|need| self.renewed[*need].load(Ordering::Acquire));
        let end = told.filter(|_| !below && !self.undone[position]).and_then(|told| {
            self.earlier.ends.get(&(plan.name(position).clone(), told.to_owned()))
        });
        let anew = below || (plan.outlasts(position) && end.is_none());
        self.renewed[position].store(anew, Ordering::Release);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(seq: u64, event: &serde_json::Value) -> Record {
        let mut line = json!({ "v": 1, "seq": seq, "elapsed": 0.0, "at": "2026-11-24T00:00:00Z" });
        line.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        serde_json::from_value(line).unwrap()
    }

    /// A run of `a`, `b` that needs it, and `c` that needs that; each is what it ended with, and whether it was taken over.
    fn run(name: &str, ends: &[(&str, bool)]) -> Earlier {
        let phase = |name: &str, needs: &[&str]| json!({ "name": name, "uses": "command", "needs": needs, "optional": false });
        let mut records = vec![record(
            0,
            &json!({
                "event": "run_started", "run": name, "version": "0.1.0", "host": {},
                "pipeline": { "name": "p", "file": "p.yaml", "digest": "d" },
                "phases": [phase("c", &["b"]), phase("b", &["a"]), phase("a", &[])],
            }),
        )];
        for (phase, taken) in ends {
            records.push(record(
                1,
                &json!({ "event": "phase_started", "phase": phase, "attempt": 1 }),
            ));
            let reason = taken.then_some("it ended well in run r");
            records.push(record(
                2,
                &json!({
                    "event": "phase_ended", "phase": phase, "outcome": "SUCCESS", "reason": reason, "seconds": 1.0,
                    "outputs": { "by": name }, "told": "t",
                }),
            ));
        }
        Earlier::of(records)
    }

    fn proves(earlier: &Earlier) -> Vec<(&str, &serde_json::Value)> {
        earlier.ends.iter().map(|((phase, _), outputs)| (phase.as_str(), &outputs["by"])).collect()
    }

    const ONE: &str = "20261124T000000Z-01";
    const TWO: &str = "20261124T000001Z-02";

    #[test]
    fn what_was_proved_before_holds_unless_something_above_it_was_done_anew() {
        let all = [("a", false), ("b", false), ("c", false)];
        let (one, two) = (json!(ONE), json!(TWO));
        // It was stopped before it came to `b`.
        let taken = run(TWO, &[("a", true)]).after(run(ONE, &all));
        assert_eq!(proves(&taken), [("a", &two), ("b", &one), ("c", &one)]);
        let anew = run(TWO, &[("a", false)]).after(run(ONE, &all));
        assert_eq!(proves(&anew), [("a", &two)]);
        let middle = run(TWO, &[("a", true), ("b", false)]).after(run(ONE, &all));
        assert_eq!(proves(&middle), [("a", &two), ("b", &two)]);
    }
}
