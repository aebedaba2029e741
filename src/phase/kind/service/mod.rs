//! `service`: starts the verification service, and knows how long that takes cold and warm.
//!
//! Backend `process`: a child of the run with affinity, niceness and limits of its own, ready when it says so by the
//! `sd_notify` protocol. It lives as long as the run, however the run ends: its standard input is a pipe held open
//! by the run, and it stops when that closes.

mod process;
mod startup;

use std::time::Duration;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::database::SealedUrl;
use crate::event::{Check, CheckState};
use crate::host::attributes::{WantedAttributes, attributes};
use crate::host::reading::{Bound, open_file_limit};
use crate::host::{Fact, Sysroot, cpu_list};
use crate::phase::{
    Applicability, Context, Dependencies, Kind, Parameters, PhaseError, SERVICE_PARAMETERS,
    Service, WithError,
};
use crate::powd::client::PowdClient;
use crate::unit::Span;
use process::{ProcessService, Spawner};

/// Files that the service may have open, where the hard limit allows as many.
const OPEN_FILES: u64 = 65_536;

/// Starts the service and keeps it for the run.
#[derive(Debug)]
pub struct ServiceStartup;

/// How the service is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The best there is here.
    Auto,
    /// A child of the run.
    Process,
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// How the service is run.
    #[serde(default = "auto")]
    backend: Backend,
    /// Where it records proofs: `sqlite://PATH` or `postgres://USER@HOST/DATABASE`.
    database: SealedUrl,
    /// Connections to the database.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 1024))]
    pool_size: u32,
    /// Threads that verify; as many as usable CPUs unless told.
    #[schemars(range(min = 1, max = 1024))]
    threads: Option<u32>,
    /// Most proofs in one transaction.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 65_536))]
    batch_size: u32,
    /// Longest wait of a proof for others to share its transaction.
    #[serde(default = "linger")]
    linger: Span,
    /// Most proofs waiting for their answer.
    #[serde(default = "queue")]
    #[schemars(range(min = 1, max = 1_048_576))]
    queue: u32,
    /// Leading zero bits that a challenge proof must have.
    #[serde(default = "difficulty")]
    #[schemars(range(min = 1, max = 64))]
    difficulty: u8,
    /// CPUs to run on, such as `0,2-3`; all that may be used unless told.
    cpus: Option<String>,
    /// Niceness, from -20 to 19.
    #[serde(default)]
    #[schemars(range(min = -20, max = 19))]
    nice: Option<i32>,
    /// How often a cold and a warm start are each measured.
    #[serde(default = "startup_samples")]
    #[schemars(range(min = 1, max = 20))]
    startup_samples: u32,
}

fn auto() -> Backend {
    Backend::Auto
}

fn five() -> u32 {
    5
}

fn batch_size() -> u32 {
    256
}

fn linger() -> Span {
    Span(Duration::from_millis(1))
}

fn queue() -> u32 {
    4096
}

fn difficulty() -> u8 {
    16
}

fn startup_samples() -> u32 {
    3
}

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    backend: Backend,
    program: String,
    /// What the process shall have.
    wanted: WantedAttributes,
    /// What the service shall be told.
    parameters: Parameters,
}

/// What it concludes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {
    /// What the service is told.
    parameters: Parameters,
    /// Whether its program is brought into memory first.
    preload: bool,
    /// What that is concluded from.
    startup: startup::Startup,
}

impl Kind for ServiceStartup {
    const NAME: &'static str = "service";
    const ABOUT: &'static str = "starts the verification service and keeps it running for the run";
    const REVISION: u32 = 1;
    const CACHED: bool = true;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        let mut wrong = Vec::new();
        let mut within = |key: &str, value: u32, most: u32| {
            if !(1..=most).contains(&value) {
                let told = format!("must be from 1 to {most}, and is {value}");
                wrong.push(WithError::at(key, told));
            }
        };
        within("pool_size", with.pool_size, 1024);
        within("threads", with.threads.unwrap_or(1), 1024);
        within("batch_size", with.batch_size, 65_536);
        within("queue", with.queue, 1 << 20);
        within("difficulty", with.difficulty.into(), 64);
        within("startup_samples", with.startup_samples, 20);
        if with.linger.0 > Duration::from_secs(1) {
            let told = "a proof does not wait for others for longer than a second";
            wrong.push(WithError::at("linger", told).help("write it like `1ms`"));
        }
        if let Some(cpus) = with.cpus.as_ref().filter(|cpus| cpu_list::parse(cpus).is_none()) {
            let told = format!("`{cpus}` is not a list of CPUs");
            wrong.push(WithError::at("cpus", told).help("write it like `0,2-3`"));
        }
        if with.nice.is_some_and(|nice| !(-20..=19).contains(&nice)) {
            wrong.push(WithError::at("nice", "niceness goes from -20 to 19"));
        }
        wrong
    }

    async fn observe(with: &With, cx: &Context) -> Result<Applicability<Observation>, PhaseError> {
        if !cx.run.sysroot.is_live() {
            let reason = "a tree of files can't run a service; leave out --sysroot".to_owned();
            let observation = look(with, cx);
            return Ok(Applicability::No { reason, observation });
        }
        Ok(Applicability::Yes(look(with, cx)))
    }

    fn depends_on(_: &With, found: &Observation, cx: &Context) -> Result<Dependencies, PhaseError> {
        let mut parts = cx.facts(&[Fact::CpuModel, Fact::UsableCpus, Fact::Memory, Fact::Kernel]);
        parts.insert("program".to_owned(), cx.run.program_digest()?.into());
        parts.insert("wanted".to_owned(), json!(found.wanted));
        parts.insert("parameters".to_owned(), json!(found.parameters));
        Ok(parts)
    }

    async fn decide(
        with: &With,
        found: &Observation,
        cx: &Context,
    ) -> Result<Decision, PhaseError> {
        let spawner = spawner(with, found, cx)?;
        let startup =
            startup::measure(&spawner, &found.parameters, with.startup_samples, cx).await?;
        Ok(Decision {
            parameters: found.parameters.clone(),
            preload: startup.preload_helps(),
            startup,
        })
    }

    fn tell(_: &With, decision: &Decision) -> String {
        let startup = &decision.startup;
        let what = if decision.preload { "program preloaded" } else { "program not preloaded" };
        format!("ready in {:.0} ms cold, {:.0} ms warm; {what}", startup.cold_ms, startup.warm_ms)
    }

    async fn apply(
        with: &With,
        found: &Observation,
        decision: &Decision,
        cx: &Context,
    ) -> Result<Map<String, Value>, PhaseError> {
        let spawner = spawner(with, found, cx)?;
        spawner.sweep().await?;
        if decision.preload {
            startup::preload(&cx.run.program, cx).await?;
        }
        let service = ProcessService::start(spawner, decision.parameters.clone()).await?;
        let ready = service.ready();
        let ledger = service.ledger().to_owned();
        cx.run.services.keep(&cx.phase, Arc::new(service));
        cx.measured(startup::ready_measurement("time_to_ready", vec![ready.seconds]));
        Ok(Map::from_iter([
            ("address".to_owned(), json!(ready.address)),
            ("url".to_owned(), json!(format!("http://{}", ready.address))),
            ("ledger".to_owned(), json!(ledger)),
            ("pid".to_owned(), json!(ready.pid)),
        ]))
    }

    async fn verify(
        _: &With,
        found: &Observation,
        _: &Decision,
        cx: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let service = cx
            .run
            .services
            .started_by(&cx.phase)
            .ok_or_else(|| PhaseError::new("its service is gone"))?;
        let ready = service.ready();
        let seen = attributes(&Sysroot::live(), ready.pid).map_err(|error| {
            PhaseError::because("could not read back what the service's process has", error)
        })?;
        let mut checks = Vec::new();
        if let Some(cpus) = &found.wanted.cpus {
            checks.push(compare("affinity", cpu_list::render(&seen.cpus), cpu_list::render(cpus)));
        }
        if let Some(nice) = found.wanted.nice {
            checks.push(compare("niceness", seen.nice.to_string(), nice.to_string()));
        }
        if let Some(files) = found.wanted.open_files {
            checks.push(compare("open_files", seen.open_files.to_string(), files.to_string()));
        }
        checks.push(answers(ready.address).await?);
        Ok(checks)
    }
}

fn look(with: &With, cx: &Context) -> Observation {
    let facts = &cx.run.facts.cpus;
    let allowed = facts.allowed.as_ref().map(|cpus| cpus.value.clone());
    let hard =
        open_file_limit(&Sysroot::live(), Bound::Hard).ok().map(|reading| reading.value as u64);
    let usable = facts.usable.as_ref().map_or(1, |usable| usable.value);
    let values = [
        json!(with.pool_size),
        json!(with.threads.map_or(usable as u64, u64::from)),
        json!(with.batch_size),
        json!(with.linger),
        json!(with.queue),
    ];
    let parameters = SERVICE_PARAMETERS.map(str::to_owned).into_iter().zip(values);
    Observation {
        backend: Backend::Process,
        program: cx.run.program.display().to_string(),
        wanted: WantedAttributes {
            cpus: with.cpus.as_deref().and_then(cpu_list::parse).or(allowed),
            nice: with.nice,
            open_files: hard.map(|hard| hard.min(OPEN_FILES)),
        },
        parameters: parameters.collect(),
    }
}

fn spawner(with: &With, found: &Observation, cx: &Context) -> Result<Spawner, PhaseError> {
    Ok(Spawner::new(cx.database(&with.database)?, with.difficulty, found.wanted.clone(), cx))
}

fn compare(name: &str, seen: String, wanted: String) -> Check {
    if seen == wanted {
        return Check::matched(name, seen, wanted);
    }
    Check::new(
        name,
        CheckState::Mismatch { seen, wanted, source: "/proc of the service's process".to_owned() },
    )
}

/// Whether the service says of itself over HTTP that it is ready.
async fn answers(address: std::net::SocketAddr) -> Result<Check, PhaseError> {
    let asked = async { PowdClient::connect(address).await?.get("/readyz").await };
    let (status, _) =
        asked.await.map_err(|error| PhaseError::because("could not ask the service", error))?;
    Ok(compare("readyz", status.to_string(), "200".to_owned()))
}
