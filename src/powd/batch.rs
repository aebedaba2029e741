//! Group commit: gathers checked requests into batches, and answers them once their batch is durable.
//!
//! A commit costs one fdatasync, whatever its size, so the requests that arrive while one batch is being written
//! make the next. A request is never split: the last one of a batch may carry it over its size. With SQLite one
//! batch is written at a time; with PostgreSQL as many as there are connections.
//!
//! A request for which nobody waits any more when its batch is written is left out: its client has heard nothing and
//! may submit it again, and a stop does not wait for a database that hangs longer than its clients do.
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
use super::proof::{Verdict, Verified};
use super::reason::Reason;
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
        // A client that went while its batch was written does not hear it; what is recorded stays recorded.
        let _ = self.answer.send(answer);
    }
}

/// A request whose proofs have been checked, at least one of them with success.
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
        let mut wants_more = proofs < self.batching.size;
        let mut batch = vec![first];
        let mut take = |checked: Checked| {
            proofs += checked.outcomes.len();
            batch.push(checked);
            proofs < self.batching.size
        };
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

    async fn write(&self, mut batch: Vec<Checked>) {
        batch.retain(|checked| !checked.ticket.answer.is_closed());
        let verified: Vec<Verified> =
            batch.iter().flat_map(|checked| checked.outcomes.iter().flatten().copied()).collect();
        if verified.is_empty() {
            return;
        }
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::sync::Semaphore;
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;
    use crate::database::PoolSize;
    use crate::powd::ledger::TableName;
    use crate::powd::proof::{Format, ProofId};

    fn right(number: u8) -> Verified {
        Verified { id: ProofId([number; 32]), format: Format::Challenge }
    }

    struct Bench {
        writer: Writer,
        room: Arc<Semaphore>,
        _dir: tempfile::TempDir,
    }

    impl Bench {
        const ROOM: usize = 100;

        async fn new(batching: Batching) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let url =
                format!("sqlite://{}", dir.path().join("ledger.db").display()).parse().unwrap();
            let ledger =
                Ledger::open(&url, PoolSize::exactly(1), TableName::default()).await.unwrap();
            let clock = Clock::manual(Timestamp::UNIX_EPOCH);
            let writer =
                Writer { ledger: Arc::new(ledger), batching, metrics: Arc::default(), clock };
            Self { writer, room: Arc::new(Semaphore::new(Self::ROOM)), _dir: dir }
        }

        fn send(
            &self,
            to: &UnboundedSender<Checked>,
            outcomes: Vec<Result<Verified, Reason>>,
        ) -> oneshot::Receiver<Answer> {
            let (answer, answered) = oneshot::channel();
            let room = self.room.clone().try_acquire_many_owned(outcomes.len() as u32).unwrap();
            to.send(Checked { outcomes, ticket: Ticket { answer, room } }).unwrap();
            answered
        }

        /// The sizes of the batches made of what was sent, in proofs.
        async fn gathered(&self, arrivals: UnboundedReceiver<Checked>) -> Vec<usize> {
            let arrivals = Arc::new(Mutex::new(arrivals));
            let mut sizes = Vec::new();
            while let Some(batch) = self.writer.gather(&arrivals).await {
                sizes.push(batch.iter().map(|checked| checked.outcomes.len()).sum());
            }
            sizes
        }
    }

    #[tokio::test]
    async fn verdicts_come_in_the_order_of_the_proofs_and_the_room_is_given_back() {
        let bench = Bench::new(Batching { size: 64, linger: Duration::ZERO }).await;
        let (to, arrivals) = unbounded_channel();
        let first = bench.send(
            &to,
            vec![Ok(right(1)), Err(Reason::WorkInsufficient), Ok(right(1)), Ok(right(2))],
        );
        let second = bench.send(&to, vec![Ok(right(2)), Ok(right(3))]);
        drop(to);
        bench.writer.start(arrivals).join_all().await;
        let accepted = |number| Verdict::Accepted { id: ProofId([number; 32]) };
        let rejected = |reason| Verdict::Rejected { reason };
        assert_eq!(
            first.await.unwrap().unwrap(),
            [
                accepted(1),
                rejected(Reason::WorkInsufficient),
                rejected(Reason::Replayed),
                accepted(2)
            ]
        );
        assert_eq!(second.await.unwrap().unwrap(), [rejected(Reason::Replayed), accepted(3)]);
        assert_eq!(bench.room.available_permits(), Bench::ROOM);
    }

    #[tokio::test]
    async fn a_request_for_which_nobody_waits_any_more_is_not_recorded() {
        let bench = Bench::new(Batching { size: 64, linger: Duration::ZERO }).await;
        let (to, arrivals) = unbounded_channel();
        drop(bench.send(&to, vec![Ok(right(1))]));
        let waiting = bench.send(&to, vec![Ok(right(2))]);
        drop(to);
        bench.writer.start(arrivals).join_all().await;
        assert!(waiting.await.unwrap().is_ok());
        assert!(!bench.writer.ledger.contains(ProofId([1; 32])).await.unwrap());
        assert_eq!(bench.room.available_permits(), Bench::ROOM);
    }

    #[tokio::test]
    async fn a_batch_ends_at_its_size_and_a_request_is_never_split() {
        let bench = Bench::new(Batching { size: 4, linger: Duration::ZERO }).await;
        let (to, arrivals) = unbounded_channel();
        let waiting: Vec<_> =
            [1, 1, 5, 1, 3, 9, 2].map(|proofs| bench.send(&to, vec![Ok(right(1)); proofs])).into();
        drop(to);
        assert_eq!(bench.gathered(arrivals).await, [7, 4, 9, 2]);
        drop(waiting);
    }

    #[tokio::test]
    async fn a_lingering_batch_is_written_when_it_is_full_or_nothing_more_can_come() {
        let bench = Bench::new(Batching { size: 4, linger: Duration::from_mins(1) }).await;
        let (to, arrivals) = unbounded_channel();
        let sending = async {
            let mut waiting = Vec::new();
            for proofs in [1, 2, 1, 1, 1] {
                waiting.push(bench.send(&to, vec![Ok(right(1)); proofs]));
                tokio::task::yield_now().await;
            }
            drop(to);
            waiting
        };
        let (sizes, _waiting) = tokio::join!(bench.gathered(arrivals), sending);
        assert_eq!(sizes, [4, 2]);
    }

    #[tokio::test]
    async fn a_batch_that_stays_alone_is_written_after_its_linger() {
        let bench = Bench::new(Batching { size: 4, linger: Duration::from_millis(1) }).await;
        let (to, arrivals) = unbounded_channel();
        let _waiting = bench.send(&to, vec![Ok(right(1))]);
        let arrivals = Arc::new(Mutex::new(arrivals));
        let batch = bench.writer.gather(&arrivals).await;
        assert_eq!(batch.map(|batch| batch.len()), Some(1));
        assert!(!to.is_closed(), "more could have come");
    }
}
