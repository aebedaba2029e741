//! Going on where an earlier run stopped, and waiting for one that is at work.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;

use crate::house::{House, hears_signals, is_alive, wait_until};

/// The first phase counts how often it runs; the second fails until there is a file `ready`.
const PHASES: &str = "
  counts: { uses: command, with: { argv: [/bin/sh, -c, 'echo x >> count'] } }
  picky: { uses: command, needs: [counts], with: { argv: [/usr/bin/test, -e, ready] } }
  after: { uses: command, needs: [picky], with: { argv: [/bin/sh, -c, 'echo y >> after'] } }
";

#[test]
fn a_run_that_is_resumed_does_not_do_again_what_ended_well() {
    let house = House::with_phases(PHASES);
    house.trueup(&["run", "p.yaml"]).wanted(1);
    house.put("ready", "");
    house.trueup(&["run", "--resume", "--", "p.yaml"]).wanted(0);
    assert_eq!(house.get("count"), "x\n", "it ended well in the first run");
    assert_eq!(house.get("after"), "y\n");
    let counts = &house.report()["phases"]["counts"];
    assert_eq!(counts["status"], "SUCCESS");
    let reason = counts["reason"].as_str().unwrap();
    assert!(reason.starts_with("it ended well in run 2"), "{reason}");
    // A run of a run: what the second took over, a third takes over from it.
    house.trueup(&["run", "--resume", "--", "p.yaml"]).wanted(0);
    assert_eq!((house.get("count"), house.get("after")), ("x\n".to_owned(), "y\n".to_owned()));
}

#[test]
fn a_phase_that_is_told_something_else_is_done_again_and_so_is_all_that_needs_it() {
    let house = House::with_phases(PHASES);
    house.put("ready", "");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let changed = house.get("p.yaml").replace("echo x", "echo other");
    house.put("p.yaml", &changed);
    house.trueup(&["run", "--resume", "--", "p.yaml"]).wanted(0);
    assert_eq!(house.get("count"), "x\nother\n");
    assert_eq!(house.get("after"), "y\ny\n", "it was done with what the first had made before");
}

#[test]
fn a_program_that_has_changed_and_another_folder_are_something_else_as_well() {
    let house = House::new();
    let phases = "  build: { uses: command, with: { argv: [./build] } }\n  picky: { uses: command, needs: [build], with: { argv: [/usr/bin/test, -e, ready] } }\n";
    let make = |folder: &str, says: &str| {
        house.put(&format!("{folder}/p.yaml"), &format!("version: 1\nname: p\nphases:\n{phases}"));
        house.put(&format!("{folder}/build"), &format!("#!/bin/sh\necho {says} >> built\n"));
        let path = house.path(&format!("{folder}/build"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    make("one", "a");
    house.trueup(&["run", "one/p.yaml"]).wanted(1);
    house.trueup(&["run", "--resume", "--", "one/p.yaml"]).wanted(1);
    assert_eq!(house.get("one/built"), "a\n", "the same program in the same folder");
    make("one", "b");
    house.trueup(&["run", "--resume", "--", "one/p.yaml"]).wanted(1);
    assert_eq!(house.get("one/built"), "a\nb\n");
    make("two", "b");
    house.trueup(&["run", "--resume", "--", "two/p.yaml"]).wanted(1);
    assert_eq!(house.get("two/built"), "b\n", "what was built elsewhere is not here");
}

#[test]
fn what_always_runs_runs_again_and_what_it_may_have_cleaned_up_is_made_again() {
    let house = House::with_phases(
        "
  place: { uses: command, with: { argv: [/bin/sh, -c, 'mkdir place; echo x >> made'] } }
  picky: { uses: command, needs: [place], with: { argv: [/usr/bin/test, -e, ready] } }
  clean: { uses: command, needs: [picky], always: true, with: { argv: [/bin/rmdir, place] } }
",
    );
    house.trueup(&["run", "p.yaml"]).wanted(1);
    house.put("ready", "");
    house.trueup(&["run", "--resume", "--", "p.yaml"]).wanted(0);
    assert_eq!(house.get("made"), "x\nx\n");
    assert!(!house.path("place").exists());
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    let house = House::with_phases(
        "
  first: { uses: command, with: { argv: [/bin/sh, -c, 'echo x >> count'] } }
  slow: { uses: command, needs: [first], with: { argv: [/bin/sh, -c, 'test -e ready || { echo $$ > pid; exec sleep 60; }'] } }
",
    );
    let run = house.start(&["run", "p.yaml"]);
    let child = house.wait_for_number("pid");
    run.signal(Signal::SIGKILL);
    run.end();
    house.put("ready", "");
    house.trueup(&["run", "--resume", "--", "p.yaml"]).wanted(0);
    assert_eq!(house.get("count"), "x\n");
    // Killed, a run takes nobody with it; the test does.
    if is_alive(child) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGKILL).unwrap();
    }
}

#[test]
fn a_run_that_is_not_there_is_told() {
    let house = House::with_phases(PHASES);
    let ended = house.trueup(&["run", "p.yaml", "--resume", "20260101T000000Z-00000000"]).wanted(1);
    assert!(ended.stderr.contains("report list"), "{}", ended.stderr);
    assert!(house.runs().is_empty());
}

#[test]
fn a_run_of_another_pipeline_is_refused_with_both_names() {
    let house = House::with_phases(PHASES);
    house.trueup(&["run", "p.yaml"]).wanted(1);
    house.put("q.yaml", &house.get("p.yaml").replace("echo x", "echo other"));
    let refused = house.trueup(&["run", "q.yaml", "--resume"]).wanted(2).stderr;
    let refused = refused.replace('|', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    for told in ["run::resume", "`p` (p.yaml)", "`q` (q.yaml)"] {
        assert!(refused.contains(told), "{told}: {refused}");
    }
    assert_eq!(house.runs().len(), 1, "nothing was tried");
    // The same text elsewhere is the same pipeline.
    house.put("sub/moved.yaml", &house.get("p.yaml"));
    house.trueup(&["run", "sub/moved.yaml", "--resume"]).wanted(1);
    assert_eq!(house.get("count"), "x\n");
}

#[test]
fn without_a_pipeline_that_of_the_run_is_gone_on_with() {
    let house = House::with_phases(PHASES);
    house.trueup(&["run", "p.yaml"]).wanted(1);
    house.put("ready", "");
    house.trueup(&["run", "--resume"]).wanted(0);
    assert_eq!((house.get("count"), house.get("after")), ("x\n".to_owned(), "y\n".to_owned()));
    assert_eq!(house.report()["pipeline"]["file"], "p.yaml");
    std::fs::rename(house.path("p.yaml"), house.path("other.yaml")).unwrap();
    let gone = house.trueup(&["run", "--resume"]).wanted(2).stderr;
    assert!(gone.contains("run::resume") && gone.contains("trueup run PIPELINE"), "{gone}");
}

#[test]
fn a_file_in_place_of_a_run_is_told_with_the_right_form() {
    let house = House::with_phases(PHASES);
    house.trueup(&["run", "p.yaml"]).wanted(1);
    for (arguments, form) in [
        (&["run", "--resume", "p.yaml"][..], "`trueup run p.yaml --resume`"),
        (&["run", "p.yaml", "--resume", "missing.yml"], "`trueup run p.yaml --resume` goes on"),
    ] {
        let refused = house.trueup(arguments).wanted(2).stderr;
        let told = refused.replace('|', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("the name of a file, and --resume takes that of a run"), "{told}");
        assert!(told.contains(form), "{told}");
    }
    assert_eq!(house.runs().len(), 1);
}

#[test]
fn a_second_run_says_who_is_at_work_since_when_or_waits_for_it() {
    let house = House::with_phases(
        "  slow: { uses: command, with: { argv: [/bin/sh, -c, 'echo $$ > pid; until test -e go; do sleep 0.05; done'] } }\n",
    );
    house.put(
        "q.yaml",
        "version: 1\nphases:\n  quick: { uses: command, with: { argv: [/bin/true] } }\n",
    );
    let first = house.start(&["run", "p.yaml"]);
    house.wait_for_number("pid");
    let refused = house.trueup(&["run", "q.yaml"]).wanted(4);
    for part in ["20", "process ", "since 20", "--wait"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    house.trueup(&["run", "q.yaml", "--wait", "100ms"]).wanted(4);
    let mut waits = house.start(&["run", "q.yaml", "--wait", "60s"]);
    let stopped = house.start(&["run", "q.yaml", "--wait"]);
    wait_until("the two to wait", || {
        hears_signals(waits.child.id()) && hears_signals(stopped.child.id())
    });
    stopped.signal(Signal::SIGTERM);
    assert_eq!(stopped.end().code, 143);
    assert!(waits.child.try_wait().unwrap().is_none(), "it waits");
    house.put("go", "");
    first.end().wanted(0);
    let waited = waits.end().wanted(0).stderr;
    let told = "waiting for another run in this results folder to end: run 20";
    assert!(waited.starts_with(told) && waited.lines().count() == 1, "{waited}");
    assert_eq!(house.runs().len(), 2);
}
