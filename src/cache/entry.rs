//! One remembered decision as it stands on disk.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Key, Manifest};

/// Version of the entries.
pub(super) const SCHEMA: u32 = 1;

/// A remembered decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`SCHEMA`].
    pub(super) schema: u32,
    /// Names it; the digest of `manifest`.
    pub key: Key,
    /// All that the decision depends on.
    pub manifest: Manifest,
    /// The kind of phase.
    pub kind: String,
    /// The phase that decided.
    pub phase: String,
    /// The run that measured it; its report holds the evidence.
    pub run: String,
    /// When it was decided.
    pub created_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
    /// What was decided.
    pub decision: Value,
    /// BLAKE3 of all other fields.
    digest: String,
}

impl Entry {
    /// A decision of `phase` in `run`, to be remembered for `ttl` from `now` on.
    #[must_use]
    pub fn new(
        manifest: Manifest,
        origin: Origin<'_>,
        decision: Value,
        now: Timestamp,
        ttl: Duration,
    ) -> Self {
        let mut entry = Self {
            schema: SCHEMA,
            key: manifest.key(),
            manifest,
            kind: origin.kind.to_owned(),
            phase: origin.phase.to_owned(),
            run: origin.run.to_owned(),
            created_at: now,
            expires_at: now.saturating_add(ttl).unwrap_or(Timestamp::MAX),
            decision,
            digest: String::new(),
        };
        entry.digest = entry.digest_now();
        entry
    }

    /// The digest of all fields but the digest.
    fn digest_now(&self) -> String {
        let fields = (&self.key, &self.manifest, &self.kind, &self.phase, &self.run);
        let content = serde_json::json!([
            self.schema,
            fields,
            self.created_at,
            self.expires_at,
            self.decision
        ]);
        blake3::hash(content.to_string().as_bytes()).to_hex().to_string()
    }

    /// Why the entry is not to be trusted, if so.
    pub(super) fn flaw(&self, key: &Key, now: Timestamp) -> Option<&'static str> {
        if self.schema != SCHEMA {
            Some("it was written by another version")
        } else if self.digest != self.digest_now() {
            Some("its digest does not match its content")
        } else if self.key != *key || self.manifest.key() != *key {
            Some("it belongs to another key")
        } else if self.created_at > now {
            Some("it was written in the future")
        } else {
            None
        }
    }
}

/// Who decided.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The kind of phase.
    pub kind: &'a str,
    /// The phase.
    pub phase: &'a str,
    /// The run.
    pub run: &'a str,
}
