//! What is done about files that others than root could have written, where root is to do what they say: a run refuses
//! them unless it is told to trust them, and whoever only looks is warned.

use std::path::Path;

use super::args::StateArgs;
use super::exit::{ExitCode, Failure};
use super::terminal;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::plan::Plan;
use crate::trust;

/// What a run does about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubted {
    Refuse,
    Trust,
}

impl Doubted {
    /// As the flag of `run` says.
    pub(super) fn of(is_trusted: bool) -> Self {
        if is_trusted { Self::Trust } else { Self::Refuse }
    }
}

/// Refuses the files in doubt of a plan, the file in which the plan itself was kept, and the folders of state; or warns of
/// them, and answers what the record is to say of each.
pub(super) fn weigh(
    plan: &Plan,
    kept: Option<&Path>,
    (state, doubted): (&StateArgs, Doubted),
) -> Result<Vec<String>, Failure> {
    let kept =
        kept.and_then(|path| Some(trust::told(&path.display().to_string(), &trust::doubt(path)?)));
    let folders = [&state.results, &state.cache_dir].into_iter().filter_map(|folder| {
        Some(trust::told_of_state(&folder.display().to_string(), &trust::doubt(folder)?))
    });
    let found: Vec<Diagnostic> = in_plan(plan).chain(kept).chain(folders).collect();
    match doubted {
        Doubted::Refuse if !found.is_empty() => {
            Err(Failure::from(Diagnostics(found)).exit(ExitCode::Invalid))
        }
        Doubted::Refuse => Ok(Vec::new()),
        Doubted::Trust => {
            let told = found.iter().map(|one| format!("--trust-pipeline: {}", one.message));
            let told = told.collect();
            terminal::warn(&as_warnings(found));
            Ok(told)
        }
    }
}

/// Warns of the files in doubt of a plan that is only looked at.
pub(super) fn warn(plan: &Plan) {
    terminal::warn(&as_warnings(in_plan(plan).collect()));
}

fn in_plan(plan: &Plan) -> impl Iterator<Item = Diagnostic> {
    plan.sources().filter_map(|source| Some(trust::told(&source.name, source.doubt.as_deref()?)))
}

fn as_warnings(found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    found.into_iter().map(|one| Diagnostic { severity: Severity::Warning, ..one }).collect()
}
