//! Taking one change back: only what is still ours, verified by reading back.
//!
//! The decision is a pure function of the change, its state and the value found; a second call finds the
//! former value in place and does nothing. Both the end of a phase and a rollback after a kill go this way.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::host::Host;
use super::journal::{Entry, Record, State};
use super::model::{Change, Target};
use super::reboot::Reboot;
use crate::host::setting::Observed;

/// What became of a change that was to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "taken_back", rename_all = "snake_case")]
pub enum TakenBack {
    /// The former value was written, and read back.
    Restored {
        /// What was read back.
        read_back: String,
    },
    /// The former value was already there.
    AlreadyBack {
        /// What was found.
        found: String,
    },
    /// Somebody else has set another value since; it was left alone.
    Left {
        /// What was found.
        found: String,
    },
    /// This host does not have it now, so it was left alone. It may come back as it was left: a CPU that is offline does.
    Gone {
        /// What is not there.
        reason: String,
    },
    /// A later run has set it since. What was there before this change is what taking back that run restores.
    Handed {
        /// The later run.
        run: String,
    },
    /// The host was booted since, which took it back.
    Moot,
    /// Its process has ended, and so has the change.
    Ended {
        /// Which.
        reason: String,
    },
    /// It could not be taken back; the journal stays unfinished.
    Failed {
        /// Why.
        reason: String,
    },
}

impl TakenBack {
    /// The record of it; nothing for a failure, so that the next rollback tries again.
    pub(super) fn record(&self, n: u64) -> Option<Record> {
        match self.clone() {
            Self::Restored { read_back } | Self::AlreadyBack { found: read_back } => {
                Some(Record::Reverted { n, read_back })
            }
            Self::Left { found } | Self::Gone { reason: found } => Some(Record::Left { n, found }),
            Self::Handed { run } => Some(Record::Handed { n, run }),
            Self::Moot | Self::Ended { .. } => Some(Record::Moot { n }),
            Self::Failed { .. } => None,
        }
    }

    /// The state that it leaves the change in; nothing for a failure.
    pub(super) fn state(&self) -> Option<State> {
        match self.clone() {
            Self::Restored { read_back } | Self::AlreadyBack { found: read_back } => {
                Some(State::Reverted { read_back })
            }
            Self::Left { found } | Self::Gone { reason: found } => Some(State::Left { found }),
            Self::Handed { run } => Some(State::Handed { run }),
            Self::Moot | Self::Ended { .. } => Some(State::Moot),
            Self::Failed { .. } => None,
        }
    }
}

/// What to do about values that are not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    Leave,
    Overwrite,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Write,
    Leave,
}

fn step(entry: &Entry, current: &str, foreign: Foreign) -> Step {
    let change = &entry.change;
    let same = |one: &str, other: &str| change.target.same(one, other);
    if same(current, &change.from) {
        return Step::Nothing;
    }
    // In a tree of plain files a kill in the middle of a write of ours leaves an empty one. The kernel has no such moment.
    let torn =
        || current.is_empty() && ![&change.from, &change.to].iter().any(|value| value.is_empty());
    let inherited = || entry.inherited.iter().any(|former| same(current, former));
    let between = |read_back: Option<&str>| {
        let ours = [&*change.from, &change.to].into_iter().chain(read_back);
        let ours: Vec<&str> = ours.chain(entry.inherited.iter().map(String::as_str)).collect();
        change.target.is_between(current, &ours)
    };
    let ours = match &entry.state {
        State::Applied { read_back } | State::Kept { read_back } => {
            // A kernel may settle on the wanted value only after it was read back.
            let wanted = same(current, read_back) || same(current, &change.to);
            wanted || inherited() || torn() || between(Some(read_back))
        }
        State::Intended => same(current, &change.to) || inherited() || torn() || between(None),
        State::Failed { .. }
        | State::Reverted { .. }
        | State::Left { .. }
        | State::Handed { .. }
        | State::Moot => false,
    };
    if ours || foreign == Foreign::Overwrite { Step::Write } else { Step::Leave }
}

/// Takes changes back on a host, the latest first.
pub(super) struct Taker<'a> {
    host: &'a dyn Host,
    /// What the host being booted since took back, where it was.
    reboot: Option<Reboot>,
    foreign: Foreign,
    /// Targets of changes that could not be taken back. What lies below such a change is not on the host
    /// now, and must not be mistaken for somebody else's value.
    blocked: BTreeSet<Target>,
    /// The latest change of each target over which somebody else's value stands, and that value. What lies below such
    /// a change is left as well, whatever the value is: by force, they are all taken back in their order.
    left: BTreeMap<Target, (u64, String)>,
    /// The values of the run, former ones among them, that settings have which the kernel zeroes when another one is set.
    twins: BTreeMap<Target, Vec<String>>,
    /// The run whose changes they are, and the newer ones that may stand on them.
    run: &'a str,
    newer: Chain,
    /// What a person should know of what is back.
    notes: Vec<String>,
}

impl<'a> Taker<'a> {
    pub(super) fn new(host: &'a dyn Host, reboot: Option<Reboot>, foreign: Foreign) -> Self {
        Self {
            host,
            reboot,
            foreign,
            blocked: BTreeSet::new(),
            left: BTreeMap::new(),
            twins: BTreeMap::new(),
            run: "",
            newer: Chain::default(),
            notes: Vec::new(),
        }
    }

    /// The same with these changes of the run in mind: some may have been left before.
    pub(super) fn among(mut self, entries: &[Entry]) -> Self {
        for entry in entries {
            if entry.change.target.twin().is_some() {
                let Change { target, from, to, .. } = &entry.change;
                let ours = self.twins.entry(target.clone()).or_default();
                ours.extend([from, to].into_iter().chain(&entry.inherited).cloned());
            }
            if let State::Left { found } = &entry.state {
                self.left.insert(entry.change.target.clone(), (entry.n, found.clone()));
            }
        }
        self
    }

    /// The same for changes of `run`, on which those of newer runs may stand.
    pub(super) fn below(self, run: &'a str, newer: Chain) -> Self {
        Self { run, newer, ..self }
    }

    /// Takes one change back; the next one is to be earlier.
    pub(super) fn take_back(&mut self, entry: &Entry) -> TakenBack {
        let target = &entry.change.target;
        if self.reboot.as_ref().is_some_and(|reboot| reboot.takes_back(target)) {
            return TakenBack::Moot;
        }
        if self.blocked.contains(target) {
            let reason = format!("a later change of {} could not be taken back", target.name());
            return TakenBack::Failed { reason };
        }
        if let (Foreign::Leave, Some((later, found))) = (self.foreign, self.left.get(target))
            && *later > entry.n
        {
            return TakenBack::Left { found: found.clone() };
        }
        let result = self.restore(entry).unwrap_or_else(|reason| {
            self.blocked.insert(target.clone());
            TakenBack::Failed { reason }
        });
        if let TakenBack::Left { found } | TakenBack::Gone { reason: found } = &result {
            self.left.entry(target.clone()).or_insert_with(|| (entry.n, found.clone()));
        }
        result
    }

    /// What a person should know of what is back.
    pub(super) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn restore(&mut self, entry: &Entry) -> Result<TakenBack, String> {
        let Change { target, from, .. } = &entry.change;
        if let Some(reason) = target.forbidden() {
            return Err(reason);
        }
        if let Some(handed) = self.hand_over(entry)? {
            return Ok(handed);
        }
        let found = match self.host.look(target) {
            Observed::Value(found) => found,
            Observed::Absent(reason) if target.is_mortal() => {
                return Ok(TakenBack::Ended { reason });
            }
            Observed::Absent(reason) => return Ok(TakenBack::Gone { reason }),
            Observed::Unreadable(reason) => return Err(reason),
        };
        match step(entry, &found, self.foreign) {
            Step::Nothing => {
                self.host.tidy(target, from).map_err(|error| error.to_string())?;
                return Ok(TakenBack::AlreadyBack { found });
            }
            Step::Leave => return Ok(TakenBack::Left { found: target.foreign(found) }),
            Step::Write if self.zeroes_a_foreign_one(target) => {
                return Ok(TakenBack::Left { found });
            }
            Step::Write => {}
        }
        let written = self.host.write(target, from);
        let found = self.host.look(target);
        // It may have ended at this moment.
        if let (true, Observed::Absent(reason)) = (target.is_mortal(), &found) {
            return Ok(TakenBack::Ended { reason: reason.clone() });
        }
        written.map_err(|error| error.to_string())?;
        match found {
            Observed::Value(read_back) if target.same(&read_back, from) => {
                self.notes.extend(self.host.waits(target));
                Ok(TakenBack::Restored { read_back })
            }
            Observed::Value(other) => {
                let (name, other, from) = (target.name(), target.shown(&other), target.shown(from));
                Err(format!("{name} reads `{other}` after `{from}` was written"))
            }
            Observed::Absent(reason) | Observed::Unreadable(reason) => Err(reason),
        }
    }

    /// Whether writing a setting would make the kernel zero another one that somebody else has set since: theirs is what
    /// zeroed this one.
    fn zeroes_a_foreign_one(&self, target: &Target) -> bool {
        let Some(twin) = target.twin().filter(|_| self.foreign == Foreign::Leave) else {
            return false;
        };
        let Observed::Value(found) = self.host.look(&twin) else { return false };
        let ours = self.twins.get(&twin).into_iter().flatten();
        !twin.same(&found, "0") && !ours.into_iter().any(|value| twin.same(&found, value))
    }

    /// Where a newer run has set the same since, what it found takes the place of the host's value: it is the one
    /// that stands on this change. Nothing where there is none.
    fn hand_over(&mut self, entry: &Entry) -> Result<Option<TakenBack>, String> {
        let Change { target, from, .. } = &entry.change;
        let Some(above) = self.newer.on(target) else { return Ok(None) };
        let (run, found) = (above.run.to_owned(), above.from.to_owned());
        match step(entry, &found, self.foreign) {
            Step::Leave => return Ok(Some(TakenBack::Left { found: target.foreign(found) })),
            Step::Nothing => {}
            Step::Write => self.newer.rebase(target, from, self.run)?,
        }
        Ok(Some(TakenBack::Handed { run }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::WriteError;
    use super::*;
    use crate::host::attributes::attribute::Attribute;
    use crate::host::attributes::living::Living;

    fn entry(state: State) -> Entry {
        let change = Change {
            phase: "p".to_owned(),
            target: Target::setting("/sys/x"),
            from: "[a] b c".to_owned(),
            to: "b".to_owned(),
        };
        Entry { state, ..Entry::intended(0, change) }
    }

    #[test]
    fn only_what_is_still_ours_is_written() {
        let applied = || State::Applied { read_back: "clamped".to_owned() };
        let kept = || State::Kept { read_back: "clamped".to_owned() };
        for (state, current, expected) in [
            (State::Intended, "a", Step::Nothing),
            (State::Intended, "a [b] c", Step::Write),
            (State::Intended, "c", Step::Leave),
            (applied(), "a\n", Step::Nothing),
            (applied(), "clamped", Step::Write),
            (applied(), "b", Step::Write),
            (applied(), "c", Step::Leave),
            (kept(), "clamped", Step::Write),
            (kept(), "c", Step::Leave),
            (State::Left { found: "c".to_owned() }, "b", Step::Leave),
        ] {
            let entry = entry(state);
            assert_eq!(step(&entry, current, Foreign::Leave), expected, "{entry:?} {current}");
        }
        assert_eq!(step(&entry(applied()), "c", Foreign::Overwrite), Step::Write);
        assert_eq!(step(&entry(applied()), "a", Foreign::Overwrite), Step::Nothing);
    }

    /// A setting that takes no value any more.
    struct Stubborn;

    impl Host for Stubborn {
        fn root(&self) -> String {
            "/".to_owned()
        }

        fn observe(&self, _: &Target) -> Observed {
            Observed::Value("c".to_owned())
        }

        fn write(&self, target: &Target, value: &str) -> Result<(), WriteError> {
            Err(WriteError::Refused {
                path: target.name().into_owned(),
                value: value.to_owned(),
                reason: "busy".to_owned(),
                source: std::io::Error::other("busy"),
            })
        }
    }

    #[test]
    fn what_lies_below_a_change_that_stays_is_not_taken_for_another_ones_value() {
        let first = entry(State::Applied { read_back: "b".to_owned() });
        let mut second = entry(State::Applied { read_back: "c".to_owned() });
        second.change.from = "b".to_owned();
        second.change.to = "c".to_owned();
        let mut taker = Taker::new(&Stubborn, None, Foreign::Leave);
        for (entry, word) in [(second, "busy"), (first, "a later change of /sys/x")] {
            let TakenBack::Failed { reason } = taker.take_back(&entry) else { panic!("{entry:?}") };
            assert!(reason.contains(word), "{reason}");
        }
    }

    #[test]
    fn a_process_is_still_ours_where_some_threads_have_our_value_and_the_others_the_former() {
        let process = Living { pid: 42, started: 99 };
        let entry = |state| {
            let change = Change {
                phase: "p".to_owned(),
                target: Target::Process { process, attribute: Attribute::Nice },
                from: "0".to_owned(),
                to: "-5".to_owned(),
            };
            Entry { state, ..Entry::intended(0, change) }
        };
        let applied = || State::Applied { read_back: "-3 and 0".to_owned() };
        for (state, current, expected) in [
            (State::Intended, "0", Step::Nothing),
            (State::Intended, "-5 and 0", Step::Write),
            (State::Intended, "-5", Step::Write),
            (State::Intended, "-3", Step::Leave),
            (State::Intended, "-5 and 0 and 3", Step::Leave),
            (applied(), "-3 and 0", Step::Write),
            (applied(), "-5 and 0", Step::Write),
            (applied(), "7", Step::Leave),
        ] {
            let entry = entry(state);
            assert_eq!(step(&entry, current, Foreign::Leave), expected, "{entry:?} {current}");
        }
    }
}
