//! Measuring: load made by real clients, warm-up dropped, fair comparison, scalability.
//!
//! [`load`] drives a workload and answers a [`load::LoadReport`]; [`warmup`] tells when a rate has settled;
//! [`histogram`] keeps latencies; [`compare`] judges two variants from interleaved pairs; [`scalability`]
//! fits the Universal Scalability Law and [`knee`] picks the size that suffices. All but `load` is pure.
//! Knows nothing of phases, of what is measured, or of what a finding is used for.

pub mod compare;
pub mod histogram;
pub mod knee;
pub mod load;
pub mod model;
pub mod scalability;
pub mod statistic;
pub mod warmup;
