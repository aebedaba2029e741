//! The record of a run, and the report that is made of it.

use std::fs;

use serde_json::Value;

use crate::governor::{PHASES, host_with_policies};
use crate::house::{House, checkout};

/// A run with something of everything: changes, a measurement, a skip, a failure, a block, a retry.
fn rich() -> House {
    let house = House::with_phases(&format!(
        "{PHASES}{}
  skipped: {{ uses: command, when: false, with: {{ argv: [/bin/true] }} }}
  fails: {{ uses: command, retry: {{ attempts: 2, backoff: 1ms }}, with: {{ argv: [/bin/false] }} }}
  blocked: {{ uses: command, needs: [fails], with: {{ argv: [/bin/true] }} }}
",
        crate::cache::POOL
    ));
    host_with_policies(&house);
    house.trueup(&["run", "p.yaml"]).wanted(1);
    house
}

#[test]
fn the_record_alone_makes_the_same_report_again() {
    let house = rich();
    let run = house.runs().remove(0);
    let path = format!("results/runs/{run}/report.json");
    let written: Value = serde_json::from_str(&house.get(&path)).unwrap();
    assert_eq!(house.report(), written, "latest.json is a copy");
    fs::remove_file(house.path(&path)).unwrap();
    let shown = house.trueup(&["report", "show", &run, "--json"]).wanted(0);
    let again: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(again, written);
}

#[test]
fn a_report_has_what_readers_look_for_and_keeps_to_its_schema() {
    let house = rich();
    let report = house.report();
    assert!(report["optimization_timestamp"].as_i64().unwrap() > 1_700_000_000);
    assert!(report["total_optimization_time"].as_f64().unwrap() > 0.0);
    assert_eq!(report["overall_status"], "FAILED");
    assert_eq!(report["phases"].as_object().unwrap().len(), 6);
    let schema = house.trueup(&["report", "schema"]).wanted(0).stdout;
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(&report)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut broken = report;
    broken["overall_status"] = "GREAT".into();
    assert!(!validator.is_valid(&broken), "the schema must refuse something");
}

#[test]
fn the_published_schema_is_that_of_the_program() {
    let printed = House::new().trueup(&["report", "schema"]).wanted(0).stdout;
    let path = checkout().join("docs/report.schema.json");
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        printed == published,
        "{} is not what `trueup report schema` prints; write it anew",
        path.display()
    );
}

#[test]
fn events_are_shown_as_json_lines_as_they_are_recorded() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/true] } }\n");
    let ended = house.trueup(&["run", "p.yaml", "--progress", "json"]).wanted(0);
    let shown: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(shown, house.events());
    let silent = house.trueup(&["run", "p.yaml", "--progress", "none"]).wanted(0);
    assert_eq!(silent.stdout, "");
}

#[test]
fn how_long_each_phase_took_is_kept_for_the_next_run() {
    let house = House::with_phases(
        "  a: { uses: command, with: { argv: [/bin/true] } }
  b: { uses: command, when: false, with: { argv: [/bin/true] } }
  c: { uses: command, with: { argv: [/bin/false] } }
",
    );
    house.trueup(&["run", "p.yaml"]).wanted(1);
    let known: Value = serde_json::from_str(&house.get("results/durations.json")).unwrap();
    let phases = known["pipelines"]["p"]["phases"].as_object().unwrap();
    assert_eq!(phases.keys().collect::<Vec<_>>(), ["a"], "only what ran and ended well");
    assert_eq!(phases["a"]["last"], house.report()["phases"]["a"]["seconds"]);
    house.put("results/durations.json", "damaged");
    house.trueup(&["run", "p.yaml"]).wanted(1);
    assert!(house.get("results/durations.json").contains(r#""a":{"last":"#));
}

#[test]
fn a_record_cut_off_in_the_middle_of_a_line_can_still_be_shown() {
    let house = rich();
    let run = house.runs().remove(0);
    let path = format!("results/runs/{run}/events.jsonl");
    let text = house.get(&path);
    house.put(&path, &text[..text.len() / 2]);
    fs::remove_file(house.path(&format!("results/runs/{run}/report.json"))).unwrap();
    let shown = house.trueup(&["report", "show", &run]).wanted(0);
    assert!(shown.stdout.contains("CUT OFF"), "{}", shown.stdout);
}

#[test]
fn a_results_folder_that_cannot_be_written_is_a_clear_error() {
    let house =
        House::with_phases("  a: { uses: command, with: { argv: [/bin/touch, reached] } }\n");
    house.put("results", "a file, and not a folder");
    let ended = house.trueup(&["run", "p.yaml"]).wanted(1);
    assert!(ended.stderr.contains("results") && ended.stderr.contains("help"), "{}", ended.stderr);
    assert!(!house.path("reached").exists());
}
