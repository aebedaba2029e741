//! `trueup powd bench`.

use std::io::Write as _;

use serde::Serialize;

use crate::cli::args::BenchArgs;
use crate::cli::exit::{ExitCode, Failure};
use crate::clock::Clock;
use crate::diagnostic::Diagnostic;
use crate::host::{Facts, Sysroot};
use crate::powd::speed::Bench;

/// Verifications a second.
#[derive(Serialize)]
struct Figure<'a> {
    name: &'a str,
    one_thread: f64,
    /// How many were verified for that figure.
    verified: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    all_threads: Option<f64>,
    threads: usize,
}

pub(super) fn bench(options: &BenchArgs) -> Result<ExitCode, Failure> {
    let usable = || Facts::read(&Sysroot::live()).cpus.usable.map_or(1, |usable| usable.value);
    let threads = options.threads.unwrap_or_else(usable).clamp(1, 1024);
    let only = options.only.as_deref().unwrap_or_default();
    let bench = Bench::new(Clock::system(), only)
        .map_err(|error| Failure::because("powd::bench", &error))?;
    if bench.cases.is_empty() {
        let told = format!("nothing that is measured has `{only}` in its name");
        let found = Diagnostic::error("powd::bench", told);
        let help = "without `--only` all of them are measured, and named";
        return Err(Failure::from(found.help(help)).exit(ExitCode::Invalid));
    }
    let mut out = std::io::stdout().lock();
    if !options.json {
        let all = if threads > 1 { format!("{threads} threads") } else { String::new() };
        writeln!(out, "{:<36}{:>14}{all:>14}", "verifications a second", "1 thread")?;
    }
    for case in &bench.cases {
        let one = bench.measure(case, 1, options.duration.0);
        let one_thread = one.rate();
        let all_threads =
            (threads > 1).then(|| bench.measure(case, threads, options.duration.0).rate());
        if options.json {
            let verified = one.verified;
            let figure = Figure { name: &case.name, one_thread, verified, all_threads, threads };
            serde_json::to_writer(&mut out, &figure)?;
            writeln!(out)?;
        } else {
            let all = all_threads.map_or_else(String::new, |all| format!("{all:.0}"));
            writeln!(out, "{:<36}{one_thread:>14.0}{all:>14}", case.name)?;
        }
        out.flush()?;
    }
    Ok(ExitCode::Success)
}
