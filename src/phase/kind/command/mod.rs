//! `command`: a program of the user's, without a shell unless one is asked for.
//!
//! Without a `cache` of its own in the pipeline it may change things, so it runs in apply, every time. With one it is
//! a probe: it runs in decide, and its outputs are its decision. What it prints is kept within a limit; no value of a
//! secret is in it from here on. Secrets are given to it by its environment or its input, never by its arguments,
//! which everybody on the host can read.

mod argv;
mod outputs;
mod program;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::argv::{Argv, not_passed};
use self::outputs::{Outputs, text, visible};
use self::program::{failed, folder, places, program};
use crate::event::Check;
use crate::host::process::{Finished, ProcessSpec, Stdin};
use crate::phase::{Applicability, Context, Dependencies, Kind, PhaseError, WithError, Word};
use crate::secret::stands_in;
use crate::unit::{Bytes, Span};

/// Most that may be kept of each output: it becomes a part of the record and the report.
const MOST_OUTPUT: u64 = 8 << 20;

/// Longest time of a command that has no limit of its own: the phase's timeout ends it before.
const FOREVER: Duration = Duration::from_hours(8760);

/// The shell that is started where one is asked for.
const SHELL: &str = "/bin/sh";

/// Runs a program.
#[derive(Debug)]
pub struct Command;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// Program and arguments, each as it is: there is no shell. With `shell: true`, the text that it runs.
    argv: Argv,
    /// Whether `argv` is a text for `/bin/sh -c`, with pipes and variables.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shell: bool,
    /// Added to the environment; may be secrets.
    #[serde(default)]
    env: BTreeMap<String, Word>,
    /// The folder it starts in; a relative path starts at the pipeline's folder.
    cwd: Option<PathBuf>,
    /// What it reads from its standard input, which is empty unless told; may hold secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<Word>,
    /// Exit codes that are good.
    #[serde(default = "zero")]
    exit: Vec<i32>,
    /// How long it may take.
    limit: Option<Span>,
    /// Most that is kept of each output; of a longer one, the beginning and the end.
    #[serde(default = "output_limit")]
    output_limit: Bytes,
    /// What is visible of it downstream.
    #[serde(default)]
    outputs: Outputs,
}

fn zero() -> Vec<i32> {
    vec![0]
}

fn output_limit() -> Bytes {
    Bytes(64 << 10)
}

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {}

/// What a probe found, as it is visible downstream; of a command that is no probe, nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Decision(Map<String, Value>);

impl Kind for Command {
    const NAME: &'static str = "command";
    const ABOUT: &'static str =
        "runs a program; a JSON object that it prints is visible downstream";
    const REVISION: u32 = 2;
    const CACHED: bool = false;
    const PROBES: bool = true;
    const LASTS: bool = true;
    const ONLY_WAITS: bool = true;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        let mut wrong = argv::check(&with.argv, with.shell);
        wrong.extend(check_env(&with.env));
        if with.cwd.as_ref().is_some_and(|dir| dir.as_os_str().as_bytes().contains(&0)) {
            wrong.push(
                WithError::at("cwd", "the name of a folder can't have a NUL byte in it")
                    .help("write the path of a folder"),
            );
        }
        if with.cwd.as_ref().is_some_and(|dir| stands_in(&dir.to_string_lossy())) {
            wrong.push(
                WithError::at("cwd", "the name of a folder can't be secret")
                    .help("everybody on the host can read where a process is"),
            );
        }
        if with.exit.is_empty() {
            wrong.push(
                WithError::at("exit", "no exit code would be good").help("write `exit: [0]`"),
            );
        }
        if let Some(code) = with.exit.iter().find(|code| !(0..=255).contains(*code)) {
            wrong.push(
                WithError::at("exit", format!("{code} is no exit code"))
                    .help("write numbers from 0 to 255"),
            );
        }
        if with.limit.is_some_and(|limit| limit.0.is_zero()) {
            wrong.push(
                WithError::at("limit", "a limit of nothing ends every command")
                    .help("give it some time, such as `30s`"),
            );
        }
        if with.output_limit.0 > MOST_OUTPUT {
            let most = Bytes(MOST_OUTPUT);
            wrong.push(
                WithError::at("output_limit", format!("more than {most} of an output is not kept"))
                    .help("let the program write to a file, and print where that is"),
            );
        }
        wrong
    }

    async fn observe(_: &With, _: &Context) -> Result<Applicability<Observation>, PhaseError> {
        Ok(Applicability::Yes(Observation {}))
    }

    /// A probe finds something else when its program is another.
    fn depends_on(with: &With, _: &Observation, cx: &Context) -> Result<Dependencies, PhaseError> {
        let (name, _) = program(with);
        let digest = cx.run.digest_first(places(name, with, cx))?.ok_or_else(|| {
            PhaseError::new(format!("could not find the program `{name}`"))
                .help("install it, or give its path")
        })?;
        let folder = cx.run.digests.place(&folder(with, cx).unwrap_or_default());
        Ok([("program".to_owned(), digest.into()), ("folder".to_owned(), folder.into())].into())
    }

    async fn decide(with: &With, _: &Observation, cx: &Context) -> Result<Decision, PhaseError> {
        if cx.remembered { run(with, cx).await.map(Decision) } else { Ok(Decision(Map::new())) }
    }

    fn tell(with: &With, decision: &Decision) -> String {
        let what = with.argv.joined();
        match decision.0.get("code") {
            Some(code) => format!("{what}: exit code {code}"),
            None => format!("runs {what}"),
        }
    }

    async fn apply(
        with: &With,
        _: &Observation,
        _: &Decision,
        cx: &Context,
    ) -> Result<Map<String, Value>, PhaseError> {
        if cx.remembered { Ok(Map::new()) } else { run(with, cx).await }
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

fn check_env(env: &BTreeMap<String, Word>) -> Vec<WithError> {
    let mut wrong = Vec::new();
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            let told = format!("`{name}` can't be the name of a variable");
            wrong.push(WithError::at("env", told).help("write it like `env: { NAME: value }`"));
        }
        let path = || vec!["env".to_owned(), name.clone()];
        let bytes = name.len() + 1 + value.len();
        wrong.extend(not_passed(
            bytes,
            value.contains('\0'),
            "a variable of the environment",
            path,
        ));
    }
    wrong
}

/// Runs it and answers what is visible of it.
async fn run(with: &With, cx: &Context) -> Result<Map<String, Value>, PhaseError> {
    let secrets = &cx.run.secrets;
    let (name, args) = program(with);
    let mut spec = ProcessSpec::new(name, args);
    let revealed = |text: &String| secrets.reveal(text).into_owned();
    spec.env = with.env.iter().map(|(name, value)| (name.clone(), revealed(value))).collect();
    if let Some(input) = &with.stdin {
        spec.stdin = Stdin::Bytes(revealed(input).into_bytes());
    }
    spec.cwd = folder(with, cx);
    let limit = with.limit.map_or(FOREVER, |span| span.0);
    let kept = usize::try_from(with.output_limit.0).unwrap_or(usize::MAX);
    let ended = cx.run_process(spec, limit, kept).await;
    let ended = ended.map_err(|error| failed(error, with, cx))?;
    let stdout = text(&ended.stdout, ended.stdout_gap, secrets);
    let stderr = text(&ended.stderr, ended.stderr_gap, secrets);
    if !ended.status.code().is_some_and(|code| with.exit.contains(&code)) {
        return Err(PhaseError::new(bad_end(with, &ended, &stderr)));
    }
    let texts = (stdout, stderr);
    let (outputs, note) = visible(with.outputs, with.output_limit, &ended, texts, secrets)?;
    if let Some(note) = note {
        cx.note(note);
    }
    for (stream, gap) in [("output", ended.stdout_gap), ("error output", ended.stderr_gap)] {
        if let Some(gap) = gap.filter(|_| with.outputs != Outputs::None) {
            let limit = with.output_limit;
            cx.note(format!(
                "its {stream} is longer than {limit}: {} bytes were left out of its middle",
                gap.bytes
            ));
        }
    }
    Ok(outputs)
}

/// What is said of a program that did not end as wanted: how it did, and its last words.
fn bad_end(with: &With, ended: &Finished, stderr: &str) -> String {
    let wanted: Vec<String> = with.exit.iter().map(ToString::to_string).collect();
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" | ");
    let said = if last.is_empty() { String::new() } else { format!(": {last}") };
    format!(
        "`{}` ended with {}, wanted exit code {}{said}",
        with.argv.joined(),
        ended.status,
        wanted.join(" or ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(with: Value) -> Vec<(String, String)> {
        let with: With = serde_json::from_value(with).unwrap();
        let wrong = Command::check(&with).into_iter();
        wrong.map(|error| (error.path.join("."), error.message)).collect()
    }

    #[test]
    fn what_a_command_can_not_be_told_is_said_with_its_place() {
        for (with, place) in [
            (json!({ "argv": [] }), "argv"),
            (json!({ "argv": [" "] }), "argv"),
            (json!({ "argv": ["a", "b"], "shell": true }), "argv"),
            (json!({ "argv": "a b" }), "argv"),
            (json!({ "argv": "" , "shell": true }), "argv"),
            (json!({ "argv": ["a", "x⟦secret env PW⟧"] }), "argv.1"),
            (json!({ "argv": ["echo ⟦secret env PW⟧"], "shell": true }), "argv.0"),
            (json!({ "argv": ["a"], "cwd": "⟦secret env PW⟧" }), "cwd"),
            (json!({ "argv": ["a"], "env": { "A=B": "" } }), "env"),
            (json!({ "argv": ["a", "x\0y"] }), "argv.1"),
            (json!({ "argv": ["a", "x".repeat(131_072)] }), "argv.1"),
            (json!({ "argv": vec!["x"; 700_000] }), "argv"),
            (json!({ "argv": ["a"], "env": { "A": "\0" } }), "env.A"),
            (json!({ "argv": ["a"], "env": { "A": "x".repeat(131_070) } }), "env.A"),
            (json!({ "argv": ["a"], "cwd": "a\0" }), "cwd"),
            (json!({ "argv": ["a"], "exit": [] }), "exit"),
            (json!({ "argv": ["a"], "exit": [256] }), "exit"),
            (json!({ "argv": ["a"], "limit": "0s" }), "limit"),
            (json!({ "argv": ["a"], "output_limit": "1GiB" }), "output_limit"),
        ] {
            let told = wrong(with);
            assert!(told.len() == 1 && told[0].0 == place, "{place}: {told:?}");
        }
        let right = json!({
            "argv": ["a | b"], "shell": true, "stdin": "⟦secret env PW⟧", "env": { "A": "⟦secret env PW⟧" },
            "exit": [0, 3], "limit": "1s", "output_limit": "1KiB", "outputs": "json",
        });
        assert_eq!(wrong(right), []);
    }

    #[test]
    fn a_shell_takes_a_text_as_it_takes_a_list_of_one_and_a_program_is_told_how_to_write_its_list()
    {
        let with = |argv: Value| -> With {
            serde_json::from_value(json!({ "argv": argv, "shell": true })).unwrap()
        };
        let [text, list] = [json!("a | b"), json!(["a | b"])].map(with);
        assert_eq!(program(&text), (SHELL, vec!["-c", "a | b"]));
        assert_eq!(program(&text), program(&list));
        assert_eq!(serde_json::to_value(&text).unwrap(), serde_json::to_value(&list).unwrap());
        assert_eq!(argv::as_list("ls  -l /a"), "write `argv: [ls, -l, /a]`, or add `shell: true`");
        assert_eq!(argv::as_list("ls | wc"), "add `shell: true` to have a shell run it");
    }
}
