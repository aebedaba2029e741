//! Binds a pipeline to kinds, host and variables.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Plan, PlannedPhase, Selection, secret};
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean, one_of};
use crate::phase::{AnyKind, Claim, Registry, WithError};
use crate::pipeline::{Node, Pipeline, Reference, Scope, Tree, needs, references, render};

/// What a pipeline is bound to.
pub struct Binding<'a> {
    /// The kinds there are.
    pub registry: &'a Registry,
    /// What expressions see as `host`.
    pub host: Value,
    /// What expressions see as `env`.
    pub env: Map<String, Value>,
    /// Variables set on the command line, in place of those of the file.
    pub set: Vec<(String, Value)>,
    /// Which phases run.
    pub selection: Selection,
}

/// Binds a pipeline.
///
/// # Errors
/// Everything that is wrong.
pub fn bind(pipeline: Pipeline, binding: Binding<'_>) -> Result<Plan, Diagnostics> {
    let mut found = Vec::new();
    let mut scope =
        Scope { env: Arc::new(binding.env), host: Arc::new(binding.host), ..Scope::default() };
    let set = binding.set.iter().map(|(name, _)| name.clone()).collect();
    set_variables(&pipeline, binding.set, &mut scope, &mut found);
    let needs: Vec<Vec<usize>> =
        needs(&pipeline).into_iter().map(|of| of.into_keys().collect()).collect();
    let selected = binding.selection.apply(&pipeline, &needs, &mut found);
    let kinds = find_kinds(&pipeline, binding.registry, &mut found);
    let mut claims = Vec::new();
    for (position, kind) in kinds.iter().enumerate() {
        if let Some(kind) = kind {
            let claimed = check_with(&pipeline, position, kind.as_ref(), &scope, &mut found);
            claims.extend(claimed.into_iter().map(|claim| (claim, position)));
        }
    }
    check_claims(&pipeline, claims, &selected, &mut found);
    if !found.is_empty() {
        return Err(Diagnostics(found));
    }
    let order = order(&needs);
    let secrets = secret::used(&pipeline, &selected, &set);
    let mut dependents = vec![Vec::new(); needs.len()];
    for (position, of) in needs.iter().enumerate() {
        for need in of {
            dependents[*need].push(position);
        }
    }
    let phases = kinds
        .into_iter()
        .flatten()
        .zip(needs)
        .zip(dependents)
        .zip(selected)
        .map(|(((kind, needs), dependents), selected)| PlannedPhase {
            kind,
            needs,
            dependents,
            selected,
        })
        .collect();
    Ok(Plan { pipeline, phases, scope, order, secrets, expected: Vec::new() })
}

/// Evaluates the variables, each after those it refers to.
fn set_variables(
    pipeline: &Pipeline,
    set: Vec<(String, Value)>,
    scope: &mut Scope,
    found: &mut Vec<Diagnostic>,
) {
    for (name, value) in set {
        if pipeline.vars.iter().any(|(key, _)| key.value == name) {
            Arc::make_mut(&mut scope.vars).insert(name, value);
        } else {
            let known = pipeline.vars.iter().map(|(key, _)| key.value.as_str());
            found.push(
                Diagnostic::error(
                    "plan::unknown_variable",
                    format!("--set names the unknown variable `{name}`"),
                )
                .maybe_help(did_you_mean(&name, known)),
            );
        }
    }
    let mut open: Vec<usize> = (0..pipeline.vars.len())
        .filter(|at| !scope.vars.contains_key(&pipeline.vars[*at].0.value))
        .collect();
    while !open.is_empty() {
        let ready: Vec<usize> = open
            .iter()
            .copied()
            .filter(|at| {
                refers_to(&pipeline.vars[*at].1).all(|name| scope.vars.contains_key(&name))
            })
            .collect();
        if ready.is_empty() {
            for at in open {
                let (key, _) = &pipeline.vars[at];
                found.push(
                    Diagnostic::error(
                        "plan::variables",
                        format!("variable `{}` depends on itself", key.value),
                    )
                    .at(pipeline.place(&key.span), "needs its own value")
                    .help("variables may refer to each other, but not in a circle"),
                );
            }
            return;
        }
        open.retain(|at| !ready.contains(at));
        for at in ready {
            let (key, node) = &pipeline.vars[at];
            match render(node, scope, &pipeline.source) {
                Ok(value) => {
                    Arc::make_mut(&mut scope.vars).insert(key.value.clone(), value);
                }
                Err(wrong) => {
                    found.extend(wrong);
                    // Its users are not to be blamed as well.
                    Arc::make_mut(&mut scope.vars).insert(key.value.clone(), Value::Null);
                }
            }
        }
    }
}

/// The variables that a tree refers to.
fn refers_to(node: &Node) -> impl Iterator<Item = String> {
    let mut names = Vec::new();
    node.each_text(&mut |text, _| {
        names.extend(references(text).unwrap_or_default().into_iter().filter_map(|reference| {
            match reference {
                Reference::Var { name } => Some(name),
                _ => None,
            }
        }));
    });
    names.into_iter()
}

fn find_kinds(
    pipeline: &Pipeline,
    registry: &Registry,
    found: &mut Vec<Diagnostic>,
) -> Vec<Option<Arc<dyn AnyKind>>> {
    pipeline
        .phases
        .iter()
        .map(|phase| {
            let kind = registry.get(&phase.uses.value).cloned();
            if kind.is_none() {
                let known = registry.iter().map(|kind| kind.name());
                found.push(
                    Diagnostic::error(
                        "plan::unknown_kind",
                        format!("unknown kind `{}`", phase.uses.value),
                    )
                    .at(pipeline.place(&phase.uses.span), "no kind has this name")
                    .maybe_help(did_you_mean(&phase.uses.value, known)),
                );
            }
            kind
        })
        .collect()
}

/// Checks a `with` as far as it can be before any phase has run, and answers what it claims.
fn check_with(
    pipeline: &Pipeline,
    position: usize,
    kind: &dyn AnyKind,
    scope: &Scope,
    found: &mut Vec<Diagnostic>,
) -> Vec<Claim> {
    let phase = &pipeline.phases[position];
    let mut waits = false;
    phase.with.each_text(&mut |text, _| {
        let references = references(text).unwrap_or_default();
        waits |= references.iter().any(|reference| matches!(reference, Reference::Phase { .. }));
    });
    let unknown = unknown_keys(pipeline, &phase.with, kind);
    let keys_are_known = unknown.is_empty();
    found.extend(unknown);
    if waits || !keys_are_known {
        return Vec::new();
    }
    match render(&phase.with, scope, &pipeline.source) {
        Err(wrong) => found.extend(wrong),
        Ok(with) => match kind.bind(&with) {
            Ok(bound) => return bound.claims(),
            Err(wrong) => found
                .extend(wrong.iter().map(|error| with_error(pipeline, &phase.with, kind, error))),
        },
    }
    Vec::new()
}

/// All keys of `with` that its kind does not know.
fn unknown_keys(pipeline: &Pipeline, with: &Node, kind: &dyn AnyKind) -> Vec<Diagnostic> {
    let schema = kind.with_schema();
    let Some(known) = schema.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    let Tree::Map(entries) = &with.tree else { return Vec::new() };
    entries
        .iter()
        .filter(|(key, _, _)| !known.contains_key(key))
        .map(|(key, span, _)| {
            Diagnostic::error("plan::unknown_key", format!("`{}` has no key `{key}`", kind.name()))
                .at(pipeline.place(span), "not known here")
                .maybe_help(did_you_mean(key, known.keys().map(String::as_str)))
        })
        .collect()
}

/// What a kind says of its `with`, at its place in the file.
pub(crate) fn with_error(
    pipeline: &Pipeline,
    with: &Node,
    kind: &dyn AnyKind,
    error: &WithError,
) -> Diagnostic {
    let span: Range<usize> = with.span_of(&error.path);
    let key = error.path.join(".");
    let told = if key.is_empty() {
        format!("`{}` can't be told this: {}", kind.name(), error.message)
    } else {
        format!("`{key}`: {}", error.message)
    };
    Diagnostic::error("plan::with", told)
        .at(pipeline.place(&span), "")
        .maybe_help(error.help.clone().or_else(|| described(kind, &error.path)))
}

/// What a kind says of one of its keys, or the keys that it has.
fn described(kind: &dyn AnyKind, path: &[String]) -> Option<String> {
    let schema = kind.with_schema();
    let keys = schema.get("properties")?.as_object()?;
    let Some(key) = path.first() else {
        return Some(one_of(keys.keys().map(String::as_str)));
    };
    let description = keys.get(key)?.get("description")?.as_str()?;
    Some(format!("`{key}` is described so: {description}"))
}

fn check_claims(
    pipeline: &Pipeline,
    claims: Vec<(Claim, usize)>,
    selected: &[bool],
    found: &mut Vec<Diagnostic>,
) {
    let mut holders: BTreeMap<Claim, usize> = BTreeMap::new();
    for (claim, position) in claims.into_iter().filter(|(_, position)| selected[*position]) {
        let phase = &pipeline.phases[position].name;
        match holders.get(&claim).filter(|holder| **holder != position) {
            None => drop(holders.insert(claim, position)),
            Some(holder) => {
                let other = &pipeline.phases[*holder].name;
                let told =
                    format!("`{}` and `{}` both claim {}", other.value, phase.value, claim.0);
                found.push(
                    Diagnostic::error("plan::claim", told)
                        .at(pipeline.place(&phase.span), "claims it too")
                        .at(pipeline.place(&other.span), "claims it")
                        .help("let one phase set it"),
                );
            }
        }
    }
}

/// Positions, each after those it needs, otherwise in the order of the file. The graph is known to have no cycle.
fn order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut graph = petgraph::graph::DiGraph::<(), ()>::new();
    let nodes: Vec<_> = needs.iter().map(|_| graph.add_node(())).collect();
    // Reversed twice, so that ties fall in the order of the file.
    for (position, of) in needs.iter().enumerate() {
        for need in of {
            graph.add_edge(nodes[position], nodes[*need], ());
        }
    }
    let mut order: Vec<usize> = petgraph::algo::toposort(&graph, None)
        .unwrap_or_default()
        .into_iter()
        .map(petgraph::prelude::NodeIndex::index)
        .collect();
    order.reverse();
    order
}
