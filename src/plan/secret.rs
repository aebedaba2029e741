//! Which secrets the selected phases use, in their `with` or by way of variables.

use std::collections::{BTreeSet, HashSet};

use crate::pipeline::{Mention, Node, Pipeline, Reference, Spot, secrets};
use crate::secret::Source;

/// Every secret that is used, each once, at its first place. Variables `set` on the command line have values there.
pub(super) fn used(
    pipeline: &Pipeline,
    selected: &[bool],
    set: &BTreeSet<String>,
) -> Vec<Spot<Source>> {
    let mut found: Vec<Spot<Source>> = Vec::new();
    let mut known: HashSet<Source> = HashSet::new();
    let mut seen = set.clone();
    let phases = pipeline.phases.iter().zip(selected).filter(|(_, selected)| **selected);
    let mut open: Vec<(&Node, &[Mention])> =
        phases.map(|(phase, _)| (&*phase.with, &*phase.mentions)).collect();
    while let Some((node, mentions)) = open.pop() {
        for secret in secrets(node) {
            if known.insert(secret.value.clone()) {
                found.push(secret);
            }
        }
        for mention in mentions {
            let Reference::Var { name } = &mention.reference else { continue };
            let variable = pipeline.variable(name);
            if let Some(variable) = variable.filter(|_| seen.insert(name.clone())) {
                open.push((&variable.value, &*variable.mentions));
            }
        }
    }
    found.sort_by_key(|secret| secret.span);
    found
}
