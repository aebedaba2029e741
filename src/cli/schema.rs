//! `trueup schema`.

use std::io::Write as _;

use super::args::{SchemaArgs, SchemaOf};
use super::exit::{ExitCode, Failure};
use crate::{phase, plan, report};

pub(super) fn schema(options: &SchemaArgs) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    match options.of {
        SchemaOf::Pipeline => {
            serde_json::to_writer_pretty(&mut out, &plan::schema(&phase::standard()))?;
        }
        SchemaOf::Report => serde_json::to_writer_pretty(&mut out, &report::file::schema())?,
    }
    writeln!(out)?;
    Ok(ExitCode::Success)
}
