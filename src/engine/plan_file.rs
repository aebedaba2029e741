//! A plan as a file: what was asked for, of which files, on which host, and what every phase would do.
//!
//! `trueup plan -o FILE` writes it, `trueup run --plan FILE` makes the same plan anew and compares. Only what a person
//! would want to decide about again makes a plan stale: files, facts of the host, variables, decisions and current
//! values; not the age of a decision, nor the words in which something is told. Its form is published in
//! docs/plan.schema.json. Knows no command line, and no time but the one it was made at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::outlook::{Foreseen, ForeseenVerdict, Forethought, Preview};
use crate::database::redact;
use crate::disk::{self, DiskError};
use crate::event::OverallStatus;
use crate::host::{Fact, Facts};
use crate::plan::Plan;

/// Version of the form.
const SCHEMA: u32 = 3;

/// Largest file that is read back.
const LIMIT: u64 = 1 << 30;

/// The facts that a plan holds for; none of them fluctuates.
const FACTS: [Fact; 10] = [
    Fact::Machine,
    Fact::Architecture,
    Fact::CpuModel,
    Fact::CpuFlags,
    Fact::Topology,
    Fact::UsableCpus,
    Fact::Memory,
    Fact::Kernel,
    Fact::Virtualization,
    Fact::Cpufreq,
];

/// What a run would do, as it was foreseen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanFile {
    /// Version of this form: 3.
    pub schema: u32,
    /// Version of trueup.
    pub version: String,
    /// When it was made.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// The pipeline.
    pub pipeline: PlannedPipeline,
    /// What was asked for on the command line.
    pub options: PlanOptions,
    /// The variables of the pipeline with their values; passwords in URLs are left out.
    pub variables: BTreeMap<String, Value>,
    /// Facts of the host by name, each as a short text.
    pub host: BTreeMap<String, String>,
    /// Changes of the host that are known beforehand.
    pub changes: usize,
    /// Phases whose decision would be measured.
    pub to_be_measured: usize,
    /// Phases on whose changes a gate would measure its verdict.
    pub gates_to_be_measured: usize,
    /// Phases that would end badly: they would fail, or be blocked by one that does.
    pub end_badly: usize,
    /// Runs that have not ended: what they changed is taken back before anything else, unless one is still at work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<String>,
    /// The phases, each after those it needs.
    pub phases: Vec<Preview>,
}

/// The pipeline of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedPipeline {
    /// Its name.
    pub name: String,
    /// Its file, as it was given.
    pub path: PathBuf,
    /// All the files that it is made of, each with its digest (BLAKE3).
    pub files: BTreeMap<String, String>,
}

/// What was asked for on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanOptions {
    /// Variables set with `--set`, as typed.
    pub set: Vec<(String, String)>,
    /// `--only`.
    pub only: Vec<String>,
    /// `--from`.
    pub from: Vec<String>,
    /// `--skip`.
    pub skip: Vec<String>,
    /// `--sysroot`.
    pub sysroot: PathBuf,
}

/// Why a plan can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not a plan.
    #[error("{} is not a plan that `trueup plan -o` has written", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It is one of another version.
    #[error("{} is a plan in form {found}, and this trueup reads form {SCHEMA}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u32,
    },
}

/// One thing that is not as it was when a plan was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What.
    pub what: String,
    /// As planned.
    pub then: String,
    /// As it is.
    pub now: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.what, self.then, self.now)
    }
}

impl PlanFile {
    /// The plan of `plan`, which was bound with these options.
    #[must_use]
    pub fn new(
        plan: &Plan,
        options: PlanOptions,
        facts: &Facts,
        phases: Vec<Preview>,
        created_at: Timestamp,
    ) -> Self {
        let mut host = facts.digest_parts(&FACTS);
        if let Some(name) = &facts.hostname {
            host.insert("hostname".to_owned(), name.value.clone());
        }
        let variables =
            plan.scope.vars().iter().map(|(name, value)| (name.clone(), hidden(value))).collect();
        let runs =
            |wanted: fn(&Foreseen) -> usize| phases.iter().map(|one| wanted(&one.what)).sum();
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at,
            pipeline: PlannedPipeline {
                name: plan.pipeline.name.clone(),
                path: plan.pipeline.path.clone(),
                files: plan.files(),
            },
            options,
            variables,
            host,
            changes: runs(|what| what.changes().len()),
            to_be_measured: runs(|what| {
                usize::from(matches!(what.decision(), Some(Forethought::ToBeMeasured { .. })))
            }),
            gates_to_be_measured: runs(|what| {
                usize::from(matches!(what.verdict(), Some(ForeseenVerdict::ToBeMeasured { .. })))
            }),
            end_badly: runs(|what| usize::from(!what.outcome().is_good())),
            cut_off: Vec::new(),
            phases,
        }
    }

    /// How the run would end, as far as that is known beforehand.
    #[must_use]
    pub fn status(&self) -> OverallStatus {
        OverallStatus::of(self.phases.iter().map(|one| (one.what.outcome(), one.optional)))
    }

    /// Writes it, durably and whole.
    ///
    /// # Errors
    /// When it can't be written; what stood there is then untouched.
    pub fn write(&self, path: &Path) -> Result<(), PlanFileError> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|source| PlanFileError::Form { path: path.to_owned(), source })?;
        text.push(b'\n');
        Ok(disk::replace(path, &text)?)
    }

    /// Reads one back.
    ///
    /// # Errors
    /// When it can't be read, or is not a plan of this form.
    pub fn read(path: &Path) -> Result<Self, PlanFileError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let text = disk::read_text(path, LIMIT)?;
        let form = |source| PlanFileError::Form { path: path.to_owned(), source };
        // The version first: what another version says elsewhere is not to be understood.
        match serde_json::from_str::<Head>(&text).map_err(form)?.schema {
            SCHEMA => serde_json::from_str(&text).map_err(form),
            found => Err(PlanFileError::Version { path: path.to_owned(), found }),
        }
    }

    /// What differs from this plan in one that was made anew.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut tell = |what: &str, then: &dyn fmt::Display, now: &dyn fmt::Display| {
            let (then, now) = (then.to_string(), now.to_string());
            if then != now {
                found.push(Difference { what: what.to_owned(), then, now });
            }
        };
        tell("version of trueup", &self.version, &now.version);
        let root = |plan: &Self| plan.options.sysroot.display().to_string();
        tell("--sysroot", &root(self), &root(now));
        // Whatever was foreseen was foreseen with their changes in place.
        for run in &now.cut_off {
            let what = format!("run {run}, which was cut off");
            found.push(difference(what, None, Some("its changes would be taken back first")));
        }
        maps("file", &self.pipeline.files, &now.pipeline.files, &mut found);
        maps("fact", &self.host, &now.host, &mut found);
        maps("variable", &self.variables, &now.variables, &mut found);
        self.phase_differences(now, &mut found);
        found
    }

    fn phase_differences(&self, now: &Self, found: &mut Vec<Difference>) {
        let by_name = |plan: &Self| -> BTreeMap<String, usize> {
            let names = plan.phases.iter().map(|one| one.phase.to_string());
            names.enumerate().map(|(at, name)| (name, at)).collect()
        };
        let (before, after) = (by_name(self), by_name(now));
        for (name, at) in &before {
            let Some(other) = after.get(name) else {
                found.push(difference(format!("phase `{name}`"), Some("planned"), None));
                continue;
            };
            let (then, now) = (&self.phases[*at], &now.phases[*other]);
            if then.uses != now.uses {
                let what = format!("kind of `{name}`");
                found.push(difference(what, Some(&then.uses), Some(&now.uses)));
            }
            let count = found.len();
            outlooks(name, &then.what, &now.what, found);
            // Where something else differs, that is the reason.
            if let (Some(then), Some(now)) = (&then.told, &now.told)
                && then != now
                && found.len() == count
            {
                let short = |digest: &str| digest.chars().take(16).collect::<String>();
                let what = format!("digest of all that `{name}` is told");
                found.push(difference(what, Some(&short(then)), Some(&short(now))));
            }
        }
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            found.push(difference(format!("phase `{name}`"), None, Some("there now")));
        }
    }
}

/// The JSON Schema of a plan, as published in docs/plan.schema.json.
#[must_use]
pub fn schema() -> Schema {
    schema_for!(PlanFile)
}

/// What differs between two outlooks of one phase; of what follows from something told already, nothing.
fn outlooks(name: &str, then: &Foreseen, now: &Foreseen, found: &mut Vec<Difference>) {
    let count = found.len();
    if then.word() != now.word() {
        let what = format!("outlook of `{name}`");
        found.push(difference(what, Some(then.word()), Some(now.word())));
    }
    if let (Some(then), Some(now)) = (then.decision(), now.decision()) {
        decisions(name, then, now, found);
    }
    let of = |what: &Foreseen| -> BTreeMap<String, (String, String)> {
        // Those that a verdict is against as well: what is compared is what would be tried.
        let changes = what.changes().iter().chain(what.not_kept());
        changes
            .map(|one| (one.target.name().into_owned(), (one.from.clone(), one.to.clone())))
            .collect()
    };
    let (before, after) = (of(then), of(now));
    let explained = found.len() > count;
    for path in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let place = |what: &str| format!("{what} of {path} (`{name}`)");
        match (before.get(path), after.get(path)) {
            (Some((from, to)), Some((is, wanted))) => {
                if from != is {
                    found.push(difference(place("current value"), Some(from), Some(is)));
                }
                if to != wanted && !explained {
                    found.push(difference(place("wanted value"), Some(to), Some(wanted)));
                }
            }
            // What is set already needs no change: the value wanted is the value there is.
            (Some((from, to)), None) if !explained => {
                found.push(difference(place("current value"), Some(from), Some(to)));
            }
            (None, Some((is, wanted))) if !explained => {
                found.push(difference(place("current value"), Some(wanted), Some(is)));
            }
            _ => {}
        }
    }
    if let (Some(then), Some(now)) = (then.verdict(), now.verdict())
        && found.len() == count
    {
        verdicts(name, then, now, found);
    }
}

/// What differs between two verdicts on the same changes.
fn verdicts(
    name: &str,
    then: &ForeseenVerdict,
    now: &ForeseenVerdict,
    found: &mut Vec<Difference>,
) {
    let mut tell = |what: &str, then: Option<&str>, now: Option<&str>| {
        if then != now {
            found.push(difference(format!("{what} of the gate of `{name}`"), then, now));
        }
    };
    if then.word() == now.word() {
        tell("cache key", then.key(), now.key());
    } else {
        tell("verdict", Some(then.word()), Some(now.word()));
    }
}

fn decisions(name: &str, then: &Forethought, now: &Forethought, found: &mut Vec<Difference>) {
    let (mut keys, mut values) = ([None, None], [None, None]);
    for (at, forethought) in [then, now].into_iter().enumerate() {
        match forethought {
            Forethought::Known { value, .. } => values[at] = Some(value.to_string()),
            Forethought::Cached { key, value, .. } => {
                keys[at] = Some(key.clone());
                values[at] = Some(value.to_string());
            }
            Forethought::ToBeMeasured { key, .. } => keys[at].clone_from(key),
            Forethought::Later { .. } => {}
        }
    }
    let mut tell = |what: &str, [then, now]: [Option<String>; 2]| {
        if let (Some(then), Some(now)) = (then, now)
            && then != now
        {
            found.push(difference(format!("{what} of `{name}`"), Some(&then), Some(&now)));
        }
    };
    tell("cache key", keys);
    tell("decision", values);
}

/// What differs between two maps of things that are called `noun`.
fn maps<T: PartialEq + Shown>(
    noun: &str,
    then: &BTreeMap<String, T>,
    now: &BTreeMap<String, T>,
    found: &mut Vec<Difference>,
) {
    for name in then.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (then.get(name), now.get(name));
        if before != after {
            let (before, after) = (before.map(Shown::shown), after.map(Shown::shown));
            let what = format!("{noun} `{name}`");
            found.push(difference(what, before.as_deref(), after.as_deref()));
        }
    }
}

/// How a value is shown in a difference.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for String {
    fn shown(&self) -> String {
        self.clone()
    }
}

impl Shown for Value {
    fn shown(&self) -> String {
        self.as_str().map_or_else(|| self.to_string(), str::to_owned)
    }
}

fn difference(what: String, then: Option<&str>, now: Option<&str>) -> Difference {
    let text = |value: Option<&str>| value.unwrap_or("nothing").to_owned();
    Difference { what, then: text(then), now: text(now) }
}

/// A value without the passwords of URLs in it.
fn hidden(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(redact(text)),
        Value::Array(items) => Value::Array(items.iter().map(hidden).collect()),
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(name, value)| (name.clone(), hidden(value))).collect(),
        ),
        plain => plain.clone(),
    }
}

/// True when a text holds the password of a URL.
#[must_use]
pub fn has_password(text: &str) -> bool {
    redact(text) != text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A plan of these phases.
    fn plan(phases: &Value) -> PlanFile {
        let plan = json!({
            "schema": 3, "version": "1", "created_at": "2026-11-24T12:00:00Z",
            "pipeline": { "name": "p", "path": "p.yaml", "files": {} },
            "options": { "set": [], "only": [], "from": [], "skip": [], "sysroot": "/" },
            "variables": {}, "host": {}, "changes": 0, "to_be_measured": 0,
            "gates_to_be_measured": 0, "end_badly": 0, "phases": phases,
        });
        serde_json::from_value(plan).unwrap()
    }

    fn phase(name: &str, decision: &Value, changes: &[(&str, &str)]) -> Value {
        let change = |(from, to): &(&str, &str)| {
            let target = json!({ "kind": "setting", "path": "/proc/sys/vm/swappiness" });
            json!({ "phase": name, "target": target, "from": from, "to": to })
        };
        let changes: Vec<Value> = changes.iter().map(change).collect();
        json!({ "phase": name, "uses": "k", "outlook": "runs", "decision": decision, "changes": changes })
    }

    fn known(value: i32) -> Value {
        json!({ "is": "known", "told": "", "value": value })
    }

    fn cached(key: &str, value: i32, age: f64) -> Value {
        json!({ "is": "cached", "told": "", "value": value, "key": key, "age_seconds": age, "run": "r" })
    }

    fn measured(key: &str) -> Value {
        json!({ "is": "to_be_measured", "why": "never measured here", "key": key })
    }

    fn told(then: &[Value], now: &[Value]) -> Vec<String> {
        let [then, now] = [then, now].map(|phases| plan(&json!(phases)));
        then.differences(&now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_difference_is_told_once_and_by_its_cause() {
        let set = |from| phase("a", &known(1), &[(from, "10")]);
        let cases = [
            (set("60"), set("33"), "current value of /proc/sys/vm/swappiness (`a`): 60 -> 33"),
            (
                set("60"),
                phase("a", &known(1), &[]),
                "current value of /proc/sys/vm/swappiness (`a`): 60 -> 10",
            ),
            (
                phase("a", &known(1), &[]),
                set("60"),
                "current value of /proc/sys/vm/swappiness (`a`): 10 -> 60",
            ),
            (set("60"), phase("a", &known(2), &[("60", "20")]), "decision of `a`: 1 -> 2"),
            (
                phase("a", &cached("k1", 1, 5.0), &[]),
                phase("a", &cached("k1", 2, 1.0), &[]),
                "decision of `a`: 1 -> 2",
            ),
            (
                phase("a", &measured("k1"), &[]),
                phase("a", &measured("k2"), &[]),
                "cache key of `a`: k1 -> k2",
            ),
            (
                phase("a", &measured("k1"), &[]),
                phase("a", &cached("k1", 2, 1.0), &[]),
                "outlook of `a`: to be measured -> from the cache",
            ),
        ];
        for (then, now, wanted) in cases {
            assert_eq!(told(&[then], &[now]), [wanted]);
        }
    }

    /// A phase that would change a setting from `from`, and what is known of the verdict on it.
    fn gated(from: &str, verdict: &Value) -> Value {
        let mut phase = phase("a", &known(1), &[(from, "10")]);
        phase["verdict"] = verdict.clone();
        phase
    }

    #[test]
    fn a_verdict_that_came_or_went_is_told_unless_its_changes_tell_it() {
        let measured = |key: &str| json!({ "is": "to_be_measured", "why": "", "key": key });
        let of = |verdict: &str, key: &str| json!({ "is": "cached", "verdict": verdict, "told": "", "key": key, "age_seconds": 1.0, "run": "r" });
        let cases = [
            (
                gated("60", &measured("k")),
                gated("60", &of("inconclusive", "k")),
                "verdict of the gate of `a`: to be measured -> not kept",
            ),
            (
                gated("60", &of("helps", "k")),
                gated("60", &of("harms", "k")),
                "verdict of the gate of `a`: kept -> not kept",
            ),
            (
                gated("60", &measured("k")),
                gated("60", &measured("l")),
                "cache key of the gate of `a`: k -> l",
            ),
            (
                gated("60", &of("harms", "k")),
                gated("33", &measured("l")),
                "current value of /proc/sys/vm/swappiness (`a`): 60 -> 33",
            ),
        ];
        for (then, now, wanted) in cases {
            assert_eq!(told(&[then], &[now]), [wanted]);
        }
        let same = gated("60", &of("harms", "k"));
        assert_eq!(told(std::slice::from_ref(&same), std::slice::from_ref(&same)), [""; 0]);
    }

    #[test]
    fn phases_that_came_and_went_are_told_and_the_age_of_a_decision_is_not() {
        let one = |name: &str| phase(name, &known(1), &[]);
        let wanted = ["phase `a`: planned -> nothing", "phase `b`: nothing -> there now"];
        assert_eq!(told(&[one("a")], &[one("b")]), wanted);
        let aged = |age| phase("a", &cached("k", 1, age), &[("60", "10")]);
        assert_eq!(told(&[aged(5.0)], &[aged(7200.0)]), Vec::<String>::new());
    }
}
