//! A run that is killed, or whose disk fails, at every single step: afterwards everything can still be taken back.
//!
//! The places are counted by the program itself (`src/fault.rs`), so that each is met, and none by chance: before and
//! after every record of the journal, in the middle of it, and around every step of every write to the host, be it a
//! setting or a configuration file with the folders above it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::governor::{PHASES, bare_host};
use crate::house::{Ended, House, Running};

/// Frequency policies of the made-up host; with its swappiness, each is one change.
const POLICIES: usize = 40;

/// What goes wrong; but for the first two, an error that the disk, or the host, answers a write with.
const FAULTS: [&str; 6] = ["kill", "tear", "eio", "eperm", "enospc", "erofs"];

/// What is in a tree: mode and content of a file, the mode of a folder.
type Files = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

/// A place with a pipeline and a made-up host, and how many changes a run of it makes.
#[derive(Clone, Copy)]
struct Subject {
    make: fn() -> House,
    name: &'static str,
    changes: usize,
}

const SETTINGS: Subject = Subject { make: with_settings, name: "settings", changes: POLICIES + 1 };
const CONFIG: Subject = Subject { make: with_files, name: "files", changes: 3 };

fn with_settings() -> House {
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
    house
}

/// One file is replaced, one is made beside others, and one with two folders above it.
fn with_files() -> House {
    let house = House::in_memory();
    house.put(
        "p.yaml",
        "version: 1\nphases:\n  \
         a: { uses: config_file, with: { path: /etc/security/limits.conf, text: \"ours\\n\" } }\n  \
         b: { uses: config_file, with: { path: /etc/sysctl.d/90-x.conf, text: \"vm.swappiness = 10\\n\" } }\n  \
         c: { uses: config_file, with: { path: /etc/systemd/system/x.service.d/10-x.conf, text: \"[Service]\\n\" } }\n",
    );
    bare_host(&house);
    house.put("host/etc/security/limits.conf", "theirs, of more than one line\n\nand no end");
    house.put("host/etc/sysctl.d/10-other.conf", "vm.swappiness = 60\n");
    house.put("host/etc/systemd/system.conf", "");
    let replaced = house.path("host/etc/security/limits.conf");
    fs::set_permissions(replaced, fs::Permissions::from_mode(0o664)).unwrap();
    house
}

/// What the tree itself holds, without the folder that it is in for this case.
fn tree(house: &House) -> Files {
    let root = house.path("host");
    let mut files = Files::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let of = path.symlink_metadata().unwrap();
            let content = of.is_file().then(|| fs::read(&path).unwrap());
            files.insert(
                path.strip_prefix(&root).unwrap().to_owned(),
                (of.permissions().mode(), content),
            );
            if of.is_dir() {
                open.push(path);
            }
        }
    }
    files
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
        let now = tree(house);
        for path in before.keys().chain(now.keys()) {
            if before.get(path) != now.get(path) {
                let content = now.get(path).map(|(mode, content)| {
                    (mode, content.as_ref().map(|bytes| String::from_utf8_lossy(bytes)))
                });
                let _ = writeln!(differ, "{}: {content:?}", path.display());
            }
        }
        panic!("{told}: not restored\n{differ}\n{}", ended.told());
    }
}

/// How many places a command passes: at the first one beyond, it is not killed any more.
fn places(subject: Subject, arguments: &[&str], prepare: impl Fn(&House)) -> usize {
    let survives = |place: usize| {
        let house = (subject.make)();
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

/// Every fault at every place.
fn cases(places: usize) -> Vec<(&'static str, usize)> {
    let at_every_place = |fault| (1..=places).map(move |place| (fault, place));
    FAULTS.into_iter().flat_map(at_every_place).collect()
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

/// Every fault at every place of a run of the subject; answers how many cases there were.
fn each_of_a_run(subject: Subject) -> String {
    let Subject { make, name, changes } = subject;
    let all = places(subject, &RUN, |_| {});
    // A record of all intents and one of each change, two places each; three around each write; the end.
    assert!(all >= 5 * changes, "{all}");
    let count = each(&cases(all), |&(fault, place)| {
        let house = make();
        let before = tree(&house);
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
    format!("{count} cases: {all} places of a run of {changes} changes of {name}, 6 faults")
}

/// Every fault at every place of a rollback of what a run of the subject has changed; answers how many cases
/// there were.
fn each_of_a_rollback(subject: Subject) -> String {
    let Subject { make, name, changes } = subject;
    let ran = |house: &House| drop(house.trueup(&RUN).wanted(0));
    let all = places(subject, &ROLLBACK, ran);
    assert!(all >= 5 * changes, "{all}");
    let count = each(&cases(all), |&(fault, place)| {
        let house = make();
        let before = tree(&house);
        ran(&house);
        let ended = with_fault(&house, &ROLLBACK, fault, place);
        let told = format!("{fault} at place {place} of {all} of a rollback");
        assert!([-9, 0, 1].contains(&ended.code), "{told}: {}\n{}", ended.code, ended.told());
        restore(&house, &before, Then::Rollback, &told);
    });
    format!("{count} cases: {all} places of a rollback of {changes} changes of {name}, 6 faults")
}

#[test]
fn whatever_happens_at_any_step_of_a_run_is_taken_back() {
    println!("{}", each_of_a_run(SETTINGS));
}

#[test]
fn whatever_happens_at_any_step_of_a_run_that_writes_files_is_taken_back() {
    println!("{}", each_of_a_run(CONFIG));
}

#[test]
fn whatever_happens_at_any_step_of_a_rollback_the_next_one_ends_it() {
    println!("{}", each_of_a_rollback(SETTINGS));
}

#[test]
fn whatever_happens_at_any_step_of_a_rollback_of_files_the_next_one_ends_it() {
    println!("{}", each_of_a_rollback(CONFIG));
}

#[test]
fn two_runs_that_race_without_a_common_lock_are_both_taken_back() {
    for (subject, rounds) in [(SETTINGS, 10), (CONFIG, 30)] {
        for round in 0..rounds {
            race(subject, round);
        }
    }
}

fn race(Subject { make, name, .. }: Subject, round: usize) {
    let house = make();
    let before = tree(&house);
    let start = |arguments: &[&str], state: &str| {
        let mut command = house.command(&[]);
        command.args(arguments).args(["--sysroot", "host", "--results", state]);
        Running::start(command)
    };
    let (one, other) = (start(&RUN, "one"), start(&RUN, "other"));
    let codes = [one.end().code, other.end().code];
    assert!(codes.iter().all(|code| [0, 1].contains(code)), "{codes:?}");
    let order = if round.is_multiple_of(2) { ["one", "other"] } else { ["other", "one"] };
    for state in order {
        let ended = start(&ROLLBACK, state).end();
        assert!([0, 5].contains(&ended.code), "{}", ended.told());
    }
    assert_eq!(tree(&house), before, "{name}, round {round}, {order:?}");
}
