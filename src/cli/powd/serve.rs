//! `trueup powd serve`, which `trueup powd` is as well.

use std::io::Read as _;

use tokio_util::sync::CancellationToken;

use super::rules::rules;
use crate::cli::args::ServeArgs;
use crate::cli::exit::{self, ExitCode, Failure};
use crate::cli::wire;
use crate::clock::Clock;
use crate::diagnostic::Diagnostic;
use crate::host::attributes::{WantedAttributes, apply_to_self};
use crate::host::{Facts, Sysroot, cpu_list};
use crate::powd::config::{Config, Reach};
use crate::powd::service::{ServiceError, run};
use crate::shutdown::Shutdown;
use crate::supervisor::Notifier;

pub(super) fn serve(options: &ServeArgs) -> Result<ExitCode, Failure> {
    // Before any thread is started, so that all of them have it.
    apply_to_self(&wanted(options)?)
        .map_err(|error| Failure::because("powd::attributes", &error))?;
    let config = config(options)?;
    let shown = config.database.to_string();
    wire::runtime()?.block_on(async {
        let shutdown = Shutdown::listen(exit::leave)?;
        if options.stop_with_stdin {
            stop_with_stdin(shutdown.cancel.clone())?;
        }
        let told = |address| {
            eprint_line(&format!("powd verifies on http://{address}, and records in {shown}"));
        };
        run(config, shutdown.cancel.clone(), Clock::system(), told).await.map_err(|error| {
            match error {
                ServiceError::Config(wrong) => Failure::from(wrong),
                other => Failure::because("powd::service", &other),
            }
        })
    })?;
    Ok(ExitCode::Success)
}

fn eprint_line(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn wanted(options: &ServeArgs) -> Result<WantedAttributes, Failure> {
    let cpus = match &options.cpus {
        None => None,
        Some(text) => Some(cpu_list::parse(text).ok_or_else(|| {
            let found = Diagnostic::error("powd::cpus", format!("`{text}` is not a list of CPUs"));
            Failure::from(found.help("write it like `0,2-3`")).exit(ExitCode::Invalid)
        })?),
    };
    Ok(WantedAttributes { cpus, nice: options.nice, open_files: options.open_files })
}

fn config(options: &ServeArgs) -> Result<Config, Failure> {
    let usable = || Facts::read(&Sysroot::live()).cpus.usable.map_or(1, |usable| usable.value);
    let ledger =
        options.ledger.parse().map_err(|error: crate::powd::ledger::ParseTableError| {
            Failure::because("powd::ledger", &error).exit(ExitCode::Invalid)
        })?;
    Ok(Config {
        listen: options.listen,
        reach: if options.public { Reach::Network } else { Reach::Loopback },
        database: options.database.clone(),
        ledger,
        pool_size: options.pool_size,
        threads: options.threads.unwrap_or_else(usable),
        batch_size: options.batch_size,
        linger: options.linger.0,
        queue: options.queue,
        rules: rules(&options.rules)?,
        notifier: Notifier::from_env(),
    })
}

/// Stops the service when standard input ends: whoever holds the other end has gone, even if it was killed.
fn stop_with_stdin(stop: CancellationToken) -> Result<(), Failure> {
    let wait = move || {
        let mut buffer = [0; 256];
        // Whatever is written is of no meaning; only the end is waited for.
        while matches!(std::io::stdin().read(&mut buffer), Ok(length) if length > 0) {}
        stop.cancel();
    };
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(wait)
        .map(drop)
        .map_err(Failure::from)
}
