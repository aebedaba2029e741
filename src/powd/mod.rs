//! The proof-of-work verification service: the honest workload that ships with trueup.
//!
//! A tour in the order in which data flows: a body is read into [`Proof`](proof::Proof)s by [`wire`], served by
//! [`server`], checked on the threads of [`worker`] by the pure function [`proof::verify`], and gathered by
//! [`batch`] into one transaction of the [`ledger`], which is the record that a proof counts only once. What
//! happened is counted in [`metrics`]; [`service::run`] puts it together from a [`config`] and takes it apart again.
//! [`client`] and [`mine`] make load for it.
//!
//! Each format has a file: [`bitcoin`] and [`litecoin`] (on [`header`] and [`sha256d`]), [`challenge`], [`hashcash`],
//! [`altcha`]. [`rules`] is what they are held to, [`reason`] why they are rejected. Without the service, [`mod@line`] reads
//! proofs as people have them at hand, [`chain`] follows a file of headers, and
//! [`speed`] measures how fast they are verified.
//!
//! Invariant: an answer `accepted` is given only after the proof's id is durable in the ledger, and for each id
//! at most once ever; whatever is in doubt is not accepted. Knows nothing of pipelines, phases or the host.

pub mod altcha;
pub mod batch;
pub mod bitcoin;
pub mod chain;
pub mod challenge;
pub mod client;
pub mod config;
pub mod fields;
pub mod hashcash;
pub mod header;
pub mod ledger;
pub mod line;
pub mod listener;
pub mod litecoin;
pub mod metrics;
pub mod mine;
pub mod proof;
pub mod reason;
pub mod rules;
pub mod server;
pub mod service;
pub mod sha256d;
pub mod speed;
pub mod wire;
pub mod worker;

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod tests;
