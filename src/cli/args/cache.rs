//! What can be typed about remembered decisions.

use clap::Args;

use super::{PipelineArgs, StateArgs};
use crate::unit::{Bytes, Span};

#[derive(Debug, Args)]
pub(in crate::cli) struct CacheArgs {
    #[command(flatten)]
    pub(in crate::cli) state: StateArgs,

    #[command(subcommand)]
    pub(in crate::cli) command: CacheCommand,
}

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum CacheCommand {
    /// List remembered decisions.
    Ls {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell whether a phase would take its decision from the cache now, and what has changed if it would not.
    Explain(ExplainArgs),
    /// Remove decisions by age and size, or those that have expired when not told which.
    Prune(PruneArgs),
    /// Forget decisions: all, or those of one kind of phase.
    Clear {
        /// The kind of phase, as `trueup check --kinds` lists it, or `gate` for the verdicts of gates; all unless told.
        kind: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// The phase to explain.
    #[arg(value_name = "PHASE")]
    pub(in crate::cli) phase: String,

    /// Compare with the decision that this run used or made, instead of the latest one of the phase.
    #[arg(long, value_name = "RUN")]
    pub(in crate::cli) against: Option<String>,

    /// Print it as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) pipeline: PipelineArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PruneArgs {
    /// What was decided longer ago, such as 7d.
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) older_than: Option<Span>,

    /// The oldest, until all together are not larger, such as 100MiB.
    #[arg(long, value_name = "SIZE")]
    pub(in crate::cli) max_size: Option<Bytes>,

    /// What has expired.
    #[arg(long)]
    pub(in crate::cli) expired: bool,
}
