//! The cost of remembering: naming decisions, looking ten thousand of them up in one run, writing them.
//!
//! What is told is CPU time, user and system: it is what a run of many phases has least of, and other processes
//! of the machine do not change it much.
#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};
use trueup::cache::{CacheDirectory, Lookup, Manifest, Origin};
use trueup::clock::Clock;
use trueup::pipeline::CacheScope;

const DECISIONS: usize = 10_000;
const TTL: Duration = Duration::from_hours(24);

/// Ten parts, as a small phase has them.
fn manifest(number: usize) -> Manifest {
    let with: Value = json!({ "argv": ["/bin/true", number.to_string()], "limit": 65_536 });
    let depends = json!({ "cpu_model": "AMD, EPYC", "kernel": "6.1.0-18", "usable_cpus": "2" });
    named(&with, &depends)
}

fn named(with: &Value, depends: &Value) -> Manifest {
    Manifest::new("command", 1)
        .on(CacheScope::Host, "3f2a90c1d2e4b5a6")
        .with("with", with)
        .with("depends", depends)
}

fn cache(root: &Path) -> CacheDirectory {
    CacheDirectory::new(root.to_owned(), Clock::system())
}

fn remember(root: &Path, manifests: &[Manifest]) {
    let cache = cache(root);
    let decision = json!({ "code": 0, "stdout": "", "stderr": "" });
    for manifest in manifests {
        let origin = Origin { kind: "command", phase: "p", run: "20261123T221530Z-7c41f2b9" };
        cache.remember(manifest, origin, &decision, TTL).expect("plain data");
    }
    cache.flush().expect("a disk");
}

/// Reads the log and finds every decision, as a run does.
fn look_up(root: &Path, manifests: &[Manifest]) -> usize {
    let cache = cache(root);
    let hit = |manifest: &&Manifest| {
        matches!(cache.look_up("command", "p", manifest, TTL), Lookup::Hit { .. })
    };
    manifests.iter().filter(hit).count()
}

/// The CPU time that `rounds` rounds of some work take.
fn cpu_time(rounds: u64, mut work: impl FnMut()) -> Duration {
    let before = spent();
    for _ in 0..rounds {
        work();
    }
    spent().saturating_sub(before)
}

fn spent() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage of this process");
    let time = |spent: TimeVal| {
        Duration::from_secs(spent.tv_sec() as u64) + Duration::from_micros(spent.tv_usec() as u64)
    };
    time(usage.user_time()) + time(usage.system_time())
}

fn bench(criterion: &mut Criterion) {
    let manifests: Vec<Manifest> = (0..DECISIONS).map(manifest).collect();
    let folder = tempfile::tempdir().expect("a folder");
    remember(folder.path(), &manifests);

    let mut group = criterion.benchmark_group("cache");
    let with = json!({ "argv": ["/bin/true", "1"], "limit": 65_536 });
    let depends = json!({ "cpu_model": "AMD, EPYC", "kernel": "6.1.0-18", "usable_cpus": "2" });
    group.bench_function("name a decision", |bencher| {
        bencher.iter_custom(|rounds| {
            cpu_time(rounds, || {
                black_box(named(black_box(&with), black_box(&depends)).key());
            })
        });
    });
    group.sample_size(10);
    group.throughput(Throughput::Elements(DECISIONS as u64));
    group.bench_function("read the log and look up", |bencher| {
        bencher.iter_custom(|rounds| {
            cpu_time(rounds, || assert_eq!(look_up(folder.path(), &manifests), DECISIONS))
        });
    });
    group.bench_function("remember and write", |bencher| {
        bencher.iter_custom(|rounds| {
            cpu_time(rounds, || {
                let folder = tempfile::tempdir().expect("a folder");
                remember(folder.path(), &manifests);
            })
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
