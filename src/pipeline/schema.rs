//! The form of a pipeline's file as types, from which its JSON Schema is derived.
//!
//! Nothing is read into these types: the reader keeps the place of every value, which they could not. They say
//! what may be written, and their comments are what an editor shows; a test holds the reader's keys and theirs
//! together. Does not know what any kind is told: `plan` puts that in where `with` stands.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use crate::unit::{Percent, Span};

/// A pipeline: phases, what each needs, and what each is told.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "pipeline", deny_unknown_fields)]
pub struct PipelineForm {
    /// The version of this language: 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// What reports call the pipeline; the name of the file unless told.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Another pipeline, from this file's folder on. What stands here is laid over it, key by key; `null` takes away.
    pub extends: Option<String>,
    /// Named values, used as `{{ vars.NAME }}`; `--set NAME=VALUE` replaces them.
    pub vars: Option<BTreeMap<String, VariableForm>>,
    /// What phases have that do not say it themselves.
    pub defaults: Option<DefaultsForm>,
    /// The phases by name. What each needs orders them, not the file.
    pub phases: Option<BTreeMap<PhaseKey, Option<PhaseForm>>>,
}

/// What phases have unless they say otherwise.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "defaults", deny_unknown_fields)]
pub struct DefaultsForm {
    /// Longest time of an attempt; `10m` unless told.
    pub timeout: Option<Span>,
    /// How often a phase is tried, and after what wait.
    pub retry: Option<RetryForm>,
    /// How decisions are remembered; `false`: not at all.
    pub cache: Option<CacheForm>,
}

/// A phase: a kind, and what it is told.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "phase", deny_unknown_fields)]
pub struct PhaseForm {
    /// The kind: what the phase does. `trueup check --kinds` lists them.
    pub uses: Option<String>,
    /// Phases that must have ended well first. Using `phases.NAME` in an expression is a need, too.
    pub needs: Option<OneOrMany<NeedForm>>,
    /// What the kind is told.
    pub with: Option<Map<String, Value>>,
    /// A condition, such as `host.has_cpufreq`; when it is false, the phase is skipped.
    pub when: Option<ConditionForm>,
    /// Longest time of an attempt; it then has 10 s to clean up.
    pub timeout: Option<Span>,
    /// How often it is tried. What a failed attempt changed is taken back first.
    pub retry: Option<RetryForm>,
    /// True when it may end badly without failing the run.
    pub optional: Option<bool>,
    /// True when it runs also after what it needs has ended badly, or the run was told to stop: to clean up.
    pub always: Option<bool>,
    /// Resources that no two running phases share, by any names: `[cpu]` keeps a measurement from being disturbed.
    pub exclusive: Option<OneOrMany<String>>,
    /// How its decisions are remembered; `false`: not at all.
    pub cache: Option<CacheForm>,
    /// The acceptance test of what it changes on the host: kept only if it measurably helps.
    pub gate: Option<GateForm>,
    /// Makes one phase of each combination of values, called `name[VALUE,..]`; expressions in it see `matrix.AXIS`.
    pub matrix: Option<BTreeMap<String, AxisForm>>,
}

/// How often a phase is tried, and after what wait.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "retry", deny_unknown_fields)]
pub struct RetryForm {
    /// From 1 to 100; 1 unless told.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u32>,
    /// The wait before the second attempt, `1s` unless told; it doubles with each further one.
    pub backoff: Option<Span>,
    /// The longest wait; `5m` unless told.
    pub max_backoff: Option<Span>,
    /// Each wait is drawn from this share below it to this share above it; `20%` unless told.
    pub jitter: Option<Percent>,
}

/// How decisions are remembered.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "cache", untagged)]
pub enum CacheForm {
    /// `false`: they are neither looked up nor remembered. `true`: as usual.
    Switch(bool),
    /// How.
    Policy(CachePolicyForm),
}

/// How decisions are remembered.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "cache_policy", deny_unknown_fields)]
pub struct CachePolicyForm {
    /// How long they hold; `24h` unless told.
    pub ttl: Option<Span>,
    /// For which hosts they hold; `host` unless told.
    pub scope: Option<CacheScopeForm>,
    /// Files that they depend on, as globs that start at the pipeline's folder.
    pub inputs: Option<OneOrMany<String>>,
}

/// For which hosts a decision holds.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "cache_scope", rename_all = "snake_case")]
pub enum CacheScopeForm {
    /// For the one that measured it.
    Host,
    /// For every host with the same facts.
    Class,
}

/// The acceptance test of what a phase changes on the host.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "gate", deny_unknown_fields)]
pub struct GateForm {
    /// What is measured, in the former state and in the new one, in turn.
    pub objective: ObjectiveForm,
    /// The least gain that is worth the change; `1%` unless told.
    pub min_gain: Option<Percent>,
    /// How sure the interval must be; `95%` unless told.
    pub confidence: Option<Percent>,
    /// The longest time that may be spent; `1m` unless told.
    pub budget: Option<Span>,
}

/// What a gate measures.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "gate_objective", untagged)]
pub enum ObjectiveForm {
    /// A metric of the service that a phase upstream has started.
    Metric(MetricForm),
    /// The number that a program prints.
    Command(ProgramForm),
}

/// A metric of the service that a phase upstream has started.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "gate_metric", rename_all = "snake_case")]
pub enum MetricForm {
    /// Verifications per second; more is better.
    ServiceThroughput,
    /// The 99th percentile of latency; less is better.
    P99,
}

/// A program that prints a number.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "gate_program", deny_unknown_fields)]
pub struct ProgramForm {
    /// Program and arguments, each as it is: there is no shell.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// Whether more or less is better.
    pub goal: GoalForm,
}

/// Which numbers are better.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "gate_goal", rename_all = "snake_case")]
pub enum GoalForm {
    /// Greater ones.
    Maximize,
    /// Smaller ones.
    Minimize,
}

/// The values of an axis: at least one, each once.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "axis")]
pub struct AxisForm(#[schemars(length(min = 1), extend("uniqueItems" = true))] pub Vec<AxisValue>);

/// A value of an axis: a number, `true`, `false`, or a text of letters, digits, `_`, `.` and `-`.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "axis_value", untagged)]
pub enum AxisValue {
    /// Whole or not.
    Number(f64),
    /// `true` or `false`.
    Truth(bool),
    /// Letters, digits, `_`, `.` and `-`.
    Text(#[schemars(regex(pattern = r"^[A-Za-z0-9_.-]+$"))] String),
}

/// A condition: `true`, `false`, or an expression with or without its braces.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "condition", untagged)]
pub enum ConditionForm {
    /// `true` or `false`.
    Literal(bool),
    /// An expression, such as `host.memory > 4 * 1024 ** 3`.
    Expression(String),
}

/// A list, or the one thing that would be in it.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "one_or_many", inline, untagged)]
pub enum OneOrMany<T> {
    /// Just one.
    One(T),
    /// Any number.
    Many(Vec<T>),
}

/// A variable's value: anything, expressions and secrets included.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "variable", inline, untagged)]
pub enum VariableForm {
    /// Read when it is used, and never shown.
    Secret(SecretForm),
    /// Anything.
    Value(Value),
}

/// A value that is read when it is used and is never shown: no report, event, key of the cache or log holds it.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "secret", tag = "secret", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SecretForm {
    /// From the environment.
    Env {
        /// The variable.
        name: String,
    },
    /// From a file; the newline at its end is cut.
    File {
        /// The file.
        path: String,
    },
    /// From the credentials that systemd hands to a service (`LoadCredential=`).
    SystemdCredential {
        /// The credential.
        name: String,
    },
}

/// The name of a phase in a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhaseKey(pub String);

impl JsonSchema for PhaseKey {
    fn schema_name() -> Cow<'static, str> {
        "phase_name".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,99}$" })
    }
}

/// The name of a phase, or of one that a matrix makes, such as `pool[5]`.
#[derive(Debug)]
pub struct NeedForm(pub String);

impl JsonSchema for NeedForm {
    fn schema_name() -> Cow<'static, str> {
        "need".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[A-Za-z][A-Za-z0-9_-]{0,99}(\[[A-Za-z0-9_.,-]+\])?$",
            "description": "the name of a phase, or of one that a matrix makes, such as `pool[5]`",
        })
    }
}

/// A text with an expression in it, which may stand for any value that a kind is told.
#[derive(Debug)]
pub struct ExpressionForm(pub String);

impl JsonSchema for ExpressionForm {
    fn schema_name() -> Cow<'static, str> {
        "expression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"\{[{%]",
            "description": "an expression, such as `{{ vars.name }}` or `{{ host.cpus * 2 }}`",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use schemars::schema_for;

    use super::*;
    use crate::pipeline::read_text;

    /// The keys that the reader lists when it finds one in this place that it does not know.
    fn read_at(place: &str) -> BTreeSet<String> {
        let text = place.replace("HERE", "an_unknown_key_far_from_any: 1");
        let found = read_text(Path::new("p.yaml"), text).unwrap_err().0;
        let unknown = found.iter().find(|one| one.code == "pipeline::unknown_key");
        let help = unknown.and_then(|one| one.help.clone()).unwrap_or_else(|| panic!("{found:?}"));
        assert!(!help.ends_with(" more"), "{help}");
        help.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// The keys of a map in the schema.
    fn keys(schema: &Value) -> BTreeSet<String> {
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_reader_and_the_schema_know_the_same_keys() {
        let schema = schema_for!(PipelineForm).to_value();
        let of = |name: &str| keys(&schema["$defs"][name]);
        let phase =
            |rest: &str| format!("version: 1\nphases: {{ a: {{ uses: command, {rest} }} }}\n");
        assert_eq!(read_at("HERE\n"), keys(&schema));
        assert_eq!(read_at(&phase("HERE")), of("phase"));
        assert_eq!(read_at("version: 1\ndefaults: { HERE }\n"), of("defaults"));
        assert_eq!(read_at(&phase("retry: { HERE }")), of("retry"));
        assert_eq!(read_at(&phase("cache: { HERE }")), of("cache_policy"));
        assert_eq!(read_at(&phase("gate: { objective: p99, HERE }")), of("gate"));
        assert_eq!(read_at(&phase("gate: { objective: { HERE } }")), of("gate_program"));
    }
}
