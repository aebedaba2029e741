//! Several runs that set the same, one over the other: whatever is taken back in which order, and wherever that is
//! killed, the host ends with the values from before the first of them.

use std::path::PathBuf;

use proptest::prelude::*;

use super::faults::{FILES, Host, change, cuts, former, options};
use super::journal::{self, Integrity};
use super::*;
use crate::disk;

/// A run in second `second` that sets a file to a value, and ends.
fn sets(host: &Host, run: &str, second: i64, (file, to): (usize, &str)) {
    let applier = host.applier_at(run, second);
    let now = host.values();
    let answers = applier.apply(&[change(file, &now[file], to)]);
    assert_eq!(answers[0].result, ApplyResult::Match);
    applier.keep().unwrap();
}

/// A host on which `r1`, `r2`, .. have set the swappiness to these values, one after the other.
fn set_by_runs(values: &[&str]) -> Host {
    let host = Host::new();
    for (at, value) in (1..).zip(values) {
        sets(&host, &format!("r{at}"), at, (0, value));
    }
    host
}

fn path(host: &Host, run: &str) -> PathBuf {
    host.dir.path().join(format!("{run}.jsonl"))
}

fn text(host: &Host, run: &str) -> String {
    disk::read_text(&path(host, run), 1 << 20).unwrap()
}

fn swappiness(host: &Host) -> String {
    host.values()[0].clone()
}

fn handed(run: &str) -> TakenBack {
    TakenBack::Handed { run: run.to_owned() }
}

fn restored(value: &str) -> TakenBack {
    TakenBack::Restored { read_back: value.to_owned() }
}

fn state(host: &Host, run: &str) -> JournalState {
    let journals = list(host.dir.path()).unwrap();
    journals.into_iter().find(|journal| journal.run == run).unwrap().state
}

#[test]
fn an_older_run_taken_back_hands_its_former_value_to_the_newer_one() {
    let host = set_by_runs(&["10", "1"]);
    let report = host.rollback_of("r1", false);
    assert_eq!((&report.changes[0].result, report.left()), (&handed("r2"), 0));
    assert_eq!(swappiness(&host), "1", "what the newer run has set stays");
    assert_eq!(state(&host, "r1"), JournalState::RolledBack);
    assert_eq!(
        state(&host, "r2"),
        JournalState::Kept,
        "the newer run is not taken for one that was cut off"
    );
    assert_eq!(host.rollback_of("r2", false).changes[0].result, restored("60"));
    assert_eq!(host.values(), former());
    for run in ["r1", "r2"] {
        assert_eq!(host.rollback_of(run, false).changes, []);
        assert_eq!(host.rollback_of(run, true).changes, []);
    }
}

#[test]
fn a_clock_that_is_set_back_between_two_runs_does_not_make_the_older_one_newer() {
    let host = Host::new();
    for (run, second, to) in [("r1", 500, "10"), ("r2", 3, "1"), ("r3", 2, "5")] {
        sets(&host, run, second, (0, to));
    }
    let runs: Vec<String> =
        list(host.dir.path()).unwrap().into_iter().map(|journal| journal.run).collect();
    assert_eq!(runs, ["r3", "r2", "r1"]);
    assert_eq!(host.rollback_of("r1", false).changes[0].result, handed("r2"));
    assert_eq!(host.rollback_of("r3", false).changes[0].result, restored("1"));
    assert_eq!(host.rollback_of("r2", false).changes[0].result, restored("60"));
}

#[test]
fn the_next_newer_run_is_handed_it_and_not_the_newest() {
    let host = set_by_runs(&["10", "1", "5"]);
    assert_eq!(host.rollback_of("r1", false).changes[0].result, handed("r2"));
    assert_eq!(host.rollback_of("r3", false).changes[0].result, restored("1"));
    assert_eq!(host.rollback_of("r2", false).changes[0].result, restored("60"));
}

#[test]
fn a_newer_run_that_set_the_first_value_again_does_not_bring_the_older_one_back() {
    let host = set_by_runs(&["10", "60"]);
    assert_eq!(host.rollback_of("r1", false).changes[0].result, handed("r2"));
    let report = host.rollback_of("r2", false);
    assert_eq!(report.changes[0].result, TakenBack::AlreadyBack { found: "60".to_owned() });
    assert_eq!(host.values(), former());
}

#[test]
fn what_somebody_else_had_set_between_two_runs_is_what_the_newer_one_restores() {
    for force in [false, true] {
        let host = set_by_runs(&["10"]);
        host.tree.put(FILES[0], "30\n");
        sets(&host, "r2", 2, (0, "10"));
        let expected =
            if force { handed("r2") } else { TakenBack::Left { found: "30".to_owned() } };
        assert_eq!(host.rollback_of("r1", force).changes[0].result, expected);
        assert_eq!(swappiness(&host), "10", "it is what the newer run has set");
        host.rollback_of("r2", false);
        assert_eq!(swappiness(&host), if force { "60" } else { "30" });
        host.rollback_of("r1", true);
        assert_eq!(host.values(), former());
    }
}

#[test]
fn what_was_left_alone_by_force_goes_back_to_the_first_value_in_any_order() {
    for order in [["r1", "r2"], ["r2", "r1"]] {
        let host = set_by_runs(&["10", "1"]);
        host.tree.put(FILES[0], "33\n");
        for run in order {
            assert!(host.rollback_of(run, false).is_complete());
        }
        assert_eq!(swappiness(&host), "33");
        assert_eq!(state(&host, "r2"), JournalState::Left);
        for run in order {
            host.rollback_of(run, true);
        }
        assert_eq!(host.values(), former(), "{order:?}");
    }
}

#[test]
fn a_newer_run_that_can_not_be_taken_back_keeps_the_first_value_for_its_next_try() {
    let host = set_by_runs(&["10", "1"]);
    let place = host.tree.sysroot().path(FILES[0]).unwrap();
    disk::remove(&place).unwrap();
    disk::create_dir_all(&place).unwrap();
    assert!(!host.rollback_of("r2", false).is_complete());
    assert_eq!(host.rollback_of("r1", false).changes[0].result, handed("r2"));
    disk::remove_tree(&place).unwrap();
    host.tree.put(FILES[0], "1\n");
    assert!(host.rollback_of("r2", false).is_complete());
    assert_eq!(host.values(), former());
}

#[test]
fn below_a_damaged_journal_nothing_is_handed_over_and_nothing_is_lost() {
    let host = set_by_runs(&["10", "1"]);
    let whole = text(&host, "r2");
    let damaged = whole.replacen("\"record\":\"kept\"", "\"record\":\"kepd\"", 1);
    disk::replace(&path(&host, "r2"), damaged.as_bytes()).unwrap();
    let report = host.rollback_of("r1", false);
    let TakenBack::Failed { reason } = &report.changes[0].result else { panic!("{report:?}") };
    assert!(reason.contains("trueup rollback r2"), "{reason}");
    assert_eq!(state(&host, "r1"), JournalState::Unfinished);
    host.rollback_of("r2", false);
    assert!(host.rollback_of("r1", false).is_complete());
    assert_eq!(host.values(), former());
}

#[test]
fn a_run_of_another_boot_or_another_root_is_handed_nothing() {
    let host = set_by_runs(&["10"]);
    let ours = text(&host, "r1");
    for (field, other) in
        [("\"boot_id\":\"b1\"", "\"boot_id\":\"b0\""), ("\"root\":\"", "\"root\":\"/else")]
    {
        host.tree.put(FILES[0], "10\n");
        let newer = resealed(
            &ours.replace("1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z").replacen(field, other, 1),
        );
        disk::replace(&path(&host, "r2"), newer.as_bytes()).unwrap();
        disk::replace(&path(&host, "r1"), ours.as_bytes()).unwrap();
        assert_eq!(host.rollback_of("r1", false).changes[0].result, restored("60"), "{other}");
        assert_eq!(text(&host, "r2"), newer);
    }
}

/// The records with their sums made anew.
fn resealed(text: &str) -> String {
    let line = |line: &str| {
        let body = line.rsplit_once(",\"sum\"").unwrap().0;
        let sum = blake3::hash(format!("{body}}}").as_bytes()).to_hex();
        format!("{body},\"sum\":\"{}\"}}\n", &sum[..16])
    };
    text.lines().map(line).collect()
}

/// Killed between any two steps of taking back the older run, and within any of them, whatever is done then: the first
/// values come back. What is awaited to be on the disk is there before the next step.
#[test]
fn a_kill_at_any_step_of_handing_over_loses_nothing() {
    let host = Host::new();
    for (second, run, to) in [(1, "r1", ["10", "performance"]), (2, "r2", ["1", "ondemand"])] {
        let applier = host.applier_at(run, second);
        let now = host.values();
        let _ = applier.apply(&[change(0, &now[0], to[0]), change(1, &now[1], to[1])]);
        applier.keep().unwrap();
    }
    let (values, before) = (host.values(), ["r1", "r2"].map(|run| text(&host, run)));
    host.rollback_of("r1", false);
    let after = ["r1", "r2"].map(|run| text(&host, run));
    let handed_in = |older: &str| older.matches("{\"record\":\"handed\"").count();
    let mut tried = 0;
    for older in later_cuts(&before[0], &after[0]) {
        for newer in later_cuts(&before[1], &after[1]) {
            let rebased =
                newer.matches("\"rebased\"").count() - usize::from(!newer.ends_with('\n'));
            if handed_in(older) > rebased {
                continue;
            }
            for order in [["r1", "r2"], ["r2", "r1"]] {
                host.set(&values);
                disk::replace(&path(&host, "r1"), older.as_bytes()).unwrap();
                disk::replace(&path(&host, "r2"), newer.as_bytes()).unwrap();
                let reports = order.map(|run| host.rollback_of(run, false));
                let at = format!("{older}\n{newer}\n{order:?}\n{reports:#?}");
                assert!(reports.iter().all(RollbackReport::is_complete), "{at}");
                assert_eq!(host.values(), former(), "{at}");
                for run in order {
                    let journal = journal::read(&path(&host, run)).unwrap();
                    assert!(journal.closed && journal.integrity == Integrity::Whole, "{at}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried >= 50, "{tried}");
}

/// What a journal can have been cut to while this was appended to it.
fn later_cuts<'a>(before: &str, after: &'a str) -> Vec<&'a str> {
    let at_least = |cut: &usize| *cut >= before.len();
    cuts(after).into_iter().filter(at_least).map(|cut| &after[..cut]).collect()
}

/// A run of a property: what it sets, and whether it comes to its end.
type Run = (Vec<(usize, String)>, bool);

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_runs_set_and_in_whatever_order_they_are_taken_back_the_first_values_return(
        runs in prop::collection::vec(
            (prop::collection::vec((0_usize..3, "[a-c]"), 1..4), any::<bool>()), 1..5,
        ),
        order in Just((0..4).collect::<Vec<usize>>()).prop_shuffle(),
        kills in prop::collection::vec(0.0_f64..1.0, 4),
    ) {
        let host = Host::new();
        make(&host, &runs, |_| ());
        for (at, kill) in order.iter().filter(|at| **at < runs.len()).zip(kills) {
            let run = format!("r{at}");
            if !path(&host, &run).exists() {
                continue;
            }
            let before = text(&host, &run);
            host.rollback_of(&run, false);
            // The same once more, as if it had been killed before its last two records were whole on the disk.
            let after = text(&host, &run);
            let ends: Vec<usize> = after.match_indices('\n').map(|(at, _)| at + 1).collect();
            let known = ends[ends.len().saturating_sub(3)].max(before.len());
            let cut = known + ((after.len() - known) as f64 * kill) as usize;
            disk::replace(&path(&host, &run), &after.as_bytes()[..cut]).unwrap();
            host.rollback_of(&run, false);
        }
        prop_assert_eq!(host.values(), former());
    }

    #[test]
    fn whatever_somebody_else_has_set_over_the_runs_force_brings_the_first_values_back(
        runs in prop::collection::vec(
            (prop::collection::vec((0_usize..3, "[a-c]"), 1..4), any::<bool>()), 1..5,
        ),
        others in prop::collection::vec((0_usize..5, 0_usize..3, "[a-e]"), 1..4),
        order in Just((0..4).collect::<Vec<usize>>()).prop_shuffle(),
        forced in prop::collection::vec(any::<bool>(), 4),
    ) {
        let host = Host::new();
        // Somebody else sets what a run has set before, after that run or a later one.
        make(&host, &runs, |at| {
            for (_, file, value) in others.iter().filter(|(after, ..)| *after == at) {
                let set_before = runs[..=at].iter().flat_map(|(settings, _)| settings).any(|(set, _)| set == file);
                if set_before {
                    host.tree.put(FILES[*file], &format!("{value}\n"));
                }
            }
        });
        let there = |run: &String| path(&host, run).exists();
        for (at, force) in order.iter().zip(forced) {
            let run = format!("r{at}");
            if there(&run) {
                host.rollback_of(&run, force);
            }
        }
        for run in (0..runs.len()).rev().map(|at| format!("r{at}")).filter(there) {
            host.rollback_of(&run, true);
        }
        prop_assert_eq!(host.values(), former());
    }
}

/// Makes the runs, one after the other, and something between them; one without an end is taken as it is by those after.
fn make(host: &Host, runs: &[Run], then: impl Fn(usize)) {
    for (second, (at, (settings, ends))) in (1..).zip(runs.iter().enumerate()) {
        let applier = host.applier_at(&format!("r{at}"), second);
        for (file, to) in settings {
            let now = host.values();
            let _ = applier.apply(&[change(*file, &now[*file], to)]);
        }
        if *ends {
            applier.keep().unwrap();
        }
        then(at);
    }
}

#[test]
fn the_script_of_all_runs_takes_back_one_after_the_other() {
    let host = set_by_runs(&["10", "1"]);
    sets(&host, "r3", 3, (1, "performance"));
    let paths = ["r3", "r2", "r1"].map(|run| path(&host, run));
    let paths = paths.each_ref().map(PathBuf::as_path);
    let text = script(&paths, &options(false)).unwrap();
    for once in ["'1' '->' '10'", "'10' '->' '60'", "'performance' '->' 'powersave'"] {
        assert_eq!(text.matches(once).count(), 1, "{once}: {text}");
    }
    assert_eq!(run_script(&text), 0);
    assert_eq!(host.values(), former());
}

#[test]
fn the_script_of_an_older_run_leaves_what_a_newer_one_has_set() {
    let host = set_by_runs(&["10"]);
    host.tree.put(FILES[0], "30\n");
    sets(&host, "r2", 2, (0, "10"));
    let text = script(&[&path(&host, "r1")], &options(true)).unwrap();
    assert!(text.contains("# run r2 has set it since, and comes first"), "{text}");
    assert_eq!(run_script(&text), 0);
    assert_eq!(swappiness(&host), "10");
}

#[test]
fn a_script_by_force_writes_over_what_somebody_else_has_set() {
    let host = set_by_runs(&["10"]);
    host.tree.put(FILES[0], "33\n");
    host.rollback_of("r1", false);
    assert_eq!(
        run_script(&script(&[&path(&host, "r1")], &options(false)).unwrap()),
        0,
        "it was left before"
    );
    assert_eq!(swappiness(&host), "33");
    assert_eq!(run_script(&script(&[&path(&host, "r1")], &options(true)).unwrap()), 0);
    assert_eq!(host.values(), former());
}

#[expect(clippy::disallowed_methods, reason = "the script is run as a person would run it")]
fn run_script(text: &str) -> i32 {
    let output = std::process::Command::new("/bin/sh").arg("-c").arg(text).output().unwrap();
    output.status.code().unwrap()
}
