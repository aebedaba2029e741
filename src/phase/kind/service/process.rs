//! The service as a child process: started, told, awaited, restarted, stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::database::{Database, DatabaseUrl, PoolSize};
use crate::host::attributes::WantedAttributes;
use crate::host::cpu_list;
use crate::host::notify::NotifySocket;
use crate::host::process::{Child, ProcessSpec, Stdin};
use crate::phase::{BoxFuture, Context, Parameters, PhaseError, Ready, Scratch, Service};

/// How long the service may take until it says that it is ready.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to answer what it has accepted when it is told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What a start needs to know.
pub(super) struct Spawner {
    program: PathBuf,
    database: DatabaseUrl,
    difficulty: u8,
    wanted: WantedAttributes,
    ledger: Scratch,
    clock: Clock,
    cancel: CancellationToken,
}

/// A child that is ready.
pub(super) struct Running {
    child: Child,
    pub(super) ready: Ready,
}

impl Spawner {
    pub(super) fn new(
        database: DatabaseUrl,
        difficulty: u8,
        wanted: WantedAttributes,
        cx: &Context,
    ) -> Self {
        Self {
            program: cx.run.program.clone(),
            database,
            difficulty,
            wanted,
            ledger: Scratch::new("powd", cx),
            clock: cx.run.clock.clone(),
            // Not that of the phase: other phases restart the service when this one has long ended.
            cancel: cx.run.cancel.clone(),
        }
    }

    fn spec(
        &self,
        program: &Path,
        listen: SocketAddr,
        parameters: &Parameters,
        notify: &Path,
    ) -> ProcessSpec {
        let mut args = vec![
            "powd".to_owned(),
            format!("--listen={listen}"),
            format!("--ledger={}", self.ledger.name()),
            format!("--difficulty={}", self.difficulty),
            "--stop-with-stdin".to_owned(),
        ];
        if let Some(cpus) = &self.wanted.cpus {
            args.push(format!("--cpus={}", cpu_list::render(cpus)));
        }
        if let Some(nice) = self.wanted.nice {
            args.push(format!("--nice={nice}"));
        }
        if let Some(files) = self.wanted.open_files {
            args.push(format!("--open-files={files}"));
        }
        for (name, value) in parameters {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            args.push(format!("--{}={text}", name.replace('_', "-")));
        }
        let mut spec = ProcessSpec::new(program, args);
        spec.stdin = Stdin::HeldOpen;
        // By the environment: arguments can be read by everybody on the host.
        spec.env.insert("TRUEUP_DATABASE_URL".to_owned(), self.database.expose().to_owned());
        spec.env.insert("NOTIFY_SOCKET".to_owned(), notify.display().to_string());
        spec
    }

    /// Starts `program` and waits until it says that it is ready.
    pub(super) async fn start(
        &self,
        program: &Path,
        listen: SocketAddr,
        parameters: &Parameters,
    ) -> Result<Running, PhaseError> {
        let failed =
            |error| PhaseError::because("could not listen for the service to become ready", error);
        let notify = NotifySocket::bind(&std::env::temp_dir()).map_err(failed)?;
        let started = self.clock.instant();
        let mut child = Child::spawn(&self.spec(program, listen, parameters, notify.path()))
            .map_err(|error| PhaseError::because("could not start the service", error))?;
        let address = tokio::select! {
            address = announced(&notify) => address?,
            status = child.wait() => {
                let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(PhaseError::new(format!("the service ended before it was ready ({how}): {}", said(&child))));
            }
            () = tokio::time::sleep(READY_PATIENCE) => {
                let patience = humantime::format_duration(READY_PATIENCE);
                return Err(PhaseError::new(format!("the service was not ready within {patience}: {}", said(&child))));
            }
            () = self.cancel.cancelled() => return Err(PhaseError::new("stopped before the service was ready")),
        };
        let seconds = (self.clock.instant() - started).as_secs_f64();
        let ready = Ready { address, pid: child.pid(), seconds };
        Ok(Running { child, ready })
    }

    /// Drops ledgers that runs in the same place have left.
    pub(super) async fn sweep(&self) -> Result<(), PhaseError> {
        self.with_database(async |database| self.ledger.sweep(database).await).await
    }

    /// Drops the ledger of this run.
    pub(super) async fn drop_ledger(&self) -> Result<(), PhaseError> {
        self.with_database(async |database| self.ledger.drop(database).await).await
    }

    async fn with_database(
        &self,
        work: impl AsyncFnOnce(&Database) -> Result<(), sqlx::Error>,
    ) -> Result<(), PhaseError> {
        let database =
            Database::open(&self.database, PoolSize::exactly(1)).await.map_err(|error| {
                PhaseError::because("could not reach the service's database", error)
            })?;
        let done = work(&database).await;
        database.close().await;
        done.map_err(|error| PhaseError::because("could not clear the service's ledger", error))
    }
}

impl Running {
    pub(super) async fn stop(mut self) {
        self.child.stop(STOP_PATIENCE).await;
    }
}

/// The address that the service tells when it is ready.
async fn announced(notify: &NotifySocket) -> Result<SocketAddr, PhaseError> {
    loop {
        let message = notify.next().await.map_err(|error| {
            PhaseError::because("could not hear the service become ready", error)
        })?;
        if message.get("READY").is_some_and(|ready| ready == "1") {
            let address = message.get("X_TRUEUP_ADDRESS").and_then(|address| address.parse().ok());
            return address
                .ok_or_else(|| PhaseError::new("the service did not tell where it listens"));
        }
    }
}

/// The last words of a child, in one line.
fn said(child: &Child) -> String {
    let tail = child.stderr_tail();
    let lines: Vec<&str> = tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(6)..];
    if last.is_empty() { "it said nothing".to_owned() } else { last.join(" | ") }
}

/// The running service. Its address and ledger stay the same through restarts, and each start finds the ledger
/// empty, so that measurements after different restarts compare.
pub(super) struct ProcessService {
    spawner: Spawner,
    running: Mutex<Option<Running>>,
    known: StdMutex<(Ready, Parameters)>,
}

impl ProcessService {
    /// Starts the service on a free port.
    pub(super) async fn start(
        spawner: Spawner,
        parameters: Parameters,
    ) -> Result<Self, PhaseError> {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = spawner.start(&spawner.program, free, &parameters).await?;
        let known = StdMutex::new((running.ready.clone(), parameters));
        Ok(Self { spawner, running: Mutex::new(Some(running)), known })
    }

    pub(super) fn ledger(&self) -> &str {
        self.spawner.ledger.name()
    }
}

impl Service for ProcessService {
    fn ready(&self) -> Ready {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn parameters(&self) -> Parameters {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn restart(&self, changed: Parameters) -> BoxFuture<'_, Result<Ready, PhaseError>> {
        Box::pin(async move {
            let mut running = self.running.lock().await;
            let mut parameters = self.parameters();
            if let Some(unknown) = changed.keys().find(|name| !parameters.contains_key(*name)) {
                let known: Vec<&str> = parameters.keys().map(String::as_str).collect();
                let told = format!("the service has no parameter `{unknown}`");
                return Err(PhaseError::new(told).help(format!("it has {}", known.join(", "))));
            }
            parameters.extend(changed);
            if let Some(old) = running.take() {
                old.stop().await;
            }
            self.spawner.drop_ledger().await?;
            let address = self.ready().address;
            let new = self.spawner.start(&self.spawner.program, address, &parameters).await?;
            let ready = new.ready.clone();
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
                (ready.clone(), parameters);
            *running = Some(new);
            Ok(ready)
        })
    }

    fn stop(&self) -> BoxFuture<'_, Result<(), PhaseError>> {
        Box::pin(async move {
            if let Some(running) = self.running.lock().await.take() {
                running.stop().await;
            }
            self.spawner.drop_ledger().await
        })
    }
}
