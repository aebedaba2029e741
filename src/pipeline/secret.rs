//! The form of a secret in YAML: `{ secret: env, name: DB_PASSWORD }` in place of a value.
//!
//! A map is a secret when it has the key `secret` with one of the ways as its value, or has `secret` and nothing else
//! than `name` and `path`; any other map with such a key is a map. Knows the form, not the value.

use super::model::Spot;
use super::place::Extent;
use super::tree::{Node, Tree};
use crate::diagnostic::{did_you_mean, one_of};
use crate::secret::{Source, WAYS};

/// What is wrong with the form of a secret.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) span: Extent,
    pub(super) message: String,
    pub(super) help: String,
}

/// The secret that a node stands for, if it stands for one.
pub(super) fn form(node: &Node) -> Option<Result<Source, Flaw>> {
    let Tree::Map(entries) = &node.tree else { return None };
    let (_, _, way) = entries.iter().find(|(key, _, _)| key == "secret")?;
    let Tree::Text(named) = &way.tree else { return None };
    let of_the_form =
        |(key, _, _): &(String, Extent, Node)| matches!(key.as_str(), "secret" | "name" | "path");
    let is_way = WAYS.contains(&named.as_str());
    (is_way || (entries.len() > 1 && entries.iter().all(of_the_form)))
        .then(|| read(entries, named, way, node))
}

fn read(
    entries: &[(String, Extent, Node)],
    way: &str,
    at: &Node,
    whole: &Node,
) -> Result<Source, Flaw> {
    let flaw = |span: Extent, message: String, help: &str| {
        Err(Flaw { span, message, help: help.to_owned() })
    };
    if !WAYS.contains(&way) {
        let help = did_you_mean(way, WAYS).unwrap_or_else(|| one_of(WAYS));
        return flaw(at.span, format!("secrets can't be read from `{way}`"), &help);
    }
    let (wanted, example) = match way {
        "env" => ("name", "write it like `{ secret: env, name: DB_PASSWORD }`"),
        "file" => ("path", "write it like `{ secret: file, path: /run/secrets/db }`"),
        _ => ("name", "write it like `{ secret: systemd-credential, name: db }`"),
    };
    if let Some((key, span, _)) =
        entries.iter().find(|(key, _, _)| key != "secret" && key != wanted)
    {
        return flaw(*span, format!("a secret from `{way}` has no key `{key}`"), example);
    }
    let Some((_, _, node)) = entries.iter().find(|(key, _, _)| key == wanted) else {
        return flaw(whole.span, format!("a secret from `{way}` needs its `{wanted}`"), example);
    };
    match &node.tree {
        Tree::Text(name) if name.contains("{{") || name.contains("{%") => {
            let told = format!("the {wanted} of a secret can't be an expression");
            flaw(node.span, told, "write it out: what a pipeline may read is told before it runs")
        }
        Tree::Text(name) => {
            Source::new(way, name).or_else(|error| flaw(node.span, error.to_string(), example))
        }
        _ => flaw(node.span, format!("the {wanted} of a secret must be a text"), example),
    }
}

/// Every secret in a tree, with its place.
#[must_use]
pub fn secrets(node: &Node) -> Vec<Spot<Source>> {
    let mut found = Vec::new();
    each(node, &mut |node, form| {
        found.extend(form.ok().map(|value| Spot { value, span: node.span }));
    });
    found
}

/// Calls `visit` with every node of a tree that has the form of a secret.
pub(super) fn each(node: &Node, visit: &mut impl FnMut(&Node, Result<Source, Flaw>)) {
    if let Some(form) = form(node) {
        return visit(node, form);
    }
    match &node.tree {
        Tree::List(items) => items.iter().for_each(|item| each(item, visit)),
        Tree::Map(entries) => entries.iter().for_each(|(_, _, node)| each(node, visit)),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {}
    }
}
