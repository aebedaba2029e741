//! Runs a plan.
//!
//! [`run`] is the whole of it: lock, recover what an earlier run left half done, execute, stop services,
//! close the journal. Inside, the dispatcher orders everything and is synchronous: an input goes in,
//! events and actions come out, so it is tested without a runtime. The executor owns the tasks, and a unit
//! takes one phase through its four stages, at whose end `acceptance` is its gate. The engine knows no kind of
//! phase and no reader of events.
//!
//! ```text
//!                 begin, ended, signal, stop          start(phase), done
//!   executor  ------------------------------> dispatcher ----------> executor --> unit (per attempt)
//!      ^                                          |                                  |
//!      |                                          v records                          |
//!      +--------- measurements, trials, stages, outcome <----------------------------+
//! ```

mod acceptance;
mod dispatcher;
mod executor;
mod outlook;
mod outputs;
mod plan_file;
mod preview;
mod recorder;
mod recover;
mod resume;
mod run;
mod stages;
#[cfg(test)]
mod tests;
mod unit;

pub use acceptance::GATE;
pub use dispatcher::{Action, Dispatcher, End, Input};
pub use outlook::{Foreseen, ForeseenVerdict, Forethought, Preview};
pub use outputs::Outputs;
pub use plan_file::{
    Difference, PlanFile, PlanFileError, PlanOptions, PlannedPipeline, has_password,
    schema as plan_schema,
};
pub use preview::preview;
pub use recover::cut_off;
pub use resume::Earlier;
pub use run::{Hold, RunEnd, RunError, RunOptions, Wait, hold, run};
pub use stages::Memory;
