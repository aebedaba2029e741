//! Reversible writes to the host: nothing is changed that can't be taken back.
//!
//! A [`Change`] is one write, from a value to a value. The [`Applier`] of a run is the only way to make one: it
//! writes its intent into the [`journal`], durably, before it touches the host, reads back what the host made
//! of it, and takes it back when told to. Killed at any instant, [`rollback()`] restores the former state from
//! the journal. Which changes are wanted, and whether they help, is not known here.

pub mod aftermath;
pub mod apply;
pub mod at_boot;
mod chain;
mod config_file;
pub mod database_setting;
pub mod drift;
mod entry;
mod file_value;
mod host;
pub mod journal;
pub mod journals;
pub mod model;
mod process_attribute;
mod reboot;
pub mod rollback;
pub mod script;
mod setting_file;
mod take_back;
pub mod toggle;

pub use aftermath::{Aftermath, Fate, aftermath};
pub use apply::{Applied, Applier, ApplyResult, KeepError, Reverted};
pub use database_setting::DatabaseSetting;
pub use drift::{Standing, StandingChange, Verification, verify};
pub use entry::{Entry, State};
pub use host::{observe, obstacle};
pub use journal::JournalError;
pub use journals::{JournalState, JournalSummary, list, of_file};
pub use model::{Change, Target};
pub use rollback::{Options, RollbackError, RollbackReport, Scope, rollback};
pub use script::script;
pub use take_back::TakenBack;
pub use toggle::{Disturbed, Side, Toggle};

#[cfg(test)]
mod faults;
#[cfg(test)]
mod generations;
#[cfg(test)]
mod partly;
