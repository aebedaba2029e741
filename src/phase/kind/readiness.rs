//! `readiness`: is this host fit to be measured and changed now?
//!
//! What can pass (load, temperature, memory in use) is waited for, up to `wait`; what can't fails at once. Every
//! figure comes with its threshold, its unit and the file that told it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::database::{Database, Engine, SealedUrl};
use crate::event::{Check, CheckState};
use crate::host::reading::{self, Bound, Reading, Unreadable};
use crate::measure::model::Measurement;
use crate::phase::{Applicability, Context, Kind, PhaseError, WithError};
use crate::unit::{Bytes, Celsius, Percent, Span};

/// How often a reading that can pass is taken again.
const AGAIN: Duration = Duration::from_millis(500);

/// How long a database may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks that a host is fit.
#[derive(Debug)]
pub struct Readiness;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// Least memory that must be available, the limits of control groups included.
    min_memory: Option<Bytes>,
    /// Largest share of time in which tasks may wait for a CPU.
    max_cpu_pressure: Option<Percent>,
    /// Highest temperature of the hottest sensor.
    max_temperature: Option<Celsius>,
    /// Least free disk where results are kept.
    min_disk: Option<Bytes>,
    /// Least limit of open files.
    min_open_files: Option<u64>,
    /// A database that must answer.
    database: Option<SealedUrl>,
    /// How long to wait for what can pass.
    #[serde(default)]
    wait: Span,
}

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    readings: Vec<Looked>,
}

/// One condition and how it stands.
#[derive(Debug, Serialize)]
struct Looked {
    name: &'static str,
    /// The figure, or why there is none.
    #[serde(flatten)]
    seen: Seen,
    wanted: String,
    /// True when it may become good by waiting.
    can_pass: bool,
    good: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Seen {
    Value { value: f64, unit: &'static str, source: String, told: String },
    Absent { reason: String },
    Unreadable { reason: String },
}

/// Nothing is to be decided.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {}

impl Kind for Readiness {
    const NAME: &'static str = "readiness";
    const ABOUT: &'static str =
        "checks that memory, CPU pressure, temperature, disk, limits and database are fit";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        let too_long = with.wait.0 > Duration::from_hours(1);
        let told = WithError::at("wait", "a host that is not fit after an hour will not be")
            .help("write up to `1h`");
        too_long.then_some(told).into_iter().collect()
    }

    async fn observe(with: &With, cx: &Context) -> Result<Applicability<Observation>, PhaseError> {
        Ok(Applicability::Yes(Observation { readings: look(with, cx).await }))
    }

    async fn decide(_: &With, _: &Observation, _: &Context) -> Result<Decision, PhaseError> {
        Ok(Decision {})
    }

    fn tell(with: &With, _: &Decision) -> String {
        let conditions = [
            with.min_memory.is_some(),
            with.max_cpu_pressure.is_some(),
            with.max_temperature.is_some(),
            with.min_disk.is_some(),
            with.min_open_files.is_some(),
            with.database.is_some(),
        ];
        format!("{} conditions", conditions.iter().filter(|asked| **asked).count())
    }

    async fn verify(
        with: &With,
        observation: &Observation,
        _: &Decision,
        cx: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let mut waited = None;
        if observation.readings.iter().any(|one| !one.good) {
            waited = Some(wait_until_fit(with, cx).await?);
        }
        let readings = waited.as_ref().unwrap_or(&observation.readings);
        for one in readings {
            if let Seen::Value { value, unit, source, .. } = &one.seen {
                cx.measured(
                    Measurement::once(one.name, *value, *unit)
                        .with_detail("source", source.as_str()),
                );
            }
        }
        Ok(readings.iter().map(Looked::check).collect())
    }
}

/// Looks again until all is good, something that can't pass is bad, or the time is over.
async fn wait_until_fit(with: &With, cx: &Context) -> Result<Vec<Looked>, PhaseError> {
    let started = cx.run.clock.instant();
    loop {
        let readings = look(with, cx).await;
        let waiting: Vec<&str> =
            readings.iter().filter(|one| !one.good).map(|one| one.name).collect();
        let hopeless = readings.iter().any(|one| !one.good && !one.can_pass);
        let waited = cx.run.clock.instant() - started;
        if waiting.is_empty() || hopeless || waited >= with.wait.0 {
            return Ok(readings);
        }
        let note = format!("waits for {}", waiting.join(", "));
        cx.progress(waited.as_secs(), with.wait.0.as_secs(), note);
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = cx.cancel.cancelled() => cx.go_on()?,
        }
    }
}

async fn look(with: &With, cx: &Context) -> Vec<Looked> {
    let root = &cx.run.sysroot;
    let mut found = Vec::new();
    if let Some(least) = with.min_memory {
        let read = reading::available_memory(root);
        found.push(looked("available_memory", read, format!("at least {least}"), true, |value| {
            value >= least.0 as f64
        }));
    }
    if let Some(most) = with.max_cpu_pressure {
        let usable = cx.run.facts.cpus.usable.as_ref().map_or(1, |usable| usable.value);
        let read = reading::cpu_pressure(root, usable);
        found.push(looked("cpu_pressure", read, format!("at most {most}"), true, |value| {
            value <= most.0
        }));
    }
    if let Some(most) = with.max_temperature {
        let read = reading::temperature(root);
        found.push(looked("temperature", read, format!("at most {most}"), true, |value| {
            value <= most.0
        }));
    }
    if let Some(least) = with.min_disk {
        let read = reading::free_disk(&cx.run.results_dir);
        found.push(looked("free_disk", read, format!("at least {least}"), false, |value| {
            value >= least.0 as f64
        }));
    }
    if let Some(least) = with.min_open_files {
        let read = reading::open_file_limit(root, Bound::Soft);
        found.push(looked("open_files", read, format!("at least {least}"), false, |value| {
            value >= least as f64
        }));
    }
    if let Some(url) = &with.database {
        found.push(reach(url, cx).await);
    }
    found
}

fn looked(
    name: &'static str,
    read: Result<Reading, Unreadable>,
    wanted: String,
    can_pass: bool,
    good: impl Fn(f64) -> bool,
) -> Looked {
    let (seen, good) = match read {
        Ok(Reading { value, unit, source }) => {
            let told = match unit {
                "bytes" => Bytes(value as u64).to_string(),
                "files" => format!("{value:.0}"),
                unit => format!("{value:.1}{unit}"),
            };
            (Seen::Value { value, unit, source, told }, good(value))
        }
        // A machine without a sensor is not too hot.
        Err(Unreadable::Absent(reason)) => (Seen::Absent { reason }, true),
        Err(Unreadable::Failed(reason)) => (Seen::Unreadable { reason }, false),
    };
    Looked { name, seen, wanted, can_pass, good }
}

/// Whether the database answers, and how fast. An SQLite file that is not there yet only needs its folder to be
/// writable, which the free disk tells.
async fn reach(url: &SealedUrl, cx: &Context) -> Looked {
    let wanted = "answers".to_owned();
    let url = match cx.database(url) {
        Ok(url) => url,
        Err(error) => {
            let seen = Seen::Unreadable { reason: error.told() };
            return Looked { name: "database", seen, wanted, can_pass: false, good: false };
        }
    };
    let source = url.to_string();
    if url.engine() == Engine::Sqlite && !url.file().is_some_and(|file| file.exists()) {
        let seen = Seen::Absent { reason: format!("{source} is made when it is first used") };
        return Looked { name: "database", seen, wanted, can_pass: false, good: true };
    }
    let started = cx.run.clock.instant();
    let answered = Database::probe(&url, PATIENCE).await;
    let value = (cx.run.clock.instant() - started).as_secs_f64() * 1000.0;
    let (seen, good) = match answered {
        Ok(()) => (
            Seen::Value { value, unit: "ms", source, told: format!("answered in {value:.1} ms") },
            true,
        ),
        Err(error) => {
            let reason = PhaseError::because("no answer", error).told();
            (Seen::Unreadable { reason }, false)
        }
    };
    Looked { name: "database", seen, wanted, can_pass: true, good }
}

impl Looked {
    fn check(&self) -> Check {
        let wanted = self.wanted.clone();
        match &self.seen {
            Seen::Value { told, .. } if self.good => Check::matched(self.name, told, wanted),
            Seen::Value { told, source, .. } => {
                let (seen, source) = (told.clone(), source.clone());
                Check::new(self.name, CheckState::Mismatch { seen, wanted, source })
            }
            Seen::Absent { reason } => {
                Check::new(self.name, CheckState::NotApplicable { reason: reason.clone() })
            }
            Seen::Unreadable { reason } => {
                Check::new(self.name, CheckState::Unreadable { reason: reason.clone() })
            }
        }
    }
}
