//! The cache in a directory: look-ups, and decisions written in batches.
//!
//! One log a kind, read when its first decision is looked up. Whatever goes wrong on the disk is a miss or an
//! error that the caller tells; it never hides what other lines hold. Thinning out is in `prune`.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::entry::{Entry, Origin};
use super::line;
use super::log::{Found, Log, MOST};
use super::{Difference, Key, Manifest};
use crate::clock::Clock;
use crate::disk::{self, AppendLog, DiskError, LockFile, Locked};

/// How long another process may keep the lock; it holds it for the time of one write.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the cache could not be read or written; never a reason to fail a phase.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A decision that can't be written as JSON.
    #[error("could not write a decision as JSON")]
    Encode(#[from] serde_json::Error),
    /// Another process does not let go of the lock.
    #[error("could not lock {}: process {by} has held it for more than {PATIENCE:?}", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// What the other process wrote of itself.
        by: String,
    },
}

/// The answer of the cache.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// It is remembered.
    Hit {
        /// The entry.
        entry: Box<Entry>,
        /// How old it is.
        age: Duration,
    },
    /// It is not.
    Miss(MissReason),
}

/// Why the cache has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MissReason {
    /// Nothing like it was ever decided here.
    #[error("never measured here")]
    Absent,
    /// It was decided under other conditions.
    #[error("{}", changed(.0))]
    Changed(Vec<Difference>),
    /// It was decided too long ago.
    #[error("the decision of {0} has expired")]
    Expired(Timestamp),
    /// There was an entry, but it can't be trusted.
    #[error("the entry {path} was not trusted: {flaw}")]
    Untrusted {
        /// The log and the line.
        path: String,
        /// What is wrong with it.
        flaw: String,
    },
    /// It was asked not to look.
    #[error("told to measure anew")]
    Refresh,
}

fn changed(parts: &[Difference]) -> String {
    const SHOWN: usize = 3;
    let short = |value: &Option<String>| value.as_deref().map_or("nothing".to_owned(), short);
    let mut told: Vec<String> = parts
        .iter()
        .take(SHOWN)
        .map(|Difference { part, from, to }| {
            format!("{part} changed from {} to {}", short(from), short(to))
        })
        .collect();
    if parts.len() > SHOWN {
        told.push(format!("and {} more", parts.len() - SHOWN));
    }
    told.join("; ")
}

/// A value as a person reads it: a text that is JSON is taken out of it before it is cut, so that nothing is cut in the
/// middle of an escape.
fn short(value: &str) -> String {
    const SHOWN: usize = 40;
    let text = serde_json::from_str::<String>(value).ok();
    let plain = text.as_deref().unwrap_or(value);
    let mut shown: String =
        plain.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if plain.chars().count() > SHOWN {
        shown.push_str("..");
    }
    if text.is_some() { format!("\"{shown}\"") } else { shown }
}

/// A question that the cache was asked, for whoever explains its answer.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The kind of phase.
    pub kind: String,
    /// The phase.
    pub phase: String,
    /// All that its decision depends on.
    pub manifest: Manifest,
    /// The answer.
    pub answer: Lookup,
}

/// A cache in a directory. Clones share what they have read and what they have still to write.
#[derive(Clone)]
pub struct CacheDirectory {
    pub(super) root: PathBuf,
    pub(super) clock: Clock,
    /// False for somebody who may only look.
    writes: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    logs: HashMap<String, Known>,
    /// The questions so far, if somebody listens.
    asked: Option<Vec<Asked>>,
}

/// A log, and what kept it from being read.
struct Known {
    path: PathBuf,
    log: Log,
    flaw: Option<String>,
}

impl fmt::Debug for CacheDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheDirectory").field("root", &self.root).finish_non_exhaustive()
    }
}

impl CacheDirectory {
    /// The cache below `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: PathBuf, clock: Clock) -> Self {
        Self { root, clock, writes: true, state: Arc::default() }
    }

    /// The same cache for somebody who may only look: nothing is remembered in it.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { writes: false, ..self }
    }

    /// The same cache, which keeps what it is asked for [`asked`](Self::asked).
    #[must_use]
    pub fn listening(self) -> Self {
        self.state().asked = Some(Vec::new());
        self
    }

    /// What it was asked since it [listens](Self::listening).
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered under a manifest and not older than `ttl`. Never fails: what can't be read is a miss.
    #[must_use]
    pub fn look_up(&self, kind: &str, phase: &str, manifest: &Manifest, ttl: Duration) -> Lookup {
        let key = manifest.key();
        let now = self.clock.now();
        let mut state = self.state();
        let known = state.known(&self.root, kind);
        let answer = match known.log.find(&key, now) {
            Found::Entry(entry) if !entry.holds_on(manifest.host()) => {
                let flaw = format!("it was decided on another host, {}", entry.host);
                known.untrusted(None, flaw)
            }
            Found::Entry(entry)
                if now >= entry.expires_at.min(line::end(entry.created_at, ttl)) =>
            {
                Lookup::Miss(MissReason::Expired(entry.created_at))
            }
            Found::Entry(entry) => {
                let age =
                    Duration::try_from(now.duration_since(entry.created_at)).unwrap_or_default();
                Lookup::Hit { entry, age }
            }
            Found::Flawed { number, flaw } => known.untrusted(Some(number), flaw),
            Found::Nothing => known.why_absent(phase, manifest, now),
        };
        if let Some(asked) = &mut state.asked {
            asked.push(Asked {
                kind: kind.to_owned(),
                phase: phase.to_owned(),
                manifest: manifest.clone(),
                answer: answer.clone(),
            });
        }
        answer
    }

    /// The latest decision of a phase with all that it depends on: one that holds on `host`, else of any host.
    #[must_use]
    pub fn latest(&self, kind: &str, phase: &str, host: &str) -> Option<(Entry, Manifest)> {
        self.state().known(&self.root, kind).log.latest(phase, host, self.clock.now())
    }

    /// The decision that a key names with all that it depends on, expired or not.
    #[must_use]
    pub fn named(&self, kind: &str, key: &Key) -> Option<(Entry, Manifest)> {
        self.state().known(&self.root, kind).log.explain(key, self.clock.now())
    }

    /// Remembers a decision for `ttl` and answers its key. It is found from now on, and on the disk after the next
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn remember(
        &self,
        manifest: &Manifest,
        origin: Origin<'_>,
        decision: &Value,
        ttl: Duration,
    ) -> Result<Key, CacheError> {
        let now = self.clock.now();
        let (key, line) = line::write(manifest, origin, decision, (now, ttl))?;
        if self.writes {
            self.state().known(&self.root, origin.kind).log.push(&key, origin.phase, &line);
        }
        Ok(key)
    }

    /// True when something was remembered since the last [`flush`](Self::flush).
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.state().logs.values().any(|known| known.log.has_queue())
    }

    /// Writes what was remembered since the last time: one write and one wait for the disk for each kind. Then
    /// drops superseded and damaged lines of a log that holds more of them than of others.
    ///
    /// # Errors
    /// When it can't be written; it is kept for the next time.
    pub fn flush(&self) -> Result<(), CacheError> {
        let batches: Vec<(String, Vec<u8>)> = {
            let mut state = self.state();
            let queues = state.logs.iter_mut();
            queues
                .map(|(kind, known)| (kind.clone(), known.log.take_queue()))
                .filter(|(_, batch)| !batch.is_empty())
                .collect()
        };
        if batches.is_empty() {
            return Ok(());
        }
        let lock = self.lock();
        let mut result = Ok(());
        for (kind, batch) in batches {
            let appended = match &lock {
                Ok(_) => append(&log_path(&self.root, &kind), &batch).map_err(CacheError::from),
                Err(_) => Ok(()),
            };
            let mut state = self.state();
            let known = state.known(&self.root, &kind);
            if lock.is_err() || appended.is_err() {
                known.log.put_back(batch);
                result = result.and(appended);
            } else if known.log.is_mostly_waste() {
                known.log.waste_is_gone();
                drop(state);
                result = result.and(self.compact(&kind));
            }
        }
        lock.map(drop).and(result)
    }

    /// Locks the cache against other writers, for the time of one write.
    pub(super) fn lock(&self) -> Result<LockFile, CacheError> {
        let path = self.root.join("lock");
        match LockFile::wait(&path, &std::process::id().to_string(), PATIENCE)? {
            Locked::Ours(lock) => Ok(lock),
            Locked::Held(by) => Err(CacheError::Busy { path, by }),
        }
    }

    /// Forgets what was read and what is not written yet.
    pub(super) fn forget(&self, kind: &str) {
        self.state().logs.remove(kind);
    }
}

/// Where the log of a kind is.
pub(super) fn log_path(root: &Path, kind: &str) -> PathBuf {
    root.join(format!("{kind}.log"))
}

/// The log in a file; empty when there is no file.
pub(super) fn load(path: &Path) -> Result<Log, DiskError> {
    match disk::read_bounded(path, MOST) {
        Ok(content) => Ok(Log::read(content)),
        Err(error) if error.is_not_found() => Ok(Log::default()),
        Err(error) => Err(error),
    }
}

/// Appends whole lines, durably.
pub(super) fn append(path: &Path, lines: &[u8]) -> Result<(), DiskError> {
    let mut log = AppendLog::open(path)?;
    log.append(lines)?;
    log.sync()
}

impl State {
    /// The log of a kind, read when it was not yet.
    fn known(&mut self, root: &Path, kind: &str) -> &mut Known {
        self.logs.entry(kind.to_owned()).or_insert_with(|| {
            let path = log_path(root, kind);
            match load(&path) {
                Ok(log) => Known { path, log, flaw: None },
                Err(error) => {
                    Known { path, log: Log::default(), flaw: Some(error.source.to_string()) }
                }
            }
        })
    }
}

impl Known {
    fn untrusted(&self, number: Option<u32>, flaw: String) -> Lookup {
        let mut path = self.path.display().to_string();
        if let Some(number) = number {
            path = format!("{path}:{number}");
        }
        Lookup::Miss(MissReason::Untrusted { path, flaw })
    }

    /// The latest decision of the same phase tells what has changed since.
    fn why_absent(&mut self, phase: &str, manifest: &Manifest, now: Timestamp) -> Lookup {
        if let Some(flaw) = &self.flaw {
            return self.untrusted(None, format!("it can't be read: {flaw}"));
        }
        if let Some((_, earlier)) = self.log.latest(phase, manifest.host(), now) {
            return Lookup::Miss(MissReason::Changed(manifest.differences(&earlier)));
        }
        // One of these may be the decision that was looked for.
        if let Some((number, flaw)) = self.log.flawed(phase, now) {
            return self.untrusted(Some(number), flaw);
        }
        match self.log.strays() {
            0 => Lookup::Miss(MissReason::Absent),
            strays => self.untrusted(None, format!("{strays} of its lines can't be read")),
        }
    }
}
