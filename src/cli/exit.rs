//! Where errors become text, and outcomes exit codes.

use std::io;

use nix::sys::signal::Signal;

use super::terminal;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::event::OverallStatus;

/// The exit codes of `trueup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// All went well.
    Success,
    /// What was asked for was tried and failed.
    Failed,
    /// Wrong usage, or a pipeline that is not valid; nothing was tried.
    Invalid,
    /// Only what is marked optional failed.
    Partial,
    /// Another run holds the lock.
    Locked,
    /// Something is not as it was left: `plan --detailed-exitcode` found changes to make, a plan no longer holds, or a
    /// rollback did not take back what somebody else had set since.
    Drift,
    /// Cancelled by a signal, after taking back what was half done.
    Cancelled(Signal),
}

impl ExitCode {
    /// 0, 1, 2, 3, 4, 5, or 128 and the number of the signal.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Invalid => 2,
            Self::Partial => 3,
            Self::Locked => 4,
            Self::Drift => 5,
            Self::Cancelled(signal) => 128 + signal as u8,
        }
    }

    /// The code of a run that ended so.
    #[must_use]
    pub fn of(status: OverallStatus, signal: Option<Signal>) -> Self {
        match status {
            OverallStatus::Success => Self::Success,
            OverallStatus::PartialSuccess => Self::Partial,
            OverallStatus::Failed => Self::Failed,
            OverallStatus::Cancelled => signal.map_or(Self::Failed, Self::Cancelled),
        }
    }
}

/// Why a command could not do its work, and the code it ends with.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: ExitCode,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// A failure told by an error and its causes.
    pub(super) fn because(code: &'static str, error: &dyn std::error::Error) -> Self {
        Self { code: ExitCode::Failed, diagnostics: vec![Diagnostic::from_error(code, error)] }
    }

    pub(super) fn exit(self, code: ExitCode) -> Self {
        Self { code, ..self }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(first) = self.diagnostics.first_mut() {
            first.help = Some(help.into());
        }
        self
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { code: ExitCode::Failed, diagnostics: vec![diagnostic] }
    }
}

/// What is wrong with an input, before anything was tried.
impl From<Diagnostics> for Failure {
    fn from(Diagnostics(diagnostics): Diagnostics) -> Self {
        Self { code: ExitCode::Invalid, diagnostics }
    }
}

/// Output that nobody reads any more is no failure: `trueup report show | head`.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self { code: ExitCode::Success, diagnostics: Vec::new() }
        } else {
            Self::because("cli::io", &error)
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => Self::because("cli::json", &error),
        }
    }
}

/// Tells what went wrong and answers the code.
pub(super) fn finish(result: Result<ExitCode, Failure>) -> std::process::ExitCode {
    let code = result.unwrap_or_else(|failure| {
        terminal::warn(&failure.diagnostics);
        failure.code
    });
    std::process::ExitCode::from(code.number())
}

/// Tells what clap found, or shows the help or version that was asked for.
pub(super) fn usage(error: &clap::Error) -> std::process::ExitCode {
    let _ = error.print();
    std::process::ExitCode::from(if error.use_stderr() { ExitCode::Invalid.number() } else { 0 })
}

/// The third signal: leaves at once; the journal knows what to do next time.
#[expect(clippy::exit, reason = "the user has asked three times")]
pub(super) fn leave(signal: i32) -> ! {
    std::process::exit(128 + signal)
}
