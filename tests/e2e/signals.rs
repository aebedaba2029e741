//! Runs that are told to stop, and runs that meet each other.

use nix::sys::signal::Signal;

use crate::governor::{PHASES, SWAPPINESS, host_with_policies};
use crate::house::{House, is_alive, wait_until};

const LONG: &str = "  long:
    uses: command
    needs: [cpu_governor]
    with: { argv: [/bin/sh, -c, 'echo $$ > shell; sleep 600 & echo $! > child; wait'] }
  after: { uses: command, needs: [long], with: { argv: [/bin/touch, reached] } }
";

fn house() -> House {
    let house = House::with_phases(&format!("{PHASES}{LONG}"));
    host_with_policies(&house);
    house
}

#[test]
fn a_signal_cancels_takes_back_ends_every_child_and_gives_its_own_exit_code() {
    let signals = [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
        (Signal::SIGQUIT, 131),
        (Signal::SIGUSR1, 138),
    ];
    for (signal, code) in signals {
        let house = house();
        let run = house.start(&["run", "p.yaml"]);
        let processes = [house.wait_for_number("shell"), house.wait_for_number("child")];
        assert_eq!(house.get(SWAPPINESS).trim(), "10");
        run.signal(signal);
        let ended = run.end().wanted(code);
        assert_eq!(house.get(SWAPPINESS).trim(), "60", "{}", ended.told());
        for pid in processes {
            assert!(!is_alive(pid), "process {pid} is left");
        }
        let report = house.report();
        assert_eq!(report["overall_status"], "CANCELLED");
        assert_eq!(report["signal"], signal.as_str());
        assert_eq!(house.outcomes()["long"], "CANCELLED");
        assert_eq!(house.outcomes()["after"], "CANCELLED");
        assert!(!house.path("reached").exists());
        let rollback = house.trueup(&["rollback"]).wanted(0);
        assert!(rollback.stdout.contains("nothing to take back"), "{}", rollback.stdout);
    }
}

#[test]
fn a_hang_up_that_was_ignored_when_the_run_began_stays_ignored() {
    let house = house();
    let run = house.start(&["run", "p.yaml", "--skip", "long,after"]);
    run.end().wanted(0);
    let mut command = std::process::Command::new("/bin/sh");
    let results = house.path("results").display().to_string();
    let script = "trap '' HUP; exec \"$@\"";
    command
        .current_dir(house.path(""))
        .args(["-c", script, "sh", crate::house::TRUEUP, "run", "p.yaml"])
        .args(["--sysroot", "host", "--results", &results, "--cache-dir", "cache"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let run = crate::house::Running::start(command);
    house.wait_for_number("child");
    run.signal(Signal::SIGHUP);
    run.signal(Signal::SIGTERM);
    // Had it heard the first, that would be its exit code.
    run.end().wanted(143);
}

#[test]
fn a_file_that_may_not_grow_is_an_error_of_the_disk_and_the_run_is_taken_back() {
    let house = House::with_phases(&format!(
        "{PHASES}  long:
    uses: command
    needs: [cpu_governor]
    with: {{ shell: true, argv: \"head -c 60000 /dev/zero | tr '\\\\0' x\" }}
"
    ));
    host_with_policies(&house);
    let mut command = std::process::Command::new("/bin/sh");
    command
        .current_dir(house.path(""))
        .args(["-c", "ulimit -f 32; exec \"$@\"", "sh", crate::house::TRUEUP, "run", "p.yaml"])
        .args(["--sysroot", "host", "--results", "results", "--cache-dir", "cache"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ended = crate::house::Running::start(command).end().wanted(1);
    assert!(ended.stderr.contains("run::state"), "{}", ended.told());
    assert!(ended.stderr.contains("what it had changed was taken"), "{}", ended.told());
    assert_eq!(house.get(SWAPPINESS).trim(), "60", "{}", ended.told());
    house.trueup(&["rollback"]).wanted(0);
    assert_eq!(house.get(SWAPPINESS).trim(), "60");
}

#[test]
fn a_run_whose_record_or_journal_is_removed_takes_back_what_it_changed_and_says_why() {
    for removed in [
        "rm -rf results",
        "rm -rf results; touch results",
        "rm results/journal/*",
        "rm results/runs/*/*",
    ] {
        let house = House::with_phases(&format!(
            "{PHASES}  gone: {{ uses: command, needs: [cpu_governor], with: {{ shell: true, argv: '{removed}' }} }}\n"
        ));
        host_with_policies(&house);
        let ended = house.trueup(&["run", "p.yaml", "--no-cache"]).wanted(1);
        assert_eq!(house.get(SWAPPINESS).trim(), "60", "{removed}: {}", ended.told());
        let told = ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in ["run::state", "what it had changed was taken back", "removed or replaced"] {
            assert!(told.contains(words), "{removed}: {told}");
        }
        assert!(!ended.stdout.contains("undo:"), "{}", ended.stdout);
    }
}

#[test]
fn a_run_whose_lock_file_is_removed_is_still_not_met_by_another() {
    let house = house();
    let first = house.start(&["run", "p.yaml"]);
    house.wait_for_number("child");
    std::fs::remove_file(house.path("results/lock")).unwrap();
    house.trueup(&["run", "p.yaml"]).wanted(4);
    house.trueup(&["rollback"]).wanted(4);
    assert_eq!(house.get(SWAPPINESS).trim(), "10", "the run at work is left alone");
    first.signal(Signal::SIGTERM);
    first.end().wanted(143);
    assert_eq!(house.get(SWAPPINESS).trim(), "60");
}

#[test]
fn too_few_open_files_are_an_error_and_nothing_is_done() {
    let house = house();
    let mut command = std::process::Command::new("/bin/sh");
    command
        .current_dir(house.path(""))
        .args(["-c", "ulimit -n 7; exec \"$@\"", "sh", crate::house::TRUEUP, "run", "p.yaml"])
        .args(["--sysroot", "host", "--results", "results", "--cache-dir", "cache"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ended = crate::house::Running::start(command).end().wanted(1);
    assert!(ended.stderr.contains("cli::runtime"), "{}", ended.told());
    assert!(!ended.stderr.contains("panicked"), "{}", ended.told());
    assert_eq!(house.get(SWAPPINESS).trim(), "60");
}

#[test]
fn a_second_run_is_refused_while_one_is_at_work_and_told_which() {
    let house = house();
    let first = house.start(&["run", "p.yaml"]);
    house.wait_for_number("child");
    let second = house.trueup(&["run", "p.yaml"]).wanted(4);
    assert!(second.stderr.contains(&house.runs()[0]), "{}", second.stderr);
    house.trueup(&["rollback"]).wanted(4);
    assert_eq!(house.get(SWAPPINESS).trim(), "10", "the run at work is left alone");
    assert_eq!(house.runs().len(), 1, "a run that was refused leaves no trace");
    first.signal(Signal::SIGTERM);
    first.end().wanted(143);
    house.trueup(&["run", "p.yaml", "--skip", "long,after"]).wanted(0);
}

#[test]
fn output_that_nobody_reads_does_not_stop_a_run() {
    let house =
        House::with_phases("  a: { uses: command, with: { argv: [/bin/touch, reached] } }\n");
    let mut command = house.command(&["run", "p.yaml"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut status = None;
    wait_until("the end of the run", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
    assert!(house.path("reached").exists());
    assert_eq!(house.report()["overall_status"], "SUCCESS");
}
