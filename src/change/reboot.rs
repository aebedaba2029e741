//! What a reboot takes back of the changes of a run: what no disk keeps, unless the run has also set what the setting is
//! set to when the host starts. That puts it in place again, so it is still to be taken back.

use std::collections::BTreeSet;

use super::entry::{Entry, State};
use super::model::Target;

/// A reboot after the changes of a run.
#[derive(Debug, Default)]
pub(super) struct Reboot {
    /// The settings that are set again.
    again: BTreeSet<String>,
}

impl Reboot {
    pub(super) fn after(entries: &[Entry]) -> Self {
        let again = |entry: &Entry| match &entry.change.target {
            Target::AtBoot { path } if !matches!(entry.state, State::Failed { .. }) => {
                Some(path.clone())
            }
            _ => None,
        };
        Self { again: entries.iter().filter_map(again).collect() }
    }

    /// Whether it took back what was changed of `target`.
    pub(super) fn takes_back(&self, target: &Target) -> bool {
        let again = matches!(target, Target::Setting { path } if self.again.contains(path));
        target.volatile() && !again
    }
}
