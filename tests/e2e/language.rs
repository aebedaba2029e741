//! The language of pipelines through the program: files that extend files, phases made by `matrix`, mistakes of every
//! kind in one list.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::json;

use crate::house::{House, Running};

const BASE: &str = r#"
version: 1
name: base
description: what both have
vars: { word: base, other: kept }
defaults: { timeout: 20s, retry: { attempts: 2, backoff: 1ms } }
phases:
  first:
    uses: command
    timeout: 5s
    with: { argv: [/bin/echo, "{{ vars.word }} {{ vars.other }}"], env: { A: a, B: b } }
  gone: { uses: command, with: { argv: [/bin/false] } }
  last: { uses: command, needs: [first], with: { argv: [/bin/sh, -c, "echo $A$B$C"], env: { A: a, B: b } } }
"#;

#[test]
fn a_file_that_extends_another_is_laid_over_it_by_name_and_key() {
    let house = House::new();
    house.put("bases/base.yaml", BASE);
    house.put(
        "p.yaml",
        r#"
version: 1
extends: bases/base.yaml
name: child
vars: { word: child }
phases:
  gone: null
  last: { with: { env: { B: null, C: "{{ phases.first.code }}." } } }
  added: { uses: command, needs: [last], with: { argv: [/bin/true] } }
"#,
    );
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let report = house.report();
    assert_eq!(report["pipeline"]["name"], "child");
    let names: Vec<&String> = report["phases"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["first", "last", "added"]);
    assert_eq!(report["phases"]["first"]["outputs"]["stdout"], "child kept\n");
    assert_eq!(report["phases"]["last"]["outputs"]["stdout"], "a0.\n");
}

#[test]
fn seventeen_files_that_extend_each_other_are_one_too_many() {
    let house = House::new();
    for file in 0..17 {
        house.put(
            &format!("p{file}.yaml"),
            &format!("version: 1\nextends: p{}.yaml\nphases: {{}}\n", file + 1),
        );
    }
    house.put(
        "p17.yaml",
        "version: 1\nphases:\n  a: { uses: command, with: { argv: [/bin/true] } }\n",
    );
    let ended = house.trueup(&["check", "p0.yaml"]).wanted(2);
    assert!(ended.stderr.contains("more than 16 files"), "{}", ended.stderr);
    house.trueup(&["check", "p2.yaml"]).wanted(0);
}

#[test]
fn matrix_makes_a_phase_of_each_combination_and_their_outputs_a_map() {
    let house = House::with_phases(
        r#"
  build:
    uses: command
    matrix: { size: [5, 10], mode: [fast, safe] }
    when: matrix.size == 5 or matrix.mode == 'fast'
    with: { argv: [/bin/echo, '{"twice": {{ matrix.size * 2 }}, "mode": "{{ matrix.mode }}"}'] }
  all:
    uses: command
    with: { argv: [/bin/echo, "{{ phases.build['10,fast'].twice }} {{ phases.build | length }}"] }
  one:
    uses: command
    needs: ["build[5,safe]"]
    with: { argv: [/bin/true] }
"#,
    );
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let report = house.report();
    let names: Vec<&String> = report["phases"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["build[5,fast]", "build[5,safe]", "build[10,fast]", "build[10,safe]", "all", "one"]
    );
    assert_eq!(report["phases"]["build[10,safe]"]["status"], "SKIPPED");
    assert_eq!(report["phases"]["build[5,safe]"]["outputs"]["mode"], "safe");
    assert_eq!(report["phases"]["one"]["needs"], json!(["build[5,safe]"]));
    assert_eq!(report["phases"]["all"]["needs"].as_array().unwrap().len(), 4);
    assert_eq!(report["phases"]["all"]["outputs"]["stdout"], "20 3\n");

    for (only, count) in [("build[5,fast]", 1), ("build[5,fast],one", 3)] {
        house.trueup(&["run", "p.yaml", "--only", only]).wanted(0);
        let ran = house.outcomes().into_values().filter(|outcome| outcome == "SUCCESS").count();
        assert_eq!(ran, count, "{only}");
    }
    house.trueup(&["run", "p.yaml", "--skip", "build", "--skip", "all"]).wanted(0);
    assert_eq!(house.outcomes()["build[5,fast]"], "SKIPPED");
    let ended = house.trueup(&["run", "p.yaml", "--only", "build[5,fats]"]).wanted(2);
    assert!(ended.stderr.contains("did you mean `build[5,fast]`?"), "{}", ended.stderr);
}

#[test]
fn what_is_wrong_with_the_file_and_with_the_options_is_told_in_one_go() {
    let house = House::new();
    house.put(
        "p.yaml",
        "version: 1\nvars: { number: 1 }\nphases:\n  alpha: { uses: comand, needs: [beta], with: { argv: [1] } }\n",
    );
    let options = ["check", "p.yaml", "--set", "nubmer=2", "--only", "alhpa", "--skip", "alpa"];
    let told = house.trueup(&options).wanted(2).stderr;
    let places = [
        "unknown kind `comand`",
        "unknown phase `beta`",
        "did you mean `number`?",
        "--only names the unknown phase `alhpa`",
        "--skip names the unknown phase `alpa`",
    ]
    .map(|part| told.find(part).unwrap_or_else(|| panic!("{part}\n{told}")));
    assert!(places.is_sorted(), "{told}");
}

#[test]
fn a_chain_of_many_phases_is_checked_without_running_out_of_stack() {
    let house = House::new();
    let mut text =
        String::from("version: 1\nphases:\n  p0: { uses: command, with: { argv: [/bin/true] } }\n");
    for phase in 1..3000 {
        let _ = writeln!(
            text,
            "  p{phase}: {{ uses: command, needs: [p{}], with: {{ argv: [/bin/true] }} }}",
            phase - 1
        );
    }
    house.put("p.yaml", &text);
    house.trueup(&["check", "p.yaml"]).wanted(0);
    house.put(
        "p.yaml",
        &text.replacen("p0: { uses: command,", "p0: { uses: command, needs: [p2999],", 1),
    );
    let told = house.trueup(&["check", "p.yaml"]).wanted(2).stderr;
    assert!(told.contains("p0 -> p2999 -> p2998"), "{told}");
}

#[test]
fn what_only_a_phase_before_can_tell_is_the_reason_of_the_phase_with_its_place_and_a_remedy() {
    let house = House::with_phases(
        r#"
  tells: { uses: command, with: { argv: [/bin/echo, '{"size": "7"}'] } }
  orders: { uses: command, optional: true, when: phases.tells.size > 5, with: { argv: [/bin/true] } }
  names: { uses: command, optional: true, when: phases.tells.siez == '7', with: { argv: [/bin/true] } }
  with: { uses: command, optional: true, with: { argv: [/bin/echo, "{{ phases.tells.stdut }}"] } }
"#,
    );
    house.trueup(&["run", "p.yaml"]).wanted(3);
    let report = house.report();
    let reason = |phase: &str| report["phases"][phase]["reason"].as_str().unwrap().to_owned();
    for (phase, at, told) in [
        ("orders", "p.yaml:5:50: ", "make a number of the text: `phases.tells.size | int > 5`"),
        ("names", "p.yaml:6:62: ", "`phases.tells.siez` is not defined; did you mean `size`?"),
        ("with", "p.yaml:7:85: ", "`phases.tells.stdut` is not defined; did you mean `stdout`?"),
    ] {
        let reason = reason(phase);
        assert!(reason.contains(at) && reason.contains(told), "{reason}");
    }
}

#[test]
fn a_mistake_far_out_in_a_line_is_drawn_with_what_stands_around_it() {
    let house = House::new();
    let filler = "x".repeat(200_000);
    house.put(
        "p.yaml",
        &format!(
            r#"{{"version": 1, "description": "{filler}", "phases": {{"a": {{"uses": "command", "need": ["b"], "with": {{"argv": ["date"]}}}}}}}}"#
        ),
    );
    let told = house.trueup(&["check", "p.yaml"]).wanted(2).stderr;
    assert!(told.contains("has no key `need`") && told.len() < 2_000, "{told}");
    assert!(told.contains("p.yaml:1:2000"), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    let drawn = lines.iter().position(|line| line.contains("\"need\"")).unwrap();
    assert!(lines[drawn].contains("..") && lines[drawn].contains("uses"), "{told}");
    let caret = lines[drawn + 1].find('^').unwrap();
    assert_eq!(lines[drawn].find("\"need\""), Some(caret), "{told}");
}

#[test]
fn what_no_host_could_do_is_told_before_anything_runs() {
    let house = House::with_phases(
        "  pool: { uses: db_pool, with: { url: \"sqlite://a.db\", clients: 99999999 } }\n\
         \x20 service: { uses: service, with: { database: \"sqlite://a.db\", threads: 100000, queue: 0 } }\n\
         \x20 load: { uses: tune, needs: [service], with: { space: { threads: { int: [1, 2] } }, load: { clients: 99999999 } } }\n\
         \x20 names: { uses: tune, needs: [service], with: { space: { thread: { int: [1, 2] } }, objective: { maximize: throughputs } } }\n",
    );
    let told = house.trueup(&["check", "p.yaml"]).wanted(2).stderr;
    for wanted in [
        "from 1 to 10000 clients can share the pool",
        "must be from 1 to 1024, and is 100000",
        "`queue`: must be from 1 to 1048576, and is 0",
        "`clients` must be from 1 to 10000",
        "did you mean `threads`?",
        "did you mean `throughput`?",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
}

#[test]
fn a_number_that_becomes_a_text_is_spelled_as_in_the_file_and_is_a_number_where_it_is_computed_with()
 {
    let house = House::new();
    house.put(
        "p.yaml",
        r#"
version: 1
vars: { v: 1.10, same: "{{ vars.v }}", list: [0777, "{{ vars.v }}"], set: 0, exit: 0x0 }
phases:
  plain:
    uses: command
    with:
      argv: [/bin/echo, 1.10, 0777, 1e3, 0x10, +5, &a -0, *a, True, no, 12345678901234567890123]
      env: { A: 1_000 }
  by_name:
    uses: command
    with: { argv: [/bin/echo, "{{ vars.v }}", "{{ vars.same }}", "v{{ vars.v ~ '-' ~ vars.set }}"] }
  whole: { uses: command, with: { argv: [/bin/sh, -c, 'echo $A $B', x], env: { A: "{{ vars.list[0] }}", B: "{{ vars.same }}" } } }
  computed: { uses: command, when: vars.v < 1.2, with: { argv: [/bin/echo, "{{ vars.v * 2 }}", "{{ vars.list | length }}"], exit: ["{{ vars.exit }}"] } }
  version: { uses: command, matrix: { of: [1.10, 1.1] }, with: { argv: [/bin/echo, "{{ matrix.of }}", "v{{ matrix.of }}"] } }
  after: { uses: command, with: { argv: [/bin/echo, "{{ phases.version['1.10'].code }}"] } }
"#,
    );
    house.trueup(&["run", "p.yaml", "--set", "set=2.50"]).wanted(0);
    let report = house.report();
    for (phase, said) in [
        ("plain", "1.10 0777 1e3 0x10 +5 -0 -0 True no 12345678901234567890123\n"),
        ("by_name", "1.10 1.10 v1.10-2.50\n"),
        ("whole", "0777 1.10\n"),
        ("computed", "2.2 2\n"),
        ("version[1.10]", "1.10 v1.10\n"),
        ("version[1.1]", "1.1 v1.1\n"),
        ("after", "0\n"),
    ] {
        assert_eq!(report["phases"][phase]["outputs"]["stdout"], said, "{phase}");
    }
}

#[test]
fn what_all_phases_are_told_has_a_limit_and_what_is_the_same_for_all_of_a_matrix_counts_once() {
    let values = |count: usize| vec!["1"; count].join(",");
    let house = House::new();
    let phase = |argv: &str| {
        let axis: Vec<String> = (0..1000).map(|value| value.to_string()).collect();
        let axis = axis.join(",");
        format!(
            "version: 1\nvars: {{ list: [{}] }}\nphases:\n  p: {{ uses: command, matrix: {{ x: [{axis}] }}, with: {{ argv: {argv} }} }}\n",
            values(20_000)
        )
    };
    house.put("p.yaml", &phase("\"{{ vars.list }}\""));
    house.trueup(&["check", "p.yaml"]).wanted(0);
    house.put("p.yaml", &phase(&format!("[\"{{{{ matrix.x }}}}\", {}]", values(20_000))));
    let told = house.trueup(&["check", "p.yaml"]).wanted(2).stderr;
    assert!(
        told.contains("pipeline::limit") && told.contains("more than 4000000 values"),
        "{told}"
    );
}

#[test]
fn a_phase_that_cleans_up_may_give_what_was_not_decided_a_default() {
    let house = House::with_phases(
        r#"
  fails: { uses: command, with: { argv: [/bin/false] } }
  after: { uses: command, needs: [fails], with: { argv: [/bin/true] } }
  cleans: { uses: command, always: true, needs: [after], with: { argv: [/bin/echo, "{{ phases.after.code | default(9) }}"] } }
"#,
    );
    house.trueup(&["run", "p.yaml"]).wanted(1);
    assert_eq!(house.report()["phases"]["cleans"]["outputs"]["stdout"], "9\n");
}

#[test]
fn a_variable_of_the_environment_that_is_no_text_is_told_as_that() {
    let house = House::with_phases(
        "  a: { uses: command, with: { argv: [/bin/echo, \"{{ env.LATIN | default('x') }}\"] } }\n",
    );
    let mut command = house.command(&["check", "p.yaml"]);
    command.env("LATIN", OsStr::from_bytes(b"caf\xe9"));
    let told = Running::start(command).end().wanted(2).stderr;
    assert!(told.contains("`LATIN` is not UTF-8"), "{told}");
}
