//! The applier of a run: the only way by which anything may change the host.
//!
//! For a group of changes: observe again, write the intents and wait for the disk, then for each write to
//! the host, read back, and record what came of it. Methods block; they may be called from several threads,
//! one at a time is served. When the journal can't be written, nothing more is changed; what was
//! changed before can still be taken back.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::host::{Host, ThisHost, WriteError};
use super::journal::{self, Entry, Record, SCHEMA, State, Writer};
use super::model::{Change, Target};
use super::take_back::{Foreign, TakenBack, Taker};
use crate::clock::Clock;
use crate::database::server::Logins;
use crate::disk::{self, DiskError};
use crate::host::setting::Observed;
use crate::host::{Sysroot, facts};

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ApplyResult {
    /// The host already had the wanted value; nothing was written.
    Already,
    /// It was written and reads back as wanted.
    Match,
    /// It was written, and the host made another value of it. It is in the journal and can be taken back.
    Clamped {
        /// What was read back.
        got: String,
    },
    /// The host has its former value.
    Refused {
        /// Why.
        reason: String,
    },
}

/// A change and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// The change.
    pub change: Change,
    /// What came of it.
    pub result: ApplyResult,
}

/// A change that was to be taken back, and what came of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reverted {
    /// The change.
    pub change: Change,
    /// What came of it.
    pub result: TakenBack,
}

/// A journal that could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Some changes could neither be kept nor taken back: a rollback has to try again.
    #[error("could not close {}: {} could not be taken back; run `trueup rollback`", path.display(), changes.join(", "))]
    Unresolved {
        /// The journal.
        path: PathBuf,
        /// The changes, in words.
        changes: Vec<String>,
    },
    /// The journal can't be written.
    #[error("could not record which changes are kept: {reason}")]
    Journal {
        /// What the disk said.
        reason: String,
    },
}

/// Applies and takes back the changes of one run. Clones share the same journal.
#[derive(Clone)]
pub struct Applier(Arc<Shared>);

struct Shared {
    host: Box<dyn Host>,
    path: PathBuf,
    run: String,
    boot_id: Option<String>,
    clock: Clock,
    session: Mutex<Session>,
}

/// What the run has changed until now.
#[derive(Default)]
struct Session {
    journal: Option<Writer>,
    entries: Vec<Entry>,
    /// Numbers of changes that could not be taken back.
    stuck: BTreeSet<u64>,
    /// Why nothing more may be changed.
    ended: Option<String>,
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").field("journal", &self.0.path).finish_non_exhaustive()
    }
}

impl Applier {
    /// The applier of run `run_id` on the host below `root`. The journal `<journal_dir>/<run_id>.jsonl` is made by
    /// the first change.
    #[must_use]
    pub fn new(root: Sysroot, journal_dir: &Path, run_id: &str, clock: Clock) -> Self {
        Self::reaching((root, Logins::default()), journal_dir, run_id, clock)
    }

    /// The same with the logins to database servers that phases have been told.
    #[must_use]
    pub fn reaching(
        (root, logins): (Sysroot, Logins),
        journal_dir: &Path,
        run_id: &str,
        clock: Clock,
    ) -> Self {
        let boot_id = facts::boot(&root);
        Self::on(Box::new(ThisHost::below(root, logins)), boot_id, journal_dir, run_id, clock)
    }

    fn on(
        host: Box<dyn Host>,
        boot_id: Option<String>,
        dir: &Path,
        run: &str,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Shared {
            host,
            path: dir.join(format!("{run}.jsonl")),
            run: run.to_owned(),
            boot_id,
            clock,
            session: Mutex::default(),
        }))
    }

    /// Where the journal is, or would be.
    #[must_use]
    pub fn journal(&self) -> &Path {
        &self.0.path
    }

    /// Applies a group of changes, in order; one wait for the disk covers their intents. Each answers for
    /// itself: that one is refused does not stop the others.
    #[must_use]
    pub fn apply(&self, changes: &[Change]) -> Vec<Applied> {
        let mut session = self.session();
        let mut seen = BTreeSet::new();
        let admitted: Vec<Admission> =
            changes.iter().map(|change| self.admit(change, &mut seen)).collect();
        let to_write = changes.iter().zip(&admitted);
        let to_write = to_write.filter(|(_, admission)| **admission == Admission::Write);
        let intents: Vec<Change> = to_write.map(|(change, _)| change.clone()).collect();
        let intended = self.intend(&mut session, intents);
        let mut next = *intended.as_ref().unwrap_or(&0);
        let results = admitted.into_iter().map(|admission| match (admission, &intended) {
            (Admission::Already, _) => ApplyResult::Already,
            (Admission::Refused(reason), _) => ApplyResult::Refused { reason },
            (Admission::Write, Err(reason)) => ApplyResult::Refused { reason: reason.clone() },
            (Admission::Write, Ok(_)) => {
                next += 1;
                self.write(&mut session, next - 1)
            }
        });
        let results: Vec<_> = results.collect();
        let pairs = changes.iter().cloned().zip(results);
        pairs.map(|(change, result)| Applied { change, result }).collect()
    }

    /// Takes back what `phase` has changed, the latest first.
    #[must_use]
    pub fn revert(&self, phase: &str) -> Vec<Reverted> {
        self.revert_where(|change| change.phase == phase)
    }

    /// Takes back all that the run has changed, the latest first.
    #[must_use]
    pub fn revert_all(&self) -> Vec<Reverted> {
        self.revert_where(|_| true)
    }

    /// Makes sure that what has been changed can be taken back later: that the journal is found under its name.
    ///
    /// # Errors
    /// When it was removed or replaced.
    pub fn in_place(&self) -> Result<(), DiskError> {
        self.session().journal.as_ref().map_or(Ok(()), Writer::in_place)
    }

    /// Keeps all that is applied and not taken back, and closes the journal: the end of a run.
    ///
    /// # Errors
    /// When a change could not be taken back before, or the journal can't be written: it then stays unfinished, and
    /// what was to be kept can still be taken back.
    pub fn keep(&self) -> Result<(), KeepError> {
        let mut session = self.session();
        if session.journal.is_none() {
            session.ended.get_or_insert_with(|| "the run has ended".to_owned());
            return Ok(());
        }
        let Session { entries, stuck, .. } = &*session;
        let unresolved = |entry: &Entry| entry.state == State::Intended || stuck.contains(&entry.n);
        let (mut records, mut kept) = (Vec::new(), BTreeSet::new());
        let mut changes = Vec::new();
        for entry in entries {
            if unresolved(entry) {
                changes.push(entry.change.describe());
            } else if matches!(entry.state, State::Applied { .. }) {
                records.push(Record::Kept { n: entry.n });
                kept.insert(entry.n);
            }
        }
        if changes.is_empty() {
            records.push(Record::Closed {});
        }
        session.record(&records);
        let synced = session.journal.as_mut().map_or(Ok(()), Writer::sync);
        let broken = session.ended.clone().or_else(|| synced.err().map(|error| error.told()));
        session.ended.get_or_insert_with(|| "the journal of this run is closed".to_owned());
        if broken.is_none() {
            for entry in session.entries.iter_mut().filter(|entry| kept.contains(&entry.n)) {
                entry.state = entry.kept();
            }
        }
        match broken {
            Some(reason) => Err(KeepError::Journal { reason }),
            None if changes.is_empty() => Ok(()),
            None => Err(KeepError::Unresolved { path: self.0.path.clone(), changes }),
        }
    }

    /// All changes of the run until now, and how far each has come.
    #[must_use]
    pub fn changes(&self) -> Vec<Entry> {
        self.session().entries.clone()
    }

    /// What a target has now.
    pub(super) fn observe(&self, target: &Target) -> Observed {
        self.0.host.observe(target)
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.0.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the host before anything is written.
    fn admit(&self, change: &Change, seen: &mut BTreeSet<Target>) -> Admission {
        if let Some(reason) = change.target.forbidden() {
            return Admission::Refused(reason);
        }
        let Change { target, from, to, .. } = change;
        let current = match self.0.host.observe(target) {
            Observed::Value(current) => current,
            Observed::Absent(reason) | Observed::Unreadable(reason) => {
                return Admission::Refused(reason);
            }
        };
        if !target.same(&current, from) {
            return Admission::Refused(format!(
                "{} was `{}` when observed and is `{}` now: somebody else has set it",
                target.name(),
                target.shown(from),
                target.shown(&current)
            ));
        }
        if target.same(&current, to) {
            return Admission::Already;
        }
        if let Some(reason) = self.0.host.obstacle(target, to) {
            return Admission::Refused(reason);
        }
        if !seen.insert(target.clone()) {
            let told = format!("the same group of changes already sets {}", target.name());
            return Admission::Refused(told);
        }
        Admission::Write
    }

    /// Writes the intents of `changes` and waits for the disk. Answers the index of the first entry.
    fn intend(&self, session: &mut Session, changes: Vec<Change>) -> Result<usize, String> {
        let first = session.entries.len();
        if changes.is_empty() {
            return Ok(first);
        }
        if let Some(reason) = &session.ended {
            return Err(reason.clone());
        }
        let entries: Vec<Entry> = changes
            .into_iter()
            .enumerate()
            .map(|(index, change)| Entry::intended((first + index) as u64, change))
            .collect();
        self.write_intents(session, &entries).map_err(|reason| {
            let reason = format!("nothing is changed without its intent on the disk: {reason}");
            session.ended = Some(reason.clone());
            reason
        })?;
        session.entries.extend(entries);
        Ok(first)
    }

    fn write_intents(&self, session: &mut Session, entries: &[Entry]) -> Result<(), String> {
        let mut records = Vec::new();
        let journal = match &mut session.journal {
            Some(journal) => journal,
            none => {
                if self.0.path.exists() {
                    return Err(format!("{} is there already", self.0.path.display()));
                }
                records.push(Record::Opened {
                    schema: SCHEMA,
                    run: self.0.run.clone(),
                    number: Some(self.number()?),
                    root: self.0.host.root(),
                    boot_id: self.0.boot_id.clone(),
                    at: self.0.clock.now().to_string(),
                });
                none.insert(Writer::open(&self.0.path).map_err(|error| error.told())?)
            }
        };
        records.extend(
            entries.iter().map(|entry| Record::Intent { n: entry.n, change: entry.change.clone() }),
        );
        journal.append(&records).and_then(|()| journal.sync()).map_err(|error| error.told())
    }

    /// The number of the journal: one more than the highest of those that are there. No other run opens one meanwhile,
    /// since a run has the lock of the folder.
    fn number(&self) -> Result<u64, String> {
        let dir = self.0.path.parent().unwrap_or(Path::new(""));
        let names = disk::list(dir).map_err(|error| error.told())?;
        let journals = names.iter().filter_map(|name| name.strip_suffix(".jsonl"));
        let number = |run: &str| journal::number(&dir.join(format!("{run}.jsonl")));
        let highest = journals.filter_map(number).max();
        Ok(highest.unwrap_or(0).saturating_add(1))
    }

    /// Writes the change of entry `index` to the host and records what came of it.
    fn write(&self, session: &mut Session, index: usize) -> ApplyResult {
        let Entry { n, change, .. } = session.entries[index].clone();
        let target = &change.target;
        // The kernel may have set it with another of the group, and to write it once more could undo that one.
        let is_set = target.twin().is_some()
            && matches!(self.0.host.observe(target), Observed::Value(found) if target.same(&found, &change.to));
        let written = if is_set { Ok(()) } else { self.0.host.write(target, &change.to) };
        // It stays intended: whether the host has it will only be known when the write has returned.
        if let Err(WriteError::Late(reason)) = written {
            return ApplyResult::Refused { reason };
        }
        let found = match self.0.host.observe(target) {
            Observed::Value(found) => found,
            // It stays intended: taking it back will look again.
            Observed::Absent(reason) | Observed::Unreadable(reason) => {
                return ApplyResult::Refused { reason: format!("after the write, {reason}") };
            }
        };
        if let Err(error) = written
            && target.same(&found, &change.from)
        {
            let reason = error.to_string();
            // A file may have been refused when folders were made for it. What can't be cleared now is looked for again.
            if let Err(other) = self.0.host.tidy(target, &change.from) {
                return ApplyResult::Refused { reason: format!("{reason}; {other}") };
            }
            session.record(&[Record::Failed { n, reason: reason.clone() }]);
            session.entries[index].state = State::Failed { reason: reason.clone() };
            return ApplyResult::Refused { reason };
        }
        let is_as_wanted = target.same(&found, &change.to);
        // Nobody but somebody else makes another text of a file, and theirs does not count as ours.
        let read_back = match target {
            Target::File { .. } if !is_as_wanted => change.to.clone(),
            _ => found.clone(),
        };
        session.record(&[Record::Applied { n, read_back: read_back.clone() }]);
        session.entries[index].state = State::Applied { read_back };
        if is_as_wanted {
            ApplyResult::Match
        } else {
            ApplyResult::Clamped { got: target.foreign(found) }
        }
    }

    fn revert_where(&self, wanted: impl Fn(&Change) -> bool) -> Vec<Reverted> {
        let mut session = self.session();
        let mut reverted = Vec::new();
        let mut taker = Taker::new(&*self.0.host, None, Foreign::Leave).among(&session.entries);
        for index in (0..session.entries.len()).rev() {
            let entry = session.entries[index].clone();
            let ours = matches!(entry.state, State::Intended | State::Applied { .. });
            if !ours || !wanted(&entry.change) {
                continue;
            }
            let result = taker.take_back(&entry);
            session.record(result.record(entry.n).as_slice());
            if let Some(state) = result.state() {
                session.entries[index].state = state;
                session.stuck.remove(&entry.n);
            } else {
                session.stuck.insert(entry.n);
            }
            reverted.push(Reverted { change: entry.change, result });
        }
        reverted
    }
}

/// Whether a change may be written.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Write,
    Already,
    Refused(String),
}

impl Session {
    /// Appends records of what has happened. When that fails nothing more is changed: the intents on the disk
    /// are enough to take everything back, and a line behind a torn one would not be read.
    fn record(&mut self, records: &[Record]) {
        if self.ended.is_some() || records.is_empty() {
            return;
        }
        if let Some(Err(error)) = self.journal.as_mut().map(|journal| journal.append(records)) {
            self.ended = Some(error.told());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{self, Integrity};
    use super::*;
    use crate::host::tree::Tree;
    use jiff::Timestamp;
    use std::collections::BTreeMap;
    use tempfile::TempDir;

    const SWAP: &str = "/proc/sys/vm/swappiness";
    const HUGE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

    fn change(phase: &str, path: &str, from: &str, to: &str) -> Change {
        Change {
            phase: phase.to_owned(),
            target: Target::setting(path),
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    fn host() -> (Tree, TempDir) {
        let tree = Tree::new().file(SWAP, "60\n").file(HUGE, "madvise\n");
        (tree, tempfile::tempdir().unwrap())
    }

    fn applier(tree: &Tree, dir: &TempDir) -> Applier {
        Applier::new(tree.sysroot(), dir.path(), "r1", Clock::manual(Timestamp::UNIX_EPOCH))
    }

    fn results(applied: &[Applied]) -> Vec<&ApplyResult> {
        applied.iter().map(|applied| &applied.result).collect()
    }

    /// A host in memory that makes what it likes of a value.
    struct Willful(Mutex<BTreeMap<String, String>>, fn(&str) -> Result<String, &'static str>);

    impl Host for Willful {
        fn root(&self) -> String {
            "/".to_owned()
        }

        fn observe(&self, target: &Target) -> Observed {
            match self.0.lock().unwrap().get(&*target.name()) {
                Some(value) => Observed::Value(value.clone()),
                None => Observed::Unreadable("it does not answer".to_owned()),
            }
        }

        fn write(&self, target: &Target, value: &str) -> Result<(), WriteError> {
            let path = target.name();
            let made = (self.1)(value).map_err(|reason| WriteError::Refused {
                path: path.clone().into_owned(),
                value: value.to_owned(),
                reason: reason.to_owned(),
                source: std::io::Error::other(reason),
            })?;
            self.0.lock().unwrap().insert(path.into_owned(), made);
            Ok(())
        }
    }

    fn willful(dir: &TempDir, makes: fn(&str) -> Result<String, &'static str>) -> Applier {
        let values = BTreeMap::from([("/sys/x".to_owned(), "100".to_owned())]);
        let host = Box::new(Willful(Mutex::new(values), makes));
        Applier::on(host, None, dir.path(), "r1", Clock::manual(Timestamp::UNIX_EPOCH))
    }

    /// A host that looks into the journal whenever it is written to.
    struct Witness(PathBuf);

    impl Host for Witness {
        fn root(&self) -> String {
            "/".to_owned()
        }

        fn observe(&self, _: &Target) -> Observed {
            Observed::Value("old".to_owned())
        }

        fn write(&self, target: &Target, value: &str) -> Result<(), WriteError> {
            let known = journal::read(&self.0).unwrap();
            let intended =
                |entry: &Entry| entry.change.target == *target && entry.change.to == value;
            assert!(
                known.entries.iter().any(intended),
                "{} is written without an intent",
                target.name()
            );
            Ok(())
        }
    }

    #[test]
    fn the_intents_of_a_group_are_in_the_journal_before_the_host_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let host = Box::new(Witness(dir.path().join("r1.jsonl")));
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let applier = Applier::on(host, None, dir.path(), "r1", clock);
        let answers = applier
            .apply(&[change("a", "/sys/x", "old", "new"), change("a", "/sys/y", "old", "new")]);
        // This host ignores what is written to it, which is noticed.
        let ignored = ApplyResult::Clamped { got: "old".to_owned() };
        assert_eq!(results(&answers), [&ignored, &ignored]);
    }

    #[test]
    fn changes_are_applied_taken_back_by_phase_and_the_rest_is_kept() {
        let (tree, dir) = host();
        let applier = applier(&tree, &dir);
        let answers =
            applier.apply(&[change("a", SWAP, "60", "10"), change("b", HUGE, "madvise", "never")]);
        assert_eq!(results(&answers), [&ApplyResult::Match, &ApplyResult::Match]);
        assert_eq!((tree.get(SWAP), tree.get(HUGE)), ("10\n".to_owned(), "never\n".to_owned()));
        let reverted = applier.revert("b");
        assert_eq!(reverted[0].result, TakenBack::Restored { read_back: "madvise".to_owned() });
        assert_eq!(applier.revert("b"), []);
        applier.keep().unwrap();
        assert_eq!((tree.get(SWAP), tree.get(HUGE)), ("10\n".to_owned(), "madvise\n".to_owned()));
        let journal = journal::read(applier.journal()).unwrap();
        assert!(journal.closed && journal.integrity == Integrity::Whole);
        assert_eq!(journal.entries, applier.changes());
        let late = applier.apply(&[change("a", SWAP, "10", "20")]);
        assert!(matches!(late[0].result, ApplyResult::Refused { .. }), "{late:?}");
    }

    #[test]
    fn what_is_already_so_writes_nothing_not_even_a_journal() {
        let (tree, dir) = host();
        let applier = applier(&tree, &dir);
        let answers = applier.apply(&[change("a", SWAP, "60", " 60 ")]);
        assert_eq!(results(&answers), [&ApplyResult::Already]);
        applier.keep().unwrap();
        assert!(!applier.journal().exists());
    }

    #[test]
    fn what_somebody_else_has_set_meanwhile_is_refused_and_left() {
        let (tree, dir) = host();
        tree.put(SWAP, "30\n");
        let answers = applier(&tree, &dir).apply(&[change("a", SWAP, "60", "10")]);
        let ApplyResult::Refused { reason } = &answers[0].result else { panic!("{answers:?}") };
        assert!(reason.contains("was `60` when observed and is `30` now"), "{reason}");
        assert_eq!(tree.get(SWAP), "30\n");
    }

    #[test]
    fn missing_forbidden_and_doubled_targets_are_refused_and_do_not_stop_the_others() {
        let (tree, dir) = host();
        let applier = applier(&tree, &dir);
        let answers = applier.apply(&[
            change("a", "/sys/none", "0", "1"),
            change("a", "/etc/passwd", "0", "1"),
            change("a", SWAP, "60", "10"),
            change("a", SWAP, "60", "20"),
        ]);
        let refused: Vec<bool> = results(&answers)
            .into_iter()
            .map(|result| matches!(result, ApplyResult::Refused { .. }))
            .collect();
        assert_eq!(refused, [true, true, false, true]);
        assert_eq!(applier.changes().len(), 1);
    }

    #[test]
    fn a_setting_changed_twice_goes_back_to_its_first_value() {
        let (tree, dir) = host();
        let applier = applier(&tree, &dir);
        let _ = applier.apply(&[change("a", SWAP, "60", "10")]);
        let _ = applier.apply(&[change("b", SWAP, "10", "1")]);
        assert_eq!(applier.revert_all().len(), 2);
        assert_eq!(tree.get(SWAP), "60\n");
    }

    #[test]
    fn what_the_kernel_clamped_is_noticed_and_can_be_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let clamping = |value: &str| Ok(value.parse::<u32>().unwrap().min(150).to_string());
        let applier = willful(&dir, clamping);
        let answers = applier.apply(&[change("a", "/sys/x", "100", "200")]);
        assert_eq!(results(&answers), [&ApplyResult::Clamped { got: "150".to_owned() }]);
        let reverted = applier.revert("a");
        assert_eq!(reverted[0].result, TakenBack::Restored { read_back: "100".to_owned() });
    }

    #[test]
    fn what_the_kernel_refuses_is_recorded_and_needs_no_taking_back() {
        let dir = tempfile::tempdir().unwrap();
        let applier = willful(&dir, |_| Err("busy"));
        let answers = applier.apply(&[change("a", "/sys/x", "100", "200")]);
        let ApplyResult::Refused { reason } = &answers[0].result else { panic!("{answers:?}") };
        assert_eq!(reason, "could not write `200` to /sys/x: busy");
        assert_eq!(applier.revert("a"), []);
        applier.keep().unwrap();
    }

    #[test]
    fn a_change_that_can_not_be_taken_back_keeps_the_journal_open() {
        let dir = tempfile::tempdir().unwrap();
        let once = |value: &str| if value == "200" { Ok("200".to_owned()) } else { Err("busy") };
        let applier = willful(&dir, once);
        let _ = applier.apply(&[change("a", "/sys/x", "100", "200")]);
        assert!(matches!(applier.revert("a")[0].result, TakenBack::Failed { .. }));
        let error = applier.keep().unwrap_err().to_string();
        assert!(
            error.ends_with("/sys/x: 100 -> 200 could not be taken back; run `trueup rollback`"),
            "{error}"
        );
        assert!(!journal::read(applier.journal()).unwrap().closed);
    }

    /// A host on which a write does not return, and nothing can be told of the setting from then on.
    struct Hanging(std::sync::atomic::AtomicBool);

    impl Host for Hanging {
        fn root(&self) -> String {
            "/".to_owned()
        }

        fn observe(&self, _: &Target) -> Observed {
            if self.0.load(std::sync::atomic::Ordering::Relaxed) {
                Observed::Unreadable("a write has not returned".to_owned())
            } else {
                Observed::Value("100".to_owned())
            }
        }

        fn write(&self, _: &Target, _: &str) -> Result<(), WriteError> {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            Err(WriteError::Late("a write has not returned".to_owned()))
        }
    }

    #[test]
    fn a_write_that_does_not_return_is_neither_done_nor_refused_and_keeps_the_journal_open() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let applier = Applier::on(Box::new(Hanging(false.into())), None, dir.path(), "r1", clock);
        let answers = applier.apply(&[change("a", "/sys/x", "100", "200")]);
        let ApplyResult::Refused { reason } = &answers[0].result else { panic!("{answers:?}") };
        assert_eq!(reason, "a write has not returned");
        assert!(matches!(applier.revert("a")[0].result, TakenBack::Failed { .. }));
        let error = applier.keep().unwrap_err().to_string();
        assert!(error.contains("run `trueup rollback`"), "{error}");
        let journal = journal::read(applier.journal()).unwrap();
        assert_eq!((journal.closed, &journal.entries[0].state), (false, &State::Intended));
    }

    #[test]
    fn without_a_journal_nothing_is_changed() {
        let (tree, dir) = host();
        disk_file(&dir.path().join("blocked"));
        let applier = Applier::new(
            tree.sysroot(),
            &dir.path().join("blocked"),
            "r1",
            Clock::manual(Timestamp::UNIX_EPOCH),
        );
        let answers = applier.apply(&[change("a", SWAP, "60", "10")]);
        let ApplyResult::Refused { reason } = &answers[0].result else { panic!("{answers:?}") };
        assert!(
            reason.starts_with("nothing is changed without its intent on the disk"),
            "{reason}"
        );
        assert_eq!(tree.get(SWAP), "60\n");
    }

    #[test]
    fn the_journal_of_another_run_is_not_appended_to() {
        let (tree, dir) = host();
        disk_file(&dir.path().join("r1.jsonl"));
        let answers = applier(&tree, &dir).apply(&[change("a", SWAP, "60", "10")]);
        assert!(matches!(answers[0].result, ApplyResult::Refused { .. }), "{answers:?}");
        assert_eq!(tree.get(SWAP), "60\n");
    }

    fn disk_file(path: &Path) {
        crate::disk::replace(path, b"in the way").unwrap();
    }
}
