//! `trueup run`.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::args::{PipelineArgs, ProgressMode, RunArgs, StateArgs};
use super::exit::{self, ExitCode, Failure};
use super::resume::{refuse_other, resumed};
use super::trust::Doubted;
use super::{output, plan, terminal, trust, wire};
use crate::cache::CacheDirectory;
use crate::clock::Clock;
use crate::database::DatabaseUrl;
use crate::database::server::Logins;
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::{Earlier, Memory, RunError, RunOptions, Wait, hold, run as run_plan};
use crate::event::{EventSink, ProgressBoard, RunId, SinkError, read_log};
use crate::host::Facts;
use crate::host::leash::Leash;
use crate::phase::{Digests, RunContext, Services};
use crate::plan::Plan;
use crate::report::file::{RunFiles, Wanted};
use crate::report::live::{JsonLines, PlainLines, ProgressBars, Screen, ServiceStatus};
use crate::report::{Report, fold, summary};
use crate::secret::Secrets;
use crate::shutdown::Shutdown;
use crate::store::TrialStore;
use crate::supervisor::Notifier;
use crate::tuner::trial::TrialLog;

pub(super) fn run(options: &RunArgs) -> Result<ExitCode, Failure> {
    let clock = Clock::system();
    let memory = memory(options, &clock);
    if options.dry_run {
        let looks = match memory {
            Memory::Use(cache) => Memory::Use(cache.read_only()),
            other => other,
        };
        return plan::dry_run(options, &looks);
    }
    let (earlier, pipeline) = resumed(options)?;
    // Before it waits for another run: what is wrong with a pipeline is told at once.
    let asked = if let Some(path) = &options.plan {
        Asked::Planned(path)
    } else {
        let bound = bind(&pipeline, &earlier, options)?;
        refuse_own(options, &bound.plan)?;
        Asked::Bound(Box::new(bound))
    };
    let workers = wire::runtime()?;
    // Signals are heard among the workers, whatever the order of the run is at.
    let shutdown = workers.block_on(async { Shutdown::listen(exit::leave) })?;
    let front = wire::front()?;
    let wait = options.wait.map(|longest| Wait { longest: longest.0, tell: tell_of_wait });
    let hold = front.block_on(hold(&options.state.results, &clock, &shutdown, wait));
    let hold = hold.map_err(|error| refused(&error, shutdown.signal()))?;
    let Bound { plan, facts, secrets, doubts } = match asked {
        Asked::Planned(path) => {
            let bound = plan::held(path, options, &pipeline.sysroot)?;
            refuse_own(options, &bound.plan)?;
            bound
        }
        Asked::Bound(bound) => *bound,
    };
    let progress = ProgressBoard::default();
    let mode = shown_as(options.progress);
    let files = RunFiles::new(options.state.results.clone(), wanted_files(options));
    let reported = files.ended();
    keep(&plan, &memory, &reported);
    let mut readers = readers(mode, options, &plan, &progress, &clock)?;
    readers.push(Box::new(files));
    let run = run_plan(RunOptions {
        plan,
        results_dir: options.state.results.clone(),
        memory,
        sysroot: wire::sysroot(&pipeline.sysroot)?,
        trials: trial_store(&options.state, &facts, &clock)?,
        facts,
        secrets,
        clock,
        program: program()?,
        jobs: usize::from(options.jobs),
        workers: workers.handle().clone(),
        shutdown: shutdown.clone(),
        readers,
        progress,
        earlier,
        hold,
        trusted: options.trust.trust_pipeline.then_some(doubts),
    });
    let end = front.block_on(run);
    wire::leave([front, workers]);
    let signal = shutdown.signal();
    let end = end.map_err(|error| refused(&error, signal))?;
    let code = ExitCode::of(end.status, signal);
    warn_of_readers(&end.problems);
    if matches!(mode, ProgressMode::Bar | ProgressMode::Plain) {
        let path = end.folder.join("report.json").display().to_string();
        let told = |report: &Report| summary(report, &path, None, terminal::width());
        let text = match reported.get() {
            Some(report) => told(report),
            None => told(&report_of(&end.folder)?),
        };
        // Whether anybody still reads it does not change how the run ended.
        let _ = write!(std::io::stdout().lock(), "\n{text}");
    }
    Ok(code)
}

/// What a run has in memory is given back by the end of the process, which comes next, all of it at once: to take it
/// apart piece by piece is a tenth of the work of a run that finds everything done.
fn keep(plan: &Arc<Plan>, memory: &Memory, report: &Arc<OnceLock<Report>>) {
    std::mem::forget((Arc::clone(plan), memory.clone(), Arc::clone(report)));
}

/// Refuses reports that would replace what is not theirs.
fn refuse_own(options: &RunArgs, plan: &Plan) -> Result<(), Failure> {
    let mut files = options.report.iter();
    files.try_for_each(|(_, path)| output::refuse_own(path, &plan.pipeline, &options.state))
}

/// Says that another run must end before this one begins.
fn tell_of_wait(by: &str) {
    terminal::say(&format!("waiting for another run in this results folder to end: {by}"));
}

/// The report of a run whose reader of events could not make it, made again from the record.
fn report_of(folder: &Path) -> Result<Report, Failure> {
    let records = read_log(&folder.join("events.jsonl"))
        .map_err(|error| Failure::because("run::record", &error))?;
    Ok(fold(&records))
}

/// A plan with all that a run of it needs to know.
pub(super) struct Bound {
    pub(super) plan: Arc<Plan>,
    pub(super) facts: Facts,
    pub(super) secrets: Secrets,
    /// What is to be recorded of files that are trusted although others than root could have written them.
    pub(super) doubts: Vec<String>,
}

/// What is to be run.
enum Asked<'a> {
    /// What a plan in a file says, if it still holds by then.
    Planned(&'a Path),
    Bound(Box<Bound>),
}

fn bind(pipeline: &PipelineArgs, earlier: &Earlier, options: &RunArgs) -> Result<Bound, Failure> {
    let (plan, facts) = wire::plan(pipeline)?;
    refuse_other(earlier, &plan)?;
    let doubted = Doubted::of(options.trust.trust_pipeline);
    let doubts = trust::weigh(&plan, None, (&options.state, doubted))?;
    let secrets = wire::secrets(&plan)?;
    Ok(Bound { plan: wire::expecting(plan, &options.state.results), facts, secrets, doubts })
}

/// Views that could not be shown to their end; a pipe or a terminal that was closed was wanted so.
fn warn_of_readers(problems: &[SinkError]) {
    let closed = |problem: &&SinkError| {
        let cause = problem.source.downcast_ref::<std::io::Error>();
        cause.is_some_and(|cause| {
            let terminal = matches!(problem.reader, "plain" | "json" | "progress");
            let gone = cause.raw_os_error() == Some(Errno::EIO as i32);
            cause.kind() == std::io::ErrorKind::BrokenPipe || terminal && gone
        })
    };
    let warnings: Vec<Diagnostic> = problems
        .iter()
        .filter(|problem| !closed(problem))
        .map(|problem| Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::from_error("run::reader", problem)
        })
        .collect();
    terminal::warn(&warnings);
}

fn memory(options: &RunArgs, clock: &Clock) -> Memory {
    let cache = CacheDirectory::new(options.state.cache_dir.clone(), clock.clone());
    if options.no_cache {
        Memory::Off
    } else if options.refresh {
        Memory::Refresh(cache)
    } else {
        Memory::Use(cache)
    }
}

fn refused(error: &RunError, signal: Option<Signal>) -> Failure {
    match error {
        RunError::Locked { .. } => Failure::because("run::locked", error)
            .help(
                "wait for it to end, or say `--wait`: two runs would disturb each other's measurements, whatever folders they use",
            )
            .exit(ExitCode::Locked),
        RunError::Stopped { .. } => Failure::because("run::locked", error)
            .exit(signal.map_or(ExitCode::Locked, ExitCode::Cancelled)),
        _ => Failure::because("run::state", error)
            .help("is the folder of --results writable, and is there room?"),
    }
}

/// Bars for a person at a terminal, lines for a log.
fn shown_as(mode: ProgressMode) -> ProgressMode {
    match mode {
        ProgressMode::Auto if std::io::stderr().is_terminal() && terminal::error_style().color => {
            ProgressMode::Bar
        }
        ProgressMode::Auto => ProgressMode::Plain,
        ProgressMode::Bar if !std::io::stderr().is_terminal() => ProgressMode::Plain,
        other => other,
    }
}

/// What is written about the run beside its report.
fn wanted_files(options: &RunArgs) -> Wanted {
    let files =
        options.report.iter().map(|(format, path)| ((*format).into(), path.clone())).collect();
    let ci_summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
    Wanted { files, ci_summary: ci_summary.map(PathBuf::from) }
}

/// All that reads the events of a run.
fn readers(
    mode: ProgressMode,
    options: &RunArgs,
    plan: &Plan,
    progress: &ProgressBoard,
    clock: &Clock,
) -> Result<Vec<Box<dyn EventSink>>, Failure> {
    let mut readers: Vec<Box<dyn EventSink>> = Vec::new();
    match mode {
        ProgressMode::Bar => {
            let screen = Screen {
                columns: terminal::width(),
                jobs: usize::from(options.jobs),
                results_dir: options.state.results.clone(),
            };
            let bars = ProgressBars::start(progress.clone(), clock.clone(), screen)?;
            readers.push(Box::new(bars));
        }
        ProgressMode::Json => readers.push(Box::new(JsonLines::new(std::io::stdout()))),
        ProgressMode::Plain | ProgressMode::Auto => {
            readers.push(Box::new(PlainLines::new(std::io::stdout())));
        }
        ProgressMode::Systemd | ProgressMode::None => {}
    }
    let manager = Notifier::from_env();
    if mode == ProgressMode::Systemd && manager.is_silent() {
        let told = "there is no service manager to tell: $NOTIFY_SOCKET is not set";
        let found = Diagnostic::error("run::notify", told)
            .help("run it in a unit with Type=notify, or with another --progress");
        return Err(Failure::from(found).exit(ExitCode::Invalid));
    }
    if !manager.is_silent() {
        let timeouts = plan
            .pipeline
            .phases
            .iter()
            .map(|phase| (phase.name.value.clone(), phase.timeout))
            .collect();
        readers.push(Box::new(ServiceStatus::start(manager, clock.clone(), timeouts)?));
    }
    Ok(readers)
}

/// Trials are stored where the environment says, else in the embedded database of the results folder.
fn trial_store(
    state: &StateArgs,
    facts: &Facts,
    clock: &Clock,
) -> Result<Arc<dyn TrialLog>, Failure> {
    let url = std::env::var("TRUEUP_DATABASE_URL")
        .unwrap_or_else(|_| format!("sqlite://{}", state.results.join("trueup.db").display()));
    let url: DatabaseUrl = url
        .parse()
        .map_err(|error| Failure::because("run::store", &error).exit(ExitCode::Invalid))?;
    let host =
        facts.hostname.as_ref().map_or_else(|| "localhost".to_owned(), |name| name.value.clone());
    Ok(Arc::new(TrialStore::new(url, host, clock.clone())))
}

fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::because("run::program", &error))
}

/// What phases are given when nothing is to be touched.
pub(super) fn looking_context(
    pipeline: &PipelineArgs,
    state: &StateArgs,
    facts: Facts,
    secrets: Secrets,
) -> Result<Arc<RunContext>, Failure> {
    let clock = Clock::system();
    let program = program()?;
    let run = RunId::new(clock.now(), std::process::id());
    Ok(Arc::new(RunContext {
        leash: Leash::new(program.clone(), &state.results, run.as_str()),
        run,
        sysroot: wire::sysroot(&pipeline.sysroot)?,
        trials: trial_store(state, &facts, &clock)?,
        clock,
        facts,
        secrets,
        program,
        pipeline_dir: pipeline.path().parent().map(PathBuf::from).unwrap_or_default(),
        results_dir: state.results.clone(),
        logins: Logins::default(),
        services: Services::default(),
        progress: ProgressBoard::default(),
        cancel: tokio_util::sync::CancellationToken::new(),
        abandon: tokio_util::sync::CancellationToken::new(),
        digests: Digests::default(),
        trusts_files: true,
    }))
}
