//! The cache in a directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::entry::{Entry, Origin};
use super::{Key, Manifest};
use crate::clock::Clock;
use crate::disk::{self, DiskError};

/// Largest entry.
const LIMIT: u64 = 8 << 20;

/// Why the cache could not be read or written; never a reason to fail a phase.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A decision that can't be written as JSON.
    #[error("could not write a decision as JSON")]
    Encode(#[from] serde_json::Error),
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
    /// It was decided under other conditions: each part with its value then and now.
    #[error("{}", changed(.0))]
    Changed(Vec<(String, Option<String>, Option<String>)>),
    /// It was decided too long ago.
    #[error("the decision of {0} has expired")]
    Expired(Timestamp),
    /// There was an entry, but it can't be trusted; a run moves it aside.
    #[error("the entry {path} was not trusted: {flaw}")]
    Untrusted {
        /// The entry.
        path: String,
        /// What is wrong with it.
        flaw: String,
    },
    /// It was asked not to look.
    #[error("told to measure anew")]
    Refresh,
}

fn changed(parts: &[(String, Option<String>, Option<String>)]) -> String {
    const SHOWN: usize = 3;
    let none = || "nothing".to_owned();
    let mut told: Vec<String> = parts
        .iter()
        .take(SHOWN)
        .map(|(path, then, now)| {
            let (then, now) = (then.clone().unwrap_or_else(none), now.clone().unwrap_or_else(none));
            format!("{path} changed from {} to {}", short(&then), short(&now))
        })
        .collect();
    if parts.len() > SHOWN {
        told.push(format!("and {} more", parts.len() - SHOWN));
    }
    told.join("; ")
}

fn short(value: &str) -> String {
    const SHOWN: usize = 40;
    if value.chars().count() <= SHOWN {
        value.to_owned()
    } else {
        value.chars().take(SHOWN).collect::<String>() + ".."
    }
}

/// An entry in a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Where it is.
    pub path: PathBuf,
    /// The entry.
    pub entry: Entry,
    /// True when it is past its time.
    pub expired: bool,
}

/// A cache in a directory.
#[derive(Debug, Clone)]
pub struct CacheDirectory {
    root: PathBuf,
    clock: Clock,
    /// False when nothing may be moved aside.
    writes: bool,
}

impl CacheDirectory {
    /// The cache below `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: PathBuf, clock: Clock) -> Self {
        Self { root, clock, writes: true }
    }

    /// The same cache for somebody who may only look: an entry that can't be trusted stays where it is.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { writes: false, ..self }
    }

    fn path(&self, kind: &str, key: &Key) -> PathBuf {
        self.root.join(kind).join(format!("{key}.json"))
    }

    /// What is remembered under a manifest. Never fails: what can't be read is a miss.
    #[must_use]
    pub fn look_up(&self, kind: &str, phase: &str, manifest: &Manifest) -> Lookup {
        let key = manifest.key();
        let path = self.path(kind, &key);
        let now = self.clock.now();
        match load(&path) {
            Err(flaw) => Lookup::Miss(self.move_aside(&path, flaw)),
            Ok(None) => Lookup::Miss(self.why_absent(kind, phase, manifest)),
            Ok(Some(entry)) => {
                if let Some(flaw) = entry.flaw(&key, now) {
                    Lookup::Miss(self.move_aside(&path, flaw.to_owned()))
                } else if entry.expires_at <= now {
                    Lookup::Miss(MissReason::Expired(entry.created_at))
                } else {
                    let age = Duration::try_from(now.duration_since(entry.created_at))
                        .unwrap_or_default();
                    Lookup::Hit { entry: Box::new(entry), age }
                }
            }
        }
    }

    /// The latest decision of the same phase tells what has changed since.
    fn why_absent(&self, kind: &str, phase: &str, manifest: &Manifest) -> MissReason {
        let entries = self.list_kind(kind).unwrap_or_default();
        let latest = entries
            .into_iter()
            .filter(|listed| listed.entry.phase == phase)
            .max_by_key(|listed| listed.entry.created_at);
        match latest {
            None => MissReason::Absent,
            Some(listed) => MissReason::Changed(manifest.differences(&listed.entry.manifest)),
        }
    }

    fn move_aside(&self, path: &Path, flaw: String) -> MissReason {
        if !self.writes {
            return MissReason::Untrusted { path: path.display().to_string(), flaw };
        }
        let flaw = match disk::rename(path, &path.with_extension("bad")) {
            Ok(()) => flaw,
            Err(error) => format!("{flaw}, and {error}"),
        };
        MissReason::Untrusted { path: path.display().to_string(), flaw }
    }

    /// Remembers a decision for `ttl` and answers its key.
    ///
    /// # Errors
    /// When it can't be written; what was remembered before is untouched.
    pub fn remember(
        &self,
        manifest: Manifest,
        origin: Origin<'_>,
        decision: Value,
        ttl: Duration,
    ) -> Result<Key, CacheError> {
        let entry = Entry::new(manifest, origin, decision, self.clock.now(), ttl);
        let path = self.path(&entry.kind, &entry.key);
        disk::replace(&path, &serde_json::to_vec_pretty(&entry)?)?;
        Ok(entry.key)
    }

    /// All entries that can be read, by kind and then newest first.
    ///
    /// # Errors
    /// When a folder can't be read.
    pub fn list(&self) -> Result<Vec<Listed>, CacheError> {
        let mut all = Vec::new();
        for kind in disk::list(&self.root)? {
            if self.root.join(&kind).is_dir() {
                all.extend(self.list_kind(&kind)?);
            }
        }
        Ok(all)
    }

    fn list_kind(&self, kind: &str) -> Result<Vec<Listed>, CacheError> {
        let now = self.clock.now();
        let folder = self.root.join(kind);
        let mut listed: Vec<Listed> = disk::list(&folder)?
            .into_iter()
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "json"))
            .filter_map(|name| {
                let path = folder.join(name);
                let entry = load(&path).ok()??;
                Some(Listed { path, expired: entry.expires_at <= now, entry })
            })
            .collect();
        listed.sort_by_key(|one| std::cmp::Reverse(one.entry.created_at));
        Ok(listed)
    }

    /// Forgets everything, or everything of one kind; answers how many entries there were.
    ///
    /// # Errors
    /// When a file can't be removed.
    pub fn clear(&self, kind: Option<&str>) -> Result<usize, CacheError> {
        let mut removed = 0;
        for name in
            disk::list(&self.root)?.into_iter().filter(|name| kind.is_none_or(|kind| kind == name))
        {
            let folder = self.root.join(name);
            for file in disk::list(&folder).unwrap_or_default() {
                let path = folder.join(&file);
                let ours =
                    path.extension().is_some_and(|ending| ending == "json" || ending == "bad");
                removed += usize::from(ours && disk::remove(&path)?);
            }
        }
        Ok(removed)
    }
}

/// The entry in a file; none when there is no file; what is wrong when it can't be read.
fn load(path: &Path) -> Result<Option<Entry>, String> {
    match disk::read_bounded(path, LIMIT) {
        Ok(content) => serde_json::from_slice(&content)
            .map(Some)
            .map_err(|error| format!("it can't be read: {error}")),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(format!("it can't be read: {}", error.source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DAY: Duration = Duration::from_hours(24);
    const ALMOST: Duration = Duration::from_secs(24 * 3600 - 1);
    const ORIGIN: Origin<'static> = Origin { kind: "db_pool", phase: "pool", run: "r1" };

    fn cache(dir: &Path) -> (CacheDirectory, Clock) {
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        (CacheDirectory::new(dir.join("cache"), clock.clone()), clock)
    }

    fn manifest(max: u32) -> Manifest {
        Manifest::new("db_pool", 1).with("with", &json!({ "max": max }))
    }

    #[test]
    fn a_decision_is_remembered_for_its_time_and_not_longer() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, clock) = cache(dir.path());
        assert_eq!(
            cache.look_up("db_pool", "pool", &manifest(20)),
            Lookup::Miss(MissReason::Absent)
        );
        cache.remember(manifest(20), ORIGIN, json!({"pool_size": 7}), DAY).unwrap();
        clock.advance(ALMOST);
        match cache.look_up("db_pool", "pool", &manifest(20)) {
            Lookup::Hit { entry, age } => {
                assert_eq!(entry.decision, json!({"pool_size": 7}));
                assert_eq!(age, ALMOST);
            }
            other @ Lookup::Miss(_) => panic!("{other:?}"),
        }
        clock.advance(Duration::from_secs(1));
        let looked = cache.look_up("db_pool", "pool", &manifest(20));
        assert!(matches!(looked, Lookup::Miss(MissReason::Expired(_))), "{looked:?}");
    }

    #[test]
    fn a_miss_tells_which_part_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, _) = cache(dir.path());
        cache.remember(manifest(20), ORIGIN, json!(1), DAY).unwrap();
        let Lookup::Miss(reason) = cache.look_up("db_pool", "pool", &manifest(30)) else {
            panic!("a miss")
        };
        assert_eq!(reason.to_string(), "with.max changed from 20 to 30");
    }

    #[test]
    fn an_entry_that_is_not_whole_or_not_ours_is_a_miss_and_moved_aside() {
        let whole = {
            let dir = tempfile::tempdir().unwrap();
            let (cache, _) = cache(dir.path());
            cache.remember(manifest(20), ORIGIN, json!({"pool_size": 7}), DAY).unwrap();
            let path = cache.path("db_pool", &manifest(20).key());
            disk::read_text(&path, LIMIT).unwrap()
        };
        let cut = whole[..whole.len() / 2].to_owned();
        let tampered = whole.replace("\"pool_size\": 7", "\"pool_size\": 9");
        let future = whole.replace("2026-11-23T12", "2026-11-25T12");
        let newer = whole.replace("\"schema\": 1", "\"schema\": 2");
        for content in [cut, tampered, future, newer, String::new(), "[]".to_owned()] {
            let dir = tempfile::tempdir().unwrap();
            let (cache, _) = cache(dir.path());
            let path = cache.path("db_pool", &manifest(20).key());
            disk::replace(&path, content.as_bytes()).unwrap();
            let looked = cache.look_up("db_pool", "pool", &manifest(20));
            assert!(matches!(looked, Lookup::Miss(MissReason::Untrusted { .. })), "{looked:?}");
            assert!(!path.exists() && path.with_extension("bad").exists());
        }
    }

    #[test]
    fn clearing_forgets_one_kind_or_all() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, _) = cache(dir.path());
        cache.remember(manifest(20), ORIGIN, json!(1), DAY).unwrap();
        cache
            .remember(Manifest::new("tune", 1), Origin { kind: "tune", ..ORIGIN }, json!(1), DAY)
            .unwrap();
        assert_eq!(cache.list().unwrap().len(), 2);
        assert_eq!(cache.clear(Some("tune")).unwrap(), 1);
        assert_eq!(cache.list().unwrap().len(), 1);
        assert_eq!(cache.clear(None).unwrap(), 1);
        assert!(cache.list().unwrap().is_empty());
    }
}
