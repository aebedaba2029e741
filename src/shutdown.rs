//! The ladder of signals: cancel and take back; do not wait; leave at once.
//!
//! The first SIGINT or SIGTERM cancels what runs and lets it take back what is half done. The second
//! also gives up waiting for services and databases. The third leaves at once. Who is told, and what
//! they do, is not known here: a stop is a token that is handed down, so a test can pull it too.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The stop that a program was told to make, and by which signal.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled at the first signal: end the work, take back what is half done.
    pub cancel: CancellationToken,
    /// Cancelled at the second: do not wait for anybody either.
    pub abandon: CancellationToken,
    signal: Arc<AtomicI32>,
}

impl Shutdown {
    /// A stop that no signal makes; tests cancel the tokens themselves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts to listen for SIGINT and SIGTERM. `leave` ends the process at the third signal and is given its number.
    ///
    /// # Errors
    /// When the system refuses a signal handler.
    pub fn listen(leave: fn(i32) -> !) -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let told = shutdown.clone();
        tokio::spawn(async move {
            for rung in 0.. {
                let received = tokio::select! {
                    _ = interrupt.recv() => Signal::SIGINT,
                    _ = terminate.recv() => Signal::SIGTERM,
                };
                match rung {
                    0 => told.pull(received),
                    1 => told.abandon.cancel(),
                    _ => leave(received as i32),
                }
            }
        });
        Ok(shutdown)
    }

    /// Makes the first stop, as if `signal` had been received.
    pub fn pull(&self, signal: Signal) {
        self.signal.store(signal as i32, Ordering::Release);
        self.cancel.cancel();
    }

    /// The signal behind the stop, when there was one.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        Signal::try_from(self.signal.load(Ordering::Acquire)).ok()
    }
}
