//! What expressions refer to, and where in the file each name stands.
//!
//! The engine of expressions tells which names are free; where they stand is found by reading the tokens. Knows the
//! words of expressions, not whether what they name exists.

use std::collections::HashSet;

use super::expression::{self, Trouble};
use super::model::{Condition, Spot};
use super::place::{Extent, Sources};
use super::token::{Chain, Word, words_of_expression, words_of_text};
use super::tree::{Node, Tree};
use crate::diagnostic::{Diagnostic, did_you_mean};

/// What an expression refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `phases.NAME...`
    Phase {
        /// The phase.
        name: String,
        /// What stands after it: a field, or the values of its `matrix`.
        next: Option<String>,
    },
    /// `vars.NAME`
    Var {
        /// The variable.
        name: String,
    },
    /// `host.NAME`
    Host {
        /// The fact.
        name: String,
    },
    /// `matrix.NAME`
    Matrix {
        /// The axis.
        name: String,
    },
    /// The environment, or all facts at once: nothing that could be missing.
    Given,
    /// `phases` or `vars` without a name that is written there.
    Nameless {
        /// The word.
        word: String,
    },
    /// A name that is none of these.
    Unknown {
        /// As written.
        name: String,
    },
    /// What can't be read; it has been told.
    Broken,
}

/// A reference and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// What is referred to.
    pub reference: Reference,
    /// Where.
    pub span: Extent,
    /// Position of the entry of the map that it stands in; nothing for what stands elsewhere.
    pub entry: Option<u32>,
}

/// All that the expressions in a tree refer to, and what is wrong with them as far as that can be told without a value.
#[must_use]
pub fn mentions(node: &Node, sources: &Sources) -> (Vec<Mention>, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let mut mentions = Mentions::new(sources, &mut found);
    mentions.of_tree(node);
    (mentions.all, found)
}

/// A text with its place, and the entry that it stands in.
#[derive(Clone, Copy)]
struct Written<'a> {
    text: &'a str,
    span: Extent,
    entry: Option<u32>,
}

/// Collects mentions, and what is wrong with the expressions.
pub(super) struct Mentions<'a> {
    pub(super) sources: &'a Sources,
    pub(super) all: Vec<Mention>,
    pub(super) found: &'a mut Vec<Diagnostic>,
}

impl<'a> Mentions<'a> {
    pub(super) fn new(sources: &'a Sources, found: &'a mut Vec<Diagnostic>) -> Self {
        Self { sources, all: Vec::new(), found }
    }

    /// Adds everything that a tree refers to.
    pub(super) fn of_tree(&mut self, node: &Node) {
        match &node.tree {
            Tree::Map(entries) => {
                for ((_, _, node), entry) in entries.iter().zip(0..) {
                    node.each_text(&mut |text, span| {
                        self.of_text(Written { text, span, entry: Some(entry) });
                    });
                }
            }
            _ => {
                node.each_text(&mut |text, span| self.of_text(Written { text, span, entry: None }));
            }
        }
    }

    /// Adds everything that a condition refers to.
    pub(super) fn of_condition(&mut self, condition: &Condition) {
        let Condition::Expression(Spot { value, span }) = condition else { return };
        let written = Written { text: value, span: *span, entry: None };
        match expression::names_of_expression(value) {
            Ok(free) => self.words(written, &free, words_of_expression(value)),
            Err(error) => self.broken(&error, written),
        }
    }

    fn of_text(&mut self, written: Written<'_>) {
        if !expression::is_dynamic(written.text) {
            return;
        }
        match expression::names_of_text(written.text) {
            Ok(free) => self.words(written, &free, words_of_text(written.text)),
            Err(error) => self.broken(&error, written),
        }
    }

    fn broken(&mut self, error: &minijinja::Error, Written { text, span, entry }: Written<'_>) {
        self.found.push(Trouble::of_engine(error, text).at(self.sources, span, text));
        self.all.push(Mention { reference: Reference::Broken, span, entry });
    }

    fn words(&mut self, written: Written<'_>, free: &HashSet<String>, words: Vec<Word<'_>>) {
        let Written { text, span, entry } = written;
        for word in words {
            let (reference, part) = match word {
                Word::Chain(chain) if free.contains(chain.parts[0].0) => {
                    let Some(named) = refer(&chain) else { continue };
                    named
                }
                Word::Chain(_) => continue,
                Word::Filter(name, part) => {
                    let Some(known) = expression::unknown_filter(name) else { continue };
                    self.unknown("filter", name, known, self.sources.within(span, text, &part));
                    (Reference::Broken, part)
                }
                Word::Test(name, part) => {
                    let Some(known) = expression::unknown_test(name) else { continue };
                    self.unknown("test", name, known, self.sources.within(span, text, &part));
                    (Reference::Broken, part)
                }
            };
            let span = self.sources.within(span, text, &part);
            self.all.push(Mention { reference, span, entry });
        }
    }

    fn unknown(&mut self, what: &str, name: &str, known: &[&str], span: Extent) {
        self.found.push(
            Diagnostic::error("pipeline::expression", format!("unknown {what} `{name}`"))
                .at(self.sources.place(span), format!("no {what} has this name"))
                .maybe_help(did_you_mean(name, known.iter().copied())),
        );
    }
}

/// What a free name stands for, and the part of it that names something.
fn refer(chain: &Chain<'_>) -> Option<(Reference, std::ops::Range<usize>)> {
    let (root, at_root) = &chain.parts[0];
    let second = chain.parts.get(1);
    let named = |make: fn(String) -> Reference| {
        second.map(|(name, at)| (make((*name).to_owned()), at.clone()))
    };
    let known = match *root {
        "phases" => second.map(|(name, at)| {
            let next = chain.parts.get(2).map(|(next, _)| (*next).to_owned());
            (Reference::Phase { name: (*name).to_owned(), next }, at.clone())
        }),
        "vars" => named(|name| Reference::Var { name }),
        "host" => {
            named(|name| Reference::Host { name }).or(Some((Reference::Given, at_root.clone())))
        }
        "matrix" => {
            named(|name| Reference::Matrix { name }).or(Some((Reference::Given, at_root.clone())))
        }
        "env" => Some((Reference::Given, at_root.clone())),
        _ if expression::is_global(root) => return None,
        _ => Some((Reference::Unknown { name: (*root).to_owned() }, at_root.clone())),
    };
    let nameless = || (Reference::Nameless { word: (*root).to_owned() }, at_root.clone());
    Some(known.unwrap_or_else(nameless))
}
