//! The answer of the verify stage about one thing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that was looked at after it was made so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was looked at: a setting, a condition, a test of a suite.
    pub name: String,
    /// What was found.
    #[serde(flatten)]
    pub state: CheckState,
    /// True when a bad answer does not fail the phase.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What was found, against what was wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum CheckState {
    /// It is as wanted.
    Match {
        /// What was seen, with its unit.
        seen: String,
        /// What was wanted.
        wanted: String,
    },
    /// It is not as wanted.
    Mismatch {
        /// What was seen, with its unit.
        seen: String,
        /// What was wanted.
        wanted: String,
        /// Where it was read or measured.
        source: String,
    },
    /// There is nothing to look at here.
    NotApplicable {
        /// Why.
        reason: String,
    },
    /// It could not be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

impl Check {
    /// A check that found what was wanted.
    #[must_use]
    pub fn matched(
        name: impl Into<String>,
        seen: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        Self::new(name, CheckState::Match { seen: seen.into(), wanted: wanted.into() })
    }

    /// A check of the given state that matters.
    #[must_use]
    pub fn new(name: impl Into<String>, state: CheckState) -> Self {
        Self { name: name.into(), state, optional: false }
    }

    /// True when the phase can't be said to have succeeded because of it.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        matches!(self.state, CheckState::Mismatch { .. } | CheckState::Unreadable { .. })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            CheckState::Match { seen, .. } => write!(f, "{}: {seen}", self.name),
            CheckState::Mismatch { seen, wanted, source } => {
                write!(f, "{}: saw {seen}, wanted {wanted} ({source})", self.name)
            }
            CheckState::NotApplicable { reason } => write!(f, "{}: {reason}", self.name),
            CheckState::Unreadable { reason } => {
                write!(f, "{}: could not be read: {reason}", self.name)
            }
        }
    }
}
