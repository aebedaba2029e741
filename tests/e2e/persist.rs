//! Settings that are kept over a reboot, on a made-up host: the lines by which systemd sets them again, made and gone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use crate::governor::{SWAPPINESS, host_with_policies};
use crate::house::{House, Running, list};

const SYSCTL_D: &str = "host/etc/sysctl.d/99-trueup.conf";
const TMPFILES_D: &str = "host/etc/tmpfiles.d/trueup.conf";
const BOOT: &str = "host/proc/sys/kernel/random/boot_id";
const HEADER: &str = "# Kept over a reboot by trueup. To take it back: trueup rollback\n";
const POLICY: &str = "/sys/devices/system/cpu/cpufreq/policy";

const PHASES: &str = "  cpu: { uses: cpu_governor, with: { governor: performance, persist: true } }
  memory: { uses: cpu_governor, with: { swappiness: 10, persist: true } }
  net:
    uses: cpu_governor
    with: { settings: { /proc/sys/net/ipv4/conf/eth0.1/forwarding: 1 }, persist: true }
";

const VLAN: &str = "host/proc/sys/net/ipv4/conf/eth0.1/forwarding";

fn house() -> House {
    let house = House::with_phases(PHASES);
    host_with_policies(&house);
    house.put(VLAN, "0\n");
    house.put("host/etc/sysctl.d/90-others.conf", "vm.swappiness = 1\n");
    house
}

fn trimmed(house: &House) -> BTreeMap<PathBuf, String> {
    let text = |content: Vec<u8>| String::from_utf8(content).unwrap().trim_end().to_owned();
    house.tree("host").into_iter().map(|(path, content)| (path, text(content))).collect()
}

fn lines(house: &House, file: &str) -> Vec<String> {
    let text = house.get(file);
    let mut lines: Vec<String> =
        text.strip_prefix(HEADER).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn what_is_to_persist_is_foreseen_set_again_by_systemd_and_taken_back_after_the_reboot() {
    let house = house();
    let before = trimmed(&house);
    let planned = house.trueup(&["plan", "p.yaml"]).wanted(0).stdout;
    let planned = planned.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(planned.contains("/proc/sys/vm/swappiness at boot: not set -> 10"), "{planned}");
    assert!(planned.contains("swappiness=10 (at boot as well)"), "{planned}");
    assert_eq!(trimmed(&house), before);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let persisted = ["net/ipv4/conf/eth0.1/forwarding = 1", "vm.swappiness = 10"];
    assert_eq!(lines(&house, SYSCTL_D), persisted);
    let governor = |policy: u8| format!("w {POLICY}{policy}/scaling_governor - - - - performance");
    assert_eq!(lines(&house, TMPFILES_D), [governor(0), governor(2), governor(4)]);
    let checks = list(&house.report()["phases"]["memory"]["checks"]);
    assert!(checks.iter().any(|check| check["name"] == "vm.swappiness at boot"), "{checks:?}");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    for phase in ["cpu", "memory", "net"] {
        let changes = list(&house.report()["phases"][phase]["changes"]);
        assert!(changes.is_empty(), "nothing is done twice: {changes:?}");
    }
    house.trueup(&["verify"]).wanted(0);
    // A reboot: all is at its default, and then systemd does what it is told.
    house.put(BOOT, "22222222-2222-3333-4444-555555555555\n");
    house.put(&format!("host{POLICY}0/scaling_governor"), "powersave\n");
    let root = house.path("host").display().to_string();
    let systemd = Command::new("systemd-tmpfiles").args(["--create", "--root", &root]).output();
    if systemd.is_ok_and(|ended| ended.status.success()) {
        let governor = house.get(&format!("host{POLICY}0/scaling_governor"));
        assert_eq!(governor.trim(), "performance", "systemd reads the line as it was meant");
    } else {
        house.put(&format!("host{POLICY}0/scaling_governor"), "performance\n");
    }
    house.trueup(&["verify"]).wanted(0);
    let runs = house.runs();
    let told = house.trueup(&["report", "show", &runs[0]]).wanted(0).stdout;
    assert!(!told.contains("a reboot has taken that back"), "{told}");
    house.trueup(&["rollback"]).wanted(0);
    house.put(BOOT, "11111111-2222-3333-4444-555555555555\n");
    assert_eq!(trimmed(&house), before);
    assert!(!house.path("host/etc/tmpfiles.d").exists());
}

#[test]
fn a_value_that_is_no_longer_set_at_boot_or_is_another_there_is_drift() {
    let house = house();
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house.trueup(&["verify"]).wanted(0);
    let lines = house.get(SYSCTL_D);
    for (text, told) in [
        (lines.replace("vm.swappiness = 10", "vm.swappiness = 11"), "11"),
        (lines.replace("vm.swappiness = 10\n", ""), "not set"),
    ] {
        house.put(SYSCTL_D, &text);
        let said = house.trueup(&["verify"]).wanted(5).stdout;
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("/proc/sys/vm/swappiness at boot") && said.contains(told), "{said}");
    }
    // The next run sets it again, and each run takes back its own.
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert!(house.get(SYSCTL_D).contains("vm.swappiness = 10\n"));
}

#[test]
fn a_run_killed_at_any_step_of_setting_what_persists_is_taken_back() {
    let house = House::with_phases(
        "  it: { uses: cpu_governor, with: { governor: performance, swappiness: 10, persist: true } }\n",
    );
    host_with_policies(&house);
    house.put("host/etc/sysctl.d/90-others.conf", "vm.swappiness = 1\n");
    let before = trimmed(&house);
    let (mut place, mut set) = (1, 0);
    loop {
        let mut command = house.command(&["run", "p.yaml", "--progress", "none"]);
        command.env("TRUEUP_FAULT", format!("kill@{place}"));
        let code = Running::start(command).end().code;
        set += usize::from(house.path(SYSCTL_D).exists() || house.path(TMPFILES_D).exists());
        house.trueup(&["rollback"]).wanted(0);
        assert_eq!(trimmed(&house), before, "killed at {place}");
        assert!(!house.path("host/etc/tmpfiles.d").exists(), "killed at {place}");
        if code == 0 {
            break;
        }
        assert_eq!(code, -9);
        place += 1;
    }
    assert!(place > 20 && set > 3, "{place} places, {set} times a file was there");
}

#[test]
fn what_a_gate_is_against_is_not_kept_over_a_reboot_either() {
    let house = House::with_phases(
        "  it:
    uses: cpu_governor
    with: { swappiness: 10, persist: true }
    gate: { objective: { command: [/bin/sh, measure], goal: maximize } }
",
    );
    host_with_policies(&house);
    house.put(
        "measure",
        "case $(cat host/proc/sys/vm/swappiness) in 10) echo 1 ;; *) echo 2 ;; esac\n",
    );
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["it"], "REVERTED");
    assert_eq!(house.get(SWAPPINESS).trim(), "60");
    assert!(!house.path("host/etc").join("sysctl.d").exists());
    let told = house.trueup(&["plan", "p.yaml"]).wanted(0).stdout;
    assert!(told.contains("not kept"), "{told}");
}

#[test]
fn where_no_file_can_be_made_the_setting_is_set_all_the_same_and_that_is_told() {
    let house = House::with_phases(
        "  it: { uses: cpu_governor, with: { swappiness: 10, persist: true } }\n",
    );
    host_with_policies(&house);
    // A link in the way is a reason for root as well.
    std::os::unix::fs::symlink("/nowhere", house.path("host/etc")).unwrap();
    let told = house.trueup(&["run", "p.yaml"]).wanted(0).told();
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("vm.swappiness at boot: /etc is a link or no folder"), "{told}");
    assert_eq!(house.get(SWAPPINESS).trim(), "10");
    let text = house.get("p.yaml").replace("persist: true", "persist: true, require: true");
    house.put("p.yaml", &text);
    house.trueup(&["run", "p.yaml"]).wanted(1);
}

#[test]
fn the_files_of_trueup_are_no_configuration_files_of_a_pipeline() {
    let house = House::with_phases(
        "  it: { uses: config_file, with: { path: /etc/sysctl.d/99-trueup.conf, text: \"x\\n\" } }\n",
    );
    let told = house.trueup(&["check", "p.yaml"]).wanted(2).stderr;
    assert!(told.contains("holds what trueup keeps over a reboot"), "{told}");
}
