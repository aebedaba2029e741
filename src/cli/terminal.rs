//! What the terminal can show, and the diagnostic log.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::exit::Failure;
use crate::diagnostic::Style;

/// How errors are drawn on standard error.
pub(super) fn error_style() -> Style {
    let tty = io::stderr().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Style { color: tty && !plain, unicode: tty && !plain, width: width() }
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
