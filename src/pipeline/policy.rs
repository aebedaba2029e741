//! How a phase is tried, remembered and accepted: `timeout`, `retry`, `cache`, `gate`, and the `defaults` of the first
//! three.

use std::sync::Arc;
use std::time::Duration;

use super::model::{CachePolicy, CacheScope, Defaults, Gate, GateObjective, Retry, Spot};
use super::shape::{Reader, get};
use super::tree::{Node, Tree};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::unit::{Percent, Span};

const DEFAULTS_KEYS: [&str; 3] = ["timeout", "retry", "cache"];
const RETRY_KEYS: [&str; 4] = ["attempts", "backoff", "max_backoff", "jitter"];
const CACHE_KEYS: [&str; 3] = ["ttl", "scope", "inputs"];
const GATE_KEYS: [&str; 4] = ["objective", "min_gain", "confidence", "budget"];
const OBJECTIVE_KEYS: [&str; 2] = ["command", "goal"];

/// What a gate of which only the objective is told asks for.
const GAIN: Percent = Percent(1.0);
const CONFIDENCE: Percent = Percent(95.0);
const BUDGET: Duration = Duration::from_mins(1);

impl Reader {
    pub(super) fn defaults(&mut self, node: &Node) -> Defaults {
        let mut defaults = Defaults::default();
        let entries = self.map(node, "`defaults`", Some(&DEFAULTS_KEYS)).unwrap_or_default();
        if let Some(timeout) = get(entries, "timeout").and_then(|node| self.timeout(node)) {
            defaults.timeout = timeout;
        }
        if let Some(node) = get(entries, "retry") {
            defaults.retry = self.retry(node, defaults.retry);
        }
        if let Some(node) = get(entries, "cache") {
            defaults.cache = self.cache(node, &defaults.cache);
        }
        defaults
    }

    pub(super) fn timeout(&mut self, node: &Node) -> Option<Duration> {
        self.some_time(node, "a timeout", "2m", "a timeout of nothing ends every phase")
    }

    /// A duration that is longer than nothing.
    fn some_time(
        &mut self,
        node: &Node,
        what: &str,
        example: &str,
        of_nothing: &str,
    ) -> Option<Duration> {
        let Span(time) = self.quantity(node, what, example)?;
        if time.is_zero() {
            self.wrong(node.span, of_nothing, format!("give it some time, such as `{example}`"));
        }
        Some(time)
    }

    pub(super) fn retry(&mut self, node: &Node, mut retry: Retry) -> Retry {
        let entries = self.map(node, "`retry`", Some(&RETRY_KEYS)).unwrap_or_default();
        if let Some(node) = get(entries, "attempts") {
            match &node.tree {
                Tree::Number(number) if (1..=100).contains(&number.as_u64().unwrap_or(0)) => {
                    retry.attempts = number.as_u64().map_or(1, |attempts| attempts as u32);
                }
                _ => self.wrong(
                    node.span,
                    "attempts must be a number from 1 to 100",
                    "1 means: tried once",
                ),
            }
        }
        let backoff = get(entries, "backoff")
            .and_then(|node| self.quantity(node, "a backoff", "500ms"))
            .map(|Span(backoff)| backoff);
        let longest = get(entries, "max_backoff")
            .and_then(|node| Some((node, self.quantity(node, "the longest backoff", "1m")?)))
            .map(|(node, Span(longest))| (node, longest));
        retry.backoff = backoff.unwrap_or(retry.backoff);
        match longest {
            Some((node, longest)) if longest < retry.backoff => self.wrong(
                node.span,
                "the longest backoff is shorter than the first one",
                "raise `max_backoff`, or lower `backoff`",
            ),
            Some((_, longest)) => retry.max_backoff = longest,
            None => retry.max_backoff = retry.max_backoff.max(retry.backoff),
        }
        if let Some((node, jitter)) = get(entries, "jitter")
            .and_then(|node| Some((node, self.quantity::<Percent>(node, "the jitter", "20%")?)))
        {
            if jitter.0 > 100.0 {
                let told = "a jitter beyond 100% would make waits shorter than nothing";
                self.wrong(node.span, told, "write a ratio from `0%` to `100%`");
            }
            retry.jitter = jitter;
        }
        retry
    }

    /// How decisions are remembered, where `before` holds unless told otherwise.
    pub(super) fn cache(&mut self, node: &Node, before: &Arc<CachePolicy>) -> Arc<CachePolicy> {
        if let Tree::Bool(on) = node.tree {
            return Arc::new(CachePolicy { on, ..CachePolicy::clone(before) });
        }
        if !matches!(node.tree, Tree::Map(_)) {
            self.wrong(
                node.span,
                format!("`cache` must be a map, `true` or `false`, and this is {}", node.kind()),
                "write it like `cache: { ttl: 24h }`, or `cache: false`",
            );
            return Arc::clone(before);
        }
        let entries = self.map(node, "`cache`", Some(&CACHE_KEYS)).unwrap_or_default();
        let mut policy = CachePolicy { on: true, ..CachePolicy::clone(before) };
        if let Some(ttl) = get(entries, "ttl").and_then(|node| {
            self.some_time(node, "a time to live", "24h", "a decision that holds no time is none")
        }) {
            policy.ttl = ttl;
        }
        if let Some(scope) = get(entries, "scope").and_then(|node| {
            let words = [("host", CacheScope::Host), ("class", CacheScope::Class)];
            self.choice(node, "the scope of a decision", &words)
        }) {
            policy.scope = scope;
        }
        if let Some(node) = get(entries, "inputs") {
            policy.inputs = self.list(node, "`inputs`", |reader, item| {
                let glob = reader.text(item, "a glob")?;
                if glob.value.is_empty() || glob.value.contains("{{") {
                    let told = "this is not a glob: it has no text, or an expression in it";
                    reader.wrong(glob.span, told, "write it like `data/**/*.csv`");
                }
                // Each part by itself, as they are looked for.
                let flaw = glob.value.split('/').find_map(|part| glob::Pattern::new(part).err());
                if let Some(flaw) = flaw {
                    let told = format!("this is not a glob: {}", flaw.msg);
                    reader.wrong(glob.span, told, "write it like `data/**/*.csv`");
                }
                Some(glob)
            });
        }
        Arc::new(policy)
    }

    pub(super) fn gate(&mut self, node: &Node) -> Option<Box<Spot<Gate>>> {
        let entries = self.map(node, "`gate`", Some(&GATE_KEYS))?;
        let objective = if let Some(node) = get(entries, "objective") {
            self.objective(node)
        } else {
            self.wrong(
                node.span,
                "the gate does not say what it measures",
                "write `objective: service_throughput`, `p99` or `{ command: [..], goal: maximize }`",
            );
            None
        };
        let min_gain = get(entries, "min_gain")
            .map_or(Some(GAIN), |node| self.quantity(node, "the least gain", "1%"));
        let confidence = get(entries, "confidence").map_or(Some(CONFIDENCE), |node| {
            let confidence: Percent = self.quantity(node, "the confidence", "95%")?;
            // Each of its looks must be surer still, and none can be surer than 99.9%.
            if !(50.0..=99.5).contains(&confidence.0) {
                let told = "a confidence must be from 50% to 99.5%";
                self.wrong(node.span, told, "write it like `95%`");
            }
            Some(confidence)
        });
        let budget = get(entries, "budget").map_or(Some(BUDGET), |node| {
            self.some_time(node, "the budget of a gate", "60s", "in no time nothing is measured")
        });
        let gate = Gate {
            objective: objective?,
            min_gain: min_gain?,
            confidence: confidence?,
            budget: budget?,
        };
        Some(Box::new(Spot { value: gate, span: node.span }))
    }

    fn objective(&mut self, node: &Node) -> Option<GateObjective> {
        let entries = match &node.tree {
            Tree::Text(text) => {
                let known = match text.as_str() {
                    "service_throughput" => Some(GateObjective::ServiceThroughput),
                    "p99" => Some(GateObjective::P99),
                    _ => None,
                };
                if known.is_none() {
                    let told = format!("a gate has no objective `{text}`");
                    let help = did_you_mean(text, ["service_throughput", "p99", "command"]);
                    self.found.push(
                        Diagnostic::error("pipeline::value", told)
                            .at(self.sources.place(node.span), "")
                            .maybe_help(help),
                    );
                }
                return known;
            }
            Tree::Map(_) => self.map(node, "an objective", Some(&OBJECTIVE_KEYS))?,
            _ => {
                self.wrong(
                    node.span,
                    format!("an objective must be a text or a map, and this is {}", node.kind()),
                    "write `service_throughput`, `p99` or `{ command: [..], goal: maximize }`",
                );
                return None;
            }
        };
        let argv = get(entries, "command").map(|node| self.argv(node));
        let goal = get(entries, "goal").map(|node| {
            let words = [("maximize", false), ("minimize", true)];
            self.choice(node, "the goal", &words)
        });
        if argv.is_none() || goal.is_none() {
            let missing = if argv.is_none() { "command" } else { "goal" };
            self.wrong(
                node.span,
                format!("the objective does not say its `{missing}`"),
                "write `{ command: [/usr/bin/program, argument], goal: maximize }`, or `minimize`",
            );
        }
        Some(GateObjective::Command { argv: argv??, minimize: goal?? })
    }

    fn argv(&mut self, node: &Node) -> Option<Vec<String>> {
        let Tree::List(items) = &node.tree else {
            self.wrong(
                node.span,
                format!("a command must be a list of texts, and this is {}", node.kind()),
                "write it like `[/usr/bin/program, argument]`: there is no shell",
            );
            return None;
        };
        let argv: Vec<String> = items
            .iter()
            .filter_map(|item| {
                let text = self.text(item, "an argument")?;
                if text.value.contains("{{") {
                    let told = "the command of a gate can't hold expressions";
                    let help = "expressions stand in `vars`, `with` and `when`";
                    self.wrong(text.span, told, help);
                }
                Some(text.value)
            })
            .collect();
        if argv.first().is_none_or(String::is_empty) {
            self.wrong(node.span, "there is no program", "write it like `[/usr/bin/program]`");
        }
        Some(argv)
    }
}
