//! The machine as data: what it is, what it is set to, how it fares now, and the processes run on it.
//!
//! Everything is read below a [`Sysroot`], so that all of it works on a tree copied from another machine,
//! and every figure names the file it came from. Nothing here writes a setting (that is `change`), and
//! nothing here knows of phases or pipelines. Missing files are normal: a machine without cpufreq is not
//! a broken machine.

pub mod attributes;
pub mod block_device;
pub mod catalog;
pub mod cgroup;
pub mod core_class;
pub mod cpu_cache;
pub mod cpu_list;
pub(crate) mod cpu_parts;
pub mod cpufreq;
pub mod cpuinfo;
pub mod cpus;
pub mod facts;
pub mod fingerprint;
pub mod inspection;
pub mod leash;
pub mod notify;
pub mod numa;
pub mod page_cache;
pub mod patience;
pub mod process;
pub mod reading;
pub mod relation;
pub mod sensor;
pub mod setting;
pub mod sysroot;
pub mod topology;
pub mod virtualization;

pub use facts::Facts;
pub use fingerprint::Fact;
pub use inspection::Inspection;
pub use sysroot::{ReadError, Sourced, Sysroot};

#[cfg(test)]
pub(crate) mod tree;
