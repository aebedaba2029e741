//! A made-up kind of phase, and runs of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use trueup::clock::Clock;
use trueup::engine::{Earlier, Memory, RunOptions};
use trueup::event::{Check, CheckState, EventSink, ProgressBoard, Record, read_log};
use trueup::host::{Facts, Sysroot};
use trueup::phase::{Applicability, Context, Kind, PhaseError, Registry};
use trueup::pipeline::read_text;
use trueup::plan::{Binding, Plan, Selection, bind};
use trueup::report::file::{Format, RunFiles, Wanted};
use trueup::report::fold;
use trueup::shutdown::Shutdown;
use trueup::store::TrialStore;

use crate::graph::{Drawn, yaml};

/// The phases that are at work, by folder of results and name. Whoever is dropped or ends leaves.
static AT_WORK: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());

struct AtWork((String, String));

impl AtWork {
    fn enter(cx: &Context) -> Self {
        let who = (cx.run.results_dir.display().to_string(), cx.phase.to_string());
        AT_WORK.lock().unwrap().insert(who.clone());
        Self(who)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&self.0);
    }
}

/// The kind.
struct Fake;

#[derive(Serialize, Deserialize, JsonSchema)]
struct With {
    end: String,
    waits: u8,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {}

impl Kind for Fake {
    const NAME: &'static str = "fake";
    const ABOUT: &'static str = "ends as it is told";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    type With = With;
    type Observation = Nothing;
    type Decision = Nothing;

    async fn observe(with: &With, _: &Context) -> Result<Applicability<Nothing>, PhaseError> {
        if with.end == "NotApplicable" {
            let reason = "told so".to_owned();
            return Ok(Applicability::No { reason, observation: Nothing {} });
        }
        Ok(Applicability::Yes(Nothing {}))
    }

    async fn decide(_: &With, _: &Nothing, _: &Context) -> Result<Nothing, PhaseError> {
        Ok(Nothing {})
    }

    fn tell(_: &With, _: &Nothing) -> String {
        "decided".to_owned()
    }

    async fn apply(
        with: &With,
        _: &Nothing,
        _: &Nothing,
        cx: &Context,
    ) -> Result<Map<String, Value>, PhaseError> {
        let _at_work = AtWork::enter(cx);
        assert!(with.end != "Panics", "a defect on purpose");
        for _ in 0..with.waits {
            cx.run.clock.advance(Duration::from_millis(7));
            tokio::task::yield_now().await;
            cx.go_on()?;
        }
        assert!(with.end != "PanicsLater", "a defect on purpose");
        if with.end == "Fails" {
            return Err(PhaseError::new("told to fail"));
        }
        Ok(Map::from_iter([("waits".to_owned(), with.waits.into())]))
    }

    async fn verify(
        with: &With,
        _: &Nothing,
        _: &Nothing,
        _: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let text = |text: &str| text.to_owned();
        let state =
            CheckState::Mismatch { seen: text("1"), wanted: text("2"), source: text("nowhere") };
        let bad = Check::new("told to mismatch", state);
        Ok(if with.end == "FailsVerify" { vec![bad] } else { Vec::new() })
    }
}

/// When a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Never,
    /// When so many events were recorded; with the second signal right after the first.
    At {
        event: usize,
        abandon: bool,
    },
}

struct Stopper {
    seen: usize,
    stop: Stop,
    shutdown: Shutdown,
}

impl EventSink for Stopper {
    fn name(&self) -> &'static str {
        "stopper"
    }

    fn accept(&mut self, _: &Record) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if let Stop::At { event, abandon } = self.stop
            && event == self.seen
        {
            self.shutdown.cancel.cancel();
            if abandon {
                self.shutdown.abandon.cancel();
            }
        }
        self.seen += 1;
        Ok(())
    }
}

/// What a run left.
pub struct Recorded {
    pub events: Vec<Record>,
    pub report: String,
    pub stopped: bool,
    /// Phases that were at work when it had ended.
    pub alive: Vec<String>,
}

impl Recorded {
    /// The report made again from the events.
    pub fn folded_again(&self) -> String {
        let mut text = Vec::new();
        Format::Json.write(&fold(&self.events), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

fn plan(drawn: &[Drawn]) -> Plan {
    let mut pipeline = read_text(Path::new("random.yaml"), yaml(drawn)).unwrap();
    for (index, phase) in drawn.iter().enumerate() {
        let position = pipeline.position(&format!("p{index}")).unwrap();
        pipeline.phases[position].always = phase.always;
    }
    let registry = Registry::default().with::<Fake>();
    let selection = Selection::default();
    let binding = Binding {
        registry: &registry,
        host: json!({}),
        env: Map::new(),
        set: Vec::new(),
        selection,
    };
    bind(pipeline, binding).unwrap()
}

/// Where a disk need not be waited for, if there is such a place.
fn folder() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    tempfile::tempdir_in(&memory).or_else(|_| tempfile::tempdir()).unwrap()
}

/// Runs a graph to its end.
pub fn run(drawn: &[Drawn], jobs: usize, stop: Stop) -> Recorded {
    let place = folder();
    let results_dir = place.path().join("results");
    let clock = Clock::manual("2026-11-24T12:00:00Z".parse().unwrap());
    let shutdown = Shutdown::new();
    let stopper = Stopper { seen: 0, stop, shutdown: shutdown.clone() };
    let sysroot = Sysroot::at(place.path().join("host"));
    let url = "sqlite::memory:".parse().unwrap_or_else(|_| "sqlite://none.db".parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hold = trueup::engine::hold(&results_dir, &clock, &shutdown, None);
    let hold = runtime.block_on(hold).unwrap();
    let options = RunOptions {
        secrets: trueup::secret::Secrets::default(),
        plan: Arc::new(plan(drawn)),
        results_dir: results_dir.clone(),
        memory: Memory::Off,
        facts: Facts::read(&sysroot),
        sysroot,
        clock: clock.clone(),
        program: PathBuf::from("/bin/true"),
        jobs,
        workers: runtime.handle().clone(),
        shutdown: shutdown.clone(),
        readers: vec![
            Box::new(RunFiles::new(results_dir.clone(), Wanted::default())),
            Box::new(stopper),
        ],
        progress: ProgressBoard::default(),
        trials: Arc::new(TrialStore::new(url, "host".to_owned(), clock)),
        earlier: Earlier::default(),
        hold,
        trusted: None,
    };
    let end = runtime.block_on(trueup::engine::run(options)).unwrap();
    let run = results_dir.display().to_string();
    let at_work = AT_WORK.lock().unwrap();
    let alive = at_work.iter().filter(|(of, _)| *of == run).map(|(_, phase)| phase.clone());
    Recorded {
        events: read_log(&end.folder.join("events.jsonl")).unwrap(),
        report: std::fs::read_to_string(end.folder.join("report.json")).unwrap(),
        stopped: shutdown.cancel.is_cancelled(),
        alive: alive.collect(),
    }
}
