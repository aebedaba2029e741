//! A YAML document as a tree in which every node knows its place.
//!
//! The reader has limits on size, depth, aliases and nodes, so a hostile file is an error and not an outage.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml::{Location, Spanned};

use super::place::Extent;
use crate::diagnostic::{Diagnostic, Place, Source};

/// A value and the bytes of the file it stands at.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub tree: Tree,
    /// Where it stands.
    pub span: Extent,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Whole or not.
    Number(Number),
    /// Text, expressions included.
    Text(String),
    /// In order.
    List(Vec<Node>),
    /// Keys are texts, each with its place; in order.
    Map(Vec<(String, Extent, Node)>),
}

impl Node {
    /// What kind of value it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.tree {
            Tree::Null => "nothing",
            Tree::Bool(_) => "a boolean",
            Tree::Number(_) => "a number",
            Tree::Text(_) => "a text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
        }
    }

    /// The value without places.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(truth) => Value::Bool(*truth),
            Tree::Number(number) => Value::Number(number.clone()),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Tree::Map(entries) => Value::Object(
                entries.iter().map(|(key, _, node)| (key.clone(), node.to_value())).collect(),
            ),
        }
    }

    /// The place of what `path` leads to, or of the last node on the way that exists.
    #[must_use]
    pub fn span_of(&self, path: &[String]) -> Extent {
        let Some((first, rest)) = path.split_first() else { return self.span };
        match &self.tree {
            Tree::Map(entries) => match entries.iter().find(|(key, _, _)| key == first) {
                Some((_, _, node)) => node.span_of(rest),
                None => self.span,
            },
            Tree::List(items) => match first.parse().ok().and_then(|index: usize| items.get(index))
            {
                Some(node) => node.span_of(rest),
                None => self.span,
            },
            _ => self.span,
        }
    }

    /// Calls `visit` with every text in the tree and its place.
    pub fn each_text<'a>(&'a self, visit: &mut impl FnMut(&'a str, Extent)) {
        match &self.tree {
            Tree::Text(text) => visit(text, self.span),
            Tree::List(items) => items.iter().for_each(|node| node.each_text(visit)),
            Tree::Map(entries) => entries.iter().for_each(|(_, _, node)| node.each_text(visit)),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) => {}
        }
    }

    /// Takes away and tells each key that stands in its map already.
    fn take_repeated(&mut self, tell: &mut impl FnMut(&str, Extent)) {
        match &mut self.tree {
            Tree::List(items) => items.iter_mut().for_each(|node| node.take_repeated(tell)),
            Tree::Map(entries) => {
                if has_repeated(entries) {
                    let mut seen = HashSet::new();
                    entries.retain(|(key, span, _)| {
                        let is_new = seen.insert(key.clone());
                        if !is_new {
                            tell(key, *span);
                        }
                        is_new
                    });
                }
                for (_, _, node) in entries {
                    node.take_repeated(tell);
                }
            }
            Tree::Text(_) | Tree::Null | Tree::Bool(_) | Tree::Number(_) => {}
        }
    }

    /// Says which of the sources of a pipeline it was read from.
    pub(super) fn set_source(&mut self, source: usize) {
        self.span = self.span.in_source(source);
        match &mut self.tree {
            Tree::List(items) => items.iter_mut().for_each(|node| node.set_source(source)),
            Tree::Map(entries) => {
                for (_, span, node) in entries {
                    *span = span.in_source(source);
                    node.set_source(source);
                }
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {}
        }
    }
}

/// Whether a key stands twice. Most maps are small, and to compare their keys costs less than to make a set of them.
fn has_repeated(entries: &[(String, Extent, Node)]) -> bool {
    if entries.len() <= FEW {
        return entries
            .iter()
            .enumerate()
            .any(|(at, (key, _, _))| entries[..at].iter().any(|(other, _, _)| other == key));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    !entries.iter().all(|(key, _, _)| seen.insert(key.as_str()))
}

/// So many keys are few.
const FEW: usize = 12;

/// Most values that stand in a file: about twenty for each of the most phases that there may be.
const MOST_VALUES: usize = 4_000_000;

/// Most values that aliases may repeat.
const MOST_REPEATED: usize = 100_000;

fn limits() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_events: 3 * MOST_VALUES,
            max_nodes: MOST_VALUES,
            max_depth: 64,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 1,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MOST_REPEATED,
        },
        // A key that stands twice is told with all else that is wrong.
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// Reads a document that is no pipeline; `what` says what it is, as in "of a suite".
///
/// # Errors
/// The first thing that keeps it from being YAML, or the limit that it goes beyond.
pub fn parse_yaml(source: &Arc<Source>, what: &str) -> Result<Node, Box<Diagnostic>> {
    let (node, repeated) = read(source, 0, what)?;
    repeated.into_iter().next().map_or(Ok(node), |repeated| Err(Box::new(repeated)))
}

/// Reads a document that is one of the sources of a pipeline. Of keys that stand twice the first counts, and the others are
/// told.
pub(super) fn parse_source(
    source: &Arc<Source>,
    position: usize,
) -> Result<(Node, Vec<Diagnostic>), Box<Diagnostic>> {
    read(source, position, "of a pipeline")
}

fn read(
    source: &Arc<Source>,
    position: usize,
    what: &str,
) -> Result<(Node, Vec<Diagnostic>), Box<Diagnostic>> {
    let wrong = |told: String, help: &str, span: Option<Range<usize>>| {
        let told = format!("this is not the YAML {what}: {told}");
        let found = Diagnostic::error("pipeline::yaml", told).help(help);
        match span {
            Some(span) => found.at(Place { source: Arc::clone(source), span }, "here"),
            None => found,
        }
    };
    let read: Result<Node, _> = serde_yaml::from_str_with_options(&source.text, limits());
    let mut node = read.map_err(|error| {
        let (told, help) = explain(&error);
        let span = error.location().map(|location| span_in(&source.text, &location));
        Box::new(wrong(told, help, span))
    })?;
    let mut repeated = Vec::new();
    node.take_repeated(&mut |key, span| {
        let told = format!("the key `{key}` stands here a second time");
        let help = "a key stands once in a map: rename or remove one of the two";
        repeated.push(wrong(told, help, Some(span.bytes())));
    });
    if position > 0 {
        node.set_source(position);
    }
    Ok((node, repeated))
}

/// What the reader says, and what would be right.
fn explain(error: &serde_yaml::Error) -> (String, &'static str) {
    let mut told = error.to_string();
    if told.contains("budget breached: Documents") {
        return (
            "more than one document stands in it".to_owned(),
            "a file is one document: put each of the others into a file of its own, without `---`",
        );
    }
    // By its words: the reader wraps a limit that an alias went beyond in another error.
    if told.contains("budget breached") || told.contains("alias replay") {
        return (
            "it goes beyond a limit of size or depth".to_owned(),
            "a file is one document of at most 64 levels, 4000000 values and 1000 aliases, which repeat at most 100000 values",
        );
    }
    // The place is shown by itself; the reader repeats it in its text.
    if let Some(cut) = told.find(" at line ") {
        told.truncate(cut);
    }
    let help = "look for brackets and quotes that are not closed, tabs, and lines that are not indented alike";
    (told, help)
}

/// A value given on the command line: a YAML scalar keeps its type, all else is a text.
#[must_use]
pub fn parse_scalar(text: &str) -> Value {
    match serde_yaml::from_str_with_options::<Node>(text, limits()).map(|node| node.to_value()) {
        Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// The bytes of a place that the reader tells.
fn span_in(text: &str, location: &Location) -> Range<usize> {
    let start = if let Some(offset) = location.span().byte_offset() {
        offset as usize
    } else {
        let line = usize::try_from(location.line().saturating_sub(1)).unwrap_or(0);
        let column = usize::try_from(location.column().saturating_sub(1)).unwrap_or(0);
        let line_start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        line_start + text[line_start..].chars().take(column).map(char::len_utf8).sum::<usize>()
    };
    let start = start.min(text.len());
    let length = location.span().byte_len().unwrap_or(0) as usize;
    let rest = &text[start..];
    // A block reaches over many lines; the first one is enough to point at.
    let line = rest.find('\n').unwrap_or(rest.len());
    let end = start + length.clamp(1, line.max(1)).min(rest.len());
    start..if text.is_char_boundary(end) { end } else { start + line }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tree>::deserialize(deserializer)?;
        // Of what an alias repeats, the place is that of the alias; but how a number is spelled is told where it is.
        let place = match spanned.value {
            Tree::Bool(_) | Tree::Number(_) => &spanned.defined,
            _ => &spanned.referenced,
        };
        Ok(Self { span: raw_span(place), tree: spanned.value })
    }
}

/// The reader gives byte offsets for texts; [`span_in`] is for errors, which may lack them.
fn raw_span(location: &Location) -> Extent {
    let start = location.span().byte_offset().unwrap_or(0) as usize;
    Extent::of(start..start + location.span().byte_len().unwrap_or(0) as usize)
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Tree, E> {
        Number::from_f64(number).map(Tree::Number).ok_or_else(|| {
            E::custom("a number must be finite: infinity and not-a-number have no use here")
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = items.next_element::<Node>()? {
            list.push(node);
        }
        // Most lists and maps are shorter than what is made room for at first, and there are many of them.
        list.shrink_to_fit();
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let node = entries.next_value::<Node>()?;
            map.push((key.value, raw_span(&key.referenced), node));
        }
        map.shrink_to_fit();
        Ok(Tree::Map(map))
    }
}

/// The entries of a map as a JSON object.
impl From<&Node> for Map<String, Value> {
    fn from(node: &Node) -> Self {
        match node.to_value() {
            Value::Object(object) => object,
            _ => Self::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Result<Node, Box<Diagnostic>> {
        parse_yaml(&Source::new(Path::new("p.yaml"), text.to_owned()), "of a test")
    }

    #[test]
    fn every_node_and_key_knows_its_bytes() {
        let text = "name: x\nlist: [1, 'two', 2.5]\nwith: { a: \"{{ b }}\" }\n";
        let Tree::Map(entries) = parse(text).unwrap().tree else { panic!("a map") };
        assert_eq!(&text[entries[1].1.bytes()], "list");
        let Tree::List(items) = &entries[1].2.tree else { panic!("a list") };
        assert_eq!(&text[items[1].span.bytes()], "'two'");
        let Tree::Map(with) = &entries[2].2.tree else { panic!("a map") };
        assert_eq!(&text[with[0].2.span.bytes()], "\"{{ b }}\"");
    }

    #[test]
    fn duplicate_keys_and_broken_yaml_are_errors_with_a_place() {
        for text in ["a: 1\na: 2\n", "a: [1,\n", "a: b: c\n", "x: .inf\n"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, "pipeline::yaml", "{text}");
            assert!(!error.places.is_empty(), "{text}: {error}");
        }
    }

    #[test]
    fn keys_that_stand_twice_are_told_one_by_one_and_what_is_laid_over_a_merged_map_is_none() {
        let many = ('a'..'u').map(|letter| format!("k{letter}: 1\n")).collect::<Vec<_>>().concat();
        let text = format!("{many}kh: 2\nin: [{{ a: 1, b: 2, a: 3, a: 4 }}]\n");
        let source = Source::new(Path::new("p.yaml"), text.clone());
        let (node, repeated) = parse_source(&source, 0).unwrap();
        let at: Vec<usize> = repeated.iter().map(|found| found.places[0].0.span.start).collect();
        let third = text.find("a: 3").unwrap();
        assert_eq!(at, [text.find("kh: 2").unwrap(), third, third + 6]);
        assert_eq!(node.to_value()["kh"], 1);
        assert_eq!(node.to_value()["in"][0], serde_json::json!({ "a": 1, "b": 2 }));
        let merged = parse("a: &a { x: 1, y: 2 }\nb: { <<: *a, y: 3 }\nc: { y: 4, <<: *a }\n");
        let merged = merged.unwrap().to_value();
        assert_eq!(merged["b"], serde_json::json!({ "x": 1, "y": 3 }));
        assert_eq!(merged["c"], serde_json::json!({ "y": 4, "x": 1 }));
    }

    #[test]
    fn a_file_that_multiplies_itself_is_an_error() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = level - 1;
            let line =
                format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(", "));
            text.push_str(&line);
        }
        assert!(parse(&text).is_err());
        assert!(parse(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn a_value_from_the_command_line_keeps_its_type() {
        assert_eq!(parse_scalar("200"), Value::from(200));
        assert_eq!(parse_scalar("true"), Value::from(true));
        assert_eq!(parse_scalar("postgres://a:b@c/d"), Value::from("postgres://a:b@c/d"));
        assert_eq!(parse_scalar("a: b"), Value::from("a: b"));
    }
}
