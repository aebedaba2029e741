//! The newer runs whose changes stand on those of an older one: the former value that a newer change has on record is
//! what the older one had set.
//!
//! So what an older run has set can be taken back below a newer one without touching the host: the newer change is
//! rebased onto the former value of the older one. Whether that is to be done is not known here.

use std::path::{Path, PathBuf};

use super::journal::{Entry, Integrity, Journal, Opened, Record, Writer};
use super::journals::{JournalSummary, read_all};
use super::model::Target;
use super::reboot::Reboot;
use crate::disk::DiskError;
use crate::host::facts;

/// The newer runs on the same host, the next one first.
#[derive(Debug, Default)]
pub(super) struct Chain(Vec<Newer>);

/// A newer run, and its changes that may still be taken back.
#[derive(Debug)]
struct Newer {
    run: String,
    path: PathBuf,
    damaged: bool,
    entries: Vec<Entry>,
}

/// The change that stands next on a setting.
#[derive(Debug)]
pub(super) struct Above<'a> {
    /// Its run.
    pub(super) run: &'a str,
    /// The value that it found, or was handed since.
    pub(super) from: &'a str,
    newer: usize,
    entry: usize,
}

impl Chain {
    /// The runs that are newer than that of the journal at `path`, which `opened` is the first record of; not those of
    /// the journals in `but`, nor what the boot that the host is in `now` took back.
    pub(super) fn above(
        path: &Path,
        opened: &Opened,
        but: &[&Path],
        now: Option<&str>,
    ) -> Result<Self, DiskError> {
        let dir = path.parent().unwrap_or(Path::new(""));
        let journals = read_all(dir)?.into_iter();
        let newer = journals.take_while(|(other, _)| other.path.file_name() != path.file_name());
        let newer = newer.filter(|(other, _)| !but.contains(&&*other.path));
        Ok(Self::of(newer, opened, now))
    }

    /// The runs with a journal in `dir` that are newer than the one of which `opened` is the first record, and the rest
    /// somewhere else. By the time: its number may be that of another folder.
    pub(super) fn above_copy(
        dir: &Path,
        opened: &Opened,
        now: Option<&str>,
    ) -> Result<Self, DiskError> {
        let journals = read_all(dir)?.into_iter();
        let newer =
            journals.filter(|(other, _)| other.at > Some(opened.at) && other.run != opened.run);
        Ok(Self::of(newer, opened, now))
    }

    fn of(
        journals: impl Iterator<Item = (JournalSummary, Option<Journal>)>,
        opened: &Opened,
        now: Option<&str>,
    ) -> Self {
        let mut newer: Vec<Newer> = journals
            .filter_map(|(summary, journal)| {
                let journal = journal?;
                let other = journal.opened.as_ref()?;
                let elsewhere = other.root != opened.root;
                let rebooted = facts::is_other_boot(other.boot_id.as_deref(), now);
                let reboot = rebooted.then(|| Reboot::after(&journal.entries));
                let gone = |target: &Target| {
                    reboot.as_ref().is_some_and(|reboot| reboot.takes_back(target))
                };
                let open = |entry: &Entry| entry.may_be_taken_back() && !gone(&entry.change.target);
                (!elsewhere).then(|| Newer {
                    run: other.run.clone(),
                    path: summary.path,
                    damaged: matches!(journal.integrity, Integrity::Corrupt { .. }),
                    entries: journal.entries.into_iter().filter(open).collect(),
                })
            })
            .collect();
        newer.reverse();
        Self(newer)
    }

    /// The change that stands next on what an older run has set `target` to.
    pub(super) fn on(&self, target: &Target) -> Option<Above<'_>> {
        self.0.iter().enumerate().find_map(|(newer, run)| {
            let entry = run.entries.iter().position(|entry| entry.change.target == *target)?;
            let from = &*run.entries[entry].change.from;
            Some(Above { run: &run.run, from, newer, entry })
        })
    }

    /// Makes `from`, which run `of` had found, the former value of the change that stands next on `target`. It is on
    /// the disk when this returns.
    pub(super) fn rebase(&mut self, target: &Target, from: &str, of: &str) -> Result<(), String> {
        let Some(Above { newer, entry, .. }) = self.on(target) else { return Ok(()) };
        let Newer { run, path, damaged, entries } = &mut self.0[newer];
        if *damaged {
            return Err(format!(
                "run {run} has set it since, and its journal is damaged; take that run back first: trueup rollback {run}"
            ));
        }
        let entry = &mut entries[entry];
        let record = Record::Rebased { n: entry.n, from: from.to_owned(), of: of.to_owned() };
        let write = || -> Result<(), DiskError> {
            let mut writer = Writer::open(path)?;
            writer.append(&[record])?;
            writer.sync()
        };
        write().map_err(|error| error.told())?;
        entry.rebase(from);
        Ok(())
    }
}
