//! The report of a run: a fold over its events.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{
    ChangeRecord, ChangeResult, Check, Data, DecisionSource, Event, GateReport, Outcome,
    OverallStatus, PhaseName, PipelineSummary, Record, RecoveredRun, RunId, StageSeconds,
};
use crate::measure::model::Measurement;
use crate::tuner::trial::Trial;

/// The report of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// When the run began, in seconds since 1970 (UTC).
    pub optimization_timestamp: i64,
    /// How long it took, in seconds.
    pub total_optimization_time: f64,
    /// How it ended; none when it was cut off.
    pub overall_status: Option<OverallStatus>,
    /// The phases in the order of the pipeline.
    #[schemars(with = "BTreeMap<String, PhaseReport>")]
    pub phases: IndexMap<PhaseName, PhaseReport>,
    /// Version of this form: 1.
    pub schema: u32,
    /// Version of trueup.
    pub version: String,
    /// Which run.
    pub run_id: String,
    /// When it began.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// The signal that cancelled it, when one did.
    pub signal: Option<String>,
    /// What was run.
    pub pipeline: PipelineSummary,
    /// Facts of the host, each with the file it was read from.
    pub host: Value,
    /// Earlier runs that had been cut off and were taken back first.
    pub recovered: Vec<RecoveredRun>,
    /// What a person should know of the run as a whole.
    pub notes: Vec<String>,
}

/// The report of one phase. What is empty is left out when it is written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PhaseReport {
    /// How it ended; none when the run was cut off before.
    pub status: Option<Outcome>,
    /// Why, unless it simply succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its kind.
    pub uses: String,
    /// What must have ended first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub needs: Vec<PhaseName>,
    /// True when it may end badly.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// How often it was started.
    pub attempts: u32,
    /// From its first start to its end.
    pub seconds: f64,
    /// Seconds by stage, of the last attempt.
    #[serde(default, skip_serializing_if = "StageSeconds::is_empty")]
    pub stages: StageSeconds,
    /// Where its decision came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Box<CacheReport>>,
    /// What it found.
    #[serde(default, skip_serializing_if = "Data::says_nothing")]
    #[schemars(with = "Value")]
    pub observation: Data,
    /// What it concluded.
    #[serde(default, skip_serializing_if = "Data::says_nothing")]
    #[schemars(with = "Value")]
    pub decision: Data,
    /// The decision in a few words, with what it gained where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
    /// What the phases that need it can see of it.
    #[serde(default, skip_serializing_if = "Data::says_nothing")]
    #[schemars(with = "Value")]
    pub outputs: Data,
    /// What it changed on the host, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeRecord>,
    /// What it measured, with all samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// The trials of its search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<Trial>,
    /// What it looked at in the verify stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// What its gate measured of its changes; none where it has no gate, or changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Box<GateReport>>,
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Where a decision came from. What is not known is left out when it is written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CacheReport {
    /// True when it was remembered.
    pub hit: bool,
    /// Its key; none for a decision that costs nothing and is not remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How old it is, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// The run that measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_by: Option<String>,
    /// Why it was measured now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miss: Option<String>,
}

impl Default for Report {
    /// A report of a run of which nothing is known yet.
    fn default() -> Self {
        Self {
            optimization_timestamp: 0,
            total_optimization_time: 0.0,
            overall_status: None,
            phases: IndexMap::new(),
            schema: 1,
            version: String::new(),
            run_id: String::new(),
            started_at: Timestamp::UNIX_EPOCH,
            signal: None,
            pipeline: PipelineSummary {
                name: String::new(),
                file: String::new(),
                digest: String::new(),
            },
            host: Value::Null,
            recovered: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Report {
    /// How many changes of the host are still in place at the end of the run.
    #[must_use]
    pub fn changes_kept(&self) -> usize {
        let all = || self.phases.values().flat_map(|phase| &phase.changes);
        let is = |wanted: fn(&ChangeResult) -> bool| {
            all().filter(|change| wanted(&change.result)).count()
        };
        let made =
            is(|result| matches!(result, ChangeResult::Applied | ChangeResult::Clamped { .. }));
        let taken_back = is(|result| matches!(result, ChangeResult::Reverted));
        // A run that was told to stop takes back all of it when its phases have ended.
        if self.overall_status == Some(OverallStatus::Cancelled) {
            0
        } else {
            made.saturating_sub(taken_back)
        }
    }

    /// Takes one more event.
    pub fn take(&mut self, record: Record) {
        self.total_optimization_time = record.elapsed;
        match record.event {
            Event::RunStarted { run, pipeline, phases, host, version, .. } => {
                self.started_at = record.at;
                self.optimization_timestamp = record.at.as_second();
                self.run_id = RunId::to_string(&run);
                self.pipeline = pipeline;
                self.host = host;
                self.version = version;
                self.phases.reserve_exact(phases.len());
                for phase in phases {
                    let report = PhaseReport {
                        uses: phase.uses,
                        needs: phase.needs,
                        optional: phase.optional,
                        ..PhaseReport::default()
                    };
                    self.phases.insert(phase.name, report);
                }
            }
            Event::Recovered(recovered) => self.recovered.push(recovered),
            Event::Noted { phase: None, text } => self.notes.push(text),
            Event::RunEnded { status, seconds, signal } => {
                self.overall_status = Some(status);
                self.total_optimization_time = seconds;
                self.signal = signal;
            }
            of_phase => {
                if let Some(phase) =
                    phase_of(&of_phase).and_then(|name| self.phases.get_mut(name.as_str()))
                {
                    phase.take(of_phase);
                }
            }
        }
    }
}

/// The phase that an event belongs to.
fn phase_of(event: &Event) -> Option<&PhaseName> {
    match event {
        Event::RunStarted { .. } | Event::Recovered(_) | Event::RunEnded { .. } => None,
        Event::Noted { phase, .. } => phase.as_ref(),
        Event::PhaseStarted { phase, .. }
        | Event::StageStarted { phase, .. }
        | Event::StageEnded { phase, .. }
        | Event::Observed { phase, .. }
        | Event::Decided { phase, .. }
        | Event::Changed { phase, .. }
        | Event::Measured { phase, .. }
        | Event::TrialEnded { phase, .. }
        | Event::Checked { phase, .. }
        | Event::Gated { phase, .. }
        | Event::PhaseRetried { phase, .. }
        | Event::PhaseEnded { phase, .. } => Some(phase),
    }
}

impl PhaseReport {
    fn take(&mut self, event: Event) {
        match event {
            Event::PhaseStarted { attempt, .. } => {
                self.attempts = attempt;
                self.stages = StageSeconds::default();
                self.checks.clear();
                self.gate = None;
            }
            Event::StageEnded { stage, seconds, .. } => self.stages.set(stage, seconds),
            Event::Observed { observation, .. } => self.observation = observation,
            Event::Decided { source, decision, told, .. } => {
                self.cache = Some(Box::new(cache_report(source)));
                self.decision = decision;
                self.decided = Some(told);
            }
            Event::Changed { change, .. } => self.changes.push(change),
            Event::Measured { measurement, .. } => self.measurements.push(measurement),
            Event::TrialEnded { trial, .. } => self.trials.push(trial),
            Event::Checked { check, .. } => self.checks.push(check),
            Event::Gated { gate, .. } => self.gate = Some(gate),
            Event::Noted { text, .. } => self.notes.push(text),
            Event::PhaseRetried { attempt, reason, .. } => {
                self.notes.push(format!("attempt {attempt} failed: {reason}"));
            }
            Event::PhaseEnded { outcome, reason, seconds, stages, outputs, .. } => {
                // A run that was recorded by an earlier version told them one by one.
                if !stages.is_empty() {
                    self.stages = stages;
                }
                self.status = Some(outcome);
                self.reason = reason;
                self.seconds = seconds;
                self.outputs = outputs;
                self.give_back();
            }
            Event::StageStarted { .. }
            | Event::RunStarted { .. }
            | Event::Recovered(_)
            | Event::RunEnded { .. } => {}
        }
    }
}

impl PhaseReport {
    /// What has ended grows no more, and a long run has many phases.
    fn give_back(&mut self) {
        self.changes.shrink_to_fit();
        self.measurements.shrink_to_fit();
        self.trials.shrink_to_fit();
        self.checks.shrink_to_fit();
        self.notes.shrink_to_fit();
    }
}

fn cache_report(source: DecisionSource) -> CacheReport {
    match source {
        DecisionSource::Run { key, miss } => CacheReport { key, miss, ..CacheReport::default() },
        DecisionSource::Cache { key, age_seconds, measured_by } => CacheReport {
            hit: true,
            key: Some(key),
            age_seconds,
            measured_by: Some(measured_by),
            miss: None,
        },
    }
}

/// The report of the run whose events these are.
#[must_use]
pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Report {
    let mut report = Report::default();
    records.into_iter().for_each(|record| report.take(record.clone()));
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Stage;
    use proptest::prelude::*;
    use serde_json::json;

    /// A record of version 1 made of events as they stand in `events.jsonl`.
    fn records(events: &[Value]) -> Vec<Record> {
        events
            .iter()
            .enumerate()
            .map(|(seq, event)| {
                let mut line = json!({ "v": 1, "seq": seq, "elapsed": seq as f64 / 10.0 });
                line["at"] = "2026-11-23T22:15:30Z".into();
                let fields = event.as_object().unwrap().clone();
                line.as_object_mut().unwrap().extend(fields);
                serde_json::from_value(line).unwrap()
            })
            .collect()
    }

    fn started() -> Value {
        json!({
            "event": "run_started", "run": "20261123T221530Z-7c41f2b9", "version": "0.1.0", "host": {},
            "pipeline": { "name": "p", "file": "p.yaml", "digest": "d" },
            "phases": [
                { "name": "b", "uses": "command", "needs": ["a"], "optional": true },
                { "name": "a", "uses": "command", "needs": [], "optional": false },
            ],
        })
    }

    fn check(state: &str) -> Value {
        json!({ "event": "checked", "phase": "a", "check": serde_json::to_value(Check::matched(state, "1", "1")).unwrap() })
    }

    #[test]
    fn a_run_that_was_cut_off_has_a_report_without_a_status() {
        let report = fold(&records(&[
            started(),
            json!({ "event": "phase_started", "phase": "a", "attempt": 1 }),
        ]));
        assert_eq!(report.overall_status, None);
        assert_eq!(report.phases["a"].status, None);
        let names: Vec<&str> = report.phases.keys().map(PhaseName::as_str).collect();
        assert_eq!(names, ["b", "a"], "the order of the file");
        assert!((report.total_optimization_time - 0.1).abs() < 1e-9);
        assert_eq!(report.optimization_timestamp, 1_795_472_130);
    }

    #[test]
    fn what_was_looked_at_is_that_of_the_last_attempt_and_every_failure_is_noted() {
        let report = fold(&records(&[
            started(),
            json!({ "event": "phase_started", "phase": "a", "attempt": 1 }),
            json!({ "event": "stage_ended", "phase": "a", "stage": "decide", "seconds": 3.0 }),
            check("first"),
            json!({ "event": "phase_retried", "phase": "a", "attempt": 1, "reason": "cold", "wait_seconds": 1.0 }),
            json!({ "event": "phase_started", "phase": "a", "attempt": 2 }),
            json!({ "event": "stage_ended", "phase": "a", "stage": "observe", "seconds": 0.5 }),
            check("second"),
            json!({ "event": "phase_ended", "phase": "a", "outcome": "SUCCESS", "reason": null, "seconds": 5.0, "outputs": { "x": 1 } }),
            json!({ "event": "run_ended", "status": "SUCCESS", "seconds": 6.0, "signal": null }),
        ]));
        let phase = &report.phases["a"];
        assert_eq!(phase.attempts, 2);
        assert_eq!(phase.notes, ["attempt 1 failed: cold"]);
        let names: Vec<&str> = phase.checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, ["second"]);
        assert_eq!(phase.stages.get(Stage::Observe), Some(0.5));
        assert_eq!(phase.stages.get(Stage::Decide), None, "that was another attempt");
        assert_eq!(phase.outputs, json!({ "x": 1 }));
        assert_eq!(report.overall_status, Some(OverallStatus::Success));
        assert!((report.total_optimization_time - 6.0).abs() < 1e-9);
    }

    #[test]
    fn a_remembered_decision_names_its_age_and_the_run_that_measured_it() {
        let source = json!({ "from": "cache", "key": "k", "age_seconds": 7.0, "measured_by": "r" });
        let report = fold(&records(&[
            started(),
            json!({ "event": "decided", "phase": "a", "source": source, "decision": { "n": 3 }, "told": "n=3" }),
            json!({ "event": "noted", "phase": null, "text": "of the run" }),
            json!({ "event": "noted", "phase": "a", "text": "of the phase" }),
        ]));
        let cache = report.phases["a"].cache.as_ref().unwrap();
        assert!(cache.hit && cache.age_seconds == Some(7.0));
        assert_eq!((cache.measured_by.as_deref(), cache.miss.as_deref()), (Some("r"), None));
        assert_eq!(report.notes, ["of the run"]);
        assert_eq!(report.phases["a"].notes, ["of the phase"]);
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let report = fold(&records(&[started()]));
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        let phase = &serde_json::to_value(&report).unwrap()["phases"]["a"];
        let empty = json!({ "status": null, "uses": "command", "attempts": 0, "seconds": 0.0 });
        assert_eq!(*phase, empty, "what is empty is left out");
    }

    /// Any value that JSON has, of a few levels.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            proptest::num::f64::NORMAL.prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
            let fields = proptest::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect()));
            prop_oneof![list, fields]
        })
    }

    /// Any event of phase `a` but its start.
    fn event() -> impl Strategy<Value = Value> {
        let number = || proptest::num::f64::NORMAL;
        let samples = proptest::collection::vec(number(), 0..4);
        prop_oneof![
            (1..9_u32).prop_map(|attempt| json!({ "event": "phase_started", "phase": "a", "attempt": attempt })),
            number().prop_map(|seconds| json!({ "event": "stage_ended", "phase": "a", "stage": "decide", "seconds": seconds })),
            value().prop_map(|seen| json!({ "event": "observed", "phase": "a", "observation": seen })),
            (value(), number(), any::<String>()).prop_map(|(decision, age, told)| json!({
                "event": "decided", "phase": "a", "decision": decision, "told": told,
                "source": { "from": "cache", "key": "k", "age_seconds": age, "measured_by": "r" },
            })),
            (number(), samples, value()).prop_map(|(value, samples, detail)| json!({
                "event": "measured", "phase": "a",
                "measurement": { "name": "m", "value": value, "unit": "ms", "samples": samples, "detail": { "d": detail } },
            })),
            any::<String>().prop_map(|text| json!({ "event": "noted", "phase": "a", "text": text })),
            (number(), value(), any::<Option<String>>()).prop_map(|(seconds, outputs, reason)| json!({
                "event": "phase_ended", "phase": "a", "outcome": "FAILED", "reason": reason, "seconds": seconds, "outputs": outputs,
            })),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]
        #[test]
        fn the_record_as_it_is_read_back_makes_the_same_bytes(events in proptest::collection::vec(event(), 0..12)) {
            let told = records(&[vec![started()], events].concat());
            let lines: Vec<String> = told.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
            let read: Vec<Record> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            let bytes = |records: &[Record]| serde_json::to_string_pretty(&fold(records)).unwrap();
            prop_assert_eq!(bytes(&told), bytes(&read));
        }
    }

    #[test]
    fn a_phase_of_a_long_run_takes_little_memory() {
        let size = std::mem::size_of::<PhaseReport>();
        assert!(size <= 560, "{size} bytes before anything is said of it");
    }
}
