//! What can be told of a pipeline by itself: names that exist, expressions that parse, no cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::expression::{self, Reference};
use super::model::{Condition, PhaseSpec, Pipeline};
use super::secret;
use crate::diagnostic::{Diagnostic, did_you_mean};

/// Appends what is wrong to `found`.
pub(super) fn check(pipeline: &Pipeline, found: &mut Vec<Diagnostic>) {
    let trees = pipeline.vars.iter().map(|(_, node)| node);
    for node in trees.chain(pipeline.phases.iter().map(|phase| &phase.with)) {
        secret::each(node, &mut |_, form| {
            found.extend(form.err().map(|flaw| {
                Diagnostic::error("pipeline::secret", flaw.message)
                    .at(pipeline.place(&flaw.span), "")
                    .help(flaw.help)
            }));
        });
    }
    for (_, node) in &pipeline.vars {
        node.each_text(&mut |text, span| {
            for reference in expressions(pipeline, text, span, found) {
                if let Reference::Phase { .. } = reference {
                    let message =
                        "a variable can't refer to a phase: variables are known before phases run";
                    found.push(
                        Diagnostic::error("pipeline::reference", message)
                            .at(pipeline.place(span), "refers to a phase")
                            .help("write the expression in the `with` of the phase that uses it"),
                    );
                } else {
                    check_reference(pipeline, &reference, span, found);
                }
            }
        });
    }
    for phase in &pipeline.phases {
        check_needs(pipeline, phase, found);
        for (reference, span) in phase_references(pipeline, phase, found) {
            if matches!(&reference, Reference::Phase { name } if name == phase.name.value.as_str())
            {
                found.push(
                    Diagnostic::error(
                        "pipeline::reference",
                        format!("phase `{}` refers to itself", phase.name.value),
                    )
                    .at(pipeline.place(&span), "refers to its own outputs")
                    .help("a phase can only use what phases before it decided"),
                );
            } else {
                check_reference(pipeline, &reference, &span, found);
            }
        }
    }
    check_cycles(pipeline, found);
}

fn check_needs(pipeline: &Pipeline, phase: &PhaseSpec, found: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for need in &phase.needs {
        let place = pipeline.place(&need.span);
        if pipeline.position(need.value.as_str()).is_none() {
            let known = pipeline.phases.iter().map(|phase| phase.name.value.as_str());
            found.push(
                Diagnostic::error(
                    "pipeline::unknown_phase",
                    format!("unknown phase `{}`", need.value),
                )
                .at(place, "no phase has this name")
                .maybe_help(did_you_mean(need.value.as_str(), known)),
            );
        } else if !seen.insert(&need.value) {
            found.push(
                Diagnostic::error(
                    "pipeline::duplicate",
                    format!("`{}` is needed twice", need.value),
                )
                .at(place, "a second time")
                .help("name it once"),
            );
        }
    }
}

/// The references in one text; mistakes in its expressions go to `found`.
fn expressions(
    pipeline: &Pipeline,
    text: &str,
    span: &Range<usize>,
    found: &mut Vec<Diagnostic>,
) -> Vec<Reference> {
    expression::references(text).unwrap_or_else(|error| {
        found.push(expression::diagnose(&error, &pipeline.source, span));
        Vec::new()
    })
}

fn phase_references(
    pipeline: &Pipeline,
    phase: &PhaseSpec,
    found: &mut Vec<Diagnostic>,
) -> Vec<(Reference, Range<usize>)> {
    let mut all = Vec::new();
    phase.with.each_text(&mut |text, span| {
        all.extend(
            expressions(pipeline, text, span, found).into_iter().map(|one| (one, span.clone())),
        );
    });
    if let Some(Condition::Expression(condition)) = &phase.when {
        let template = format!("{{{{ {} }}}}", condition.value);
        let references = expressions(pipeline, &template, &condition.span, found);
        all.extend(references.into_iter().map(|one| (one, condition.span.clone())));
    }
    all
}

fn check_reference(
    pipeline: &Pipeline,
    reference: &Reference,
    span: &Range<usize>,
    found: &mut Vec<Diagnostic>,
) {
    let place = pipeline.place(span);
    match reference {
        Reference::Phase { name } if pipeline.position(name).is_none() => {
            let known = pipeline.phases.iter().map(|phase| phase.name.value.as_str());
            found.push(
                Diagnostic::error("pipeline::unknown_phase", format!("unknown phase `{name}`"))
                    .at(place, "no phase has this name")
                    .maybe_help(did_you_mean(name, known)),
            );
        }
        Reference::Var { name } if !pipeline.vars.iter().any(|(key, _)| key.value == *name) => {
            let known = pipeline.vars.iter().map(|(key, _)| key.value.as_str());
            found.push(
                Diagnostic::error(
                    "pipeline::unknown_variable",
                    format!("unknown variable `{name}`"),
                )
                .at(place, "not under `vars`")
                .maybe_help(did_you_mean(name, known)),
            );
        }
        Reference::Unknown { name } => found.push(
            Diagnostic::error(
                "pipeline::unknown_variable",
                format!("unknown name `{name}` in an expression"),
            )
            .at(place, "")
            .help(
                "expressions know `vars`, `env`, `host` and `phases`, such as `vars.database_url`",
            ),
        ),
        Reference::Phase { .. } | Reference::Var { .. } | Reference::Host | Reference::Env => {}
    }
}

/// The phases that each phase waits for: those it names, and those whose outputs it uses.
#[must_use]
pub fn needs(pipeline: &Pipeline) -> Vec<BTreeMap<usize, Range<usize>>> {
    pipeline
        .phases
        .iter()
        .map(|phase| {
            let named =
                phase.needs.iter().map(|need| (need.value.as_str().to_owned(), need.span.clone()));
            let used = phase_references(pipeline, phase, &mut Vec::new()).into_iter().filter_map(
                |(reference, span)| match reference {
                    Reference::Phase { name } => Some((name, span)),
                    _ => None,
                },
            );
            let mut all = BTreeMap::new();
            for (name, span) in named.chain(used) {
                if let Some(position) = pipeline.position(&name) {
                    all.entry(position).or_insert(span);
                }
            }
            all
        })
        .collect()
}

/// Each cycle is told as the path that closes it.
fn check_cycles(pipeline: &Pipeline, found: &mut Vec<Diagnostic>) {
    let needs = needs(pipeline);
    let mut graph = DiGraph::<usize, ()>::new();
    let nodes: Vec<NodeIndex> = (0..needs.len()).map(|position| graph.add_node(position)).collect();
    for (phase, needed) in needs.iter().enumerate() {
        for need in needed.keys() {
            graph.add_edge(nodes[phase], nodes[*need], ());
        }
    }
    for knot in tarjan_scc(&graph) {
        let members: BTreeSet<usize> = knot.iter().map(|node| graph[*node]).collect();
        let Some(first) = members.first().copied() else { continue };
        if members.len() == 1 && !needs[first].contains_key(&first) {
            continue;
        }
        let path = shortest_cycle(first, &members, &needs);
        // A phase that refers to itself has been told already.
        if path.len() == 1
            && !pipeline.phases[first]
                .needs
                .iter()
                .any(|n| n.value == pipeline.phases[first].name.value)
        {
            continue;
        }
        found.push(tell_cycle(pipeline, &path, &needs));
    }
}

/// The shortest way from `start` back to itself inside a knot; breadth first.
fn shortest_cycle(
    start: usize,
    members: &BTreeSet<usize>,
    needs: &[BTreeMap<usize, Range<usize>>],
) -> Vec<usize> {
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in needs[at].keys().filter(|next| members.contains(next)) {
            if *next == start {
                let mut path = vec![at];
                while let Some(before) = came_from.get(path.last().unwrap_or(&start)) {
                    path.push(*before);
                }
                path.reverse();
                return path;
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, at);
                queue.push_back(*next);
            }
        }
    }
    vec![start]
}

fn tell_cycle(
    pipeline: &Pipeline,
    path: &[usize],
    needs: &[BTreeMap<usize, Range<usize>>],
) -> Diagnostic {
    let name = |position: usize| pipeline.phases[position].name.value.as_str();
    let steps: Vec<&str> =
        path.iter().chain(path.first()).map(|position| name(*position)).collect();
    let mut told = Diagnostic::error(
        "pipeline::cycle",
        format!("phases need each other in a circle: {}", steps.join(" -> ")),
    );
    for (index, position) in path.iter().enumerate() {
        let next = path[(index + 1) % path.len()];
        if let Some(span) = needs[*position].get(&next) {
            told = told
                .at(pipeline.place(span), format!("`{}` needs `{}`", name(*position), name(next)));
        }
    }
    told.help("take one of these needs away")
}
