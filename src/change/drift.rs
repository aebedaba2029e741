//! Drift: are the changes that runs kept still in place?
//!
//! For each target the newest kept change counts; what a later run has set since is that run's. Nothing is written, and
//! why a value is another one is not known here.

use std::collections::HashMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::host::{Host as _, ThisHost, root_name};
use super::journal::State;
use super::journals::{JournalState, read_all};
use super::model::{Change, Target};
use crate::database::server::Logins;
use crate::disk::DiskError;
use crate::host::setting::Observed;
use crate::host::{Sysroot, facts};

/// Whether a kept change is still in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// It is.
    Match,
    /// Another value was found.
    Mismatch {
        /// The value.
        found: String,
        /// Whether the host was booted since, which took the change back; else somebody has set another value.
        rebooted: bool,
    },
    /// There is nothing to be in place: the setting is gone, or a later run has set it since.
    NotApplicable {
        /// Why.
        reason: String,
    },
    /// Nobody can tell.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// A kept change and whether it is still in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StandingChange {
    /// The run that kept it.
    pub run: String,
    /// The change.
    pub change: Change,
    /// What the host had made of it when it was kept; the wanted value, unless the kernel settled on another.
    pub kept: String,
    /// Whether it is in place.
    pub standing: Standing,
}

/// What was found out about the kept changes of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// The changes, those of the newest run first, each run's in the order in which they were made.
    pub changes: Vec<StandingChange>,
    /// Runs of which nobody can tell what they left, each with the reason and what is to be done.
    pub unknown: Vec<String>,
}

/// Looks at the changes that the runs of a folder of journals kept on the host below `root`: those of one run, or else
/// all. Journals of other roots are passed over.
///
/// # Errors
/// When the folder can't be read.
pub fn verify(
    root: &Sysroot,
    journal_dir: &Path,
    run: Option<&str>,
) -> Result<Verification, DiskError> {
    let (boot, here) = (facts::boot(root), root_name(root));
    let host = ThisHost::below(root.clone(), Logins::default());
    let mut owners: HashMap<Target, String> = HashMap::new();
    let mut found = Verification::default();
    for (summary, journal) in read_all(journal_dir)? {
        let asked = run.is_none_or(|run| run == summary.run);
        if let (true, Some(reason)) = (asked, unknown(&summary.state)) {
            found.unknown.push(format!("run {}: {reason}", summary.run));
        }
        let Some(journal) = journal else { continue };
        if journal.opened.is_none_or(|opened| opened.root != here) {
            continue;
        }
        let rebooted = facts::is_other_boot(summary.boot_id.as_deref(), boot.as_deref());
        let mut of_run = Vec::new();
        for entry in journal.entries.into_iter().rev() {
            let State::Kept { read_back } = entry.state else { continue };
            let target = &entry.change.target;
            let standing = match owners.get(target) {
                // A run may set one thing more than once; what it did last is what it left.
                Some(owner) if *owner == summary.run => continue,
                Some(owner) => {
                    let reason = format!("run {owner} has set it since");
                    Standing::NotApplicable { reason }
                }
                None => judge(target, host.look(target), &read_back, rebooted && target.volatile()),
            };
            owners.entry(target.clone()).or_insert_with(|| summary.run.clone());
            if asked {
                let (run, change, kept) = (summary.run.clone(), entry.change, read_back);
                of_run.push(StandingChange { run, change, kept, standing });
            }
        }
        found.changes.extend(of_run.into_iter().rev());
    }
    Ok(found)
}

/// Why nobody can tell what a run has left.
fn unknown(state: &JournalState) -> Option<String> {
    match state {
        JournalState::Unfinished => {
            let told = "it is still at work, or it or its rollback was cut off: `trueup rollback` takes it back then, \
                        and so does the next run";
            Some(told.to_owned())
        }
        JournalState::Unreadable { reason } => Some(reason.clone()),
        JournalState::Kept | JournalState::Left | JournalState::RolledBack => None,
    }
}

fn judge(target: &Target, found: Observed, kept: &str, rebooted: bool) -> Standing {
    match found {
        Observed::Value(found) if target.same(&found, kept) => Standing::Match,
        Observed::Value(found) => Standing::Mismatch { found: target.foreign(found), rebooted },
        Observed::Absent(reason) => Standing::NotApplicable { reason },
        Observed::Unreadable(reason) => Standing::Unreadable { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Applier;
    use crate::clock::Clock;
    use crate::host::tree::Tree;

    const A: &str = "/proc/sys/vm/a";
    const B: &str = "/proc/sys/vm/b";
    const BOOT: &str = "/proc/sys/kernel/random/boot_id";

    fn host() -> Tree {
        Tree::new().file(A, "1\n").file(B, "1\n").file(BOOT, "first\n")
    }

    /// A run that sets these, each from what it is now, and keeps them.
    fn run(tree: &Tree, dir: &Path, name: &str, settings: &[(&str, &str)]) {
        let applier = Applier::new(tree.sysroot(), dir, name, Clock::system());
        let changes: Vec<Change> = settings
            .iter()
            .map(|(path, to)| Change {
                phase: "p".to_owned(),
                target: Target::setting(*path),
                from: tree.get(path).trim().to_owned(),
                to: (*to).to_owned(),
            })
            .collect();
        let _ = applier.apply(&changes);
        applier.keep().unwrap();
    }

    fn standings(tree: &Tree, dir: &Path, run: Option<&str>) -> Vec<(String, Standing)> {
        let found = verify(&tree.sysroot(), dir, run).unwrap();
        assert_eq!(found.unknown, Vec::<String>::new());
        let told = |one: StandingChange| (one.change.target.name().into_owned(), one.standing);
        found.changes.into_iter().map(told).collect()
    }

    #[test]
    fn what_others_set_and_what_a_reboot_took_back_are_told_apart() {
        let (tree, dir) = (host(), tempfile::tempdir().unwrap());
        assert_eq!(standings(&tree, dir.path(), None), []);
        run(&tree, dir.path(), "r1", &[(A, "2"), (B, "2")]);
        let all = |b| vec![(A.to_owned(), Standing::Match), (B.to_owned(), b)];
        assert_eq!(standings(&tree, dir.path(), None), all(Standing::Match));
        let mismatch =
            |found: &str, rebooted| Standing::Mismatch { found: found.to_owned(), rebooted };
        let tree = tree.file(B, "3\n");
        assert_eq!(standings(&tree, dir.path(), None), all(mismatch("3", false)));
        let tree = tree.file(BOOT, "second\n");
        assert_eq!(standings(&tree, dir.path(), None), all(mismatch("3", true)));
    }

    #[test]
    fn of_two_runs_that_set_the_same_the_later_one_owns_it() {
        let (tree, dir) = (host(), tempfile::tempdir().unwrap());
        run(&tree, dir.path(), "r1", &[(A, "2"), (B, "2")]);
        run(&tree, dir.path(), "r2", &[(A, "3")]);
        let since = Standing::NotApplicable { reason: "run r2 has set it since".to_owned() };
        let (a, b) = (A.to_owned(), B.to_owned());
        let older = vec![(a.clone(), since), (b, Standing::Match)];
        assert_eq!(standings(&tree, dir.path(), Some("r1")), older);
        let newer = vec![(a, Standing::Match)];
        assert_eq!(standings(&tree, dir.path(), Some("r2")), newer);
        assert_eq!(standings(&tree, dir.path(), None), [newer, older].concat());
    }

    #[test]
    fn a_setting_that_is_gone_is_not_applicable_and_a_run_that_was_cut_off_is_unknown() {
        let (tree, dir) = (host(), tempfile::tempdir().unwrap());
        run(&tree, dir.path(), "r1", &[(A, "2")]);
        let gone = Tree::new().file(BOOT, "first\n");
        // Another root: its changes are not this host's.
        assert_eq!(standings(&gone, dir.path(), None), []);
        crate::disk::remove(&tree.sysroot().path(A).unwrap()).unwrap();
        let [(_, Standing::NotApplicable { .. })] = &standings(&tree, dir.path(), None)[..] else {
            panic!("{:?}", standings(&tree, dir.path(), None));
        };
        let cut = Applier::new(tree.sysroot(), dir.path(), "r2", Clock::system());
        let change = Change {
            phase: "p".to_owned(),
            target: Target::setting(B),
            from: "1".to_owned(),
            to: "2".to_owned(),
        };
        let _ = cut.apply(&[change]);
        let found = verify(&tree.sysroot(), dir.path(), None).unwrap();
        assert!(
            found.unknown[0]
                .starts_with("run r2: it is still at work, or it or its rollback was cut off"),
            "{found:?}"
        );
    }
}
