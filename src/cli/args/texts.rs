//! What can be typed to have texts printed: schemas, completions, the manual.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(in crate::cli) struct SchemaArgs {
    /// What it is the schema of.
    #[arg(value_enum, default_value_t = SchemaOf::Pipeline)]
    pub(in crate::cli) of: SchemaOf,
}

/// A document that has a published form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SchemaOf {
    /// Pipelines, with what each kind of phase is told.
    Pipeline,
    /// Plans, as `trueup plan -o` writes them.
    Plan,
    /// Reports.
    Report,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompletionsArgs {
    /// The shell that they are for.
    #[arg(value_enum)]
    pub(in crate::cli) shell: CompletionShell,
}

/// A shell that completions can be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CompletionShell {
    /// GNU bash, with bash-completion or without.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ManArgs {
    /// Write trueup.1 and a page for each command into this folder; without it, the first page is printed.
    #[arg(value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
}
