//! The stretch of time that is measured, shared by clients, pacer and watcher without a lock.
//!
//! Instants are nanoseconds since the load began. A window is closed until it opens, and its end is known
//! as soon as it opens, so every client judges its requests by the same two numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock::Clock;

/// When the window opens and closes.
#[derive(Debug)]
pub(super) struct Window {
    clock: Clock,
    origin: Instant,
    opens: AtomicU64,
    closes: AtomicU64,
}

impl Window {
    pub(super) fn new(clock: Clock) -> Self {
        let origin = clock.instant();
        Self { clock, origin, opens: AtomicU64::new(u64::MAX), closes: AtomicU64::new(u64::MAX) }
    }

    /// Nanoseconds since the load began.
    pub(super) fn now(&self) -> u64 {
        self.clock.instant().saturating_duration_since(self.origin).as_nanos() as u64
    }

    /// Opens the window now; answers when that was.
    pub(super) fn open_for(&self, duration: Duration) -> u64 {
        let now = self.now();
        self.closes.store(now + duration.as_nanos() as u64, Ordering::Release);
        self.opens.store(now, Ordering::Release);
        now
    }

    /// Closes the window for good, so that clients and pacer leave.
    pub(super) fn abandon(&self) {
        self.closes.store(0, Ordering::Release);
    }

    /// When it opened; the end of time while it has not.
    pub(super) fn opens(&self) -> u64 {
        self.opens.load(Ordering::Acquire)
    }

    /// When it closes; the end of time while that is not known.
    pub(super) fn closes(&self) -> u64 {
        self.closes.load(Ordering::Acquire)
    }

    /// Whether an instant lies inside.
    pub(super) fn holds(&self, at: u64) -> bool {
        // `opens` is stored last, so a window seen open has its end.
        at >= self.opens() && at < self.closes()
    }
}

/// What one client has done since the load began; on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Progress {
    units: AtomicU64,
    calls: AtomicU64,
    micros: AtomicU64,
}

impl Progress {
    /// One writer only, the client itself, hence no read-modify-write.
    pub(super) fn add(&self, units: u64, latency_nanos: u64) {
        let bump = |counter: &AtomicU64, by: u64| {
            counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
        };
        bump(&self.units, units);
        bump(&self.calls, 1);
        bump(&self.micros, latency_nanos / 1000);
    }
}

/// The sum over all clients.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Total {
    pub(super) units: u64,
    pub(super) calls: u64,
    pub(super) micros: u64,
}

pub(super) fn total(progress: &[Arc<Progress>]) -> Total {
    progress.iter().fold(Total::default(), |sum, one| Total {
        units: sum.units + one.units.load(Ordering::Relaxed),
        calls: sum.calls + one.calls.load(Ordering::Relaxed),
        micros: sum.micros + one.micros.load(Ordering::Relaxed),
    })
}
