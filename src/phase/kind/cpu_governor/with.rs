//! What `cpu_governor` is told: a few settings by keys of their own, and any other by name or by file.
//!
//! All of it becomes one list of wanted values in the form of the kernel, checked as far as no host is needed.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::change::Target;
use crate::diagnostic::did_you_mean;
use crate::host::catalog::Known;
use crate::host::relation;
use crate::host::setting::Setting;
use crate::phase::WithError;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The governor that every frequency policy shall have, such as `performance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    governor: Option<String>,
    /// What hardware that chooses its frequency itself shall prefer, such as `performance` or `balance_power`.
    #[serde(skip_serializing_if = "Option::is_none")]
    energy_preference: Option<String>,
    /// The same hint for older hardware, from 0 (speed) to 15 (saving power).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 15))]
    energy_bias: Option<u32>,
    /// The lowest frequency that may be chosen, with its unit: `800MHz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_frequency: Option<String>,
    /// The highest frequency that may be chosen, with its unit: `3.2GHz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_frequency: Option<String>,
    /// Whether CPUs may run above their base frequency.
    #[serde(skip_serializing_if = "Option::is_none")]
    boost: Option<bool>,
    /// Which cores of a hybrid machine the settings above are for; `boost` is for all.
    #[serde(default, skip_serializing_if = "Cores::is_all")]
    pub(super) cores: Cores,
    /// The value that `vm.swappiness` shall have, from 0 to 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 200))]
    swappiness: Option<u32>,
    /// Other settings with their values: by name, as `trueup host --settings` lists them, or by file.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(schema_with = "settings_schema")]
    settings: IndexMap<String, Scalar>,
    /// True when the settings are to be set again at each start of the host, by systemd.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) persist: bool,
    /// True when a setting that can't be set here is a failure.
    #[serde(default)]
    pub(super) require: bool,
}

/// Cores of a hybrid machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cores {
    /// All.
    #[default]
    All,
    /// All but the weakest.
    Performance,
    /// The weakest.
    Efficiency,
}

impl Cores {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// A value as YAML has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Whole(i64),
    Switch(bool),
    Text(String),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

fn settings_schema(_: &mut SchemaGenerator) -> Schema {
    let value = json!(["string", "integer", "boolean"]);
    let known: Map<String, Value> = Known::all()
        .iter()
        .map(|known| {
            (known.name.to_owned(), json!({ "type": value, "description": known.meaning }))
        })
        .collect();
    json_schema!({
        "type": "object",
        "properties": known,
        "patternProperties": { "^/(sys|proc/sys)/": { "type": value } },
        "additionalProperties": false,
    })
}

/// A value that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// Keys from the top of `with`.
    pub(super) key: Vec<String>,
    pub(super) what: What,
    /// In the form of the kernel.
    pub(super) value: String,
}

/// What a value is wanted of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Known(&'static Known),
    /// The name under which errors tell it is the last of the keys.
    File,
}

impl Wanted {
    /// The name of the setting, or its file.
    pub(super) fn name(&self) -> &str {
        match self.what {
            What::Known(known) => known.name,
            What::File => self.key.last().map_or("", String::as_str),
        }
    }
}

impl With {
    /// Keys with their values as they were written, in the order in which they are told.
    fn told(&self) -> Vec<(Vec<String>, &'static str, String)> {
        let own = [
            ("governor", "governor", self.governor.clone()),
            ("energy_preference", "energy_preference", self.energy_preference.clone()),
            ("energy_bias", "energy_bias", self.energy_bias.map(|bias| bias.to_string())),
            ("min_frequency", "min_frequency", self.min_frequency.clone()),
            ("max_frequency", "max_frequency", self.max_frequency.clone()),
            ("boost", "boost", self.boost.map(|on| on.to_string())),
            ("swappiness", "vm.swappiness", self.swappiness.map(|value| value.to_string())),
        ];
        own.into_iter()
            .filter_map(|(key, name, value)| Some((vec![key.to_owned()], name, value?)))
            .collect()
    }

    /// Everything that is wanted, and everything that is wrong with it.
    pub(super) fn wanted(&self) -> (Vec<Wanted>, Vec<WithError>) {
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut wrong = Vec::new();
        let own = self
            .told()
            .into_iter()
            .filter_map(|(key, name, value)| Some((key, What::Known(Known::find(name)?), value)));
        let mut all: Vec<(Vec<String>, What, String)> = own.collect();
        for (name, value) in &self.settings {
            let key = vec!["settings".to_owned(), name.clone()];
            match what(name) {
                Ok(what) => all.push((key, what, value.text())),
                Err((message, help)) => wrong.push(WithError { path: key, message, help }),
            }
        }
        for (key, what, told) in all {
            match value(what, &told) {
                Ok(value) => {
                    let one = Wanted { key, what, value };
                    if let Some(other) = wanted.iter().find(|other| other.name() == one.name()) {
                        let message = format!(
                            "{} is set twice: as `{}`, too",
                            one.name(),
                            other.key.join(".")
                        );
                        wrong.push(WithError {
                            path: one.key,
                            message,
                            help: Some("leave one of them out".to_owned()),
                        });
                    } else {
                        wanted.push(one);
                    }
                }
                Err(message) => {
                    let help = match what {
                        What::Known(known) => format!("it is {}", known.meaning),
                        What::File => "what the kernel takes is in its documentation".to_owned(),
                    };
                    wrong.push(WithError { path: key, message, help: Some(help) });
                }
            }
        }
        wrong.extend(related(&wanted));
        (wanted, wrong)
    }
}

/// What a key of `settings` stands for.
fn what(name: &str) -> Result<What, (String, Option<String>)> {
    if name.starts_with('/') {
        if let Some(reason) = Target::setting(name).forbidden() {
            let help = "write the file without `..`, as `/proc/sys/vm/swappiness`".to_owned();
            return Err((reason, Some(help)));
        }
        return Ok(Known::at_path(name).map_or(What::File, What::Known));
    }
    Known::find(name).map(What::Known).ok_or_else(|| {
        let near = did_you_mean(name, Known::all().iter().map(|known| known.name));
        let near = near.filter(|near| near.starts_with("did you mean"));
        let help = if name.contains('.') {
            let file = Setting::sysctl(name).path;
            format!("one that is not known by name is named by its file, as `{file}`; `trueup host --settings` lists the names")
        } else {
            "`trueup host --settings` lists the names; any other setting is named by its file".to_owned()
        };
        (format!("unknown setting `{name}`"), Some(near.unwrap_or(help)))
    })
}

/// A value in the form of the kernel.
fn value(what: What, told: &str) -> Result<String, String> {
    match what {
        What::Known(known) => known.kernel_form(told).map_err(|error| error.to_string()),
        What::File => match told {
            "true" => Ok("1".to_owned()),
            "false" => Ok("0".to_owned()),
            text if text.trim().is_empty() || text.contains(['\n', '\0']) => {
                Err("a value is one line that is not empty".to_owned())
            }
            text => Ok(text.trim().to_owned()),
        },
    }
}

/// What values that are wanted say against each other, each at its key.
fn related(wanted: &[Wanted]) -> Vec<WithError> {
    let known = |wanted: &Wanted| match wanted.what {
        What::Known(known) => Some((known.name, wanted.value.clone())),
        What::File => None,
    };
    let values: BTreeMap<&'static str, String> = wanted.iter().filter_map(known).collect();
    let at = |name: &str| {
        let one = wanted.iter().find(|wanted| wanted.name() == name);
        one.map_or_else(Vec::new, |wanted| wanted.key.clone())
    };
    let broken = relation::among(&values).into_iter();
    broken
        .map(|broken| WithError {
            path: at(broken.name),
            message: broken.message,
            help: Some("change one of the two, or leave it out".to_owned()),
        })
        .collect()
}
