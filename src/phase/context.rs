//! What a phase is given to work with, and how it tells what it measures.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{Dependencies, Digests, PhaseError, Service, Services};
use crate::clock::Clock;
use crate::database::server::Logins;
use crate::database::{DatabaseUrl, SealedUrl};
use crate::event::{Event, PhaseName, Progress, ProgressBoard, RunId};
use crate::host::leash::Leash;
use crate::host::process::{self, Finished, ProcessError, ProcessSpec};
use crate::host::{Fact, Facts, Sysroot};
use crate::measure::model::Measurement;
use crate::secret::Secrets;
use crate::tuner::trial::{Trial, TrialLog};

/// What all phases of a run share.
pub struct RunContext {
    /// The run.
    pub run: RunId,
    /// Prefix of all host paths.
    pub sysroot: Sysroot,
    /// Time.
    pub clock: Clock,
    /// Facts of the host, read once at the start.
    pub facts: Facts,
    /// The `trueup` program itself, for the service that ships with it.
    pub program: PathBuf,
    /// Folder of the pipeline's file: relative paths in it start here.
    pub pipeline_dir: PathBuf,
    /// Where results of all runs are kept.
    pub results_dir: PathBuf,
    /// Services started by phases; they live as long as the run.
    pub services: Services,
    /// Where trials are stored as they end.
    pub trials: Arc<dyn TrialLog>,
    /// The latest progress of each phase.
    pub progress: ProgressBoard,
    /// Pulled when the run is told to stop.
    pub cancel: CancellationToken,
    /// Pulled when nobody should be waited for any more.
    pub abandon: CancellationToken,
    /// The values of the secrets that phases use.
    pub secrets: Secrets,
    /// How phases reach the servers of which they change settings: the applier does as they do.
    pub logins: Logins,
    /// Holds the processes that phases start to the life of the run.
    pub leash: Leash,
    /// Digests of the files that decisions depend on.
    pub digests: Digests,
    /// Whether files are used that others than root could have written, where this is root.
    pub trusts_files: bool,
}

impl RunContext {
    /// BLAKE3 of the program: a decision measured with another build does not hold for this one.
    ///
    /// # Errors
    /// When the program can't be read.
    pub fn program_digest(&self) -> Result<String, PhaseError> {
        self.digest(&self.program)
    }

    /// BLAKE3 of a file that a decision depends on.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn digest(&self, path: &Path) -> Result<String, PhaseError> {
        self.digests.of(path).map_err(|error| undigested(path, error))
    }

    /// BLAKE3 of the first of these files that there is; nothing when there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn digest_first(
        &self,
        mut paths: impl Iterator<Item = PathBuf>,
    ) -> Result<Option<String>, PhaseError> {
        let digest = paths.find_map(|path| {
            let digest = self.digests.of_file(&path).transpose()?;
            Some(digest.map_err(|error| undigested(&path, error)))
        });
        digest.transpose()
    }
}

fn undigested(path: &Path, error: std::io::Error) -> PhaseError {
    PhaseError::because(format!("could not digest {}", path.display()), error)
}

/// What the phases that a phase needs made visible, all the way up.
pub trait Upstream: Send + Sync {
    /// Calls `visit` with each of them, nearest first, until it answers true.
    fn each(&self, visit: &mut dyn FnMut(&PhaseName, &Value) -> bool);
}

impl Upstream for Vec<(PhaseName, Value)> {
    fn each(&self, visit: &mut dyn FnMut(&PhaseName, &Value) -> bool) {
        let _ = self.iter().any(|(phase, outputs)| visit(phase, outputs));
    }
}

/// What one phase is given.
#[derive(Clone)]
pub struct Context {
    /// Its name.
    pub phase: PhaseName,
    /// What it shares with the others.
    pub run: Arc<RunContext>,
    /// What the phases it needs made visible, all the way up.
    pub upstream: Arc<dyn Upstream>,
    /// Pulled when the phase must stop and clean up: the run is cancelled, or its time is over.
    pub cancel: CancellationToken,
    /// True when what it decides is looked up and remembered.
    pub remembered: bool,
    /// True when what it changes is put to the test of a gate, which leads it back and forth.
    pub gated: bool,
    events: UnboundedSender<Event>,
}

impl Context {
    /// The context of `phase`, whose events go to `events`.
    #[must_use]
    pub fn new(
        phase: PhaseName,
        run: Arc<RunContext>,
        upstream: Arc<dyn Upstream>,
        cancel: CancellationToken,
        events: UnboundedSender<Event>,
    ) -> Self {
        Self { phase, run, upstream, cancel, remembered: false, gated: false, events }
    }

    /// The same for a phase whose decisions are remembered, or not.
    #[must_use]
    pub fn remembering(self, remembered: bool) -> Self {
        Self { remembered, ..self }
    }

    /// The same for a phase that has a gate, or none.
    #[must_use]
    pub fn gating(self, gated: bool) -> Self {
        Self { gated, ..self }
    }

    /// Runs a process to its end, within `limit` and the life of the run; see [`process::run`].
    ///
    /// # Errors
    /// When it can't be started or ended before it had finished.
    pub async fn run_process(
        &self,
        mut spec: ProcessSpec,
        limit: Duration,
        output_limit: usize,
    ) -> Result<Finished, ProcessError> {
        let (name, mark) = self.run.leash.hold()?;
        spec.env.insert(name.to_owned(), mark.to_owned());
        process::run(&spec, limit, output_limit, &self.cancel).await
    }

    /// The URL of a database with its secrets in it.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn database(&self, url: &SealedUrl) -> Result<DatabaseUrl, PhaseError> {
        url.reveal(&self.run.secrets)
            .map_err(|error| PhaseError::because("could not use the URL of the database", error))
    }

    /// Records a measurement.
    pub fn measured(&self, measurement: Measurement) {
        self.tell(Event::Measured { phase: self.phase.clone(), measurement });
    }

    /// Records a trial.
    pub fn trial_ended(&self, trial: Trial) {
        self.tell(Event::TrialEnded { phase: self.phase.clone(), trial });
    }

    /// Records what a person should know.
    pub fn note(&self, text: impl Into<String>) {
        self.tell(Event::Noted { phase: Some(self.phase.clone()), text: text.into() });
    }

    /// Shows how far the phase is; not recorded.
    pub fn progress(&self, done: u64, total: u64, note: impl Into<String>) {
        self.run.progress.post(&self.phase, Progress { done, total, note: note.into() });
    }

    /// An error when the phase has been told to stop.
    ///
    /// # Errors
    /// "stopped before it was done".
    pub fn go_on(&self) -> Result<(), PhaseError> {
        if self.cancel.is_cancelled() {
            Err(PhaseError::new("stopped before it was done"))
        } else {
            Ok(())
        }
    }

    /// Facts of the host that a decision depends on.
    #[must_use]
    pub fn facts(&self, wanted: &[Fact]) -> Dependencies {
        let parts = self.run.facts.digest_parts(wanted);
        parts.into_iter().map(|(name, value)| (name, value.into())).collect()
    }

    /// The service that a phase upstream has started.
    ///
    /// # Errors
    /// When none did.
    pub fn service(&self) -> Result<Arc<dyn Service>, PhaseError> {
        let mut found = None;
        self.upstream.each(&mut |phase, _| {
            found = self.run.services.started_by(phase);
            found.is_some()
        });
        found.ok_or_else(|| {
            PhaseError::new("there is no running service to measure")
                .help("let it need a phase that `uses: service`")
        })
    }

    /// Hands an event to the dispatcher, which outlives every phase; should it be gone, there is nobody to tell.
    pub fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// The same context with another stop.
    #[must_use]
    pub fn with_cancel(&self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self.clone() }
    }
}
