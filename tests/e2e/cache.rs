//! Decisions that are remembered, and those that are not trusted.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use trueup::cache::{Asked, CacheDirectory};
use trueup::clock::Clock;
use trueup::database::server::Logins;
use trueup::engine::{Memory, preview};
use trueup::event::{ProgressBoard, RunId};
use trueup::host::leash::Leash;
use trueup::host::{Facts, Sysroot};
use trueup::phase::{Digests, RunContext, Services, standard};
use trueup::pipeline::{CachePolicy, CacheScope, Extent, Spot, read};
use trueup::plan::{Binding, Selection, bind};
use trueup::secret::Secrets;
use trueup::store::TrialStore;

use crate::house::{House, TRUEUP, list};

/// A measurement that is small, and all the same real.
pub const POOL: &str = "
  pool:
    uses: db_pool
    with: { url: 'sqlite://pool.db', min: 1, max: 2, sample: 100ms, p99: 10s }
  user:
    uses: command
    with: { argv: [/bin/echo, 'pool of {{ phases.pool.pool_size }}'] }
";

fn pool(house: &House) -> serde_json::Value {
    house.report()["phases"]["pool"].clone()
}

/// The lines of the logs.
fn entries(house: &House) -> Vec<String> {
    let logs = house.tree("cache").into_iter();
    logs.filter(|(path, _)| path.extension().is_some_and(|end| end == "log"))
        .flat_map(|(_, log)| {
            String::from_utf8_lossy(&log).lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_second_run_measures_nothing_and_says_which_run_did() {
    let house = House::with_phases(POOL);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let first = pool(&house);
    assert_eq!(first["cache"]["hit"], false);
    assert!(!list(&first["measurements"]).is_empty(), "a claim needs a measurement");
    let size = first["decision"]["pool_size"].as_u64().unwrap();
    assert!((1..=2).contains(&size));

    house.trueup(&["run", "p.yaml"]).wanted(0);
    let second = pool(&house);
    assert_eq!(second["cache"]["hit"], true);
    assert_eq!(second["cache"]["measured_by"], house.runs()[0].as_str());
    assert_eq!(second["cache"]["key"], first["cache"]["key"]);
    assert_eq!(second["decision"], first["decision"]);
    assert_eq!(list(&second["measurements"]).len(), 0);
    let said = house.report()["phases"]["user"]["outputs"]["stdout"].clone();
    assert_eq!(said, format!("pool of {size}\n"), "a remembered decision is seen downstream too");
}

#[test]
fn what_a_decision_depends_on_decides_whether_it_holds() {
    let house = House::with_phases(POOL);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house.put("p.yaml", &house.get("p.yaml").replace("sample: 100ms", "sample: 110ms"));
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], false);
    let why = pool(&house)["cache"]["miss"].as_str().unwrap().to_owned();
    assert!(why.contains("with.sample"), "{why}");
    assert_eq!(entries(&house).len(), 2);
}

#[test]
fn refresh_measures_anew_and_no_cache_neither_reads_nor_writes() {
    let house = House::with_phases(POOL);
    house.trueup(&["run", "p.yaml", "--no-cache"]).wanted(0);
    assert_eq!(entries(&house).len(), 0);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let written = house.tree("cache");
    assert_eq!(entries(&house).len(), 1);
    house.trueup(&["run", "p.yaml", "--no-cache"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], false);
    assert_eq!(house.tree("cache"), written);
    house.trueup(&["run", "p.yaml", "--refresh"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], false);
    assert_ne!(house.tree("cache"), written);
    house.trueup(&["run", "p.yaml", "--refresh", "--no-cache"]).wanted(2);
}

#[test]
fn decisions_can_be_listed_and_forgotten() {
    let house = House::with_phases(POOL);
    let nothing = house.trueup(&["cache", "ls"]).wanted(0);
    assert!(nothing.stdout.contains("nothing is remembered"), "{}", nothing.stdout);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let listed = house.trueup(&["cache", "ls"]).wanted(0).stdout;
    for part in ["db_pool, phase pool, ", "until", " old\n", "scope host", "1 decision, "] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let listed = json(&house.trueup(&["cache", "ls", "--json"]).wanted(0).stdout);
    let entry = &listed["entries"][0];
    assert_eq!(entry["key"], pool(&house)["cache"]["key"]);
    assert_eq!(entry["decision"], pool(&house)["decision"]);
    assert_eq!((&entry["scope"], &entry["expired"]), (&"host".into(), &false.into()));
    house.trueup(&["cache", "clear", "tune"]).wanted(0);
    assert_eq!(entries(&house).len(), 1);
    let cleared = house.trueup(&["cache", "clear"]).wanted(0);
    assert!(cleared.stdout.contains("forgot 1 decision\n"), "{}", cleared.stdout);
    assert_eq!(entries(&house).len(), 0);
}

#[test]
fn pruning_removes_by_age_and_size_and_says_what() {
    let house = House::with_phases(POOL);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house.trueup(&["run", "p.yaml", "--refresh"]).wanted(0);
    assert_eq!(entries(&house).len(), 2, "the later line counts");
    let pruned = house.trueup(&["cache", "prune"]).wanted(0).stdout;
    assert!(pruned.contains("db_pool: removed 1 superseded; kept 1, "), "{pruned}");
    assert!(pruned.contains("forgot 0 decisions"), "{pruned}");
    let kept = ["cache", "prune", "--older-than", "7d", "--max-size", "1MiB", "--expired"];
    let pruned = house.trueup(&kept).wanted(0).stdout;
    assert!(pruned.contains("db_pool: removed nothing; kept 1, "), "{pruned}");
    let pruned = house.trueup(&["cache", "prune", "--max-size", "1B"]).wanted(0).stdout;
    assert!(pruned.contains("db_pool: removed 1 for the size; kept 0, "), "{pruned}");
    assert!(pruned.contains("forgot 1 decision\n"), "{pruned}");
    assert_eq!(entries(&house).len(), 0);
    house.trueup(&["cache", "prune", "--max-size", "much"]).wanted(2);
}

#[test]
fn an_explanation_tells_hit_or_miss_and_every_part_that_changed() {
    let house = House::with_phases(POOL);
    let explain = |more: &[&str]| {
        house.trueup(&[&["cache", "explain", "pool", "p.yaml"], more].concat()).wanted(0).stdout
    };
    assert!(explain(&[]).contains("pool (db_pool): miss: never measured here"), "{}", explain(&[]));
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let before = house.tree("");
    let first = house.runs().remove(0);
    let hit = explain(&[]);
    assert!(hit.starts_with("pool (db_pool): hit\n  key "), "{hit}");
    assert!(hit.contains(&format!("of run {first}")), "{hit}");
    assert!(hit.contains("nothing that it depends on differs"), "{hit}");

    // A value too long for a report's line is told whole all the same.
    let long = format!("sqlite://{}.db", "x".repeat(100));
    let other = house.get("p.yaml").replace("sqlite://pool.db", &long).replace("max: 2", "max: 3");
    assert_eq!(house.tree(""), before, "an explanation touches nothing");
    house.put("p.yaml", &other);
    let miss = explain(&[]);
    assert!(miss.contains("miss: what it depends on has changed"), "{miss}");
    assert!(miss.contains("\n  with.max: 2 -> 3\n"), "{miss}");
    let words: Vec<&str> = miss.split_whitespace().collect();
    let told = format!("with.url: \"sqlite://pool.db\" -> \"{long}\"");
    assert!(words.join(" ").contains(&told), "{miss}");

    house.trueup(&["run", "p.yaml"]).wanted(0);
    let told = json(&explain(&["--json"]));
    assert_eq!((&told["answer"], &told["changed"]), (&"hit".into(), &serde_json::json!([])));
    let told = json(&explain(&["--json", "--against", &first]));
    assert_eq!(told["answer"], "hit");
    assert_eq!(told["against"]["run"], first.as_str());
    let changed: Vec<_> =
        told["changed"].as_array().unwrap().iter().map(|one| one["part"].clone()).collect();
    assert!(changed.contains(&"with.max".into()) && changed.contains(&"with.url".into()));

    house.trueup(&["cache", "clear"]).wanted(0);
    let gone = house.trueup(&["cache", "explain", "pool", "p.yaml", "--against", &first]).wanted(1);
    assert!(gone.stderr.contains("cache::against"), "{}", gone.stderr);
    let no_run = ["cache", "explain", "pool", "p.yaml", "--against", "20200101T000000Z-000000"];
    assert!(house.trueup(&no_run).wanted(1).stderr.contains("report::run"));
    let unknown = house.trueup(&["cache", "explain", "pol", "p.yaml"]).wanted(2).stderr;
    assert!(unknown.contains("did you mean `pool`?"), "{unknown}");
}

#[test]
fn an_explanation_shows_settings_that_are_not_as_decided() {
    let house = House::with_phases(crate::governor::PHASES);
    crate::governor::host_with_policies(&house);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let explain = || {
        let arguments = ["cache", "explain", "cpu_governor", "p.yaml", "--sysroot", "host"];
        house.trueup(&arguments).wanted(0).stdout
    };
    assert!(!explain().contains("decided"), "{}", explain());
    house.put("host/proc/sys/vm/swappiness", "60\n");
    let drifted = explain();
    let told = "/proc/sys/vm/swappiness: is 60, decided 10; the next run applies it again";
    assert!(drifted.contains(told), "{drifted}");
}

#[test]
fn a_decision_of_another_host_is_not_used() {
    let house = House::with_phases(POOL);
    house.put("host/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], true);
    house.put("host/etc/machine-id", "fedcba9876543210fedcba9876543210\n");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], false);
    let why = pool(&house)["cache"]["miss"].as_str().unwrap().to_owned();
    assert!(why.starts_with("host changed from "), "{why}");
}

#[test]
fn a_damaged_log_is_told_and_measured_anew() {
    let house = House::with_phases(POOL);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let log = house.path("cache/db_pool.log");
    for damage in ["{", "\u{0}\u{1}"] {
        std::fs::write(&log, damage).unwrap();
        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(pool(&house)["cache"]["hit"], false);
        let notes = pool(&house)["notes"].to_string();
        assert!(notes.contains("was not trusted"), "{notes}");
    }
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(pool(&house)["cache"]["hit"], true);
    let listed = house.trueup(&["cache", "ls"]).wanted(0).stdout;
    assert!(listed.contains("db_pool.log: 1 line is not trusted"), "{listed}");
    house.trueup(&["cache", "prune"]).wanted(0);
    assert!(house.path("cache/db_pool.bad").exists());
    assert_eq!(entries(&house).len(), 1);
}

#[test]
fn a_cache_that_cannot_be_written_fails_no_phase() {
    let house = House::with_phases(POOL);
    house.put("cache", "a file in its place");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let notes = house.report()["notes"].to_string();
    assert!(notes.contains("could not be remembered"), "{notes}");
}

/// What the cache is asked for the phase `pool`, whose policy is changed before.
fn asked(house: &House, change: impl FnOnce(&mut CachePolicy)) -> Vec<Asked> {
    let path = house.path("p.yaml");
    let mut pipeline = read(&path).unwrap();
    change(Arc::make_mut(&mut pipeline.phases[0].cache));
    let registry = standard();
    let plan = bind(
        pipeline,
        Binding {
            registry: &registry,
            host: serde_json::json!({}),
            env: serde_json::Map::new(),
            set: Vec::new(),
            selection: Selection { only: vec!["pool".to_owned()], ..Selection::default() },
        },
    )
    .unwrap();
    let sysroot = Sysroot::at(house.path("host"));
    let clock = Clock::system();
    let url = "sqlite://trials.db".parse().unwrap();
    let context = RunContext {
        run: RunId::new(clock.now(), 1),
        facts: Facts::read(&sysroot),
        sysroot,
        trials: Arc::new(TrialStore::new(url, "box".to_owned(), clock.clone())),
        program: TRUEUP.into(),
        pipeline_dir: path.parent().unwrap().to_owned(),
        results_dir: house.path("results"),
        logins: Logins::default(),
        services: Services::default(),
        progress: ProgressBoard::default(),
        cancel: CancellationToken::new(),
        abandon: CancellationToken::new(),
        secrets: Secrets::default(),
        leash: Leash::new("/bin/true".into(), &house.path("results"), "test"),
        digests: Digests::default(),
        trusts_files: false,
        clock: clock.clone(),
    };
    let cache = CacheDirectory::new(house.path("cache"), clock).listening();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(preview(&Arc::new(plan), &Memory::Use(cache.clone()), &Arc::new(context)));
    cache.asked()
}

#[test]
fn the_policy_of_a_phase_says_on_what_its_decision_depends_and_for_whom_it_holds() {
    let house = House::with_phases(POOL);
    house.put("host/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    house.put("conf/a.yaml", "one");
    let glob = |glob: &str| Spot { value: glob.to_owned(), span: Extent::default() };
    let with_input = || asked(&house, |policy| policy.inputs = vec![glob("conf/*.yaml")]).remove(0);
    let plain = asked(&house, |_| ()).remove(0);
    let one = with_input();
    let parts = |asked: &Asked, of: &Asked| -> Vec<String> {
        asked.manifest.differences(&of.manifest).into_iter().map(|one| one.part).collect()
    };
    assert_eq!(parts(&one, &plain), ["inputs.conf/a.yaml"]);
    house.put("conf/a.yaml", "two");
    assert_eq!(parts(&with_input(), &one), ["inputs.conf/a.yaml"], "its content is what counts");
    assert_eq!(with_input().manifest.key(), with_input().manifest.key());

    let class = asked(&house, |policy| policy.scope = CacheScope::Class).remove(0);
    assert_eq!(parts(&class, &plain), ["host"]);
    assert_eq!(asked(&house, |policy| policy.on = false).len(), 0);
    let none = asked(&house, |policy| policy.inputs = vec![glob("conf/*.yml")]);
    assert_eq!(none.len(), 0, "what matches nothing is no reason to trust a decision");
}

#[test]
fn what_was_printed_in_another_folder_or_of_inputs_that_changed_meanwhile_is_no_answer() {
    let house = House::new();
    for folder in ["one", "two"] {
        let told = "{ uses: command, cache: { ttl: 1h }, with: { argv: [cat, data] } }";
        house.put(&format!("{folder}/p.yaml"), &format!("version: 1\nphases:\n  probe: {told}\n"));
        house.put(&format!("{folder}/data"), folder);
        house.trueup(&["run", &format!("{folder}/p.yaml")]).wanted(0);
        assert_eq!(house.report()["phases"]["probe"]["outputs"]["stdout"], folder);
    }
    let told = "{ uses: command, cache: { inputs: [in] }, with: { shell: true, argv: ['echo 2 > in; cat in'] } }";
    house.put("p.yaml", &format!("version: 1\nphases:\n  probe: {told}\n"));
    house.put("in", "1");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert!(house.report()["phases"]["probe"]["cache"]["key"].is_null());
    house.put("in", "1");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.report()["phases"]["probe"]["cache"]["hit"], false, "it was not remembered");
    house.put("in", "1");
    house.put("p.yaml", &house.get("p.yaml").replace("echo 2 > in; cat in", "cat in; rm in"));
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert!(house.report()["phases"]["probe"]["cache"]["key"].is_null(), "its input is gone");
}

#[test]
fn inputs_end_in_a_folder_that_links_to_itself_and_in_what_blocks() {
    let house = House::with_phases(
        "  loops: { uses: command, timeout: 20s, cache: { inputs: [\"loop/**/*.csv\"] }, with: { argv: [date] } }\n\
         \x20 blocks: { uses: command, timeout: 20s, cache: { inputs: [pipe] }, with: { argv: [date] } }",
    );
    house.put("loop/one.csv", "1");
    for link in ["loop/a", "loop/b"] {
        std::os::unix::fs::symlink(".", house.path(link)).unwrap();
    }
    nix::unistd::mkfifo(&house.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    house.trueup(&["plan", "p.yaml"]).wanted(0);
    house.trueup(&["run", "p.yaml"]).wanted(1);
    let report = house.report();
    assert_eq!(report["phases"]["loops"]["status"], "SUCCESS");
    let reason = report["phases"]["blocks"]["reason"].to_string();
    assert!(reason.contains("pipe") && reason.contains("not a regular file"), "{reason}");
}

#[test]
fn a_glob_that_is_none_is_told_before_anything_runs() {
    let house = House::with_phases(
        "  a: { uses: command, cache: { inputs: [\"[z-a\", \"a/***\"] }, with: { argv: [date] } }",
    );
    let told = house.trueup(&["check", "p.yaml"]).wanted(2).stderr;
    assert_eq!(told.matches("this is not a glob").count(), 2, "{told}");
}
