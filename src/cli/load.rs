//! `trueup load`.

use std::io::Write as _;

use super::args::LoadArgs;
use super::exit::{self, ExitCode, Failure};
use super::wire;
use crate::clock::Clock;
use crate::host::{Facts, Sysroot};
use crate::measure::load::LoadReport;
use crate::phase::{VerificationLoad, setting};
use crate::shown;
use crate::shutdown::Shutdown;

pub(super) fn load(options: &LoadArgs) -> Result<ExitCode, Failure> {
    let load = VerificationLoad {
        target: options.target,
        batch: options.batch,
        difficulty: options.difficulty,
    };
    let cpus = Facts::read(&Sysroot::live()).cpus.usable.map_or(1, |usable| usable.value);
    let (report, signal) = wire::runtime()?.block_on(async {
        let shutdown = Shutdown::listen(exit::leave)?;
        let setting = setting(
            options.clients,
            options.window(),
            cpus as f64,
            Clock::system(),
            shutdown.cancel.clone(),
        );
        let measured = load.measure(setting, options.rate).await;
        Ok::<_, Failure>((measured, shutdown.signal()))
    })?;
    if let Some(signal) = signal {
        return Ok(ExitCode::Cancelled(signal));
    }
    let report = report.map_err(|error| {
        Failure::because("load::generator", &error)
            .help("is the service running? start one with `trueup powd`")
    })?;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        out.write_all(told(&report).as_bytes())?;
    }
    Ok(if report.units > 0 { ExitCode::Success } else { ExitCode::Failed })
}

fn told(report: &LoadReport) -> String {
    let latency = &report.latency;
    let limit = &report.limited_by;
    let mut text = format!(
        "throughput  {:.0} verifications/s over {:.1} s, after {:.1} s of warm-up\n\
         latency     p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.1} ms\n\
         requests    {} by {} clients, {} refused, {} failed\n\
         limited by  {limit}\n",
        report.throughput,
        report.seconds,
        report.warmup_seconds,
        latency.p50_ms,
        latency.p90_ms,
        latency.p99_ms,
        latency.p999_ms,
        latency.max_ms,
        report.requests,
        report.clients,
        report.errors.refused,
        report.errors.failed,
    );
    if let Some(failure) = &report.errors.first_failure {
        text = format!("{text}first error {}\n", shown::in_line(failure));
    }
    for warning in &report.warnings {
        text = format!("{text}doubt       {warning}\n");
    }
    text
}
