//! Binds a pipeline to kinds, host and variables.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::with::{Known, Withs, unknown_facts};
use super::{Plan, PlannedPhase, Selection, secret};
use crate::diagnostic::{Diagnostic, Diagnostics, Source, did_you_mean};
use crate::phase::{Claim, Registry};
use crate::pipeline::{
    Draft, Need, Pipeline, Reference, Rendered, Room, Scope, Variable, is_known, order,
    parse_scalar, render,
};

/// What a pipeline is bound to.
pub struct Binding<'a> {
    /// The kinds there are.
    pub registry: &'a Registry,
    /// What expressions see as `host`.
    pub host: Value,
    /// What expressions see as `env`; nothing (`null`) in place of a value that is no text.
    pub env: Map<String, Value>,
    /// Variables set on the command line, in place of those of the file, as they are written there.
    pub set: Vec<(String, String)>,
    /// Which phases run.
    pub selection: Selection,
}

/// Binds a pipeline.
///
/// # Errors
/// Everything that is wrong.
pub fn bind(pipeline: Pipeline, binding: Binding<'_>) -> Result<Plan, Diagnostics> {
    bind_draft(Draft { pipeline: Some(pipeline), found: Vec::new() }, binding)
}

/// Binds a pipeline as far as it could be read.
///
/// # Errors
/// Everything that is wrong, what was found by reading it included, in the order of the files.
pub fn bind_draft(draft: Draft, binding: Binding<'_>) -> Result<Plan, Diagnostics> {
    let Draft { pipeline, mut found } = draft;
    let Some(mut pipeline) = pipeline else { return Err(Diagnostics(found)) };
    let Binding { registry, host, env, set, selection } = binding;
    let mut scope = Scope::new(&env, host);
    let named: BTreeSet<String> = set.iter().map(|(name, _)| name.clone()).collect();
    let spoiled = set_variables(&pipeline, set, &mut scope, &mut found);
    let needs: Vec<Vec<usize>> = std::mem::take(&mut pipeline.needs)
        .into_iter()
        .map(|of| of.into_iter().map(|need| need.phase as usize).collect())
        .collect();
    let selected = selection.apply(&pipeline, &needs, &mut found);
    let mut withs = Withs::new(&pipeline, &scope, spoiled, &mut found);
    let mut kinds: HashMap<&str, Option<Known>> = HashMap::new();
    let mut bound = Vec::with_capacity(pipeline.phases.len());
    let mut claims = Vec::new();
    let mut attached: Vec<Arc<Source>> = Vec::new();
    let mut attached_names = HashSet::new();
    let dir = pipeline.path.parent().unwrap_or(Path::new(""));
    for (position, phase) in pipeline.phases.iter().enumerate() {
        let name = phase.uses.value.as_str();
        let known = kinds.entry(name).or_insert_with(|| registry.get(name).map(Known::new));
        match known {
            Some(known) => {
                let claimed = withs.check(position, known);
                claims.extend(claimed.into_iter().map(|claim| (claim, position)));
                if selected[position]
                    && let Some(source) = withs.attachment(position, known, dir)
                    && attached_names.insert(source.name.clone())
                {
                    attached.push(source);
                }
                bound.push(Arc::clone(&known.kind));
            }
            None => withs.unknown_kind(position, registry),
        }
    }
    check_claims(&pipeline, claims, &selected, &mut found);
    if !found.is_empty() {
        return Err(pipeline.sources.in_order(found));
    }
    let mut dependents = vec![Vec::new(); needs.len()];
    for (position, of) in needs.iter().enumerate() {
        for need in of {
            dependents[*need].push(position);
        }
    }
    let secrets = secret::used(&pipeline, &selected, &named);
    let phases = bound
        .into_iter()
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
    let order = std::mem::take(&mut pipeline.order);
    Ok(Plan { pipeline, phases, scope, order, attached, secrets, expected: Vec::new() })
}

/// Evaluates the variables, each after those it refers to. Answers those that have no value, which has been told.
fn set_variables(
    pipeline: &Pipeline,
    set: Vec<(String, String)>,
    scope: &mut Scope,
    found: &mut Vec<Diagnostic>,
) -> HashSet<String> {
    for (name, text) in set {
        if pipeline.variable(&name).is_some() {
            let value = parse_scalar(&text);
            scope.set(&name, value, Some(&Value::String(text)));
        } else if pipeline.is_whole() {
            let known = pipeline.vars.iter().map(|one| one.name.value.as_str());
            let help = did_you_mean(&name, known)
                .unwrap_or_else(|| "this pipeline has no variables".to_owned());
            let told = format!("--set names the unknown variable `{name}`");
            found.push(Diagnostic::error("plan::unknown_variable", told).help(help));
        }
    }
    let (order, circles) = order_variables(pipeline, scope);
    let mut spoiled = HashSet::new();
    let mut room = Room::of_variables();
    let mut is_full = false;
    for variable in order {
        let name = &variable.name.value;
        let facts = unknown_facts(pipeline, &variable.mentions, scope.facts());
        let is_wrong = is_full
            || !facts.is_empty()
            || uses(variable).any(|used| spoiled.contains(used))
            || variable.mentions.iter().any(|one| {
                matches!(one.reference, Reference::Phase { .. })
                    || !is_known(pipeline, None, &one.reference)
            });
        found.extend(facts);
        // Its users are not to be blamed as well.
        if is_wrong {
            spoiled.insert(name.clone());
            continue;
        }
        // By itself: while there is a frame, the scope is shared, and would be copied when it is changed.
        let rendered = render(&variable.value, &scope.frame(), &pipeline.sources, &mut room);
        match rendered {
            Ok(Rendered { value, spelled }) => scope.set(name, value, spelled.as_ref()),
            Err(wrong) => {
                is_full = wrong.iter().any(|one| one.code == "pipeline::limit");
                found.extend(wrong);
                spoiled.insert(name.clone());
            }
        }
    }
    for variable in circles {
        let told = format!("variable `{}` depends on itself", variable.name.value);
        found.push(
            Diagnostic::error("plan::variables", told)
                .at(pipeline.place(variable.name.span), "needs its own value")
                .help("variables may refer to each other, but not in a circle"),
        );
        spoiled.insert(variable.name.value.clone());
    }
    spoiled
}

/// The variables that have no value yet, each after those it refers to; and those for which there is no such order.
fn order_variables<'a>(
    pipeline: &'a Pipeline,
    scope: &Scope,
) -> (Vec<&'a Variable>, Vec<&'a Variable>) {
    let open: Vec<&Variable> =
        pipeline.vars.iter().filter(|one| !scope.vars().contains_key(&one.name.value)).collect();
    let positions: HashMap<&str, u32> =
        open.iter().map(|one| one.name.value.as_str()).zip(0..).collect();
    let needs: Vec<Vec<Need>> = open
        .iter()
        .map(|variable| {
            let used = uses(variable).filter_map(|used| positions.get(used));
            used.map(|position| Need { phase: *position, span: variable.name.span }).collect()
        })
        .collect();
    let order = order(&needs);
    let mut left: Vec<bool> = vec![true; open.len()];
    for position in &order {
        left[*position] = false;
    }
    let circles = open.iter().zip(&left).filter(|(_, left)| **left).map(|(one, _)| *one);
    (order.iter().map(|position| open[*position]).collect(), circles.collect())
}

/// The variables that one refers to.
fn uses(variable: &Variable) -> impl Iterator<Item = &str> {
    variable.mentions.iter().filter_map(|mention| match &mention.reference {
        Reference::Var { name } => Some(name.as_str()),
        _ => None,
    })
}

fn check_claims(
    pipeline: &Pipeline,
    claims: Vec<(Claim, usize)>,
    selected: &[bool],
    found: &mut Vec<Diagnostic>,
) {
    let mut holders: BTreeMap<Claim, usize> = BTreeMap::new();
    let mut told_of: Vec<(usize, usize, String)> = Vec::new();
    for (claim, position) in claims.into_iter().filter(|(_, position)| selected[*position]) {
        let phase = &pipeline.phases[position].name;
        match holders.get(&claim).filter(|holder| **holder != position) {
            None => drop(holders.insert(claim, position)),
            Some(holder) => {
                // A part of what they both claim goes without saying.
                let is_part = |(one, two, whole): &(usize, usize, String)| {
                    (*one, *two) == (*holder, position) && claim.0.starts_with(whole.as_str())
                };
                if told_of.iter().any(is_part) {
                    continue;
                }
                told_of.push((*holder, position, claim.0.clone()));
                let other = &pipeline.phases[*holder].name;
                let told =
                    format!("`{}` and `{}` both claim {}", other.value, phase.value, claim.0);
                found.push(
                    Diagnostic::error("plan::claim", told)
                        .at(pipeline.place(phase.span), "claims it too")
                        .at(pipeline.place(other.span), "claims it")
                        .help("let one phase set it"),
                );
            }
        }
    }
}
