//! `trueup verify`: what was kept is compared with what is there.

use serde_json::Value;

use crate::governor::{PHASES, SWAPPINESS, host_with_policies};
use crate::house::House;

const BOOT: &str = "host/proc/sys/kernel/random/boot_id";

fn tuned() -> House {
    let house = House::new();
    host_with_policies(&house);
    house.put("p.yaml", &format!("version: 1\nphases:\n{PHASES}"));
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house
}

#[test]
fn what_is_kept_matches_until_somebody_else_sets_it() {
    let house = tuned();
    let ended = house.trueup(&["verify"]).wanted(0);
    assert!(ended.stdout.ends_with("3 in place, 0 not\n"), "{}", ended.stdout);
    house.put(SWAPPINESS, "30\n");
    let before = house.tree("host");
    let ended = house.trueup(&["verify"]).wanted(5);
    let one_line = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let run = &house.runs()[0];
    let told = format!(
        "MISMATCH /proc/sys/vm/swappiness 30, kept was 10 (run {run}): somebody else has set it since"
    );
    assert!(one_line.contains(&told), "{}", ended.stdout);
    assert!(ended.stdout.lines().all(|line| line.len() <= 80), "{}", ended.stdout);
    assert_eq!(house.tree("host"), before, "it only looks");
    let json: Value =
        serde_json::from_str(&house.trueup(&["verify", "--json", run]).wanted(5).stdout).unwrap();
    assert_eq!(json["counts"]["mismatching"], 1);
    assert_eq!(json["counts"]["matching"], 2);
    // What differs is not ours to take back; what matches is.
    house.trueup(&["rollback"]).wanted(5);
    let ended = house.trueup(&["verify"]).wanted(0);
    assert_eq!(ended.stdout, "no run has left a change on this host\n");
}

#[test]
fn what_a_reboot_took_back_is_told_so_and_the_next_run_sets_it_again() {
    let house = tuned();
    house.put(BOOT, "22222222-2222-3333-4444-555555555555\n");
    house.put(SWAPPINESS, "60\n");
    let ended = house.trueup(&["verify"]).wanted(5);
    assert!(ended.stdout.contains("the host was booted since"), "{}", ended.stdout);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house.trueup(&["verify"]).wanted(0);
}

#[test]
fn a_run_that_is_none_and_a_journal_that_nobody_can_read_are_told() {
    let house = tuned();
    house.trueup(&["verify", "nonsense"]).wanted(2);
    house.trueup(&["verify", "20200101T000000Z-00000001"]).wanted(2);
    let journal = format!("results/journal/{}.jsonl", house.runs()[0]);
    house.put(&journal, "{\"record\":\"opened\",\"schema\":99}\n");
    let ended = house.trueup(&["verify"]).wanted(1);
    assert!(ended.stdout.contains("1 runs unknown"), "{}", ended.stdout);
}
