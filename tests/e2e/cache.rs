//! Decisions that are remembered, and those that are not trusted.

use crate::house::House;

/// A measurement that is small, and all the same real.
pub const POOL: &str = "
  pool:
    uses: db_pool
    with: { url: 'sqlite://pool.db', min: 1, max: 2, sample: 100ms, p99: 10s }
  user:
    uses: command
    with: { argv: [/bin/echo, 'pool of {{ phases.pool.pool_size }}'] }
";

fn pool(house: &House) -> serde_json::Value {
    house.report()["phases"]["pool"].clone()
}

fn entries(house: &House) -> Vec<std::path::PathBuf> {
    house
        .tree("cache")
        .into_keys()
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect()
}

#[test]
fn a_second_run_measures_nothing_and_says_which_run_did() {
    let house = House::with_phases(POOL);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let first = pool(&house);
    assert_eq!(first["cache"]["hit"], false);
    assert!(!first["measurements"].as_array().unwrap().is_empty(), "a claim needs a measurement");
    let size = first["decision"]["pool_size"].as_u64().unwrap();
    assert!((1..=2).contains(&size));

    house.trueup(&["run", "p.yaml"]).wanted(0);
    let second = pool(&house);
    assert_eq!(second["cache"]["hit"], true);
    assert_eq!(second["cache"]["measured_by"], house.runs()[0].as_str());
    assert_eq!(second["cache"]["key"], first["cache"]["key"]);
    assert_eq!(second["decision"], first["decision"]);
    assert_eq!(second["measurements"].as_array().unwrap().len(), 0);
    let said = house.report()["phases"]["user"]["outputs"]["stdout"].clone();
    assert_eq!(said, format!("pool of {size}\n"), "a remembered decision is seen downstream too");
}

#[test]
fn what_a_decision_depends_on_decides_whether_it_holds() {
    let house = House::with_phases(POOL);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house.put("p.yaml", &house.get("p.yaml").replace("sample: 100ms", "sample: 110ms"));
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], false);
    let why = pool(&house)["cache"]["miss"].as_str().unwrap().to_owned();
    assert!(why.contains("with.sample"), "{why}");
    assert_eq!(entries(&house).len(), 2);
}

#[test]
fn refresh_measures_anew_and_no_cache_neither_reads_nor_writes() {
    let house = House::with_phases(POOL);
    house.trueup(&["run", "p.yaml", "--no-cache"]).wanted(0);
    assert_eq!(entries(&house).len(), 0);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let written = house.tree("cache");
    assert_eq!(entries(&house).len(), 1);
    house.trueup(&["run", "p.yaml", "--no-cache"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], false);
    assert_eq!(house.tree("cache"), written);
    house.trueup(&["run", "p.yaml", "--refresh"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], false);
    assert_ne!(house.tree("cache"), written);
    house.trueup(&["run", "p.yaml", "--refresh", "--no-cache"]).wanted(2);
}

#[test]
fn decisions_can_be_listed_and_forgotten() {
    let house = House::with_phases(POOL);
    let nothing = house.trueup(&["cache", "ls"]).wanted(0);
    assert!(nothing.stdout.contains("nothing is remembered"), "{}", nothing.stdout);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let listed = house.trueup(&["cache", "ls"]).wanted(0);
    assert!(
        listed.stdout.contains("db_pool") && listed.stdout.contains("until"),
        "{}",
        listed.stdout
    );
    house.trueup(&["cache", "clear", "tune"]).wanted(0);
    assert_eq!(entries(&house).len(), 1);
    let cleared = house.trueup(&["cache", "clear"]).wanted(0);
    assert!(cleared.stdout.contains("forgot 1"), "{}", cleared.stdout);
    assert_eq!(entries(&house).len(), 0);
}

#[test]
fn a_corrupt_entry_is_told_moved_aside_and_measured_anew() {
    let house = House::with_phases(POOL);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    for damage in ["{", "", "\u{0}\u{1}"] {
        let entry = entries(&house).remove(0);
        std::fs::write(&entry, damage).unwrap();
        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(pool(&house)["cache"]["hit"], false);
        let notes = pool(&house)["notes"].to_string();
        assert!(notes.contains("was not trusted"), "{notes}");
        assert!(entry.with_extension("bad").exists());
    }
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], true);
}
