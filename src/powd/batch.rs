//! Group commit: gathers checked requests into batches, and answers them once their batch is durable.
//!
//! A commit costs one fdatasync, whatever its size, so the requests that arrive while one batch is being written
//! make the next. A request is never split: the last one of a batch may carry it over its size. With SQLite one
//! batch is written at a time; with PostgreSQL as many as there are connections.
//!
//! Whoever waits is answered: with verdicts, or with [`Unrecorded`] when the ledger did not take the batch, never
//! with an acceptance that is not durable. Knows nothing of HTTP or of how proofs are checked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Mutex, OwnedSemaphorePermit, oneshot};
use tokio::task::JoinSet;

use super::ledger::Ledger;
use super::metrics::Metrics;
use super::proof::{Reason, Verdict, Verified};
use crate::clock::Clock;

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Proofs at which it is written at once.
    pub size: usize,
    /// How long it waits for more after its first; zero takes what is there. The runtime's timer counts whole
    /// milliseconds, so what lies between is rounded up.
    pub linger: Duration,
}

/// The ledger did not take the batch: none of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded;

/// The verdicts of a request in the order of its proofs, or why there are none.
pub type Answer = Result<Vec<Verdict>, Unrecorded>;

/// The right to an answer, and the room that the request takes up until it has it.
#[derive(Debug)]
pub struct Ticket {
    /// Whom to answer; they may have gone.
    pub answer: oneshot::Sender<Answer>,
    /// Room in the queue, one permit for each proof; given back by being dropped.
    pub room: OwnedSemaphorePermit,
}

impl Ticket {
    /// Gives the room back, and then the answer, so that whoever is answered finds room for the next.
    pub fn settle(self, answer: Answer) {
        drop(self.room);
        // A client that has gone does not hear it; what is recorded stays recorded.
        let _ = self.answer.send(answer);
    }
}

/// A request whose proofs have been checked.
#[derive(Debug)]
pub struct Checked {
    /// What the checks said, in the order of the proofs.
    pub outcomes: Vec<Result<Verified, Reason>>,
    /// Whom to answer.
    pub ticket: Ticket,
}

/// Where checked requests arrive; the channel's bound is the room that their tickets hold.
type Arrivals = Arc<Mutex<UnboundedReceiver<Checked>>>;

/// Writes batches until the senders are gone and all that they sent is answered.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Where to.
    pub ledger: Arc<Ledger>,
    /// When a batch is full.
    pub batching: Batching,
    /// Where commits are counted.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Clock,
}

impl Writer {
    /// Starts as many writers as the ledger can use.
    #[must_use]
    pub fn start(&self, arrivals: UnboundedReceiver<Checked>) -> JoinSet<()> {
        let arrivals = Arc::new(Mutex::new(arrivals));
        let mut writers = JoinSet::new();
        for _ in 0..self.ledger.writers() {
            writers.spawn(self.clone().write_all(arrivals.clone()));
        }
        writers
    }

    async fn write_all(self, arrivals: Arrivals) {
        while let Some(batch) = self.gather(&arrivals).await {
            self.write(batch).await;
        }
    }

    /// The next batch; none when there will be no more.
    async fn gather(&self, arrivals: &Arrivals) -> Option<Vec<Checked>> {
        let mut arrivals = arrivals.lock().await;
        let first = arrivals.recv().await?;
        let mut proofs = first.outcomes.len();
        let mut batch = vec![first];
        let mut take = |checked: Checked| {
            proofs += checked.outcomes.len();
            batch.push(checked);
            proofs < self.batching.size
        };
        let mut wants_more = self.batching.size > 1;
        while wants_more {
            match arrivals.try_recv() {
                Ok(checked) => wants_more = take(checked),
                Err(_) => break,
            }
        }
        if wants_more && !self.batching.linger.is_zero() {
            let linger = tokio::time::sleep(self.batching.linger);
            tokio::pin!(linger);
            while wants_more {
                tokio::select! {
                    biased;
                    next = arrivals.recv() => match next {
                        Some(checked) => wants_more = take(checked),
                        None => break,
                    },
                    () = &mut linger => break,
                }
            }
        }
        Some(batch)
    }

    async fn write(&self, batch: Vec<Checked>) {
        let verified: Vec<Verified> =
            batch.iter().flat_map(|checked| checked.outcomes.iter().flatten().copied()).collect();
        let started = self.clock.instant();
        match self.ledger.record(&verified, self.clock.now()).await {
            Ok(is_new) => {
                let took = self.clock.instant().saturating_duration_since(started);
                self.metrics.committed(verified.len(), took);
                let mut is_new = is_new.into_iter();
                for Checked { outcomes, ticket } in batch {
                    ticket.settle(Ok(outcomes
                        .into_iter()
                        .map(|outcome| verdict(outcome, &mut is_new))
                        .collect()));
                }
            }
            Err(error) => {
                self.metrics.commit_failed();
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, proofs = verified.len(), "a batch was not recorded");
                for Checked { ticket, .. } in batch {
                    ticket.settle(Err(Unrecorded));
                }
            }
        }
    }
}

/// The verdict on a proof, given what the ledger said of those that were right, in their order.
fn verdict(outcome: Result<Verified, Reason>, is_new: &mut impl Iterator<Item = bool>) -> Verdict {
    match outcome {
        Ok(Verified { id, .. }) if is_new.next() == Some(true) => Verdict::Accepted { id },
        Ok(_) => Verdict::Rejected { reason: Reason::Replayed },
        Err(reason) => Verdict::Rejected { reason },
    }
}
