//! `command`: a program of the user's, without a shell unless one is asked for.
//!
//! Without a `cache` of its own in the pipeline it may change things, so it runs in apply, every time. With one it is
//! a probe: it runs in decide, and its outputs are its decision. What it prints is kept within a limit; no value of a
//! secret is in it from here on. Secrets are given to it by its environment or its input, never by its arguments,
//! which everybody on the host can read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::event::Check;
use crate::host::process::{Finished, Gap, ProcessSpec, Stdin};
use crate::phase::{Applicability, Context, Dependencies, Kind, PhaseError, WithError, Word};
use crate::secret::{Secrets, stands_in};
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

/// What is run: a list of words, or the text for a shell. A list of one text is the same for a shell.
#[derive(Debug)]
struct Argv {
    words: Vec<Word>,
    /// Written as a text and not as a list.
    is_text: bool,
}

impl Argv {
    /// All words in a line.
    fn joined(&self) -> String {
        self.words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// As a list, however it was written: so the same command has the same cache key.
impl Serialize for Argv {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.words.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArgvVisitor)
    }
}

struct ArgvVisitor;

impl<'de> Visitor<'de> for ArgvVisitor {
    type Value = Argv;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, words: A) -> Result<Argv, A::Error> {
        let words = Vec::deserialize(SeqAccessDeserializer::new(words))?;
        Ok(Argv { words, is_text: false })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Argv, E> {
        let word = Word::deserialize(text.into_deserializer())?;
        Ok(Argv { words: vec![word], is_text: true })
    }
}

impl JsonSchema for Argv {
    fn schema_name() -> Cow<'static, str> {
        "argv".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let words = generator.subschema_for::<Vec<Word>>();
        json_schema!({ "anyOf": [words, { "type": "string" }] })
    }
}

fn zero() -> Vec<i32> {
    vec![0]
}

fn output_limit() -> Bytes {
    Bytes(64 << 10)
}

/// What is visible of a command downstream, beside its exit code `code`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outputs {
    /// `stdout` and `stderr` as texts; and the fields of a JSON object, if that is what it prints.
    #[default]
    Auto,
    /// The fields of the JSON object that it must print.
    Json,
    /// `stdout` and `stderr` as texts.
    Text,
    /// Nothing more.
    None,
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
        let mut wrong = check_argv(with);
        if let Some(name) =
            with.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            let told = format!("`{name}` can't be the name of a variable");
            wrong.push(WithError::at("env", told).help("write it like `env: { NAME: value }`"));
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

fn check_argv(with: &With) -> Vec<WithError> {
    let mut wrong = Vec::new();
    match with.argv.words.as_slice() {
        [first, ..] if first.trim().is_empty() => {
            wrong.push(
                WithError::at("argv", "there is no program")
                    .help("write it like `argv: [/usr/bin/true]`"),
            );
        }
        [] => wrong.push(
            WithError::at("argv", "there is no program")
                .help("write it like `argv: [/usr/bin/true]`"),
        ),
        [_, _, ..] if with.shell => wrong.push(
            WithError::at("argv", "a shell runs one text, and this is a list of several").help(
                "write `argv: \"first | second\"` with `shell: true`, or leave `shell` out: a program needs no shell to get its arguments",
            ),
        ),
        [text] if with.argv.is_text && !with.shell => {
            wrong.push(WithError::at("argv", NO_SHELL).help(as_list(text)));
        }
        _ => {}
    }
    for (index, _) in with.argv.words.iter().enumerate().filter(|(_, text)| stands_in(text)) {
        let told = "a secret can't be an argument: everybody on the host can read those";
        let path = vec!["argv".to_owned(), index.to_string()];
        let help = "give it by `env` or `stdin`, and let the program read it there";
        wrong.push(WithError { path, message: told.to_owned(), help: Some(help.to_owned()) });
    }
    wrong
}

const NO_SHELL: &str = "this is a text, and without a shell nobody takes it apart";

/// How a text is written as program and arguments, as far as that can be told: not what quotes are for.
fn as_list(text: &str) -> String {
    const SHELL_SIGNS: [char; 16] =
        ['|', '&', ';', '<', '>', '$', '`', '"', '\'', '\\', '(', ')', '*', '?', '~', '\n'];
    if text.contains(SHELL_SIGNS) {
        return "add `shell: true` to have a shell run it".to_owned();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("write `argv: [{}]`, or add `shell: true`", words.join(", "))
}

/// The program and its arguments.
fn program(with: &With) -> (&str, Vec<&str>) {
    let mut words = with.argv.words.iter().map(|word| word.as_str());
    if with.shell {
        return (SHELL, ["-c"].into_iter().chain(words).collect());
    }
    (words.next().unwrap_or_default(), words.collect())
}

/// The folder it starts in; none for that of this process.
fn folder(with: &With, cx: &Context) -> Option<PathBuf> {
    let dir = &cx.run.pipeline_dir;
    let dir = with.cwd.as_ref().map_or_else(|| dir.clone(), |own| dir.join(own));
    Some(dir).filter(|dir| !dir.as_os_str().is_empty())
}

/// Where the file of a program may be: where it is said to be, or else in the folders of `PATH`, the first one first.
fn places(name: &str, with: &With, cx: &Context) -> impl Iterator<Item = PathBuf> {
    let is_said = name.contains('/');
    let said = is_said.then(|| folder(with, cx).unwrap_or_default().join(name));
    let own = || with.env.get("PATH").map(|path| path.as_str().into());
    let path = if is_said { None } else { own().or_else(|| std::env::var_os("PATH")) };
    let dirs: Vec<PathBuf> =
        path.map_or_else(Vec::new, |path| std::env::split_paths(&path).collect());
    said.into_iter().chain(dirs.into_iter().map(move |dir| dir.join(name)))
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
    let ended = ended.map_err(|error| {
        let mut failed = PhaseError::because("could not run the command", error);
        if let Some(help) = not_executable(name, with, cx) {
            failed = failed.help(help);
        }
        failed
    })?;
    let stdout = text(&ended.stdout, ended.stdout_gap, secrets);
    let stderr = text(&ended.stderr, ended.stderr_gap, secrets);
    if !ended.status.code().is_some_and(|code| with.exit.contains(&code)) {
        return Err(PhaseError::new(bad_end(with, &ended, &stderr)));
    }
    let outputs = outputs(with, &ended, stdout, stderr, secrets)?;
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

/// What would help where a file is there and yet can't be run.
fn not_executable(name: &str, with: &With, cx: &Context) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = places(name, with, cx).find(|path| path.is_file())?;
    let mode = path.metadata().ok()?.permissions().mode();
    (mode & 0o111 == 0).then(|| format!("make it executable: `chmod +x {}`", path.display()))
}

/// An output as a text that tells no secret, and says what is not in it.
fn text(bytes: &[u8], gap: Option<Gap>, secrets: &Secrets) -> String {
    let received = |bytes: &[u8]| {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        secrets.receive(&mut text);
        text
    };
    let Some(gap) = gap else { return received(bytes) };
    let (begin, end) = bytes.split_at(gap.at);
    let (mut begin, mut end) = (received(begin), received(end));
    secrets.cut_end(&mut begin);
    secrets.cut_start(&mut end);
    format!("{begin}\n[{} bytes left out]\n{end}", gap.bytes)
}

/// What is visible downstream.
fn outputs(
    with: &With,
    ended: &Finished,
    stdout: String,
    stderr: String,
    secrets: &Secrets,
) -> Result<Map<String, Value>, PhaseError> {
    let parsed = || -> Result<Map<String, Value>, serde_json::Error> {
        // From the bytes: a value that is hidden in a text may have been a number.
        let mut value: Value = serde_json::from_slice(&ended.stdout)?;
        secrets.receive_in(&mut value);
        serde_json::from_value(value)
    };
    let mut visible = match with.outputs {
        Outputs::Json if ended.stdout_gap.is_some() => {
            let told =
                format!("it printed more than {}, so its JSON is not whole", with.output_limit);
            return Err(PhaseError::new(told).help("raise `output_limit`"));
        }
        Outputs::Json => parsed().map_err(|error| {
            PhaseError::because("it did not print a JSON object", error)
                .help("`outputs: json` takes one object on standard output and nothing else")
        })?,
        Outputs::Auto
            if ended.stdout_gap.is_none() && ended.stdout.trim_ascii().starts_with(b"{") =>
        {
            parsed().unwrap_or_default()
        }
        Outputs::Auto | Outputs::Text | Outputs::None => Map::new(),
    };
    if matches!(with.outputs, Outputs::Auto | Outputs::Text) {
        visible.insert("stdout".to_owned(), stdout.into());
        visible.insert("stderr".to_owned(), stderr.into());
    }
    visible.insert("code".to_owned(), ended.status.code().into());
    Ok(visible)
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
            (json!({ "argv": ["a"], "exit": [] }), "exit"),
            (json!({ "argv": ["a"], "exit": [256] }), "exit"),
            (json!({ "argv": ["a"], "limit": "0s" }), "limit"),
            (json!({ "argv": ["a"], "output_limit": "1GiB" }), "output_limit"),
        ] {
            let told = wrong(with.clone());
            assert!(told.len() == 1 && told[0].0 == place, "{with}: {told:?}");
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
        assert_eq!(as_list("ls  -l /a"), "write `argv: [ls, -l, /a]`, or add `shell: true`");
        assert_eq!(as_list("ls | wc"), "add `shell: true` to have a shell run it");
    }
}
