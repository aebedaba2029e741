//! `trueup host`.

mod sheet;
mod view;

use std::io::Write as _;

use super::args::HostArgs;
use super::exit::{ExitCode, Failure};
use super::{terminal, wire};
use crate::host::Inspection;

pub(super) fn host(options: &HostArgs) -> Result<ExitCode, Failure> {
    let inspection = Inspection::read(&wire::sysroot(&options.sysroot)?);
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &inspection)?;
        writeln!(out)?;
    } else {
        out.write_all(view::text(&inspection, terminal::width()).as_bytes())?;
    }
    Ok(ExitCode::Success)
}
