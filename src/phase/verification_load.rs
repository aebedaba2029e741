//! Load for the verification service: fresh valid proofs from real HTTP clients.
//!
//! Joins two islands that do not know each other: the load generator and the service's client. Proofs are
//! mined as they are sent, so their difficulty is the generator's work; keep it low when the service is to
//! be the limit (verifying costs the same whatever the difficulty).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Context, PhaseError};
use crate::clock::Clock;
use crate::measure::load::{
    CallError, Client, ClosedLoop, LoadReport, OpenLoop, Place, Setting, Warmup, Workload, closed,
    open,
};
use crate::powd::client::{ClientError, PowdClient, VerifyBody};
use crate::powd::mine::ChallengeMiner;
use crate::unit::Span;

pub use crate::measure::load::LoadError;

/// The shape of the load in a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoadShape {
    /// Clients, each with a connection of its own and one request at a time.
    #[schemars(range(min = 1, max = 10_000))]
    pub clients: usize,
    /// Proofs in one request.
    #[schemars(range(min = 1, max = 1024))]
    pub batch: usize,
    /// How long each measurement takes, after its warm-up.
    pub duration: Span,
    /// Leading zero bits of the proofs; at least what the service asks for.
    #[schemars(range(min = 1, max = 32))]
    pub difficulty: u8,
}

impl Default for LoadShape {
    fn default() -> Self {
        Self { clients: 64, batch: 1, duration: Span(Duration::from_millis(800)), difficulty: 4 }
    }
}

impl LoadShape {
    /// What is wrong with it beyond types.
    #[must_use]
    pub fn flaw(&self) -> Option<&'static str> {
        if !(1..=10_000).contains(&self.clients) {
            Some("`clients` must be from 1 to 10000")
        } else if !(1..=1024).contains(&self.batch) {
            Some("`batch` must be from 1 to 1024")
        } else if !(1..=32).contains(&self.difficulty) {
            Some("`difficulty` must be from 1 to 32")
        } else if self.duration.0.is_zero() || self.duration.0 > Duration::from_hours(1) {
            Some("`duration` must be more than nothing, and an hour at most")
        } else {
            None
        }
    }
}

/// Load of one service.
#[derive(Debug, Clone, Copy)]
pub struct VerificationLoad {
    /// The service.
    pub target: SocketAddr,
    /// Proofs in one request.
    pub batch: usize,
    /// Leading zero bits of the proofs.
    pub difficulty: u8,
}

/// One client: a connection, and a miner of proofs that no other client finds.
pub struct Verifier {
    connection: PowdClient,
    miner: ChallengeMiner,
    batch: usize,
}

impl Workload for VerificationLoad {
    type Client = Verifier;

    async fn connect(&self, _client: usize) -> Result<Verifier, CallError> {
        let connection = PowdClient::connect(self.target).await.map_err(|error| failed(&error))?;
        Ok(Verifier {
            connection,
            miner: ChallengeMiner::random(self.difficulty),
            batch: self.batch,
        })
    }
}

impl Client for Verifier {
    async fn call(&mut self) -> Result<u64, CallError> {
        let proofs: Vec<_> = self.miner.by_ref().take(self.batch).collect();
        let body = VerifyBody::new(&proofs).map_err(|error| failed(&error))?;
        let reply = self.connection.verify_body(&body).await.map_err(|error| failed(&error))?;
        if reply.accepted == self.batch as u64 {
            Ok(reply.accepted)
        } else if reply.overloaded > 0 {
            Err(CallError::Refused("the service's queue is full".to_owned()))
        } else {
            let told =
                format!("the service accepted {} of {} valid proofs", reply.accepted, self.batch);
            Err(CallError::Failed(told))
        }
    }
}

fn failed(error: &ClientError) -> CallError {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        told = format!("{told}: {source}");
        cause = source.source();
    }
    CallError::Failed(told)
}

impl VerificationLoad {
    /// Measures in a closed loop, or in an open one when a rate is given.
    ///
    /// # Errors
    /// When no client could connect, or the load was stopped.
    pub async fn measure(
        self,
        setting: Setting,
        rate: Option<f64>,
    ) -> Result<LoadReport, LoadError> {
        match rate {
            None => closed(Arc::new(self), ClosedLoop { setting }).await,
            Some(rate) => open(Arc::new(self), OpenLoop { setting, rate }).await,
        }
    }
}

/// The setting of a load of `clients` clients for `duration` against another process.
#[must_use]
pub fn setting(
    clients: usize,
    duration: Duration,
    usable_cpus: f64,
    clock: Clock,
    cancel: CancellationToken,
) -> Setting {
    let warmup =
        Warmup { min: Duration::from_millis(300), max: Duration::from_millis(300).max(duration) };
    Setting {
        clients,
        warmup,
        duration,
        call_timeout: Duration::from_secs(10),
        place: Place::OtherProcess,
        usable_cpus,
        clock,
        cancel,
    }
}

/// Measures the capacity of the service at `target` for a phase.
///
/// # Errors
/// When no client could connect, the phase was told to stop, or nothing was verified at all.
pub async fn capacity(
    target: SocketAddr,
    shape: LoadShape,
    cx: &Context,
) -> Result<LoadReport, PhaseError> {
    let load = VerificationLoad { target, batch: shape.batch, difficulty: shape.difficulty };
    let cpus = cx.run.facts.cpus.usable.as_ref().map_or(1, |usable| usable.value);
    let setting = setting(
        shape.clients,
        shape.duration.0,
        cpus as f64,
        cx.run.clock.clone(),
        cx.cancel.clone(),
    );
    let report = load
        .measure(setting, None)
        .await
        .map_err(|error| PhaseError::because("could not measure the service", error))?;
    if report.units == 0 {
        let why =
            report.errors.first_failure.unwrap_or_else(|| "no request was answered".to_owned());
        return Err(PhaseError::new(format!("the service verified nothing under load: {why}")));
    }
    Ok(report)
}
