//! What is wrong, where, and what to do about it: data that errors carry, rendered in one place.
//!
//! A [`Diagnostic`] has a stable code (listed in docs/errors.md), a message that completes "error:",
//! where it can be told a place in a file, and help. Knows nothing of pipelines or hosts.

mod excerpt;
mod render;
mod suggest;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use render::{Style, render};
pub use suggest::{did_you_mean, one_of};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The work goes on; somebody should know.
    Warning,
    /// The work can't be done.
    Error,
}

/// A text that places point into: a file as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as the user wrote it.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Who else than root could have written it, where root is to do what it says.
    pub doubt: Option<String>,
}

impl Source {
    /// A source of the given name and text, of which nobody asks who wrote it.
    #[must_use]
    pub fn new(path: &Path, text: String) -> Arc<Self> {
        Arc::new(Self { name: path.display().to_string(), text, doubt: None })
    }

    /// Line and column, both from 1, of a byte offset; the column counts characters.
    #[must_use]
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// A stretch of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The text pointed into.
    pub source: Arc<Source>,
    /// The bytes meant.
    pub span: Range<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.source.line_column(self.span.start);
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable name of the kind of mistake, such as `pipeline::cycle`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
    /// Where, with a word about what stands there.
    pub places: Vec<(Place, String)>,
    /// What would be right.
    pub help: Option<String>,
    /// Why it came to this, outermost first.
    pub causes: Vec<String>,
}

impl Diagnostic {
    /// An error of the given code and message.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            places: Vec::new(),
            help: None,
            causes: Vec::new(),
        }
    }

    /// A warning of the given code and message.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// An error of the given code made of `error` and all the causes below it.
    #[must_use]
    pub fn from_error(code: &'static str, error: &dyn std::error::Error) -> Self {
        let mut made = Self::error(code, error.to_string());
        let mut cause = error.source();
        while let Some(source) = cause {
            made.causes.push(source.to_string());
            cause = source.source();
        }
        made
    }

    /// Points at a place; `label` says what stands there and may be empty.
    #[must_use]
    pub fn at(mut self, place: Place, label: impl Into<String>) -> Self {
        self.places.push((place, label.into()));
        self
    }

    /// Says what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what would be right, where that is known.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

impl Diagnostic {
    /// The place, what is wrong with its causes, and what would be right, in one line.
    #[must_use]
    pub fn in_a_line(&self) -> String {
        let help = self.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
        format!("{self}{help}")
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((place, _)) = self.places.first() {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}", self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with an input, at once; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}
