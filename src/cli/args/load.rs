//! What can be typed about load for the verification service.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::unit::Span;

#[derive(Debug, Args)]
pub(in crate::cli) struct LoadArgs {
    /// The service to load.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8645")]
    pub(in crate::cli) target: SocketAddr,

    /// Clients, each with a connection of its own and one request at a time.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(in crate::cli) clients: usize,

    /// Proofs in one request.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(in crate::cli) batch: usize,

    /// Open loop: requests a second, whether or not answers come. Closed loop unless given.
    #[arg(long, value_name = "PER_SECOND")]
    pub(in crate::cli) rate: Option<f64>,

    /// How long to measure, after the warm-up.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(in crate::cli) duration: Span,

    /// Leading zero bits of the proofs; at least what the service asks for.
    #[arg(long, value_name = "BITS", default_value_t = 16)]
    pub(in crate::cli) difficulty: u8,

    /// Print it as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl LoadArgs {
    /// How long to measure.
    pub(in crate::cli) fn window(&self) -> Duration {
        self.duration.0
    }
}
