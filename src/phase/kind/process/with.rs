//! What `process` is told: which process, and what it shall have; checked as far as no host is needed.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::diagnostic::did_you_mean;
use crate::host::attributes::attribute::{
    Attribute, IoClass, IoPriority, Limits, Resource, bound, cpus_among, order,
};
use crate::host::{Sysroot, cpu_list};
use crate::phase::{PhaseError, WithError, Word};

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The number of the process, such as `{{ phases.service_startup.pid }}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<Word>,
    /// In place of `pid`, the file whose first line is that number, such as `/run/mysqld/mysqld.pid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid_file: Option<String>,
    /// The CPUs that all its threads may run on, such as `0-3,8`, or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<Word>,
    /// The niceness of all its threads, from -20 (first served) to 19.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -20, max = 19))]
    nice: Option<i32>,
    /// How the input and output of all its threads is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    io: Option<Io>,
    /// How readily the kernel ends it when memory runs out, from -1000 (never) to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1000, max = 1000))]
    oom_score_adj: Option<i32>,
    /// Limits by their names as in prlimit(1): a number or `unlimited`, and the hard limit is raised to it where it is
    /// lower; or both, as `1024:4096`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(schema_with = "limits_schema")]
    limits: IndexMap<String, Word>,
    /// True when an attribute that can't be set here is a failure.
    #[serde(default)]
    pub(super) require: bool,
}

/// How input and output is served.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Io {
    /// The class.
    class: IoClass,
    /// The level within the class, from 0 (first served) to 7; 4 unless told. `idle` has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 7))]
    level: Option<u8>,
}

fn limits_schema(_: &mut SchemaGenerator) -> Schema {
    let value = json!({ "type": ["integer", "string"] });
    let known: Map<String, Value> =
        Resource::ALL.iter().map(|one| (one.name().to_owned(), value.clone())).collect();
    json_schema!({ "type": "object", "properties": known, "additionalProperties": false })
}

/// Whose attributes they are.
#[derive(Debug)]
pub(super) enum Whose {
    Pid(u32),
    File(String),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "process {pid}"),
            Self::File(path) => write!(f, "the process of {path}"),
        }
    }
}

/// An attribute that is wanted.
#[derive(Debug)]
pub(super) enum Wanted {
    /// In the form of the kernel.
    Value(Attribute, String),
    /// A soft limit; the hard one is raised to it where it is lower.
    Soft(Resource, Option<u64>),
}

impl Wanted {
    pub(super) fn attribute(&self) -> Attribute {
        match self {
            Self::Value(attribute, _) => *attribute,
            Self::Soft(resource, _) => Attribute::Limit(*resource),
        }
    }

    /// The value that it shall have where it has `now`, on a host on which these CPUs are online.
    pub(super) fn value(&self, now: Option<&str>, online: &[usize]) -> String {
        match self {
            Self::Value(Attribute::Cpus, list) => match cpu_list::parse(list) {
                // One that is not there is told by whoever looks, and not passed over.
                Some(cpus) if cpus.iter().all(|cpu| online.contains(cpu)) => {
                    cpus_among(online, cpus)
                }
                _ => list.clone(),
            },
            Self::Value(_, value) => value.clone(),
            Self::Soft(_, soft) => {
                let hard = now.and_then(Limits::parse).map_or(*soft, |limits| limits.hard);
                let hard = if order(hard) < order(*soft) { *soft } else { hard };
                Limits { soft: *soft, hard }.to_string()
            }
        }
    }
}

impl With {
    pub(super) fn whose(&self) -> Result<Whose, WithError> {
        match (&self.pid, &self.pid_file) {
            (Some(pid), None) => match pid.trim().parse::<u32>() {
                Ok(number) if number > 0 && i32::try_from(number).is_ok() => Ok(Whose::Pid(number)),
                _ => Err(WithError::at("pid", format!("`{}` is not a process", pid.as_str()))
                    .help("write its number, or a `pid_file`")),
            },
            (None, Some(path)) if path.starts_with('/') => Ok(Whose::File(path.clone())),
            (None, Some(path)) => Err(WithError::at("pid_file", format!("`{path}` is not a path"))
                .help("write it from the root on: `/run/mysqld/mysqld.pid`")),
            (Some(_), Some(_)) => {
                Err(WithError::at("pid_file", "there is a `pid` as well")
                    .help("leave one of them out"))
            }
            (None, None) => Err(WithError {
                path: Vec::new(),
                message: "there is no process".to_owned(),
                help: Some("write `pid: 4711`, or `pid_file: /run/mysqld/mysqld.pid`".to_owned()),
            }),
        }
    }

    /// What is wanted, as far as nothing is wrong with it.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        self.told().into_iter().filter_map(Result::ok).collect()
    }

    /// Everything that is wrong.
    pub(super) fn wrong(&self) -> Vec<WithError> {
        let told = self.told();
        let nothing = told.is_empty().then(|| WithError {
            path: Vec::new(),
            message: "there is nothing to set".to_owned(),
            help: Some("write one of `cpus`, `nice`, `io`, `oom_score_adj`, `limits`".to_owned()),
        });
        let wrong = told.into_iter().filter_map(Result::err);
        self.whose().err().into_iter().chain(nothing).chain(wrong).collect()
    }

    fn told(&self) -> Vec<Result<Wanted, WithError>> {
        let plain = |key: &'static str, attribute: Attribute, text: &str, help: &str| {
            let value = attribute.canonical(text).ok_or_else(|| {
                WithError::at(key, format!("`{text}` is no value of `{key}`")).help(help)
            });
            value.map(|value| Wanted::Value(attribute, value))
        };
        let cpus = self
            .cpus
            .as_ref()
            .map(|cpus| plain("cpus", Attribute::Cpus, cpus.as_str(), "write it like `0,2-3`"));
        let nice = self.nice.map(|nice| {
            plain("nice", Attribute::Nice, &nice.to_string(), "niceness goes from -20 to 19")
        });
        let oom = self.oom_score_adj.map(|score| {
            let help = "it goes from -1000 to 1000";
            plain("oom_score_adj", Attribute::OomScoreAdj, &score.to_string(), help)
        });
        let limits = self.limits.iter().map(|(name, value)| limit(name, value.as_str()));
        let io = self.io.as_ref().map(io);
        cpus.into_iter().chain(nice).chain(io).chain(oom).chain(limits).collect()
    }
}

fn io(told: &Io) -> Result<Wanted, WithError> {
    let level = u16::from(told.level.unwrap_or(4));
    let wrong = |message: &str, help: &str| {
        let path = vec!["io".to_owned(), "level".to_owned()];
        Err(WithError { path, message: message.to_owned(), help: Some(help.to_owned()) })
    };
    let priority = match (told.class, told.level) {
        (IoClass::Idle, Some(_)) => return wrong("the class idle has no levels", "leave it out"),
        (_, Some(8..)) => return wrong("levels go from 0 to 7", "0 is served first"),
        (IoClass::Idle, None) => IoPriority::Idle,
        (IoClass::BestEffort, _) => IoPriority::BestEffort(level),
        (IoClass::Realtime, _) => IoPriority::Realtime(level),
    };
    Ok(Wanted::Value(Attribute::Io, priority.to_string()))
}

fn limit(name: &str, text: &str) -> Result<Wanted, WithError> {
    let path = vec!["limits".to_owned(), name.to_owned()];
    let Some(resource) = Resource::ALL.into_iter().find(|one| one.name() == name) else {
        let help = did_you_mean(name, Resource::ALL.iter().map(|one| one.name()));
        return Err(WithError { path, message: format!("unknown limit `{name}`"), help });
    };
    if let Some(soft) = bound(text) {
        return Ok(Wanted::Soft(resource, soft));
    }
    let attribute = Attribute::Limit(resource);
    let value = attribute.canonical(text).ok_or_else(|| WithError {
        path,
        message: format!("`{text}` is no limit"),
        help: Some(
            "write a number or `unlimited`, or both limits as `1024:4096`, the lower one first"
                .to_owned(),
        ),
    });
    value.map(|value| Wanted::Value(attribute, value))
}

/// The number in a file, and the user whose process it must be where root is not the only one who could have written it.
pub(super) fn read_pid_file(root: &Sysroot, path: &str) -> Result<(u32, Option<u32>), PhaseError> {
    let text = root.read(path).map_err(|error| {
        let told = format!("there is no process number in {path}");
        PhaseError::because(told, error).help("is it running?")
    })?;
    let number = text.lines().next().unwrap_or_default().trim().parse::<u32>();
    let pid = number.ok().filter(|pid| *pid > 0 && i32::try_from(*pid).is_ok());
    let pid = pid.ok_or_else(|| {
        PhaseError::new(format!("the first line of {path} is not the number of a process"))
    })?;
    if !nix::unistd::geteuid().is_root() || !root.is_live() {
        return Ok((pid, None));
    }
    let failed =
        |error: &dyn fmt::Display| PhaseError::new(format!("could not look at {path}: {error}"));
    let place = root.path(path).map_err(|error| failed(&error))?;
    let file = std::fs::metadata(place).map_err(|error| failed(&error))?;
    if file.mode() & 0o002 != 0 || (file.mode() & 0o020 != 0 && file.gid() != 0) {
        let told = format!("{path} could have been written by others than its owner");
        return Err(PhaseError::new(told).help(format!("chmod go-w {path}")));
    }
    Ok((pid, Some(file.uid()).filter(|owner| *owner != 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::from_value;

    fn with(value: Value) -> With {
        from_value(value).unwrap()
    }

    #[test]
    fn what_is_wrong_is_told_all_at_once_and_with_its_place() {
        let with = with(json!({
            "cpus": "x", "nice": 20, "io": { "class": "idle", "level": 3 }, "oom_score_adj": -1001,
            "limits": { "nofiles": 3, "core": "2:1", "stack": "unlimited" },
        }));
        let told: Vec<String> = with
            .wrong()
            .into_iter()
            .map(|one| format!("{}: {}", one.path.join("."), one.message))
            .collect();
        assert_eq!(
            told,
            [
                ": there is no process",
                "cpus: `x` is no value of `cpus`",
                "nice: `20` is no value of `nice`",
                "io.level: the class idle has no levels",
                "oom_score_adj: `-1001` is no value of `oom_score_adj`",
                "limits.nofiles: unknown limit `nofiles`",
                "limits.core: `2:1` is no limit",
            ]
        );
        assert_eq!(with.wanted().len(), 1);
    }

    #[test]
    fn a_soft_limit_raises_the_hard_one_only_where_that_is_lower() {
        let with = with(
            json!({ "pid": 1, "limits": { "nofile": 4096, "core": "unlimited", "as": "1:2" } }),
        );
        let wanted = with.wanted();
        assert_eq!(wanted[0].value(Some("1024:8192"), &[]), "4096:8192");
        assert_eq!(wanted[0].value(Some("1024:1024"), &[]), "4096:4096");
        assert_eq!(wanted[0].value(Some("1024:unlimited"), &[]), "4096:unlimited");
        assert_eq!(wanted[1].value(Some("0:9"), &[]), "unlimited:unlimited");
        assert_eq!(wanted[2].value(Some("0:9"), &[]), "1:2");
    }

    #[test]
    fn all_cpus_that_are_online_are_all_and_one_that_is_not_is_not_passed_over() {
        let told = |cpus: Value, online: &[usize]| {
            with(json!({ "pid": 1, "cpus": cpus })).wanted()[0].value(None, online)
        };
        assert_eq!(told(json!("0-1"), &[0, 1]), "all");
        assert_eq!(told(json!("0-2"), &[0, 1]), "0-2");
        assert_eq!(told(json!(1), &[0, 1]), "1");
        assert_eq!(told(json!("all"), &[0, 1]), "all");
    }

    #[test]
    fn a_process_is_named_by_a_number_or_by_a_file_and_not_by_both() {
        let whose = |value: Value| with(value).whose().map(|whose| whose.to_string());
        assert_eq!(whose(json!({ "pid": 42 })).unwrap(), "process 42");
        assert_eq!(whose(json!({ "pid": "42" })).unwrap(), "process 42");
        assert_eq!(whose(json!({ "pid_file": "/run/x" })).unwrap(), "the process of /run/x");
        for wrong in [
            json!({ "pid": 0 }),
            json!({ "pid": "self" }),
            json!({ "pid_file": "x" }),
            json!({ "pid": 1, "pid_file": "/x" }),
        ] {
            assert!(whose(wrong).is_err());
        }
    }
}
