//! `command`: a program of the user's, without a shell.
//!
//! What it prints is kept within a limit. Where it prints a JSON object, the fields are visible downstream.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::Check;
use crate::host::process::{Finished, ProcessSpec, run};
use crate::phase::{Applicability, Context, Kind, PhaseError, WithError};
use crate::unit::Span;

/// Most output that is kept of each stream, in bytes.
const OUTPUT_LIMIT: usize = 1 << 20;

/// Longest time of a command that has no limit of its own: the phase's timeout ends it before.
const FOREVER: std::time::Duration = std::time::Duration::from_hours(8760);

/// Runs a program.
#[derive(Debug)]
pub struct Command;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// Program and arguments, each as it is: there is no shell.
    argv: Vec<String>,
    /// Added to the environment.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// The folder it starts in; a relative path starts at the pipeline's folder.
    cwd: Option<PathBuf>,
    /// Exit codes that are good.
    #[serde(default = "zero")]
    exit: Vec<i32>,
    /// How long it may take.
    limit: Option<Span>,
}

fn zero() -> Vec<i32> {
    vec![0]
}

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {}

/// Nothing is to be decided.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {}

impl Kind for Command {
    const NAME: &'static str = "command";
    const ABOUT: &'static str =
        "runs a program; a JSON object that it prints is visible downstream";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    const LASTS: bool = true;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        let mut wrong = Vec::new();
        if with.argv.first().is_none_or(String::is_empty) {
            wrong.push(
                WithError::at("argv", "there is no program")
                    .help("write it like `argv: [/usr/bin/true]`"),
            );
        }
        if with.exit.is_empty() {
            wrong.push(
                WithError::at("exit", "no exit code would be good").help("write `exit: [0]`"),
            );
        }
        wrong
    }

    async fn observe(_: &With, _: &Context) -> Result<Applicability<Observation>, PhaseError> {
        Ok(Applicability::Yes(Observation {}))
    }

    async fn decide(_: &With, _: &Observation, _: &Context) -> Result<Decision, PhaseError> {
        Ok(Decision {})
    }

    fn tell(with: &With, _: &Decision) -> String {
        format!("runs {}", with.argv.join(" "))
    }

    /// The program runs here, because it may change things.
    async fn apply(
        with: &With,
        _: &Observation,
        _: &Decision,
        cx: &Context,
    ) -> Result<Map<String, Value>, PhaseError> {
        let mut spec = ProcessSpec::new(&with.argv[0], &with.argv[1..]);
        spec.env.clone_from(&with.env);
        let dir = with
            .cwd
            .as_ref()
            .map_or(cx.run.pipeline_dir.clone(), |dir| cx.run.pipeline_dir.join(dir));
        spec.cwd = Some(dir).filter(|dir| !dir.as_os_str().is_empty());
        let limit = with.limit.map_or(FOREVER, |span| span.0);
        let ended = run(&spec, limit, OUTPUT_LIMIT, &cx.cancel)
            .await
            .map_err(|error| PhaseError::because("could not run the command", error))?;
        if !ended.status.code().is_some_and(|code| with.exit.contains(&code)) {
            return Err(PhaseError::new(bad_end(with, &ended)));
        }
        if ended.stdout_gap.is_some() || ended.stderr_gap.is_some() {
            cx.note(format!("it printed more than {OUTPUT_LIMIT} bytes; the beginning and the end were kept"));
        }
        let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
        let mut outputs = match serde_json::from_str(&stdout) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        outputs.insert("stdout".to_owned(), stdout.into());
        outputs.insert("stderr".to_owned(), String::from_utf8_lossy(&ended.stderr).into());
        outputs.insert("code".to_owned(), ended.status.code().into());
        Ok(outputs)
    }

    /// How it ended has been judged when it did.
    async fn verify(
        _: &With,
        _: &Observation,
        _: &Decision,
        _: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        Ok(Vec::new())
    }
}

/// What is said of a program that did not end as wanted: how it did, and its last words.
fn bad_end(with: &With, ended: &Finished) -> String {
    let wanted: Vec<String> = with.exit.iter().map(ToString::to_string).collect();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" | ");
    let said = if last.is_empty() { String::new() } else { format!(": {last}") };
    format!(
        "`{}` ended with {}, wanted exit code {}{said}",
        with.argv.join(" "),
        ended.status,
        wanted.join(" or ")
    )
}
