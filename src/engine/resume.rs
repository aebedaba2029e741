//! What an earlier run had brought to its end, for a run that goes on where it stopped.
//!
//! Made from the record of that run. A decision holds again under the same key, as one from the cache does; the end of
//! a phase whose work outlasts the run holds when it was told the same. Everything else is done again: services ended
//! with the earlier run, and what it changed on the host may have been taken back. Knows no kind of phase.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::event::{DecisionSource, Event, Outcome, PhaseName, PipelineSummary, Record};

/// An earlier run.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Which run.
    pub run: String,
    /// Its pipeline; nothing where no run is known.
    pub pipeline: Option<PipelineSummary>,
    decisions: BTreeMap<(PhaseName, String), Value>,
    ends: BTreeMap<(PhaseName, String), Value>,
}

impl Earlier {
    /// What the records of a run tell.
    #[must_use]
    pub fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut earlier = Self::default();
        for record in records {
            match record.event {
                Event::RunStarted { run, pipeline, .. } => {
                    run.as_str().clone_into(&mut earlier.run);
                    earlier.pipeline = Some(pipeline);
                }
                Event::Decided { phase, source, decision, .. } => {
                    let key = match source {
                        DecisionSource::Run { key, .. } => key,
                        DecisionSource::Cache { key, .. } => Some(key),
                    };
                    earlier.decisions.extend(key.map(|key| ((phase, key), decision)));
                }
                Event::PhaseEnded { phase, outcome: Outcome::Success, outputs, told, .. } => {
                    earlier.ends.extend(told.map(|told| ((phase, told), outputs)));
                }
                _ => {}
            }
        }
        earlier
    }

    /// The decision of a phase under a key.
    pub(super) fn decision(&self, phase: &PhaseName, key: &str) -> Option<&Value> {
        self.decisions.get(&(phase.clone(), key.to_owned()))
    }

    /// What a phase that was told the same and ended well made visible.
    pub(super) fn end(&self, phase: &PhaseName, told: &str) -> Option<&Value> {
        self.ends.get(&(phase.clone(), told.to_owned()))
    }
}
