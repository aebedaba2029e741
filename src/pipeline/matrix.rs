//! `matrix`: one phase of the file becomes one for each combination of values.

use std::collections::HashSet;

use serde_json::Value;

use super::model::{Choice, PhaseSpec};
use super::place::Extent;
use super::shape::{Entries, Reader};
use super::spelling;
use super::tree::{Node, Tree};
use crate::event::{PhaseName, is_matrix_value};

/// Most phases that one may become.
const MOST: usize = 1000;

/// A name with the values that it takes, each with its text in the names of the phases.
pub(super) struct Axis {
    name: String,
    values: Vec<(String, Value)>,
}

impl Reader {
    /// The axes of a matrix as far as they are right; none when no phase can be made of it.
    pub(super) fn axes(&mut self, node: &Node) -> Vec<Axis> {
        let entries: &Entries = self.map(node, "`matrix`", None).unwrap_or_default();
        if entries.is_empty() && matches!(node.tree, Tree::Map(_)) {
            self.wrong(
                node.span,
                "the matrix has no axis",
                "write it like `matrix: { size: [5, 10] }`",
            );
        }
        let axes: Vec<Axis> =
            entries.iter().filter_map(|(name, span, node)| self.axis(name, *span, node)).collect();
        let phases = axes.iter().try_fold(1_usize, |all, axis| all.checked_mul(axis.values.len()));
        if phases.is_none_or(|phases| phases > MOST) {
            let told = format!("this matrix would make more than {MOST} phases of one");
            self.wrong(node.span, told, "take values or an axis away");
            return Vec::new();
        }
        axes
    }

    fn axis(&mut self, name: &str, span: Extent, node: &Node) -> Option<Axis> {
        let mut bytes = name.bytes();
        let is_word = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_word {
            let help = "use letters, digits and `_`, so that expressions can say `matrix.NAME`";
            self.wrong(span, format!("`{name}` is not the name of an axis"), help);
            return None;
        }
        let Tree::List(items) = &node.tree else {
            self.wrong(
                node.span,
                format!("an axis must be a list of values, and this is {}", node.kind()),
                "write it like `size: [5, 10]`",
            );
            return None;
        };
        if items.is_empty() {
            let told = format!("the axis `{name}` has no values, so there would be no phase");
            self.wrong(node.span, told, "write it like `size: [5, 10]`");
            return None;
        }
        let mut seen = HashSet::new();
        let values: Vec<(String, Value)> = items
            .iter()
            .filter_map(|item| {
                let text = self.axis_value(item)?;
                if !seen.insert(text.clone()) {
                    let told = format!("the axis `{name}` has the value `{text}` twice");
                    self.wrong(item.span, told, "a value stands once: its phase is named after it");
                    return None;
                }
                Some((text, item.to_value()))
            })
            .collect();
        (!values.is_empty()).then(|| Axis { name: name.to_owned(), values })
    }

    /// A value as it stands in the names of phases.
    fn axis_value(&mut self, item: &Node) -> Option<String> {
        let help = "use numbers, `true`, `false`, or texts of letters, digits, `_`, `.` and `-`";
        let text = match &item.tree {
            Tree::Number(_) | Tree::Bool(_) => spelling::of_node(item, &self.sources)
                .map_or_else(|| item.to_value().to_string(), str::to_owned),
            Tree::Text(text) => text.clone(),
            Tree::Null | Tree::List(_) | Tree::Map(_) => {
                let told = format!("a value of an axis can't be {}", item.kind());
                self.wrong(item.span, told, help);
                return None;
            }
        };
        if !is_matrix_value(&text) {
            let told = format!("`{text}` can't be a value of an axis: phases are named after it");
            self.wrong(item.span, told, help);
            return None;
        }
        Some(text)
    }

    /// Appends the phases that `axes` make of one, the first axis slowest.
    pub(super) fn expand(&mut self, spec: PhaseSpec, axes: &[Axis], phases: &mut Vec<PhaseSpec>) {
        let count = axes.iter().map(|axis| axis.values.len()).product::<usize>();
        if axes.is_empty() {
            phases.push(spec);
            return;
        }
        for number in 0..count {
            let mut rest = number;
            let mut chosen: Vec<(&str, &(String, Value))> = axes
                .iter()
                .rev()
                .map(|axis| {
                    let value = &axis.values[rest % axis.values.len()];
                    rest /= axis.values.len();
                    (axis.name.as_str(), value)
                })
                .collect();
            chosen.reverse();
            let texts: Vec<&str> = chosen.iter().map(|(_, (text, _))| text.as_str()).collect();
            let name = format!("{}[{}]", spec.name.value, texts.join(","));
            let Ok(value) = name.parse() else {
                let told = format!("`{name}` is longer than {} bytes", PhaseName::LONGEST);
                self.wrong(spec.name.span, told, "shorten the name of the phase, or the values");
                return;
            };
            let mut one = spec.clone();
            one.name.value = value;
            one.matrix = chosen
                .into_iter()
                .map(|(axis, (text, value))| Choice {
                    axis: axis.to_owned(),
                    value: value.clone(),
                    text: text.clone(),
                })
                .collect();
            phases.push(one);
        }
    }
}
