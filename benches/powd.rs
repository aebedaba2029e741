//! The hot paths of the verification service, each for itself: reading a body, checking proofs of each format, mining
//! one, and a durable commit of a batch into SQLite.
#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use trueup::clock::Clock;
use trueup::database::PoolSize;
use trueup::powd::ledger::{Ledger, TableName};
use trueup::powd::mine::ChallengeMiner;
use trueup::powd::proof::{Format, Proof, ProofId, Verified};
use trueup::powd::speed::Bench;
use trueup::powd::wire;

const BITS: u8 = 8;

fn checking(c: &mut Criterion) {
    let bench = Bench::new(Clock::system(), "").expect("proofs");
    let mut group = c.benchmark_group("powd/verify");
    group.sample_size(10);
    for case in &bench.cases {
        group.throughput(Throughput::Elements(bench.round(case)));
        group.bench_function(&case.name, |b| b.iter(|| bench.round(case)));
    }
    group.finish();
    c.bench_function("powd/mine/8_bits", |b| {
        let mut miner = ChallengeMiner::new([7; 16], BITS);
        b.iter(|| miner.next());
    });
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("powd/read");
    for count in [1, 64, 1024] {
        let proofs: Vec<Proof> = ChallengeMiner::new([7; 16], BITS).take(count).collect();
        let body = serde_json::to_vec(&proofs).expect("proofs are JSON");
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(count.to_string(), |b| b.iter(|| wire::read(black_box(&body), count)));
    }
}

fn recording(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", dir.path().join("ledger.db").display());
    let url = url.parse().expect("a URL");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let opened = Ledger::open(&url, PoolSize::exactly(1), TableName::default());
    let ledger = runtime.block_on(opened).expect("a ledger");
    let mut group = c.benchmark_group("powd/record");
    for count in [1, 32, 256] {
        let fresh = || -> Vec<Verified> {
            let ids = (0..count).map(|_| ProofId(rand::random()));
            ids.map(|id| Verified { id, format: Format::Challenge }).collect()
        };
        group.throughput(Throughput::Elements(count));
        group.bench_function(count.to_string(), |b| {
            let record = |batch: Vec<Verified>| {
                runtime.block_on(ledger.record(&batch, Timestamp::UNIX_EPOCH))
            };
            b.iter_batched(fresh, record, BatchSize::PerIteration);
        });
    }
    group.finish();
    runtime.block_on(ledger.close());
}

criterion_group!(benches, checking, reading, recording);
criterion_main!(benches);
