//! All journals of a results folder, and how each run left its own. Nothing is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::journal::{self, Entry, Integrity, Journal, State};
use crate::disk::{self, DiskError};

/// How a run left its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JournalState {
    /// The run was killed, or something could not be taken back: a rollback is due.
    Unfinished,
    /// The run ended well, and some of its changes are in place.
    Kept,
    /// The run was taken back but for values that are no longer as it left them, which were left alone.
    Left,
    /// Nothing of the run is in place.
    RolledBack,
    /// Nobody knows.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// A journal in a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSummary {
    /// The run: the name of the file.
    pub run: String,
    /// The journal.
    pub path: PathBuf,
    /// How the run left it.
    pub state: JournalState,
    /// How many changes it has.
    pub changes: usize,
    /// Whether a line is damaged, so that there may be more than can be read.
    pub damaged: bool,
    /// How many of them were left alone, because they were no longer as the run left them.
    pub left: usize,
    /// The boot of the host in which they were made.
    pub boot_id: Option<String>,
    /// When the first of them was made.
    pub at: Option<Timestamp>,
    /// The number of the journal in its folder, which tells what is newer whatever the clock said.
    pub number: Option<u64>,
    /// The phases that made them.
    pub phases: BTreeSet<String>,
}

/// All journals in a folder, the newest first; none when there is no folder.
///
/// # Errors
/// When the folder can't be read.
pub fn list(journal_dir: &Path) -> Result<Vec<JournalSummary>, DiskError> {
    Ok(read_all(journal_dir)?.into_iter().map(|(summary, _)| summary).collect())
}

/// The same with what each of them tells, as far as it can be read.
pub(super) fn read_all(
    journal_dir: &Path,
) -> Result<Vec<(JournalSummary, Option<Journal>)>, DiskError> {
    let names = disk::list(journal_dir)?;
    let mut found: Vec<_> = names
        .iter()
        .filter_map(|name| Some((name.strip_suffix(".jsonl")?, journal_dir.join(name))))
        .map(|(run, path)| summary(run, path))
        .collect();
    found.sort_by(|(a, _), (b, _)| (b.number, b.at, &b.run).cmp(&(a.number, a.at, &a.run)));
    Ok(found)
}

/// The journal in a file of any name, by the run that it is of.
#[must_use]
pub fn of_file(path: &Path) -> JournalSummary {
    let (mut found, journal) = summary("", path.to_owned());
    if let Some(opened) = journal.and_then(|journal| journal.opened) {
        found.run = opened.run;
    }
    found
}

fn summary(run: &str, path: PathBuf) -> (JournalSummary, Option<Journal>) {
    let mut found = JournalSummary {
        run: run.to_owned(),
        path,
        state: JournalState::RolledBack,
        changes: 0,
        damaged: false,
        left: 0,
        boot_id: None,
        at: None,
        number: None,
        phases: BTreeSet::new(),
    };
    let journal = match journal::read(&found.path) {
        Ok(journal) => journal,
        Err(error) => {
            found.state = JournalState::Unreadable { reason: error.to_string() };
            return (found, None);
        }
    };
    let is_left = |entry: &&Entry| matches!(entry.state, State::Left { .. });
    found.left = journal.entries.iter().filter(is_left).count();
    if !journal.closed {
        found.state = JournalState::Unfinished;
    } else if journal.entries.iter().any(Entry::is_open) {
        found.state = JournalState::Kept;
    } else if found.left > 0 {
        found.state = JournalState::Left;
    }
    found.changes = journal.entries.len();
    found.damaged = matches!(journal.integrity, Integrity::Corrupt { .. });
    found.phases = journal.entries.iter().map(|entry| entry.change.phase.clone()).collect();
    if let Some(opened) = &journal.opened {
        (found.at, found.number) = (Some(opened.at), opened.number);
        found.boot_id.clone_from(&opened.boot_id);
    }
    (found, Some(journal))
}
