//! The threads that check proofs, and the bounded queue in front of them.
//!
//! A request is one job, whatever number of proofs it holds. From its admission to its answer it takes up room
//! for each of its proofs, wherever it stands: in the queue, on a thread, or with the writers of [`batch`](super::batch). When
//! there is no room it is refused at once, so memory is bounded by one number. Knows nothing of HTTP.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::batch::{Answer, Checked, Ticket, Unrecorded, Writer};
use super::proof::{Proof, Verdict, verify};
use super::reason::Reason;
use super::rules::Rules;
use crate::clock::Clock;

/// A request on its way to be checked.
struct Job {
    proofs: Vec<Proof>,
    ticket: Ticket,
}

/// The jobs that wait; closed once no more will come.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job; gives it back when closed.
    fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.closed {
            return Err(job);
        }
        state.jobs.push_back(job);
        let somebody_sleeps = state.idle > 0;
        drop(state);
        if somebody_sleeps {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The next job, waited for; none when closed and empty.
    fn pop(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }
}

/// How much is checked at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Threads that check; at least one.
    pub threads: usize,
    /// Proofs that may be admitted and not answered yet.
    pub queue: usize,
}

/// Why a request was not answered by verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room for it; it was not looked at.
    Overloaded,
    /// The ledger did not take it, or the service stops; none of it counts.
    Unrecorded,
}

impl Refusal {
    /// The same as the reason for which each proof of the request is rejected.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Overloaded => Reason::Overloaded,
            Self::Unrecorded => Reason::LedgerUnavailable,
        }
    }
}

/// Admits requests. Clones share the same room.
#[derive(Clone)]
pub struct Intake {
    queue: Arc<Queue>,
    room: Arc<Semaphore>,
    capacity: Capacity,
}

impl Intake {
    /// Checks and records `proofs`, and answers a verdict for each in their order. When the returned future is dropped
    /// before its batch is being written, none of them is recorded.
    ///
    /// # Errors
    /// When there is no room for all of them, or the ledger did not take them; none is then accepted.
    pub async fn submit(&self, proofs: Vec<Proof>) -> Result<Vec<Verdict>, Refusal> {
        let wanted = u32::try_from(proofs.len()).map_err(|_| Refusal::Overloaded)?;
        let room =
            self.room.clone().try_acquire_many_owned(wanted).map_err(|_| Refusal::Overloaded)?;
        let (answer, answered) = oneshot::channel::<Answer>();
        let job = Job { proofs, ticket: Ticket { answer, room } };
        self.queue.push(job).map_err(|_| Refusal::Unrecorded)?;
        match answered.await {
            Ok(Ok(verdicts)) => Ok(verdicts),
            Ok(Err(Unrecorded)) | Err(_) => Err(Refusal::Unrecorded),
        }
    }

    /// Proofs admitted and not answered yet.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.capacity.queue.saturating_sub(self.room.available_permits())
    }

    /// How many of them there may be.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.capacity.queue
    }
}

/// The running threads and writers.
pub struct Workers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
    writers: JoinSet<()>,
}

impl Workers {
    /// Starts the threads, and the writers behind them.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(capacity: Capacity, rules: &Rules, writer: &Writer) -> io::Result<(Self, Intake)> {
        let queue = Arc::new(Queue::default());
        let (checked, arrivals) = unbounded_channel();
        let mut workers =
            Self { queue: queue.clone(), threads: Vec::new(), writers: writer.start(arrivals) };
        for number in 0..capacity.threads.max(1) {
            let (jobs, checked) = (queue.clone(), checked.clone());
            let (rules, clock) = (rules.clone(), writer.clock.clone());
            let thread = thread::Builder::new().name(format!("powd-verify-{number}"));
            match thread.spawn(move || check_all(&jobs, &rules, &clock, &checked)) {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => {
                    queue.close();
                    return Err(error);
                }
            }
        }
        let room = Arc::new(Semaphore::new(capacity.queue));
        Ok((workers, Intake { queue, room, capacity }))
    }

    /// Takes no more requests, and waits until all that were admitted are answered.
    pub async fn finish(mut self) {
        self.queue.close();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread that checks proofs had panicked");
                }
            }
        });
        if joined.await.is_err() {
            tracing::error!("could not wait for the threads that check proofs");
        }
        while let Some(ended) = self.writers.join_next().await {
            if ended.is_err() {
                tracing::error!("a writer of the ledger had panicked");
            }
        }
    }
}

/// What a thread does: checks job after job until there are no more.
fn check_all(jobs: &Queue, rules: &Rules, clock: &Clock, checked: &UnboundedSender<Checked>) {
    while let Some(Job { proofs, ticket }) = jobs.pop() {
        let now = clock.now();
        let outcomes: Vec<_> = proofs.iter().map(|proof| verify(proof, rules, now)).collect();
        if outcomes.iter().any(Result::is_ok) {
            if let Err(unsent) = checked.send(Checked { outcomes, ticket }) {
                unsent.0.ticket.settle(Err(Unrecorded));
            }
            continue;
        }
        let reasons = outcomes.into_iter().filter_map(Result::err);
        ticket.settle(Ok(reasons.map(|reason| Verdict::Rejected { reason }).collect()));
    }
}
