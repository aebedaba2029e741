//! The names of a pipeline and what they stand for: phases, all phases that `matrix` made of one, variables.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::model::{PhaseSpec, Variable};
use super::place::Extent;
use crate::event::PhaseName;

/// An index of names.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    phases: HashMap<PhaseName, u32>,
    /// Phases made from one stand side by side.
    groups: HashMap<String, Range<u32>>,
    variables: HashMap<String, u32>,
    /// Phases of a file that another one has taken away, and where.
    removed: HashMap<String, Extent>,
    /// Phases that are there, of which nothing more is known.
    spoiled: HashSet<String>,
}

impl Names {
    /// Notes that a phase of this name could not be read, or not the phases that `matrix` makes of it.
    pub(super) fn spoil(&mut self, name: String) {
        self.spoiled.insert(name);
    }

    /// Learns all names.
    pub(super) fn index(
        &mut self,
        phases: &[PhaseSpec],
        vars: &[Variable],
        removed: HashMap<String, Extent>,
    ) {
        self.removed = removed;
        self.variables = vars.iter().map(|one| one.name.value.clone()).zip(0..).collect();
        self.phases.reserve(phases.len());
        for (phase, position) in phases.iter().zip(0_u32..) {
            let name = &phase.name.value;
            self.phases.insert(name.clone(), position);
            if name.member().is_some() {
                match self.groups.get_mut(name.base()) {
                    Some(group) => group.end = position + 1,
                    None => {
                        self.groups.insert(name.base().to_owned(), position..position + 1);
                    }
                }
            }
        }
    }

    /// True when nobody can tell which phases have this name.
    pub(super) fn is_spoiled(&self, name: &str) -> bool {
        self.spoiled.contains(name.split('[').next().unwrap_or_default())
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.phases.get(name).map(|position| *position as usize)
    }

    /// The phase of this name, or all that `matrix` made of it.
    pub(super) fn positions(&self, name: &str) -> Range<usize> {
        if let Some(position) = self.position(name) {
            return position..position + 1;
        }
        self.groups.get(name).map_or(0..0, |group| group.start as usize..group.end as usize)
    }

    /// True for the name of a phase of which `matrix` has made several.
    pub(super) fn is_group(&self, name: &str) -> bool {
        self.groups.contains_key(name)
    }

    /// Where a phase was taken away.
    pub(super) fn removed(&self, name: &str) -> Option<Extent> {
        self.removed.get(name).copied()
    }

    pub(super) fn variable(&self, name: &str) -> Option<usize> {
        self.variables.get(name).map(|position| *position as usize)
    }
}
