//! Gates on a made-up host: what a phase changes is kept only if a command's number says that it helps.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::governor::{SWAPPINESS, host_with_policies};
use crate::house::House;

/// Prints a number that depends on the setting, with a little noise; what it reads, it reads as any program would.
/// `hook` may do something in the middle of a gate: `$n` counts the measurements from 0.
const MEASURE: &str = r"
n=$(cat n 2>/dev/null || echo 0)
echo $((n + 1)) > n
. ./hook
case $(cat host/proc/sys/vm/swappiness) in 60) level=1000 ;; 10) level=$(cat new) ;; *) level=1 ;; esac
echo $((level * 100 + (n * 7919 % 13 - 6) * $(cat noise)))
";

/// A host whose setting makes a difference of `new` to 1000.
fn house(new: u32, noise: u32, gate: &str) -> House {
    house_with(new, noise, gate, "")
}

fn house_with(new: u32, noise: u32, gate: &str, keys: &str) -> House {
    let house = House::with_phases(&format!(
        "  host:
    uses: cpu_governor
    with: {{ governor: performance, swappiness: 10 }}
    gate: {{ objective: {{ command: [/bin/sh, measure], goal: maximize }}, {gate} }}
{keys}"
    ));
    host_with_policies(&house);
    house.put("measure", MEASURE);
    house.put("new", &new.to_string());
    house.put("noise", &noise.to_string());
    house.put("hook", "");
    house
}

fn trimmed(house: &House) -> BTreeMap<PathBuf, String> {
    let text = |content: Vec<u8>| String::from_utf8(content).unwrap().trim_end().to_owned();
    house.tree("host").into_iter().map(|(path, content)| (path, text(content))).collect()
}

fn phase(house: &House) -> Value {
    house.report()["phases"]["host"].clone()
}

fn reason(house: &House) -> String {
    phase(house)["reason"].as_str().unwrap_or_default().to_owned()
}

/// How often the command has been run until now.
fn measured(house: &House) -> u32 {
    house.get("n").trim().parse().unwrap()
}

fn results(house: &House) -> Vec<String> {
    let phase = phase(house);
    let changes = phase["changes"].as_array().unwrap().iter();
    changes.map(|change| change["result"].as_str().unwrap().to_owned()).collect()
}

/// The summary of the last run, however its lines are broken.
fn words(house: &House) -> String {
    let shown = house.trueup(&["report", "show"]).wanted(0).stdout;
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The last line of the journal of the last run.
fn journal_end(house: &House) -> String {
    let run = house.runs().pop().unwrap();
    house.get(&format!("results/journal/{run}.jsonl")).lines().next_back().unwrap().to_owned()
}

#[test]
fn changes_that_help_are_kept_with_all_pairs_in_the_report() {
    let house = house(1100, 10, "min_gain: 1%");
    let before = trimmed(&house);
    let ended = house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["host"], "SUCCESS");
    assert_eq!(house.get(SWAPPINESS).trim(), "10");
    let gate = &phase(&house)["gate"];
    assert_eq!(gate["comparison"]["verdict"], "helps");
    let ratio = gate["comparison"]["ratio"].as_f64().unwrap();
    assert!((1.09..1.11).contains(&ratio), "{ratio}");
    let pairs = gate["former"].as_array().unwrap().len();
    assert_eq!((pairs, gate["new"].as_array().unwrap().len()), (6, 6), "as soon as it is clear");
    assert_eq!(measured(&house), 12);
    assert_eq!(gate["ended"], "clear");
    assert!(ended.told().contains("it helps"), "{}", ended.told());
    let shown = words(&house);
    assert!(shown.contains("swappiness=10: +10.0% (+") && shown.contains("), kept"), "{shown}");
    assert!(shown.contains("changed 3 settings"), "{shown}");
    assert_eq!(results(&house), ["applied"; 3], "each step by itself is in the journal only");

    house.trueup(&["rollback"]).wanted(0);
    assert_eq!(trimmed(&house), before);
}

#[test]
fn changes_that_harm_are_taken_back_and_the_reason_says_by_how_much() {
    let house = house(900, 10, "min_gain: 1%");
    let before = trimmed(&house);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["host"], "REVERTED");
    assert_eq!(trimmed(&house), before);
    let reason = reason(&house);
    assert!(reason.contains("-10.0% (-") && reason.contains("noise floor"), "{reason}");
    assert!(reason.contains("6 pairs: it harms; the former values are back"), "{reason}");
    assert_eq!(results(&house).iter().filter(|result| *result == "reverted").count(), 3);
    assert!(journal_end(&house).contains("closed"));
    assert!(words(&house).contains("changed nothing on the host"), "{}", words(&house));
    let ended = house.trueup(&["rollback"]).wanted(0);
    assert!(ended.stdout.contains("nothing to take back"), "{}", ended.stdout);
}

#[test]
fn where_less_is_better_a_smaller_number_helps() {
    let house = house(900, 10, "min_gain: 1%");
    house.put("p.yaml", &house.get("p.yaml").replace("maximize", "minimize"));
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["host"], "SUCCESS");
    assert!(phase(&house)["gate"]["comparison"]["ratio"].as_f64().unwrap() > 1.0);
}

#[test]
fn a_gain_that_drowns_in_noise_is_taken_back_and_the_pairs_it_needed_are_told() {
    let house = house(1005, 500, "min_gain: 0%, budget: 80s");
    let before = trimmed(&house);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["host"], "REVERTED");
    assert_eq!(trimmed(&house), before);
    let reason = reason(&house);
    assert!(reason.contains("not shown to gain more than 0%"), "{reason}");
    assert!(reason.contains("inconclusive, a gate measures no more pairs"), "{reason}");
    assert!(reason.contains("96 pairs: ") && reason.contains("pairs would be needed"), "{reason}");
    let gate = &phase(&house)["gate"];
    assert_eq!(
        (&gate["ended"], &gate["comparison"]["verdict"]),
        (&"pairs".into(), &"inconclusive".into())
    );
}

#[test]
fn a_verdict_is_remembered_and_used_again_as_after_a_reboot() {
    for (new, outcome, setting) in [(1100, "SUCCESS", "10"), (900, "REVERTED", "60")] {
        let house = house(new, 10, "min_gain: 1%");
        house.trueup(&["run", "p.yaml"]).wanted(0);
        let first = house.runs()[0].clone();
        let took = measured(&house);
        house.trueup(&["rollback"]).wanted(0);
        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(house.outcomes()["host"], outcome);
        assert_eq!(house.get(SWAPPINESS).trim(), setting);
        assert_eq!(measured(&house), took, "nothing is done twice");
        let gate = &phase(&house)["gate"];
        assert_eq!(gate["source"]["from"], "cache");
        assert_eq!(gate["source"]["measured_by"], first.as_str());
        assert_eq!(gate["former"].as_array().unwrap().len(), 6, "the evidence stays with it");
        let run = house.runs()[1].clone();
        let is_written = house.path(&format!("results/journal/{run}.jsonl")).exists();
        assert_eq!(is_written, outcome == "SUCCESS", "what is known not to help is not even tried");
        assert!(words(&house).contains("(from the cache"), "{}", words(&house));

        house.trueup(&["rollback"]).wanted(0);
        house.trueup(&["run", "p.yaml", "--refresh"]).wanted(0);
        assert_eq!(measured(&house), 2 * took);

        house.trueup(&["rollback"]).wanted(0);
        house.put("measure", &format!("{MEASURE}# another program\n"));
        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(measured(&house), 3 * took);
        let miss = phase(&house)["gate"]["source"]["miss"].as_str().unwrap().to_owned();
        assert!(miss.contains("depends.file measure changed"), "{miss}");
    }
}

#[test]
fn what_somebody_else_sets_in_between_ends_the_gate_and_is_never_fought() {
    let retry = "    retry: { attempts: 3, backoff: 1ms }\n";
    // In the order A B B A, measurement 2 is of the new state and 3 of the former one.
    for at in [2, 3] {
        let house = house_with(1100, 10, "min_gain: 1%", retry);
        house.put("hook", &format!("[ $n != {at} ] || echo 33 > {SWAPPINESS}\n"));
        house.trueup(&["run", "p.yaml"]).wanted(1);
        assert_eq!(house.outcomes()["host"], "FAILED");
        assert_eq!(house.get(SWAPPINESS).trim(), "33");
        let values: Vec<String> = trimmed(&house)
            .into_iter()
            .filter(|(path, _)| path.ends_with("scaling_governor"))
            .map(|(_, value)| value)
            .collect();
        assert_eq!(values, ["powersave", "schedutil", "performance"], "the others are taken back");
        let reason = reason(&house);
        assert!(reason.contains("swappiness") && reason.contains("`33` now"), "{reason}");
        assert!(reason.contains("somebody else has set it"), "{reason}");
        assert_eq!(phase(&house)["attempts"], 1, "another attempt would fight it");
        assert!(journal_end(&house).contains("closed"));
    }
}

#[test]
fn a_kill_in_either_state_of_a_gate_then_rollback_restores_the_former_tree() {
    for at in 0..5 {
        let house = house(1100, 10, "min_gain: 1%");
        let before = trimmed(&house);
        house.put("hook", &format!("[ $n != {at} ] || kill -KILL $PPID\n"));
        assert_eq!(house.trueup(&["run", "p.yaml"]).code, -(Signal::SIGKILL as i32));
        assert_eq!(trimmed(&house) != before, matches!(at, 1 | 2), "killed in which state? {at}");
        house.trueup(&["rollback"]).wanted(0);
        assert_eq!(trimmed(&house), before, "killed at measurement {at}");
    }
}

#[test]
fn a_gate_that_is_stopped_once_or_twice_leaves_the_former_state() {
    let once = "kill -TERM $PPID";
    for stop in [once.to_owned(), format!("{once}; sleep 0.2; {once}")] {
        for at in [2, 3] {
            let house = house(1100, 10, "min_gain: 1%");
            let before = trimmed(&house);
            house.put("hook", &format!("[ $n != {at} ] || {{ {stop}; exec sleep 60; }}\n"));
            house.trueup(&["run", "p.yaml"]).wanted(143);
            assert_eq!(house.outcomes()["host"], "CANCELLED");
            assert_eq!(trimmed(&house), before);
            assert!(journal_end(&house).contains("closed"));
        }
    }
}

#[test]
fn a_gate_that_is_not_done_within_the_timeout_of_its_phase_leaves_the_former_state() {
    for at in [2, 3] {
        let house = house_with(1100, 10, "min_gain: 1%", "    timeout: 2s\n");
        let before = trimmed(&house);
        house.put("hook", &format!("[ $n != {at} ] || exec sleep 60\n"));
        house.trueup(&["run", "p.yaml"]).wanted(1);
        assert_eq!(house.outcomes()["host"], "TIMED_OUT");
        assert_eq!(trimmed(&house), before);
        assert_eq!(results(&house).iter().filter(|result| *result == "reverted").count(), 3);
        assert!(words(&house).contains("changed nothing on the host"), "{}", words(&house));
    }
}

#[test]
fn a_gate_ends_with_its_budget_and_too_few_pairs_show_nothing() {
    let house = house(1100, 10, "budget: 700ms");
    let before = trimmed(&house);
    house.put("hook", "[ $n -lt 2 ] || exec sleep 60\n");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["host"], "REVERTED");
    assert_eq!(trimmed(&house), before);
    let reason = reason(&house);
    assert!(
        reason.contains("inconclusive, the budget of 700ms is spent: 1 pair is too few"),
        "{reason}"
    );
    assert!(reason.contains("raise the budget"), "{reason}");
    assert_eq!(phase(&house)["gate"]["ended"], "budget");
    assert!(phase(&house)["gate"]["seconds"].as_f64().unwrap() < 30.0);
}

#[test]
fn what_can_not_be_measured_fails_with_a_remedy_and_is_taken_back() {
    for (from, to, words) in [
        ("[/bin/sh, measure]", "[/bin/echo, fast]", "printed `fast`; let it print one number"),
        ("[/bin/sh, measure]", "[/bin/echo, '0']", "printed `0`; let it print one number"),
        ("[/bin/sh, measure]", "[/bin/sh, -c, 'echo broken >&2; exit 3']", "broken"),
        ("[/bin/sh, measure]", "[/no/such]", "could not find the program"),
        (
            "{ command: [/bin/sh, measure], goal: maximize }",
            "service_throughput",
            "let it need a phase that `uses: service`",
        ),
    ] {
        let house = house(1100, 10, "min_gain: 1%");
        let before = trimmed(&house);
        house.put("p.yaml", &house.get("p.yaml").replace(from, to));
        house.trueup(&["run", "p.yaml"]).wanted(1);
        assert_eq!(house.outcomes()["host"], "FAILED");
        assert!(reason(&house).contains(words), "{}", reason(&house));
        assert_eq!(trimmed(&house), before);
    }
}

#[test]
fn a_gate_of_a_phase_that_changes_nothing_has_nothing_to_accept_and_says_so() {
    let house = house(1100, 10, "min_gain: 1%");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house.trueup(&["run", "p.yaml", "--no-cache"]).wanted(0);
    assert_eq!(house.outcomes()["host"], "SUCCESS");
    assert_eq!(phase(&house)["gate"], Value::Null);
    assert!(phase(&house)["notes"].to_string().contains("nothing to accept"));
    assert_eq!(measured(&house), 12);
}

#[test]
fn a_plan_says_what_it_takes_to_keep_the_changes() {
    let house = house(1100, 10, "min_gain: 2%, confidence: 90%, budget: 30s");
    let shown = house.trueup(&["plan", "p.yaml"]).wanted(0).stdout;
    let wanted = "kept only if `/bin/sh measure` gains more than 2% (90% sure, within 30s)";
    assert!(shown.contains(wanted), "{shown}");
    assert!(!house.path("n").exists(), "a plan measures nothing");
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What `plan` says, with its exit code, which tells whether there are changes to make.
fn plan(house: &House, code: i32) -> String {
    let ended = house.trueup(&["plan", "p.yaml", "--detailed-exitcode"]).wanted(code);
    in_one_line(&ended.stdout)
}

fn explain(house: &House, more: &[&str]) -> String {
    let arguments = ["cache", "explain", "host", "p.yaml", "--sysroot", "host"];
    house.trueup(&[&arguments, more].concat()).wanted(0).stdout
}

#[test]
fn a_plan_knows_a_remembered_verdict_and_whether_any_change_is_to_come() {
    for (new, code, outcome) in [(1100, 5, "SUCCESS"), (900, 0, "REVERTED")] {
        let house = house(new, 10, "min_gain: 1%");
        let before = plan(&house, 5);
        assert!(before.contains("verdict to be measured: never measured here"), "{before}");
        assert!(
            before.contains("3 changes of the host") && before.contains("1 gate to be measured")
        );
        house.trueup(&["run", "p.yaml"]).wanted(0);
        let run = house.runs()[0].clone();
        house.trueup(&["rollback"]).wanted(0);
        let took = measured(&house);

        let after = plan(&house, code);
        let (swappiness, count, verdict) = if outcome == "SUCCESS" {
            ("swappiness: 60 -> 10", "3 changes of the host", "kept, measured ")
        } else {
            ("swappiness stays 60: 10 was not shown to help", "0 changes", "not kept, measured ")
        };
        for told in [swappiness, count, verdict, &format!("measured by run {run}")] {
            assert!(after.contains(told), "{told}\n{after}");
        }
        assert!(!after.contains("to be measured"), "{after}");

        // What the plan says is what the run does.
        house.trueup(&["plan", "p.yaml", "-o", "plan.json"]).wanted(0);
        house.trueup(&["run", "--plan", "plan.json"]).wanted(0);
        assert_eq!(house.outcomes()["host"], outcome);
        assert_eq!(phase(&house)["gate"]["source"]["from"], "cache");
        assert_eq!(measured(&house), took);

        house.trueup(&["rollback"]).wanted(0);
        house.trueup(&["cache", "clear", "gate"]).wanted(0);
        let stale = house.trueup(&["run", "--plan", "plan.json"]).wanted(5).stderr;
        assert!(stale.contains("verdict of the gate of `host`"), "{stale}");
    }
}

#[test]
fn an_explanation_tells_what_a_verdict_depends_on_and_what_has_changed_since() {
    let house = house(900, 10, "min_gain: 1%");
    let never = explain(&house, &[]);
    assert!(never.contains("host (cpu_governor): the cache is not asked"), "{never}");
    assert!(never.contains("gate of host: miss: never measured here"), "{never}");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let run = house.runs()[0].clone();
    let hit = explain(&house, &[]);
    assert!(hit.contains("gate of host: hit\n  not kept: "), "{hit}");
    assert!(hit.contains("-10.0% (-") && hit.contains(&format!("of run {run}")), "{hit}");
    assert!(!hit.contains("decided 10"), "nothing has drifted: {hit}");

    house.put("measure", &format!("{MEASURE}# another program\n"));
    house.put(SWAPPINESS, "33\n");
    for against in [&[][..], &["--against", &run]] {
        let miss = explain(&house, against);
        assert!(miss.contains("gate of host: miss: what it depends on has changed"), "{miss}");
        assert!(miss.contains("\n  depends.file measure:\n      \""), "{miss}");
        let from = "\n  changes./proc/sys/vm/swappiness.from: \"60\" -> \"33\"\n";
        assert!(miss.contains(from), "{miss}");
    }
    let told: Value = serde_json::from_str(&explain(&house, &["--json"])).unwrap();
    assert_eq!((&told["answer"], &told["gate"]["answer"]), (&"not_asked".into(), &"miss".into()));
    assert_eq!(told["gate"]["against"]["run"], run.as_str());
}

#[test]
fn a_verdict_depends_on_the_files_that_its_phase_declares() {
    let house = house_with(900, 10, "min_gain: 1%", "    cache: { inputs: [app.conf] }\n");
    house.put("app.conf", "one");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let took = measured(&house);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(measured(&house), took);
    house.put("app.conf", "two");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(measured(&house), 2 * took);
    let miss = phase(&house)["gate"]["source"]["miss"].as_str().unwrap().to_owned();
    assert!(miss.contains("inputs.app\\.conf changed") || miss.contains("inputs.app.conf changed"));
}
