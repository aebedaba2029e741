//! Trees with every expression in them evaluated: plain data, and how the file spells it where that differs.
//!
//! Knows trees, expressions and the room there is; not what the values are for.

use serde_json::{Map, Value};

use super::expression::{Trouble, is_dynamic, joined, sole_expression, value_of};
use super::place::{Extent, Sources};
use super::room::{DEEPEST, MOST_BYTES, MOST_VALUES, Refusal, Room, within_depth};
use super::scope::{Frame, Scope};
use super::tree::{Node, Tree};
use super::{secret, spelling};
use crate::diagnostic::Diagnostic;

/// What came of a tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The value, with its marker in place of every secret.
    pub value: Value,
    /// The same with a text in place of each number and truth that the file spells in a way of its own; nothing where
    /// it does so nowhere.
    pub spelled: Option<Value>,
}

impl From<Value> for Rendered {
    fn from(value: Value) -> Self {
        Self { value, spelled: None }
    }
}

/// The value of a tree with every expression in it evaluated, as far as there is room for it.
///
/// # Errors
/// Every expression that can't be evaluated, or what there is no room for, with its place.
pub fn render(
    node: &Node,
    frame: &Frame,
    sources: &Sources,
    room: &mut Room,
) -> Result<Rendered, Vec<Diagnostic>> {
    let mut at_work = Renderer { frame, sources, room, wrong: Vec::new(), is_full: false };
    let rendered = at_work.node(node, 0);
    if at_work.wrong.is_empty() { Ok(rendered) } else { Err(at_work.wrong) }
}

/// Like [`render`], for one tree alone: what expressions can see is made ready only where there is one, as that costs
/// more than all the rest.
///
/// # Errors
/// As of [`render`].
pub fn render_alone(
    node: &Node,
    scope: &Scope,
    sources: &Sources,
    room: &mut Room,
) -> Result<Rendered, Vec<Diagnostic>> {
    let mut has_expressions = false;
    node.each_text(&mut |text, _| has_expressions |= is_dynamic(text));
    let frame = if has_expressions { scope.frame() } else { Frame::default() };
    render(node, &frame, sources, room)
}

struct Renderer<'a> {
    frame: &'a Frame,
    sources: &'a Sources,
    room: &'a mut Room,
    wrong: Vec<Diagnostic>,
    /// True from when something had no room: all else is left out.
    is_full: bool,
}

impl Renderer<'_> {
    fn node(&mut self, node: &Node, depth: usize) -> Rendered {
        if self.is_full {
            return Value::Null.into();
        }
        if let Err(refusal) = within_depth(depth).and_then(|()| self.room.take(1, 0)) {
            return self.refuse(refusal, node.span, "");
        }
        match &node.tree {
            Tree::Text(text) => self.text(text, node.span, depth),
            Tree::List(items) => {
                let mut both = Both::default();
                for item in items {
                    let item = self.node(item, depth + 1);
                    both.push(item, Vec::push);
                }
                both.made(Value::Array)
            }
            Tree::Map(entries) => match secret::form(node) {
                Some(Ok(secret)) => Value::String(secret.marker()).into(),
                // Told when the pipeline was checked.
                Some(Err(_)) => Value::Null.into(),
                None => {
                    let mut both: Both<Map<String, Value>> = Both::default();
                    for (key, _, node) in entries {
                        let item = self.node(node, depth + 1);
                        both.push(item, |map, value| drop(map.insert(key.clone(), value)));
                    }
                    both.made(Value::Object)
                }
            },
            Tree::Null | Tree::Bool(_) | Tree::Number(_) => {
                let spelled = spelling::of_node(node, self.sources);
                let spelled = spelled.map(|spelled| Value::String(spelled.to_owned()));
                Rendered { value: node.to_value(), spelled }
            }
        }
    }

    fn text(&mut self, text: &str, span: Extent, depth: usize) -> Rendered {
        if !is_dynamic(text) {
            return match self.room.take(0, text.len()) {
                Ok(()) => Value::String(text.to_owned()).into(),
                Err(refusal) => self.refuse(refusal, span, text),
            };
        }
        let context = &self.frame.context;
        let made = if sole_expression(text).is_some() {
            value_of(text, context).map(|value| {
                let value = self.room.plain(&value, depth)?;
                let spelled = self.spelled(text).and_then(|text| value_of(&text, context).ok());
                // It has been made room for as a value.
                let spelled = spelled.map(|value| Room::of_a_phase().plain(&value, depth));
                let spelled = spelled.transpose()?.filter(|spelled| *spelled != value);
                Ok(Rendered { value, spelled })
            })
        } else {
            joined(text, context).map(|plain| {
                let spelled = self.spelled(text).and_then(|text| joined(&text, context).ok());
                let text = spelled.unwrap_or(plain);
                self.room.take(0, text.len())?;
                Ok(Value::String(text).into())
            })
        };
        match made {
            Ok(Ok(rendered)) => rendered,
            Ok(Err(refusal)) => self.refuse(refusal, span, text),
            Err(trouble) => {
                self.wrong.push(trouble.at(self.sources, span, text));
                Value::Null.into()
            }
        }
    }

    /// A text with expressions in it that see what they only insert as the file spells it, where there is such a thing.
    fn spelled(&self, text: &str) -> Option<String> {
        if !self.frame.spells {
            return None;
        }
        spelling::of_text(text)
    }

    /// Tells what was not made.
    fn refuse(&mut self, refusal: Refusal, span: Extent, text: &str) -> Rendered {
        let found = match refusal {
            Refusal::NotPlain(told) => {
                let message = format!("`{}` has no plain value: {told}", text.trim());
                let whole = Trouble { message, part: 0..text.len(), ..Trouble::default() };
                whole.at(self.sources, span, text)
            }
            Refusal::Beyond(told) => {
                self.is_full = true;
                Diagnostic::error("pipeline::limit", told)
                    .at(self.sources.place(span), "with this")
                    .help(format!(
                        "all variables together, and what one phase is told, may come to {MOST_VALUES} values, {} MiB of text and {DEEPEST} levels; each use of a variable counts: let fewer hold it, or put it into a file",
                        MOST_BYTES >> 20
                    ))
            }
        };
        self.wrong.push(found);
        Value::Null.into()
    }
}

/// A list or map that is being made, and the same as the file spells it once that differs.
#[derive(Default)]
struct Both<T> {
    values: T,
    spelled: Option<T>,
}

impl<T: Clone> Both<T> {
    fn push(&mut self, item: Rendered, mut put: impl FnMut(&mut T, Value)) {
        let Rendered { value, spelled } = item;
        if spelled.is_some() && self.spelled.is_none() {
            self.spelled = Some(self.values.clone());
        }
        if let Some(all) = &mut self.spelled {
            put(all, spelled.unwrap_or_else(|| value.clone()));
        }
        put(&mut self.values, value);
    }

    fn made(self, wrap: fn(T) -> Value) -> Rendered {
        Rendered { value: wrap(self.values), spelled: self.spelled.map(wrap) }
    }
}
