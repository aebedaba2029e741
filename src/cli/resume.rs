//! `trueup run --resume`: which run is gone on with, and that it was one of the same pipeline.

use std::path::Path;

use super::args::{PipelineArgs, RunArgs};
use super::exit::{ExitCode, Failure};
use crate::diagnostic::Diagnostic;
use crate::engine::Earlier;
use crate::event::PipelineSummary;
use crate::plan::Plan;

/// Most runs that are followed back.
const MOST: usize = 32;

/// The run to go on with, as its record tells, and the pipeline to run: that of the command line, or else of that run.
pub(super) fn resumed(options: &RunArgs) -> Result<(Earlier, PipelineArgs), Failure> {
    let mut asked = options.pipeline.clone();
    let Some(run) = &options.resume else { return Ok((Earlier::default(), asked)) };
    refuse_file(run, asked.pipeline.as_deref())?;
    let records = |run: &str| super::report::records(&options.state.results, run);
    let mut earlier = Earlier::of(records(run)?);
    // A run that itself went on with another one proves what that one does, too, as far as it came.
    for _ in 0..MOST {
        let Some(before) = earlier.resumes.take() else { break };
        let Ok(records) = records(before.as_str()) else { break };
        earlier = earlier.after(Earlier::of(records));
    }
    if let (None, Some(of)) = (&asked.pipeline, &earlier.pipeline) {
        let path = Path::new(&of.file);
        if !path.is_file() {
            let told = format!(
                "run {} was one of {}, which is not a file seen from here",
                earlier.run, of.file
            );
            let help = format!("name its pipeline: `trueup run PIPELINE --resume {}`", earlier.run);
            return Err(refused(told, help));
        }
        asked.pipeline = Some(path.to_owned());
    }
    Ok((earlier, asked))
}

/// `--resume` takes what stands after it, and that is easily the pipeline.
fn refuse_file(run: &str, pipeline: Option<&Path>) -> Result<(), Failure> {
    let path = Path::new(run);
    let looks_so = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    if !looks_so && !path.is_file() {
        return Ok(());
    }
    let told = format!("`{run}` is the name of a file, and --resume takes that of a run");
    let help = match pipeline {
        Some(pipeline) => format!(
            "`trueup run {} --resume` goes on with the last run, `--resume RUN` with another; `trueup report list` shows \
             the runs",
            pipeline.display()
        ),
        None => format!(
            "the pipeline stands before it: `trueup run {run} --resume`; without one, `trueup run --resume` goes on with \
             that of the last run"
        ),
    };
    Err(refused(told, help))
}

/// Refuses to go on with a run of another pipeline: nothing of it would hold.
pub(super) fn refuse_other(earlier: &Earlier, plan: &Plan) -> Result<(), Failure> {
    let Some(then) = &earlier.pipeline else { return Ok(()) };
    let now = plan.summary();
    if is_same(then, &now) {
        return Ok(());
    }
    let told = format!(
        "run {} was one of `{}` ({}), and not of `{}` ({})",
        earlier.run, then.name, then.file, now.name, now.file
    );
    let help = format!(
        "leave the pipeline out to go on with that run, or name a run of {}: `trueup report list`",
        now.file
    );
    Err(refused(told, help))
}

/// The same file, edited or not; the same text elsewhere; or one of the same name where the other is no longer there.
fn is_same(then: &PipelineSummary, now: &PipelineSummary) -> bool {
    if then.digest == now.digest {
        return true;
    }
    match (Path::new(&then.file).canonicalize(), Path::new(&now.file).canonicalize()) {
        (Ok(then), Ok(now)) => then == now,
        _ => then.name == now.name,
    }
}

fn refused(told: String, help: String) -> Failure {
    Failure::from(Diagnostic::error("run::resume", told).help(help)).exit(ExitCode::Invalid)
}
