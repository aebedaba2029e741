//! A whole run: lock, recover, record, execute, stop services, close the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::Handle;

use super::executor::Executor;
use super::recorder::Recorder;
use super::recover::{recover, told_logins};
use super::resume::{Earlier, Resumption};
use super::stages::{Memory, Shared};
use crate::change::{Applier, KeepError, TakenBack};
use crate::clock::Clock;
use crate::database::server::Logins;
use crate::disk::{self, AppendLog, DiskError, LockFile, Locked};
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

/// How often it is looked whether another run has ended.
const ASKED_AGAIN: Duration = Duration::from_millis(20);

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
    /// What the record says of files that others than root could have written, and that are used all the same; absent
    /// where such files are refused.
    pub trusted: Option<Vec<String>>,
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
    /// The record can't be begun; nothing was done.
    #[error("could not begin the record of the run")]
    Record(#[source] LogError),
    /// The record, or the journal of what was changed.
    #[error("run {run} was cancelled because it could not be recorded; {stays}")]
    Unrecorded {
        /// The run.
        run: RunId,
        /// What has become of what it changed, in words.
        stays: String,
        /// Why.
        #[source]
        source: LogError,
    },
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
    // Names sort by the clock, which may be wrong.
    AppendLog::open(&results_dir.join("order"))?.append(format!("{run}\n"))?;
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
    for text in options.trusted.iter().flatten().cloned() {
        recorder.record(Event::Noted { phase: None, text });
    }
    let logins = Logins::default();
    let reaching = || told_logins(&logins, &plan, &options.secrets);
    for event in recover(&options.sysroot, &journal_dir, (&run, &clock), reaching) {
        recorder.record(event);
    }
    // Killed in its first moments, it is still a run that began, and is known by its name.
    recorder.flush();
    let reach = (options.sysroot.clone(), logins.clone());
    let applier = Applier::reaching(reach, &journal_dir, run.as_str(), clock.clone());
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
        logins,
        digests: Digests::default(),
        trusts_files: options.trusted.is_some(),
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
    let signal = options.shutdown.signal().map(|signal| signal.as_str().to_owned());
    let stays = conclude(&applier, status, signal, &mut recorder);
    let problems = recorder.finish().map_err(|source| RunError::Unrecorded {
        run: run.clone(),
        stays: in_words(&applier, &stays, &run),
        source,
    })?;
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
    let by = match LockFile::try_lock_folder(&path, &note)? {
        Locked::Ours(lock) => return Ok(lock),
        Locked::Held(by) => by,
    };
    let locked = || RunError::Locked { path: path.display().to_string(), by: by.clone() };
    let Some(Wait { longest, tell }) = wait else { return Err(locked()) };
    tell(&by);
    let patience = tokio::time::sleep(longest);
    tokio::pin!(patience);
    loop {
        tokio::select! {
            () = tokio::time::sleep(ASKED_AGAIN) => {}
            () = &mut patience => return Err(locked()),
            () = shutdown.cancel.cancelled() => return Err(RunError::Stopped { by }),
        }
        if let Locked::Ours(lock) = LockFile::try_lock_folder(&path, &note)? {
            return Ok(lock);
        }
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

/// Ends record and journal; answers what could not be taken back. A run that was told to stop is itself half done, and
/// one that is not on record could not be taken back later: what they changed is taken back. Otherwise it is kept, and
/// the record says so first, because what is kept is not looked for by the next run.
fn conclude(
    applier: &Applier,
    status: OverallStatus,
    signal: Option<String>,
    recorder: &mut Recorder,
) -> Vec<String> {
    if let Err(error) = applier.in_place() {
        recorder.fail(error.into());
    }
    let seconds = recorder.elapsed();
    let cancelled =
        Event::RunEnded { status: OverallStatus::Cancelled, seconds, signal: signal.clone() };
    if status != OverallStatus::Cancelled
        && recorder.make_sure()
        && recorder.end(Event::RunEnded { status, seconds, signal })
    {
        match applier.keep() {
            Ok(()) => return Vec::new(),
            Err(error @ KeepError::Unresolved { .. }) => {
                recorder.record(Event::Noted { phase: None, text: error.to_string() });
                return Vec::new();
            }
            Err(KeepError::Journal { reason }) => recorder.fail(unkept(applier, reason)),
        }
    }
    let stays = take_all_back(applier, recorder);
    if let Err(error) = applier.keep() {
        recorder.record(Event::Noted { phase: None, text: error.to_string() });
    }
    recorder.end(cancelled);
    stays
}

/// The journal that could not be closed, as an error of the disk.
fn unkept(applier: &Applier, reason: String) -> LogError {
    let path = applier.journal().to_owned();
    DiskError { action: "close", path, source: std::io::Error::other(reason) }.into()
}

/// Takes back all that the run has changed, and answers what could not be.
fn take_all_back(applier: &Applier, recorder: &mut Recorder) -> Vec<String> {
    let mut stays = Vec::new();
    for one in applier.revert_all() {
        if let TakenBack::Failed { reason } = &one.result {
            let path = one.change.target.name();
            let text = format!("{path} could not be taken back: {reason}");
            recorder.record(Event::Noted { phase: None, text });
            stays.push(path.into_owned());
        }
    }
    stays
}

/// What has become of what a run changed that could not be recorded.
fn in_words(applier: &Applier, stays: &[String], run: &RunId) -> String {
    if applier.changes().is_empty() {
        "it had changed nothing on the host".to_owned()
    } else if stays.is_empty() {
        "what it had changed was taken back".to_owned()
    } else {
        let stays = stays.join(", ");
        format!("what it had changed was taken back but for {stays}: trueup rollback {run}")
    }
}
