//! All that a decision depends on, and its digest.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All that a decision depends on, as parts with paths such as `with.max` or `host.cpu_model`.
///
/// ```text
/// depends.cpu_model = "Neoverse-N1"
/// kind = "db_pool"
/// revision = 1
/// with.max = 20
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest(BTreeMap<String, Value>);

/// Names a decision: BLAKE3 over the manifest, in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(String);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Manifest {
    /// The manifest of a decision of the given kind and revision.
    #[must_use]
    pub fn new(kind: &str, revision: u32) -> Self {
        let parts = [
            ("kind".to_owned(), Value::from(kind)),
            ("revision".to_owned(), Value::from(revision)),
        ];
        Self(parts.into())
    }

    /// Adds a value under `path`; maps and lists are taken apart, so that a difference can be told by part.
    #[must_use]
    pub fn with(mut self, path: &str, value: &Value) -> Self {
        self.insert(path, value);
        self
    }

    fn insert(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    self.insert(&format!("{path}.{}", escape(key)), value);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    self.insert(&format!("{path}.{index}"), item);
                }
            }
            plain => drop(self.0.insert(path.to_owned(), plain.clone())),
        }
    }

    /// The parts in their order. Key and explanation both come from this walk.
    pub fn parts(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(path, value)| (path.as_str(), value.to_string()))
    }

    /// The digest of all parts.
    #[must_use]
    pub fn key(&self) -> Key {
        let mut hasher = blake3::Hasher::new();
        for (path, value) in self.parts() {
            for text in [path, value.as_str()] {
                hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
        }
        Key(hasher.finalize().to_hex().to_string())
    }

    /// What differs from an earlier manifest: path, value then, value now.
    #[must_use]
    pub fn differences(&self, earlier: &Self) -> Vec<(String, Option<String>, Option<String>)> {
        let now: BTreeMap<_, _> = self.parts().collect();
        let then: BTreeMap<_, _> = earlier.parts().collect();
        let mut paths: Vec<&str> = now.keys().chain(then.keys()).copied().collect();
        paths.sort_unstable();
        paths.dedup();
        paths
            .into_iter()
            .filter(|path| now.get(path) != then.get(path))
            .map(|path| (path.to_owned(), then.get(path).cloned(), now.get(path).cloned()))
            .collect()
    }
}

/// A dot inside a key must not look like a step of the path.
fn escape(key: &str) -> String {
    key.replace('\\', "\\\\").replace('.', "\\.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(with: &Value) -> Manifest {
        Manifest::new("db_pool", 1).with("with", with)
    }

    #[test]
    fn the_key_ignores_the_order_of_keys_and_nothing_else() {
        let key = manifest(&json!({"min": 5, "max": 20})).key();
        assert_eq!(manifest(&json!({"max": 20, "min": 5})).key(), key);
        for other in [
            json!({"min": 5, "max": 21}),
            json!({"min": 5, "max": "20"}),
            json!({"min": [5], "max": 20}),
        ] {
            assert_ne!(manifest(&other).key(), key, "{other}");
        }
        assert_ne!(
            Manifest::new("db_pool", 2).with("with", &json!({"min": 5, "max": 20})).key(),
            key
        );
    }

    #[test]
    fn a_dot_in_a_key_is_not_a_step() {
        assert_ne!(manifest(&json!({"a.b": 1})).key(), manifest(&json!({"a": {"b": 1}})).key());
    }

    #[test]
    fn a_difference_names_the_part_and_both_values() {
        let then = manifest(&json!({"min": 5, "max": 20}));
        let now = manifest(&json!({"min": 5, "max": 30, "p99": "50ms"}));
        assert_eq!(
            now.differences(&then),
            [
                ("with.max".to_owned(), Some("20".to_owned()), Some("30".to_owned())),
                ("with.p99".to_owned(), None, Some("\"50ms\"".to_owned())),
            ]
        );
    }
}
