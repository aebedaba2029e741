//! What it costs to plan, apply and verify 200 settings of a host, on a tree in memory: so that the wait for the disk,
//! of which there is one for all of them, is not in the figures.
#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]
#![expect(clippy::disallowed_methods, reason = "it makes the tree that it changes")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use trueup::change::{Applier, ApplyResult, Change};
use trueup::clock::Clock;
use trueup::database::server::Logins;
use trueup::event::{PhaseName, ProgressBoard, RunId};
use trueup::host::leash::Leash;
use trueup::host::{Facts, Sysroot};
use trueup::phase::{AnyPhase, Context, Digests, RunContext, Services, standard};
use trueup::secret::Secrets;
use trueup::store::TrialStore;

const SETTINGS: usize = 200;

/// A host in memory on which every setting is 0, and what a phase is told that is to make it 1.
struct Subject {
    place: TempDir,
    with: Value,
}

fn subject() -> Subject {
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let place = place.expect("a folder");
    let mut settings = Map::new();
    for number in 0..SETTINGS {
        let path = format!("/proc/sys/net/bench/part{}/setting{number}", number % 10);
        put(place.path(), &format!("host{path}"), "0\n");
        settings.insert(path, json!(1));
    }
    put(place.path(), "host/proc/sys/kernel/random/boot_id", "first\n");
    Subject { place, with: json!({ "settings": settings }) }
}

fn put(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}

impl Subject {
    fn root(&self) -> Sysroot {
        Sysroot::at(self.place.path().join("host"))
    }

    fn phase(&self) -> Box<dyn AnyPhase> {
        let registry = standard();
        let kind = registry.get("cpu_governor").expect("the kind");
        kind.bind(&self.with).expect("a phase")
    }

    fn context(&self) -> Context {
        let clock = Clock::system();
        let dir = self.place.path();
        let url = "sqlite://none.db".parse().expect("a database that nobody opens");
        let run = RunContext {
            run: RunId::new(clock.now(), 1),
            sysroot: self.root(),
            trials: Arc::new(TrialStore::new(url, "here".to_owned(), clock.clone())),
            clock,
            facts: Facts::read(&self.root()),
            program: "/bin/true".into(),
            pipeline_dir: dir.to_owned(),
            results_dir: dir.to_owned(),
            services: Services::default(),
            progress: ProgressBoard::default(),
            cancel: CancellationToken::new(),
            abandon: CancellationToken::new(),
            secrets: Secrets::default(),
            leash: Leash::new("/bin/true".into(), dir, "bench"),
            digests: Digests::default(),
            trusts_files: false,
            logins: Logins::default(),
        };
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        let upstream: Arc<Vec<(PhaseName, Value)>> = Arc::new(Vec::new());
        Context::new(name(), Arc::new(run), upstream, CancellationToken::new(), events)
    }

    fn applier(&self, run: &str) -> Applier {
        Applier::new(self.root(), &self.place.path().join("journal"), run, Clock::system())
    }
}

fn name() -> PhaseName {
    "settings".parse().expect("a name")
}

/// Looks at the host and answers what is to be changed.
async fn plan(phase: &mut dyn AnyPhase, cx: &Context) -> Vec<Change> {
    phase.observe(cx).await.expect("an observation");
    phase.decide(cx).await.expect("a decision");
    phase.diff(&name()).expect("changes")
}

fn apply(applier: &Applier, changes: &[Change]) {
    assert_eq!(changes.len(), SETTINGS);
    let answers = applier.apply(changes);
    assert!(answers.iter().all(|one| one.result == ApplyResult::Match));
}

fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let subject = subject();
    let cx = subject.context();
    let mut group = criterion.benchmark_group("200 settings");
    group.sample_size(20);
    group.bench_function("plan", |bencher| {
        let mut phase = subject.phase();
        bencher.iter(|| black_box(runtime.block_on(plan(&mut *phase, &cx))));
    });
    let mut run = 0;
    group.bench_function("plan, apply and verify", |bencher| {
        bencher.iter_batched(
            || {
                // A journal of its own for each, and the host as it was.
                run += 1;
                let journals = subject.place.path().join("journal");
                let _ = fs::remove_dir_all(journals);
                for number in 0..SETTINGS {
                    let path = format!("net/bench/part{}/setting{number}", number % 10);
                    put(subject.place.path(), &format!("host/proc/sys/{path}"), "0\n");
                }
                (subject.applier(&format!("r{run}")), subject.phase())
            },
            |(applier, mut phase)| {
                let changes = runtime.block_on(plan(&mut *phase, &cx));
                apply(&applier, &changes);
                let checks = runtime.block_on(phase.verify(&cx)).expect("checks");
                applier.keep().expect("a journal");
                black_box(checks)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
