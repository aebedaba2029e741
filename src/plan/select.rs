//! Which phases of a pipeline run: all, or those named with what they need, without those left out.

use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::pipeline::Pipeline;

/// What was asked for on the command line.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These phases and all that they need; empty means all.
    pub only: Vec<String>,
    /// Not these.
    pub skip: Vec<String>,
}

impl Selection {
    /// Whether each phase runs; names that are not known go to `found`.
    pub(super) fn apply(
        &self,
        pipeline: &Pipeline,
        needs: &[Vec<usize>],
        found: &mut Vec<Diagnostic>,
    ) -> Vec<bool> {
        let mut find = |names: &[String], option: &str| -> Vec<usize> {
            let mut all = Vec::new();
            for name in names {
                let positions = pipeline.positions(name);
                if positions.is_empty() && pipeline.is_whole() {
                    found.push(unknown(pipeline, name, option));
                }
                all.extend(positions);
            }
            all
        };
        let mut wanted = find(&self.only, "--only");
        let skipped = find(&self.skip, "--skip");
        let mut selected = vec![self.only.is_empty(); pipeline.phases.len()];
        while let Some(position) = wanted.pop() {
            if !std::mem::replace(&mut selected[position], true) {
                wanted.extend(needs.get(position).into_iter().flatten());
            }
        }
        for position in skipped {
            selected[position] = false;
        }
        selected
    }
}

fn unknown(pipeline: &Pipeline, name: &str, option: &str) -> Diagnostic {
    let told = format!("{option} names the unknown phase `{name}`");
    Diagnostic::error("plan::unknown_phase", told)
        .maybe_help(did_you_mean(name, pipeline.phase_names()))
}
