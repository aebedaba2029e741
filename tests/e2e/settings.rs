//! Settings by name and by file, on made-up hosts: what is set, in which order, and that all of it is taken back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::governor::bare_host;
use crate::house::{House, list};

const CPU: &str = "host/sys/devices/system/cpu";

fn with(settings: &str) -> House {
    let house = House::with_phases(&format!(
        "  cpu_governor: {{ uses: cpu_governor, with: {settings} }}\n"
    ));
    bare_host(&house);
    house
}

/// A policy whose CPUs are of the given capacity.
fn policy(house: &House, first: usize, capacity: u32, limits: [&str; 2]) {
    let put =
        |path: &str, content: &str| house.put(&format!("{CPU}/{path}"), &format!("{content}\n"));
    let dir = format!("cpufreq/policy{first}");
    put(&format!("{dir}/affected_cpus"), &format!("{first} {}", first + 1));
    put(&format!("{dir}/scaling_driver"), "intel_pstate");
    put(&format!("{dir}/scaling_governor"), "powersave");
    put(&format!("{dir}/scaling_available_governors"), "performance powersave");
    put(&format!("{dir}/energy_performance_preference"), "balance_power");
    put(
        &format!("{dir}/energy_performance_available_preferences"),
        "performance balance_power power",
    );
    put(&format!("{dir}/scaling_min_freq"), limits[0]);
    put(&format!("{dir}/scaling_max_freq"), limits[1]);
    put(&format!("{dir}/cpuinfo_min_freq"), "400000");
    put(&format!("{dir}/cpuinfo_max_freq"), "4000000");
    for cpu in [first, first + 1] {
        put(&format!("cpu{cpu}/cpu_capacity"), &capacity.to_string());
        put(&format!("cpu{cpu}/power/energy_perf_bias"), "6");
    }
}

fn hybrid(house: &House) {
    house.put(&format!("{CPU}/online"), "0-3\n");
    policy(house, 0, 1024, ["400000", "1000000"]);
    policy(house, 2, 400, ["3000000", "4000000"]);
}

fn trimmed(house: &House) -> BTreeMap<PathBuf, String> {
    let text = |content: Vec<u8>| String::from_utf8(content).unwrap().trim_end().to_owned();
    house.tree("host").into_iter().map(|(path, content)| (path, text(content))).collect()
}

/// The file names and values of the changes, in the order in which they were made.
fn changes(house: &House) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |change: &Value| {
        let path = text(&change["target"]);
        (path.rsplit('/').next().unwrap().to_owned(), text(&change["to"]))
    };
    list(&house.report()["phases"]["cpu_governor"]["changes"]).iter().map(of).collect()
}

fn run_and_take_back(house: &House) -> Vec<(String, String)> {
    let before = trimmed(house);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let changes = changes(house);
    assert_eq!(house.outcomes()["cpu_governor"], "SUCCESS");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(self::changes(house), [], "nothing is done twice");
    house.trueup(&["rollback"]).wanted(0);
    assert_eq!(trimmed(house), before);
    changes
}

fn pairs(found: &[(String, String)]) -> Vec<(&str, &str)> {
    found.iter().map(|(name, value)| (&**name, &**value)).collect()
}

#[test]
fn settings_are_named_or_given_by_file_and_written_as_the_kernel_takes_them() {
    let house = with(
        "{ settings: { net.core.rmem_max: 16MiB, transparent_hugepage.enabled: madvise, block.scheduler: none, \
         /sys/block/sda/queue/nomerges: 2, kernel.sched_autogroup_enabled: off } }",
    );
    house.put("host/proc/sys/net/core/rmem_max", "212992\n");
    house.put("host/proc/sys/kernel/sched_autogroup_enabled", "1\n");
    house.put("host/sys/kernel/mm/transparent_hugepage/enabled", "madvise\n");
    house.put("host/sys/block/sda/queue/scheduler", "mq-deadline\n");
    house.put("host/sys/block/sda/queue/nomerges", "0\n");
    let expected = [
        ("rmem_max", "16777216"),
        ("scheduler", "none"),
        ("nomerges", "2"),
        ("sched_autogroup_enabled", "0"),
    ];
    assert_eq!(pairs(&run_and_take_back(&house)), expected);
}

#[test]
fn what_is_wanted_of_one_disk_counts_before_what_is_wanted_of_all() {
    let house = with(
        "{ settings: { block.read_ahead_kb: 256, /sys/block/sdb/queue/read_ahead_kb: 4096 } }",
    );
    for disk in ["sda", "sdb", "loop0"] {
        house.put(&format!("host/sys/block/{disk}/queue/read_ahead_kb"), "128\n");
    }
    let found = run_and_take_back(&house);
    assert_eq!(pairs(&found), [("read_ahead_kb", "256"), ("read_ahead_kb", "4096")]);
}

#[test]
fn a_lowest_frequency_that_rises_follows_the_highest_and_one_that_falls_goes_first() {
    let house = with("{ min_frequency: 2GHz, max_frequency: 2500MHz }");
    hybrid(&house);
    let expected = [
        ("scaling_max_freq", "2500000"),
        ("scaling_min_freq", "2000000"),
        ("scaling_min_freq", "2000000"),
        ("scaling_max_freq", "2500000"),
    ];
    let mut found = run_and_take_back(&house);
    // Policies come by number where each keeps its own order.
    if found[1].0 == "scaling_min_freq" && found[0].0 == "scaling_min_freq" {
        found.rotate_left(1);
    }
    assert_eq!(pairs(&found), expected);
}

#[test]
fn settings_of_cores_are_for_the_class_that_is_named() {
    let house = with(
        "{ cores: efficiency, governor: performance, energy_preference: performance, energy_bias: 0 }",
    );
    hybrid(&house);
    let expected = [
        ("energy_performance_preference", "performance"),
        ("scaling_governor", "performance"),
        ("energy_perf_bias", "0"),
        ("energy_perf_bias", "0"),
    ];
    assert_eq!(pairs(&run_and_take_back(&house)), expected);
    let changed = list(&house.report()["phases"]["cpu_governor"]["changes"]);
    assert_eq!(changed.len(), 0);
    assert_eq!(house.get(&format!("{CPU}/cpufreq/policy0/scaling_governor")).trim(), "powersave");
}

#[test]
fn a_machine_whose_cores_are_alike_has_none_for_efficiency_and_all_for_performance() {
    for (cores, outcome) in [("efficiency", "NOT_APPLICABLE"), ("performance", "SUCCESS")] {
        let house = with(&format!("{{ cores: {cores}, governor: performance }}"));
        house.put(&format!("{CPU}/online"), "0-1\n");
        policy(&house, 0, 1024, ["400000", "1000000"]);
        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(house.outcomes()["cpu_governor"], outcome);
    }
}

#[test]
fn a_switch_that_a_driver_keeps_the_other_way_round_is_written_so() {
    let house = with("{ boost: false }");
    house.put(&format!("{CPU}/intel_pstate/no_turbo"), "0\n");
    assert_eq!(pairs(&run_and_take_back(&house)), [("no_turbo", "1")]);
}

#[test]
fn what_the_kernel_zeroes_when_its_twin_is_set_is_taken_back_too() {
    for (settings, expected) in [
        (
            "{ settings: { vm.dirty_bytes: 64MiB } }",
            [("dirty_bytes", "67108864"), ("dirty_ratio", "0")],
        ),
        ("{ settings: { vm.dirty_ratio: 10 } }", [("dirty_ratio", "10"), ("dirty_bytes", "0")]),
    ] {
        let house = with(settings);
        let of_bytes = settings.contains("bytes");
        house.put("host/proc/sys/vm/dirty_bytes", if of_bytes { "0\n" } else { "1048576\n" });
        house.put("host/proc/sys/vm/dirty_ratio", if of_bytes { "20\n" } else { "0\n" });
        assert_eq!(pairs(&run_and_take_back(&house)), expected);
    }
}

#[test]
fn a_twin_that_somebody_else_has_set_since_is_not_zeroed_and_none_is_set_at_boot() {
    let house = with(
        "{ persist: true, settings: { vm.dirty_background_ratio: 5, vm.dirty_bytes: 64MiB } }",
    );
    let files = ["dirty_background_bytes", "dirty_background_ratio", "dirty_bytes", "dirty_ratio"];
    let files = files.map(|name| format!("host/proc/sys/vm/{name}"));
    let put = |values: [&str; 4]| {
        files.iter().zip(values).for_each(|(file, value)| house.put(file, &format!("{value}\n")));
    };
    put(["1048576", "0", "0", "20"]);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let at_boot = house.get("host/etc/sysctl.d/99-trueup.conf");
    assert!(at_boot.contains("vm.dirty_background_ratio = 5\nvm.dirty_bytes = 67108864\n"));
    assert_eq!(at_boot.matches("vm.").count(), 2, "{at_boot}");
    put(["0", "12", "99999744", "0"]);
    house.trueup(&["rollback"]).wanted(5);
    let now = files.each_ref().map(|file| house.get(file).trim().to_owned());
    assert_eq!(now, ["0", "12", "99999744", "0"]);
    house.trueup(&["rollback", "--force"]).wanted(0);
    let now = files.each_ref().map(|file| house.get(file).trim().to_owned());
    assert_eq!(now, ["1048576", "0", "0", "20"]);
}

#[test]
fn what_does_not_stand_beside_the_values_of_the_host_is_not_written() {
    let house = with("{ settings: { vm.dirty_background_ratio: 30 } }");
    house.put("host/proc/sys/vm/dirty_ratio", "20\n");
    house.put("host/proc/sys/vm/dirty_background_ratio", "10\n");
    let before = trimmed(&house);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["cpu_governor"], "NOT_APPLICABLE");
    let reason = house.report()["phases"]["cpu_governor"]["reason"].to_string();
    assert!(reason.contains("is not below vm.dirty_ratio (20)"), "{reason}");
    assert_eq!(trimmed(&house), before);
}

#[test]
fn two_phases_may_set_two_classes_of_cores_and_not_the_same() {
    let phases = |two: &str| {
        format!(
            "  one: {{ uses: cpu_governor, with: {{ governor: performance, cores: performance }} }}\n\
             \x20 two: {{ uses: cpu_governor, with: {{ governor: powersave{two} }} }}\n"
        )
    };
    let house = House::with_phases(&phases(", cores: efficiency"));
    house.trueup(&["check", "p.yaml"]).wanted(0);
    let house = House::with_phases(&phases(""));
    let ended = house.trueup(&["check", "p.yaml"]).wanted(2);
    assert_eq!(ended.stderr.matches("both claim").count(), 1, "{}", ended.told());
    assert!(ended.stderr.contains("governor of the performance"), "{}", ended.told());
}

#[test]
fn known_settings_are_listed_with_value_meaning_and_whether_they_can_be_set() {
    let house = House::new();
    bare_host(&house);
    hybrid(&house);
    let root = house.path("host").display().to_string();
    let ended = house.trueup(&["host", "--settings", "--json", "--sysroot", &root]).wanted(0);
    let listed: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let of = |name: &str| listed.iter().find(|one| one["name"] == name).unwrap();
    let swappiness = of("vm.swappiness");
    assert_eq!(
        (&swappiness["files"][0]["value"], &swappiness["files"][0]["writable"]),
        (&"60".into(), &true.into())
    );
    assert_eq!(swappiness["takes"], "a whole number from 0 to 200");
    assert_eq!(of("governor")["files"].as_array().unwrap().len(), 2);
    assert!(of("boost")["absent"].as_str().unwrap().contains("no driver"));
    let text = house.trueup(&["host", "--settings", "--sysroot", &root]).wanted(0).stdout;
    assert!(text.contains("vm.swappiness = 60"), "{text}");
    let long =
        text.lines().filter(|line| line.chars().count() > 80 && !line.trim().starts_with('/'));
    assert_eq!(long.collect::<Vec<_>>(), [""; 0]);
}
