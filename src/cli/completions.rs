//! `trueup completions`: made from the definition of what can be typed.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::args::{Arguments, CompletionShell, CompletionsArgs};
use super::exit::{ExitCode, Failure};

pub(super) fn completions(options: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let shell = match options.shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    // By way of memory: the generator can't tell that a pipe was closed.
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "trueup", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::Success)
}
