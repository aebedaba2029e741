//! `integration_tests`: a suite of checks against the running service, each with what was seen and what was wanted.
//!
//! Nothing is remembered: a check that passed yesterday says nothing of today. Checks run in the order of the
//! suite, because a later one may rest on an earlier one (a replay needs a first time). The suite's file is read before
//! anything runs, so that mistakes in it are told with those of the pipeline; and again by its phase, when all values
//! of its expressions are known.

mod http;
mod reader;
mod sql;
mod suite;

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{Check, CheckState};
use crate::host::process::ProcessSpec;
use crate::measure::model::Measurement;
use crate::phase::{Applicability, Attachment, Beforehand, Context, Kind, PhaseError, capacity};
use suite::{CommandCheck, Suite, SuiteCheck, ThroughputCheck, What};

/// Longest time of one command of a suite, unless it says otherwise.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);

/// Most output of a command that is kept, in bytes.
const OUTPUT_LIMIT: usize = 64 << 10;

/// Runs a suite of checks.
#[derive(Debug)]
pub struct IntegrationTests;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The suite's file; a relative path starts at the pipeline's folder.
    suite: PathBuf,
    /// What the suite's expressions see as `vars`.
    #[serde(default)]
    vars: Map<String, Value>,
}

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    /// The suite's file.
    suite: String,
    /// The names of its checks, in order.
    checks: Vec<String>,
    #[serde(skip)]
    read: Suite,
}

/// Nothing is to be decided.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {
    checks: usize,
}

impl Kind for IntegrationTests {
    const NAME: &'static str = "integration_tests";
    const ABOUT: &'static str =
        "runs a suite of HTTP, SQL, command and throughput checks against the service";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    const ATTACHES: bool = true;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn attachment(known: &Beforehand, dir: &Path) -> Option<Attachment> {
        let path = dir.join(known.with.get("suite")?.as_str()?);
        Some(suite::beforehand(&path, known))
    }

    async fn observe(with: &With, cx: &Context) -> Result<Applicability<Observation>, PhaseError> {
        let path = cx.run.pipeline_dir.join(&with.suite);
        let read = suite::read(&path, &with.vars, cx.run.trusts_files)
            .map_err(|error| PhaseError::because("could not use the suite", error))?;
        Ok(Applicability::Yes(Observation {
            suite: path.display().to_string(),
            checks: read.checks.iter().map(|check| check.name.clone()).collect(),
            read,
        }))
    }

    async fn decide(_: &With, found: &Observation, _: &Context) -> Result<Decision, PhaseError> {
        Ok(Decision { checks: found.checks.len() })
    }

    fn tell(_: &With, decision: &Decision) -> String {
        format!("{} checks", decision.checks)
    }

    async fn verify(
        _: &With,
        found: &Observation,
        _: &Decision,
        cx: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let all = found.read.checks.len() as u64;
        let mut checks = Vec::new();
        for (done, one) in found.read.checks.iter().enumerate() {
            cx.go_on()?;
            cx.progress(done as u64, all, &one.name);
            let state = run_check(one, cx)
                .await
                .unwrap_or_else(|error| CheckState::Unreadable { reason: error.told() });
            checks.push(Check { name: one.name.clone(), state, optional: one.optional });
        }
        Ok(checks)
    }
}

async fn run_check(check: &SuiteCheck, cx: &Context) -> Result<CheckState, PhaseError> {
    match &check.what {
        What::Http(wanted) => http::check(wanted, cx.service()?.ready().address).await,
        What::Sql(wanted) => sql::check(wanted, cx).await,
        What::Command(wanted) => command(wanted, cx).await,
        What::Throughput(wanted) => throughput(&check.name, wanted, cx).await,
    }
}

/// A state from what was seen and whether that is as wanted.
fn state(good: bool, seen: String, wanted: String, source: impl Into<String>) -> CheckState {
    if good {
        CheckState::Match { seen, wanted }
    } else {
        CheckState::Mismatch { seen, wanted, source: source.into() }
    }
}

async fn command(wanted: &CommandCheck, cx: &Context) -> Result<CheckState, PhaseError> {
    let (program, args) =
        wanted.argv.split_first().ok_or_else(|| PhaseError::new("the command is empty"))?;
    let mut spec = ProcessSpec::new(program, args);
    spec.cwd = Some(cx.run.pipeline_dir.clone()).filter(|dir| !dir.as_os_str().is_empty());
    let limit = wanted.timeout.map_or(COMMAND_LIMIT, |span| span.0);
    let ended = cx
        .run_process(spec, limit, OUTPUT_LIMIT)
        .await
        .map_err(|error| PhaseError::because("could not run the command", error))?;
    let stdout = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
    let exit_is_right = ended.status.code() == Some(wanted.exit);
    let output_is_right =
        wanted.stdout_contains.as_ref().is_none_or(|text| stdout.contains(text.as_str()));
    let seen = format!("{}, `{}`", ended.status, stdout.chars().take(200).collect::<String>());
    let mut asked = format!("exit code {}", wanted.exit);
    if let Some(text) = &wanted.stdout_contains {
        asked = format!("{asked}, output with `{text}`");
    }
    Ok(state(exit_is_right && output_is_right, seen, asked, wanted.argv.join(" ")))
}

async fn throughput(
    name: &str,
    wanted: &ThroughputCheck,
    cx: &Context,
) -> Result<CheckState, PhaseError> {
    let report = capacity(cx.service()?.ready().address, wanted.load, cx).await?;
    let p99 = report.latency.p99_ms;
    let bound = wanted.max_p99.map(|span| span.0.as_secs_f64() * 1000.0);
    let good = report.throughput >= wanted.min_rate && bound.is_none_or(|bound| p99 <= bound);
    let seen =
        format!("{:.0}/s, p99 {p99:.1} ms, {} errors", report.throughput, report.errors.total());
    let mut asked = format!("at least {:.0}/s", wanted.min_rate);
    if let Some(bound) = bound {
        asked = format!("{asked}, p99 at most {bound:.1} ms");
    }
    let detail = serde_json::to_value(&report).unwrap_or(Value::Null);
    cx.measured(
        Measurement::once(name, report.throughput, "verifications/s").with_detail("load", detail),
    );
    Ok(state(good && report.errors.failed == 0, seen, asked, "load generator"))
}
