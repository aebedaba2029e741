//! What a gate measures, as one number above zero.
//!
//! The service that a phase upstream has started, under the same load as everywhere else, or a program of the user's.
//! Which state the host is in is not known here.

use std::time::Duration;

use serde_json::{Value, json};

use crate::host::process::ProcessSpec;
use crate::phase::{Context, Dependencies, LoadShape, Parameters, PhaseError, capacity};
use crate::pipeline::GateObjective;

/// Most output of a command that is looked at, in bytes.
const OUTPUT_LIMIT: usize = 64 << 10;

/// Longest time of a command that nobody ends before: the gate's budget does.
const FOREVER: Duration = Duration::from_hours(8760);

/// The unit of an objective.
pub(super) fn unit(objective: &GateObjective) -> &'static str {
    match objective {
        GateObjective::ServiceThroughput => "1/s",
        GateObjective::P99 => "ms",
        GateObjective::Command { .. } => "",
    }
}

/// What a verdict depends on beside the gate, its changes and the host: what exactly was measured.
pub(super) fn depends_on(
    objective: &GateObjective,
    cx: &Context,
) -> Result<Dependencies, PhaseError> {
    let mut parts = Dependencies::new();
    match objective {
        GateObjective::ServiceThroughput | GateObjective::P99 => {
            parts.insert("program".to_owned(), cx.run.program_digest()?.into());
            parts.insert("service".to_owned(), json!(parameters(cx)?));
            parts.insert("load".to_owned(), json!(LoadShape::default()));
        }
        GateObjective::Command { argv, .. } => {
            let folder = cx.run.digests.place(&cx.run.pipeline_dir);
            parts.insert("folder".to_owned(), folder.into());
            // What is no file is a name that is looked up in PATH, or an option, and stands in the manifest as it is.
            for arg in argv {
                let path = cx.run.pipeline_dir.join(arg);
                // A pipe or a device has no content of its own.
                if path.is_file() {
                    parts.insert(format!("file {arg}"), cx.run.digest(&path)?.into());
                }
            }
        }
    }
    Ok(parts)
}

/// What the service is told that is measured. Before it runs, as when a plan is made, that is what the phases upstream
/// have decided, of which the nearest has the last word.
fn parameters(cx: &Context) -> Result<Parameters, PhaseError> {
    let none = match cx.service() {
        Ok(service) => return Ok(service.parameters()),
        Err(none) => none,
    };
    let mut foreseen = Parameters::new();
    cx.upstream.each(&mut |_, outputs| {
        let decided = outputs.get("parameters").and_then(Value::as_object);
        for (name, value) in decided.into_iter().flatten() {
            foreseen.entry(name.clone()).or_insert_with(|| value.clone());
        }
        false
    });
    if foreseen.is_empty() { Err(none) } else { Ok(foreseen) }
}

/// Measures once.
pub(super) async fn measure(objective: &GateObjective, cx: &Context) -> Result<f64, PhaseError> {
    let value = match objective {
        GateObjective::ServiceThroughput => load(cx).await?.0,
        GateObjective::P99 => load(cx).await?.1,
        GateObjective::Command { argv, .. } => return command(argv, cx).await,
    };
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(PhaseError::new(format!("the load measured {value} as {objective}"))
            .help("a gate compares ratios, so there must be something to measure"))
    }
}

/// Throughput and p99 of the service.
async fn load(cx: &Context) -> Result<(f64, f64), PhaseError> {
    let report = capacity(cx.service()?.ready().address, LoadShape::default(), cx).await?;
    Ok((report.throughput, report.latency.p99_ms))
}

/// The number that a program prints.
async fn command(argv: &[String], cx: &Context) -> Result<f64, PhaseError> {
    let told = argv.join(" ");
    let (program, rest) = argv.split_first().ok_or_else(|| {
        PhaseError::new("the command of the gate is empty")
            .help("write it like `command: [./measure]`")
    })?;
    let dir = Some(cx.run.pipeline_dir.clone()).filter(|dir| !dir.as_os_str().is_empty());
    let spec = ProcessSpec { cwd: dir, ..ProcessSpec::new(program, rest) };
    let ended = cx
        .run_process(spec, FOREVER, OUTPUT_LIMIT)
        .await
        .map_err(|error| PhaseError::because("could not measure for the gate", error))?;
    if !ended.status.success() {
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let last = stderr.trim_end().lines().next_back().unwrap_or("it said nothing");
        return Err(PhaseError::new(format!("`{told}` ended with {}: {last}", ended.status)));
    }
    let printed = String::from_utf8_lossy(&ended.stdout);
    let printed = printed.trim();
    match printed.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        Ok(_) | Err(_) => {
            let shown: String = printed.chars().take(40).collect();
            Err(PhaseError::new(format!("`{told}` printed `{shown}`"))
                .help("let it print one number above 0 and nothing else: a gate compares ratios"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::database::DatabaseUrl;
    use crate::database::server::Logins;
    use crate::disk;
    use crate::event::{PhaseName, ProgressBoard, RunId};
    use crate::host::leash::Leash;
    use crate::host::{Facts, Sysroot};
    use crate::phase::{BoxFuture, Digests, Parameters, Ready, RunContext, Service, Services};
    use crate::powd::config::Config;
    use crate::powd::service;
    use crate::secret::Secrets;
    use crate::store::TrialStore;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use tokio_util::sync::CancellationToken;

    /// The service itself, within the process of the test.
    struct Within(SocketAddr);

    impl Service for Within {
        fn ready(&self) -> Ready {
            Ready { address: self.0, pid: std::process::id(), seconds: 0.0 }
        }

        fn parameters(&self) -> Parameters {
            Parameters::from([("threads".to_owned(), 1.into())])
        }

        fn restart(&self, _: Parameters) -> BoxFuture<'_, Result<Ready, PhaseError>> {
            Box::pin(async { Err(PhaseError::new("a gate restarts no service")) })
        }

        fn stop(&self) -> BoxFuture<'_, Result<(), PhaseError>> {
            Box::pin(async { Ok(()) })
        }
    }

    fn name(name: &str) -> PhaseName {
        name.parse().unwrap()
    }

    /// A phase that needs `service`, in a run that keeps its state below `dir`.
    fn context(dir: &std::path::Path) -> Context {
        let clock = Clock::system();
        let database: DatabaseUrl =
            format!("sqlite://{}", dir.join("trials.db").display()).parse().unwrap();
        let run = RunContext {
            run: RunId::new(clock.now(), 1),
            sysroot: Sysroot::live(),
            trials: Arc::new(TrialStore::new(database, "here".to_owned(), clock.clone())),
            clock,
            facts: Facts::read(&Sysroot::live()),
            program: "/bin/true".into(),
            pipeline_dir: dir.to_owned(),
            results_dir: dir.to_owned(),
            logins: Logins::default(),
            services: Services::default(),
            progress: ProgressBoard::default(),
            cancel: CancellationToken::new(),
            abandon: CancellationToken::new(),
            secrets: Secrets::default(),
            leash: Leash::new("/bin/true".into(), dir, "test"),
            digests: Digests::default(),
            trusts_files: false,
        };
        let upstream = Arc::new(vec![
            (name("tuned"), json!({ "parameters": { "threads": 1 } })),
            (name("service"), json!({ "parameters": { "threads": 4, "queue": 9 } })),
        ]);
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        Context::new(name("host"), Arc::new(run), upstream, CancellationToken::new(), events)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_service_upstream_is_measured_and_what_it_was_told_is_part_of_the_question() {
        let dir = tempfile::tempdir().unwrap();
        let cx = context(dir.path());
        let none = measure(&GateObjective::P99, &cx).await.unwrap_err().told();
        assert!(none.contains("let it need a phase that `uses: service`"), "{none}");
        let foreseen = depends_on(&GateObjective::P99, &cx).unwrap();
        assert_eq!(foreseen["service"], json!({ "threads": 1, "queue": 9 }), "before it runs");

        let database = format!("sqlite://{}", dir.path().join("ledger.db").display());
        let config = Config { difficulty: 4, ..Config::new(database.parse().unwrap()) };
        let (ready, address) = tokio::sync::oneshot::channel();
        let stop = CancellationToken::new();
        let told = move |address| ready.send(address).unwrap();
        let serving = tokio::spawn(service::run(config, stop.clone(), Clock::system(), told));
        cx.run.services.keep(&name("service"), Arc::new(Within(address.await.unwrap())));
        for objective in [GateObjective::ServiceThroughput, GateObjective::P99] {
            let value = measure(&objective, &cx).await.unwrap();
            assert!(value > 0.0, "{objective}: {value}");
            assert_eq!(depends_on(&objective, &cx).unwrap()["service"], json!({ "threads": 1 }));
        }
        stop.cancel();
        serving.await.unwrap().unwrap();
    }

    #[test]
    fn the_files_that_a_command_names_are_part_of_the_question() {
        let dir = tempfile::tempdir().unwrap();
        disk::replace(&dir.path().join("measure"), b"echo 1").unwrap();
        let argv = ["/bin/sh", "measure", "--fast"].map(str::to_owned).to_vec();
        let objective = GateObjective::Command { argv, minimize: false };
        let cx = context(dir.path());
        let before = depends_on(&objective, &cx).unwrap();
        assert_eq!(before.keys().collect::<Vec<_>>(), ["file /bin/sh", "file measure", "folder"]);
        disk::replace(&dir.path().join("measure"), b"echo 2").unwrap();
        let after = depends_on(&objective, &cx).unwrap();
        assert_eq!(before["file /bin/sh"], after["file /bin/sh"]);
        assert_ne!(before["file measure"], after["file measure"]);
    }
}
