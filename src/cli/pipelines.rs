//! `trueup check` and `trueup graph`.

use std::io::Write as _;

use super::args::{CheckArgs, GraphArgs, GraphFormat};
use super::exit::{ExitCode, Failure};
use super::{terminal, wire};
use crate::phase;
use crate::plan::Graph;
use crate::report::wrap;

/// Columns of the names in the list of kinds.
const KINDS: usize = 18;

pub(super) fn check(options: &CheckArgs) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    if options.kinds {
        for kind in phase::standard().iter() {
            let about = wrap(kind.about(), terminal::width().saturating_sub(KINDS + 1));
            writeln!(out, "{:<KINDS$} {}", kind.name(), about.join(&format!("\n{:KINDS$} ", "")))?;
        }
        return Ok(ExitCode::Success);
    }
    let (plan, _) = wire::plan(&options.pipeline)?;
    terminal::warn(&wire::doubted_secrets(&plan));
    let file = plan.pipeline.path.display();
    let noun = if plan.phases.len() == 1 { "phase" } else { "phases" };
    terminal::tell(&mut out, 0, &format!("{file}: {} {noun}, nothing wrong", plan.phases.len()))?;
    Ok(ExitCode::Success)
}

pub(super) fn graph(options: &GraphArgs) -> Result<ExitCode, Failure> {
    let (plan, _) = wire::plan(&options.pipeline)?;
    let plan = wire::expecting(plan, &options.state.results);
    let graph = Graph::new(&plan);
    let text = match options.format {
        GraphFormat::Text => graph.text(terminal::width()),
        GraphFormat::Dot => graph.dot(),
        GraphFormat::Mermaid => graph.mermaid(),
        GraphFormat::Svg => graph.svg(),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::Success)
}
