//! Runs that are killed: nothing that they changed is lost sight of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::governor::{PHASES, SWAPPINESS, host_with_policies};
use crate::house::{House, Running, is_alive, list, wait_until};

/// A host on which a run was killed after it had changed the settings; and the tree before.
fn killed() -> (House, BTreeMap<PathBuf, String>) {
    let house = House::with_phases(&format!(
        "{PHASES}  long:
    uses: command
    needs: [cpu_governor]
    with: {{ argv: [/bin/sh, -c, 'echo $$ > shell; test -e quick || exec sleep 600'] }}
"
    ));
    host_with_policies(&house);
    let before = trimmed(&house);
    let run = house.start(&["run", "p.yaml"]);
    let shell = house.wait_for_number("shell");
    assert_eq!(house.get(SWAPPINESS).trim(), "10");
    run.signal(Signal::SIGKILL);
    assert_eq!(run.end().code, -9);
    wait_until("the end of what the run had started", || !is_alive(shell));
    house.put("quick", "");
    (house, before)
}

fn trimmed(house: &House) -> BTreeMap<PathBuf, String> {
    let text = |content: Vec<u8>| String::from_utf8(content).unwrap().trim_end().to_owned();
    house.tree("host").into_iter().map(|(path, content)| (path, text(content))).collect()
}

#[test]
fn the_next_run_says_which_run_was_cut_off_takes_it_back_and_runs() {
    let (house, _) = killed();
    let cut_off = house.runs()[0].clone();
    let listed = house.trueup(&["report", "list"]).wanted(0);
    let line = listed.stdout.lines().find(|line| line.contains("CUT OFF")).unwrap();
    assert!(line.split_whitespace().any(|word| word.starts_with('>')), "at least so long: {line}");
    let show = || house.trueup(&["report", "show", &cut_off]).wanted(0).stdout;
    let last = house.events().pop().unwrap()["elapsed"].as_f64().unwrap();
    let told = format!("CUT OFF, last recorded after {last:.1} s: ");
    assert!(show().starts_with(&told), "{}", show());
    assert!(show().contains("3 settings of the host; not taken back yet"), "{}", show());
    let ended = house.trueup(&["run", "p.yaml"]).wanted(0);
    let by = format!("by run {}", house.runs()[1]);
    let told = show().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("settings of the host; taken back at 20") && told.contains(&by),
        "{told}"
    );
    assert!(ended.told().contains(&cut_off), "{}", ended.told());
    let report = house.report();
    let recovered = report["recovered"].as_array().unwrap();
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0]["cut_off"], cut_off.as_str());
    let changes = recovered[0]["changes"].as_object().unwrap();
    assert_eq!(changes["/proc/sys/vm/swappiness"], "taken back to 60");
    assert_eq!(changes.len(), 3);
    let own = list(&report["phases"]["cpu_governor"]["changes"]);
    let from_60 = own.iter().any(|change| change["from"] == "60" && change["to"] == "10");
    assert!(from_60, "the run after a crash starts from the former state: {own:?}");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.report()["recovered"].as_array().unwrap().len(), 0, "told once");
}

#[test]
fn rollback_after_a_kill_restores_the_exact_former_tree() {
    let (house, before) = killed();
    assert_ne!(trimmed(&house), before);
    house.trueup(&["rollback"]).wanted(0);
    assert_eq!(trimmed(&house), before);
}

#[test]
fn rollback_prints_a_script_that_does_the_same_and_touches_nothing_itself() {
    let (house, before) = killed();
    let changed = trimmed(&house);
    let script = house.trueup(&["rollback", "--print"]).wanted(0).stdout;
    assert_eq!(trimmed(&house), changed, "printing touches nothing");
    house.put("undo.sh", &script);
    assert_eq!(shell(&house, &["-n", "undo.sh"]).code, 0, "{script}");

    let ended = shell(&house, &["undo.sh"]);
    assert_eq!(ended.code, 0, "{}", ended.told());
    assert_eq!(trimmed(&house), before, "{}", ended.told());
}

fn shell(house: &House, arguments: &[&str]) -> crate::house::Ended {
    let mut command = std::process::Command::new("/bin/sh");
    let pipe = std::process::Stdio::piped;
    command.args(arguments).current_dir(house.path("")).stdout(pipe()).stderr(pipe());
    Running::start(command).end()
}

#[test]
fn a_journal_that_was_cut_in_the_middle_of_a_line_still_takes_back() {
    let (house, before) = killed();
    let run = house.runs()[0].clone();
    let journal = format!("results/journal/{run}.jsonl");
    let text = house.get(&journal);
    house.put(&journal, &text[..text.len() - 20]);
    house.trueup(&["rollback"]).wanted(0);
    assert_eq!(trimmed(&house), before);
}
