//! All journals of a results folder, and how each run left its own. Nothing is written.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::journal::{self, Entry, Journal, State};
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
    /// How many of them were left alone, because they were no longer as the run left them.
    pub left: usize,
    /// The boot of the host in which they were made.
    pub boot_id: Option<String>,
    /// When the first of them was made.
    pub at: Option<Timestamp>,
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
    found.sort_by(|(a, _), (b, _)| (b.at, &b.run).cmp(&(a.at, &a.run)));
    Ok(found)
}

fn summary(run: &str, path: PathBuf) -> (JournalSummary, Option<Journal>) {
    let run = run.to_owned();
    let journal = match journal::read(&path) {
        Ok(journal) => journal,
        Err(error) => {
            let state = JournalState::Unreadable { reason: error.to_string() };
            let (changes, left, boot_id, at) = (0, 0, None, None);
            return (JournalSummary { run, path, state, changes, left, boot_id, at }, None);
        }
    };
    let is_left = |entry: &&Entry| matches!(entry.state, State::Left { .. });
    let left = journal.entries.iter().filter(is_left).count();
    let state = if !journal.closed {
        JournalState::Unfinished
    } else if journal.entries.iter().any(Entry::is_open) {
        JournalState::Kept
    } else if left > 0 {
        JournalState::Left
    } else {
        JournalState::RolledBack
    };
    let (changes, opened) = (journal.entries.len(), journal.opened.as_ref());
    let (at, boot_id) =
        (opened.map(|opened| opened.at), opened.and_then(|opened| opened.boot_id.clone()));
    (JournalSummary { run, path, state, changes, left, boot_id, at }, Some(journal))
}
