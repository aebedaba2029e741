//! A change in a journal: what was to be written, and how far that has come. Its records are known by
//! [`journal`](super::journal).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::Change;

/// How far a change has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Its intent is written; the host may have the former value or the new one.
    Intended,
    /// The host had this after the write.
    Applied {
        /// What was read back: the wanted value, or what the kernel made of it.
        read_back: String,
    },
    /// The host refused it and has the former value.
    Failed {
        /// What the host said.
        reason: String,
    },
    /// The former value is back.
    Reverted {
        /// What was read back.
        read_back: String,
    },
    /// It is no longer ours: this was found, and left alone.
    Left {
        /// What somebody else has set.
        found: String,
    },
    /// A reboot took it back, or its process has ended.
    Moot,
    /// A later run has set it since, and restores the former value when it is taken back.
    Handed {
        /// The later run.
        run: String,
    },
    /// It is to stay.
    Kept {
        /// What was read back when it was applied.
        read_back: String,
    },
}

/// A change of a run, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its number in the journal, from 0.
    pub n: u64,
    /// The change; its former value is the one that an earlier run has handed over, if one was taken back since.
    pub change: Change,
    /// How far it has come.
    pub state: State,
    /// Former values before that: earlier runs had set them, so they count as ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<String>,
}

impl Entry {
    /// A change that is about to be written.
    pub(super) fn intended(n: u64, change: Change) -> Self {
        Self { n, change, state: State::Intended, inherited: Vec::new() }
    }

    /// Takes `from` for the former value.
    pub(super) fn rebase(&mut self, from: &str) {
        self.inherited.push(std::mem::replace(&mut self.change.from, from.to_owned()));
    }

    /// The state after the decision to keep it.
    pub(super) fn kept(&self) -> State {
        let read_back = match &self.state {
            State::Applied { read_back } | State::Kept { read_back } => read_back.clone(),
            _ => self.change.to.clone(),
        };
        State::Kept { read_back }
    }

    /// Whether the host may still have what this change wrote.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Intended | State::Applied { .. } | State::Kept { .. })
    }

    /// Whether its former value may still be wanted: it is open, or somebody else's value stands over it.
    #[must_use]
    pub fn may_be_taken_back(&self) -> bool {
        self.is_open() || matches!(self.state, State::Left { .. })
    }
}
