//! What people read: help, and the errors of pipelines that are wrong, each as a snapshot.

use std::fs;
use std::path::PathBuf;

use crate::house::{House, Running, checkout};

/// The files of `tests/pipelines/bad`, in order.
fn bad_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(checkout().join("tests/pipelines/bad"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 60, "only {} bad pipelines", files.len());
    files
}

/// What the program says of a pipeline of the checkout, started there, so that paths are short.
fn run(name: &str, command: &str) -> crate::house::Ended {
    let house = House::new();
    let file = format!("tests/pipelines/bad/{name}.yaml");
    let mut started = house.command(&[command, &file]);
    started.current_dir(checkout());
    Running::start(started).end()
}

#[test]
fn every_bad_pipeline_is_refused_with_its_place_its_line_and_a_remedy() {
    let mut wrong = Vec::new();
    for path in bad_files() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let ended = run(name, "run");
        let place = format!("tests/pipelines/bad/{name}.yaml:");
        let is_code = |line: &&str| {
            ["pipeline::", "plan::", "suite::"].iter().any(|code| line.starts_with(code))
        };
        let errors = ended.stderr.lines().filter(is_code).count();
        let checks = [
            ("exit code", ended.code == 2),
            ("nothing on standard output", ended.stdout.is_empty()),
            ("place", ended.stderr.contains(&place)),
            ("remedy", errors > 0 && ended.stderr.matches("help:").count() == errors),
            ("the same from `check`", run(name, "check").stderr == ended.stderr),
        ];
        let missing = checks.iter().filter(|(_, is_so)| !is_so).map(|(what, _)| *what);
        wrong.extend(missing.map(|what| format!("{name}: {what}\n{}", ended.told())));
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "../snapshots/bad" }, {
            insta::assert_snapshot!(name, ended.stderr);
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_cycle_is_told_as_the_path_that_closes_it_with_every_line() {
    let told = run("cycle", "run").wanted(2).stderr;
    assert!(told.contains("a -> c -> b -> a"), "{told}");
    for need in ["`a` needs `c`", "`b` needs `a`", "`c` needs `b`"] {
        assert!(told.contains(need), "{need}\n{told}");
    }
}

#[test]
fn a_refused_pipeline_leaves_nothing_behind() {
    let house = House::with_phases("  a: { uses: nonsense }\n");
    let before = house.tree("");
    house.trueup(&["run", "p.yaml"]).wanted(2);
    assert_eq!(house.tree(""), before);
    let missing = house.trueup(&["run", "missing.yaml"]).wanted(2);
    assert!(missing.stderr.contains("missing.yaml"), "{}", missing.stderr);
}

#[test]
fn the_pipelines_that_ship_are_valid() {
    let house = House::new();
    for folder in ["pipelines", "tests/pipelines/good"] {
        for entry in fs::read_dir(checkout().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let mut command = house.command(&["check", path.to_str().unwrap()]);
                command.env("TRUEUP_DATABASE_URL", "sqlite://x.db");
                Running::start(command).end().wanted(0);
            }
        }
    }
}

#[test]
fn help_is_there_for_every_command() {
    let house = House::new();
    let commands = [
        "",
        "run",
        "plan",
        "check",
        "graph",
        "host",
        "cache",
        "cache ls",
        "cache explain",
        "cache prune",
        "cache clear",
        "report",
        "report show",
        "report list",
        "report diff",
        "report export",
        "rollback",
        "verify",
        "powd",
        "powd serve",
        "powd verify",
        "powd mint",
        "powd bench",
        "load",
        "schema",
        "completions",
        "man",
    ];
    for command in commands {
        let mut started = house.command(&[]);
        started.args(command.split_whitespace()).arg("--help");
        let help = Running::start(started).end().wanted(0).stdout;
        let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "wider than a terminal: {wide:#?}");
        let name = if command.is_empty() { "trueup" } else { command }.replace(' ', "-");
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "../snapshots/help" }, {
            insta::assert_snapshot!(name, help);
        });
    }
}

#[test]
fn wrong_usage_is_told_with_what_would_be_right() {
    let house = House::new();
    let ended = house.trueup(&["rollbak"]).wanted(2);
    assert!(ended.stderr.contains("'rollback'"), "{}", ended.stderr);
    house.trueup(&[]).wanted(2);
    house.trueup(&["--version"]).wanted(0);
}

#[test]
fn a_file_is_written_into_a_folder_that_is_there_and_a_misspelt_one_is_not_made() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/true] } }\n");
    for arguments in [
        &["plan", "p.yaml", "-o", "misspelt/p.plan"][..],
        &["run", "p.yaml", "--report", "junit=misspelt/r.xml"],
        &["plan", "p.yaml", "-o", "."],
    ] {
        let told = house.trueup(arguments).wanted(2).stderr;
        let wanted = ["there is no folder misspelt", "that is not a file"];
        assert!(wanted.iter().any(|wanted| told.contains(wanted)), "{told}");
    }
    assert!(!house.path("misspelt").exists() && house.runs().is_empty());
}

#[test]
fn a_kind_that_is_misspelt_forgets_nothing_and_is_told() {
    let house = House::new();
    let told = house.trueup(&["cache", "clear", "db_pol"]).wanted(2).stderr;
    assert!(told.contains("cache::kind") && told.contains("did you mean `db_pool`?"), "{told}");
    house.trueup(&["cache", "clear", "gate"]).wanted(0);
}

#[test]
fn a_doubt_about_a_secret_tells_what_comes_of_it_and_what_to_do() {
    let house = House::with_phases(
        "  a: { uses: command, with: { argv: ['true'], stdin: { secret: env, name: SHORT } } }\n",
    );
    let mut command = house.command(&["run", "p.yaml"]);
    command.env("SHORT", "abc");
    let told = Running::start(command).end().wanted(0).stderr;
    let told = told.split_whitespace().filter(|word| *word != "|").collect::<Vec<_>>().join(" ");
    for part in ["has less than 4 bytes, and can't be hidden", "help: set a longer secret"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn no_file_that_is_written_replaces_the_pipeline_or_what_is_kept() {
    let house = House::new();
    let phase = "phases:\n  a: { uses: command, with: { argv: [/bin/true] } }\n";
    house.put("base.yaml", &format!("version: 1\n{phase}"));
    house.put("p.yaml", "version: 1\nextends: base.yaml\n");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    std::os::unix::fs::symlink("p.yaml", house.path("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", house.path("astray")).unwrap();
    let runs = house.runs();
    let record = format!("results/runs/{}/events.jsonl", runs[0]);
    for path in
        ["p.yaml", "base.yaml", "link", "results/lock", "cache/x", "results/latest.json", &record]
    {
        let before = house.get("p.yaml");
        std::fs::create_dir_all(house.path("cache")).unwrap();
        let planned = house.trueup(&["plan", "p.yaml", "-o", path]).wanted(2);
        let report = format!("json={path}");
        let reported = house.trueup(&["run", "p.yaml", "--report", &report]).wanted(2);
        for ended in [planned, reported] {
            assert!(ended.stderr.contains("cli::output"), "{path}: {}", ended.stderr);
        }
        assert_eq!(house.get("p.yaml"), before);
    }
    house.trueup(&["plan", "p.yaml", "-o", "astray"]).wanted(2);
    assert_eq!(house.runs(), runs);
    house.put("plans/held.json", "");
    std::os::unix::fs::symlink("plans/held.json", house.path("plan.json")).unwrap();
    house.trueup(&["plan", "p.yaml", "-o", "plan.json"]).wanted(0);
    assert!(
        house.path("plan.json").is_symlink() && house.get("plans/held.json").contains("phases")
    );
}
