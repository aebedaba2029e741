//! Pictures of a plan: lines for a terminal, Graphviz, Mermaid, and an SVG that needs nothing else.
//!
//! All are made from one [`Graph`]: the phases in layers, each as far down as the longest chain of needs above it,
//! with the critical path and what phases took in earlier runs. Each form has a file; none reads or writes any.

mod layout;
mod markup;
mod svg;
mod text;

use super::{Critical, Plan};

/// A plan in layers.
pub struct Graph<'a> {
    plan: &'a Plan,
    critical: Critical,
    /// By position, its layer.
    layer: Vec<usize>,
    /// By position, whether it is on the critical path.
    marked: Vec<bool>,
    /// By position, what follows it on the critical path.
    next: Vec<Option<usize>>,
}

impl<'a> Graph<'a> {
    /// The graph of a plan.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        let mut layer = vec![0; plan.phases.len()];
        for position in &plan.order {
            let above = plan.phases[*position].needs.iter().map(|need| layer[*need] + 1).max();
            layer[*position] = above.unwrap_or(0);
        }
        let critical = plan.critical();
        let mut marked = vec![false; plan.phases.len()];
        let mut next = vec![None; plan.phases.len()];
        for (place, position) in critical.path.iter().enumerate() {
            marked[*position] = true;
            next[*position] = critical.path.get(place + 1).copied();
        }
        Self { plan, critical, layer, marked, next }
    }

    /// Positions in each layer, in the order of the plan.
    fn layers(&self) -> Vec<Vec<usize>> {
        let count = self.layer.iter().max().map_or(0, |last| last + 1);
        let mut layers = vec![Vec::new(); count];
        for position in &self.plan.order {
            layers[self.layer[*position]].push(*position);
        }
        layers
    }

    /// Whether a need is a step of the critical path.
    fn is_step(&self, need: usize, position: usize) -> bool {
        self.next[need] == Some(position)
    }

    /// What a phase took, in words; none when that is not known.
    fn took(&self, position: usize) -> Option<String> {
        self.plan.expected(position).map(seconds)
    }

    /// True when it is known of any phase how long it took.
    fn is_timed(&self) -> bool {
        (0..self.plan.phases.len()).any(|position| self.plan.expected(position).is_some())
    }

    /// The size of the graph, and its critical path by its length.
    fn caption(&self) -> String {
        let counted =
            |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let phases = counted(self.plan.phases.len(), "phase");
        let layers = counted(self.layer.iter().max().map_or(0, |last| last + 1), "layer");
        let length = if self.is_timed() {
            format!("about {}", seconds(self.critical.length()))
        } else {
            counted(self.critical.path.len(), "phase")
        };
        format!("{phases} in {layers}, critical path {length}")
    }
}

/// Seconds in words: `3 ms`, `0.35 s`, `23.7 s`, `12m 5s`.
fn seconds(seconds: f64) -> String {
    if seconds < 0.0995 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 0.995 {
        format!("{seconds:.2} s")
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = std::time::Duration::try_from_secs_f64(seconds.round()).unwrap_or_default();
        humantime::format_duration(whole).to_string()
    }
}

/// A text cut to so many characters, with an ellipsis where something is left out.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Selection;
    use crate::plan::tests::{bound, plan_of};

    fn timed() -> Plan {
        let mut plan = plan_of(&[
            ("ready", &[]),
            ("governor", &["ready"]),
            ("pool", &["ready"]),
            ("serve", &["governor", "pool"]),
        ]);
        let took = [("ready", 0.05), ("governor", 0.002), ("pool", 23.71), ("serve", 126.0)];
        plan.expect(took.map(|(name, seconds)| (name.to_owned(), seconds)));
        plan
    }

    #[test]
    fn every_form_shows_every_phase_the_critical_path_and_what_phases_took() {
        let plan = timed();
        let graph = Graph::new(&plan);
        let forms = [("text", graph.text(80)), ("dot", graph.dot()), ("mermaid", graph.mermaid())];
        for (form, shown) in forms {
            insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "../../../tests/snapshots/graph" }, {
                insta::assert_snapshot!(form, shown);
            });
        }
        let svg = graph.svg();
        for told in ["ready", "governor", "23.7 s", "2m 6s", "critical path about 2m 30s"] {
            assert!(svg.contains(told), "{told}\n{svg}");
        }
        assert_eq!(svg.matches("class=\"box hot\"").count(), 3);
    }

    #[test]
    fn a_phase_that_was_left_out_is_shown_so() {
        let phase = "{ uses: command, with: { argv: [/bin/true] } }";
        let skip = Selection { skip: vec!["b".to_owned()], ..Selection::default() };
        let plan = bound(&format!("  a: {phase}\n  b: {phase}\n"), skip).unwrap();
        let graph = Graph::new(&plan);
        assert!(graph.text(80).contains("not selected"), "{}", graph.text(80));
        assert!(graph.dot().contains("style=\"rounded,dashed\""), "{}", graph.dot());
        assert!(graph.mermaid().contains("class n1 out"), "{}", graph.mermaid());
        assert!(graph.svg().contains("class=\"box out\""), "{}", graph.svg());
    }

    #[test]
    fn a_wide_graph_fits_the_columns_of_the_terminal() {
        let names: Vec<String> = (0..60).map(|index| format!("a_phase_{index}")).collect();
        let mut phases: Vec<(&str, &[&str])> =
            names.iter().map(|name| (name.as_str(), &[][..])).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        phases.push(("last", &all));
        let plan = plan_of(&phases);
        let text = Graph::new(&plan).text(80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("a_phase_59"));
    }

    #[test]
    fn seconds_are_told_with_as_many_digits_as_matter() {
        let told = [0.0031, 0.35, 0.999, 23.71, 99.9, 99.96, 3725.4].map(seconds);
        assert_eq!(told, ["3 ms", "0.35 s", "1.0 s", "23.7 s", "99.9 s", "1m 40s", "1h 2m 5s"]);
    }
}
