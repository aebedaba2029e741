//! Services that phases start: they live as long as the run, and other phases may restart and load them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BoxFuture, PhaseError};
use crate::event::PhaseName;

/// The names of what a service can be told.
pub const SERVICE_PARAMETERS: [&str; 5] = ["pool_size", "threads", "batch_size", "linger", "queue"];

/// What a service is told, by name.
pub type Parameters = BTreeMap<String, Value>;

/// A service that has become ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// From the start of its process until it said that it was ready.
    pub seconds: f64,
}

/// A running service.
pub trait Service: Send + Sync {
    /// Where it listens, and its process; both as of its last start. The address outlives restarts.
    fn ready(&self) -> Ready;

    /// What it has been told.
    fn parameters(&self) -> Parameters;

    /// Stops it, starts it with `parameters` in place of those of the same name, and waits until it is ready.
    fn restart(&self, parameters: Parameters) -> BoxFuture<'_, Result<Ready, PhaseError>>;

    /// Stops it for good and takes away what it left behind.
    fn stop(&self) -> BoxFuture<'_, Result<(), PhaseError>>;
}

/// The services of a run by the phase that started them.
#[derive(Default)]
pub struct Services(Mutex<Vec<(PhaseName, Arc<dyn Service>)>>);

impl Services {
    /// Keeps a service until the end of the run.
    pub fn keep(&self, phase: &PhaseName, service: Arc<dyn Service>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((phase.clone(), service));
    }

    /// The service that a phase started last, if it did.
    #[must_use]
    pub fn started_by(&self, phase: &PhaseName) -> Option<Arc<dyn Service>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, service) = kept.iter().rfind(|(starter, _)| starter == phase)?;
        Some(Arc::clone(service))
    }

    /// Takes out the service that was started last.
    #[must_use]
    pub fn take_last(&self) -> Option<(PhaseName, Arc<dyn Service>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
