//! Leading the changes of one phase back and forth, so that the host can be measured with and without them.
//!
//! Every step goes through the applier and so through the journal: a run killed between two steps, or within one,
//! is taken back like any other. Values that are not as the last step left them were set by somebody else: that
//! ends it, and nothing is written over them. Which of the two states is better is not known here.

use super::apply::{Applier, ApplyResult, Reverted};
use super::journal::State;
use super::model::{Change, Target};
use super::take_back::TakenBack;
use crate::host::setting::Observed;

/// One of the two states that a host is led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// With the values that were there before.
    Former,
    /// With the values that the phase wants.
    New,
}

/// The host is not as it was left, or does not go where it is led; the reasons, one for each setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Disturbed(pub Vec<String>);

/// The changes of a phase that are in place, on their way between two states.
#[derive(Debug, Clone)]
pub struct Toggle {
    applier: Applier,
    phase: String,
    placed: Vec<Placed>,
    side: Side,
}

/// A change, and what the host made of it.
#[derive(Debug, Clone)]
struct Placed {
    change: Change,
    read_back: String,
}

impl Toggle {
    /// The changes of `phase` that are in place; nothing when there are none.
    #[must_use]
    pub fn of(applier: &Applier, phase: &str) -> Option<Self> {
        let placed: Vec<Placed> = applier
            .changes()
            .into_iter()
            .filter(|entry| entry.change.phase == phase)
            .filter_map(|entry| match entry.state {
                State::Applied { read_back } => Some(Placed { change: entry.change, read_back }),
                _ => None,
            })
            .collect();
        (!placed.is_empty()).then(|| Self {
            applier: applier.clone(),
            phase: phase.to_owned(),
            placed,
            side: Side::New,
        })
    }

    /// The changes.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.placed.iter().map(|placed| &placed.change)
    }

    /// Leads the host to `side`; where it is there already, looks whether it still is. Blocks.
    ///
    /// # Errors
    /// When somebody else has set a value in between, or the host refuses one. What is then still in place of the
    /// phase's changes is the applier's to take back.
    pub fn to(self, side: Side) -> Result<Self, Disturbed> {
        let wrong = match (self.side, side) {
            (Side::New, Side::Former) => self.back(),
            (Side::Former, Side::New) => self.forth(),
            (Side::New, Side::New) | (Side::Former, Side::Former) => self.look(),
        };
        if wrong.is_empty() { Ok(Self { side, ..self }) } else { Err(Disturbed(wrong)) }
    }

    fn back(&self) -> Vec<String> {
        let reverted = self.applier.revert(&self.phase);
        let of_ours = |one: &Reverted| {
            self.placed.iter().find(|placed| placed.change.target == one.change.target)
        };
        let wrong = |one: &Reverted| {
            let placed = of_ours(one)?;
            match &one.result {
                TakenBack::Restored { .. } | TakenBack::Moot => None,
                // What the host had not taken over looks as if it were back before it was taken back.
                TakenBack::AlreadyBack { .. }
                    if one.change.target.same(&placed.read_back, &one.change.from) =>
                {
                    None
                }
                TakenBack::AlreadyBack { found } | TakenBack::Left { found } => {
                    Some(by_somebody_else(&one.change.target, found, &placed.read_back))
                }
                TakenBack::Handed { run } => Some(format!("run {run} has set it since")),
                TakenBack::Gone { reason }
                | TakenBack::Ended { reason }
                | TakenBack::Failed { reason } => Some(reason.clone()),
            }
        };
        reverted.iter().filter_map(wrong).collect()
    }

    fn forth(&self) -> Vec<String> {
        let changes: Vec<Change> = self.changes().cloned().collect();
        let applied = self.applier.apply(&changes);
        let wrong = applied.into_iter().zip(&self.placed).filter_map(|(one, placed)| {
            let target = &one.change.target;
            match one.result {
                ApplyResult::Match | ApplyResult::Already => None,
                ApplyResult::Clamped { got } if target.same(&got, &placed.read_back) => None,
                ApplyResult::Clamped { got } => Some(format!(
                    "{} reads `{}` after `{}` was written, and read `{}` before",
                    target.name(),
                    target.shown(&got),
                    target.shown(&one.change.to),
                    target.shown(&placed.read_back)
                )),
                ApplyResult::Refused { reason } => Some(reason),
            }
        });
        wrong.collect()
    }

    fn look(&self) -> Vec<String> {
        let wrong = self.placed.iter().filter_map(|Placed { change, read_back }| {
            let target = &change.target;
            let left = if self.side == Side::New { read_back } else { &change.from };
            match self.applier.observe(target) {
                Observed::Value(found) if target.same(&found, left) => None,
                // A kernel may settle on the wanted value only after it was read back.
                Observed::Value(found)
                    if self.side == Side::New && target.same(&found, &change.to) =>
                {
                    None
                }
                Observed::Value(found) => Some(by_somebody_else(target, &found, left)),
                Observed::Absent(reason) | Observed::Unreadable(reason) => Some(reason),
            }
        });
        wrong.collect()
    }
}

fn by_somebody_else(target: &Target, found: &str, left: &str) -> String {
    let (name, left, found) = (target.name(), target.shown(left), target.shown(found));
    format!("{name} was left at `{left}` and is `{found}` now: somebody else has set it")
}

#[cfg(test)]
mod tests {
    use super::super::journal;
    use super::*;
    use crate::clock::Clock;
    use crate::host::tree::Tree;
    use jiff::Timestamp;
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

    /// A host on which phase `a` has changed two settings.
    fn changed() -> (Tree, TempDir, Applier, Toggle) {
        let tree = Tree::new().file(SWAP, "60\n").file(HUGE, "madvise\n");
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let applier = Applier::new(tree.sysroot(), dir.path(), "r1", clock);
        let _ =
            applier.apply(&[change("a", SWAP, "60", "10"), change("a", HUGE, "madvise", "never")]);
        let toggle = Toggle::of(&applier, "a").unwrap();
        (tree, dir, applier, toggle)
    }

    fn values(tree: &Tree) -> (String, String) {
        (tree.get(SWAP).trim().to_owned(), tree.get(HUGE).trim().to_owned())
    }

    fn pair(one: &str, other: &str) -> (String, String) {
        (one.to_owned(), other.to_owned())
    }

    #[test]
    fn a_phase_without_changes_in_place_has_nothing_to_be_led() {
        let (_tree, _dir, applier, _) = changed();
        assert!(Toggle::of(&applier, "b").is_none());
        let _ = applier.revert("a");
        assert!(Toggle::of(&applier, "a").is_none());
    }

    #[test]
    fn led_back_and_forth_and_kept_only_the_last_change_of_each_setting_is_in_place() {
        let (tree, _dir, applier, mut toggle) = changed();
        for _ in 0..3 {
            toggle = toggle.to(Side::Former).unwrap();
            assert_eq!(values(&tree), pair("60", "madvise"));
            toggle = toggle.to(Side::New).unwrap().to(Side::New).unwrap();
            assert_eq!(values(&tree), pair("10", "never"));
        }
        assert_eq!(toggle.changes().count(), 2);
        applier.keep().unwrap();
        let journal = journal::read(applier.journal()).unwrap();
        let kept = |entry: &&journal::Entry| matches!(entry.state, State::Kept { .. });
        let reverted = |entry: &&journal::Entry| matches!(entry.state, State::Reverted { .. });
        assert!(journal.closed);
        assert_eq!(journal.entries.len(), 8);
        assert_eq!(journal.entries[..6].iter().filter(reverted).count(), 6);
        assert_eq!(journal.entries[6..].iter().filter(kept).count(), 2);
    }

    #[test]
    fn led_back_for_good_the_journal_has_nothing_in_place() {
        let (tree, _dir, applier, toggle) = changed();
        let toggle = toggle.to(Side::Former).unwrap().to(Side::New).unwrap();
        let _ = toggle.to(Side::Former).unwrap().to(Side::Former).unwrap();
        applier.keep().unwrap();
        let journal = journal::read(applier.journal()).unwrap();
        assert!(journal.closed && !journal.entries.iter().any(journal::Entry::is_open));
        assert_eq!(values(&tree), pair("60", "madvise"));
    }

    #[test]
    fn what_somebody_else_sets_in_either_state_is_noticed_and_never_written_over() {
        for (rests, next) in [
            (Side::New, Side::Former),
            (Side::New, Side::New),
            (Side::Former, Side::New),
            (Side::Former, Side::Former),
        ] {
            let (tree, _dir, applier, toggle) = changed();
            let toggle = toggle.to(rests).unwrap();
            tree.put(SWAP, "33\n");
            let told = toggle.to(next).unwrap_err().to_string();
            assert!(told.contains(SWAP) && told.contains("`33` now"), "{told}");
            assert!(told.contains("somebody else has set it"), "{told}");
            let _ = applier.revert("a");
            assert_eq!(values(&tree), pair("33", "madvise"), "{rests:?} to {next:?}");
            applier.keep().unwrap();
        }
    }

    #[test]
    fn a_value_that_somebody_else_has_taken_back_is_noticed_as_well() {
        let (tree, _dir, _applier, toggle) = changed();
        tree.put(SWAP, "60\n");
        let told = toggle.to(Side::Former).unwrap_err().to_string();
        assert!(told.contains("left at `10` and is `60` now"), "{told}");
    }
}
