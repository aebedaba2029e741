//! Plans for tests: of named phases, and random ones.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::{Binding, Plan, Selection, bind};
use crate::diagnostic::Diagnostics;
use crate::phase::standard;
use crate::pipeline::read_text;

/// Binds the phases of a YAML text, of which those of `selection` run.
pub(super) fn bound(phases: &str, selection: Selection) -> Result<Plan, Diagnostics> {
    let pipeline =
        read_text(Path::new("plan.yaml"), format!("version: 1\nphases:\n{phases}")).unwrap();
    let registry = standard();
    let binding = Binding {
        registry: &registry,
        host: json!({}),
        env: Map::new(),
        set: Vec::new(),
        selection,
    };
    bind(pipeline, binding)
}

/// A plan of phases, each with what it needs.
pub(super) fn plan_of(phases: &[(&str, &[&str])]) -> Plan {
    bound(&yaml(phases.iter().map(|(name, needs)| (*name, needs.join(", ")))), Selection::default())
        .unwrap()
}

fn yaml<N: std::fmt::Display>(phases: impl Iterator<Item = (N, String)>) -> String {
    phases.fold(String::new(), |mut text, (name, needs)| {
        let _ = writeln!(
            text,
            "  {name}: {{ uses: command, needs: [{needs}], with: {{ argv: [/bin/true] }} }}"
        );
        text
    })
}

/// A phase of a random plan: it may need any phase before it.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    needs: u16,
    /// What it took.
    pub(super) seconds: u16,
}

impl Drawn {
    /// The positions of what phase `index` needs.
    pub(super) fn needs(drawn: &[Self], index: usize) -> Vec<usize> {
        (0..index).filter(|need| drawn[index].needs >> need & 1 == 1).collect()
    }

    /// The plan of drawn phases, which are called p0, p1 and so on and stand in this order.
    pub(super) fn plan_of(drawn: &[Self], selection: Selection) -> Plan {
        let needs = |index| Self::needs(drawn, index).into_iter().map(|need| format!("p{need}"));
        let phases = (0..drawn.len())
            .map(|index| (format!("p{index}"), needs(index).collect::<Vec<_>>().join(", ")));
        bound(&yaml(phases), selection).unwrap()
    }
}

/// Up to 12 phases with some needs.
pub(super) fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    // The conjunction of two makes needs sparse enough that there are several ways.
    let one = (any::<u16>(), any::<u16>(), 0..1000_u16)
        .prop_map(|(some, of, seconds)| Drawn { needs: some & of, seconds });
    prop::collection::vec(one, 1..=12)
}
