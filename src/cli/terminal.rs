//! What the terminal can show, and the diagnostic log.

use std::io::{self, IsTerminal, Write as _};
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::exit::Failure;
use crate::diagnostic::{Diagnostic, Style, render};
use crate::report::wrap;
use crate::secret::Secrets;
use crate::shown;

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

/// When clap draws its help and its errors in colour. Left to itself it takes a `CI` in the environment for a wish.
pub(super) fn colors() -> clap::ColorChoice {
    if plain() { clap::ColorChoice::Never } else { clap::ColorChoice::Auto }
}

/// Columns of the terminal; 80 where there is none, 160 at most: longer lines are hard to read.
pub(super) fn width() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).clamp(40, 160),
        _ => 80,
    }
}

/// Writes a text that may have come from anywhere, as lines within the terminal's width where words allow it: the first
/// is indented by so many columns, and those that go on by four more.
pub(super) fn tell(out: &mut impl io::Write, indent: usize, text: &str) -> io::Result<()> {
    let lines = wrap(text, width().saturating_sub(indent + 4).max(20));
    for (at, line) in lines.iter().enumerate() {
        let indent = if at == 0 { indent } else { indent + 4 };
        writeln!(out, "{:indent$}{line}", "")?;
    }
    Ok(())
}

/// The secrets that nothing printed may tell.
static SECRETS: OnceLock<Secrets> = OnceLock::new();

/// Sees to it that no error, warning or line of the diagnostic log tells a secret.
pub(super) fn keep(secrets: Secrets) {
    // A command reads the secrets of one plan, once.
    let _ = SECRETS.set(secrets);
}

/// Most errors or warnings that are drawn at once: of a file with thousands, the first show what is wrong with it.
const MOST: usize = 100;

/// Draws errors and warnings on standard error.
pub(super) fn warn(diagnostics: &[Diagnostic]) {
    let (shown, more) = diagnostics.split_at(diagnostics.len().min(MOST));
    let mut told = shown.to_vec();
    if let Some(secrets) = SECRETS.get() {
        // Before lines are broken.
        for one in &mut told {
            let texts = one.causes.iter_mut().chain([&mut one.message]).chain(&mut one.help);
            texts.for_each(|text| secrets.hide(text));
        }
    }
    let text = render(&told, error_style());
    let _ = Log.write_all(text.as_bytes());
    if !more.is_empty() {
        let _ = writeln!(Log, "and {} more like these", more.len());
    }
}

/// Standard error, on which no secret and no password of a URL is told. What is written at once is looked at as a whole.
struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        shown::hide_passwords(&mut text);
        if let Some(secrets) = SECRETS.get() {
            secrets.hide(&mut text);
        }
        // A terminal that is gone is nobody's failure; the diagnostic log would panic over one.
        let _ = io::stderr().write_all(text.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Says a sentence on standard error.
pub(super) fn say(sentence: &str) {
    let _ = writeln!(Log, "{}", shown::in_line(sentence));
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
        .with_writer(|| Log)
        .finish()
        .with(targets)
        .try_init()
        .map_err(|error| Failure::because("cli::log", &error))
}
