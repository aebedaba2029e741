//! How far each phase is from the end of the graph, and the longest way through it: the critical path.
//!
//! Works with what phases took in earlier runs, as far as that is known. Knows no clock and starts nothing: what
//! is begun first because of it is the engine's matter.

use super::Plan;

/// What a phase is taken to last when nothing is known of any.
const UNKNOWN: f64 = 1.0;

/// The ways through a plan, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Critical {
    /// By position, the longest way from the start of a phase to the end of the graph, itself included.
    pub remaining: Vec<f64>,
    /// Positions of the longest way of all, from its start on; phases that were left out are not on it.
    pub path: Vec<usize>,
}

impl Critical {
    /// The length of the longest way.
    #[must_use]
    pub fn length(&self) -> f64 {
        self.path.first().map_or(0.0, |first| self.remaining[*first])
    }
}

impl Plan {
    /// Takes note of what phases took in earlier runs, by name. Names that the plan does not have are passed over.
    pub fn expect(&mut self, seconds: impl IntoIterator<Item = (String, f64)>) {
        self.expected = vec![None; self.phases.len()];
        for (name, took) in seconds {
            if let Some(position) = self.pipeline.position(&name) {
                self.expected[position] = Some(took);
            }
        }
    }

    /// What a phase took in an earlier run, when that is known and a length of time.
    #[must_use]
    pub fn expected(&self, position: usize) -> Option<f64> {
        let seconds = self.expected.get(position).copied().flatten();
        seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
    }

    /// The longest ways. A phase of which nothing is known counts as the median of the others, and one that was left
    /// out as nothing. Linear in phases and needs.
    #[must_use]
    pub fn critical(&self) -> Critical {
        let typical = self.typical();
        let mut remaining = vec![0.0_f64; self.phases.len()];
        for position in self.order.iter().rev() {
            let phase = &self.phases[*position];
            let own =
                if phase.selected { self.expected(*position).unwrap_or(typical) } else { 0.0 };
            let after = phase.dependents.iter().map(|next| remaining[*next]);
            remaining[*position] = own + after.fold(0.0, f64::max);
        }
        let path = self.longest(&remaining);
        Critical { remaining, path }
    }

    fn typical(&self) -> f64 {
        let mut known: Vec<f64> = (0..self.phases.len())
            .filter(|position| self.phases[*position].selected)
            .filter_map(|position| self.expected(position))
            .collect();
        if known.is_empty() {
            return UNKNOWN;
        }
        let middle = known.len() / 2;
        *known.select_nth_unstable_by(middle, f64::total_cmp).1
    }

    /// From the phase that is farthest from the end to the end; of equals, the first.
    fn longest(&self, remaining: &[f64]) -> Vec<usize> {
        let farthest = |among: &[usize]| {
            among
                .iter()
                .copied()
                .reduce(|best, next| if remaining[next] > remaining[best] { next } else { best })
        };
        let mut path = Vec::new();
        let mut next = farthest(&self.order);
        while let Some(position) = next {
            if self.phases[position].selected {
                path.push(position);
            }
            next = farthest(&self.phases[position].dependents);
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Selection;
    use crate::plan::tests::{Drawn, drawn, plan_of};
    use proptest::prelude::*;

    /// Names of the critical path and its length.
    fn critical(phases: &[(&str, &[&str])], seconds: &[(&str, f64)]) -> (Vec<String>, f64) {
        let mut plan = plan_of(phases);
        plan.expect(seconds.iter().map(|(name, took)| ((*name).to_owned(), *took)));
        let critical = plan.critical();
        let names = critical.path.iter().map(|position| plan.name(*position).to_string());
        (names.collect(), critical.length())
    }

    const DIAMOND: &[(&str, &[&str])] =
        &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])];

    #[test]
    fn the_critical_path_is_the_longest_way_by_seconds() {
        let seconds = [("a", 1.0), ("b", 2.0), ("c", 5.0), ("d", 1.0)];
        assert_eq!(critical(DIAMOND, &seconds), (vec!["a".into(), "c".into(), "d".into()], 7.0));
    }

    #[test]
    fn without_any_knowledge_it_is_the_way_of_most_phases_and_the_first_of_equals() {
        assert_eq!(critical(DIAMOND, &[]), (vec!["a".into(), "b".into(), "d".into()], 3.0));
    }

    #[test]
    fn an_unknown_phase_counts_as_the_median_and_nonsense_as_unknown() {
        let seconds = [("a", 1.0), ("b", f64::NAN), ("c", 3.0), ("d", 8.0), ("gone", 99.0)];
        assert!(same(critical(DIAMOND, &seconds).1, 12.0));
    }

    fn same(seconds: f64, wanted: f64) -> bool {
        (seconds - wanted).abs() < 1e-9
    }

    /// The longest way from a phase on, found by walking all of them.
    fn walk(plan: &Plan, position: usize, seconds: &[f64]) -> f64 {
        let after = plan.phases[position].dependents.iter().map(|next| walk(plan, *next, seconds));
        seconds[position] + after.fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn no_way_is_longer_than_what_is_told(drawn in drawn()) {
            let mut plan = Drawn::plan_of(&drawn, Selection::default());
            let seconds: Vec<f64> = drawn.iter().map(|one| f64::from(one.seconds)).collect();
            plan.expected = seconds.iter().copied().map(Some).collect();
            let critical = plan.critical();
            for position in 0..plan.phases.len() {
                prop_assert!(same(critical.remaining[position], walk(&plan, position, &seconds)));
            }
            let along: f64 = critical.path.iter().map(|position| seconds[*position]).sum();
            prop_assert!(same(along, critical.length()));
            prop_assert!(critical.remaining.iter().all(|way| *way <= critical.length()));
            for pair in critical.path.windows(2) {
                prop_assert!(plan.phases[pair[1]].needs.contains(&pair[0]));
            }
        }
    }
}
