//! The graph as a picture that needs nothing else: a box for each phase, layers from left to right.

use std::fmt::Write as _;

use super::layout::{BOX, Layout, layout};
use super::{Graph, cut};

/// Most characters of a name that are shown; the whole name is told when the box is pointed at.
const LONGEST: usize = 30;

/// The free width between layers.
const BETWEEN: f64 = 64.0;

/// The free space around everything.
const MARGIN: f64 = 28.0;

/// The height of what stands above the graph.
const HEAD: f64 = 58.0;

const STYLE: &str = "\
svg { --paper: #ffffff; --ink: #1b1f24; --soft: #667080; --line: #c8ced8; --fill: #f6f7f9; --way: #ccd2db; --hot: #d9480f; --bar: #b9c1cd }
@media (prefers-color-scheme: dark) { svg { --paper: #14171b; --ink: #e7eaee; --soft: #98a2b0; --line: #3d4652; --fill: #1d2228; --way: #414b58; --hot: #ff8f4d; --bar: #55606f } }
text { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: var(--ink) }
.paper { fill: var(--paper) }
.title { font-size: 18px; font-weight: 600 }
.soft { font-size: 11px; fill: var(--soft) }
.caption { font-size: 12px; fill: var(--soft) }
.name { font-size: 13px; font-weight: 600 }
.box { fill: var(--fill); stroke: var(--line); stroke-width: 1 }
.box.hot { stroke: var(--hot); stroke-width: 2 }
.box.out { stroke-dasharray: 4 4; fill: none }
.bar { fill: var(--bar) }
.bar.hot { fill: var(--hot) }
.way { fill: none; stroke: var(--way); stroke-width: 1.5 }
.way.hot { stroke: var(--hot); stroke-width: 2.5 }
";

impl Graph<'_> {
    /// A self-contained SVG, light or dark as its reader wishes.
    #[must_use]
    pub fn svg(&self) -> String {
        let after: Vec<Vec<usize>> =
            self.plan.phases.iter().map(|phase| phase.dependents.clone()).collect();
        let layers = self.layers();
        let picture = Picture {
            graph: self,
            laid: layout(&layers, &self.layer, &after),
            box_width: self.box_width(),
        };
        picture.draw(layers.len())
    }

    /// Wide enough for the longest name that is shown, and for kind and time below it.
    fn box_width(&self) -> f64 {
        let wide = |text: &str, each: f64| text.chars().count().min(LONGEST) as f64 * each;
        let of = |position: usize| {
            let took = self.took(position).unwrap_or_default();
            let below = wide(&self.plan.spec(position).uses.value, 6.6) + wide(&took, 6.6) + 14.0;
            wide(self.plan.name(position).as_str(), 8.3).max(below)
        };
        (0..self.plan.phases.len()).map(of).fold(96.0, f64::max).ceil() + 26.0
    }
}

struct Picture<'a> {
    graph: &'a Graph<'a>,
    laid: Layout,
    box_width: f64,
}

impl Picture<'_> {
    fn draw(&self, layers: usize) -> String {
        let columns = layers as f64 * (self.box_width + BETWEEN) - BETWEEN;
        let width = columns.max(360.0) + 2.0 * MARGIN;
        let height = self.laid.height + HEAD + 2.0 * MARGIN;
        let name = xml(&self.graph.plan.pipeline.name);
        let caption = xml(&self.graph.caption());
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n\
             <title>{name}: {caption}</title>\n<style>\n{STYLE}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
             <text class=\"title\" x=\"{MARGIN}\" y=\"46\">{name}</text>\n\
             <text class=\"caption\" x=\"{MARGIN}\" y=\"66\">{caption}</text>\n"
        );
        self.ways(&mut svg);
        let longest = self.longest();
        for position in 0..self.graph.plan.phases.len() {
            self.phase(position, longest, &mut svg);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// What the longest phase took.
    fn longest(&self) -> f64 {
        let plan = self.graph.plan;
        (0..plan.phases.len()).filter_map(|at| plan.expected(at)).fold(0.0, f64::max)
    }

    fn left(&self, layer: usize) -> f64 {
        MARGIN + layer as f64 * (self.box_width + BETWEEN)
    }

    fn middle(&self, position: usize) -> f64 {
        self.laid.middle[position] + HEAD + MARGIN
    }

    /// All ways; those of the critical path above the others.
    fn ways(&self, svg: &mut String) {
        let graph = self.graph;
        let mut hot = String::new();
        for (position, phase) in graph.plan.phases.iter().enumerate() {
            let mut path = String::new();
            let mut drawn = 0;
            for next in &phase.dependents {
                self.way(position, *next, drawn, &mut path);
                drawn = drawn.max(graph.layer[*next] - graph.layer[position] - 1);
                if graph.is_step(position, *next) {
                    self.way(position, *next, 0, &mut hot);
                }
            }
            if !path.is_empty() {
                let _ = writeln!(svg, "<path class=\"way\" d=\"{path}\"/>");
            }
        }
        if !hot.is_empty() {
            let _ = writeln!(svg, "<path class=\"way hot\" d=\"{hot}\"/>");
        }
    }

    /// The way from a box to one that follows it, without the first passes, which are drawn.
    fn way(&self, from: usize, to: usize, drawn: usize, path: &mut String) {
        let first = self.graph.layer[from];
        let between = self.graph.layer[to] - first - 1;
        let passes = &self.laid.passes[from];
        let passes = &passes[..between.min(passes.len())];
        let pass = |at: usize| passes[at] + HEAD + MARGIN;
        let (mut x, mut y) = (self.left(first) + self.box_width, self.middle(from));
        for at in 0..passes.len() {
            let (left, height) = (self.left(first + 1 + at), pass(at));
            if at >= drawn {
                curve(path, (x, y), (left, height));
                let _ = write!(path, "H{:.1}", left + self.box_width);
            }
            (x, y) = (left + self.box_width, height);
        }
        curve(path, (x, y), (self.left(self.graph.layer[to]), self.middle(to)));
    }

    fn phase(&self, position: usize, longest: f64, svg: &mut String) {
        let (graph, plan) = (self.graph, self.graph.plan);
        let (x, top) = (self.left(graph.layer[position]), self.middle(position) - BOX / 2.0);
        let (name, kind) = (plan.name(position).as_str(), plan.spec(position).uses.value.as_str());
        let took = graph.took(position);
        let class = match (plan.phases[position].selected, graph.marked[position]) {
            (false, _) => " out",
            (true, true) => " hot",
            (true, false) => "",
        };
        let about = took.as_ref().map(|took| format!(", {took}")).unwrap_or_default();
        let about = if plan.phases[position].selected { about } else { ", not selected".into() };
        let _ = write!(
            svg,
            "<g><title>{}: {}{about}</title><rect class=\"box{class}\" x=\"{x}\" y=\"{top:.1}\" \
             width=\"{}\" height=\"{BOX}\" rx=\"7\"/>\
             <text class=\"name\" x=\"{}\" y=\"{:.1}\">{}</text>\
             <text class=\"soft\" x=\"{}\" y=\"{:.1}\">{}</text>",
            xml(name),
            xml(kind),
            self.box_width,
            x + 12.0,
            top + 21.0,
            xml(&cut(name, LONGEST)),
            x + 12.0,
            top + 37.0,
            xml(&cut(kind, LONGEST)),
        );
        if let Some(took) = took {
            let right = x + self.box_width - 12.0;
            let _ = write!(
                svg,
                "<text class=\"soft\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{took}</text>",
                top + 37.0
            );
        }
        let share = plan.expected(position).unwrap_or(0.0) / longest;
        // A shorter bar would be a dot.
        if share.is_finite() && share > 0.02 {
            let wide = share * (self.box_width - 24.0);
            let _ = write!(
                svg,
                "<rect class=\"bar{class}\" x=\"{}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"3\" rx=\"1.5\"/>",
                x + 12.0,
                top + 42.0
            );
        }
        svg.push_str("</g>\n");
    }
}

/// A way that leaves and arrives level.
fn curve(path: &mut String, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
    let bend = f64::midpoint(x, to_x);
    let _ = write!(path, "M{x:.1} {y:.1}C{bend:.1} {y:.1} {bend:.1} {to_y:.1} {to_x:.1} {to_y:.1}");
}

/// A text in XML: what would be markup is written as entities, what XML does not allow is left out.
fn xml(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => {}
            char if char.is_control() && !char.is_whitespace() => {}
            char => written.push(char),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_becomes_markup() {
        assert_eq!(xml("<b a='1'>&\u{1}\u{ffff}\""), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;");
    }
}
