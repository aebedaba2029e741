//! All that a decision depends on, and its digest.
//!
//! A manifest is one text, in which every part is a path and a value as JSON, each ended by a zero byte, and a list
//! of where the parts are, in the order of their paths. The digest is that of the parts in this order; what
//! differs from another manifest is told from the same parts. So the two can never disagree, and naming a decision
//! makes no map. Neither an order of insertion nor one of a map's keys can be seen in the result.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::pipeline::CacheScope;

/// Raised when the same parts are to have another digest.
const FORM: &[u8] = b"trueup decision 2\0";

/// All that a decision depends on, as parts with paths such as `with.max` or `depends.cpu_model`.
///
/// ```text
/// depends.cpu_model = "Neoverse-N1"
/// host = "3f2a90c1d2e4b5a6"
/// kind = "db_pool"
/// revision = 1
/// with.sizes[0] = 5
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    text: String,
    /// In the order of their paths, each path once.
    parts: Vec<Part>,
    scope: CacheScope,
    host: String,
}

/// Where a part is in the text: `path NUL value NUL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    start: usize,
    path: usize,
    value: usize,
}

impl Part {
    fn path(self, text: &str) -> &str {
        &text[self.start..self.start + self.path]
    }

    fn value(self, text: &str) -> &str {
        let start = self.start + self.path + 1;
        &text[start..start + self.value]
    }

    fn whole(self, text: &str) -> &[u8] {
        &text.as_bytes()[self.start..self.start + self.path + self.value + 2]
    }
}

/// A part that differs between two manifests; its values are JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which part.
    pub part: String,
    /// Its value in the earlier manifest; none when it had no such part.
    pub from: Option<String>,
    /// Its value in the later one; none when it has no such part.
    pub to: Option<String>,
}

/// Names a decision: BLAKE3 over the manifest, 64 hex digits when written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(super) [u8; 32]);

impl Key {
    /// The key that 64 hex digits name, as they are written.
    pub(super) fn from_hex(digits: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes)).filter(|key| key.hex().as_bytes() == digits)
    }

    /// Its 64 hex digits.
    pub(super) fn hex(&self) -> impl std::ops::Deref<Target = str> + use<> {
        blake3::Hash::from(self.0).to_hex()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.hex())
    }
}

impl FromStr for Key {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Manifest {
    /// The manifest of a decision of the given kind and revision, which holds on every host.
    #[must_use]
    pub fn new(kind: &str, revision: u32) -> Self {
        let mut new = Self {
            text: String::with_capacity(512),
            parts: Vec::with_capacity(16),
            scope: CacheScope::Class,
            host: String::new(),
        };
        new.add("kind", &Value::from(kind));
        new.add("revision", &Value::from(revision));
        new
    }

    /// Says which host decides, and whether the decision holds on others with the same facts. Where it does not,
    /// the host is a part.
    #[must_use]
    pub fn on(mut self, scope: CacheScope, host: &str) -> Self {
        self.scope = scope;
        host.clone_into(&mut self.host);
        if scope == CacheScope::Host {
            self.add("host", &Value::from(host));
        }
        self
    }

    /// Adds a value under `path`; maps and lists are taken apart, so that a difference can be told by part.
    #[must_use]
    pub fn with(mut self, path: &str, value: &Value) -> Self {
        let mut at = String::with_capacity(64);
        at.push_str(path);
        self.take_apart(&mut at, value);
        self
    }

    /// Adds what a decision depends on, under `depends`.
    #[must_use]
    pub fn with_dependencies(mut self, dependencies: &BTreeMap<String, Value>) -> Self {
        let mut at = String::with_capacity(64);
        at.push_str("depends");
        if dependencies.is_empty() {
            self.add(&at, &Value::Object(Map::new()));
        }
        self.take_apart_entries(&mut at, dependencies);
        self
    }

    /// Adds a declared input file with the digest of its content.
    #[must_use]
    pub fn with_input(mut self, path: &str, digest: &str) -> Self {
        self.add(&format!("inputs.{path}"), &Value::from(digest));
        self
    }

    fn take_apart(&mut self, path: &mut String, value: &Value) {
        let here = path.len();
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                self.take_apart_entries(path, entries);
            }
            Value::Array(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    let _ = write!(path, "[{index}]");
                    self.take_apart(path, item);
                    path.truncate(here);
                }
            }
            plain => self.add(path, plain),
        }
    }

    fn take_apart_entries<'a>(
        &mut self,
        path: &mut String,
        entries: impl IntoIterator<Item = (&'a String, &'a Value)>,
    ) {
        let here = path.len();
        for (key, value) in entries {
            path.push('.');
            path.push_str(&escape(key));
            self.take_apart(path, value);
            path.truncate(here);
        }
    }

    /// A part that is there already gets the new value.
    fn add(&mut self, path: &str, plain: &Value) {
        let start = self.text.len();
        self.text.push_str(path);
        self.text.push('\0');
        let value = self.text.len();
        write_json(&mut self.text, plain);
        let part = Part { start, path: path.len(), value: self.text.len() - value };
        self.text.push('\0');
        match self.parts.binary_search_by(|other| other.path(&self.text).cmp(path)) {
            Ok(at) => self.parts[at] = part,
            Err(at) => self.parts.insert(at, part),
        }
    }

    /// The parts in their order, each value as JSON. Key and explanation both come from this walk.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().map(|part| (part.path(&self.text), part.value(&self.text)))
    }

    /// The digest of all parts.
    #[must_use]
    pub fn key(&self) -> Key {
        let mut whole = Vec::with_capacity(FORM.len() + self.text.len());
        whole.extend_from_slice(FORM);
        for part in &self.parts {
            whole.extend_from_slice(part.whole(&self.text));
        }
        Key(blake3::hash(&whole).into())
    }

    /// For which hosts the decision holds.
    #[must_use]
    pub fn scope(&self) -> CacheScope {
        self.scope
    }

    /// The host that decides; empty when none was named.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What differs from an earlier manifest, in the order of the parts.
    #[must_use]
    pub fn differences(&self, earlier: &Self) -> Vec<Difference> {
        let mut both: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
        for (path, value) in earlier.parts() {
            both.entry(path).or_default().0 = Some(value);
        }
        for (path, value) in self.parts() {
            both.entry(path).or_default().1 = Some(value);
        }
        both.into_iter()
            .filter(|(_, (from, to))| from != to)
            .map(|(part, (from, to))| Difference {
                part: part.to_owned(),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
            })
            .collect()
    }

    /// One JSON object of all parts, in one line.
    pub(super) fn to_json(&self) -> String {
        let mut json = String::with_capacity(self.text.len() + self.parts.len() * 4 + 2);
        for (path, value) in self.parts() {
            json.push(if json.is_empty() { '{' } else { ',' });
            write_text(&mut json, path);
            json.push(':');
            json.push_str(value);
        }
        json.push('}');
        json
    }

    /// The manifest that [`to_json`](Self::to_json) has written, if it is the one that `key` names.
    pub(super) fn from_json(json: &[u8], key: &Key) -> Option<Self> {
        let parts: Map<String, Value> = serde_json::from_slice(json).ok()?;
        let mut manifest = Self {
            text: String::with_capacity(json.len()),
            parts: Vec::with_capacity(parts.len()),
            scope: CacheScope::Class,
            host: String::new(),
        };
        for (path, value) in &parts {
            manifest.add(path, value);
        }
        if let Some(host) = parts.get("host").and_then(Value::as_str) {
            manifest.scope = CacheScope::Host;
            host.clone_into(&mut manifest.host);
        }
        (manifest.key() == *key).then_some(manifest)
    }
}

/// What has a meaning in a path must not have it inside a key.
fn escape(key: &str) -> Cow<'_, str> {
    if !key.contains(['\\', '.', '[', '\0']) {
        return Cow::Borrowed(key);
    }
    let escaped = key.replace('\\', "\\\\").replace('.', "\\.").replace('[', "\\[");
    Cow::Owned(escaped.replace('\0', "\\0"))
}

fn write_json(out: &mut String, plain: &Value) {
    match plain {
        Value::String(text) => write_text(out, text),
        other => drop(write!(out, "{other}")),
    }
}

/// Most texts need no escape: then they are their own JSON between quotes.
fn write_text(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        let _ = write!(out, "{}", Value::from(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn manifest(with: &Value) -> Manifest {
        Manifest::new("db_pool", 1).with("with", with)
    }

    #[test]
    fn the_same_inputs_have_the_same_key_on_any_machine() {
        let with =
            json!({"url": "sqlite://a.db", "min": 5, "max": 20, "sizes": [1, 2.5], "none": null});
        let manifest = manifest(&with)
            .with("depends", &json!({"cpu_model": "AMD, A \"CPU\""}))
            .with_input("conf/app.yaml", "00ff")
            .on(CacheScope::Host, "3f2a90c1d2e4b5a6");
        let expected = "4032576464100b61c2b405824675ff59e31631cd578fec91b451ec7428948ce9";
        assert_eq!(manifest.key().to_string(), expected);
    }

    #[test]
    fn dependencies_are_parts_like_all_others_whether_there_are_any_or_not() {
        for depends in [json!({}), json!({ "b.c": [1], "a": { "x": null } })] {
            let entries = depends.as_object().unwrap().clone().into_iter().collect();
            let one = manifest(&json!({})).with_dependencies(&entries);
            assert_eq!(one.key(), manifest(&json!({})).with("depends", &depends).key());
        }
    }

    #[test]
    fn the_key_ignores_the_order_of_keys_and_nothing_else() {
        let key = manifest(&json!({"min": 5, "max": 20})).key();
        assert_eq!(manifest(&json!({"max": 20, "min": 5})).key(), key);
        for other in [
            json!({"min": 5, "max": 21}),
            json!({"min": 5, "max": "20"}),
            json!({"min": [5], "max": 20}),
            json!({"min": {"0": 5}, "max": 20}),
            json!({"min[0]": 5, "max": 20}),
        ] {
            assert_ne!(manifest(&other).key(), key, "{other}");
        }
        assert_ne!(
            Manifest::new("db_pool", 2).with("with", &json!({"min": 5, "max": 20})).key(),
            key
        );
    }

    #[test]
    fn what_means_something_in_a_path_does_not_inside_a_key() {
        let key = |with: Value| manifest(&with).key();
        assert_ne!(key(json!({"a.b": 1})), key(json!({"a": {"b": 1}})));
        assert_ne!(key(json!({"a[0]": 1})), key(json!({"a": [1]})));
        assert_ne!(key(json!({"a": {"0": 1}})), key(json!({"a": [1]})));
        assert_ne!(key(json!({"a\u{0}1": 1})), key(json!({"a\\0001": 1})));
    }

    #[test]
    fn a_difference_names_the_part_and_both_values() {
        let then = manifest(&json!({"min": 5, "max": 20}));
        let now = manifest(&json!({"min": 5, "max": 30, "p99": "50ms"}));
        let differ = |part: &str, from: Option<&str>, to: Option<&str>| Difference {
            part: part.to_owned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        };
        assert_eq!(
            now.differences(&then),
            [
                differ("with.max", Some("20"), Some("30")),
                differ("with.p99", None, Some("\"50ms\"")),
            ]
        );
    }

    #[test]
    fn a_decision_of_a_host_has_that_host_as_a_part_and_one_of_a_class_has_not() {
        let one = manifest(&json!(1)).on(CacheScope::Host, "a");
        let other = manifest(&json!(1)).on(CacheScope::Host, "b");
        assert_eq!(other.differences(&one)[0].part, "host");
        let class = |host| manifest(&json!(1)).on(CacheScope::Class, host).key();
        assert_eq!(class("a"), class("b"));
        assert_ne!(class("a"), one.key());
    }

    /// Values as a pipeline may hold them.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}|[a-c.\\[\\]\\\\\"\u{0}\n]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[a-c.\\[\\]\\\\\"\u{0}0]{0,3}", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    /// The same value with the keys of every map the other way round.
    fn turned(value: &Value) -> Value {
        match value {
            Value::Object(entries) => Value::Object(
                entries.iter().rev().map(|(key, value)| (key.clone(), turned(value))).collect(),
            ),
            Value::Array(items) => items.iter().map(turned).collect(),
            plain => plain.clone(),
        }
    }

    proptest! {
        #[test]
        fn no_order_of_insertion_or_of_a_map_is_seen_in_the_key(a in value(), b in value()) {
            let one = Manifest::new("k", 1).with("a", &a).with("b", &b).on(CacheScope::Host, "h");
            let other = Manifest::new("k", 1)
                .on(CacheScope::Host, "h")
                .with("b", &turned(&b))
                .with("a", &turned(&a));
            prop_assert_eq!(one.key(), other.key());
            prop_assert_eq!(one.differences(&other), []);
        }

        #[test]
        fn other_values_have_other_keys_and_a_difference_that_tells(a in value(), b in value()) {
            let (one, other) = (manifest(&a), manifest(&b));
            prop_assert_eq!(one.key() == other.key(), one.differences(&other).is_empty());
        }

        #[test]
        fn what_was_written_is_read_back_under_its_key(a in value()) {
            let manifest = manifest(&a).on(CacheScope::Host, "h");
            let read = Manifest::from_json(manifest.to_json().as_bytes(), &manifest.key());
            let read = read.expect("readable");
            prop_assert_eq!(read.differences(&manifest), []);
            prop_assert_eq!(read.host(), "h");
        }
    }
}
