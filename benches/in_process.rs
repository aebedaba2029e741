//! The engine's own cost for phases that do nothing, from 1,000 to 100,000 of them: time and memory for each phase.
//!
//! Each size is a process of its own, so that its peak memory is its own. Prints a table; `cargo bench --bench in_process`.
#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]
#![expect(clippy::print_stdout, reason = "it prints what it has measured")]
#![expect(clippy::disallowed_methods, reason = "it measures time and starts itself")]

#[path = "../tests/kinds/idle.rs"]
mod idle;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use idle::Idle;
use serde_json::{Map, Value};
use trueup::clock::Clock;
use trueup::engine::{Earlier, Memory, RunOptions};
use trueup::event::ProgressBoard;
use trueup::host::{Facts, Sysroot};
use trueup::phase::Registry;
use trueup::pipeline::read_text;
use trueup::plan::{Binding, Selection, bind};
use trueup::report::file::{RunFiles, Wanted};
use trueup::shutdown::Shutdown;
use trueup::store::TrialStore;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// How often each size is run; the least time is told, as others only add to it.
const ROUNDS: usize = 3;

/// Layers of a hundred phases, each of which needs three of the layer before.
fn yaml(phases: usize) -> String {
    let mut text = String::from("version: 1\nphases:\n");
    for phase in 0..phases {
        let _ = write!(text, "  p{phase}: {{ uses: idle");
        if phase >= 100 {
            let layer = phase / 100 * 100 - 100;
            let need = |step: usize| layer + (phase + step * 7) % 100;
            let _ = write!(text, ", needs: [p{}, p{}, p{}]", need(0), need(1), need(2));
        }
        text.push_str(" }\n");
    }
    text
}

/// Runs so many phases once; answers the seconds of reading and binding, and of the run.
fn once(phases: usize, place: &Path) -> (f64, f64) {
    let text = yaml(phases);
    let started = Instant::now();
    let pipeline = read_text(Path::new("bench.yaml"), text).expect("a valid pipeline");
    let registry = Registry::default().with::<Idle>();
    let binding = Binding {
        registry: &registry,
        host: Value::Null,
        env: Map::new(),
        set: Vec::new(),
        selection: Selection::default(),
    };
    let plan = bind(pipeline, binding).expect("a plan");
    let bound = started.elapsed().as_secs_f64();
    let clock = Clock::system();
    let sysroot = Sysroot::at(place.join("host"));
    let results_dir = place.join("results");
    let url = "sqlite://none.db".parse().expect("a database that nobody opens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let shutdown = Shutdown::new();
    let hold = trueup::engine::hold(&results_dir, &clock, &shutdown, None);
    let hold = runtime.block_on(hold).expect("a lock");
    let options = RunOptions {
        secrets: trueup::secret::Secrets::default(),
        plan: Arc::new(plan),
        results_dir: results_dir.clone(),
        memory: Memory::Off,
        facts: Facts::read(&sysroot),
        sysroot,
        clock: clock.clone(),
        program: PathBuf::from("/bin/true"),
        jobs: 4,
        workers: runtime.handle().clone(),
        shutdown,
        readers: vec![Box::new(RunFiles::new(results_dir, Wanted::default()))],
        progress: ProgressBoard::default(),
        trials: Arc::new(TrialStore::new(url, "host".to_owned(), clock)),
        earlier: Earlier::default(),
        hold,
        trusted: None,
    };
    let started = Instant::now();
    runtime.block_on(trueup::engine::run(options)).expect("a run");
    (bound, started.elapsed().as_secs_f64())
}

/// The most memory that this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    figure.expect("the peak in kB")
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--size").skip(1);
    if let Some(phases) = arguments.next() {
        let place = tempfile::tempdir().expect("a folder");
        let (bound, ran) = once(phases.parse().expect("a number"), place.path());
        println!("{bound} {ran} {}", peak());
        return;
    }
    println!("phases    read and bind      run, recorded and reported    peak memory");
    for phases in SIZES {
        let measured: Vec<Vec<f64>> = (0..ROUNDS).map(|_| child(phases)).collect();
        let least = |at: usize| measured.iter().map(|one| one[at]).fold(f64::INFINITY, f64::min);
        let each = |seconds: f64| seconds * 1e6 / phases as f64;
        println!(
            "{phases:<8}  {:6.2} us/phase   {:6.2} us/phase               {:7.1} MB, {:.2} KB/phase beyond 20 MB",
            each(least(0)),
            each(least(1)),
            least(2) / 1024.0,
            (least(2) - 20.0 * 1024.0).max(0.0) / phases as f64,
        );
    }
}

/// One size in a process of its own: seconds of binding, of the run, and its peak in KiB.
fn child(phases: usize) -> Vec<f64> {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args(["--size", &phases.to_string()]).output();
    let text = String::from_utf8(output.expect("a child").stdout).expect("text");
    text.split_whitespace().map(|figure| figure.parse().expect("a figure")).collect()
}
