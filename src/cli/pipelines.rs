//! `trueup check` and `trueup graph`.

use std::io::Write as _;

use super::args::{CheckArgs, PipelineArgs};
use super::exit::{ExitCode, Failure};
use super::wire;
use crate::phase;
use crate::plan::graph_text;

pub(super) fn check(options: &CheckArgs) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    if options.kinds {
        for kind in phase::standard().iter() {
            writeln!(out, "{:<18} {}", kind.name(), kind.about())?;
        }
        return Ok(ExitCode::Success);
    }
    let (plan, _) = wire::plan(&options.pipeline)?;
    let file = plan.pipeline.path.display();
    let noun = if plan.phases.len() == 1 { "phase" } else { "phases" };
    writeln!(out, "{file}: {} {noun}, nothing wrong", plan.phases.len())?;
    Ok(ExitCode::Success)
}

pub(super) fn graph(options: &PipelineArgs) -> Result<ExitCode, Failure> {
    let (plan, _) = wire::plan(options)?;
    std::io::stdout().lock().write_all(graph_text(&plan).as_bytes())?;
    Ok(ExitCode::Success)
}
