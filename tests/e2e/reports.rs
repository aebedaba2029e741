//! What is shown of a run and written about it, beside the report itself.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::house::{House, Running};

/// A socket in the place of a service manager's.
fn manager(house: &House) -> UnixDatagram {
    let socket = UnixDatagram::bind(house.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    socket
}

/// All messages that it was told so far.
fn told(manager: &UnixDatagram) -> Vec<String> {
    let mut messages = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = manager.recv(&mut buffer) {
        messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    messages
}

/// A run that has a service manager.
fn start(house: &House, arguments: &[&str]) -> Running {
    let mut command = house.command(arguments);
    command.env("NOTIFY_SOCKET", house.path("notify"));
    Running::start(command)
}

#[test]
fn a_service_manager_hears_of_the_phases_and_that_the_run_ended_well() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/sleep, '1.2'] } }\n");
    let manager = manager(&house);
    let ended = start(&house, &["run", "p.yaml", "--progress", "systemd"]).end().wanted(0);
    assert_eq!(ended.stdout, "", "nothing else is shown");
    let told = told(&manager);
    assert!(told.iter().any(|message| message.contains("EXTEND_TIMEOUT_USEC=")), "{told:?}");
    assert!(told.iter().any(|message| message.contains("STATUS=a: apply, 0 of 1")), "{told:?}");
    assert!(told.last().unwrap().starts_with("READY=1\nSTATUS=SUCCESS in "), "{told:?}");
    assert!(!told.iter().any(|message| message.contains("STOPPING")), "{told:?}");
}

#[test]
fn a_service_manager_hears_of_a_failure_and_of_a_stop_and_is_never_told_that_it_is_ready() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/false] } }\n");
    let manager = manager(&house);
    start(&house, &["run", "p.yaml"]).end().wanted(1);
    let failed = told(&manager);
    assert!(failed.last().unwrap().starts_with("STOPPING=1\nSTATUS=FAILED"), "{failed:?}");
    let wait = "version: 1\nphases:\n  a: { uses: command, with: { argv: [/bin/sh, -c, 'echo $$ > pid; exec sleep 60'] } }\n";
    house.put("p.yaml", wait);
    let running = start(&house, &["run", "p.yaml"]);
    house.wait_for_number("pid");
    running.signal(Signal::SIGTERM);
    running.end().wanted(143);
    let stopped = told(&manager);
    assert!(stopped.iter().any(|message| message.starts_with("STOPPING=1\n")), "{stopped:?}");
    assert!(!failed.iter().chain(&stopped).any(|message| message.contains("READY")));
}

#[test]
fn a_status_for_nobody_is_wrong_usage() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/true] } }\n");
    let ended = house.trueup(&["run", "p.yaml", "--progress", "systemd"]).wanted(2);
    assert!(ended.stderr.contains("run::notify"), "{}", ended.stderr);
    assert!(house.runs().is_empty());
}

/// A run of a pipeline that measures the size of a pool and checks nothing else.
fn measured() -> House {
    let house = House::with_phases(crate::cache::POOL);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house
}

#[test]
fn reports_in_other_forms_are_written_when_the_run_ends_and_made_again_from_its_record() {
    let house = House::with_phases(
        "  a: { uses: command, with: { argv: [/bin/true] } }
  b: { uses: command, with: { argv: [/bin/sh, -c, 'echo \"<1> & 2\" >&2; exit 1'] } }
",
    );
    let report = |form: &str, file: &str| format!("{form}={}", house.path(file).display());
    let wanted = [
        ("json", "out/run.json"),
        ("junit", "out/junit.xml"),
        ("markdown", "out/run.md"),
        ("prometheus", "out/trueup.prom"),
    ];
    let options: Vec<String> = wanted
        .iter()
        .flat_map(|(form, file)| ["--report".to_owned(), report(form, file)])
        .collect();
    std::fs::create_dir(house.path("out")).unwrap();
    let mut arguments = vec!["run", "p.yaml"];
    arguments.extend(options.iter().map(String::as_str));
    let mut command = house.command(&arguments);
    command.env("GITHUB_STEP_SUMMARY", house.path("summary.md"));
    let ended = Running::start(command).end().wanted(1);
    assert_eq!(ended.stderr, "", "every file could be written");
    for (form, file) in wanted {
        let again = house.trueup(&["report", "export", "--format", form]).wanted(0);
        assert_eq!(again.stdout, house.get(file), "{form}");
    }
    assert_eq!(house.get("summary.md"), house.get("out/run.md"));
    assert!(house.get("out/junit.xml").contains("&lt;1&gt; &amp; 2"));
    assert!(house.get("out/trueup.prom").contains(r#"phase="b",outcome="FAILED"} 1"#));
}

#[test]
fn the_record_alone_makes_the_report_again_byte_for_byte() {
    let house = measured();
    let run = house.runs().remove(0);
    let written = house.get(&format!("results/runs/{run}/report.json"));
    assert_eq!(house.get("results/latest.json"), written);
    let again = house.trueup(&["report", "export", "--format", "json", &run]).wanted(0);
    assert_eq!(again.stdout, written);
}

#[test]
fn a_report_file_that_cannot_be_meant_is_wrong_usage_before_anything_runs() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/true] } }\n");
    for (value, told) in [
        ("junit", "FORMAT=PATH"),
        ("xml=a.xml", "one of json, junit, markdown, prometheus"),
        ("junit=", "after the `=`"),
        ("prometheus=run.txt", "end in `.prom`"),
        ("json=/dev/null", "not a file"),
        ("json=none/run.json", "there is no folder none"),
    ] {
        let ended = house.trueup(&["run", "p.yaml", "--report", value]).wanted(2);
        assert!(ended.stderr.contains(told), "{value}: {}", ended.stderr);
    }
    assert!(house.runs().is_empty());
}

#[test]
fn a_report_file_that_cannot_be_written_is_a_warning_and_the_run_is_as_it_ended() {
    let house = House::with_phases(
        "  a: { uses: command, with: { argv: 'rmdir file && touch file', shell: true } }\n",
    );
    std::fs::create_dir(house.path("file")).unwrap();
    let ended = house.trueup(&["run", "p.yaml", "--report", "junit=file/junit.xml"]).wanted(0);
    assert!(ended.stderr.contains("run::reader"), "{}", ended.stderr);
    assert!(ended.stderr.contains("file"), "{}", ended.stderr);
    assert_eq!(house.report()["overall_status"], "SUCCESS");
}

#[test]
fn runs_are_named_by_their_beginning_or_from_the_last() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/true] } }\n");
    for _ in 0..3 {
        house.trueup(&["run", "p.yaml"]).wanted(0);
    }
    let runs = house.runs();
    let shown = |name: &str| {
        let shown = house.trueup(&["report", "show", "--json", name]).wanted(0);
        let report: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        report["run_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(shown("last"), runs[2]);
    assert_eq!(shown("last~2"), runs[0]);
    assert_eq!(shown(&runs[1][..runs[1].len() - 1]), runs[1]);
    for (name, told) in
        [("2", "may be any of 3 runs"), ("last~3", "has 3 runs"), ("1999", "there is no run")]
    {
        let ended = house.trueup(&["report", "show", name]).wanted(1);
        assert!(ended.stderr.contains(told), "{name}: {}", ended.stderr);
    }
    let listed = house.trueup(&["report", "list", "--json"]).wanted(0);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).unwrap();
    let names: Vec<&str> = listed.iter().map(|run| run["run"].as_str().unwrap()).collect();
    assert_eq!(names, runs.iter().rev().collect::<Vec<_>>());
    assert_eq!(listed[0]["status"], "SUCCESS");
}

#[test]
fn two_runs_differ_in_what_they_decided_and_measured_beyond_noise() {
    let house = measured();
    house.trueup(&["run", "p.yaml", "--refresh"]).wanted(0);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let told = house.trueup(&["report", "diff", "last~2", "last~1"]).wanted(0).stdout;
    assert!(told.contains("\nmeasurements\n"), "{told}");
    let json = house.trueup(&["report", "diff", "last~2", "last~1", "--json"]).wanted(0);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let judged = ["beyond_noise", "within_noise", "too_few_samples"];
    let measurements = json["measurements"].as_array().unwrap();
    assert!(!measurements.is_empty());
    for one in measurements {
        assert!(judged.contains(&one["judgement"].as_str().unwrap()), "{one}");
    }
    let same = house.trueup(&["report", "diff"]).wanted(0).stdout;
    assert!(same.contains("decisions: no difference"), "the cache was asked:\n{same}");
}

#[test]
fn an_export_of_a_damaged_record_tells_the_line_and_prints_what_was_written() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/true] } }\n");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let run = house.runs().remove(0);
    let path = format!("results/runs/{run}/events.jsonl");
    let whole = house.get(&path);
    let lines: Vec<&str> = whole.lines().collect();
    let without_second = [&lines[..1], &lines[2..]].concat().join("\n") + "\n";
    for (record, told) in [
        ("random bytes\n".to_owned(), ":1 is not an event record"),
        (whole.replacen("\"v\":1", "\"v\":99", 1), ":1 has version 99"),
        (without_second, ":2 is event 2"),
        (whole[..whole.len() - 20].to_owned(), "ends before the run did"),
    ] {
        house.put(&path, &record);
        let ended = house.trueup(&["report", "export", "--format", "json", &run]).wanted(1);
        let words = ended.stderr.replace(['|', ' ', '\n'], "");
        assert!(ended.stderr.contains("report::record"), "{}", ended.stderr);
        assert!(words.contains(&told.replace(' ', "")), "{told}: {}", ended.stderr);
        assert_eq!(ended.stdout, house.get("results/latest.json"), "{told}");
    }
}

#[test]
fn a_run_at_work_is_shown_as_one_and_the_last_run_is_not_that_of_a_wrong_clock() {
    let house = House::with_phases(
        "  a: { uses: command, with: { shell: true, argv: 'echo $$ > shell; exec sleep 600' } }\n",
    );
    let run = house.start(&["run", "p.yaml"]);
    house.wait_for_number("shell");
    let name = house.runs().remove(0);
    let listed = house.trueup(&["report", "list"]).wanted(0).stdout;
    assert!(listed.contains("AT WORK") && !listed.contains("CUT OFF"), "{listed}");
    let shown = house.trueup(&["report", "show"]).wanted(0).stdout;
    assert!(shown.starts_with("AT WORK") && shown.contains("still at work"), "{shown}");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.end().wanted(143);
    // A run of a clock that was ahead, junk, and then another run.
    let ahead = "29991231T235959Z-00000abc";
    for file in ["events.jsonl", "report.json"] {
        let content = house.get(&format!("results/runs/{name}/{file}"));
        house.put(&format!("results/runs/{ahead}/{file}"), &content.replace(&name, ahead));
    }
    house.put("results/order", &format!("{name}\n{ahead}\n"));
    std::fs::create_dir(house.path("results/runs/zzz")).unwrap();
    house.put(
        "p.yaml",
        "version: 1\nphases:\n  a: { uses: command, with: { argv: [/bin/true] } }\n",
    );
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let shown = house.trueup(&["report", "show"]).wanted(0).stdout;
    assert!(shown.starts_with("SUCCESS"), "{shown}");
    let before = house.trueup(&["report", "show", "last~1"]).wanted(0).stdout;
    assert!(before.contains(ahead), "{before}");
}
