//! Readers of the stream, each at its own pace.
//!
//! Every reader has a thread and a queue of its own: a slow terminal delays nobody, and one that fails
//! is told of at the end and starves no other. Progress is a board that readers look at when they like.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{PhaseName, Record};

/// Why a reader could not do its work.
#[derive(Debug, thiserror::Error)]
#[error("the {reader} reader of events failed")]
pub struct SinkError {
    /// Which reader.
    pub reader: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A reader of the stream.
pub trait EventSink: Send {
    /// What it is called in messages.
    fn name(&self) -> &'static str;

    /// Takes one record; they come in the order of their numbers.
    ///
    /// # Errors
    /// When it can't go on; it is given no further record.
    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// The same where no other reader has the record: one that keeps what is in it need not copy that.
    ///
    /// # Errors
    /// When it can't go on; it is given no further record.
    fn take(&mut self, record: Record) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.accept(&record)
    }

    /// All that has happened so far was taken: one that gathers what it writes does so now.
    ///
    /// # Errors
    /// When it can't go on; it is given no further record.
    fn pause(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// A reader at work: its queue and its thread.
#[derive(Debug)]
struct Reader {
    queue: Sender<Arc<Vec<Record>>>,
    thread: JoinHandle<Result<(), SinkError>>,
}

/// Hands every record to every reader.
#[derive(Debug, Default)]
pub struct Fanout(Vec<Reader>);

impl Fanout {
    /// Starts a thread for each reader.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(readers: Vec<Box<dyn EventSink>>) -> std::io::Result<Self> {
        let mut started = Vec::with_capacity(readers.len());
        for mut reader in readers {
            let (queue, batches) = channel::<Arc<Vec<Record>>>();
            let name = reader.name();
            let mut read_all = move || {
                while let Ok(mut batch) = batches.recv() {
                    loop {
                        match Arc::try_unwrap(batch) {
                            Ok(own) => own.into_iter().try_for_each(|one| reader.take(one))?,
                            Err(shared) => shared.iter().try_for_each(|one| reader.accept(one))?,
                        }
                        let Ok(next) = batches.try_recv() else { break };
                        batch = next;
                    }
                    reader.pause()?;
                }
                Ok(())
            };
            let read = move || read_all().map_err(|source| SinkError { reader: name, source });
            let thread = std::thread::Builder::new().name(format!("events-{name}")).spawn(read)?;
            started.push(Reader { queue, thread });
        }
        Ok(Self(started))
    }

    /// Hands on records in their order; a reader that has failed is passed over.
    pub fn send(&self, records: Vec<Record>) {
        let Some((last, others)) = self.0.split_last() else { return };
        let batch = Arc::new(records);
        for reader in others {
            let _ = reader.queue.send(Arc::clone(&batch));
        }
        let _ = last.queue.send(batch);
    }

    /// Waits until every reader has read all, and answers those that failed.
    #[must_use]
    pub fn finish(self) -> Vec<SinkError> {
        // All queues are closed before any thread is waited for.
        let threads: Vec<_> = self.0.into_iter().map(|reader| reader.thread).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap_or(Ok(())).err()).collect()
    }
}

/// How far a phase is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
    /// What it is at, in a few words.
    pub note: String,
}

/// The latest progress of each phase. Clones share the board.
#[derive(Debug, Clone, Default)]
pub struct ProgressBoard(Arc<Mutex<BTreeMap<PhaseName, Progress>>>);

impl ProgressBoard {
    /// Replaces what is known of a phase.
    pub fn post(&self, phase: &PhaseName, progress: Progress) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(phase.clone(), progress);
    }

    /// What was last posted of a phase.
    #[must_use]
    pub fn of(&self, phase: &PhaseName) -> Option<Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(phase).cloned()
    }
}
