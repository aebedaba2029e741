//! The load generator: real clients against the real thing, in a closed or in an open loop.
//!
//! A *closed* loop of N clients sends the next request when the last one is answered: it finds capacity,
//! and its latency says little, because a target that stalls is then asked less (coordinated omission:
//! Tene, "How NOT to measure latency"). An *open* loop sends at a fixed rate, come what may; latency counts
//! from the *intended* start, so the wait behind a stall is part of it, and requests whose turn never came
//! are counted with the wait that they had until then.
//!
//! What a window covers: units of work count when they are done inside it, latency when the request
//! began inside it, so a request that outlives the window is still seen. Every call has a time-out. Before
//! the window comes warm-up, which ends when the rate (closed) or the mean latency (open) has settled by
//! [`super::warmup`], within bounds; nothing of it is recorded.
//!
//! Does not know what a target is: that is behind [`Workload`] and [`Client`]. Uses the tokio runtime of
//! its caller and the injected clock; sleeps by tokio's timer.

mod client;
mod effort;
mod pacer;
mod report;
mod window;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use super::warmup::{Settling, settling};
use client::{ClientTask, Tally};
use effort::EffortMeter;
use pacer::{Pace, Pacer};
use window::{Progress, Window};

pub use report::{
    CallErrors, Effort, GeneratorLimit, Limit, LoadReport, LoadWarning, Mode, WarmupEnd,
};

/// The length of one entry of a rate series.
pub const SLICE: Duration = Duration::from_millis(100);

/// Something that can be asked to do work.
pub trait Workload: Send + Sync + 'static {
    /// One user of it.
    type Client: Client;

    /// Makes the client of the given number (from 0); called again for a client whose request failed.
    fn connect(
        &self,
        client: usize,
    ) -> impl Future<Output = Result<Self::Client, CallError>> + Send;
}

/// One user of a workload, with a connection of its own where there is such a thing.
pub trait Client: Send + 'static {
    /// Makes one request and answers how many units of work it completed: each proof of a batch counts.
    fn call(&mut self) -> impl Future<Output = Result<u64, CallError>> + Send;
}

/// A request that was not answered as wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The target said no: busy, over its limit (429).
    #[error("refused: {0}")]
    Refused(String),
    /// It went wrong.
    #[error("failed: {0}")]
    Failed(String),
}

/// Load that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A client could not be made at the start.
    #[error("could not connect client {client} of {clients}")]
    Connect {
        /// Its number, from 1.
        client: usize,
        /// How many there should have been.
        clients: usize,
        /// What the target said.
        #[source]
        source: CallError,
    },
    /// The load was cancelled before its window was over.
    #[error("could not finish the load: it was cancelled")]
    Cancelled,
    /// The load as described makes no sense.
    #[error("could not make load with {what}: give {remedy}")]
    Senseless {
        /// What is wrong.
        what: &'static str,
        /// What would be right.
        remedy: &'static str,
    },
    /// The thread that keeps the rate could not be started.
    #[error("could not start the thread that keeps the rate")]
    Pacer(#[source] std::io::Error),
    /// A client's task ended by a panic.
    #[error("could not finish the load: a client panicked")]
    Client(#[source] tokio::task::JoinError),
}

/// How long to warm up. With equal bounds the time is fixed and nothing is detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warmup {
    /// At least this long.
    pub min: Duration,
    /// At most this long; the report then says that the rate had not settled.
    pub max: Duration,
}

impl Warmup {
    /// No warm-up: for a target that is known to be warm.
    pub const NONE: Self = Self { min: Duration::ZERO, max: Duration::ZERO };
}

impl Default for Warmup {
    fn default() -> Self {
        Self { min: Duration::from_millis(500), max: Duration::from_secs(10) }
    }
}

/// Where the target runs, seen from the generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In another process: CPU time of this process is the generator's own.
    OtherProcess,
    /// In this process: its CPU time is mostly the target's, and tells nothing of the generator.
    ThisProcess,
}

/// What every load has in common.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How many clients, at least one.
    pub clients: usize,
    /// How long to warm up.
    pub warmup: Warmup,
    /// The length of the window that is measured.
    pub duration: Duration,
    /// The longest that one call, or one connect, may take.
    pub call_timeout: Duration,
    /// Where the target runs.
    pub place: Place,
    /// CPUs that this process may use, at least one.
    pub usable_cpus: f64,
    /// The source of time.
    pub clock: Clock,
    /// Ends the load early, with [`LoadError::Cancelled`].
    pub cancel: CancellationToken,
}

/// Load by clients that each wait for their answer.
#[derive(Debug, Clone)]
pub struct ClosedLoop {
    /// What every load has in common.
    pub setting: Setting,
}

/// Load at a fixed rate.
#[derive(Debug, Clone)]
pub struct OpenLoop {
    /// What every load has in common; the clients are the most requests that can be under way at once.
    pub setting: Setting,
    /// Requests per second, evenly spaced.
    pub rate: f64,
}

/// Makes load in a closed loop: the capacity of the target with this many clients.
///
/// # Errors
/// When a client can't connect at the start, the load is cancelled, or its description makes no sense.
pub async fn closed<W: Workload>(
    workload: Arc<W>,
    spec: ClosedLoop,
) -> Result<LoadReport, LoadError> {
    run(workload, spec.setting, None).await
}

/// Makes load in an open loop: the latency of the target at this rate.
///
/// # Errors
/// When a client can't connect at the start, the load is cancelled, or its description makes no sense.
pub async fn open<W: Workload>(workload: Arc<W>, spec: OpenLoop) -> Result<LoadReport, LoadError> {
    if !(spec.rate.is_finite() && spec.rate > 0.0) {
        return Err(LoadError::Senseless {
            what: "a rate that is not positive",
            remedy: "requests per second, such as 100",
        });
    }
    run(workload, spec.setting, Some(spec.rate)).await
}

async fn run<W: Workload>(
    workload: Arc<W>,
    setting: Setting,
    rate: Option<f64>,
) -> Result<LoadReport, LoadError> {
    check(&setting)?;
    let connected = connect_all(&workload, &setting).await?;
    let window = Arc::new(Window::new(setting.clock.clone()));
    let pace = rate.map(|rate| Arc::new(Pace::new(rate)));
    let progress: Vec<Arc<Progress>> =
        (0..setting.clients).map(|_| Arc::new(Progress::default())).collect();
    let mut tasks = JoinSet::new();
    for (index, client) in connected.into_iter().enumerate() {
        let task = ClientTask {
            workload: workload.clone(),
            index,
            window: window.clone(),
            progress: progress[index].clone(),
            call_timeout: setting.call_timeout,
        };
        match &pace {
            None => tasks.spawn(task.run_closed(client)),
            Some(pace) => tasks.spawn(task.run_open(client, pace.clone())),
        };
    }
    let pacer = match &pace {
        Some(pace) => Some(Pacer::start(pace.clone(), window.clone()).map_err(LoadError::Pacer)?),
        None => None,
    };
    let measured = tokio::select! {
        measured = watch(&setting, &window, &progress, pace.is_some()) => measured,
        () = setting.cancel.cancelled() => {
            window.abandon();
            tasks.shutdown().await;
            return Err(LoadError::Cancelled);
        }
    };
    let mut tally = Tally::default();
    loop {
        let joined = tokio::select! {
            joined = tasks.join_next() => joined,
            () = setting.cancel.cancelled() => {
                tasks.shutdown().await;
                return Err(LoadError::Cancelled);
            }
        };
        match joined {
            Some(one) => tally.merge(&one.map_err(LoadError::Client)?),
            None => break,
        }
    }
    let pacing = pacer.map(|pacer| pacer.finish(&mut tally));
    Ok(report::make(&setting, measured, tally, pacing))
}

fn check(setting: &Setting) -> Result<(), LoadError> {
    let senseless = |what, remedy| Err(LoadError::Senseless { what, remedy });
    if setting.clients == 0 {
        return senseless("no clients", "at least one");
    }
    if setting.duration < SLICE {
        return senseless("a window shorter than 100ms", "at least 100ms, better seconds");
    }
    if setting.warmup.min > setting.warmup.max {
        return senseless("a warm-up whose least is above its most", "min <= max");
    }
    if setting.call_timeout.is_zero() {
        return senseless("a call time-out of zero", "how long one request may take");
    }
    Ok(())
}

async fn connect_all<W: Workload>(
    workload: &Arc<W>,
    setting: &Setting,
) -> Result<Vec<W::Client>, LoadError> {
    let mut clients = Vec::with_capacity(setting.clients);
    for client in 0..setting.clients {
        let connecting = client::connect(workload.as_ref(), client, setting.call_timeout);
        let connected = tokio::select! {
            connected = connecting => connected,
            () = setting.cancel.cancelled() => return Err(LoadError::Cancelled),
        };
        clients.push(connected.map_err(|source| LoadError::Connect {
            client: client + 1,
            clients: setting.clients,
            source,
        })?);
    }
    Ok(clients)
}

/// What was seen of a load from outside its clients.
struct Watched {
    warmup: Duration,
    warmup_end: WarmupEnd,
    rates: Vec<f64>,
    effort: Effort,
    mode: Mode,
}

/// Waits for the warm-up to settle, opens the window, and watches it until it closes.
async fn watch(
    setting: &Setting,
    window: &Window,
    progress: &[Arc<Progress>],
    open: bool,
) -> Watched {
    let started = window.now();
    let mut slices = Slices::new(window, progress);
    let mut series = Vec::new();
    let mut warmup_end = WarmupEnd::Settled;
    loop {
        let elapsed = Duration::from_nanos(window.now() - started);
        if elapsed >= setting.warmup.max {
            if setting.warmup.min < setting.warmup.max {
                warmup_end = WarmupEnd::NotSettled;
            }
            break;
        }
        if elapsed >= setting.warmup.min && matches!(settling(&series), Settling::After(_)) {
            break;
        }
        sleep(SLICE.min(setting.warmup.max.saturating_sub(elapsed))).await;
        if let Some(slice) = slices.next() {
            series.push(if open { slice.mean_micros } else { slice.rate });
        }
    }
    let meter = EffortMeter::start(&setting.clock);
    let opened = window.open_for(setting.duration);
    let mut rates = Vec::new();
    let mut slices = Slices::new(window, progress);
    let closing = opened + setting.duration.as_nanos() as u64;
    let whole = (setting.duration.as_nanos() / SLICE.as_nanos()) as u32;
    for slice in 1..=whole {
        let due = opened + (SLICE * slice).as_nanos() as u64;
        sleep(Duration::from_nanos(due.saturating_sub(window.now()))).await;
        if let Some(slice) = slices.next() {
            rates.push(slice.rate);
        }
    }
    sleep(Duration::from_nanos(closing.saturating_sub(window.now()))).await;
    Watched {
        warmup: Duration::from_nanos(opened - started),
        warmup_end: if setting.warmup.max.is_zero() { WarmupEnd::NotAsked } else { warmup_end },
        rates,
        effort: meter.finish(setting.usable_cpus),
        mode: if open { Mode::Open } else { Mode::Closed },
    }
}

/// What all clients did between two looks at them.
struct SliceSeen {
    rate: f64,
    mean_micros: f64,
}

/// Takes the difference of the clients' counters from look to look.
struct Slices<'a> {
    window: &'a Window,
    progress: &'a [Arc<Progress>],
    at: u64,
    before: window::Total,
}

impl<'a> Slices<'a> {
    fn new(window: &'a Window, progress: &'a [Arc<Progress>]) -> Self {
        Self { window, progress, at: window.now(), before: window::total(progress) }
    }

    /// Nothing when no time has passed.
    fn next(&mut self) -> Option<SliceSeen> {
        let (now, total) = (self.window.now(), window::total(self.progress));
        let seconds = (now - self.at) as f64 / 1e9;
        let (units, calls, micros) = (
            total.units - self.before.units,
            total.calls - self.before.calls,
            total.micros - self.before.micros,
        );
        (self.at, self.before) = (now, total);
        (seconds > 0.0).then(|| SliceSeen {
            rate: units as f64 / seconds,
            mean_micros: micros as f64 / calls.max(1) as f64,
        })
    }
}

#[cfg(test)]
mod tests;
