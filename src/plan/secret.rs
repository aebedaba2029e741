//! Which secrets the selected phases use, in their `with` or by way of variables.

use std::collections::BTreeSet;

use crate::pipeline::{Node, Pipeline, Reference, Spot, references, secrets};
use crate::secret::Source;

/// Every secret that is used, each once, at its first place. Variables `set` on the command line have values there.
pub(super) fn used(
    pipeline: &Pipeline,
    selected: &[bool],
    set: &BTreeSet<String>,
) -> Vec<Spot<Source>> {
    let mut found: Vec<Spot<Source>> = Vec::new();
    let mut seen = set.clone();
    let phases = pipeline.phases.iter().zip(selected).filter(|(_, selected)| **selected);
    let mut open: Vec<&Node> = phases.map(|(phase, _)| &phase.with).collect();
    while let Some(node) = open.pop() {
        for secret in secrets(node) {
            if !found.iter().any(|known| known.value == secret.value) {
                found.push(secret);
            }
        }
        node.each_text(&mut |text, _| {
            for reference in references(text).unwrap_or_default() {
                let Reference::Var { name } = reference else { continue };
                let var = pipeline.vars.iter().find(|(key, _)| key.value == name);
                if let Some((_, node)) = var.filter(|_| seen.insert(name)) {
                    open.push(node);
                }
            }
        });
    }
    found.sort_by_key(|secret| secret.span.start);
    found
}
