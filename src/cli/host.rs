//! `trueup host`.

mod settings;
mod sheet;
mod view;

use std::io::Write as _;

use super::args::HostArgs;
use super::exit::{ExitCode, Failure};
use super::{terminal, wire};
use crate::host::Inspection;

pub(super) fn host(options: &HostArgs) -> Result<ExitCode, Failure> {
    let root = wire::sysroot(&options.sysroot)?;
    let mut out = std::io::stdout().lock();
    if options.settings {
        let listed = settings::list(&root);
        if options.json {
            serde_json::to_writer_pretty(&mut out, &listed)?;
            writeln!(out)?;
        } else {
            out.write_all(settings::text(&listed, terminal::width()).as_bytes())?;
        }
        return Ok(ExitCode::Success);
    }
    let inspection = Inspection::read(&root);
    if options.json {
        serde_json::to_writer_pretty(&mut out, &inspection)?;
        writeln!(out)?;
    } else {
        out.write_all(view::text(&inspection, terminal::width()).as_bytes())?;
    }
    Ok(ExitCode::Success)
}
