//! Settings of a made-up host: set, read back, kept, taken back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::house::{House, Running, list};

const CPU: &str = "host/sys/devices/system/cpu";
pub const SWAPPINESS: &str = "host/proc/sys/vm/swappiness";

pub const PHASES: &str =
    "  cpu_governor: { uses: cpu_governor, with: { governor: performance, swappiness: 10 } }\n";

fn policy(house: &House, folder: &str, cpus: &str, governor: &str) {
    let file = |name: &str, content: &str| house.put(&format!("{CPU}/{folder}/{name}"), content);
    file("affected_cpus", &format!("{cpus}\n"));
    file("related_cpus", &format!("{cpus}\n"));
    file("scaling_driver", "acpi-cpufreq\n");
    file("scaling_available_governors", "performance powersave schedutil \n");
    file("scaling_governor", &format!("{governor}\n"));
}

/// What every made-up host has, and a swappiness.
pub fn bare_host(house: &House) {
    house.put("host/proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
    house.put("host/proc/sys/kernel/osrelease", "6.8.0\n");
    house.put(SWAPPINESS, "60\n");
}

/// A host with three policies, of two governors.
pub fn host_with_policies(house: &House) {
    bare_host(house);
    policy(house, "cpufreq/policy0", "0 1", "powersave");
    policy(house, "cpufreq/policy2", "2 3", "schedutil");
    policy(house, "cpufreq/policy4", "4", "performance");
}

/// A host of the older layout: a folder for each CPU, one of them a link.
fn host_with_folders_per_cpu(house: &House) {
    bare_host(house);
    policy(house, "cpu0/cpufreq", "0 1", "powersave");
    policy(house, "cpu2/cpufreq", "2", "powersave");
    fs::create_dir_all(house.path(&format!("{CPU}/cpu1"))).unwrap();
    symlink("../cpu0/cpufreq", house.path(&format!("{CPU}/cpu1/cpufreq"))).unwrap();
}

/// What settings read now; the newline is the kernel's.
fn settings(house: &House) -> Vec<(PathBuf, String)> {
    let is_setting = |path: &PathBuf| {
        path.ends_with("scaling_governor") || path.ends_with("proc/sys/vm/swappiness")
    };
    let tree: BTreeMap<PathBuf, Vec<u8>> = house.tree("host");
    tree.into_iter()
        .filter(|(path, _)| is_setting(path))
        .map(|(path, content)| (path, String::from_utf8(content).unwrap().trim().to_owned()))
        .collect()
}

fn values(house: &House) -> Vec<String> {
    settings(house).into_iter().map(|(_, value)| value).collect()
}

/// The tree with what only the writer's line end makes different left out.
fn trimmed(house: &House) -> BTreeMap<PathBuf, String> {
    let text = |content: Vec<u8>| String::from_utf8(content).unwrap().trim_end().to_owned();
    house.tree("host").into_iter().map(|(path, content)| (path, text(content))).collect()
}

fn changes(house: &House) -> Vec<Value> {
    list(&house.report()["phases"]["cpu_governor"]["changes"])
}

#[test]
fn settings_are_applied_kept_found_in_place_and_taken_back_to_exactly_the_former_tree() {
    let different = 3;
    for host in [host_with_policies, host_with_folders_per_cpu] as [fn(&House); 2] {
        let house = House::with_phases(PHASES);
        host(&house);
        let before = trimmed(&house);
        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(house.outcomes()["cpu_governor"], "SUCCESS");
        let mut governors = values(&house);
        assert_eq!(governors.remove(0), "10", "swappiness stands first");
        assert!(governors.iter().all(|governor| governor == "performance"), "{governors:?}");
        assert_eq!(changes(&house).len(), different, "what was so already is no change");
        assert!(changes(&house).iter().all(|change| change["result"] == "applied"));

        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(changes(&house), Vec::<Value>::new(), "nothing is done twice");

        let ended = house.trueup(&["rollback"]).wanted(0);
        assert_eq!(ended.stdout.matches("taken back to").count(), different, "{}", ended.stdout);
        assert_eq!(trimmed(&house), before);
        let again = house.trueup(&["rollback"]).wanted(0);
        assert!(again.stdout.contains("nothing to take back"), "{}", again.stdout);
        assert_eq!(trimmed(&house), before);
    }
}

#[test]
fn a_value_that_somebody_else_has_set_since_is_left_alone_unless_forced() {
    let house = House::with_phases(PHASES);
    host_with_policies(&house);
    let before = trimmed(&house);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house.put(SWAPPINESS, "33\n");
    let run = &*house.runs()[0];
    let told = house.trueup(&["rollback"]).wanted(5).stdout;
    assert!(told.contains("left alone: it was set to 33 since, and was 60 before"), "{told}");
    let last = format!(
        "1 value is not as the run left it, and not taken back;\n`trueup rollback --force {run}` takes it back as well\n"
    );
    assert!(told.ends_with(&last), "{told}");
    assert_eq!(house.get(SWAPPINESS).trim(), "33");

    // What was left is remembered: by whoever asks for the run, and as a reminder.
    assert!(house.trueup(&["rollback", run]).wanted(5).stdout.ends_with(&last));
    let again = house.trueup(&["rollback"]).wanted(0).stdout;
    assert!(again.contains("`trueup rollback --force`"), "{again}");
    assert_eq!(house.get(SWAPPINESS).trim(), "33");
    house.trueup(&["rollback", "--force"]).wanted(0);
    assert_eq!(trimmed(&house), before);
    let nothing = house.trueup(&["rollback", "--force"]).wanted(0).stdout;
    assert_eq!(nothing.lines().count(), 1, "{nothing}");
}

/// The end of what `report show` tells of a run: what it changed, and what has become of that.
fn changed(house: &House, run: &str) -> String {
    let shown = house.trueup(&["report", "show", run]).wanted(0).stdout;
    let told = &shown[shown.find("\nchanged  ").unwrap() + 1..shown.find("\nreport ").unwrap()];
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_report_of_a_run_that_was_taken_back_says_when_by_what_and_what_is_left() {
    let (house, runs, _) = set_twice();
    let (older, newer) = (&*runs[0], &*runs[1]);
    let offer = format!("changed 1 setting of the host; undo: trueup rollback {newer}");
    assert_eq!(changed(&house, newer), offer);
    house.trueup(&["rollback", older]).wanted(0);
    let told = changed(&house, older);
    assert!(told.starts_with("changed 1 setting of the host; taken back at 20"), "{told}");
    let handed = format!(
        "Z by `trueup rollback`, but for /proc/sys/vm/swappiness, which run {newer} has set since"
    );
    assert!(told.ends_with(&handed), "{told}");
    assert_eq!(changed(&house, newer), offer);

    house.put(SWAPPINESS, "33\n");
    house.trueup(&["rollback"]).wanted(5);
    let left = format!(
        "by `trueup rollback`, but for /proc/sys/vm/swappiness, left alone at 33; undo that as well: trueup rollback --force {newer}"
    );
    let told = changed(&house, newer);
    assert!(told.ends_with(&left), "{told}");
    house.trueup(&["rollback", "--force"]).wanted(0);
    let told = changed(&house, newer);
    assert!(told.ends_with("Z by `trueup rollback --force`"), "{told}");
}

#[test]
fn the_report_of_a_run_from_before_a_reboot_says_that_it_took_the_changes_back() {
    let (house, runs, _) = set_twice();
    house.put("host/proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n");
    let told = changed(&house, &runs[1]);
    assert_eq!(told, "changed 1 setting of the host; a reboot has taken that back");
}

#[test]
fn by_force_the_values_left_alone_of_all_runs_go_back_to_the_first() {
    let (house, runs, before) = set_twice();
    house.put(SWAPPINESS, "33\n");
    house.trueup(&["rollback", &runs[0]]).wanted(0);
    house.trueup(&["rollback"]).wanted(5);
    assert_eq!(house.get(SWAPPINESS).trim(), "33");
    house.trueup(&["rollback", "--force"]).wanted(0);
    assert_eq!(trimmed(&house), before);
}

#[test]
fn one_script_takes_all_runs_back_and_says_when_a_journal_can_not_be_read() {
    let (house, _, before) = set_twice();
    house.put("results/journal/odd.jsonl", "what\nis this\n");
    let printed = house.trueup(&["rollback", "--print"]).wanted(1);
    assert!(printed.stderr.contains("nobody can tell what run odd changed"), "{}", printed.stderr);
    house.put("undo.sh", &printed.stdout);
    let mut script = std::process::Command::new("/bin/sh");
    script.arg(house.path("undo.sh")).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(script).end().wanted(0);
    assert_eq!(trimmed(&house), before);
}

#[test]
fn a_text_that_is_no_name_of_a_run_never_becomes_the_name_of_a_file() {
    let (house, ..) = set_twice();
    house.put("elsewhere.jsonl", "");
    for name in ["../../elsewhere", "/etc/passwd", "..", "a/b", "", "x y"] {
        for before in [&["rollback"][..], &["rollback", "--print"], &["rollback", "--force"]] {
            let ended = house.trueup(&[before, &[name]].concat()).wanted(2);
            assert!(ended.stderr.contains("is not a run"), "{name}: {}", ended.told());
        }
        for before in [&["report", "show"][..], &["run", "p.yaml", "--resume"], &["report", "diff"]]
        {
            let ended = house.trueup(&[before, &[name]].concat()).wanted(2);
            let told = ["is not a run", "is the name of a file"];
            assert!(told.iter().any(|told| ended.stderr.contains(told)), "{}", ended.told());
        }
    }
    house.trueup(&["rollback", "20261124T000000Z-0a"]).wanted(2);
    assert_eq!(house.get(SWAPPINESS).trim(), "1");
}

/// A host on which two runs have set the swappiness one after the other; the runs, and the tree before.
fn set_twice() -> (House, Vec<String>, BTreeMap<PathBuf, String>) {
    let house = House::new();
    bare_host(&house);
    let before = trimmed(&house);
    for swappiness in [10, 1] {
        house.put(
            "p.yaml",
            &format!("version: 1\nphases:\n  vm: {{ uses: cpu_governor, with: {{ governor: performance, swappiness: {swappiness} }} }}\n"),
        );
        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(house.get(SWAPPINESS).trim(), swappiness.to_string());
    }
    let runs = house.runs();
    (house, runs, before)
}

#[test]
fn two_runs_that_set_the_same_end_with_the_first_value_whichever_is_taken_back_first() {
    for order in [vec![""], vec!["1", "0"], vec!["0", "1"], vec!["0", ""]] {
        let (house, runs, before) = set_twice();
        for which in &order {
            let run = which.parse::<usize>().ok().map(|at| &*runs[at]);
            let arguments: Vec<&str> = ["rollback"].into_iter().chain(run).collect();
            let ended = house.trueup(&arguments).wanted(0);
            if *which == "0" && order[0] == "0" {
                let told = format!("run {} has set it since", runs[1]);
                assert!(ended.stdout.contains(&told), "{}", ended.stdout);
                assert_eq!(house.get(SWAPPINESS).trim(), "1", "what the newer run has set stays");
                // A run that is handed a value is not one that was cut off.
                house.trueup(&["run", "p.yaml"]).wanted(0);
                assert_eq!(house.report()["recovered"].as_array().unwrap().len(), 0);
                assert_eq!(house.get(SWAPPINESS).trim(), "1");
            }
        }
        assert_eq!(trimmed(&house), before, "{order:?}");
    }
}

#[test]
fn what_a_failing_run_had_changed_before_stays_until_it_is_taken_back() {
    let house = House::with_phases(&format!(
        "{PHASES}  after: {{ uses: command, needs: [cpu_governor], with: {{ argv: [/bin/false] }} }}\n"
    ));
    host_with_policies(&house);
    let before = trimmed(&house);
    house.trueup(&["run", "p.yaml"]).wanted(1);
    assert_eq!(house.outcomes()["cpu_governor"], "SUCCESS");
    assert_eq!(house.get(SWAPPINESS).trim(), "10");
    house.trueup(&["rollback"]).wanted(0);
    assert_eq!(trimmed(&house), before);
}

#[test]
fn a_host_without_the_setting_is_told_with_the_reason() {
    let house = House::with_phases(
        "  cpu_governor: { uses: cpu_governor, with: { governor: performance } }\n",
    );
    bare_host(&house);
    let before = house.tree("host");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["cpu_governor"], "NOT_APPLICABLE");
    let report = house.report();
    let reason = report["phases"]["cpu_governor"]["reason"].as_str().unwrap();
    assert!(reason.contains("no cpufreq policy") && reason.contains("performance"), "{reason}");

    house.put(
        "p.yaml",
        "version: 1\nphases:\n  cpu_governor: { uses: cpu_governor, with: { governor: performance, require: true } }\n",
    );
    house.trueup(&["run", "p.yaml"]).wanted(1);
    assert_eq!(house.outcomes()["cpu_governor"], "FAILED");
    assert_eq!(house.tree("host"), before);
}

#[test]
fn a_host_with_one_of_two_settings_sets_that_and_tells_of_the_other() {
    let house = House::with_phases(PHASES);
    bare_host(&house);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["cpu_governor"], "SUCCESS");
    assert_eq!(house.get(SWAPPINESS).trim(), "10");
    let report = house.report();
    let reason = report["phases"]["cpu_governor"]["reason"].as_str().unwrap();
    assert!(reason.contains("no cpufreq policy"), "{reason}");
}

#[test]
fn a_governor_that_is_a_module_is_set_and_the_plan_names_the_module() {
    let house = House::with_phases(
        "  cpu_governor: { uses: cpu_governor, with: { governor: ondemand } }\n",
    );
    host_with_policies(&house);
    let plan = house.trueup(&["plan", "p.yaml"]).wanted(0).stdout;
    assert!(plan.contains("needs cpufreq_ondemand, which is not loaded"), "{plan}");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(changes(&house).len(), 3);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let told = house.report()["phases"]["cpu_governor"]["decided"].to_string();
    assert!(!told.contains("needs"), "{told}");
}

#[test]
fn a_governor_that_the_kernel_does_not_offer_is_not_written() {
    let house =
        House::with_phases("  cpu_governor: { uses: cpu_governor, with: { governor: turbo } }\n");
    host_with_policies(&house);
    let before = house.tree("host");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["cpu_governor"], "NOT_APPLICABLE");
    let reason = house.report()["phases"]["cpu_governor"]["reason"].to_string();
    assert!(reason.contains("powersave"), "the governors there are must be named: {reason}");
    assert_eq!(house.tree("host"), before);
}

#[test]
fn a_user_who_may_not_write_a_setting_is_told_so() {
    let house = House::with_phases(PHASES);
    bare_host(&house);
    policy(&house, "cpufreq/policy0", "0", "powersave");
    let before = house.tree("host");
    for path in before.keys() {
        let mode = if nix::unistd::geteuid().is_root() { 0o644 } else { 0o444 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    Running::start(house.unprivileged(&["run", "p.yaml"])).end().wanted(0);
    assert_eq!(house.outcomes()["cpu_governor"], "NOT_APPLICABLE");
    let reason = house.report()["phases"]["cpu_governor"]["reason"].to_string();
    assert!(reason.contains("would change 60 to 10"), "{reason}");
    assert!(reason.contains("would change powersave to performance"), "{reason}");
    assert_eq!(house.tree("host"), before);
}
