//! What a `command` phase gives to its program and takes from it, and that its processes end with the run.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{House, is_alive, wait_until};

fn phase(house: &House, name: &str) -> Value {
    house.report()["phases"][name].clone()
}

#[test]
fn fields_of_a_json_object_are_visible_downstream_with_their_types() {
    let house = House::with_phases(
        r#"
  found:
    uses: command
    with: { argv: [printf, '{"cpus": 3, "tags": ["a", "b"], "fast": true, "none": null}'], outputs: json }
  uses:
    uses: command
    when: phases.found.fast and phases.found.cpus + 1 == 4
    with: { argv: [echo, "{{ phases.found.tags[1] }}"], outputs: text }
  quiet: { uses: command, needs: [uses], with: { argv: [echo, '{"a": 1}'], outputs: none } }
  auto: { uses: command, with: { argv: [echo, '{"a": 1}'] } }
"#,
    );
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let found = json!({ "cpus": 3, "tags": ["a", "b"], "fast": true, "none": null, "code": 0 });
    assert_eq!(phase(&house, "found")["outputs"], found);
    let text = json!({ "stdout": "b\n", "stderr": "", "code": 0 });
    assert_eq!(phase(&house, "uses")["outputs"], text);
    assert_eq!(phase(&house, "quiet")["outputs"], json!({ "code": 0 }));
    let auto = json!({ "a": 1, "stdout": "{\"a\": 1}\n", "stderr": "", "code": 0 });
    assert_eq!(phase(&house, "auto")["outputs"], auto);
}

#[test]
fn a_program_that_prints_no_json_object_where_one_is_due_has_failed() {
    for (printed, said) in [
        ("[1]", "invalid type: sequence"),
        ("{", "EOF while parsing"),
        ("", "EOF while parsing"),
        ("{\"a\": 1} x", "trailing characters"),
    ] {
        let house = House::with_phases(&format!(
            "  a: {{ uses: command, with: {{ argv: [printf, '%s', '{printed}'], outputs: json }} }}\n"
        ));
        house.trueup(&["run", "p.yaml"]).wanted(1);
        let reason = phase(&house, "a")["reason"].to_string();
        assert!(
            reason.contains("did not print a JSON object") && reason.contains(said),
            "{reason}"
        );
    }
}

#[test]
fn there_is_a_shell_only_where_one_is_asked_for() {
    let house = House::with_phases(
        r"
  without: { uses: command, with: { argv: [echo, '$HOME | wc'] } }
  with: { uses: command, with: { argv: 'echo one two | wc -w; exit 3', shell: true, exit: [0, 3] } }
",
    );
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(phase(&house, "without")["outputs"]["stdout"], "$HOME | wc\n");
    assert_eq!(phase(&house, "with")["outputs"]["stdout"], "2\n");
    assert_eq!(phase(&house, "with")["outputs"]["code"], 3);
}

#[test]
fn a_program_gets_its_input_its_environment_and_its_folder() {
    let house = House::with_phases(
        r#"
  a:
    uses: command
    with:
      argv: [sh, -c, 'cat; echo "$GREETING from ${PWD##*/}, run ${TRUEUP_RUN%@*}"']
      env: { GREETING: hello }
      cwd: sub
      stdin: "first {{ 1 + 1 }}\n"
  none: { uses: command, with: { argv: [cat] } }
"#,
    );
    house.put("sub/file", "");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let run = house.runs()[0].clone();
    let wanted = format!("first 2\nhello from sub, run {run}\n");
    assert_eq!(phase(&house, "a")["outputs"]["stdout"], wanted);
    assert_eq!(phase(&house, "none")["outputs"]["stdout"], "");
}

#[test]
fn of_a_longer_output_both_ends_are_kept_and_it_is_said() {
    let house = House::with_phases(
        r#"
  long:
    uses: command
    with: { argv: ['printf begin; yes x | head -c 1000000; printf end; echo small >&2'], shell: true, output_limit: 1KiB }
  json:
    uses: command
    optional: true
    with: { argv: ['printf "{"; yes x | head -c 100000'], shell: true, output_limit: 1KiB, outputs: json }
"#,
    );
    house.trueup(&["run", "p.yaml"]).wanted(3);
    let long = phase(&house, "long");
    let stdout = long["outputs"]["stdout"].as_str().unwrap();
    assert!(stdout.starts_with("begin") && stdout.ends_with("end"), "{stdout}");
    assert!(stdout.contains("\n[998984 bytes left out]\n"), "{stdout}");
    assert!(stdout.len() < 1100 && long["outputs"]["stderr"] == "small\n");
    assert!(long["notes"].to_string().contains("longer than 1KiB"), "{}", long["notes"]);
    let reason = phase(&house, "json")["reason"].to_string();
    assert!(reason.contains("more than 1KiB") && reason.contains("output_limit"), "{reason}");
}

#[test]
fn no_process_of_a_command_survives_the_run_even_when_that_is_killed_outright() {
    let house = House::with_phases(
        r"
  long:
    uses: command
    with: { argv: [sh, -c, 'sleep 600 & echo $! > child; setsid sleep 600 & echo $! > away; echo $$ > shell; wait'] }
",
    );
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let run = house.start(&["run", "p.yaml"]);
        let left = ["shell", "child", "away"].map(|file| house.wait_for_number(file));
        run.signal(signal);
        run.end();
        for pid in left {
            wait_until("the end of what the run had started", || !is_alive(pid));
        }
        for file in ["shell", "child", "away"] {
            std::fs::remove_file(house.path(file)).unwrap();
        }
    }
}

#[test]
fn a_command_with_a_cache_of_its_own_is_a_probe_that_is_remembered_until_its_program_changes() {
    let house = House::with_phases(
        "  probe: { uses: command, cache: { ttl: 24h }, with: { argv: [probe, x], env: { PATH: .:/usr/bin:/bin }, outputs: json } }\n",
    );
    let script = |value: u32| {
        house
            .put("probe", &format!("#!/bin/sh\necho run >> runs\necho '{{\"found\": {value}}}'\n"));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(house.path("probe"), mode).unwrap();
    };
    let path = format!("PATH: {}:/usr/bin:/bin", house.path("").display());
    house.put("p.yaml", &house.get("p.yaml").replace("PATH: .:/usr/bin:/bin", &path));
    script(7);
    let outputs = || {
        house.trueup(&["run", "p.yaml"]).wanted(0);
        phase(&house, "probe")["outputs"].clone()
    };
    for _ in 0..2 {
        assert_eq!(outputs(), json!({ "found": 7, "code": 0 }));
        assert_eq!(house.get("runs"), "run\n");
    }
    script(8);
    assert_eq!(outputs(), json!({ "found": 8, "code": 0 }));
    assert_eq!(house.get("runs"), "run\nrun\n");
    house.put("p.yaml", &house.get("p.yaml").replace("cache: { ttl: 24h }, ", ""));
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.get("runs").lines().count(), 4, "without a cache of its own it always runs");
}

#[test]
fn what_is_said_of_a_file_that_does_not_start_fits_what_is_wrong_with_it() {
    let house = House::new();
    let mut phases = String::from("version: 1\nphases:\n");
    for (name, content, mode, _) in UNSTARTED {
        house.put(name, content);
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(house.path(name), mode).unwrap();
        let _ = writeln!(phases, "  {name}: {{ uses: command, with: {{ argv: [./{name}] }} }}");
    }
    phases.push_str("  folder: { uses: command, with: { argv: [./results] } }\n");
    phases.push_str("  missing: { uses: command, with: { argv: [./missing] } }\n");
    house.put("p.yaml", &phases);
    house.trueup(&["run", "p.yaml"]).wanted(1);
    let others = [("folder", "it is a folder"), ("missing", "could not find the program")];
    for (name, said) in UNSTARTED.map(|(name, _, _, said)| (name, said)).into_iter().chain(others) {
        let reason = phase(&house, name)["reason"].to_string();
        assert!(reason.contains(said), "{name}: {reason}");
        assert_eq!(reason.contains("chmod"), name == "script", "{name}: {reason}");
    }
}

/// Files with their content and mode, and what is said when they are to be run.
const UNSTARTED: [(&str, &str, u32, &str); 5] = [
    ("script", "#!/bin/sh\n", 0o644, "make it executable"),
    ("text", "root:x:0:0\n", 0o644, "does not look like a program"),
    ("lost", "#! /no/such/shell -e\n", 0o755, "names the interpreter `/no/such/shell`"),
    ("bare", "echo\n", 0o755, "write `#!/bin/sh` as its first line"),
    ("alien", "\x7fELF\n", 0o755, "another kind of machine"),
];

#[test]
fn json_that_can_not_be_kept_as_it_is_fails_or_is_no_json_and_the_reason_is_told() {
    let house = House::with_phases(
        r#"
  twice: { uses: command, with: { argv: [echo, '{"a": 1, "a": 2}'] } }
  long: { uses: command, optional: true, with: { argv: [echo, '{"a": 18446744073709551616}'], outputs: json } }
"#,
    );
    house.trueup(&["run", "p.yaml"]).wanted(3);
    assert_eq!(phase(&house, "twice")["outputs"].get("a"), None);
    let notes = phase(&house, "twice")["notes"].to_string();
    assert!(notes.contains("the key `a` stands in it twice"), "{notes}");
    let reason = phase(&house, "long")["reason"].to_string();
    assert!(reason.contains("18446744073709551616 has more than 64 bits"), "{reason}");
}
