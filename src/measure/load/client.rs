//! What one client does: call, count, and connect again after a failure.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::measure::histogram::Latency;

use super::pacer::Pace;
use super::window::{Progress, Window};
use super::{CallError, CallErrors, Client, Workload};

/// The pause before the second attempt to connect again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What was counted inside the window, by one client or by all.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) latency: Latency,
    pub(super) requests: u64,
    pub(super) units: u64,
    pub(super) errors: CallErrors,
    /// Requests whose turn never came in an open loop.
    pub(super) unstarted: u64,
}

impl Tally {
    pub(super) fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        self.requests += other.requests;
        self.units += other.units;
        self.errors.merge(&other.errors);
        self.unstarted += other.unstarted;
    }
}

pub(super) async fn connect<W: Workload>(
    workload: &W,
    index: usize,
    limit: Duration,
) -> Result<W::Client, CallError> {
    timeout(limit, workload.connect(index)).await.unwrap_or_else(|_| {
        Err(CallError::Failed(format!(
            "no connection within {}",
            humantime::format_duration(limit)
        )))
    })
}

/// One client's part of a load.
pub(super) struct ClientTask<W> {
    pub(super) workload: Arc<W>,
    pub(super) index: usize,
    pub(super) window: Arc<Window>,
    pub(super) progress: Arc<Progress>,
    pub(super) call_timeout: Duration,
}

impl<W: Workload> ClientTask<W> {
    /// Sends the next request when the last one is answered, until the window closes.
    pub(super) async fn run_closed(self, client: W::Client) -> Tally {
        let mut tally = Tally::default();
        let mut client = Some(client);
        loop {
            let begun = self.window.now();
            if begun >= self.window.closes() {
                return tally;
            }
            self.step(&mut client, begun, &mut tally).await;
            // A client that never has to wait would keep its worker from the others and the watcher.
            tokio::task::consume_budget().await;
        }
    }

    /// Sends a request whenever one is due and this client is free, until the window closes.
    pub(super) async fn run_open(self, client: W::Client, pace: Arc<Pace>) -> Tally {
        let mut tally = Tally::default();
        let mut client = Some(client);
        while let Some(intended) = pace.next().await {
            if self.window.now() >= self.window.closes() {
                pace.give_back();
                return tally;
            }
            self.step(&mut client, intended, &mut tally).await;
            tokio::task::consume_budget().await;
        }
        tally
    }

    /// One request that was to begin at `begun`.
    async fn step(&self, client: &mut Option<W::Client>, begun: u64, tally: &mut Tally) {
        let answer = match client {
            Some(connected) => self.call(connected).await,
            None => Err(CallError::Failed("not connected".to_owned())),
        };
        let ended = self.window.now();
        let inside = self.window.holds(begun);
        match answer {
            Ok(units) => {
                let nanos = ended.saturating_sub(begun);
                self.progress.add(units, nanos);
                if inside {
                    tally.requests += 1;
                    tally.latency.record(Duration::from_nanos(nanos));
                }
                if self.window.holds(ended) {
                    tally.units += units;
                }
            }
            Err(error) => {
                let failed = matches!(error, CallError::Failed(_));
                if inside {
                    tally.errors.count(error);
                }
                if failed {
                    *client = self.connect_again().await;
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn call(&self, client: &mut W::Client) -> Result<u64, CallError> {
        timeout(self.call_timeout, client.call()).await.unwrap_or_else(|_| {
            let limit = humantime::format_duration(self.call_timeout);
            Err(CallError::Failed(format!("no answer within {limit}")))
        })
    }

    /// A new client; nothing when the window closed before there was one.
    async fn connect_again(&self) -> Option<W::Client> {
        let mut pause = FIRST_PAUSE;
        while self.window.now() < self.window.closes() {
            match connect(self.workload.as_ref(), self.index, self.call_timeout).await {
                Ok(client) => return Some(client),
                Err(error) => {
                    tracing::debug!(client = self.index, %error, "could not connect again");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        None
    }
}
