//! Reports that are files, each a form of one [`Report`].

pub mod durations;
mod json;
mod junit;
mod kept;
mod markdown;
mod prometheus;

use std::io::{self, Write};

pub use durations::last_durations;
pub use json::schema;
pub use kept::{RunFiles, Wanted};

use super::{Report, Since};

/// A form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// All of it.
    Json,
    /// JUnit XML, as Jenkins reads it.
    Junit,
    /// Markdown, for the summary of a CI job.
    Markdown,
    /// Metrics for the textfile collector of Prometheus' `node_exporter`.
    Prometheus,
}

impl Format {
    /// Writes a report in this form.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(self, report: &Report, to: &mut dyn Write) -> io::Result<()> {
        self.write_later(report, None, to)
    }

    /// The same with what has become of the changes `since`, in the forms that tell what may be done about them.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_later(
        self,
        report: &Report,
        since: Option<&Since>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        match self {
            Self::Json => json::write(report, to),
            Self::Junit => junit::write(report, to),
            Self::Markdown => {
                to.write_all(markdown::markdown(report, since, usize::MAX).as_bytes())
            }
            Self::Prometheus => prometheus::write(report, to),
        }
    }
}
