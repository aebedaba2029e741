//! Any bytes as a pipeline: read and bound to the kinds that ship, or told to be wrong at places that exist.
#![no_main]

mod examine;

use std::path::Path;
use std::sync::LazyLock;

use examine::examine;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use trueup::phase::{Registry, standard};
use trueup::pipeline::read_text;
use trueup::plan::{Binding, Graph, Selection, bind};

static KINDS: LazyLock<Registry> = LazyLock::new(standard);

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let bound = read_text(Path::new("p.yaml"), text.to_owned()).and_then(|pipeline| {
        bind(
            pipeline,
            Binding {
                registry: &KINDS,
                host: json!({
                    "cpus": 2, "cpus_online": 4, "memory": 1_u64 << 32, "hostname": "host", "kernel": "6.1",
                    "arch": "x86_64", "virtualization": null, "has_cpufreq": false,
                }),
                env: object(json!({ "TRUEUP_DATABASE_URL": "sqlite://x.db" })),
                set: Vec::new(),
                selection: Selection::default(),
            },
        )
    });
    match bound {
        Ok(plan) => {
            assert_eq!(plan.order.len(), plan.phases.len(), "every phase has its turn");
            let graph = Graph::new(&plan);
            for picture in [graph.text(80), graph.dot(), graph.mermaid(), graph.svg()] {
                assert!(!picture.is_empty());
            }
        }
        Err(found) => examine(&found.0),
    }
});
