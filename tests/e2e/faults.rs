//! A run that is killed, or whose disk fails, at every single step: afterwards everything can still be taken back.
//!
//! The places are counted by the program itself (`src/fault.rs`), so that each is met, and none by chance: before and
//! after every record of the journal, in the middle of it, and around every write to the host.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::governor::{PHASES, bare_host};
use crate::house::{Ended, House, Running};

/// Frequency policies of the made-up host; with its swappiness, each is one change.
const POLICIES: usize = 40;

/// Errors that the disk, or the host, may answer a write with.
const ERRORS: [&str; 4] = ["eio", "eperm", "enospc", "erofs"];

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn host() -> (House, Files) {
    let house = House::in_memory();
    house.put("p.yaml", &format!("version: 1\nphases:\n{PHASES}"));
    bare_host(&house);
    for policy in 0..POLICIES {
        let file = |name: &str, content: &str| {
            let folder = "host/sys/devices/system/cpu/cpufreq";
            house.put(&format!("{folder}/policy{policy}/{name}"), content);
        };
        file("related_cpus", &format!("{policy}\n"));
        file("scaling_available_governors", "performance powersave\n");
        file("scaling_governor", "powersave\n");
    }
    // What the tree itself holds, without the folder that it is in for this case.
    let tree = tree(&house);
    (house, tree)
}

fn tree(house: &House) -> Files {
    let root = house.path("host");
    let inside = |path: PathBuf| path.strip_prefix(&root).unwrap().to_owned();
    house.tree("host").into_iter().map(|(path, content)| (inside(path), content)).collect()
}

/// Runs the program with a fault at the given place.
fn with_fault(house: &House, arguments: &[&str], fault: &str, place: usize) -> Ended {
    let mut command = house.command(arguments);
    command.env("TRUEUP_FAULT", format!("{fault}@{place}"));
    Running::start(command).end()
}

const RUN: [&str; 4] = ["run", "p.yaml", "--progress", "none"];
const ROLLBACK: [&str; 1] = ["rollback"];

/// What follows a fault and must restore the tree.
#[derive(Clone, Copy)]
enum Then {
    Rollback,
    /// The next run takes back what was cut off, and is itself taken back.
    NextRun,
}

fn restore(house: &House, before: &Files, then: Then, told: &str) {
    if matches!(then, Then::NextRun) {
        let ended = house.trueup(&RUN);
        assert_eq!(ended.code, 0, "{told}: the next run\n{}", ended.told());
    }
    let ended = house.trueup(&ROLLBACK);
    assert_eq!(ended.code, 0, "{told}: rollback\n{}", ended.told());
    if tree(house) != *before {
        let mut differ = String::new();
        for (path, content) in tree(house) {
            if before.get(&path) != Some(&content) {
                let content = String::from_utf8_lossy(&content);
                let _ = writeln!(differ, "{}: {content:?}", path.display());
            }
        }
        panic!("{told}: not restored\n{differ}\n{}", ended.told());
    }
}

/// How many places a command passes: at the first one beyond, it is not killed any more.
fn places(arguments: &[&str], prepare: impl Fn(&House)) -> usize {
    let survives = |place: usize| {
        let (house, _) = host();
        prepare(&house);
        with_fault(&house, arguments, "kill", place).code == 0
    };
    let (mut killed, mut alive) = (0, 1);
    while !survives(alive) {
        (killed, alive) = (alive, alive * 2);
    }
    while alive - killed > 1 {
        let middle = usize::midpoint(killed, alive);
        if survives(middle) {
            alive = middle;
        } else {
            killed = middle;
        }
    }
    killed
}

/// All cases, by as many threads as there are CPUs; answers how many there were.
fn each<C: Sync>(cases: &[C], check: impl Fn(&C) + Sync) -> usize {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    check(case);
                }
            });
        }
    });
    cases.len()
}

#[test]
fn whatever_happens_at_any_step_of_a_run_is_taken_back() {
    let all = places(&RUN, |_| {});
    // A record of all intents and one of each change, two places each; three around each write; the end.
    assert!(all >= 5 * POLICIES, "{all}");
    let faults = ["kill", "tear"].iter().chain(&ERRORS);
    let cases: Vec<(&str, usize)> =
        faults.flat_map(|fault| (1..=all).map(move |place| (*fault, place))).collect();
    let count = each(&cases, |&(fault, place)| {
        let (house, before) = host();
        let ended = with_fault(&house, &RUN, fault, place);
        let told = format!("{fault} at place {place} of {all} of a run");
        let expected = match fault {
            "kill" => ended.code == -9,
            "tear" => ended.code == -9 || ended.code == 0,
            // Whether a phase fails or is not applicable is told elsewhere; it must not panic, nor hang.
            _ => [0, 1].contains(&ended.code),
        };
        assert!(expected, "{told}: {}\n{}", ended.code, ended.told());
        let then = if place % 2 == 0 { Then::Rollback } else { Then::NextRun };
        restore(&house, &before, then, &told);
    });
    println!("{count} cases: {all} places of a run of {} changes, 6 faults", POLICIES + 1);
}

#[test]
fn whatever_happens_at_any_step_of_a_rollback_the_next_one_ends_it() {
    let ran = |house: &House| drop(house.trueup(&RUN).wanted(0));
    let all = places(&ROLLBACK, ran);
    assert!(all >= 5 * POLICIES, "{all}");
    let faults = ["kill", "tear"].iter().chain(&ERRORS);
    let cases: Vec<(&str, usize)> =
        faults.flat_map(|fault| (1..=all).map(move |place| (*fault, place))).collect();
    let count = each(&cases, |&(fault, place)| {
        let (house, before) = host();
        ran(&house);
        let ended = with_fault(&house, &ROLLBACK, fault, place);
        let told = format!("{fault} at place {place} of {all} of a rollback");
        assert!([-9, 0, 1].contains(&ended.code), "{told}: {}\n{}", ended.code, ended.told());
        restore(&house, &before, Then::Rollback, &told);
    });
    println!("{count} cases: {all} places of a rollback of {} changes, 6 faults", POLICIES + 1);
}

#[test]
fn two_runs_that_race_without_a_common_lock_are_both_taken_back() {
    for round in 0..10 {
        let (house, before) = host();
        let start = |arguments: &[&str], state: &str| {
            let mut command = house.command(&[]);
            command.args(arguments).args(["--sysroot", "host", "--results", state]);
            Running::start(command)
        };
        let (one, other) = (start(&RUN, "one"), start(&RUN, "other"));
        let codes = [one.end().code, other.end().code];
        assert!(codes.iter().all(|code| [0, 1].contains(code)), "{codes:?}");
        let order = if round % 2 == 0 { ["one", "other"] } else { ["other", "one"] };
        for name in order {
            let ended = start(&ROLLBACK, name).end();
            assert!([0, 5].contains(&ended.code), "{}", ended.told());
        }
        assert_eq!(tree(&house), before, "round {round}, {order:?}");
    }
}
