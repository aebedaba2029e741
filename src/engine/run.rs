//! A whole run: lock, recover, record, execute, stop services, close the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::Handle;

use super::executor::Executor;
use super::recorder::Recorder;
use super::recover::recover;
use super::resume::{Earlier, Resumption};
use super::stages::{Memory, Shared};
use crate::change::{Applier, TakenBack};
use crate::clock::Clock;
use crate::disk::{self, DiskError, LockFile, Locked};
use crate::event::{
    Event, EventLog, EventSink, Fanout, LogError, OverallStatus, ProgressBoard, RunId, SinkError,
};
use crate::host::leash::Leash;
use crate::host::{Facts, Sysroot};
use crate::phase::{Digests, RunContext, Services};
use crate::plan::Plan;
use crate::secret::Secrets;
use crate::shutdown::Shutdown;
use crate::tuner::trial::TrialLog;

/// How long a service may take to stop at the end of a run.
const STOPPING: Duration = Duration::from_secs(20);

/// What a run is given.
pub struct RunOptions {
    /// What runs.
    pub plan: Arc<Plan>,
    /// Where results are kept; `runs/<id>/`, `journal/` and `lock` are made below it.
    pub results_dir: PathBuf,
    /// How decisions are remembered.
    pub memory: Memory,
    /// Prefix of all host paths.
    pub sysroot: Sysroot,
    /// Facts of the host.
    pub facts: Facts,
    /// The values of the secrets that the plan uses.
    pub secrets: Secrets,
    /// Time.
    pub clock: Clock,
    /// The `trueup` program.
    pub program: PathBuf,
    /// Most phases at a time.
    pub jobs: usize,
    /// Where phases run that have work of their own to do; what orders them runs where [`run`] does.
    pub workers: Handle,
    /// The stop.
    pub shutdown: Shutdown,
    /// Readers of the events.
    pub readers: Vec<Box<dyn EventSink>>,
    /// Where progress is posted.
    pub progress: ProgressBoard,
    /// Where trials are stored.
    pub trials: Arc<dyn TrialLog>,
    /// The run that this one goes on with; one of which nothing is known for a run that begins anew.
    pub earlier: Earlier,
    /// The right to run, taken before anything was looked at that must not change until the run.
    pub hold: Hold,
}

/// The lock of a results folder, for one run. Given back when dropped.
#[derive(Debug)]
pub struct Hold {
    run: RunId,
    lock: LockFile,
}

/// Takes the lock of a results folder for a run to come; waits for another run to end where that is wanted.
///
/// # Errors
/// When another run is still at work by then, it was told to stop while it waited, or the disk refuses.
pub async fn hold(
    results_dir: &Path,
    clock: &Clock,
    shutdown: &Shutdown,
    wait: Option<Wait>,
) -> Result<Hold, RunError> {
    let run = RunId::new(clock.now(), std::process::id());
    let lock = take_lock(results_dir, &run, shutdown, clock.now(), wait).await?;
    Ok(Hold { run, lock })
}

/// How another run is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// No longer than this.
    pub longest: Duration,
    /// Is told once what the other has written of itself, before the wait.
    pub tell: fn(&str),
}

/// How a run ended.
#[derive(Debug)]
pub struct RunEnd {
    /// Which run.
    pub run: RunId,
    /// How.
    pub status: OverallStatus,
    /// Its folder.
    pub folder: PathBuf,
    /// Readers of events that failed; the record itself is whole.
    pub problems: Vec<SinkError>,
}

/// Why a run could not be made, or not be recorded to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another run is at work.
    #[error("another run holds the lock {path}: {by}")]
    Locked {
        /// The lock.
        path: String,
        /// What the other wrote of itself.
        by: String,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It was told to stop while it waited for another run.
    #[error("told to stop while it waited for another run: {by}")]
    Stopped {
        /// What the other wrote of itself.
        by: String,
    },
    /// The record.
    #[error("the run was cancelled because it could not be recorded")]
    Record(#[source] LogError),
    /// The system.
    #[error("could not start a thread")]
    Thread(#[source] std::io::Error),
}

/// Makes a run.
///
/// # Errors
/// When it could not begin, or could not be recorded; a phase that fails is an outcome, not an error.
pub async fn run(options: RunOptions) -> Result<RunEnd, RunError> {
    let RunOptions { plan, results_dir, clock, hold: Hold { run, lock }, .. } = options;
    let folder = results_dir.join("runs").join(run.as_str());
    disk::create_dir_all(&folder)?;
    let log = EventLog::create(&folder.join("events.jsonl")).map_err(RunError::Record)?;
    let fanout = Fanout::start(options.readers).map_err(RunError::Thread)?;
    let mut recorder = Recorder::new(log, fanout, clock.clone(), options.secrets.clone());

    let journal_dir = results_dir.join("journal");
    recorder.record(Event::RunStarted {
        run: run.clone(),
        pipeline: plan.summary(),
        phases: plan.phase_summaries(),
        host: serde_json::to_value(&options.facts).unwrap_or(Value::Null),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        resumes: options.earlier.run.parse().ok(),
    });
    for event in recover(&options.sysroot, &journal_dir, (&run, &clock)) {
        recorder.record(event);
    }
    // Killed in its first moments, it is still a run that began, and is known by its name.
    recorder.flush();
    let applier = Applier::new(options.sysroot.clone(), &journal_dir, run.as_str(), clock.clone());
    let context = Arc::new(RunContext {
        run: run.clone(),
        sysroot: options.sysroot,
        clock: clock.clone(),
        facts: options.facts,
        leash: Leash::new(options.program.clone(), &results_dir, run.as_str()),
        program: options.program,
        pipeline_dir: plan.pipeline.path.parent().unwrap_or(Path::new("")).to_owned(),
        results_dir,
        services: Services::default(),
        trials: options.trials,
        progress: options.progress,
        cancel: options.shutdown.cancel.clone(),
        abandon: options.shutdown.abandon.clone(),
        secrets: options.secrets,
        digests: Digests::default(),
    });
    let earlier = Resumption::of(options.earlier, &plan);
    let executor = Executor {
        plan,
        run: Arc::clone(&context),
        shared: Arc::new(Shared {
            applier: applier.clone(),
            memory: options.memory.clone(),
            earlier,
        }),
        shutdown: options.shutdown.clone(),
        jobs: options.jobs,
        workers: options.workers,
    };
    let status = executor.execute(&mut recorder).await;
    if let Err(error) = options.memory.flush().await {
        let text = format!("decisions could not be remembered: {}", told(&error));
        recorder.record(Event::Noted { phase: None, text });
    }
    stop_services(&context, &mut recorder).await;
    close_journal(&applier, status, &mut recorder);
    let signal = options.shutdown.signal().map(|signal| signal.as_str().to_owned());
    let seconds = recorder.elapsed();
    recorder.record(Event::RunEnded { status, seconds, signal });
    let problems = recorder.finish().map_err(RunError::Record)?;
    // Not before: the next run writes the same files as the readers of this one.
    drop(lock);
    Ok(RunEnd { run, status, folder, problems })
}

/// An error with its causes in one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The lock of a results folder; waits for it where that is wanted.
async fn take_lock(
    results_dir: &Path,
    run: &RunId,
    shutdown: &Shutdown,
    now: Timestamp,
    wait: Option<Wait>,
) -> Result<LockFile, RunError> {
    let path = results_dir.join("lock");
    let since = now.strftime("%Y-%m-%d %H:%M:%SZ");
    let note = format!("run {run}, process {}, since {since}", std::process::id());
    let by = match LockFile::try_lock(&path, &note)? {
        Locked::Ours(lock) => return Ok(lock),
        Locked::Held(by) => by,
    };
    let locked = || RunError::Locked { path: path.display().to_string(), by: by.clone() };
    let Some(Wait { longest, tell }) = wait else { return Err(locked()) };
    tell(&by);
    let (sender, ours) = tokio::sync::oneshot::channel();
    let waits_at = path.clone();
    // A thread of its own: when the patience is over, nobody waits for it. It then lets go of what it gets.
    std::thread::Builder::new()
        .name("lock".to_owned())
        .spawn(move || sender.send(LockFile::lock(&waits_at, &note)))
        .map_err(RunError::Thread)?;
    tokio::select! {
        lock = ours => match lock {
            Ok(lock) => Ok(lock?),
            Err(_) => Err(locked()),
        },
        () = tokio::time::sleep(longest) => Err(locked()),
        () = shutdown.cancel.cancelled() => Err(RunError::Stopped { by }),
    }
}

/// The services that phases started end with the run, the last one first.
async fn stop_services(context: &RunContext, recorder: &mut Recorder) {
    while let Some((phase, service)) = context.services.take_last() {
        let told = tokio::select! {
            stopped = tokio::time::timeout(STOPPING, service.stop()) => match stopped {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => format!("its service did not stop well: {}", error.told()),
                Err(_) => format!("its service did not stop within {}", humantime::format_duration(STOPPING)),
            },
            () = context.abandon.cancelled() => "its service was not waited for".to_owned(),
        };
        recorder.record(Event::Noted { phase: Some(phase), text: told });
    }
}

/// A run that was told to stop is itself half done: what it changed is taken back. Otherwise its changes are kept.
fn close_journal(applier: &Applier, status: OverallStatus, recorder: &mut Recorder) {
    if status == OverallStatus::Cancelled {
        for one in applier.revert_all() {
            if let TakenBack::Failed { reason } = &one.result {
                let text =
                    format!("{} could not be taken back: {reason}", one.change.target.path());
                recorder.record(Event::Noted { phase: None, text });
            }
        }
    }
    if let Err(error) = applier.keep() {
        recorder.record(Event::Noted { phase: None, text: error.to_string() });
    }
}
