//! What can happen in a run, as it is recorded: one JSON object a line in `events.jsonl`.
//!
//! ```text
//! {"v":1,"seq":0,"at":"2026-11-23T22:15:30.1Z","elapsed":0.0,"event":"run_started","run":"20261123T221530Z-7c41f2b9",..}
//! {"v":1,"seq":1,"at":"2026-11-23T22:15:30.1Z","elapsed":0.0002,"event":"phase_started","phase":"readiness","attempt":1}
//! ```
//! `elapsed` is seconds on the monotonic clock since the run began. A reader of version 1 ignores fields
//! it does not know.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Check, Data, GateReport, Outcome, OverallStatus, PhaseName, RunId, Stage, StageSeconds,
};
use crate::measure::model::Measurement;
use crate::tuner::trial::Trial;

/// Version of the records.
pub const SCHEMA: u32 = 1;

/// An event with its place in the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub v: u32,
    /// Counts from 0 without a gap.
    pub seq: u64,
    /// Wall time.
    pub at: Timestamp,
    /// Seconds since the run began, monotonic.
    pub elapsed: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// Which run.
        run: RunId,
        /// What is run.
        pipeline: PipelineSummary,
        /// The phases in the order of the file.
        phases: Vec<PhaseSummary>,
        /// Facts of the host.
        host: Value,
        /// Version of trueup.
        version: String,
        /// The earlier run that it goes on with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resumes: Option<RunId>,
    },
    /// An earlier run had been cut off; what it had changed was taken back.
    Recovered(RecoveredRun),
    /// A phase began, or began again.
    PhaseStarted {
        /// Which phase.
        phase: PhaseName,
        /// Counts from 1.
        attempt: u32,
    },
    /// A stage of a phase is at work, and has been for a moment: what is done at once is not told by itself.
    StageStarted {
        /// Which phase.
        phase: PhaseName,
        /// Which stage.
        stage: Stage,
    },
    /// A stage that was told to be at work ended, well or not.
    StageEnded {
        /// Which phase.
        phase: PhaseName,
        /// Which stage.
        stage: Stage,
        /// How long it took.
        seconds: f64,
    },
    /// What a phase found, if anything.
    Observed {
        /// Which phase.
        phase: PhaseName,
        /// Plain data with units.
        observation: Data,
    },
    /// What a phase concluded.
    Decided {
        /// Which phase.
        phase: PhaseName,
        /// Measured now, or remembered.
        source: DecisionSource,
        /// Plain data.
        decision: Data,
        /// The decision in a few words, with what it gained where that was measured.
        told: String,
    },
    /// A change of the host was tried or taken back.
    Changed {
        /// Which phase.
        phase: PhaseName,
        /// What, and what came of it.
        change: ChangeRecord,
    },
    /// Something was measured.
    Measured {
        /// Which phase.
        phase: PhaseName,
        /// With all its samples.
        measurement: Measurement,
    },
    /// A trial of a search ended.
    TrialEnded {
        /// Which phase.
        phase: PhaseName,
        /// What was tried and what came of it.
        trial: Trial,
    },
    /// Something was looked at in the verify stage.
    Checked {
        /// Which phase.
        phase: PhaseName,
        /// What was seen and what was wanted.
        check: Check,
    },
    /// What a phase has changed on the host was measured against the former state, now or by an earlier run.
    Gated {
        /// Which phase.
        phase: PhaseName,
        /// The pairs, and what they show.
        gate: Box<GateReport>,
    },
    /// Something a person should know.
    Noted {
        /// Which phase; none when it concerns the run.
        phase: Option<PhaseName>,
        /// One sentence.
        text: String,
    },
    /// A phase failed and is tried again.
    PhaseRetried {
        /// Which phase.
        phase: PhaseName,
        /// The attempt that failed.
        attempt: u32,
        /// Why it failed.
        reason: String,
        /// How long it waits first.
        wait_seconds: f64,
    },
    /// A phase ended.
    PhaseEnded {
        /// Which phase.
        phase: PhaseName,
        /// How.
        outcome: Outcome,
        /// Why, unless it simply succeeded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// From its first start.
        seconds: f64,
        /// Seconds by stage, of its last attempt.
        #[serde(default, skip_serializing_if = "StageSeconds::is_empty")]
        stages: StageSeconds,
        /// What the phases that need it can see of it.
        #[serde(default, skip_serializing_if = "is_null")]
        outputs: Data,
        /// Digest of all it was told, where its end outlasts the run: a run that is resumed need not repeat it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<String>,
    },
    /// The run ended.
    RunEnded {
        /// How.
        status: OverallStatus,
        /// From its start.
        seconds: f64,
        /// The signal that cancelled it, when one did.
        signal: Option<String>,
    },
}

fn is_null(data: &Data) -> bool {
    data.is_null()
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineSummary {
    /// Its name.
    pub name: String,
    /// The file it was read from.
    pub file: String,
    /// BLAKE3 of the file's text.
    pub digest: String,
}

/// A phase before it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// Its name.
    pub name: PhaseName,
    /// Its kind.
    pub uses: String,
    /// What must have ended first.
    pub needs: Vec<PhaseName>,
    /// True when it may end badly.
    pub optional: bool,
}

/// Where a decision came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum DecisionSource {
    /// Worked out or measured in this run.
    Run {
        /// Its key; none for a decision that costs nothing.
        key: Option<String>,
        /// Why the cache had no answer; none for a decision that costs nothing.
        miss: Option<String>,
    },
    /// Remembered from an earlier run.
    Cache {
        /// Its key.
        key: String,
        /// How old it is; none when it was taken over from the run that this one goes on with.
        age_seconds: Option<f64>,
        /// The run that measured it.
        measured_by: String,
    },
}

/// A change of the host and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeRecord {
    /// What is changed: the file of a setting.
    pub target: String,
    /// The value before.
    pub from: String,
    /// The value wanted.
    pub to: String,
    /// What came of it.
    #[serde(flatten)]
    pub result: ChangeResult,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ChangeResult {
    /// Written and read back as wanted.
    Applied,
    /// Written, but the kernel made something else of it.
    Clamped {
        /// What it reads now.
        got: String,
    },
    /// Not written.
    Refused {
        /// Why.
        reason: String,
    },
    /// Taken back.
    Reverted,
    /// Not taken back.
    Left {
        /// Why.
        reason: String,
    },
}

/// An earlier run that had been cut off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveredRun {
    /// Which run.
    pub cut_off: String,
    /// What was done about each of its changes, by target.
    pub changes: BTreeMap<String, String>,
}
