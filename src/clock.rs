//! Wall and monotonic time, injectable: the only place that asks the machine what time it is.
//!
//! Wall time is for people and for expiry; monotonic time is for durations. A test sets both by hand.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A source of time. Clones share the same source.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual { origin: Instant, state: Arc<Mutex<Manual>> },
}

#[derive(Debug)]
struct Manual {
    wall: Timestamp,
    elapsed: Duration,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is told to [`advance`](Self::advance).
    #[must_use]
    pub fn manual(wall: Timestamp) -> Self {
        let state = Arc::new(Mutex::new(Manual { wall, elapsed: Duration::ZERO }));
        Self(Source::Manual { origin: instant_now(), state })
    }

    /// Wall time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => timestamp_now(),
            Source::Manual { state, .. } => {
                state.lock().unwrap_or_else(PoisonError::into_inner).wall
            }
        }
    }

    /// Monotonic time now.
    #[must_use]
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Source::System => instant_now(),
            Source::Manual { origin, state } => {
                *origin + state.lock().unwrap_or_else(PoisonError::into_inner).elapsed
            }
        }
    }

    /// Moves a manual clock forward, both its times; the system's clocks do not take orders.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { state, .. } = &self.0 {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.elapsed += by;
            state.wall = state.wall.saturating_add(by).unwrap_or(Timestamp::MAX);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock is the one place that reads the machine's time"
)]
fn timestamp_now() -> Timestamp {
    Timestamp::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock is the one place that reads the machine's time"
)]
fn instant_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_both_its_times_and_only_when_told() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let start = clock.instant();
        clock.advance(Duration::from_secs(90));
        assert_eq!(clock.now().as_second(), 90);
        assert_eq!(clock.instant() - start, Duration::from_secs(90));
    }
}
