//! The service as a whole: opens the ledger, listens, answers, and stops without losing an answer.
//!
//! The order of a stop is the order of the data: no new connections; every request that was read is answered, which
//! takes the threads and writers along; then the threads end, the last batches are written, and the ledger is
//! closed. What was acknowledged is durable before that, by [`batch`](super::batch); so a kill loses no acknowledgement either.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::batch::Writer;
use super::config::Config;
use super::ledger::{Ledger, LedgerError};
use super::listener;
use super::metrics::Metrics;
use super::server::{App, REQUEST_LIMIT, router};
use super::worker::Workers;
use crate::clock::Clock;
use crate::diagnostic::Diagnostics;

/// Longest time that open requests are waited for at a stop: a request's own limit, and a little to send the answer.
const DRAIN_LIMIT: Duration = REQUEST_LIMIT.saturating_add(Duration::from_secs(2));

/// Why the service could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Its configuration is wrong.
    #[error("could not start with this configuration")]
    Config(#[source] Diagnostics),
    /// Its ledger can't be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its address can't be had.
    #[error("could not listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its threads can't be had.
    #[error("could not start the threads that check proofs")]
    Threads(#[source] io::Error),
}

/// Runs the service until `shutdown`, and then until all it accepted is answered. `on_ready` is told the address
/// once it answers there.
///
/// # Errors
/// When it can't start; once it is ready it ends without an error.
pub async fn run(
    config: Config,
    shutdown: CancellationToken,
    clock: Clock,
    on_ready: impl FnOnce(SocketAddr),
) -> Result<(), ServiceError> {
    config.validate().map_err(ServiceError::Config)?;
    let started = clock.instant();
    let ledger =
        Arc::new(Ledger::open(&config.database, config.pool(), config.ledger.clone()).await?);
    let served = serve(&config, &shutdown, &clock, (ledger.clone(), started), on_ready).await;
    ledger.close().await;
    served
}

async fn serve(
    config: &Config,
    shutdown: &CancellationToken,
    clock: &Clock,
    (ledger, started): (Arc<Ledger>, std::time::Instant),
    on_ready: impl FnOnce(SocketAddr),
) -> Result<(), ServiceError> {
    let refused = |source| ServiceError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let metrics = Arc::new(Metrics::default());
    let writer = Writer {
        ledger: ledger.clone(),
        batching: config.batching(),
        metrics: metrics.clone(),
        clock: clock.clone(),
    };
    let (workers, intake) =
        Workers::start(config.capacity(), &config.rules, &writer).map_err(ServiceError::Threads)?;
    let app = Arc::new(App {
        intake,
        ledger,
        metrics,
        clock: clock.clone(),
        started,
        max_proofs: config.max_proofs(),
        stop: shutdown.clone(),
    });
    let serving = listener::serve(listener, router(app), shutdown.clone(), DRAIN_LIMIT);
    config.notifier.tell(&ready(address));
    on_ready(address);
    tracing::info!(%address, ledger = %config.database, "verifying");
    let told = async {
        shutdown.cancelled().await;
        tracing::info!("stopping: answering what was accepted");
        config.notifier.tell("STOPPING=1\nSTATUS=answering what was accepted\n");
    };
    tokio::join!(serving, told);
    workers.finish().await;
    Ok(())
}

/// What the service manager is told when the service answers. The last line is how whoever started it with port 0 learns
/// the port; service managers ignore names that begin with `X_`.
fn ready(address: SocketAddr) -> String {
    format!("READY=1\nSTATUS=verifying on {address}\nX_TRUEUP_ADDRESS={address}\n")
}
