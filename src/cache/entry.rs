//! One remembered decision.

use jiff::Timestamp;
use serde_json::Value;

use super::Key;
use crate::pipeline::CacheScope;

/// A remembered decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Names it; the digest of its manifest.
    pub key: Key,
    /// The phase that decided.
    pub phase: String,
    /// The run that measured it; its report holds the evidence.
    pub run: String,
    /// For which hosts it holds.
    pub scope: CacheScope,
    /// The host that decided.
    pub host: String,
    /// When it was decided, to the millisecond.
    pub created_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
    /// What was decided.
    pub decision: Value,
}

impl Entry {
    /// True when the decision may be used on `host`.
    #[must_use]
    pub fn holds_on(&self, host: &str) -> bool {
        self.scope == CacheScope::Class || self.host == host
    }

    /// The scope in the word of the pipeline.
    #[must_use]
    pub fn scope_word(&self) -> &'static str {
        scope_word(self.scope)
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

/// A scope as a pipeline and a log write it.
pub(super) fn scope_word(scope: CacheScope) -> &'static str {
    match scope {
        CacheScope::Host => "host",
        CacheScope::Class => "class",
    }
}
