//! The order of the phases, and phases that need each other in a circle.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::model::{Need, Pipeline};
use crate::diagnostic::Diagnostic;

/// Most steps of a circle that are told.
const SHOWN: usize = 12;

/// Positions, each after those it needs, otherwise in the order of the file. What is on a circle, or needs what is, is
/// left out.
#[must_use]
pub fn order(needs: &[Vec<Need>]) -> Vec<usize> {
    let mut missing: Vec<u32> = needs.iter().map(|of| of.len() as u32).collect();
    // Who needs a phase, one after another in one list, each phase's from its own start.
    let mut start = vec![0_u32; needs.len() + 1];
    for need in needs.iter().flatten() {
        start[need.phase as usize + 1] += 1;
    }
    for position in 0..needs.len() {
        start[position + 1] += start[position];
    }
    let mut next = start.clone();
    let mut users = vec![0_u32; start.last().copied().unwrap_or(0) as usize];
    for (user, of) in needs.iter().enumerate() {
        for need in of {
            let slot = &mut next[need.phase as usize];
            users[*slot as usize] = user as u32;
            *slot += 1;
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..needs.len()).filter(|position| missing[*position] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(position)) = ready.pop() {
        order.push(position);
        for user in &users[start[position] as usize..start[position + 1] as usize] {
            let left = &mut missing[*user as usize];
            *left -= 1;
            if *left == 0 {
                ready.push(Reverse(*user as usize));
            }
        }
    }
    order
}

/// Each circle is told as the path that closes it.
pub(super) fn check(pipeline: &Pipeline, found: &mut Vec<Diagnostic>) {
    let needs = &pipeline.needs;
    let mut ordered = vec![false; needs.len()];
    for position in &pipeline.order {
        ordered[*position] = true;
    }
    let left: Vec<usize> = (0..needs.len()).filter(|position| !ordered[*position]).collect();
    if left.is_empty() {
        return;
    }
    let mut graph = DiGraph::<usize, ()>::new();
    let nodes: HashMap<usize, NodeIndex> =
        left.iter().map(|position| (*position, graph.add_node(*position))).collect();
    for position in &left {
        for need in &needs[*position] {
            if let Some(node) = nodes.get(&(need.phase as usize)) {
                graph.add_edge(nodes[position], *node, ());
            }
        }
    }
    for knot in kosaraju_scc(&graph) {
        let members: BTreeSet<usize> = knot.iter().map(|node| graph[*node]).collect();
        let Some(first) = members.first().copied() else { continue };
        if members.len() == 1 && find(needs, first, first).is_none() {
            continue;
        }
        found.push(tell(pipeline, &shortest(first, &members, needs)));
    }
}

fn find(needs: &[Vec<Need>], phase: usize, needed: usize) -> Option<&Need> {
    let of = &needs[phase];
    let at = of.binary_search_by_key(&needed, |need| need.phase as usize);
    at.ok().map(|at| &of[at])
}

/// The shortest way from `start` back to itself inside a knot; breadth first.
fn shortest(start: usize, members: &BTreeSet<usize>, needs: &[Vec<Need>]) -> Vec<usize> {
    let mut came_from: HashMap<usize, usize> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        let of = needs[at].iter().map(|need| need.phase as usize);
        for next in of.filter(|next| members.contains(next)) {
            if next == start {
                let mut path = vec![at];
                while let Some(before) = came_from.get(path.last().unwrap_or(&start)) {
                    path.push(*before);
                }
                path.reverse();
                return path;
            }
            if let Entry::Vacant(unseen) = came_from.entry(next) {
                unseen.insert(at);
                queue.push_back(next);
            }
        }
    }
    vec![start]
}

fn tell(pipeline: &Pipeline, path: &[usize]) -> Diagnostic {
    let name = |position: usize| pipeline.phases[position].name.value.as_str();
    let mut steps: Vec<&str> =
        path.iter().chain(path.first()).map(|position| name(*position)).collect();
    if steps.len() > SHOWN + 1 {
        steps.splice(SHOWN / 2..steps.len() - SHOWN / 2, ["..."]);
    }
    let mut told = Diagnostic::error(
        "pipeline::cycle",
        format!("phases need each other in a circle: {}", steps.join(" -> ")),
    );
    for (index, position) in path.iter().enumerate().take(SHOWN) {
        let next = path[(index + 1) % path.len()];
        if let Some(need) = find(&pipeline.needs, *position, next) {
            told = told.at(
                pipeline.place(need.span),
                format!("`{}` needs `{}`", name(*position), name(next)),
            );
        }
    }
    told.help("take one of these needs away")
}
