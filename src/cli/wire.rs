//! The composition root: facts, pipeline and kinds become a plan; a plan and its surroundings become a run.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};

use super::args::PipelineArgs;
use super::exit::{ExitCode, Failure};
use super::terminal;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::host::{Facts, Sysroot};
use crate::phase::standard;
use crate::pipeline::draft;
use crate::plan::{Binding, Plan, Selection, bind_draft};
use crate::report::file::last_durations;
use crate::secret::{Doubt, Secrets, Source, taken_apart};

/// The host below a prefix.
pub(super) fn sysroot(prefix: &Path) -> Result<Sysroot, Failure> {
    if prefix == Path::new("/") {
        return Ok(Sysroot::live());
    }
    if prefix.is_dir() {
        return Ok(Sysroot::at(prefix.to_owned()));
    }
    let told = format!("there is no folder {}", prefix.display());
    let found = Diagnostic::error("cli::sysroot", told)
        .help("--sysroot takes a folder that holds proc and sys");
    Err(Failure::from(found).exit(ExitCode::Invalid))
}

/// Reads and binds the pipeline that was asked for.
pub(super) fn plan(options: &PipelineArgs) -> Result<(Plan, Facts), Failure> {
    let draft = draft(options.path());
    let facts = Facts::read(&sysroot(&options.sysroot)?);
    let registry = standard();
    let plan = bind_draft(
        draft,
        Binding {
            registry: &registry,
            host: facts.expression_values(),
            env: environment(),
            set: options
                .set
                .iter()
                .map(|(name, value)| (name.clone(), taken_apart(value.clone())))
                .collect(),
            selection: Selection {
                only: options.only.clone(),
                from: options.from.clone(),
                skip: options.skip.clone(),
            },
        },
    )?;
    Ok((plan, facts))
}

/// A plan that knows what its phases took the last time that they ran.
pub(super) fn expecting(mut plan: Plan, results: &Path) -> Arc<Plan> {
    let took = last_durations(results, &plan.pipeline.name);
    plan.expect(took);
    Arc::new(plan)
}

/// Reads the secrets that a plan uses, and sees to it that nothing printed from now on tells one.
pub(super) fn secrets(plan: &Plan) -> Result<Secrets, Failure> {
    let Reading { secrets, missing, doubts } = read_secrets(plan);
    if !missing.is_empty() {
        return Err(Diagnostics(missing).into());
    }
    terminal::warn(&doubts);
    terminal::keep(secrets.clone());
    Ok(secrets)
}

/// What a run would find wrong with the secrets of a plan, as warnings: they need not be where a pipeline is checked.
pub(super) fn doubted_secrets(plan: &Plan) -> Vec<Diagnostic> {
    let Reading { missing, doubts, .. } = read_secrets(plan);
    let missing = missing.into_iter();
    let missing = missing.map(|found| Diagnostic { severity: Severity::Warning, ..found });
    missing.chain(doubts).collect()
}

struct Reading {
    secrets: Secrets,
    missing: Vec<Diagnostic>,
    doubts: Vec<Diagnostic>,
}

fn read_secrets(plan: &Plan) -> Reading {
    let dir = plan.pipeline.path.parent().unwrap_or(Path::new(""));
    let sources = plan.secrets.iter().map(|secret| secret.value.clone());
    let read = Secrets::read(sources, dir, &|name| std::env::var(name).ok());
    let at = |source: &Source, found: Diagnostic| {
        let spot = plan.secrets.iter().find(|secret| secret.value == *source);
        match spot {
            Some(spot) => found.at(plan.pipeline.place(spot.span), "used here"),
            None => found,
        }
    };
    let missing = read.missing.iter().map(|(source, reason)| {
        let told = format!("the secret `{source}` can't be read: {reason}");
        let help = match source {
            Source::Env(name) => format!("set the variable {name} for this program"),
            Source::File(_) => "put the secret there, in a file that this user may read".to_owned(),
            Source::SystemdCredential(name) => {
                format!("write `LoadCredential={name}:PATH` in the unit that starts this program")
            }
        };
        at(source, Diagnostic::error("plan::secret", told).help(help))
    });
    let doubts = read.doubts.iter().map(|(source, doubt)| {
        let (doubt, help) = match doubt {
            Doubt::Short => (
                "has less than 4 bytes, and can't be hidden: where a program prints it, it will be read in \
                 the record and in reports"
                    .to_owned(),
                "set a longer secret".to_owned(),
            ),
            Doubt::Open => {
                let path = match source {
                    Source::File(path) => dir.join(path).display().to_string(),
                    Source::Env(name) | Source::SystemdCredential(name) => name.clone(),
                };
                let told = "can be read by everybody on this host".to_owned();
                (told, format!("let only its owner read the file: `chmod 600 {path}`"))
            }
        };
        let told = format!("the secret `{source}` {doubt}");
        at(source, Diagnostic::warning("plan::secret_doubtful", told)).help(help)
    });
    Reading { missing: missing.collect(), doubts: doubts.collect(), secrets: read.secrets }
}

/// The environment; nothing in place of a value that is no text.
fn environment() -> Map<String, Value> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let value = value.into_string().ok().map(|value| Value::String(taken_apart(value)));
            Some((name.into_string().ok()?, value.unwrap_or_default()))
        })
        .collect()
}

/// How long the end of work that blocks is waited for: of a file on a mount that does not answer, nobody can say when
/// it ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ends runtimes, and does not wait for what blocks in them.
pub(super) fn leave(runtimes: [Runtime; 2]) {
    for runtime in runtimes {
        runtime.shutdown_timeout(PATIENCE);
    }
}

/// The runtime in which a run is ordered: on this thread, because handing each step to another costs more than the step.
pub(super) fn front() -> Result<Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| refused(&error))
}

/// The runtime of what has work to do.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    room_for(cpus + SPARE_THREADS).map_err(|error| refused(&error))?;
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| refused(&error))
}

/// Threads beside the workers: readers of the events, progress, work that blocks.
const SPARE_THREADS: usize = 4;

/// Files that two runtimes and what is recorded have open.
const OPEN_FILES: usize = 20;

/// Makes sure of so many threads and some open files: a runtime that can't have them panics when it needs them.
fn room_for(threads: usize) -> std::io::Result<()> {
    let files: std::io::Result<Vec<File>> =
        (0..OPEN_FILES).map(|_| File::open("/dev/null")).collect();
    files?;
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let _closed = gate.lock();
        let wait = || drop(gate.lock());
        (0..threads)
            .try_for_each(|_| std::thread::Builder::new().spawn_scoped(scope, wait).map(drop))
    })
}

fn refused(error: &std::io::Error) -> Failure {
    Failure::because("cli::runtime", error)
        .help("see how many processes and open files this user may have: `ulimit -u`, `ulimit -n`")
}
