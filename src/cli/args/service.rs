//! What can be typed about the verification service and its load.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::database::DatabaseUrl;
use crate::unit::Span;

#[derive(Debug, Args)]
pub(in crate::cli) struct PowdArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8645")]
    pub(in crate::cli) listen: SocketAddr,

    /// Listen elsewhere than on loopback, without encryption.
    #[arg(long)]
    pub(in crate::cli) public: bool,

    /// Where proofs are recorded: `sqlite://PATH` or `postgres://USER@HOST/DATABASE`.
    #[arg(
        long,
        value_name = "URL",
        env = "TRUEUP_DATABASE_URL",
        default_value = "sqlite://results/trueup.db",
        hide_env_values = true
    )]
    pub(in crate::cli) database: DatabaseUrl,

    /// Table of the record; it is made when missing.
    #[arg(long, value_name = "TABLE", default_value = "powd_proofs")]
    pub(in crate::cli) ledger: String,

    /// Connections to the database.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(in crate::cli) pool_size: u32,

    /// Threads that verify; as many as usable CPUs unless told.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) threads: Option<usize>,

    /// Most proofs in one transaction.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(in crate::cli) batch_size: usize,

    /// Longest wait of a proof for others to share its transaction.
    #[arg(long, value_name = "DURATION", default_value = "1ms")]
    pub(in crate::cli) linger: Span,

    /// Most requests waiting to be verified; beyond it the answer is 429.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(in crate::cli) queue: usize,

    /// Leading zero bits that a challenge proof must have.
    #[arg(long, value_name = "BITS", default_value_t = 16)]
    pub(in crate::cli) difficulty: u8,

    /// CPUs to run on, such as 0,2-3.
    #[arg(long, value_name = "LIST")]
    pub(in crate::cli) cpus: Option<String>,

    /// Niceness to run at, from -20 to 19.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(in crate::cli) nice: Option<i32>,

    /// Limit of open files.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) open_files: Option<u64>,

    /// Stop when standard input ends: the process that holds it open has gone.
    #[arg(long)]
    pub(in crate::cli) stop_with_stdin: bool,
}

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
