//! The main job with all six kinds of phases, on each of the two databases.

use std::fs;

use serde_json::Value;

use crate::governor::{SWAPPINESS, host_with_policies};
use crate::house::{House, Running, checkout};
use crate::postgres::Postgres;

const PHASES: [&str; 6] = [
    "readiness",
    "cpu_governor",
    "db_pool",
    "service_startup",
    "parameter_tuning",
    "integration_tests",
];

fn house() -> House {
    let house = House::new();
    let pipelines = checkout().join("tests/pipelines/good");
    house.put("p.yaml", &fs::read_to_string(pipelines.join("six.yaml")).unwrap());
    let suite = checkout().join("tests/suites/powd.yaml").display().to_string();
    house.put("p.yaml", &house.get("p.yaml").replace("../../suites/powd.yaml", &suite));
    host_with_policies(&house);
    // The readings of the machine under test that the made-up host lacks.
    house.put("host/proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n");
    house
}

fn run(house: &House, url: &str) -> Value {
    let mut command = house.command(&["run", "p.yaml"]);
    command.env("TRUEUP_DATABASE_URL", url);
    let ended = Running::start(command).end().wanted(0);
    let report = house.report();
    assert_eq!(report["overall_status"], "SUCCESS", "{}", ended.told());
    let outcomes = house.outcomes();
    assert_eq!(outcomes.len(), 6);
    for phase in PHASES {
        let good = ["SUCCESS", "REVERTED"].contains(&outcomes[phase].as_str());
        assert!(good, "{phase} ended as {}: {}", outcomes[phase], ended.told());
    }
    report
}

/// What must hold of a report of the main job, whatever the database.
fn judge(house: &House, report: &Value) {
    assert_eq!(house.get(SWAPPINESS).trim(), "10");
    let pool = report["phases"]["db_pool"]["decision"]["pool_size"].as_u64().unwrap();
    assert!((1..=2).contains(&pool));
    let trials = report["phases"]["parameter_tuning"]["trials"].as_array().unwrap();
    assert!(!trials.is_empty(), "the search tried nothing");
    let checks = report["phases"]["integration_tests"]["checks"].as_array().unwrap();
    assert!(checks.len() >= 6, "{checks:#?}");
    assert!(!report["phases"]["db_pool"]["measurements"].as_array().unwrap().is_empty());
}

#[test]
fn the_main_job_ends_well_on_sqlite_and_a_second_run_remembers() {
    let house = house();
    let url = "sqlite://results/trueup.db";
    let first = run(&house, url);
    judge(&house, &first);
    let second = run(&house, url);
    for phase in ["db_pool", "parameter_tuning"] {
        let cache = &second["phases"][phase]["cache"];
        assert_eq!(cache["hit"], true, "{phase}: {cache}");
    }
}

#[test]
fn the_main_job_ends_well_on_postgresql_and_leaves_no_table_but_its_trials() {
    let postgres = Postgres::start();
    let house = house();
    let report = run(&house, &postgres.url());
    judge(&house, &report);
    let tables = postgres
        .query("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename");
    assert_eq!(tables, ["trueup_schema", "trueup_trials"]);
    let trials = report["phases"]["parameter_tuning"]["trials"].as_array().unwrap().len();
    let stored = postgres.query("SELECT count(*) FROM trueup_trials");
    assert_eq!(stored, [trials.to_string()]);
}
