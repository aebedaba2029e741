//! The shapes that nodes can be asked for, and what is said of a node that has another.
//!
//! Knows maps, lists, texts and quantities; the words of the language are in `parse` and `policy`.

use std::fmt::Display;
use std::str::FromStr;

use super::model::Spot;
use super::place::{Extent, Sources};
use super::tree::{Node, Tree};
use crate::diagnostic::{Diagnostic, did_you_mean};

/// The entries of a map.
pub(super) type Entries = [(String, Extent, Node)];

/// The value of a key.
pub(super) fn get<'a>(entries: &'a Entries, key: &str) -> Option<&'a Node> {
    entries.iter().find(|(name, _, _)| name == key).map(|(_, _, node)| node)
}

/// Turns nodes into values and collects what is wrong on the way.
pub(super) struct Reader {
    pub(super) sources: Sources,
    pub(super) found: Vec<Diagnostic>,
}

impl Reader {
    pub(super) fn wrong(
        &mut self,
        span: Extent,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.sources.place(span);
        self.found.push(Diagnostic::error("pipeline::value", message).at(place, "").help(help));
    }

    /// The entries of a map; keys that are not among `keys` are told.
    pub(super) fn map<'a>(
        &mut self,
        node: &'a Node,
        what: &str,
        keys: Option<&[&str]>,
    ) -> Option<&'a Entries> {
        let Tree::Map(entries) = &node.tree else {
            self.wrong(
                node.span,
                format!("{what} must be a map, and this is {}", node.kind()),
                "write `key: value`, one a line",
            );
            return None;
        };
        for (key, span, _) in entries {
            if let Some(known) = keys.filter(|known| !known.contains(&key.as_str())) {
                self.found.push(
                    Diagnostic::error(
                        "pipeline::unknown_key",
                        format!("{what} has no key `{key}`"),
                    )
                    .at(self.sources.place(*span), "not known here")
                    .maybe_help(did_you_mean(key, known.iter().copied())),
                );
            }
        }
        Some(entries)
    }

    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<Spot<String>> {
        if let Tree::Text(text) = &node.tree {
            return Some(Spot { value: text.clone(), span: node.span });
        }
        self.wrong(
            node.span,
            format!("{what} must be a text, and this is {}", node.kind()),
            "put it in quotes",
        );
        None
    }

    /// A quantity that is written as a text, such as `2m`.
    pub(super) fn quantity<T: FromStr<Err: Display>>(
        &mut self,
        node: &Node,
        what: &str,
        example: &str,
    ) -> Option<T> {
        let help = format!("write {what} like `{example}`");
        let written = match &node.tree {
            Tree::Text(text) => text.clone(),
            Tree::Number(number) => number.to_string(),
            _ => {
                self.wrong(
                    node.span,
                    format!(
                        "{what} must be a text such as `{example}`, and this is {}",
                        node.kind()
                    ),
                    help,
                );
                return None;
            }
        };
        match written.parse() {
            Ok(parsed) => Some(parsed),
            Err(_) if written.contains("{{") => {
                self.wrong(
                    node.span,
                    format!("{what} can't be an expression"),
                    format!("expressions stand in `vars`, `with` and `when`; {help}"),
                );
                None
            }
            Err(error) => {
                self.wrong(node.span, error.to_string(), help);
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Tree::Bool(truth) = node.tree {
            return Some(truth);
        }
        self.wrong(
            node.span,
            format!("{what} must be `true` or `false`"),
            "write one of the two, without quotes",
        );
        None
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(node, what)?.value;
        let chosen = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if chosen.is_none() {
            let names = words.iter().map(|(word, _)| *word);
            self.found.push(
                Diagnostic::error("pipeline::value", format!("{what} can't be `{text}`"))
                    .at(self.sources.place(node.span), "")
                    .maybe_help(did_you_mean(&text, names)),
            );
        }
        chosen
    }

    pub(super) fn list<T>(
        &mut self,
        node: &Node,
        what: &str,
        mut item: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Vec<T> {
        match &node.tree {
            Tree::List(items) => items.iter().filter_map(|one| item(self, one)).collect(),
            Tree::Text(_) => item(self, node).into_iter().collect(),
            _ => {
                self.wrong(
                    node.span,
                    format!("{what} must be a list of names, and this is {}", node.kind()),
                    "write `[one, two]`",
                );
                Vec::new()
            }
        }
    }
}
