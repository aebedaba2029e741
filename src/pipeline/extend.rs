//! The files that a pipeline is made of, merged into one tree before anything in it is typed.
//!
//! A file that `extends` another is laid over it: `vars` and `defaults` by key, phases by name and within a phase by
//! key, `with` by key all the way down; a list is replaced, and `null` takes a phase or a key away. Every node keeps the
//! place in its own file. Knows no other word of the language.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::{Extent, Sources};
use super::shape::{Reader, get};
use super::tree::{Node, Tree, parse_source};
use crate::diagnostic::{Diagnostic, Source, did_you_mean};
use crate::trust;

/// Most bytes of all files together.
pub(super) const LIMIT: u64 = 32 << 20;

/// Most files that extend each other.
const DEEPEST: usize = 16;

/// For how many unknown names the nearest known one is looked for.
const MOST_GUESSES: usize = 100;

/// What came of the files.
pub(super) struct Merged {
    /// The merged tree; nothing when the file that was asked for is no map.
    pub(super) root: Option<Node>,
    /// False when a file could not be read.
    pub(super) whole: bool,
    /// Phases that were taken away, and where that is said.
    pub(super) removed: HashMap<String, Extent>,
}

/// A file on the way from the one that was asked for to the last that is extended.
struct Layer {
    root: Node,
    /// What tells one file from another.
    identity: PathBuf,
    /// Where it says what it extends.
    extends: Option<Extent>,
}

/// Reads the file at `path`, which `source` is what was read from, and all that it extends.
pub(super) fn gather(path: &Path, source: Arc<Source>, reader: &mut Reader) -> Merged {
    let mut layers: Vec<Layer> = Vec::new();
    let mut removed = HashMap::new();
    let mut next = Some((path.to_owned(), source));
    let mut whole = true;
    let mut bytes_left = LIMIT;
    while let Some((path, source)) = next.take() {
        bytes_left = bytes_left.saturating_sub(source.text.len() as u64);
        let Some(mut layer) = read_layer(&path, source, reader) else {
            whole = false;
            break;
        };
        let told = take_extends(&mut layer.root, reader);
        layer.extends = match &told {
            Told::Nothing => None,
            Told::Wrong => {
                whole = false;
                None
            }
            Told::File { span, .. } => Some(*span),
        };
        layers.push(layer);
        if let Told::File { name, span } = told {
            let base = path.parent().unwrap_or(Path::new("")).join(name);
            next = open(&base, span, &layers, bytes_left, reader).map(|source| (base, source));
            whole &= next.is_some();
        }
    }
    let root = layers.into_iter().rev().map(|layer| layer.root).reduce(|base, over| {
        let mut merger = Merger { reader, removed: &mut removed };
        merger.pipeline(base, over)
    });
    Merged { root, whole, removed }
}

fn read_layer(path: &Path, source: Arc<Source>, reader: &mut Reader) -> Option<Layer> {
    let position = reader.sources.push(source);
    let root = match parse_source(&reader.sources.all()[position], position) {
        Ok((root, repeated)) => {
            reader.found.extend(repeated);
            root
        }
        Err(error) => {
            reader.found.push(*error);
            return None;
        }
    };
    let entries = reader.map(&root, "a pipeline", None)?;
    match get(entries, "version").map(|node| (&node.tree, node.span)) {
        None => reader.wrong(
            root.span.top(),
            "the pipeline does not say its version",
            "write `version: 1` at the top",
        ),
        Some((Tree::Number(number), _)) if number.as_u64() == Some(1) => {}
        Some((_, span)) => {
            reader.wrong(span, "this version of the language is not known", "write `version: 1`");
        }
    }
    let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Some(Layer { root, identity, extends: None })
}

/// What a file says of the one that it extends.
enum Told {
    Nothing,
    Wrong,
    File { name: String, span: Extent },
}

fn take_extends(root: &mut Node, reader: &mut Reader) -> Told {
    let Tree::Map(entries) = &mut root.tree else { return Told::Nothing };
    let Some(position) = entries.iter().position(|(key, _, _)| key == "extends") else {
        return Told::Nothing;
    };
    let (_, _, node) = entries.remove(position);
    match node.tree {
        Tree::Text(name) if !name.is_empty() => Told::File { name, span: node.span },
        _ => {
            let told = format!("`extends` must name a file, and this is {}", node.kind());
            let help =
                "write it like `extends: base.yaml`; the path starts at the folder of this file";
            reader.wrong(node.span, told, help);
            Told::Wrong
        }
    }
}

/// The file that the last of the layers extends, as it was read.
fn open(
    path: &Path,
    span: Extent,
    layers: &[Layer],
    limit: u64,
    reader: &mut Reader,
) -> Option<Arc<Source>> {
    let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let place = reader.sources.place(span);
    if let Some(first) = layers.iter().position(|layer| layer.identity == identity) {
        reader.found.push(tell_circle(&layers[first..], &reader.sources));
        return None;
    }
    if layers.len() >= DEEPEST {
        let told = format!("more than {DEEPEST} files extend each other");
        let found = Diagnostic::error("pipeline::extends", told)
            .at(place, "one more")
            .help("put what they share into fewer files");
        reader.found.push(found);
        return None;
    }
    match trust::read(path, limit) {
        Ok(source) => Some(source),
        Err(error) => {
            let found = Diagnostic::from_error("pipeline::file", &error)
                .at(place, "extended here")
                .help("the path starts at the folder of the file that says `extends`");
            reader.found.push(found);
            None
        }
    }
}

/// Files that extend each other in a circle, as the path that closes it.
fn tell_circle(circle: &[Layer], sources: &Sources) -> Diagnostic {
    let places: Vec<_> = circle
        .iter()
        .filter_map(|layer| layer.extends)
        .map(|extends| sources.place(extends))
        .collect();
    let steps: Vec<String> = places
        .iter()
        .map(|place| {
            let (line, _) = place.source.line_column(place.span.start);
            format!("{}:{line}", place.source.name)
        })
        .collect();
    let first = places.first().map(|place| place.source.name.clone()).unwrap_or_default();
    let told = format!("files extend each other in a circle: {} -> {first}", steps.join(" -> "));
    let found = Diagnostic::error("pipeline::extends", told).help("let one of them extend nothing");
    // The one that closes the circle first: it is the one to change.
    places.into_iter().rev().fold(found, |found, place| found.at(place, "extends the next one"))
}

type Entry = (String, Extent, Node);

/// Lays one tree over another.
struct Merger<'a> {
    reader: &'a mut Reader,
    removed: &'a mut HashMap<String, Extent>,
}

impl Merger<'_> {
    fn pipeline(&mut self, base: Node, over: Node) -> Node {
        self.maps(base, over, |merger, key, base, over| match key {
            "vars" => merger.maps_told("`vars`", base, over, |_, _, _, over| over),
            "defaults" => merger.maps_told("`defaults`", base, over, |_, _, _, over| over),
            "phases" => merger.phases(base, over),
            _ => over,
        })
    }

    fn phases(&mut self, base: Node, mut over: Node) -> Node {
        if let (Tree::Map(before), Tree::Map(entries)) = (&base.tree, &mut over.tree) {
            self.take_away(before, entries);
        }
        self.maps_told("`phases`", base, over, |merger, _, base, over| {
            merger.maps_told("a phase", base, over, |merger, key, base, over| match key {
                "with" => merger.deep(base, over),
                _ => over,
            })
        })
    }

    /// Notes which phases are taken away; one that is not there can't be, and is told.
    fn take_away(&mut self, before: &[Entry], entries: &mut Vec<Entry>) {
        if entries.iter().all(|(_, _, node)| node.tree != Tree::Null) {
            return;
        }
        let known: HashSet<&str> = before.iter().map(|(name, _, _)| name.as_str()).collect();
        entries.retain(|(name, span, node)| {
            if node.tree != Tree::Null {
                return true;
            }
            if known.contains(name.as_str()) {
                self.removed.insert(name.clone(), *span);
                return true;
            }
            let told = format!("there is no phase `{name}` to take away");
            // Each is compared with all names, so not for any number of them.
            let near = (self.reader.found.len() < MOST_GUESSES)
                .then(|| did_you_mean(name, before.iter().map(|(name, _, _)| name.as_str())));
            self.reader.found.push(
                Diagnostic::error("pipeline::unknown_phase", told)
                    .at(self.reader.sources.place(*span), "not in the file that this one extends")
                    .help("`null` takes away a phase of that file")
                    .maybe_help(near.flatten()),
            );
            false
        });
    }

    /// Maps by key all the way down.
    fn deep(&mut self, base: Node, over: Node) -> Node {
        self.maps(base, over, |merger, _, base, over| merger.deep(base, over))
    }

    /// Like [`maps`](Self::maps) for what must be a map: a base that is not is told, for it would otherwise go unseen.
    fn maps_told(
        &mut self,
        what: &str,
        base: Node,
        over: Node,
        join: fn(&mut Self, &str, Node, Node) -> Node,
    ) -> Node {
        self.reader.map(&base, what, None);
        self.maps(base, over, join)
    }

    /// A map laid over a map, in which `join` makes one value of two; what is no map is replaced.
    fn maps(
        &mut self,
        base: Node,
        over: Node,
        join: fn(&mut Self, &str, Node, Node) -> Node,
    ) -> Node {
        let (before, entries) = match (base.tree, over.tree) {
            (Tree::Map(before), Tree::Map(entries)) => (before, entries),
            (_, tree) => return Node { tree, span: over.span },
        };
        let known: HashMap<String, usize> =
            before.iter().map(|(key, _, _)| key.clone()).zip(0..).collect();
        let mut merged: Vec<Option<Entry>> = before.into_iter().map(Some).collect();
        for (key, span, node) in entries {
            let Some(slot) = known.get(&key).and_then(|position| merged.get_mut(*position)) else {
                merged.push(Some((key, span, node)));
                continue;
            };
            *slot = match (slot.take(), node.tree) {
                (_, Tree::Null) => None,
                (Some((key, _, before)), tree) => {
                    let node = join(self, &key, before, Node { tree, span: node.span });
                    Some((key, span, node))
                }
                (None, tree) => Some((key, span, Node { tree, span: node.span })),
            };
        }
        Node { tree: Tree::Map(merged.into_iter().flatten().collect()), span: over.span }
    }
}
