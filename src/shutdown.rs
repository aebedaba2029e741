//! The ladder of signals: cancel and take back; do not wait; leave at once.
//!
//! The first signal that would end the process cancels what runs and lets it take back what is half done. The second
//! also gives up waiting for services and databases. The third leaves at once. Who is told, and what
//! they do, is not known here: a stop is a token that is handed down, so a test can pull it too.
//!
//! A signal that was ignored when the process began stays ignored, as `nohup` means it; SIGINT and SIGTERM, which
//! shells have ignored for what they start in the background, are always heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

/// What would end the process, and is no fault of its own: each is a wish that it ends.
const STOPS: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

/// The signals that the process ignores, a bit each, the lowest for signal 1; none where the kernel does not tell.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

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

    /// Starts to listen for signals. `leave` ends the process at the third of them and is given its number.
    ///
    /// # Errors
    /// When the system refuses a signal handler.
    pub fn listen(leave: fn(i32) -> !) -> std::io::Result<Self> {
        let shutdown = Self::new();
        let ignored = ignored();
        let (sender, mut received) = unbounded_channel();
        for stop in STOPS {
            let always = matches!(stop, Signal::SIGINT | Signal::SIGTERM);
            if !always && ignored & (1 << (stop as i32 - 1)) != 0 {
                continue;
            }
            let mut heard = signal(SignalKind::from_raw(stop as i32))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while heard.recv().await.is_some() && sender.send(stop).is_ok() {}
            });
        }
        // Once it is heard, a file that may not grow any more is an error of the disk, as a full one is.
        drop(signal(SignalKind::from_raw(Signal::SIGXFSZ as i32))?);
        let told = shutdown.clone();
        tokio::spawn(async move {
            let mut rung = 0;
            while let Some(stop) = received.recv().await {
                match rung {
                    0 => told.pull(stop),
                    1 => told.abandon.cancel(),
                    _ => leave(stop as i32),
                }
                rung += 1;
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
