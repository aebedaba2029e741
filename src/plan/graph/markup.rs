//! The graph in the languages of Graphviz and Mermaid.

use std::fmt::Write as _;

use super::Graph;

/// Seen well on white and on black.
const HOT: &str = "#d9480f";

impl Graph<'_> {
    /// In the language of Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = format!("digraph {} {{\n", quoted(&self.plan.pipeline.name));
        text.push_str(
            "  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n",
        );
        let _ = writeln!(text, "  label={};\n  labelloc=t;", quoted(&self.caption()));
        for position in 0..self.plan.phases.len() {
            let name = quoted(self.plan.name(position).as_str());
            let label = self.lines(position).map(|line| escaped(&line)).join("\\n");
            let mut more = String::new();
            if !self.plan.phases[position].selected {
                more.push_str(", style=\"rounded,dashed\"");
            } else if self.marked[position] {
                let _ = write!(more, ", color=\"{HOT}\", penwidth=2");
            }
            let _ = writeln!(text, "  {name} [label=\"{label}\"{more}];");
        }
        for (need, position) in self.edges() {
            let ends = [need, position].map(|end| quoted(self.plan.name(end).as_str()));
            let hot = if self.is_step(need, position) {
                format!(" [color=\"{HOT}\", penwidth=2]")
            } else {
                String::new()
            };
            let _ = writeln!(text, "  {}{hot};", ends.join(" -> "));
        }
        text.push_str("}\n");
        text
    }

    /// In the language of Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let _ = writeln!(text, "  %% {}", one_line(&self.plan.pipeline.name));
        let _ = writeln!(text, "  %% {}", self.caption());
        for position in 0..self.plan.phases.len() {
            let label = self.lines(position).map(|line| entities(&line)).join("<br/>");
            let _ = writeln!(text, "  n{position}[\"{label}\"]");
        }
        let mut hot = Vec::new();
        for (index, (need, position)) in self.edges().enumerate() {
            let _ = writeln!(text, "  n{need} --> n{position}");
            if self.is_step(need, position) {
                hot.push(index.to_string());
            }
        }
        let _ = writeln!(text, "  classDef hot stroke:{HOT},stroke-width:3px");
        text.push_str("  classDef out stroke-dasharray:4 4\n");
        let mut class = |name: &str, is_in: &dyn Fn(usize) -> bool| {
            let nodes: Vec<String> = (0..self.plan.phases.len())
                .filter(|position| is_in(*position))
                .map(|position| format!("n{position}"))
                .collect();
            if !nodes.is_empty() {
                let _ = writeln!(text, "  class {} {name}", nodes.join(","));
            }
        };
        class("hot", &|position| self.marked[position]);
        class("out", &|position| !self.plan.phases[position].selected);
        if !hot.is_empty() {
            let _ = writeln!(text, "  linkStyle {} stroke:{HOT},stroke-width:3px", hot.join(","));
        }
        text
    }

    /// What stands in a box: name, then kind and what it took.
    fn lines(&self, position: usize) -> [String; 2] {
        let kind = &self.plan.spec(position).uses.value;
        let took = self.took(position).map(|took| format!(", {took}")).unwrap_or_default();
        [self.plan.name(position).to_string(), format!("{kind}{took}")]
    }

    /// Each need with the phase that has it.
    fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        let phases = self.plan.phases.iter().enumerate();
        phases.flat_map(|(position, phase)| phase.needs.iter().map(move |need| (*need, position)))
    }
}

/// A quoted text of Graphviz.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// Backslashes begin escapes in labels, quotes end the text, and a line can't be broken.
fn escaped(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('"', "\\\"")
}

fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// A text inside quotes of Mermaid, which knows entities and no escapes.
fn entities(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for char in one_line(text).chars() {
        if char.is_ascii() && !char.is_ascii_alphanumeric() && !" _-.,/()[]:".contains(char) {
            let _ = write!(written, "#{};", u32::from(char));
        } else {
            written.push(char);
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_ends_the_quotes_around_it() {
        let hostile = "a\"b\\n\\\nc<br/>#x;";
        assert_eq!(quoted(hostile), "\"a\\\"b\\\\n\\\\ c<br/>#x;\"");
        assert_eq!(entities(hostile), "a#34;b#92;n#92; c#60;br/#62;#35;x#59;");
    }
}
