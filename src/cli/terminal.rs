//! What the terminal can show, and the diagnostic log.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::exit::Failure;
use crate::diagnostic::Style;

/// How errors are drawn on standard error.
pub(super) fn error_style() -> Style {
    let fancy = io::stderr().is_terminal() && !plain();
    Style { color: fancy, unicode: fancy, width: width() }
}

/// Whether the environment asks for nothing but text: `NO_COLOR`, `CLICOLOR=0`, or a terminal that can do no more.
fn plain() -> bool {
    let is = |name: &str, wanted: &str| std::env::var_os(name).is_some_and(|value| value == wanted);
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || is("CLICOLOR", "0")
        || is("TERM", "dumb")
}

/// Columns of the terminal; 80 where there is none, 160 at most: longer lines are hard to read.
pub(super) fn width() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).clamp(40, 160),
        _ => 80,
    }
}

/// Starts the diagnostic log on standard error: warnings, and with each `-v` more.
pub(super) fn start_log(verbose: u8) -> Result<(), Failure> {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // Of what others log, only what is really wrong.
    let targets =
        Targets::new().with_default(level.min(LevelFilter::ERROR)).with_target("trueup", level);
    let targets = if verbose > 1 { targets.with_default(level) } else { targets };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(error_style().color)
        .with_writer(io::stderr)
        .finish()
        .with(targets)
        .try_init()
        .map_err(|error| Failure::because("cli::log", &error))
}
