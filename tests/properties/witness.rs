//! Reads what happened in a run from its record and asserts what must always hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use trueup::event::{Event, Record};

use crate::graph::Drawn;

/// Outcomes after which what depends on a phase goes on.
pub const GOOD: [&str; 4] = ["SUCCESS", "REVERTED", "NOT_APPLICABLE", "SKIPPED"];

pub struct Witness<'a> {
    drawn: &'a [Drawn],
    events: &'a [Record],
}

impl<'a> Witness<'a> {
    pub fn of(drawn: &'a [Drawn], events: &'a [Record]) -> Self {
        Self { drawn, events }
    }

    fn index(name: &str) -> usize {
        name[1..].parse().unwrap()
    }

    /// How each phase ended, in the order of drawing.
    pub fn outcomes(&self) -> Vec<&'static str> {
        let ends: BTreeMap<usize, &'static str> = self
            .events
            .iter()
            .filter_map(|record| match &record.event {
                Event::PhaseEnded { phase, outcome, .. } => {
                    Some((Self::index(phase.as_str()), outcome.word()))
                }
                _ => None,
            })
            .collect();
        (0..self.drawn.len()).map(|index| ends.get(&index).copied().unwrap_or("NEVER")).collect()
    }

    pub fn all_ended_once(&self) -> Result<(), TestCaseError> {
        prop_assert!(!self.outcomes().contains(&"NEVER"), "{:?}", self.outcomes());
        Ok(())
    }

    /// No phase starts before what it needs has ended, ends twice or without a start, shares what is exclusive, or is
    /// one too many; and the record is numbered without a gap.
    pub fn order(&self, jobs: usize) -> Result<(), TestCaseError> {
        let mut running: BTreeSet<usize> = BTreeSet::new();
        let mut ended: BTreeMap<usize, &str> = BTreeMap::new();
        for (number, record) in self.events.iter().enumerate() {
            prop_assert_eq!(record.seq, number as u64);
            match &record.event {
                Event::PhaseStarted { phase, attempt } => {
                    let index = Self::index(phase.as_str());
                    prop_assert_eq!(*attempt, 1);
                    prop_assert!(!ended.contains_key(&index), "{} started after its end", phase);
                    self.may_start(index, &ended)?;
                    for other in &running {
                        let shared = self.drawn[index].resources & self.drawn[*other].resources;
                        prop_assert_eq!(shared, 0, "{} and p{} share a resource", phase, other);
                    }
                    prop_assert!(running.insert(index), "{} started twice", phase);
                    prop_assert!(running.len() <= jobs, "more than {} run", jobs);
                }
                Event::PhaseEnded { phase, outcome, .. } => {
                    let index = Self::index(phase.as_str());
                    running.remove(&index);
                    let before = ended.insert(index, outcome.word());
                    prop_assert!(before.is_none(), "{} ended twice", phase);
                }
                _ => {}
            }
        }
        prop_assert!(running.is_empty(), "{:?} never ended", running);
        let last = self.events.last().map(|record| &record.event);
        prop_assert!(matches!(last, Some(Event::RunEnded { .. })), "the run ends last");
        Ok(())
    }

    fn may_start(&self, index: usize, ended: &BTreeMap<usize, &str>) -> Result<(), TestCaseError> {
        let phase = &self.drawn[index];
        for need in phase.needs(index) {
            let end = ended.get(&need).copied();
            let as_it_must = end.is_some_and(|end| phase.always || GOOD.contains(&end));
            prop_assert!(as_it_must, "p{} started and p{} had ended as {:?}", index, need, end);
        }
        Ok(())
    }

    /// After the first phase that was cancelled nothing starts but what always runs.
    pub fn nothing_starts_after_the_stop_but_what_always_runs(&self) -> Result<(), TestCaseError> {
        let mut stopped = false;
        for record in self.events {
            match &record.event {
                Event::PhaseEnded { outcome, .. } => stopped |= outcome.word() == "CANCELLED",
                Event::PhaseStarted { phase, .. } if stopped => {
                    let always = self.drawn[Self::index(phase.as_str())].always;
                    prop_assert!(always, "{} started after the stop", phase);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
