//! `db_pool`: how many connections this database is worth, measured.
//!
//! For every size in the range a real pool of that size is loaded in a closed loop by more clients than it has
//! connections, with reads and writes of a table of its own. Sizes are gone through up and then down, so that
//! a drift hits both ends alike. The smallest size within 2% of the best admissible throughput is taken.
//! The table is dropped afterwards; one that a killed run has left is dropped by the next.

mod workload;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::database::{Database, Engine, PoolSize, SealedUrl};
use crate::event::Check;
use crate::host::Fact;
use crate::measure::knee::{Knee, KneeRule, KneeVerdict, SizePoint, knee};
use crate::measure::load::{ClosedLoop, Limit, LoadReport, Place, Setting, Warmup, closed};
use crate::measure::model::Measurement;
use crate::measure::scalability::{Fit, fit};
use crate::phase::{Applicability, Context, Dependencies, Kind, PhaseError, Scratch, WithError};
use crate::unit::{Percent, Span};
use workload::Mix;

/// A size is good enough within this much of the best.
const TOLERANCE: Percent = Percent(2.0);

/// How long a database may take to answer before anything is measured.
const PATIENCE: Duration = Duration::from_secs(10);

/// Decides the size of a connection pool by loading real ones.
#[derive(Debug)]
pub struct DbPool;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The database: `sqlite://PATH` or `postgres://USER@HOST/DATABASE`.
    url: SealedUrl,
    /// Smallest size to try.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 1000))]
    min: u32,
    /// Largest size to try.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1000))]
    max: u32,
    /// The 0.99 quantile of latency, the wait for a connection included, that a size must keep to be admissible.
    #[serde(default = "fifty_ms")]
    p99: Span,
    /// How long each size is measured, twice.
    #[serde(default = "half_second")]
    sample: Span,
    /// Clients that share the pool, up to 10000; twice `max` unless told.
    #[schemars(range(min = 1, max = 10_000))]
    clients: Option<usize>,
}

/// Most clients: each is a task with a connection to wait for.
const MOST_CLIENTS: usize = 10_000;

/// Longest time for which one size is measured.
const LONGEST_SAMPLE: Duration = Duration::from_hours(1);

fn five() -> u32 {
    5
}

fn twenty() -> u32 {
    20
}

fn fifty_ms() -> Span {
    Span(Duration::from_millis(50))
}

fn half_second() -> Span {
    Span(Duration::from_millis(500))
}

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    engine: &'static str,
    version: Option<String>,
    /// Connections that the server allows in all, where it has such a limit.
    max_connections: Option<u32>,
    /// Connections that are taken by others, or kept for superusers.
    taken_connections: Option<u32>,
}

/// What it concludes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decision {
    /// The size.
    pool_size: u32,
    /// Operations a second at that size.
    throughput: f64,
    /// 0.99 quantile of latency at that size, in milliseconds.
    p99_ms: f64,
    /// How the size was found, and what kept others out.
    knee: Knee,
    /// Every size with what was measured.
    curve: Vec<SizePoint>,
    /// The scalability law fitted to the curve, where it could be.
    law: Option<Fit>,
}

impl Kind for DbPool {
    const NAME: &'static str = "db_pool";
    const ABOUT: &'static str = "sizes a database's connection pool by loading real ones";
    const REVISION: u32 = 1;
    const CACHED: bool = true;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        let mut wrong = Vec::new();
        if with.min == 0 {
            wrong.push(
                WithError::at("min", "a pool has at least one connection").help("write 1 or more"),
            );
        }
        if with.max < with.min {
            let told =
                format!("the largest size, {}, is below the smallest, {}", with.max, with.min);
            wrong.push(
                WithError::at("max", told).help("write a range such as `min: 5` and `max: 20`"),
            );
        }
        if with.max > 1000 {
            wrong.push(
                WithError::at("max", "more than 1000 connections are not tried")
                    .help("write up to 1000"),
            );
        }
        if with.clients.is_some_and(|clients| !(1..=MOST_CLIENTS).contains(&clients)) {
            let told = format!("from 1 to {MOST_CLIENTS} clients can share the pool");
            wrong.push(WithError::at("clients", told).help("leave it out for twice `max`"));
        }
        if with.sample.0 < Duration::from_millis(100) {
            wrong.push(
                WithError::at("sample", "too short to measure anything")
                    .help("write 100ms or more"),
            );
        }
        if with.sample.0 > LONGEST_SAMPLE {
            let told = "no size is measured for longer than an hour";
            wrong.push(WithError::at("sample", told).help("write it like `500ms`"));
        }
        wrong
    }

    async fn observe(with: &With, cx: &Context) -> Result<Applicability<Observation>, PhaseError> {
        let engine = cx.database(&with.url)?.engine();
        let mut found = Observation {
            engine: engine.name(),
            version: None,
            max_connections: None,
            taken_connections: None,
        };
        // An embedded engine has nothing to tell that this program does not know, and looking must not write.
        if engine == Engine::Postgres {
            let database =
                open(with, PoolSize { acquire: PATIENCE, ..PoolSize::exactly(1) }, cx).await?;
            let asked = workload::server(&database).await;
            database.close().await;
            let server =
                asked.map_err(|error| PhaseError::because("could not ask the database", error))?;
            if let Some(server) = server {
                found.version = Some(server.version);
                found.max_connections = server.max_connections;
                found.taken_connections = server.taken_connections;
            }
        }
        let free = found
            .max_connections
            .zip(found.taken_connections)
            .map(|(all, taken)| all.saturating_sub(taken));
        if let Some(free) = free.filter(|free| *free < with.min) {
            let told = format!(
                "the server has only {free} connections free, and the smallest size to try is {}",
                with.min
            );
            return Err(PhaseError::new(told).help("raise max_connections, or lower `min`"));
        }
        Ok(Applicability::Yes(found))
    }

    fn depends_on(_: &With, found: &Observation, cx: &Context) -> Result<Dependencies, PhaseError> {
        let mut parts = cx.facts(&[Fact::CpuModel, Fact::UsableCpus, Fact::Memory, Fact::Kernel]);
        // The version of the embedded engine is that of trueup.
        let version = if found.engine == Engine::Postgres.name() {
            json!(found.version)
        } else {
            json!(env!("CARGO_PKG_VERSION"))
        };
        parts.insert("database".to_owned(), json!({ "engine": found.engine, "version": version }));
        Ok(parts)
    }

    async fn decide(
        with: &With,
        found: &Observation,
        cx: &Context,
    ) -> Result<Decision, PhaseError> {
        let admin = open(with, PoolSize::exactly(1), cx).await?;
        let table = Scratch::new("pool", cx);
        let prepared = workload::prepare(&admin, &table).await;
        let measured = match prepared {
            Ok(()) => measure_all(with, found, &table, cx).await,
            Err(error) => {
                Err(PhaseError::because("could not make the table to measure with", error))
            }
        };
        let dropped = table.drop(&admin).await;
        admin.close().await;
        let curve = measured?;
        dropped.map_err(|error| {
            PhaseError::because("could not drop the table that was measured with", error)
        })?;
        conclude(with, curve)
    }

    fn tell(_: &With, decision: &Decision) -> String {
        format!(
            "pool_size={} at {:.0} operations/s, p99 {:.1} ms ({})",
            decision.pool_size,
            decision.throughput,
            decision.p99_ms,
            shape(&decision.knee)
        )
    }

    async fn verify(
        with: &With,
        _: &Observation,
        decision: &Decision,
        cx: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let wanted = decision.pool_size;
        let database = open(with, PoolSize::exactly(wanted), cx).await?;
        let held = workload::hold_all(&database, wanted).await;
        database.close().await;
        let held = held.map_err(|error| {
            PhaseError::because("could not use a pool of the decided size", error)
        })?;
        Ok(vec![Check::matched(
            "pool",
            format!("{held} connections answered at once"),
            format!("{wanted}"),
        )])
    }
}

/// How throughput goes on beyond the chosen size.
fn shape(knee: &Knee) -> &'static str {
    match knee.verdict {
        KneeVerdict::Knee => "more connections measured worse",
        KneeVerdict::Plateau => "more connections measured no better",
        KneeVerdict::NotReached => "the largest size tried; more might be better",
        KneeVerdict::GeneratorBound => "the load generator was the limit",
    }
}

async fn open(with: &With, size: PoolSize, cx: &Context) -> Result<Database, PhaseError> {
    Database::open(&cx.database(&with.url)?, size).await.map_err(|error| {
        PhaseError::because("could not reach the database", error)
            .help("check the URL, and that the server accepts connections")
    })
}

/// Every size up and then down, as far as the server has connections for it.
async fn measure_all(
    with: &With,
    found: &Observation,
    table: &Scratch,
    cx: &Context,
) -> Result<Vec<SizePoint>, PhaseError> {
    let free = found
        .max_connections
        .zip(found.taken_connections)
        .map(|(all, taken)| all.saturating_sub(taken));
    // One connection is in use for the table itself.
    let max = free.map_or(with.max, |free| with.max.min(free.saturating_sub(1).max(with.min)));
    if max < with.max {
        cx.note(format!(
            "sizes above {max} were not tried: the server has no more connections free"
        ));
    }
    let sizes: Vec<u32> = (with.min..=max).chain((with.min..=max).rev()).collect();
    let mut reports: BTreeMap<u32, Vec<LoadReport>> = BTreeMap::new();
    for (done, size) in sizes.iter().enumerate() {
        cx.go_on()?;
        cx.progress(done as u64, sizes.len() as u64, format!("a pool of {size}"));
        reports.entry(*size).or_default().push(measure(with, *size, table, cx).await?);
    }
    Ok(reports.iter().map(|(size, reports)| point(*size, reports, cx)).collect())
}

async fn measure(
    with: &With,
    size: u32,
    table: &Scratch,
    cx: &Context,
) -> Result<LoadReport, PhaseError> {
    let pool =
        open(with, PoolSize { acquire: Duration::from_secs(30), ..PoolSize::exactly(size) }, cx)
            .await?;
    let mix = Mix::new(pool.clone(), table);
    let cpus = cx.run.facts.cpus.usable.as_ref().map_or(1, |usable| usable.value);
    let setting = Setting {
        clients: with.clients.unwrap_or(2 * with.max as usize),
        warmup: Warmup {
            min: Duration::from_millis(200),
            max: Duration::from_millis(200).max(with.sample.0 / 2),
        },
        duration: with.sample.0,
        call_timeout: Duration::from_secs(30),
        place: Place::ThisProcess,
        usable_cpus: cpus as f64,
        clock: cx.run.clock.clone(),
        cancel: cx.cancel.clone(),
    };
    let report = closed(std::sync::Arc::new(mix), ClosedLoop { setting }).await;
    pool.close().await;
    let report = report
        .map_err(|error| PhaseError::because(format!("could not load a pool of {size}"), error))?;
    if report.units == 0 {
        let why =
            report.errors.first_failure.unwrap_or_else(|| "no operation was answered".to_owned());
        return Err(PhaseError::new(format!("a pool of {size} completed nothing: {why}")));
    }
    Ok(report)
}

/// One size with the means of what was measured; all samples go to the report.
fn point(size: u32, reports: &[LoadReport], cx: &Context) -> SizePoint {
    let count = reports.len() as f64;
    let mean = |of: fn(&LoadReport) -> f64| reports.iter().map(of).sum::<f64>() / count;
    let throughput = mean(|report| report.throughput);
    // The worse of the two rounds: a bound must hold in both.
    let p99_ms = reports.iter().map(|report| report.latency.p99_ms).fold(0.0, f64::max);
    let generator_bound =
        reports.iter().any(|report| matches!(report.limited_by, Limit::Generator { .. }));
    let mut measurement =
        Measurement::once(format!("pool_throughput[{size}]"), throughput, "operations/s")
            .with_detail("pool_size", size)
            .with_detail("rounds", json!(reports));
    measurement.samples = reports.iter().map(|report| report.throughput).collect();
    cx.measured(measurement);
    SizePoint { size: u64::from(size), throughput, p99_ms, generator_bound }
}

fn conclude(with: &With, curve: Vec<SizePoint>) -> Result<Decision, PhaseError> {
    let rule = KneeRule { tolerance: TOLERANCE, p99_bound_ms: with.p99.0.as_secs_f64() * 1000.0 };
    let knee = knee(&curve, rule).map_err(|error| {
        PhaseError::because("no size is admissible", error)
            .help("allow a longer `p99`, or look at the curve in the report")
    })?;
    let points: Vec<(f64, f64)> =
        curve.iter().map(|point| (point.size as f64, point.throughput)).collect();
    Ok(Decision {
        pool_size: u32::try_from(knee.size).unwrap_or(u32::MAX),
        throughput: knee.throughput,
        p99_ms: knee.p99_ms,
        knee,
        law: fit(&points, 1).ok(),
        curve,
    })
}
