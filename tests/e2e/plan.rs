//! What a plan foresees, that it touches nothing, and that a run can be held to it.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::governor::{PHASES, SWAPPINESS, bare_host, host_with_policies};
use crate::house::{Ended, House, Running, checkout, hears_signals, wait_until};

fn house() -> House {
    let house = House::with_phases(&format!(
        "{PHASES}{}  last: {{ uses: command, with: {{ argv: [/bin/touch, reached] }} }}\n",
        crate::cache::POOL
    ));
    host_with_policies(&house);
    house
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_plan_shows_from_and_to_and_leaves_every_byte_as_it_was() {
    let house = house();
    let before = house.tree("");
    for arguments in [&["plan", "p.yaml"][..], &["run", "p.yaml", "--dry-run"]] {
        let plan = house.trueup(arguments).wanted(0);
        assert!(plan.stdout.contains("/proc/sys/vm/swappiness: 60 -> 10"), "{}", plan.stdout);
        let governor = "policy0/scaling_governor: powersave -> performance";
        assert!(in_one_line(&plan.stdout).contains(governor), "{}", plan.stdout);
        assert!(plan.stdout.lines().all(|line| line.chars().count() <= 80), "{}", plan.stdout);
        assert!(plan.stdout.contains("to be measured"), "{}", plan.stdout);
        assert!(plan.stdout.contains("3 changes of the host known beforehand"), "{}", plan.stdout);
        assert_eq!(house.tree(""), before);
    }
    assert_eq!(house.runs(), Vec::<String>::new());
}

#[test]
fn a_plan_tells_by_its_exit_code_whether_there_are_changes_to_make() {
    let house = house();
    house.trueup(&["plan", "p.yaml", "--detailed-exitcode"]).wanted(5);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let before = house.tree("");
    let plan = house.trueup(&["plan", "p.yaml", "--detailed-exitcode"]).wanted(0);
    assert!(plan.stdout.contains("from the cache"), "{}", plan.stdout);
    assert!(plan.stdout.contains("0 changes"), "{}", plan.stdout);
    let after = house.tree("");
    let touched: Vec<_> = after
        .iter()
        .filter(|(path, content)| before.get(*path) != Some(*content))
        .map(|(path, _)| path)
        .collect();
    assert!(touched.is_empty() && after.len() == before.len(), "{touched:?}");
}

/// The plan as JSON, and the outlook of each phase; some of them would fail.
fn foreseen(house: &House) -> (Value, BTreeMap<String, String>) {
    let plan = house.trueup(&["plan", "p.yaml", "--json"]).wanted(1).stdout;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let outlook = |phase: &Value| {
        let decision = phase["decision"]["is"].as_str().map(|is| format!(" {is}"));
        let outlook = phase["outlook"].as_str().unwrap();
        (
            phase["phase"].as_str().unwrap().to_owned(),
            format!("{outlook}{}", decision.unwrap_or_default()),
        )
    };
    let outlooks = plan["phases"].as_array().unwrap().iter().map(outlook).collect();
    (plan, outlooks)
}

/// A phase of each outlook there is.
const EVERY_OUTLOOK: &str = "
  known: { uses: cpu_governor, with: { swappiness: 10 } }
  not_applicable: { uses: cpu_governor, with: { governor: performance } }
  fails: { uses: db_pool, with: { url: \"sqlite://a.db\", max: \"{{ phases.known.swappiness - 10 }}\" } }
  blocked: { uses: command, needs: [fails], with: { argv: [/bin/true] } }
  skipped: { uses: command, when: host.cpus > 100000, with: { argv: [/bin/true] } }
  empty: { uses: command, with: { argv: [/bin/echo, \"{{ phases.skipped.stdout }}\"] } }
  later: { uses: command, with: { argv: [/bin/echo, \"size {{ phases.pool.pool_size }}\"] } }
  told: { uses: command, with: { argv: [/bin/echo, \"{{ phases.later.stdout }}\"] } }
";

#[test]
fn a_plan_as_json_tells_every_outlook_in_the_published_form_and_so_does_the_text() {
    let house = House::with_phases(&format!("{EVERY_OUTLOOK}{}", crate::cache::POOL));
    bare_host(&house);
    let (plan, outlooks) = foreseen(&house);
    let wanted = [
        ("blocked", "blocked"),
        ("empty", "fails"),
        ("fails", "fails"),
        ("known", "runs known"),
        ("later", "runs later"),
        ("not_applicable", "not_applicable"),
        ("pool", "runs to_be_measured"),
        ("skipped", "skipped"),
        ("told", "runs later"),
        ("user", "runs later"),
    ];
    let wanted = wanted.map(|(phase, outlook)| (phase.to_owned(), outlook.to_owned()));
    assert_eq!(outlooks, BTreeMap::from(wanted));
    let change = &plan["phases"].as_array().unwrap().iter().find(|one| one["phase"] == "known");
    let change = &change.unwrap()["changes"][0];
    assert_eq!((&change["from"], &change["to"]), (&Value::from("60"), &Value::from("10")));

    let schema = fs::read_to_string(checkout().join("docs/plan.schema.json")).unwrap();
    let printed = house.trueup(&["schema", "plan"]).wanted(0).stdout;
    assert!(printed == schema, "docs/plan.schema.json is not what `trueup schema plan` prints");
    let schema = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator.iter_errors(&plan).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    let text = house.trueup(&["plan", "p.yaml"]).wanted(1).stdout;
    assert_eq!(plan["end_badly"], 3);
    assert!(in_one_line(&text).contains("3 phases would end badly; nothing was touched"), "{text}");
    for told in [
        "blocked         would be blocked\n      it needs `fails`, which would end badly",
        "fails           would fail\n      p.yaml:6:",
        "`with.max`: the largest size, 0, is below the smallest, 5",
        "not_applicable  not applicable\n      this machine has no cpufreq policy",
        "skipped         skipped\n      `host.cpus > 100000` is false",
        "pool            to be measured\n      never measured here",
        "later           will run\n      it depends on what phases before it will decide",
    ] {
        assert!(text.contains(told), "{told}\n\n{text}");
    }
    house.trueup(&["run", "p.yaml"]).wanted(1);
    let (_, outlooks) = foreseen(&house);
    assert_eq!(outlooks["pool"], "runs cached");
    assert_eq!(outlooks["later"], "runs known");
    for (phase, outcome) in house.outcomes() {
        let ends_badly = ["FAILED", "BLOCKED"].contains(&outcome.as_str());
        let wanted = ["empty", "fails", "blocked"].contains(&phase.as_str());
        assert_eq!(ends_badly, wanted, "{phase} ended as {outcome}, which was not foreseen");
    }
}

#[test]
fn a_plan_ends_with_the_code_of_the_run_that_it_foresees() {
    let good = "  good: { uses: cpu_governor, with: { swappiness: 10 } }\n";
    let bad = "  bad: { uses: db_pool, with: { url: \"sqlite://{{ phases.good.swappiness }}.db\", max: \"{{ phases.good.swappiness - 10 }}\" } }\n";
    let optional = bad.replace("uses:", "optional: true, uses:");
    for (phases, plain, detailed) in [
        (good.to_owned(), 0, 5),
        (format!("{good}{optional}"), 3, 5),
        (format!("{good}{bad}"), 1, 1),
    ] {
        let house = House::with_phases(&phases);
        bare_host(&house);
        let told = house.trueup(&["plan", "p.yaml"]).wanted(plain).stdout;
        house.trueup(&["run", "p.yaml", "--dry-run"]).wanted(plain);
        house.trueup(&["plan", "p.yaml", "--detailed-exitcode"]).wanted(detailed);
        let told = in_one_line(&told);
        assert_eq!(told.contains("1 phase would end badly"), plain != 0, "{told}");
        assert_eq!(told.contains("would fail p.yaml:4:"), plain != 0, "{told}");
        assert_eq!(told.contains("`with.max`: "), plain != 0, "{told}");
        house.trueup(&["run", "p.yaml"]).wanted(plain);
    }
}

#[test]
fn a_plan_says_what_a_run_that_was_cut_off_has_left_and_holds_for_no_run_after_it() {
    let house = house();
    let phases = house.get("p.yaml").replace("last: { ", "last: { needs: [cpu_governor], ");
    let kills = phases.replace("[/bin/touch, reached]", "[/bin/sh, -c, 'kill -KILL $PPID']");
    house.put("p.yaml", &kills);
    let killed = house.trueup(&["run", "p.yaml", "--only", "cpu_governor,last"]);
    assert!(killed.code < 0, "{killed:?}");
    let run = house.runs().pop().unwrap();
    let plan = house.trueup(&["plan", "p.yaml", "-o", "plan.json"]).wanted(0).stdout;
    assert!(in_one_line(&plan).contains(&format!("run {run} has not ended")), "{plan}");
    let stale = in_one_line(&run_the_plan(&house).wanted(5).stderr);
    assert!(stale.contains(&run) && stale.contains("would be taken back first"), "{stale}");
}

/// A suite with a mistake in each of two checks, of which one needs a value that is not known before phases have run.
const WRONG_SUITE: &str = "version: 1
checks:
  - name: it is ready
    http: { path: /readyz, stauts: 200 }
  - name: there are records
    sql: { url: 'sqlite://a.db', query: 'SELECT {{ vars.size }}', equals: many }
";

fn house_with_suite(suite: &str) -> House {
    let house = House::with_phases(&format!(
        "{}  tests: {{ uses: integration_tests, with: {{ suite: suites/s.yaml, vars: {{ size: \"{{{{ phases.pool.pool_size }}}}\" }} }} }}\n",
        crate::cache::POOL
    ));
    house.put("suites/s.yaml", suite);
    house
}

#[test]
fn what_is_wrong_with_a_suite_is_told_with_everything_else_before_anything_runs() {
    let house = house_with_suite(WRONG_SUITE);
    house.put("p.yaml", &house.get("p.yaml").replace("suite: ", "siute: 1, suite: "));
    for command in ["check", "plan", "run", "graph"] {
        let told = house.trueup(&[command, "p.yaml"]).wanted(2).stderr;
        for one in [
            "has no key `siute`",
            "[suites/s.yaml:4:28]",
            "`http` has no key `stauts`",
            "[suites/s.yaml:6:75]",
            "`sql.equals`: invalid type",
        ] {
            assert!(told.contains(one), "{one}\n{told}");
        }
    }
    assert_eq!(house.runs(), Vec::<String>::new());
    house.trueup(&["check", "p.yaml", "--skip", "tests"]).wanted(2);
    house.put("p.yaml", &house.get("p.yaml").replace("siute: 1, ", ""));
    house.trueup(&["check", "p.yaml", "--skip", "tests"]).wanted(0);
    house.put("p.yaml", &house.get("p.yaml").replace("suites/s.yaml", "missing.yaml"));
    let told = house.trueup(&["check", "p.yaml"]).wanted(2).stderr;
    assert!(told.contains("suite::file") && told.contains("named here"), "{told}");
}

#[test]
fn a_plan_does_not_hold_when_its_suite_has_changed() {
    let good = WRONG_SUITE.replace("stauts", "status").replace("many", "1");
    let house = house_with_suite(&good);
    house.trueup(&["check", "p.yaml"]).wanted(0);
    house.trueup(&["plan", "p.yaml", "-o", "plan.json"]).wanted(0);
    house.put("suites/s.yaml", &format!("{good}# looked at again\n"));
    let stale = house.trueup(&["run", "--plan", "plan.json"]).wanted(5).stderr;
    assert!(stale.contains("file `suites/s.yaml`"), "{stale}");
}

/// A house with a plan in `plan.json`.
fn planned() -> House {
    let house = house();
    house.put("p.yaml", &house.get("p.yaml").replace("phases:", "vars: { size: 2 }\nphases:"));
    let plan = house.trueup(&["plan", "p.yaml", "--set", "size=3", "-o", "plan.json"]).wanted(0);
    assert!(plan.stdout.contains("trueup run --plan plan.json"), "{}", plan.stdout);
    house
}

fn run_the_plan(house: &House) -> Ended {
    house.trueup(&["run", "--plan", "plan.json"])
}

#[test]
fn a_run_can_be_held_to_a_plan_and_then_does_what_it_says() {
    let house = planned();
    house.trueup(&["plan", "p.yaml", "--only", "cpu_governor", "-o", "plan.json"]).wanted(0);
    run_the_plan(&house).wanted(0);
    assert_eq!(house.get(SWAPPINESS).trim(), "10");
    assert_eq!(house.outcomes()["cpu_governor"], "SUCCESS");
    assert_eq!(house.outcomes()["last"], "SKIPPED", "the selection is that of the plan");
}

#[test]
fn a_stale_plan_is_refused_with_what_differs_and_nothing_is_done() {
    type Disturb = fn(&House);
    let disturbed: [(Disturb, &str); 6] = [
        (
            |house| house.put(SWAPPINESS, "33\n"),
            "current value of /proc/sys/vm/swappiness (`cpu_governor`): 60 -> 33",
        ),
        (
            |house| house.put(SWAPPINESS, "10\n"),
            "current value of /proc/sys/vm/swappiness (`cpu_governor`): 60 -> 10",
        ),
        (
            |house| house.put("host/proc/sys/kernel/osrelease", "6.9.0\n"),
            "fact `kernel`: 6.8.0 -> 6.9.0",
        ),
        (|house| house.put("p.yaml", &format!("{}\n", house.get("p.yaml"))), "file `p.yaml`: "),
        (
            |house| {
                house.put("p.yaml", &house.get("p.yaml").replace("size: 2", "size: 2, more: 4"));
            },
            "variable `more`: nothing -> 4",
        ),
        (
            |house| drop(house.trueup(&["run", "p.yaml", "--only", "pool"]).wanted(0)),
            "outlook of `pool`: to be measured -> from the cache",
        ),
    ];
    for (disturb, wanted) in disturbed {
        let house = planned();
        disturb(&house);
        let before = house.tree("");
        let ended = run_the_plan(&house).wanted(5);
        assert!(ended.stderr.contains("plan::stale"), "{}", ended.stderr);
        let told = ended.stderr.replace(['`', '|', '-', '>', '+'], " ");
        let wanted = wanted.replace(['`', '-', '>'], " ");
        assert!(in_one_line(&told).contains(&in_one_line(&wanted)), "{wanted}\n{}", ended.stderr);
        let mut after = house.tree("");
        // It was compared under the lock of the run, whose file is left.
        assert!(after.remove(&house.path("results/lock")).is_some());
        let before: BTreeMap<_, _> =
            before.into_iter().filter(|(path, _)| !path.ends_with("lock")).collect();
        after.retain(|path, _| !path.ends_with("lock"));
        assert_eq!(after, before, "nothing is done");
    }
}

#[test]
fn a_plan_is_compared_when_the_run_before_has_ended() {
    let house = planned();
    house.put(
        "q.yaml",
        "version: 1\nphases:\n  slow: { uses: command, with: { argv: [/bin/sh, -c, 'echo $$ > pid; until test -e go; do sleep 0.05; done; echo 33 > host/proc/sys/vm/swappiness'] } }\n",
    );
    let first = house.start(&["run", "q.yaml"]);
    house.wait_for_number("pid");
    run_the_plan(&house).wanted(4);
    let waits = house.start(&["run", "--plan", "plan.json", "--wait", "60s"]);
    wait_until("the run to wait", || hears_signals(waits.child.id()));
    house.put("go", "");
    first.end().wanted(0);
    let stale = waits.end().wanted(5);
    assert!(stale.stderr.contains("60 -> 33"), "{}", stale.stderr);
}

#[test]
fn a_plan_is_whole_or_refused_and_takes_no_password() {
    let house = planned();
    house.put("plan.json", "{ \"schema\": 3 }");
    let ended = run_the_plan(&house).wanted(2);
    assert!(ended.stderr.contains("plan::file"), "{}", ended.stderr);
    house.put("plan.json", "{ \"schema\": 99 }");
    let ended = run_the_plan(&house).wanted(2);
    assert!(ended.stderr.contains("form 99"), "{}", ended.stderr);
    house.trueup(&["run", "--plan", "plan.json", "p.yaml"]).wanted(2);
    house.trueup(&["run", "--plan", "plan.json", "--refresh"]).wanted(2);
    let url = "size=postgres://app:hunter2@db/app";
    let ended = house.trueup(&["plan", "p.yaml", "--set", url, "-o", "secret.json"]).wanted(2);
    assert!(ended.stderr.contains("plan::password"), "{}", ended.stderr);
    assert!(!house.path("secret.json").exists());
    let shown = house.trueup(&["plan", "p.yaml", "--set", url, "--json"]).wanted(0);
    assert!(!shown.told().contains("hunter2"), "{}", shown.told());
}

#[test]
fn from_runs_a_phase_what_depends_on_it_and_what_those_need() {
    let command = |needs: &str| {
        format!("{{ uses: command, needs: [{needs}], with: {{ argv: [/bin/true] }} }}")
    };
    let house = House::with_phases(&format!(
        "  a: {}\n  b: {}\n  c: {}\n  other: {}\n  d: {}\n  after_a: {}\n",
        command(""),
        command("a"),
        command("b"),
        command(""),
        command("c, other"),
        command("a"),
    ));
    house.trueup(&["run", "p.yaml", "--from", "b"]).wanted(0);
    let ran: Vec<String> = house
        .outcomes()
        .into_iter()
        .filter(|(_, outcome)| outcome == "SUCCESS")
        .map(|(phase, _)| phase)
        .collect();
    assert_eq!(ran, ["a", "b", "c", "d", "other"]);
    let ended = house.trueup(&["run", "p.yaml", "--from", "b", "--only", "c"]).wanted(2);
    assert!(ended.stderr.contains("'--from <PHASE>' cannot be used with"), "{}", ended.stderr);
    let ended = house.trueup(&["run", "p.yaml", "--from", "after_b", "--skip", "c"]).wanted(2);
    assert!(ended.stderr.contains("did you mean `after_a`?"), "{}", ended.stderr);
}

#[test]
fn the_graph_is_shown_in_the_order_in_which_phases_can_run() {
    let house = house();
    let graph = house.trueup(&["graph", "p.yaml"]).wanted(0).stdout;
    let line = |name: &str| graph.lines().position(|line| line.contains(name)).unwrap();
    assert!(line("pool  ") < line("user  "), "{graph}");
    assert!(graph.contains("after pool"), "an expression is an edge too: {graph}");
}

#[test]
fn every_form_of_the_graph_marks_the_critical_path_by_what_the_last_run_took() {
    let house = House::with_phases(
        "  quick: { uses: command, with: { argv: [/bin/true] } }
  slow: { uses: command, with: { argv: [/bin/sleep, '0.2'] } }
  end: { uses: command, needs: [quick, slow], with: { argv: [/bin/true] } }
",
    );
    let graph = |format: &str| {
        let mut arguments = vec!["graph", "p.yaml", "--format", format];
        let results = house.path("results").display().to_string();
        arguments.extend(["--results", &results]);
        house.trueup(&arguments).wanted(0).stdout
    };
    let by_number = graph("text");
    assert!(by_number.contains("* quick") && by_number.contains("by number of phases"));
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let text = graph("text");
    assert!(
        text.contains("* slow") && text.contains("* end") && !text.contains("* quick"),
        "{text}"
    );
    assert!(text.contains("by what phases took the last time"), "{text}");
    assert!(text.lines().any(|line| line.contains("slow") && line.contains(" s")), "{text}");
    let dot = graph("dot");
    assert!(dot.contains("\"slow\" -> \"end\" [color="), "{dot}");
    assert!(dot.contains("\"quick\" -> \"end\";"), "{dot}");
    let mermaid = graph("mermaid");
    assert!(mermaid.contains("class n1,n2 hot") && mermaid.contains("linkStyle 1 "), "{mermaid}");
    let svg = graph("svg");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("class=\"box hot\"").count(), 2);
    assert!(!svg.contains("href") && !svg.contains("url("), "it needs nothing else");
}

#[test]
fn a_command_that_would_be_told_something_else_makes_a_plan_stale() {
    let phase = "{ uses: command, with: { shell: true, argv: ['echo $D > told'], env: { D: '{{ env.PLACE }}' } } }";
    let house = House::with_phases(&format!("  a: {phase}\n"));
    let asked = |arguments: &[&str], place: &str| {
        let mut command = house.command(arguments);
        command.env("PLACE", place);
        Running::start(command).end()
    };
    asked(&["plan", "p.yaml", "-o", "plan.json"], "/tmp").wanted(0);
    let stale = asked(&["run", "--plan", "plan.json"], "/").wanted(5);
    assert!(stale.stderr.contains("digest of all that `a` is told"), "{}", stale.stderr);
    assert!(!house.path("told").exists());
    asked(&["run", "--plan", "plan.json"], "/tmp").wanted(0);
    assert_eq!(house.get("told"), "/tmp\n");
}
