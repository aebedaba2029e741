//! From a file to the typed model, with every mistake at once.

use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::check;
use super::model::{Condition, Defaults, Gate, GateObjective, PhaseSpec, Pipeline, Retry, Spot};
use super::tree::{Node, Tree, parse_yaml};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source, did_you_mean};
use crate::disk;
use crate::event::PhaseName;
use crate::unit::{Percent, Span};

/// Largest pipeline file.
const LIMIT: u64 = 16 << 20;

const PIPELINE_KEYS: [&str; 6] = ["version", "name", "description", "vars", "defaults", "phases"];
const PHASE_KEYS: [&str; 9] =
    ["uses", "needs", "with", "when", "timeout", "retry", "optional", "exclusive", "gate"];
const GATE_KEYS: [&str; 4] = ["objective", "min_gain", "confidence", "budget"];
const COMMAND_KEYS: [&str; 2] = ["command", "goal"];
const DEFAULTS_KEYS: [&str; 2] = ["timeout", "retry"];
const RETRY_KEYS: [&str; 2] = ["attempts", "backoff"];

/// Reads the pipeline at `path`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path) -> Result<Pipeline, Diagnostics> {
    let text = disk::read_text(path, LIMIT).map_err(|error| {
        let found = Diagnostic::from_error("pipeline::file", &error);
        Diagnostics::from(
            found.help("give the path of a pipeline: `trueup run pipelines/optimize.yaml`"),
        )
    })?;
    read_text(path, text)
}

/// Reads a pipeline from the text of the file at `path`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_text(path: &Path, text: String) -> Result<Pipeline, Diagnostics> {
    let source = Source::new(path, text);
    let root = parse_yaml(&source).map_err(|error| Diagnostics(vec![*error]))?;
    let mut reader = Reader { source, found: Vec::new() };
    let pipeline = reader.pipeline(path, &root);
    let mut found = reader.found;
    if let Some(pipeline) = &pipeline {
        check::check(pipeline, &mut found);
    }
    match pipeline {
        Some(pipeline) if found.is_empty() => Ok(pipeline),
        _ => Err(Diagnostics(found)),
    }
}

type Entries = [(String, Range<usize>, Node)];

fn get<'a>(entries: &'a Entries, key: &str) -> Option<&'a Node> {
    entries.iter().find(|(name, _, _)| name == key).map(|(_, _, node)| node)
}

/// Turns nodes into the model and collects what is wrong on the way.
struct Reader {
    source: Arc<Source>,
    found: Vec<Diagnostic>,
}

impl Reader {
    fn place(&self, span: &Range<usize>) -> Place {
        Place { source: Arc::clone(&self.source), span: span.clone() }
    }

    fn wrong(&mut self, span: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let place = self.place(span);
        self.found.push(Diagnostic::error("pipeline::value", message).at(place, "").help(help));
    }

    fn map<'a>(
        &mut self,
        node: &'a Node,
        what: &str,
        keys: Option<&[&str]>,
    ) -> Option<&'a Entries> {
        let Tree::Map(entries) = &node.tree else {
            self.wrong(
                &node.span,
                format!("{what} must be a map, and this is {}", node.kind()),
                "write `key: value`, one a line",
            );
            return None;
        };
        for (key, span, _) in entries {
            if let Some(known) = keys.filter(|known| !known.contains(&key.as_str())) {
                let place = self.place(span);
                self.found.push(
                    Diagnostic::error(
                        "pipeline::unknown_key",
                        format!("{what} has no key `{key}`"),
                    )
                    .at(place, "not known here")
                    .maybe_help(did_you_mean(key, known.iter().copied())),
                );
            }
        }
        Some(entries)
    }

    fn text(&mut self, node: &Node, what: &str) -> Option<Spot<String>> {
        if let Tree::Text(text) = &node.tree {
            return Some(Spot { value: text.clone(), span: node.span.clone() });
        }
        self.wrong(
            &node.span,
            format!("{what} must be a text, and this is {}", node.kind()),
            "put it in quotes",
        );
        None
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        node: &Node,
        what: &str,
        example: &str,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        match text.value.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(&node.span, error.to_string(), format!("write {what} like `{example}`"));
                None
            }
        }
    }

    fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Tree::Bool(truth) = node.tree {
            return Some(truth);
        }
        self.wrong(
            &node.span,
            format!("{what} must be `true` or `false`"),
            "write one of the two, without quotes",
        );
        None
    }

    fn list<T>(
        &mut self,
        node: &Node,
        what: &str,
        mut item: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Vec<T> {
        match &node.tree {
            Tree::List(items) => items.iter().filter_map(|one| item(self, one)).collect(),
            Tree::Text(_) => item(self, node).into_iter().collect(),
            _ => {
                self.wrong(
                    &node.span,
                    format!("{what} must be a list of names, and this is {}", node.kind()),
                    "write `[one, two]`",
                );
                Vec::new()
            }
        }
    }

    fn pipeline(&mut self, path: &Path, root: &Node) -> Option<Pipeline> {
        let entries = self.map(root, "a pipeline", Some(&PIPELINE_KEYS))?;
        match get(entries, "version").map(|node| (&node.tree, &node.span)) {
            None => self.wrong(
                &(0..0),
                "the pipeline does not say its version",
                "write `version: 1` at the top",
            ),
            Some((Tree::Number(number), _)) if number.as_u64() == Some(1) => {}
            Some((_, span)) => {
                self.wrong(span, "this version of the language is not known", "write `version: 1`");
            }
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = get(entries, "name").and_then(|node| self.text(node, "the name"));
        let description =
            get(entries, "description").and_then(|node| self.text(node, "the description"));
        let vars = match get(entries, "vars") {
            Some(node) => self.map(node, "`vars`", None).unwrap_or_default(),
            None => &[],
        };
        let defaults =
            get(entries, "defaults").map_or_else(Defaults::default, |node| self.defaults(node));
        let phases = if let Some(node) = get(entries, "phases") {
            self.phases(node, &defaults)
        } else {
            self.wrong(
                &(0..0),
                "the pipeline has no phases",
                "write `phases:` and under it the first phase",
            );
            Vec::new()
        };
        Some(Pipeline {
            path: path.to_owned(),
            source: Arc::clone(&self.source),
            name: name.map_or(stem, |name| name.value),
            description: description.map(|text| text.value),
            vars: vars
                .iter()
                .map(|(key, span, node)| {
                    (Spot { value: key.clone(), span: span.clone() }, node.clone())
                })
                .collect(),
            phases,
        })
    }

    fn defaults(&mut self, node: &Node) -> Defaults {
        let mut defaults = Defaults::default();
        let entries = self.map(node, "`defaults`", Some(&DEFAULTS_KEYS)).unwrap_or_default();
        if let Some(timeout) = get(entries, "timeout").and_then(|node| self.timeout(node)) {
            defaults.timeout = timeout;
        }
        if let Some(node) = get(entries, "retry") {
            defaults.retry = self.retry(node, defaults.retry);
        }
        defaults
    }

    fn timeout(&mut self, node: &Node) -> Option<Duration> {
        let Span(timeout) = self.parsed(node, "a timeout", "2m")?;
        if timeout.is_zero() {
            self.wrong(
                &node.span,
                "a timeout of nothing ends every phase",
                "give it some time, such as `2m`",
            );
        }
        Some(timeout)
    }

    fn retry(&mut self, node: &Node, mut retry: Retry) -> Retry {
        let entries = self.map(node, "`retry`", Some(&RETRY_KEYS)).unwrap_or_default();
        if let Some(node) = get(entries, "attempts") {
            match &node.tree {
                Tree::Number(number) if (1..=100).contains(&number.as_u64().unwrap_or(0)) => {
                    retry.attempts = number.as_u64().map_or(1, |attempts| attempts as u32);
                }
                _ => self.wrong(
                    &node.span,
                    "attempts must be a number from 1 to 100",
                    "1 means: tried once",
                ),
            }
        }
        if let Some(Span(backoff)) =
            get(entries, "backoff").and_then(|node| self.parsed(node, "a backoff", "500ms"))
        {
            retry.backoff = backoff;
        }
        retry
    }

    fn phases(&mut self, node: &Node, defaults: &Defaults) -> Vec<PhaseSpec> {
        let entries = self.map(node, "`phases`", None).unwrap_or_default();
        if entries.is_empty() && self.found.is_empty() {
            self.wrong(
                &node.span,
                "the pipeline has no phases",
                "write the first one under `phases:`",
            );
        }
        entries
            .iter()
            .filter_map(|(key, span, node)| self.phase(key, span, node, defaults))
            .collect()
    }

    fn phase(
        &mut self,
        key: &str,
        span: &Range<usize>,
        node: &Node,
        defaults: &Defaults,
    ) -> Option<PhaseSpec> {
        let name = match PhaseName::from_str(key) {
            Ok(name) => Some(Spot { value: name, span: span.clone() }),
            Err(error) => {
                self.wrong(span, error.to_string(), "rename the phase");
                None
            }
        };
        let entries = self.map(node, "a phase", Some(&PHASE_KEYS))?;
        let uses = if let Some(node) = get(entries, "uses") {
            self.text(node, "`uses`")
        } else {
            self.wrong(
                span,
                format!("phase `{key}` does not say what it uses"),
                "write `uses:` and one of the kinds that `trueup check --kinds` lists",
            );
            None
        };
        let needs = get(entries, "needs").map_or_else(Vec::new, |node| {
            self.list(node, "`needs`", |reader, item| {
                let text = reader.text(item, "the name of a phase")?;
                let value = text.value.parse().map_err(|error: crate::event::NameError| {
                    reader.wrong(&item.span, error.to_string(), "name a phase of this pipeline");
                });
                Some(Spot { value: value.ok()?, span: text.span })
            })
        });
        let exclusive = get(entries, "exclusive").map_or_else(Vec::new, |node| {
            self.list(node, "`exclusive`", |reader, item| {
                Some(reader.text(item, "a resource")?.value)
            })
        });
        let with = get(entries, "with").cloned();
        if let Some(with) = &with {
            self.map(with, "`with`", None);
        }
        let when = get(entries, "when").and_then(|node| self.condition(node));
        let timeout =
            get(entries, "timeout").and_then(|node| self.timeout(node)).unwrap_or(defaults.timeout);
        let retry =
            get(entries, "retry").map_or(defaults.retry, |node| self.retry(node, defaults.retry));
        let optional = get(entries, "optional")
            .and_then(|node| self.boolean(node, "`optional`"))
            .unwrap_or(false);
        let nothing = Node { tree: Tree::Map(Vec::new()), span: span.clone() };
        Some(PhaseSpec {
            name: name?,
            uses: uses?,
            needs,
            with: with.unwrap_or(nothing),
            when,
            timeout,
            retry,
            optional,
            always: false,
            cache: defaults.cache.clone(),
            gate: get(entries, "gate").and_then(|node| self.gate(node)),
            matrix: Vec::new(),
            exclusive,
        })
    }

    fn gate(&mut self, node: &Node) -> Option<Spot<Gate>> {
        let entries = self.map(node, "`gate`", Some(&GATE_KEYS))?;
        let Some(objective) = get(entries, "objective") else {
            self.wrong(
                &node.span,
                "a gate must say what is measured",
                "write `objective: service_throughput`",
            );
            return None;
        };
        let mut percent = |key: &str, default: f64| match get(entries, key) {
            Some(node) => self.parsed(node, key, "5%"),
            None => Some(Percent(default)),
        };
        let (min_gain, confidence) = (percent("min_gain", 1.0)?, percent("confidence", 95.0)?);
        let budget = match get(entries, "budget") {
            Some(node) => self.parsed::<Span>(node, "a budget", "60s")?.0,
            None => Duration::from_mins(1),
        };
        let objective = self.objective(objective)?;
        let value = Gate { objective, min_gain, confidence, budget };
        Some(Spot { value, span: node.span.clone() })
    }

    fn objective(&mut self, node: &Node) -> Option<GateObjective> {
        match &node.tree {
            Tree::Text(text) if text == "service_throughput" => {
                Some(GateObjective::ServiceThroughput)
            }
            Tree::Text(text) if text == "p99" => Some(GateObjective::P99),
            Tree::Map(_) => {
                let entries = self.map(node, "`objective`", Some(&COMMAND_KEYS))?;
                let argv = get(entries, "command").map_or_else(Vec::new, |node| {
                    self.list(node, "`command`", |reader, item| {
                        Some(reader.text(item, "an argument")?.value)
                    })
                });
                let goal = get(entries, "goal").and_then(|node| self.text(node, "the goal"));
                let minimize = goal.is_some_and(|goal| goal.value == "minimize");
                Some(GateObjective::Command { argv, minimize })
            }
            _ => {
                self.wrong(
                    &node.span,
                    "a gate does not know this objective",
                    "write `service_throughput`, `p99` or `{ command: [./measure], goal: maximize }`",
                );
                None
            }
        }
    }

    fn condition(&mut self, node: &Node) -> Option<Condition> {
        match &node.tree {
            Tree::Bool(truth) => Some(Condition::Literal(*truth)),
            Tree::Text(text) => {
                let inner = super::expression::sole_expression(text).unwrap_or(text.trim());
                let offset = self.source.text[node.span.clone()].find(inner).unwrap_or(0);
                let start = node.span.start + offset;
                let span = start..start + inner.len();
                Some(Condition::Expression(Spot { value: inner.to_owned(), span }))
            }
            _ => {
                self.wrong(
                    &node.span,
                    "a condition must be `true`, `false` or an expression",
                    "write it like `when: host.has_cpufreq`",
                );
                None
            }
        }
    }
}
