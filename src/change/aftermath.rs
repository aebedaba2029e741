//! What has become of the changes of a run since it made them, as its journal tells. Looks at no setting.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::journal::{self, Entry, JournalError, Resumed, State};
use super::reboot::Reboot;
use crate::host::{Sysroot, facts};

/// What has become of the changes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aftermath {
    /// How many settings it has changed for longer than itself, or would have.
    pub settings: usize,
    /// What has become of them.
    pub fate: Fate,
}

/// What has become of changes since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// They are in place, unless somebody else has set other values since.
    Kept,
    /// Some were taken back, and the others are kept.
    Partly {
        /// When, and by what.
        by: Resumed,
        /// How many settings were.
        back: usize,
    },
    /// The run was cut off, or some could not be taken back: a rollback is due.
    Due,
    /// A reboot has taken them back.
    Rebooted,
    /// They were taken back.
    TakenBack {
        /// When, and by what; nothing is known of what the run itself took back.
        by: Resumed,
        /// Settings that a newer run has set since, and that run.
        handed: Vec<(String, String)>,
        /// Settings that were left alone, and the values that they were set to since.
        left: Vec<(String, String)>,
    },
}

/// What has become of the changes in the journal at `path`; nothing where there is none.
///
/// # Errors
/// When the journal can't be used.
pub fn aftermath(path: &Path) -> Result<Option<Aftermath>, JournalError> {
    let journal = match journal::read(path) {
        Ok(journal) => journal,
        Err(JournalError::Disk(error)) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(opened) = &journal.opened else { return Ok(None) };
    let boot = facts::boot(&Sysroot::at(PathBuf::from(&opened.root)));
    let rebooted = facts::is_other_boot(opened.boot_id.as_deref(), boot.as_deref());
    let reboot = rebooted.then(|| Reboot::after(&journal.entries));
    let gone = |entry: &Entry| {
        reboot.as_ref().is_some_and(|reboot| reboot.takes_back(&entry.change.target))
    };
    let targets = |wanted: &dyn Fn(&Entry) -> bool| {
        let wanted = journal.entries.iter().filter(|entry| wanted(entry));
        wanted.map(|entry| &entry.change.target).collect::<BTreeSet<_>>().len()
    };
    let open = targets(&|entry| entry.is_open() && !gone(entry));
    let wanted = targets(&Entry::may_be_taken_back);
    let lasting = targets(&|entry| entry.may_be_taken_back() && !gone(entry));
    let all = targets(&|entry| !is_failed(entry));
    let settings = if open > 0 { open } else { all };
    let fate = if wanted > 0 && lasting == 0 && rebooted {
        Fate::Rebooted
    } else if open > 0 && !journal.closed {
        Fate::Due
    } else if open > 0 {
        match &journal.resumed {
            Some(by) if all > open => Fate::Partly { by: by.clone(), back: all - open },
            _ => Fate::Kept,
        }
    } else {
        let of = |entry: &Entry, value: &str| {
            (entry.change.target.name().into_owned(), value.to_owned())
        };
        let mut handed = Vec::new();
        let mut left = Vec::new();
        for entry in &journal.entries {
            match &entry.state {
                State::Handed { run } => handed.push(of(entry, run)),
                State::Left { found } => left.push(of(entry, &entry.change.target.shown(found))),
                _ => {}
            }
        }
        Fate::TakenBack { by: journal.resumed.clone().unwrap_or_default(), handed, left }
    };
    Ok(Some(Aftermath { settings, fate }))
}

fn is_failed(entry: &Entry) -> bool {
    matches!(entry.state, State::Failed { .. })
}
