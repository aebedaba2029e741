//! What the load generator itself costs: CPU time of this process (getrusage) over the window.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::clock::Clock;

use super::report::Effort;

/// A measurement of effort under way.
#[derive(Debug)]
pub(super) struct EffortMeter {
    clock: Clock,
    began: Instant,
    cpu: Option<Duration>,
}

impl EffortMeter {
    pub(super) fn start(clock: &Clock) -> Self {
        Self { clock: clock.clone(), began: clock.instant(), cpu: process_cpu() }
    }

    pub(super) fn finish(self, usable_cpus: f64) -> Effort {
        let elapsed = (self.clock.instant() - self.began).as_secs_f64();
        let spent = match (self.cpu, process_cpu()) {
            (Some(before), Some(after)) => Some(after.saturating_sub(before).as_secs_f64()),
            _ => None,
        };
        let workers = tokio::runtime::Handle::current().metrics().num_workers() as f64;
        let capacity = workers.min(usable_cpus.max(1.0)) * elapsed;
        Effort {
            cpu_seconds: spent,
            share: spent.filter(|_| capacity > 0.0).map(|spent| spent / capacity),
            lateness_p99_ms: None,
        }
    }
}

/// User and system time of this process; nothing where the kernel does not tell.
fn process_cpu() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    u64::try_from(micros).ok().map(Duration::from_micros)
}
