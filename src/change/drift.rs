//! Drift: are the changes that runs kept still in place?
//!
//! For each target the newest kept change counts. Nothing is written, and why a value is another one is
//! not known here.

use std::collections::BTreeSet;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::journal::{self, State};
use super::journals::{JournalState, list};
use super::model::Change;
use crate::disk::DiskError;
use crate::host::setting::{Observed, observe_path, same};
use crate::host::{Sysroot, facts};

/// Whether a kept change is still in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// It is.
    InPlace,
    /// Another value was found.
    Drifted {
        /// The value.
        found: String,
    },
    /// The host was booted since and has another value; apply it again.
    LostAtBoot {
        /// The value.
        found: String,
    },
    /// Nobody can tell.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// A kept change and whether it is still in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StandingChange {
    /// The run that kept it.
    pub run: String,
    /// The change.
    pub change: Change,
    /// Whether it is in place.
    pub standing: Standing,
}

/// Looks at all changes that the runs of a folder of journals kept, the newest first, each target once.
/// Journals that can't be read or are unfinished are passed over: a rollback is due for them first.
///
/// # Errors
/// When the folder can't be read.
pub fn still_in_place(
    root: &Sysroot,
    journal_dir: &Path,
) -> Result<Vec<StandingChange>, DiskError> {
    let boot = facts::boot(root);
    let mut seen = BTreeSet::new();
    let mut standing = Vec::new();
    for summary in list(journal_dir)? {
        if summary.state != JournalState::Kept {
            continue;
        }
        let Ok(journal) = journal::read(&summary.path) else { continue };
        let rebooted = summary.boot_id.is_some() && boot.is_some() && summary.boot_id != boot;
        for entry in journal.entries.into_iter().rev() {
            let State::Kept { read_back } = &entry.state else { continue };
            if seen.insert(entry.change.target.clone()) {
                let found = observe_path(root, entry.change.target.path());
                standing.push(StandingChange {
                    run: summary.run.clone(),
                    standing: judge(found, read_back, rebooted && entry.change.target.volatile()),
                    change: entry.change,
                });
            }
        }
    }
    Ok(standing)
}

fn judge(found: Observed, kept: &str, rebooted: bool) -> Standing {
    match found {
        Observed::Value(found) if same(&found, kept) => Standing::InPlace,
        Observed::Value(found) if rebooted => Standing::LostAtBoot { found },
        Observed::Value(found) => Standing::Drifted { found },
        Observed::Absent(reason) | Observed::Unreadable(reason) => Standing::Unknown { reason },
    }
}
