//! Less than all of what runs have changed is taken back, or by a copy of a journal: the rest stays as it was decided,
//! wherever that is killed.

use std::path::PathBuf;

use super::faults::{FILES, Host, change, cuts, former, options};
use super::journal::{self, Integrity};
use super::*;
use crate::disk;

/// A host on which `r1` has set all three settings, each in a phase of its own, and has ended or not.
fn changed(is_kept: bool) -> Host {
    let host = Host::new();
    let applier = host.applier_at("r1", 1);
    let _ = applier.apply(&[
        change(0, "60", "10"),
        change(1, "powersave", "performance"),
        change(2, "madvise", "never"),
    ]);
    if is_kept {
        applier.keep().unwrap();
    }
    host
}

fn path(host: &Host, run: &str) -> PathBuf {
    host.dir.path().join(format!("{run}.jsonl"))
}

fn back(host: &Host, scope: Scope) -> RollbackReport {
    let options = Options { scope, ..options(false) };
    rollback(&host.tree.sysroot(), &path(host, "r1"), &options).unwrap()
}

fn phases(names: &[&str]) -> Scope {
    Scope::Phases(names.iter().map(|&name| name.to_owned()).collect())
}

fn of_files(report: &RollbackReport) -> Vec<usize> {
    let file = |one: &Reverted| FILES.iter().position(|file| one.change.target.name() == *file);
    report.changes.iter().filter_map(file).collect()
}

fn state(host: &Host) -> JournalState {
    list(host.dir.path()).unwrap().remove(0).state
}

#[test]
fn of_a_run_that_was_kept_a_phase_is_taken_back_and_the_others_stay_kept() {
    let host = changed(true);
    let report = back(&host, phases(&["p0", "p2"]));
    assert_eq!((of_files(&report), report.is_complete()), (vec![2, 0], true));
    assert_eq!(host.values(), ["60", "performance", "madvise"].map(str::to_owned));
    assert_eq!(state(&host), JournalState::Kept);
    let written = disk::read_text(&path(&host, "r1"), 1 << 20).unwrap();
    assert_eq!(back(&host, phases(&["p0"])).changes, []);
    assert_eq!(back(&host, phases(&["p9"])).changes, []);
    assert_eq!(back(&host, Scope::Due).changes, []);
    assert_eq!(disk::read_text(&path(&host, "r1"), 1 << 20).unwrap(), written);
    assert_eq!(of_files(&back(&host, Scope::All)), [1]);
    assert_eq!(host.values(), former());
    assert_eq!(state(&host), JournalState::RolledBack);
}

#[test]
fn of_a_run_that_was_cut_off_the_other_phases_are_still_to_be_taken_back() {
    let host = changed(false);
    assert_eq!(of_files(&back(&host, phases(&["p1"]))), [1]);
    assert_eq!(state(&host), JournalState::Unfinished);
    assert_eq!(of_files(&back(&host, Scope::Due)), [2, 0]);
    assert_eq!(host.values(), former());
    assert_eq!(state(&host), JournalState::RolledBack);
}

#[test]
fn a_rollback_of_a_phase_that_was_killed_is_ended_by_the_next_run_and_touches_no_other_phase() {
    let host = changed(true);
    let before = disk::read_text(&path(&host, "r1"), 1 << 20).unwrap();
    back(&host, phases(&["p0"]));
    let after = disk::read_text(&path(&host, "r1"), 1 << 20).unwrap();
    for cut in cuts(&after).into_iter().filter(|cut| *cut > before.len()) {
        for current in ["10", "60"] {
            let told = format!("{}\nwith {current}", &after[before.len()..cut]);
            disk::replace(&path(&host, "r1"), &after.as_bytes()[..cut]).unwrap();
            host.set(&[current, "performance", "never"].map(str::to_owned));
            // Without its line break, the last record is whole all the same.
            let is_whole = |name: &str| {
                let mut lines = after[before.len()..].lines();
                let line = lines.find(|line| line.contains(name)).unwrap();
                after[..cut].contains(line)
            };
            let is_due = is_whole("\"resumed\"") && !is_whole("\"reverted\"");
            let wanted = if is_due { "60" } else { current };
            assert!(back(&host, Scope::Due).is_complete(), "{told}");
            assert_eq!(
                host.values(),
                [wanted, "performance", "never"].map(str::to_owned),
                "{told}"
            );
            let journal = journal::read(&path(&host, "r1")).unwrap();
            assert_eq!((journal.integrity, journal.partly), (Integrity::Whole, None), "{told}");
            assert_eq!(state(&host), JournalState::Kept, "{told}");
        }
    }
    host.set(&["60", "performance", "never"].map(str::to_owned));
    assert!(back(&host, Scope::All).is_complete());
    assert_eq!(host.values(), former());
}

#[test]
fn of_a_damaged_journal_a_phase_is_taken_back_and_the_rest_is_not_lost_with_its_name() {
    let host = changed(true);
    let text = disk::read_text(&path(&host, "r1"), 1 << 20).unwrap();
    let damaged = text.replacen("\"record\":\"kept\"", "\"record\":\"kepd\"", 1);
    disk::replace(&path(&host, "r1"), damaged.as_bytes()).unwrap();
    let report = back(&host, phases(&["p0"]));
    assert!(report.damaged && of_files(&report) == [0], "{report:?}");
    assert!(path(&host, "r1").exists());
    assert!(back(&host, Scope::All).damaged);
    assert_eq!(host.values(), former());
    assert!(!path(&host, "r1").exists());
}

#[test]
fn by_a_copy_a_run_is_taken_back_below_newer_ones_and_nothing_is_written_to_it() {
    let host = changed(true);
    let copy = host.dir.path().join("elsewhere/any-name");
    disk::create_dir_all(copy.parent().unwrap()).unwrap();
    disk::rename(&path(&host, "r1"), &copy).unwrap();
    let newer = host.applier_at("r2", 2);
    let _ = newer.apply(&[change(0, "10", "1")]);
    newer.keep().unwrap();
    let text = disk::read_text(&copy, 1 << 20).unwrap();
    let options = Options { copied_from: Some(host.dir.path().to_owned()), ..options(false) };
    let by_copy = || rollback(&host.tree.sysroot(), &copy, &options).unwrap();
    let report = by_copy();
    assert_eq!(report.run, "r1");
    assert!(report.notes[0].contains("is a copy"), "{report:?}");
    assert_eq!(report.changes[2].result, TakenBack::Handed { run: "r2".to_owned() });
    assert_eq!(host.values(), ["1", "powersave", "madvise"].map(str::to_owned));
    let script = script(&[&copy], &options).unwrap();
    assert!(script.contains("# run r2 has set it since"), "{script}");
    host.rollback_of("r2", false);
    assert_eq!(host.values(), former());
    assert!(by_copy().is_complete(), "again");
    assert_eq!(host.values(), former());
    assert_eq!(disk::read_text(&copy, 1 << 20).unwrap(), text);
    // Nor is it where it is damaged or torn.
    for cut in [10, text.len() / 2] {
        let damaged = format!("{}x{}", &text[..cut], &text[cut + 1..]);
        for other in [&text[..cut], &damaged] {
            disk::replace(&copy, other.as_bytes()).unwrap();
            let report = rollback(&host.tree.sysroot(), &copy, &options);
            assert!(!report.is_ok_and(|report| report.is_complete()), "{other}");
            assert_eq!(disk::read_text(&copy, 1 << 20).unwrap(), other);
        }
    }
}

#[test]
fn the_script_of_a_phase_has_its_changes_alone() {
    let host = changed(true);
    let options = Options { scope: phases(&["p1"]), ..options(false) };
    let text = script(&[&path(&host, "r1")], &options).unwrap();
    assert!(text.contains(FILES[1]) && !text.contains(FILES[0]), "{text}");
}
