//! The one stream of what happens in a run: owned, serializable, versioned.
//!
//! The engine writes it, and every view is a reader: progress bars, plain lines, the recorded
//! `events.jsonl`, the reports. Progress ticks are not events: a slow reader may miss a tick, never an
//! outcome. This module does not know who makes events or who reads them.

mod check;
mod data;
mod gate;
mod hide;
mod id;
mod log;
mod outcome;
mod record;
mod sink;

pub use check::{Check, CheckState};
pub use data::Data;
pub use gate::{GateEnd, GateReport};
pub use id::{NameError, PhaseName, RunId, is_matrix_value};
pub use log::{EventLog, LogError, read_log};
pub use outcome::{Outcome, OverallStatus, Stage, StageSeconds};
pub use record::{
    ChangeRecord, ChangeResult, DecisionSource, Event, PhaseSummary, PipelineSummary, Record,
    RecoveredRun, SCHEMA,
};
pub use sink::{EventSink, Fanout, Progress, ProgressBoard, SinkError};
