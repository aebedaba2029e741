//! Order, failure, time limits and selection, through phases that run ordinary programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::{House, is_alive};

/// Phases, options, and what must come of it.
struct Fixture {
    name: &'static str,
    phases: &'static str,
    options: &'static [&'static str],
    exit: i32,
    status: &'static str,
    outcomes: &'static [(&'static str, &'static str)],
}

const TRUE: &str = "/bin/true";

const FIXTURES: &[Fixture] = &[
    Fixture {
        name: "a failure blocks exactly what depends on it",
        phases: "
  a: { uses: command, with: { argv: [/bin/false] } }
  b: { uses: command, needs: [a], with: { argv: [/bin/true] } }
  c: { uses: command, needs: [b], with: { argv: [/bin/true] } }
  d: { uses: command, with: { argv: [/bin/true] } }
  e: { uses: command, needs: [d], with: { argv: [/bin/true] } }
",
        options: &[],
        exit: 1,
        status: "FAILED",
        outcomes: &[
            ("a", "FAILED"),
            ("b", "BLOCKED"),
            ("c", "BLOCKED"),
            ("d", "SUCCESS"),
            ("e", "SUCCESS"),
        ],
    },
    Fixture {
        name: "an optional phase that fails makes the run a partial success",
        phases: "
  a: { uses: command, optional: true, with: { argv: [/bin/false] } }
  b: { uses: command, with: { argv: [/bin/true] } }
",
        options: &[],
        exit: 3,
        status: "PARTIAL_SUCCESS",
        outcomes: &[("a", "FAILED"), ("b", "SUCCESS")],
    },
    Fixture {
        name: "a phase whose condition is false is skipped and what depends on it runs",
        phases: "
  a: { uses: command, when: false, with: { argv: [/bin/false] } }
  b: { uses: command, needs: [a], when: \"{{ host.cpus >= 1 }}\", with: { argv: [/bin/true] } }
  c: { uses: command, needs: [b], when: host.cpus > 100000, with: { argv: [/bin/false] } }
",
        options: &[],
        exit: 0,
        status: "SUCCESS",
        outcomes: &[("a", "SKIPPED"), ("b", "SUCCESS"), ("c", "SKIPPED")],
    },
    Fixture {
        name: "only what is named and what it needs runs",
        phases: "
  a: { uses: command, with: { argv: [/bin/true] } }
  b: { uses: command, needs: [a], with: { argv: [/bin/true] } }
  c: { uses: command, needs: [b], with: { argv: [/bin/false] } }
  d: { uses: command, with: { argv: [/bin/false] } }
",
        options: &["--only", "b"],
        exit: 0,
        status: "SUCCESS",
        outcomes: &[("a", "SUCCESS"), ("b", "SUCCESS"), ("c", "SKIPPED"), ("d", "SKIPPED")],
    },
    Fixture {
        name: "what is left out is skipped and what depends on it runs",
        phases: "
  a: { uses: command, with: { argv: [/bin/false] } }
  b: { uses: command, needs: [a], with: { argv: [/bin/true] } }
",
        options: &["--skip", "a"],
        exit: 0,
        status: "SUCCESS",
        outcomes: &[("a", "SKIPPED"), ("b", "SUCCESS")],
    },
    Fixture {
        name: "a program that is not there is a failure and not a crash",
        phases: "\n  a: { uses: command, with: { argv: [/no/such/program] } }\n",
        options: &[],
        exit: 1,
        status: "FAILED",
        outcomes: &[("a", "FAILED")],
    },
    Fixture {
        name: "an exit code that is declared good is good",
        phases: "\n  a: { uses: command, with: { argv: [/bin/false], exit: [0, 1] } }\n",
        options: &[],
        exit: 0,
        status: "SUCCESS",
        outcomes: &[("a", "SUCCESS")],
    },
];

#[test]
fn every_fixture_ends_as_its_row_says() {
    for fixture in FIXTURES {
        let house = House::with_phases(fixture.phases);
        let ended = house.trueup(&[&["run", "p.yaml"], fixture.options].concat());
        assert_eq!(ended.code, fixture.exit, "{}: {}", fixture.name, ended.told());
        assert_eq!(house.report()["overall_status"], fixture.status, "{}", fixture.name);
        let wanted: BTreeMap<String, String> = fixture
            .outcomes
            .iter()
            .map(|(name, outcome)| ((*name).to_owned(), (*outcome).to_owned()))
            .collect();
        assert_eq!(house.outcomes(), wanted, "{}", fixture.name);
    }
}

/// The time of the first event of a sort of each phase, by its place in the record.
fn places(events: &[Value], event: &str) -> BTreeMap<String, usize> {
    let of = |one: &&Value| one["event"] == event;
    let place = |one: &Value| {
        let seq = usize::try_from(one["seq"].as_u64().unwrap()).unwrap();
        (one["phase"].as_str().unwrap().to_owned(), seq)
    };
    events.iter().filter(of).map(place).collect()
}

#[test]
fn no_phase_starts_before_all_that_it_needs_has_ended() {
    let house = House::with_phases(&format!(
        "
  d: {{ uses: command, needs: [b, c], with: {{ argv: [{TRUE}] }} }}
  c: {{ uses: command, needs: [a], with: {{ argv: [/bin/sleep, '0.2'] }} }}
  b: {{ uses: command, needs: [a], with: {{ argv: [{TRUE}] }} }}
  a: {{ uses: command, with: {{ argv: [/bin/sleep, '0.1'] }} }}
"
    ));
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let events = house.events();
    let (started, ended) = (places(&events, "phase_started"), places(&events, "phase_ended"));
    for (phase, need) in [("b", "a"), ("c", "a"), ("d", "b"), ("d", "c")] {
        assert!(started[phase] > ended[need], "{phase} started before {need} had ended");
    }
    assert!(started["c"] < ended["b"] || started["b"] < ended["c"], "b and c ran side by side");
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "numbered without a gap");
    assert_eq!(events.last().unwrap()["event"], "run_ended");
}

/// The most phases that ran at once, from the record.
fn most_at_once(events: &[Value], among: &[&str]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for event in
        events.iter().filter(|event| among.contains(&event["phase"].as_str().unwrap_or("")))
    {
        match event["event"].as_str() {
            Some("phase_started") => now += 1,
            Some("phase_ended") => now -= 1,
            _ => {}
        }
        most = most.max(now);
    }
    most
}

#[test]
fn phases_that_exclude_each_other_never_overlap_and_no_more_run_than_jobs_allow() {
    let mut phases = String::from("\n");
    for index in 0..3 {
        let _ = write!(
            phases,
            "  x{index}: {{ uses: command, exclusive: [cpu], with: {{ argv: [/bin/sleep, '0.15'] }} }}\n\
             \x20 y{index}: {{ uses: command, with: {{ argv: [/bin/sleep, '0.4'] }} }}\n"
        );
    }
    let house = House::with_phases(&phases);
    let all = ["x0", "x1", "x2", "y0", "y1", "y2"];
    house.trueup(&["run", "p.yaml", "--jobs", "6"]).wanted(0);
    assert_eq!(most_at_once(&house.events(), &all[..3]), 1);
    assert!(most_at_once(&house.events(), &all) > 1, "the others run side by side");

    house.trueup(&["run", "p.yaml", "--jobs", "2"]).wanted(0);
    assert_eq!(most_at_once(&house.events(), &all), 2);
    house.trueup(&["run", "p.yaml", "--jobs", "1"]).wanted(0);
    assert_eq!(most_at_once(&house.events(), &all), 1);
    house.trueup(&["run", "p.yaml", "--jobs", "0"]).wanted(2);
}

#[test]
fn a_phase_over_its_time_is_ended_with_all_it_started() {
    let house = House::with_phases(
        "
  a:
    uses: command
    timeout: 700ms
    with: { argv: [/bin/sh, -c, 'sleep 600 & echo $! > child; echo $$ > self; wait'] }
  b: { uses: command, needs: [a], with: { argv: [/bin/true] } }
",
    );
    let started = Instant::now();
    house.trueup(&["run", "p.yaml"]).wanted(1);
    assert!(started.elapsed() < Duration::from_mins(1));
    assert_eq!(house.outcomes()["a"], "TIMED_OUT");
    assert_eq!(house.outcomes()["b"], "BLOCKED");
    assert!(house.report()["phases"]["a"]["reason"].as_str().unwrap().contains("700ms"));
    for file in ["self", "child"] {
        let pid = house.wait_for_number(file);
        assert!(!is_alive(pid), "the {file} process {pid} is still there");
    }
}

#[test]
fn a_phase_is_tried_again_and_every_attempt_is_recorded() {
    let house = House::with_phases(
        "
  a:
    uses: command
    retry: { attempts: 4, backoff: 10ms }
    with: { argv: [/bin/sh, -c, 'echo x >> tries; test $(wc -l < tries) -ge 3'] }
  b:
    uses: command
    retry: { attempts: 2, backoff: 10ms }
    with: { argv: [/bin/false] }
",
    );
    let told = house.trueup(&["run", "p.yaml", "--progress", "plain"]).wanted(1).stdout;
    assert_eq!(told.matches(" s (3rd attempt)\n").count(), 1, "as it ends: {told}");
    assert_eq!(told.matches(" s  (3rd attempt)\n").count(), 1, "in the summary: {told}");
    let report = house.report();
    assert_eq!(report["phases"]["a"]["status"], "SUCCESS");
    assert_eq!(report["phases"]["a"]["attempts"], 3);
    assert_eq!(report["phases"]["a"]["notes"].as_array().unwrap().len(), 2);
    assert_eq!(report["phases"]["b"]["status"], "FAILED");
    assert_eq!(report["phases"]["b"]["attempts"], 2);
    assert_eq!(house.get("tries").lines().count(), 3);
    let events = house.events();
    let retried = |phase: &str| {
        let is = |one: &&Value| one["event"] == "phase_retried" && one["phase"] == phase;
        events.iter().filter(is).count()
    };
    assert_eq!((retried("a"), retried("b")), (2, 1));
}

#[test]
fn outputs_keep_their_types_downstream_and_bring_the_order_with_them() {
    let house = House::with_phases(
        r#"
  user:
    uses: command
    with:
      argv: [/bin/sh, -c, 'printf "%s;" "$0" "$@" > seen', "{{ phases.maker.count + 1 }}", "{{ phases.maker.name }}", "{{ phases.maker.list | length }}"]
      exit: "{{ phases.maker.codes }}"
  maker:
    uses: command
    with: { argv: [/bin/echo, '{"count": 41, "name": "a b", "list": [1, 2, 3], "codes": [0, 7]}'] }
"#,
    );
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.get("seen"), "42;a b;3;", "a number is the text of it where a text is wanted");
    let outputs = house.report()["phases"]["maker"]["outputs"].clone();
    assert_eq!(outputs["codes"], json!([0, 7]));
    assert_eq!(house.report()["phases"]["user"]["needs"], json!(["maker"]));
}

#[test]
fn a_name_that_nobody_defined_fails_the_phase_and_is_never_an_empty_text() {
    let house = House::with_phases(
        r#"
  a: { uses: command, with: { argv: [/bin/echo, '{"there": 1}'] } }
  b: { uses: command, with: { argv: [/bin/echo, "{{ phases.a.missing }}"] } }
"#,
    );
    house.trueup(&["run", "p.yaml"]).wanted(1);
    let reason = house.report()["phases"]["b"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("phases.a.missing"), "{reason}");

    house.put(
        "p.yaml",
        "version: 1\nphases:\n  a: { uses: command, with: { argv: [\"{{ env.NO_SUCH_NAME }}\"] } }\n",
    );
    let ended = house.trueup(&["run", "p.yaml"]).wanted(2);
    assert!(ended.stderr.contains("NO_SUCH_NAME"), "{}", ended.stderr);
}

#[test]
fn a_variable_set_on_the_command_line_keeps_its_type() {
    let house = House::new();
    house.put(
        "p.yaml",
        r#"
version: 1
vars: { codes: [0], what: x, number: 1, base: 2, double: "{{ vars.base * 2 }}" }
phases:
  a:
    uses: command
    when: "{{ vars.number == 3 and vars.number is number and vars.what is string }}"
    with: { argv: [/bin/echo, "{{ vars.what }}", "double {{ vars.double }}"] }
"#,
    );
    house
        .trueup(&["run", "p.yaml", "--set", "number=3", "--set", "what=a=b c", "--set", "base=21"])
        .wanted(0);
    assert_eq!(house.report()["phases"]["a"]["outputs"]["stdout"], "a=b c double 42\n");
    house.trueup(&["run", "p.yaml", "--set", "number='3'"]).wanted(0);
    assert_eq!(house.outcomes()["a"], "SKIPPED", "a text is not a number");
    let ended = house.trueup(&["run", "p.yaml", "--set", "nubmer=3"]).wanted(2);
    assert!(ended.stderr.contains("did you mean `number`?"), "{}", ended.stderr);
    house.trueup(&["run", "p.yaml", "--set", "number"]).wanted(2);
}

#[test]
fn a_password_in_a_database_url_appears_nowhere() {
    const SECRET: &str = "s3cr3t-pass%21word";
    let house = House::new();
    house.put(
        "p.yaml",
        r#"
version: 1
vars: { url: "{{ env.PRIVATE_URL }}" }
defaults: { timeout: 20s }
phases:
  readiness: { uses: readiness, optional: true, with: { database: "{{ vars.url }}" } }
  pool: { uses: db_pool, optional: true, with: { url: "{{ vars.url }}", min: 1, max: 2 } }
  service: { uses: service, optional: true, with: { database: "{{ vars.url }}" } }
"#,
    );
    // Nobody listens there: each phase tries, fails and tells why.
    let url = format!("postgres://someone:{SECRET}@127.0.0.1:1/nowhere");
    for progress in ["plain", "json"] {
        let mut command = house.command(&["run", "p.yaml", "--progress", progress, "-vvv"]);
        command.env("PRIVATE_URL", &url);
        let ended = crate::house::Running::start(command).end().wanted(3);
        assert!(ended.told().contains("127.0.0.1:1/nowhere"), "{}", ended.told());
        for form in [SECRET, "s3cr3t-pass!word"] {
            assert!(!ended.told().contains(form), "{}", ended.told());
            for folder in ["results", "cache"] {
                for (path, content) in house.tree(folder) {
                    let text = String::from_utf8_lossy(&content);
                    assert!(!text.contains(form), "{} tells the password", path.display());
                }
            }
        }
    }
    assert_eq!(house.outcomes()["pool"], "FAILED");
}
