//! What can be typed. This definition is also the help and the manual.

mod cache;
mod kept;
mod load;
mod powd;
mod texts;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, ValueEnum, builder::styling};

use crate::unit::{Bytes, Span};

pub(super) use cache::{CacheArgs, CacheCommand, ExplainArgs, PruneArgs};
pub(super) use kept::{ResultsArgs, RollbackArgs, VerifyArgs};
pub(super) use load::LoadArgs;
pub(super) use powd::{
    BenchArgs, LineForm, MintArgs, MintFormat, PowdArgs, PowdCommand, RulesArgs, ServeArgs,
    VerifyProofsArgs,
};
pub(super) use texts::{CompletionShell, CompletionsArgs, ManArgs, SchemaArgs, SchemaOf};

const STYLES: styling::Styles = styling::Styles::styled()
    .header(styling::AnsiColor::Green.on_default().bold())
    .usage(styling::AnsiColor::Green.on_default().bold())
    .literal(styling::AnsiColor::Cyan.on_default())
    .placeholder(styling::AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes:
  0    SUCCESS
  1    FAILED: a phase ended badly, or the command could not do its work
  2    wrong usage, or a pipeline that is not valid; nothing was tried
  3    PARTIAL_SUCCESS: only what is marked optional ended badly
  4    another run holds the lock
  5    something is not as it was left: there are changes to make (plan
       --detailed-exitcode), a plan no longer holds (run --plan), a value was
       not taken back because it was set to another one since (rollback), or
       what was kept is no longer in place (verify)
       A plan ends with the code of the run that it foresees: 0, 1 or 3.
  129  cancelled by SIGHUP, as when its terminal is closed, after taking back
       what the run changed; 130 by SIGINT, 131 by SIGQUIT, 138 by SIGUSR1,
       140 by SIGUSR2, 142 by SIGALRM
  143  cancelled by SIGTERM, after taking back what the run changed

Files (below --results, `results` by default):
  latest.json                 report of the last run
  runs/<id>/report.json       report of a run
  runs/<id>/events.jsonl      all that happened in it
  journal/<id>.jsonl          what it changed on the host, for `trueup rollback`
  order                       the runs in the order in which they began
  durations.json              how long phases took the last time, for estimates
  trueup.db                   trials, and the embedded default database

Example:
  trueup check                      # is the pipeline right?
  trueup plan                       # what would be done, touching nothing
  trueup run                        # do it, measure it, keep what holds
  trueup report show                # what came of it
  trueup rollback                   # take it all back";

const PLAN_CODES: &str = "\
Exit codes, as far as things are known beforehand:
  0  every phase would end well
  1  a phase would end badly, or the plan could not be made
  2  wrong usage, or a pipeline that is not valid
  3  only phases that are marked optional would end badly
  5  with --detailed-exitcode, instead of 0 and 3: there are changes of the host
     to make; a change that a remembered verdict is against is none

Example:
  trueup plan -o plan.json          # look at it, have it looked at
  trueup run --plan plan.json       # do that, or nothing if it no longer holds";

const COMPLETIONS: &str = "\
Where shells look for them:
  trueup completions bash > /etc/bash_completion.d/trueup
  trueup completions zsh  > /usr/local/share/zsh/site-functions/_trueup
  trueup completions fish > /etc/fish/completions/trueup.fish";

/// Where options stand in help that every command has.
const LAST: usize = 900;

/// Most columns of help: longer lines are hard to read.
pub(super) const WIDEST_HELP: usize = 100;

/// Brings a Linux host and the database-backed service on it to their tuned state, and proves it.
///
/// trueup runs a pipeline of phases. Each phase observes the host, decides by measuring, applies through a journal
/// and verifies. Decisions are remembered for 24 hours; every change of the host can be taken back.
#[derive(Debug, Parser)]
#[command(name = "trueup", version, styles = STYLES, after_long_help = EXIT_CODES)]
pub(super) struct Arguments {
    /// Say more on standard error; twice for still more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = LAST)]
    pub(super) verbose: u8,

    #[command(subcommand)]
    pub(super) command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Run a pipeline: observe, decide, apply, verify.
    Run(RunArgs),
    /// Show what a run would do, and touch nothing.
    #[command(after_long_help = PLAN_CODES)]
    Plan(PlanArgs),
    /// Check a pipeline, and tell everything that is wrong with it.
    Check(CheckArgs),
    /// Show the phases of a pipeline and what each needs.
    Graph(GraphArgs),
    /// Show this host: facts, settings, state, each with its file.
    Host(HostArgs),
    /// List, explain or forget remembered decisions.
    Cache(CacheArgs),
    /// Show reports of earlier runs.
    Report(ReportArgs),
    /// Take back what runs have changed on the host.
    Rollback(RollbackArgs),
    /// Tell whether the changes that runs have kept are still in place.
    Verify(VerifyArgs),
    /// Serve proof-of-work verification over HTTP: the service that the main job tunes.
    Powd(Box<PowdArgs>),
    /// Send proofs to a verification service (`trueup powd`), and measure how many it verifies.
    Load(LoadArgs),
    /// Print the JSON Schema of pipelines, plans or reports.
    Schema(SchemaArgs),
    /// Print completions for a shell.
    #[command(after_long_help = COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print the manual, or write its pages into a folder.
    Man(ManArgs),
    /// End the processes of a run when it is gone; started by the run itself.
    #[command(hide = true)]
    Guard(GuardArgs),
}

#[derive(Debug, Args)]
pub(super) struct GuardArgs {
    /// The mark of the run.
    pub(super) mark: String,
}

/// A pipeline and what it is bound to.
#[derive(Debug, Clone, Args)]
pub(super) struct PipelineArgs {
    /// The pipeline's file: `pipelines/optimize.yaml` unless told, and for `run --resume` that of the run.
    pub(super) pipeline: Option<PathBuf>,

    /// Only these phases, and all that they need. May be given more than once, or several with commas.
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    pub(super) only: Vec<String>,

    /// These phases, all that depend on them, and all that those need. May be given more than once, or several with
    /// commas.
    #[arg(long, value_name = "PHASE", value_delimiter = ',', conflicts_with = "only")]
    pub(super) from: Vec<String>,

    /// Not these phases. May be given more than once, or several with commas.
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    pub(super) skip: Vec<String>,

    /// Set a variable of the pipeline. May be given more than once.
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_value)]
    pub(super) set: Vec<(String, String)>,

    /// Prefix of all host paths: read and change a tree instead of this machine.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) sysroot: PathBuf,
}

impl PipelineArgs {
    /// The pipeline's file.
    pub(super) fn path(&self) -> &Path {
        self.pipeline.as_deref().unwrap_or(Path::new("pipelines/optimize.yaml"))
    }
}

/// Where state is kept.
#[derive(Debug, Args)]
pub(super) struct StateArgs {
    /// Where reports, journals and the embedded database are kept.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "results",
        env = "TRUEUP_RESULTS",
        global = true,
        display_order = LAST
    )]
    pub(super) results: PathBuf,

    /// Where decisions are remembered.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "cache",
        env = "TRUEUP_CACHE",
        global = true,
        display_order = LAST
    )]
    pub(super) cache_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,

    #[command(flatten)]
    pub(super) state: StateArgs,

    /// Measure anew, and remember the new decisions.
    #[arg(long, conflicts_with = "no_cache")]
    pub(super) refresh: bool,

    /// Neither use nor keep remembered decisions.
    #[arg(long)]
    pub(super) no_cache: bool,

    /// Go on where a run that failed or was killed had stopped: what ended well in it is not done again. The last run
    /// unless told.
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "last", conflicts_with_all = ["refresh", "dry_run"])]
    pub(super) resume: Option<String>,

    /// Wait for another run in the same results folder to end, for so long at most: an hour unless told.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1h")]
    pub(super) wait: Option<Span>,

    /// Show what would be done and touch nothing, as `trueup plan` does.
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Run exactly what this plan of `trueup plan -o` says, or nothing when it no longer holds.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["pipeline", "only", "from", "skip", "set", "refresh", "no_cache", "dry_run", "resume"]
    )]
    pub(super) plan: Option<PathBuf>,

    #[command(flatten)]
    pub(super) trust: TrustArgs,

    /// How many phases may run at a time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: u16,

    /// How to show what happens.
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto)]
    pub(super) progress: ProgressMode,

    /// Write the report in another form as well when the run ends, into a folder that is there. May be given more than
    /// once.
    #[arg(long, value_name = "FORMAT=PATH", value_parser = report_file)]
    pub(super) report: Vec<(ReportFormat, PathBuf)>,
}

/// Whose files are trusted.
#[derive(Debug, Args)]
pub(super) struct TrustArgs {
    /// As root, also do what files of the pipeline say that others than root could have written. The report says so.
    #[arg(long)]
    pub(super) trust_pipeline: bool,
}

/// A form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// All of it.
    Json,
    /// JUnit XML, as Jenkins reads it.
    Junit,
    /// Markdown, for the summary of a CI job.
    Markdown,
    /// Metrics for the textfile collector of Prometheus.
    Prometheus,
}

/// How a run shows what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    /// Bars on a terminal, lines elsewhere.
    Auto,
    /// Bars.
    Bar,
    /// Lines.
    Plain,
    /// Every event as a JSON object on standard output.
    Json,
    /// Nothing but the status of the unit that it runs in (`sd_notify`); in a unit with Type=notify it is told always.
    Systemd,
    /// Nothing; the exit code and the report tell.
    None,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,

    #[command(flatten)]
    pub(super) state: StateArgs,

    /// End with exit code 5 when changes of the host are to be made.
    #[arg(long)]
    pub(super) detailed_exitcode: bool,

    /// Write the plan to a file as well, for `trueup run --plan FILE`. Its folder must be there.
    #[arg(short, long, value_name = "FILE", value_parser = new_file)]
    pub(super) output: Option<PathBuf>,

    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,

    /// List the kinds of phases instead.
    #[arg(long)]
    pub(super) kinds: bool,
}

#[derive(Debug, Args)]
pub(super) struct GraphArgs {
    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,

    #[command(flatten)]
    pub(super) state: ResultsArgs,

    /// How to show it.
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub(super) format: GraphFormat,
}

/// A form of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    /// Lines for a terminal.
    Text,
    /// For Graphviz.
    Dot,
    /// For Mermaid, which many web pages draw.
    Mermaid,
    /// A picture that needs nothing else.
    Svg,
}

#[derive(Debug, Args)]
pub(super) struct HostArgs {
    /// List the settings known by name, with values and limits.
    #[arg(long)]
    pub(super) settings: bool,

    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,

    /// Read this tree instead of this machine.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) sysroot: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    pub(super) state: ResultsArgs,

    #[command(subcommand)]
    pub(super) command: ReportCommand,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ReportCommand {
    /// Show the report of a run.
    Show {
        /// The run: its name or the beginning of it, `last`, or `last~1` for the one before.
        #[arg(default_value = "last")]
        run: String,
        /// Print the whole report, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the runs, the last one first.
    List {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what differs between two runs: outcomes, decisions, measurements beyond noise, seconds.
    Diff {
        /// The run that is compared with.
        #[arg(default_value = "last~1")]
        before: String,
        /// The run that is compared.
        #[arg(default_value = "last")]
        after: String,
        /// Print it as JSON, with every field that differs.
        #[arg(long)]
        json: bool,
    },
    /// Make a report again from the record of a run, and print it.
    Export {
        /// The form to print it in.
        #[arg(long, value_enum)]
        format: ReportFormat,
        /// The run: its name or the beginning of it, `last`, or `last~1` for the one before.
        #[arg(default_value = "last")]
        run: String,
    },
    /// Print the JSON Schema of reports.
    Schema,
}

/// A file that is written, or replaced: a device or a folder must not be, and of a link it is the file that it leads
/// to. Whether its folder is there is asked before anything is done, as one that is misspelt would be made.
fn new_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_link = path.is_symlink();
    if (is_link || path.exists()) && !path.is_file() {
        return Err("that is not a file".to_owned());
    }
    if is_link {
        return path.canonicalize().map_err(|error| format!("that link leads nowhere: {error}"));
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => Err(format!("there is no folder {}", folder.display())),
        None => Ok(path),
    }
}

fn report_file(text: &str) -> Result<(ReportFormat, PathBuf), String> {
    let (format, text) = text.split_once('=').ok_or("write it as FORMAT=PATH")?;
    let format = ReportFormat::from_str(format, false)
        .map_err(|_| "a form is one of json, junit, markdown, prometheus")?;
    if text.is_empty() {
        return Err("write the file after the `=`".to_owned());
    }
    let path =
        new_file(text).map_err(|told| format!("{told}; `trueup report export` prints a report"))?;
    let extension = Path::new(text).extension();
    if format == ReportFormat::Prometheus && extension.is_none_or(|end| end != "prom") {
        return Err("the collector reads only files that end in `.prom`".to_owned());
    }
    Ok((format, path))
}

fn name_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Most memory that a report read back may take.
pub(super) const REPORT_LIMIT: Bytes = Bytes(256 << 20);
