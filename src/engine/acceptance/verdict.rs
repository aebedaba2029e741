//! Under what the verdict of a gate is remembered, and what is remembered of it.
//!
//! A run asks before it measures, and a plan asks to foresee what the run will do: both put the same question, so they
//! can't get different answers. How a verdict is come to is not known here.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::objective;
use crate::cache::{CacheDirectory, CacheError, Lookup, Manifest, MissReason, Origin};
use crate::change::Change;
use crate::engine::stages::with_inputs;
use crate::event::{DecisionSource, GateReport};
use crate::host::Fact;
use crate::phase::{Context, PhaseError};
use crate::pipeline::{CachePolicy, Gate, GateObjective};
use crate::unit::Span;

/// The name under which verdicts are remembered.
pub const GATE: &str = "gate";

/// Raised when verdicts of an earlier version no longer hold.
const REVISION: u32 = 2;

/// What a gate has to answer: whether these changes help.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Question<'a> {
    pub(in crate::engine) gate: &'a Gate,
    /// How its answer is remembered: as the decision of its phase is.
    pub(in crate::engine) policy: &'a CachePolicy,
    pub(in crate::engine) changes: &'a [Change],
}

/// A verdict from the cache.
pub(in crate::engine) struct Remembered {
    /// As the run that measured it has told it.
    pub(in crate::engine) report: GateReport,
    pub(in crate::engine) key: String,
    pub(in crate::engine) age: Duration,
    /// The run that measured it.
    pub(in crate::engine) run: String,
}

impl Remembered {
    /// The verdict as one of a run that has remembered it.
    pub(in crate::engine) fn report(self) -> GateReport {
        let age_seconds = Some(self.age.as_secs_f64());
        let source = DecisionSource::Cache { key: self.key, age_seconds, measured_by: self.run };
        GateReport { source, ..self.report }
    }
}

impl Question<'_> {
    /// All that the answer depends on: what was asked, what is changed from what, where, what exactly is measured, and
    /// the files that the phase is declared to depend on.
    pub(in crate::engine) async fn manifest(&self, cx: &Context) -> Result<Manifest, PhaseError> {
        let gate = self.gate;
        let mut depends = cx.facts(&[
            Fact::CpuModel,
            Fact::CpuFlags,
            Fact::UsableCpus,
            Fact::Memory,
            Fact::Kernel,
        ]);
        depends.extend(objective::depends_on(&gate.objective, cx)?);
        let changes: Map<String, Value> = self
            .changes
            .iter()
            .map(|Change { target, from, to, .. }| {
                (target.name().into_owned(), json!({ "from": from, "to": to }))
            })
            .collect();
        let objective = match &gate.objective {
            GateObjective::Command { argv, .. } => json!({ "command": argv }),
            metric @ (GateObjective::ServiceThroughput | GateObjective::P99) => {
                json!(metric.to_string())
            }
        };
        let asked = json!({
            "objective": objective,
            "minimize": gate.objective.minimize(),
            "min_gain": gate.min_gain,
            "confidence": gate.confidence,
            "budget": Span(gate.budget),
        });
        let manifest = Manifest::new(GATE, REVISION)
            .on(self.policy.scope, cx.run.facts.identity())
            .with("gate", &asked)
            .with("changes", &Value::Object(changes))
            .with_dependencies(&depends);
        with_inputs(manifest, self.policy, cx).await
    }

    /// What is remembered, or why nothing is.
    pub(in crate::engine) fn recall(
        &self,
        cache: &CacheDirectory,
        manifest: &Manifest,
        cx: &Context,
    ) -> Result<Remembered, MissReason> {
        match cache.look_up(GATE, cx.phase.as_str(), manifest, self.policy.ttl) {
            Lookup::Miss(reason) => Err(reason),
            Lookup::Hit { entry, age } => {
                let key = entry.key.to_string();
                match serde_json::from_value(entry.decision) {
                    Ok(report) => Ok(Remembered { report, key, age, run: entry.run }),
                    Err(error) => Err(MissReason::Untrusted { path: key, flaw: error.to_string() }),
                }
            }
        }
    }

    /// Remembers a verdict and answers its key. One that can't be remembered is told of, and holds all the same.
    pub(in crate::engine) fn remember(
        &self,
        cache: &CacheDirectory,
        manifest: &Manifest,
        report: &GateReport,
        cx: &Context,
    ) -> Option<String> {
        let origin = Origin { kind: GATE, phase: cx.phase.as_str(), run: cx.run.run.as_str() };
        let written = serde_json::to_value(report)
            .map_err(CacheError::from)
            .and_then(|decision| cache.remember(manifest, origin, &decision, self.policy.ttl));
        match written {
            Ok(key) => Some(key.to_string()),
            Err(error) => {
                cx.note(format!("the verdict of its gate could not be remembered: {error}"));
                None
            }
        }
    }
}
