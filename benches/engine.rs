//! The orchestrator's own cost: reading and binding a pipeline, ordering its phases, naming a decision.
#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Map, Value, json};
use trueup::cache::Manifest;
use trueup::engine::{Action, Dispatcher, End, Input};
use trueup::event::Outcome;
use trueup::phase::standard;
use trueup::pipeline::read_text;
use trueup::plan::{Binding, Plan, Selection, bind};

const PHASES: usize = 1000;

/// Layers of ten phases, each of which needs three of the layer before.
fn pipeline() -> String {
    let mut text = String::from("version: 1\nphases:\n");
    for phase in 0..PHASES {
        let _ = write!(text, "  p{phase}: {{ uses: command, with: {{ argv: [/bin/true] }}");
        if phase >= 10 {
            let layer = phase / 10 * 10 - 10;
            let needs: Vec<String> =
                (0..3).map(|n| format!("p{}", layer + (phase + n) % 10)).collect();
            let _ = write!(text, ", needs: [{}]", needs.join(", "));
        }
        text.push_str(" }\n");
    }
    text
}

fn plan(text: &str) -> Plan {
    let pipeline = read_text(Path::new("bench.yaml"), text.to_owned()).expect("a valid pipeline");
    let registry = standard();
    let binding = Binding {
        registry: &registry,
        host: Value::Null,
        env: Map::new(),
        set: Vec::new(),
        selection: Selection::default(),
    };
    bind(pipeline, binding).expect("a plan")
}

/// Runs a plan in which every phase succeeds as soon as it is started.
fn order(plan: &Arc<Plan>) -> usize {
    let mut dispatcher = Dispatcher::new(Arc::clone(plan), 4);
    let (mut actions, _) = dispatcher.handle(Input::Begin);
    let mut ended = 0;
    while let Some(action) = actions.pop() {
        let Action::Start(phase) = action else { continue };
        ended += 1;
        let end = End::bare(phase, Outcome::Success, None);
        actions.extend(dispatcher.handle(Input::Ended(end)).0);
    }
    ended
}

fn engine(criterion: &mut Criterion) {
    let text = pipeline();
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(PHASES as u64));
    group.sample_size(10);
    group.bench_function("read and bind", |bencher| bencher.iter(|| plan(black_box(&text))));
    let bound = Arc::new(plan(&text));
    group.bench_function("order", |bencher| {
        bencher.iter_batched(
            || Arc::clone(&bound),
            |plan| assert_eq!(order(&plan), PHASES),
            BatchSize::SmallInput,
        );
    });
    group.finish();

    let with = json!({ "url": "sqlite://results/trueup.db", "min": 5, "max": 20, "p99": "50ms" });
    criterion.bench_function("name a decision", |bencher| {
        bencher.iter(|| Manifest::new("db_pool", 1).with("with", black_box(&with)).key());
    });
}

criterion_group!(benches, engine);
criterion_main!(benches);
