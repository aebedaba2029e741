//! What a kill at any instant leaves, and what a rollback makes of it: the promise that everything can be
//! taken back, tested at every cut of the journal and for every state that the host can then be in.

use std::path::PathBuf;
use std::process::Command;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::journal::Integrity;
use super::*;
use crate::clock::Clock;
use crate::disk;
use crate::host::tree::Tree;

const BOOT: &str = "/proc/sys/kernel/random/boot_id";
pub(super) const FILES: [&str; 3] =
    ["/proc/sys/vm/swappiness", "/sys/a/scaling_governor", "/sys/kernel/mm/enabled"];
const FORMER: [&str; 3] = ["60", "powersave", "madvise"];

/// A host with three settings, and a folder for journals.
pub(super) struct Host {
    pub(super) tree: Tree,
    pub(super) dir: TempDir,
}

impl Host {
    pub(super) fn new() -> Self {
        let tree = Tree::new().file(BOOT, "b1\n");
        let host = Self { tree, dir: tempfile::tempdir().unwrap() };
        host.set(&FORMER.map(str::to_owned));
        host
    }

    pub(super) fn set(&self, values: &[String; 3]) {
        for (file, value) in FILES.iter().zip(values) {
            self.tree.put(file, &format!("{value}\n"));
        }
    }

    pub(super) fn values(&self) -> [String; 3] {
        FILES.map(|file| self.tree.get(file).trim_end_matches('\n').to_owned())
    }

    fn applier(&self, run: &str) -> Applier {
        self.applier_at(run, 0)
    }

    /// The applier of a run that begins at this second.
    pub(super) fn applier_at(&self, run: &str, second: i64) -> Applier {
        let clock = Clock::manual(Timestamp::from_second(second).unwrap());
        Applier::new(self.tree.sysroot(), self.dir.path(), run, clock)
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("r1.jsonl")
    }

    fn rollback(&self, force: bool) -> RollbackReport {
        self.rollback_of("r1", force)
    }

    pub(super) fn rollback_of(&self, run: &str, force: bool) -> RollbackReport {
        let journal = self.dir.path().join(format!("{run}.jsonl"));
        rollback(&self.tree.sysroot(), &journal, &options(force)).unwrap()
    }
}

pub(super) fn options(force: bool) -> Options {
    Options { force, ..Options::new(Timestamp::UNIX_EPOCH, "a test") }
}

pub(super) fn change(file: usize, from: &str, to: &str) -> Change {
    Change {
        phase: format!("p{file}"),
        target: Target::setting(FILES[file]),
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

pub(super) fn former() -> [String; 3] {
    FORMER.map(str::to_owned)
}

/// A run: groups of changes, then phases to be taken back, then whether it ends.
#[derive(Debug, Clone)]
struct Run {
    groups: Vec<Vec<(usize, String)>>,
    reverted: Vec<usize>,
    ends: bool,
}

impl Run {
    /// Makes the run on a host.
    fn make(&self, host: &Host) {
        let applier = host.applier("r1");
        for group in &self.groups {
            let now = host.values();
            let changes: Vec<Change> =
                group.iter().map(|(file, to)| change(*file, &now[*file], to)).collect();
            let _ = applier.apply(&changes);
        }
        for file in &self.reverted {
            let _ = applier.revert(&format!("p{file}"));
        }
        if self.ends {
            applier.keep().unwrap();
        }
    }
}

/// Every place at which the journal can have been cut: behind each record, and in the middle of each.
pub(super) fn cuts(journal: &str) -> Vec<usize> {
    let mut cuts = vec![0];
    for line in journal.split_inclusive('\n') {
        let start = cuts[cuts.len() - 1];
        cuts.push(start + line.len() / 2);
        cuts.push(start + line.len());
    }
    cuts
}

/// The values that a file can have when this is known of the run: the host may be one step ahead of the
/// journal, forward or backward.
fn possible(journal: &journal::Journal, file: usize) -> Vec<String> {
    let mut values = vec![FORMER[file].to_owned()];
    for entry in &journal.entries {
        if entry.change.target.name() != FILES[file] {
            continue;
        }
        match &entry.state {
            State::Intended => values.push(entry.change.to.clone()),
            State::Applied { read_back } => {
                values = vec![read_back.clone(), entry.change.from.clone()];
            }
            State::Kept { read_back } => values = vec![read_back.clone()],
            // The latest is taken back first: what is known of those before it holds.
            State::Reverted { .. } | State::Failed { .. } | State::Left { .. } => {}
            State::Handed { .. } | State::Moot => unreachable!("there is one run and one boot"),
        }
    }
    values
}

/// Kills the run at every cut of its journal, in every state that the host can then be in, and rolls back.
fn kill_everywhere(make: impl Fn(&Host)) {
    // The same tree throughout: a journal is of one root.
    let host = Host::new();
    make(&host);
    let Ok(whole) = disk::read_text(&host.journal(), 1 << 20) else {
        assert_eq!(host.values(), former(), "nothing was journaled, so nothing may be changed");
        return;
    };
    for cut in cuts(&whole) {
        disk::replace(&host.journal(), &whole.as_bytes()[..cut]).unwrap();
        let known = journal::read(&host.journal()).unwrap();
        let choices: Vec<Vec<String>> = (0..3).map(|file| possible(&known, file)).collect();
        for a in &choices[0] {
            for b in &choices[1] {
                for c in &choices[2] {
                    host.set(&[a.clone(), b.clone(), c.clone()]);
                    disk::replace(&host.journal(), &whole.as_bytes()[..cut]).unwrap();
                    let report = host.rollback(false);
                    let at = format!("cut at {cut} with {a} {b} {c}: {report:#?}");
                    assert!(report.is_complete(), "{at}");
                    assert_eq!(host.values(), former(), "{at}");
                    assert_eq!(
                        report.notes.iter().filter(|note| note.contains("damaged")).count(),
                        0
                    );
                    if host.journal().exists() {
                        assert_eq!(
                            host.rollback(false).changes,
                            [],
                            "a second one does nothing: {at}"
                        );
                        let again = journal::read(&host.journal()).unwrap();
                        assert!(again.closed && again.integrity == Integrity::Whole, "{at}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_kill_at_any_record_then_rollback_restores_the_tree() {
    let to = |file: usize, value: &str| (file, value.to_owned());
    let run = Run {
        groups: vec![
            vec![to(0, "10"), to(1, "performance")],
            vec![to(2, "never")],
            vec![to(0, "1")],
        ],
        reverted: vec![1],
        ends: true,
    };
    kill_everywhere(|host| run.make(host));
    let run = Run { groups: vec![vec![to(0, "10")]], reverted: vec![0], ends: false };
    kill_everywhere(|host| run.make(host));
}

#[test]
fn a_kill_at_any_record_of_a_phase_led_back_and_forth_then_rollback_restores_the_tree() {
    for ends_at in [Side::Former, Side::New] {
        kill_everywhere(|host| {
            let applier = host.applier("r1");
            let _ = applier.apply(&[
                change(0, "60", "10"),
                Change { phase: "p0".to_owned(), ..change(1, "powersave", "performance") },
            ]);
            let toggle = Toggle::of(&applier, "p0").unwrap();
            let toggle = toggle.to(Side::Former).unwrap().to(Side::New).unwrap();
            let _ = toggle.to(Side::Former).unwrap().to(ends_at).unwrap();
            applier.keep().unwrap();
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn whatever_a_run_changes_a_kill_at_any_record_then_rollback_restores_the_tree(
        groups in prop::collection::vec(
            prop::collection::vec((0_usize..3, "[a-c]{1,2}( [0-9]{1,2})?"), 1..3),
            0..3,
        ),
        reverted in prop::collection::vec(0_usize..3, 0..3),
        ends: bool,
    ) {
        let run = Run { groups, reverted, ends };
        kill_everywhere(|host| run.make(host));
    }
}

#[test]
fn a_kept_run_is_taken_back_on_demand_and_only_once() {
    let host = Host::new();
    let applier = host.applier("r1");
    let _ = applier.apply(&[change(0, "60", "10"), change(1, "powersave", "performance")]);
    applier.keep().unwrap();
    assert_eq!(list(host.dir.path()).unwrap()[0].state, JournalState::Kept);
    let report = host.rollback(false);
    let expected: Vec<_> =
        ["powersave", "60"].map(|value| TakenBack::Restored { read_back: value.to_owned() }).into();
    assert_eq!(report.changes.iter().map(|c| c.result.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(host.values(), former());
    let summary = &list(host.dir.path()).unwrap()[0];
    assert_eq!((&summary.state, summary.changes), (&JournalState::RolledBack, 2));
    let before = disk::read_text(&host.journal(), 1 << 20).unwrap();
    assert_eq!(host.rollback(false).changes, []);
    assert_eq!(disk::read_text(&host.journal(), 1 << 20).unwrap(), before);
}

#[test]
fn what_somebody_else_has_set_since_is_left_unless_forced() {
    let host = Host::new();
    let _ = host.applier("r1").apply(&[change(0, "60", "10"), change(2, "madvise", "never")]);
    host.tree.put(FILES[0], "30\n");
    let report = host.rollback(false);
    assert_eq!(report.changes[1].result, TakenBack::Left { found: "30".to_owned() });
    assert_eq!(host.values(), ["30", "powersave", "madvise"].map(str::to_owned));
    assert_eq!(host.rollback(false).changes, []);
    let forced = host.rollback(true);
    assert_eq!(forced.changes[0].result, TakenBack::Restored { read_back: "60".to_owned() });
    assert_eq!(host.values(), former());
}

#[test]
fn changes_of_another_boot_are_moot_and_not_replayed() {
    let host = Host::new();
    let _ = host.applier("r1").apply(&[change(0, "60", "10")]);
    // After the boot somebody wants, by chance, what the run wanted.
    host.tree.put(BOOT, "b2\n");
    let report = host.rollback(false);
    assert_eq!(report.changes[0].result, TakenBack::Moot);
    assert!(report.notes[0].contains("booted since"), "{:?}", report.notes);
    assert_eq!(host.values()[0], "10");
    assert_eq!(list(host.dir.path()).unwrap()[0].state, JournalState::RolledBack);
    assert_eq!(host.rollback(false).changes, []);
}

#[test]
fn a_journal_of_one_root_is_never_worked_off_on_another() {
    let (mine, other) = (Host::new(), Host::new());
    let _ = mine.applier("r1").apply(&[change(0, "60", "10")]);
    other.tree.put(FILES[0], "10\n");
    let refused = rollback(&other.tree.sysroot(), &mine.journal(), &options(true));
    assert!(matches!(refused, Err(RollbackError::OtherRoot { .. })), "{refused:?}");
    assert_eq!(other.tree.get(FILES[0]), "10\n");
    assert!(mine.rollback(false).is_complete());
    assert_eq!(mine.values(), former());
}

#[test]
fn a_journal_damaged_anywhere_is_not_told_as_done_and_never_deleted() {
    let host = Host::new();
    let _ = host.applier("r1").apply(&[change(0, "60", "10")]);
    let whole = disk::read_text(&host.journal(), 1 << 20).unwrap();
    for damaged in
        [whole.replacen("\"from\":\"60\"", "\"from\":\"99\"", 1), "a line of text\n".to_owned()]
    {
        host.set(&["10", FORMER[1], FORMER[2]].map(str::to_owned));
        disk::replace(&host.journal(), damaged.as_bytes()).unwrap();
        match rollback(&host.tree.sysroot(), &host.journal(), &options(false)) {
            Ok(report) => assert!(report.damaged && !report.is_complete(), "{report:?}"),
            Err(error) => assert!(matches!(error, RollbackError::Journal(_)), "{error}"),
        }
        let kept =
            host.journal().exists() || host.journal().with_extension("jsonl.corrupt").exists();
        assert!(kept, "{damaged}");
    }
}

#[test]
fn a_setting_that_is_gone_is_left_and_does_not_hinder_the_others() {
    let host = Host::new();
    let _ =
        host.applier("r1").apply(&[change(0, "60", "10"), change(1, "powersave", "performance")]);
    disk::remove(&host.tree.sysroot().path(FILES[1]).unwrap()).unwrap();
    let report = host.rollback(false);
    assert!(matches!(report.changes[0].result, TakenBack::Gone { .. }), "{report:?}");
    assert_eq!(host.tree.get(FILES[0]), "60\n");
    assert!(report.is_complete());
}

#[test]
fn a_failure_keeps_the_run_unfinished_until_a_later_try_succeeds() {
    let host = Host::new();
    let applier = host.applier("r1");
    let _ = applier.apply(&[change(0, "60", "10")]);
    let _ = applier.apply(&[change(0, "10", "1")]);
    let place = host.tree.sysroot().path(FILES[0]).unwrap();
    // A folder in the place of the file is there and can be neither read nor written.
    disk::remove(&place).unwrap();
    disk::create_dir_all(&place).unwrap();
    let report = host.rollback(false);
    assert!(!report.is_complete());
    assert!(
        report.changes.iter().all(|c| matches!(c.result, TakenBack::Failed { .. })),
        "{report:?}"
    );
    assert_eq!(list(host.dir.path()).unwrap()[0].state, JournalState::Unfinished);
    disk::remove_tree(&place).unwrap();
    host.tree.put(FILES[0], "1\n");
    assert!(host.rollback(false).is_complete());
    assert_eq!(host.values(), former());
}

#[test]
fn a_damaged_journal_is_worked_off_as_far_as_known_and_set_aside() {
    let host = Host::new();
    let applier = host.applier("r1");
    let _ = applier.apply(&[change(0, "60", "10")]);
    let _ = applier.apply(&[change(1, "powersave", "performance")]);
    let text = disk::read_text(&host.journal(), 1 << 20).unwrap();
    let damaged = text.replacen("\"n\":1", "\"n\":7", 1);
    assert_ne!(text, damaged);
    disk::replace(&host.journal(), damaged.as_bytes()).unwrap();
    let report = host.rollback(false);
    assert_eq!(host.values(), ["60", "performance", "madvise"].map(str::to_owned));
    assert!(report.notes[0].starts_with("line 4 of "), "{:?}", report.notes);
    assert_eq!(list(host.dir.path()).unwrap(), []);
    assert!(host.dir.path().join("r1.jsonl.corrupt").exists());
}

#[test]
fn a_journal_can_not_make_a_rollback_write_anywhere_else() {
    let host = Host::new();
    let _ = host.applier("r1").apply(&[change(0, "60", "10")]);
    host.tree.put("/etc/cron.d/x", "10\n");
    let mut text = String::new();
    for line in disk::read_text(&host.journal(), 1 << 20).unwrap().lines() {
        let body = line.rsplit_once(",\"sum\"").unwrap().0.replace(FILES[0], "/etc/cron.d/x") + "}";
        let sum = &blake3::hash(body.as_bytes()).to_hex()[..16];
        let body = body.strip_suffix('}').unwrap();
        text.extend([body, ",\"sum\":\"", sum, "\"}\n"]);
    }
    disk::replace(&host.journal(), text.as_bytes()).unwrap();
    let report = host.rollback(true);
    let TakenBack::Failed { reason } = &report.changes[0].result else { panic!("{report:?}") };
    assert!(reason.contains("is not a setting file"), "{reason}");
    assert_eq!(host.tree.get("/etc/cron.d/x"), "10\n");
}

#[test]
fn journals_are_listed_newest_first_with_what_became_of_each() {
    let host = Host::new();
    for (second, run) in [(1, "older"), (2, "newer")] {
        let applier = host.applier_at(run, second);
        let now = host.values();
        let _ = applier.apply(&[change(0, &now[0], run)]);
        if run == "older" {
            applier.keep().unwrap();
        }
    }
    disk::replace(&host.dir.path().join("odd.jsonl"), b"what\nis this\n").unwrap();
    let found: Vec<_> = list(host.dir.path())
        .unwrap()
        .into_iter()
        .map(|summary| (summary.run, summary.state, summary.boot_id.unwrap_or_default()))
        .collect();
    assert_eq!(found[0], ("newer".to_owned(), JournalState::Unfinished, "b1".to_owned()));
    assert_eq!(found[1], ("older".to_owned(), JournalState::Kept, "b1".to_owned()));
    assert!(matches!(found[2].1, JournalState::Unreadable { .. }), "{found:?}");
    assert_eq!(list(&host.dir.path().join("none")).unwrap(), []);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the script is run as a person would run it")]
fn the_script_takes_back_what_a_rollback_would() {
    let host = Host::new();
    let applier = host.applier("r1");
    let odd = "it's; $HOME `x`";
    let _ = applier.apply(&[
        change(0, "60", "10"),
        change(1, "powersave", odd),
        change(2, "madvise", "never"),
    ]);
    applier.keep().unwrap();
    host.tree.put(FILES[0], "30\n");
    host.tree.put(FILES[2], "always madvise [never]\n");
    let text = script(&[&host.journal()], &options(false)).unwrap();
    let run = || Command::new("/bin/sh").arg("-c").arg(&text).output().unwrap();
    let output = run();
    assert_eq!(output.status.code(), Some(5), "{output:?}\n{text}");
    assert_eq!(host.values(), ["30", "powersave", "madvise"].map(str::to_owned));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("left at 30, which somebody else has set"), "{said}");
    host.tree.put(FILES[0], "10\n");
    host.tree.put(BOOT, "b2\n");
    let output = run();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(host.values()[0], "10", "another boot: nothing is written");
}
