//! The command line: what can be asked, and the composition of everything that answers.
//!
//! `args` is what was typed, `wire` puts the modules together, each subcommand has a file, and `exit` is
//! where errors become text and exit codes.

mod args;
mod cache;
mod completions;
mod exit;
mod explain;
mod guard;
mod host;
mod load;
mod man;
mod output;
mod pipelines;
mod plan;
mod powd;
mod report;
mod resume;
mod rollback;
mod run;
mod schema;
mod terminal;
mod trust;
mod verify;
mod wire;

pub use exit::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

/// Runs the program with the arguments of the process; answers its exit code.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    exit::finish(dispatch(arguments))
}

fn arguments() -> Result<args::Arguments, clap::Error> {
    let width = terminal::width().min(args::WIDEST_HELP);
    let command = args::Arguments::command().color(terminal::colors()).term_width(width);
    args::Arguments::from_arg_matches(&command.try_get_matches()?)
}

fn dispatch(arguments: args::Arguments) -> Result<ExitCode, exit::Failure> {
    use args::Subcommand::{
        Cache, Check, Completions, Graph, Guard, Host, Load, Man, Plan, Powd, Report, Rollback,
        Run, Schema, Verify,
    };
    terminal::start_log(arguments.verbose)?;
    match arguments.command {
        Run(options) => run::run(&options),
        Plan(options) => plan::plan(&options),
        Check(options) => pipelines::check(&options),
        Graph(options) => pipelines::graph(&options),
        Guard(options) => guard::guard(&options),
        Host(options) => host::host(&options),
        Cache(options) => cache::cache(&options),
        Report(options) => report::report(&options),
        Rollback(options) => rollback::rollback(&options),
        Verify(options) => verify::verify(&options),
        Powd(options) => powd::powd(&options),
        Load(options) => load::load(&options),
        Schema(options) => schema::schema(&options),
        Completions(options) => completions::completions(&options),
        Man(options) => man::man(&options),
    }
}
