//! The graph as lines for a terminal: a phase on each, layer by layer, with what it needs.

use std::fmt::Write as _;

use super::Graph;
use crate::shown;

/// Columns for names; what is longer pushes aside what stands beside it.
const NAMES: usize = 30;

impl Graph<'_> {
    /// Lines of at most `width` columns where names allow it.
    #[must_use]
    pub fn text(&self, width: usize) -> String {
        let pipeline = &self.plan.pipeline;
        let head = format!("{} ({})", pipeline.name, pipeline.path.display());
        let mut text = format!("{}\n{}\n\n", shown::in_line(&head), self.caption());
        let longest = |of: &dyn Fn(usize) -> usize| (0..self.plan.phases.len()).map(of).max();
        let names =
            longest(&|at| self.plan.name(at).as_str().chars().count()).unwrap_or(0).min(NAMES);
        let kinds = longest(&|at| self.plan.spec(at).uses.value.len()).unwrap_or(0);
        let timed = self.is_timed();
        for (depth, layer) in self.layers().into_iter().enumerate() {
            for (place, position) in layer.into_iter().enumerate() {
                let depth = if place == 0 { depth.to_string() } else { String::new() };
                let mark = if self.marked[position] { '*' } else { ' ' };
                let (name, kind) = (self.plan.name(position), &self.plan.spec(position).uses.value);
                let mut line = format!("{depth:>4} {mark} {name:names$}  {kind:kinds$}");
                if timed {
                    let _ = write!(line, "  {:>9}", self.took(position).unwrap_or_default());
                }
                if !self.plan.phases[position].selected {
                    line.push_str("  not selected");
                }
                self.needs(position, &mut line, width);
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        let by = if timed { "by what phases took the last time" } else { "by number of phases" };
        let _ = writeln!(text, "\n   * the critical path, {by}");
        text
    }

    /// Appends what a phase needs: beside it where that fits, else below it.
    fn needs(&self, position: usize, line: &mut String, width: usize) {
        let needs = &self.plan.phases[position].needs;
        if needs.is_empty() {
            return;
        }
        let names: Vec<&str> = needs.iter().map(|need| self.plan.name(*need).as_str()).collect();
        let beside = format!("  after {}", names.join(", "));
        if line.chars().count() + beside.chars().count() <= width {
            line.push_str(&beside);
            return;
        }
        let indent = 9;
        let mut column = usize::MAX;
        for (index, name) in names.iter().enumerate() {
            let more = if index + 1 < names.len() { "," } else { "" };
            let taken = name.chars().count() + more.len() + 1;
            if column.saturating_add(taken) > width {
                let lead = if index == 0 { "after" } else { "     " };
                let _ = write!(line, "\n{:indent$}{lead}", "");
                column = indent + lead.len();
            }
            let _ = write!(line, " {name}{more}");
            column += taken;
        }
    }
}
