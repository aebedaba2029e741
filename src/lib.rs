//! trueup brings a Linux host and the database-backed service on it to their tuned state, and proves it.
//!
//! A tour in the order in which data flows: a [`pipeline`] is read from YAML and bound to this host as a
//! [`plan`]; the [`engine`] runs the plan, each [`phase`] of it through the four stages observe, decide,
//! apply and verify; what a phase measured ([`measure`], [`tuner`]) is remembered by the [`cache`]; what it
//! writes to the [`host`] goes through the journal of [`change`]; all that happens is one stream of
//! [`event`]s, from which every [`report`] is made. [`powd`] is the service that ships with it.
//!
//! Who may import whom is a table in docs/design.md, held by `tests/architecture.rs`.

// Kinds of phases that tests share with the benches know this crate by its name.
#[cfg(test)]
extern crate self as trueup;

pub mod clock;
pub mod database;
pub mod diagnostic;
pub mod disk;
pub mod fault;
pub mod secret;
pub mod shown;
pub mod shutdown;
pub mod supervisor;
pub mod trust;
pub mod unit;

pub mod change;
pub mod host;
pub mod measure;
pub mod powd;
pub mod tuner;

pub mod event;
pub mod pipeline;

pub mod cache;
pub mod store;

pub mod phase;

pub mod engine;
pub mod plan;

pub mod cli;
pub mod report;
