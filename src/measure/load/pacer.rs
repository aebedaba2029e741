//! Keeps the rate of an open loop: a thread that releases each request at its intended start.
//!
//! A thread and not a task, because tokio's timer ticks in milliseconds while the kernel wakes a thread
//! after its timer slack of 50 us, and because a runtime that is busy with answers must not delay the questions. How
//! late the releases were is recorded: that part of the latency is the generator's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::measure::histogram::Latency;

use super::client::Tally;
use super::window::Window;

/// The pacer never sleeps shorter than this: at high rates it releases what has come due in bursts.
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
/// The pacer never sleeps longer than this, so that it notices the end of a window.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// The intended starts, handed out in order.
#[derive(Debug)]
pub(super) struct Pace {
    nanos_between: f64,
    due: Semaphore,
    taken: AtomicU64,
}

impl Pace {
    /// `rate` requests per second, the first at once.
    pub(super) fn new(rate: f64) -> Self {
        Self { nanos_between: 1e9 / rate, due: Semaphore::new(0), taken: AtomicU64::new(0) }
    }

    /// Waits until a request is due; answers its intended start. Nothing when no more will come.
    pub(super) async fn next(&self) -> Option<u64> {
        self.due.acquire().await.ok()?.forget();
        Some(self.intended(self.taken.fetch_add(1, Ordering::Relaxed)))
    }

    /// Returns a request that was taken and not begun.
    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    fn intended(&self, number: u64) -> u64 {
        (number as f64 * self.nanos_between) as u64
    }
}

/// How well the rate was kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pacing {
    /// Requests per second that were asked for.
    pub(super) rate: f64,
    /// The 0.99 quantile of how late requests were released, in milliseconds.
    pub(super) lateness_p99_ms: f64,
}

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Arc<Pace>,
    window: Arc<Window>,
    thread: Option<JoinHandle<Released>>,
}

impl Drop for Pacer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.window.abandon();
        }
    }
}

#[derive(Debug)]
struct Released {
    requests: u64,
    lateness: Latency,
}

impl Pacer {
    pub(super) fn start(pace: Arc<Pace>, window: Arc<Window>) -> std::io::Result<Self> {
        let shared = (pace.clone(), window.clone());
        let thread = std::thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || release(&shared.0, &shared.1))?;
        Ok(Self { pace, window, thread: Some(thread) })
    }

    /// The quality of the pacing; adds the requests whose turn never came to the tally, each with the wait
    /// that it had when the window closed.
    pub(super) fn finish(mut self, tally: &mut Tally) -> Pacing {
        let released = self
            .thread
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_else(|| Released { requests: 0, lateness: Latency::new() });
        let window = &self.window;
        let closes = window.closes();
        for number in self.pace.taken.load(Ordering::Relaxed)..released.requests {
            let intended = self.pace.intended(number);
            if window.holds(intended) {
                tally.unstarted += 1;
                tally.latency.record(Duration::from_nanos(closes - intended));
            }
        }
        Pacing {
            rate: 1e9 / self.pace.nanos_between,
            lateness_p99_ms: released.lateness.quantile_ms(0.99),
        }
    }
}

/// Releases requests until the window closes.
fn release(pace: &Pace, window: &Window) -> Released {
    let mut released = Released { requests: 0, lateness: Latency::new() };
    loop {
        let (now, closes) = (window.now(), window.closes());
        let until = now.min(closes.saturating_sub(1));
        let due = (until as f64 / pace.nanos_between) as u64 + 1;
        for number in released.requests..due {
            let intended = pace.intended(number);
            if window.holds(intended) {
                released.lateness.record(Duration::from_nanos(now.saturating_sub(intended)));
            }
        }
        if due > released.requests {
            pace.due.add_permits((due - released.requests) as usize);
            released.requests = due;
        }
        if now >= closes {
            pace.due.close();
            return released;
        }
        let wait = pace.intended(released.requests).saturating_sub(window.now());
        std::thread::sleep(Duration::from_nanos(wait).clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
    }
}
