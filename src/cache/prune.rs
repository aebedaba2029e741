//! Listing and thinning out: by age, by size, by kind, and what no longer counts.
//!
//! All of it works on the files as they are, under the lock, and replaces a log atomically: whoever reads or is
//! killed meanwhile finds the old log or the new one.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::directory::{CacheDirectory, CacheError, append, load, log_path};
use super::entry::Entry;
use super::log::Sorted;
use super::{Key, line};
use crate::disk;

/// A decision in a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The kind of phase.
    pub kind: String,
    /// The entry.
    pub entry: Entry,
    /// Bytes that it takes.
    pub bytes: u64,
    /// True when it is past its time.
    pub expired: bool,
}

/// All that a cache holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// The decisions by kind, newest first.
    pub entries: Vec<Listed>,
    /// Lines that can't be trusted, by log.
    pub distrusted: Vec<(PathBuf, usize)>,
}

/// What is removed by a pruning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruning {
    /// What was decided longer ago.
    pub older_than: Option<Duration>,
    /// The oldest, until all logs together are not larger than so many bytes.
    pub max_size: Option<u64>,
    /// What is past its time.
    pub expired: bool,
}

/// What was removed from a log, and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Decisions past their time.
    pub expired: usize,
    /// Decisions older than was asked for.
    pub old: usize,
    /// The oldest decisions, for the sake of the size.
    pub oversize: usize,
    /// Lines that a later one of the same key had replaced.
    pub superseded: usize,
    /// Lines that can't be trusted, set aside.
    pub set_aside: usize,
    /// Decisions left.
    pub kept: usize,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes now.
    pub bytes_now: u64,
}

impl CacheDirectory {
    /// All decisions on the disk.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn list(&self) -> Result<Listing, CacheError> {
        let now = self.clock.now();
        let mut listing = Listing::default();
        for kind in self.kinds("log")? {
            let path = log_path(&self.root, &kind);
            let sorted = load(&path)?.sort(now);
            let mut entries: Vec<Listed> = sorted
                .whole
                .into_iter()
                .map(|whole| Listed {
                    kind: kind.clone(),
                    bytes: whole.line.len() as u64,
                    expired: whole.entry.expires_at <= now,
                    entry: *whole.entry,
                })
                .collect();
            entries.sort_by_key(|one| std::cmp::Reverse(one.entry.created_at));
            listing.entries.extend(entries);
            if sorted.bad_lines > 0 {
                listing.distrusted.push((path, sorted.bad_lines));
            }
        }
        Ok(listing)
    }

    /// Removes what was asked for, what was superseded, and what earlier prunings had set aside; sets aside what
    /// can't be trusted. Answers what that was, by kind.
    ///
    /// # Errors
    /// When a file can't be read or written; what was done to other kinds holds.
    pub fn prune(&self, pruning: Pruning) -> Result<BTreeMap<String, Pruned>, CacheError> {
        let bad = self.kinds("bad")?;
        if bad.is_empty() && self.kinds("log")?.is_empty() {
            return Ok(BTreeMap::new());
        }
        let _lock = self.lock()?;
        for kind in bad {
            disk::remove(&self.bad_path(&kind))?;
        }
        let now = self.clock.now();
        let mut logs = BTreeMap::new();
        for kind in self.kinds("log")? {
            let mut pruned = Pruned { bytes_before: self.size(&kind), ..Pruned::default() };
            let mut sorted = load(&log_path(&self.root, &kind))?.sort(now);
            sorted.whole.retain(|whole| {
                let entry = &whole.entry;
                let is_old =
                    pruning.older_than.is_some_and(|most| line::end(entry.created_at, most) <= now);
                let is_expired = pruning.expired && entry.expires_at <= now;
                pruned.expired += usize::from(is_expired);
                pruned.old += usize::from(is_old && !is_expired);
                !is_old && !is_expired
            });
            logs.insert(kind, (pruned, sorted));
        }
        if let Some(most) = pruning.max_size {
            shrink(&mut logs, most);
        }
        let mut all = BTreeMap::new();
        for (kind, (mut pruned, sorted)) in logs {
            self.store(&kind, &sorted)?;
            self.forget(&kind);
            pruned.superseded = sorted.superseded;
            pruned.set_aside = sorted.bad_lines;
            pruned.kept = sorted.whole.len();
            pruned.bytes_now = self.size(&kind);
            all.insert(kind, pruned);
        }
        Ok(all)
    }

    /// Forgets everything, or everything of one kind; answers how many decisions that were.
    ///
    /// # Errors
    /// When a file can't be read or removed.
    pub fn clear(&self, kind: Option<&str>) -> Result<usize, CacheError> {
        let wanted = |name: &String| kind.is_none_or(|kind| kind == name);
        let (logs, bad) = (self.kinds("log")?, self.kinds("bad")?);
        if !logs.iter().chain(&bad).any(wanted) {
            return Ok(0);
        }
        let _lock = self.lock()?;
        let mut removed = 0;
        for kind in logs.iter().filter(|kind| wanted(kind)) {
            let path = log_path(&self.root, kind);
            removed += load(&path).map_or(0, |log| log.sort(self.clock.now()).whole.len());
            disk::remove(&path)?;
            self.forget(kind);
        }
        for kind in bad.iter().filter(|kind| wanted(kind)) {
            disk::remove(&self.bad_path(kind))?;
        }
        Ok(removed)
    }

    /// Drops superseded lines and sets aside damaged ones, if these are more than half; under the lock.
    pub(super) fn compact(&self, kind: &str) -> Result<(), CacheError> {
        let sorted = load(&log_path(&self.root, kind))?.sort(self.clock.now());
        if sorted.superseded + sorted.bad_lines > sorted.whole.len() {
            self.store(kind, &sorted)?;
        }
        Ok(())
    }

    /// What is bad is kept elsewhere before the log is replaced by what is whole.
    fn store(&self, kind: &str, sorted: &Sorted) -> Result<(), CacheError> {
        let path = log_path(&self.root, kind);
        if !sorted.bad.is_empty() {
            append(&self.bad_path(kind), &sorted.bad)?;
        }
        if sorted.whole.is_empty() {
            disk::remove(&path)?;
            return Ok(());
        }
        let content: Vec<u8> = sorted.whole.iter().flat_map(|whole| whole.line.clone()).collect();
        Ok(disk::replace(&path, &content)?)
    }

    fn bad_path(&self, kind: &str) -> PathBuf {
        self.root.join(format!("{kind}.bad"))
    }

    fn size(&self, kind: &str) -> u64 {
        std::fs::metadata(log_path(&self.root, kind)).map_or(0, |file| file.len())
    }

    /// The kinds that have a file with this ending.
    fn kinds(&self, ending: &str) -> Result<Vec<String>, CacheError> {
        let names = disk::list(&self.root)?;
        let kind = |name: String| Some(name.strip_suffix(ending)?.strip_suffix('.')?.to_owned());
        Ok(names.into_iter().filter_map(kind).filter(|kind| !kind.is_empty()).collect())
    }
}

/// Takes the oldest decisions out until the rest is not larger than `most`.
fn shrink(logs: &mut BTreeMap<String, (Pruned, Sorted)>, most: u64) {
    let mut ages: Vec<(jiff::Timestamp, Key, u64)> = logs
        .values()
        .flat_map(|(_, sorted)| &sorted.whole)
        .map(|whole| (whole.entry.created_at, whole.entry.key, whole.line.len() as u64))
        .collect();
    ages.sort_unstable();
    let mut size: u64 = ages.iter().map(|(_, _, bytes)| bytes).sum();
    let mut gone = HashSet::new();
    for (_, key, bytes) in ages {
        if size <= most {
            break;
        }
        size -= bytes;
        gone.insert(key);
    }
    for (pruned, sorted) in logs.values_mut() {
        let before = sorted.whole.len();
        sorted.whole.retain(|whole| !gone.contains(&whole.entry.key));
        pruned.oversize = before - sorted.whole.len();
    }
}
