//! What can be typed about changes that runs have kept: to take them back, and to look whether they are in place.

use std::path::PathBuf;

use clap::Args;

use super::LAST;

const VERIFY_CODES: &str = "\
Exit codes:
  0  all that was kept is in place, or nothing was kept
  1  of some nobody can tell: it can't be read, or its run was cut off
  5  some is not in place

From a timer, say:
  systemd-run --on-calendar=hourly trueup verify --results /var/lib/trueup";

/// Where runs keep what they did.
#[derive(Debug, Args)]
pub(in crate::cli) struct ResultsArgs {
    /// Where reports, journals and the embedded database are kept.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "results",
        env = "TRUEUP_RESULTS",
        global = true,
        display_order = LAST
    )]
    pub(in crate::cli) results: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RollbackArgs {
    /// The run whose changes are taken back; all runs, newest first, unless told.
    pub(in crate::cli) run: Option<String>,

    /// Only what this phase has changed; what others have changed stays. May be given more than once, or several with
    /// commas.
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    pub(in crate::cli) phase: Vec<String>,

    /// Take back the run of this journal, a copy: what is in place is looked up on the host, and nothing is written to
    /// the file.
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    pub(in crate::cli) journal: Option<PathBuf>,

    /// Take back values that somebody else has set since, too, and those that were left alone before.
    #[arg(long)]
    pub(in crate::cli) force: bool,

    /// Print a shell script that takes the changes back, and touch nothing.
    #[arg(long)]
    pub(in crate::cli) print: bool,

    /// Prefix of all host paths.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(in crate::cli) sysroot: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) state: ResultsArgs,
}

#[derive(Debug, Args)]
#[command(after_long_help = VERIFY_CODES)]
pub(in crate::cli) struct VerifyArgs {
    /// The run whose changes are looked at; all runs unless told.
    pub(in crate::cli) run: Option<String>,

    /// Print it as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,

    /// Prefix of all host paths.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(in crate::cli) sysroot: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) state: ResultsArgs,
}
