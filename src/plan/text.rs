//! The graph of a plan as text for a terminal: a line a phase, grouped by how far it is from the start.

use std::fmt::Write as _;

use super::Plan;

/// The graph of a plan.
#[must_use]
pub fn graph_text(plan: &Plan) -> String {
    let mut depth = vec![0_usize; plan.phases.len()];
    for position in &plan.order {
        let above = plan.phases[*position].needs.iter().map(|need| depth[*need] + 1).max();
        depth[*position] = above.unwrap_or(0);
    }
    let width =
        plan.pipeline.phases.iter().map(|phase| phase.name.value.as_str().len()).max().unwrap_or(0);
    let mut text = format!("{} ({})\n", plan.pipeline.name, plan.pipeline.path.display());
    for level in 0..=depth.iter().copied().max().unwrap_or(0) {
        for position in plan.order.iter().filter(|position| depth[**position] == level) {
            let needs: Vec<&str> =
                plan.phases[*position].needs.iter().map(|need| plan.name(*need).as_str()).collect();
            let after = if needs.is_empty() {
                String::new()
            } else {
                format!("  after {}", needs.join(", "))
            };
            let left_out = if plan.phases[*position].selected { "" } else { "  (not selected)" };
            let kind = &plan.spec(*position).uses.value;
            let _ = writeln!(
                text,
                "  {level}  {:width$}  {kind}{after}{left_out}",
                plan.name(*position)
            );
        }
    }
    text
}
