//! What a plan foresees, and that it touches nothing.

use crate::governor::{PHASES, host_with_policies};
use crate::house::House;

fn house() -> House {
    let house = House::with_phases(&format!(
        "{PHASES}{}  last: {{ uses: command, with: {{ argv: [/bin/touch, reached] }} }}\n",
        crate::cache::POOL
    ));
    host_with_policies(&house);
    house
}

#[test]
fn a_plan_shows_from_and_to_and_leaves_every_byte_as_it_was() {
    let house = house();
    let before = house.tree("");
    for arguments in [&["plan", "p.yaml"][..], &["run", "p.yaml", "--dry-run"]] {
        let plan = house.trueup(arguments).wanted(0);
        assert!(plan.stdout.contains("/proc/sys/vm/swappiness: 60 -> 10"), "{}", plan.stdout);
        let governor = "policy0/scaling_governor: powersave -> performance";
        assert!(plan.stdout.contains(governor), "{}", plan.stdout);
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

#[test]
fn the_graph_is_shown_in_the_order_in_which_phases_can_run() {
    let house = house();
    let graph = house.trueup(&["graph", "p.yaml"]).wanted(0).stdout;
    let line = |name: &str| graph.lines().position(|line| line.contains(name)).unwrap();
    assert!(line("pool  ") < line("user  "), "{graph}");
    assert!(graph.contains("after pool"), "an expression is an edge too: {graph}");
}
