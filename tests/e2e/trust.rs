//! Files that others than root could have written, where the program is root.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use crate::house::{Ended, House, Running, list};

const NOBODY: u32 = 65_534;

const PHASES: &str = "  a: { uses: command, with: { argv: [/usr/bin/touch, done] } }\n";

const SUITE: &str = "version: 1\nchecks: [{ name: one, command: { argv: [/bin/true] } }]\n";

fn mode(house: &House, path: &str, mode: u32) {
    fs::set_permissions(house.path(path), fs::Permissions::from_mode(mode)).unwrap();
}

/// What nobody but root is asked for can't be tested by anybody else, but that it is not.
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn refused(ended: &Ended, house: &House, doubt: &str) {
    assert!(ended.told().contains("run::untrusted"), "{}", ended.told());
    // Lines are broken where they are long.
    let told: String = ended.told().split_whitespace().filter(|word| *word != "|").collect();
    let doubt: String = doubt.split_whitespace().collect();
    assert!(told.contains(&doubt), "{doubt} is not in\n{}", ended.told());
    assert!(told.contains("--trust-pipeline"), "{}", ended.told());
    assert!(!house.path("done").exists() && house.runs().is_empty());
}

#[test]
fn root_does_not_run_a_pipeline_that_others_could_write_unless_told_to_and_the_report_says_so() {
    let house = House::with_phases(PHASES);
    mode(&house, "p.yaml", 0o646);
    if !is_root() {
        house.trueup(&["run", "p.yaml"]).wanted(0);
        return;
    }
    let ended = house.trueup(&["run", "p.yaml"]).wanted(2);
    refused(&ended, &house, "everybody may write to ");
    for looking in [&["plan", "p.yaml"][..], &["run", "p.yaml", "--dry-run"]] {
        let ended = house.trueup(looking).wanted(0);
        assert!(ended.stderr.contains("run::untrusted"), "{}", ended.told());
    }
    let ended = house.trueup(&["check", "p.yaml"]).wanted(0);
    assert!(!ended.told().contains("run::untrusted"), "{}", ended.told());
    let ended = house.trueup(&["run", "p.yaml", "--trust-pipeline"]).wanted(0);
    assert!(ended.stderr.contains("run::untrusted"), "{}", ended.told());
    let notes = list(&house.report()["notes"]);
    let note = notes[0].as_str().unwrap();
    assert!(note.contains("--trust-pipeline") && note.contains("everybody may write"), "{note}");
    mode(&house, "p.yaml", 0o644);
    house.trueup(&["run", "p.yaml", "--trust-pipeline"]).wanted(0);
    assert!(list(&house.report()["notes"]).is_empty());
}

#[test]
fn root_keeps_no_state_where_others_could_write_and_follows_no_link_in_place_of_a_file_of_its_own()
{
    let house = House::with_phases(PHASES);
    house.put("victim", "important\n");
    for folder in ["results", "cache"] {
        fs::create_dir(house.path(folder)).unwrap();
        std::os::unix::fs::symlink("../victim", house.path(&format!("{folder}/lock"))).unwrap();
    }
    house.trueup(&["run", "p.yaml"]).wanted(1);
    assert_eq!(house.get("victim"), "important\n");
    for folder in ["results", "cache"] {
        fs::remove_file(house.path(&format!("{folder}/lock"))).unwrap();
        if is_root() {
            mode(&house, folder, 0o777);
            let ended = house.trueup(&["run", "p.yaml"]).wanted(2);
            refused(&ended, &house, "where root keeps state: everybody may write to ");
            mode(&house, folder, 0o755);
        }
    }
    house.trueup(&["run", "p.yaml"]).wanted(0);
}

#[test]
fn a_folder_above_an_extended_file_a_suite_and_the_file_of_a_plan_are_looked_at_as_well() {
    if !is_root() {
        return;
    }
    let house =
        House::with_phases("  b: { uses: integration_tests, with: { suite: suites/s.yaml } }\n");
    house.put("bases/base.yaml", &format!("version: 1\nphases:\n{PHASES}"));
    house.put("p.yaml", &format!("extends: bases/base.yaml\n{}", house.get("p.yaml")));
    house.put("suites/s.yaml", SUITE);
    house.trueup(&["plan", "p.yaml", "-o", "plan.json"]).wanted(0);
    for (path, arguments) in [
        ("bases", &["run", "p.yaml"][..]),
        ("suites/s.yaml", &["run", "p.yaml"]),
        ("bases", &["run", "--plan", "plan.json"]),
        ("plan.json", &["run", "--plan", "plan.json"]),
    ] {
        let before = fs::metadata(house.path(path)).unwrap().permissions().mode();
        mode(&house, path, before | 0o002);
        let place = house.path(path).display().to_string();
        let ended = house.trueup(arguments).wanted(2);
        refused(&ended, &house, &format!("everybody may write to {place}"));
        mode(&house, path, before);
    }
    house.trueup(&["run", "--plan", "plan.json"]).wanted(0);
}

#[test]
fn a_suite_whose_name_is_known_only_when_its_phase_runs_is_refused_then() {
    let house = House::with_phases(
        "  a: { uses: command, with: { argv: [/bin/echo, -n, s.yaml] } }\n  \
         b: { uses: integration_tests, with: { suite: \"{{ phases.a.stdout }}\" } }\n",
    );
    house.put("s.yaml", SUITE);
    mode(&house, "s.yaml", 0o666);
    if !is_root() {
        return;
    }
    house.trueup(&["run", "p.yaml"]).wanted(1);
    let reason = house.report()["phases"]["b"]["reason"].to_string();
    assert!(reason.contains("everybody may write to "), "{reason}");
    house.trueup(&["run", "p.yaml", "--trust-pipeline"]).wanted(0);
}

#[test]
fn what_belongs_to_another_user_is_refused_and_to_the_one_who_called_sudo_is_not() {
    if !is_root() {
        return;
    }
    let house = House::with_phases(PHASES);
    mode(&house, "", 0o1777);
    chown(house.path("p.yaml"), Some(NOBODY), None).unwrap();
    let ended = house.trueup(&["run", "p.yaml"]).wanted(2);
    refused(&ended, &house, "p.yaml belongs to the user ");
    let mut command = house.command(&["run", "p.yaml"]);
    command.env("SUDO_UID", NOBODY.to_string());
    Running::start(command).end().wanted(0);
}
