//! Any text as a template and as a condition, in a scope that stays the same: a value, or an error at its place.
#![no_main]

mod examine;

use std::path::Path;
use std::sync::LazyLock;

use examine::examine;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use trueup::phase::{Registry, standard};
use trueup::pipeline::{Scope, evaluate_condition, read_text};
use trueup::plan::{Binding, Selection, bind};

/// Far more than one expression may make of a text of 4 KiB.
const LONGEST: usize = 16 << 20;

static KINDS: LazyLock<Registry> = LazyLock::new(standard);

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn host() -> Value {
    json!({ "cpus": 2, "memory": 1_u64 << 32, "hostname": "höst", "has_cpufreq": false })
}

fn variables() -> Value {
    json!({
        "text": "a text", "number": -3, "float": 2.5, "big": u64::MAX, "list": [1, "two", null],
        "map": { "a": { "b": 1 } },
    })
}

fn env() -> Map<String, Value> {
    object(json!({ "HOME": "/home/somebody", "EMPTY": "", "NO_TEXT": null }))
}

static SCOPE: LazyLock<Scope> = LazyLock::new(|| {
    let mut scope = Scope::new(&env(), host());
    for (name, value) in object(variables()) {
        scope.set(&name, value, None);
    }
    // Spelled otherwise than it is usual.
    scope.set("version", json!(1.1), Some(&json!("1.10")));
    let phases = json!({ "pool": { "pool_size": 19, "curve": [[1, 2.0], [2, 3.5]] } });
    scope.seeing(object(phases), &[])
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = evaluate_condition(text, &SCOPE.frame());
    // As it stands in a file, where JSON is YAML: in a variable, in what a kind is told, and in a condition.
    let mut vars = object(variables());
    vars.insert("version".to_owned(), json!(1.0e3));
    vars.insert("fuzzed".to_owned(), json!(text));
    vars.insert("twice".to_owned(), json!(["{{ vars.fuzzed }}", "{{ vars.fuzzed }}"]));
    let phase = json!({ "uses": "command", "when": text, "with": { "argv": ["a", text, "{{ vars.fuzzed }}"] } });
    let file = json!({ "version": 1, "vars": vars, "phases": { "pool": { "uses": "readiness" }, "a": phase } });
    let bound = read_text(Path::new("e.yaml"), file.to_string()).and_then(|pipeline| {
        let binding = Binding {
            registry: &KINDS,
            host: host(),
            env: env(),
            set: Vec::new(),
            selection: Selection::default(),
        };
        bind(pipeline, binding)
    });
    match bound {
        Ok(plan) => {
            let made = plan.scope.vars().get("fuzzed").map_or(0, |value| value.to_string().len());
            assert!(made <= LONGEST, "an expression may not multiply itself: {made} bytes");
        }
        Err(found) => examine(&found.0),
    }
});
