//! How long the service takes to become ready: from disk, and from memory.
//!
//! A program that is running can't be evicted from memory, and trueup is the service's program. So a cold start is
//! that of a copy of it, evicted; how much of the copy was resident just before is told with every sample.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::process::Spawner;
use crate::disk;
use crate::host::page_cache::{self, Residency};
use crate::measure::model::Measurement;
use crate::phase::{Context, Parameters, PhaseError};

/// How long a program may take to be read from disk.
const READ_PATIENCE: Duration = Duration::from_mins(1);

/// Time to ready, cold and warm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Startup {
    /// Median of the cold starts, in milliseconds.
    pub(super) cold_ms: f64,
    /// Median of the warm starts, in milliseconds.
    pub(super) warm_ms: f64,
    /// Share of the program that was in memory before the cold starts, from 0 to 1; none when it can't be told here.
    cold_resident: Option<f64>,
    /// The same before the warm starts.
    warm_resident: Option<f64>,
}

impl Startup {
    /// True when a start from memory was faster than one from disk.
    pub(super) fn preload_helps(&self) -> bool {
        self.warm_ms < self.cold_ms
    }
}

/// A measurement of times to ready, given in seconds.
pub(super) fn ready_measurement(name: &str, seconds: Vec<f64>) -> Measurement {
    let mut measurement = Measurement::once(name, median(&seconds), "s");
    measurement.samples = seconds;
    measurement
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// Measures `samples` cold and as many warm starts, in turn.
pub(super) async fn measure(
    spawner: &Spawner,
    parameters: &Parameters,
    samples: u32,
    cx: &Context,
) -> Result<Startup, PhaseError> {
    let copy = cx.run.results_dir.join("runs").join(cx.run.run.as_str()).join("cold-start");
    disk::copy(&cx.run.program, &copy)
        .map_err(|error| PhaseError::because("could not copy the program", error))?;
    let measured = measure_copy(spawner, parameters, samples, &copy, cx).await;
    let removed = disk::remove(&copy);
    spawner.drop_ledger().await?;
    let startup = measured?;
    removed
        .map_err(|error| PhaseError::because("could not remove the copy of the program", error))?;
    Ok(startup)
}

async fn measure_copy(
    spawner: &Spawner,
    parameters: &Parameters,
    samples: u32,
    copy: &Path,
    cx: &Context,
) -> Result<Startup, PhaseError> {
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    let (mut cold_resident, mut warm_resident) = (None, None);
    for done in 0..samples {
        cx.go_on()?;
        cx.progress(u64::from(done), u64::from(samples), "starts, cold and warm");
        let evicted = page_cache::evict(copy, &cx.cancel).await.map_err(|error| {
            PhaseError::because("could not evict the copy of the program from memory", error)
        })?;
        cold_resident = share(&evicted);
        cold.push(start_once(spawner, copy, parameters).await?);
        read_in(copy).await?;
        warm_resident = share(&page_cache::residency(copy, &cx.cancel).await);
        warm.push(start_once(spawner, copy, parameters).await?);
    }
    let startup = Startup {
        cold_ms: median(&cold) * 1000.0,
        warm_ms: median(&warm) * 1000.0,
        cold_resident,
        warm_resident,
    };
    let resident = |share: Option<f64>| serde_json::json!(share);
    cx.measured(
        ready_measurement("time_to_ready_cold", cold)
            .with_detail("resident", resident(cold_resident)),
    );
    cx.measured(
        ready_measurement("time_to_ready_warm", warm)
            .with_detail("resident", resident(warm_resident)),
    );
    Ok(startup)
}

async fn start_once(
    spawner: &Spawner,
    program: &Path,
    parameters: &Parameters,
) -> Result<f64, PhaseError> {
    let running = spawner.start(program, SocketAddr::from(([127, 0, 0, 1], 0)), parameters).await?;
    let seconds = running.ready.seconds;
    running.stop().await;
    Ok(seconds)
}

/// The share of a file that is in memory, from 0 to 1.
fn share(residency: &Residency) -> Option<f64> {
    match residency {
        Residency::Known { resident, total } if *total > 0 => {
            Some((*resident as f64 / *total as f64).min(1.0))
        }
        Residency::Known { .. } | Residency::Unknown { .. } => None,
    }
}

async fn read_in(path: &Path) -> Result<(), PhaseError> {
    let owned = path.to_owned();
    let read =
        tokio::task::spawn_blocking(move || page_cache::preload(&owned, READ_PATIENCE)).await;
    let failed = "could not bring the program into memory";
    read.map_err(|error| PhaseError::because(failed, error))?
        .map_err(|error| PhaseError::because(failed, error))?;
    Ok(())
}

/// Brings the program into memory, and tells how much of it was there before and is there now.
pub(super) async fn preload(program: &Path, cx: &Context) -> Result<(), PhaseError> {
    let before = page_cache::residency(program, &cx.cancel).await;
    read_in(program).await?;
    let after = page_cache::residency(program, &cx.cancel).await;
    match (share(&before), share(&after)) {
        (Some(before), Some(after)) => {
            let measurement = Measurement::once("program_resident", after * 100.0, "%");
            cx.measured(measurement.with_detail("before_percent", before * 100.0));
        }
        _ => {
            cx.note(format!(
                "how much of the program was in memory can't be told here: {before:?}"
            ));
        }
    }
    Ok(())
}
