//! The hot paths of the verification service, each for itself: reading a body, checking a proof, mining one,
//! and a durable commit of a batch into SQLite.
#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use trueup::database::PoolSize;
use trueup::powd::ledger::{Ledger, TableName};
use trueup::powd::mine::ChallengeMiner;
use trueup::powd::proof::{Format, Proof, ProofId, Verified, verify};
use trueup::powd::rules::Rules;
use trueup::powd::wire;

const BITS: u8 = 8;

/// The first block of the Bitcoin chain.
const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";

fn checking(c: &mut Criterion) {
    let rules = Rules::new(BITS);
    let challenge = ChallengeMiner::new([7; 16], BITS).next().expect("there is always one");
    let bitcoin = Proof::Bitcoin { header: GENESIS.parse().expect("a header") };
    for proof in [challenge, bitcoin] {
        let name = format!("powd/verify/{}", proof.format().name());
        c.bench_function(&name, |b| {
            b.iter(|| verify(black_box(&proof), &rules, Timestamp::UNIX_EPOCH));
        });
    }
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
