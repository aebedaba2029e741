//! What `db_settings` is told, as texts that PostgreSQL reads, checked as far as no server is needed.

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::database::SealedUrl;
use crate::database::statement;
use crate::phase::WithError;
use crate::secret;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The server, as a user who may change its settings: `postgres://USER@HOST/DATABASE`.
    pub(super) url: SealedUrl,
    /// Settings of PostgreSQL with their values, such as `work_mem: 64MB`; a list for one that takes several names.
    #[schemars(schema_with = "settings_schema")]
    settings: IndexMap<String, Told>,
    /// Whether the server is told to read its files again, which brings into force what needs no restart.
    #[serde(default = "yes")]
    pub(super) reload: bool,
    /// True when a setting that can't be set here is a failure.
    #[serde(default)]
    pub(super) require: bool,
}

fn yes() -> bool {
    true
}

/// A value as YAML has it, in texts that PostgreSQL reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
enum Told {
    One(String),
    List(Vec<String>),
}

impl TryFrom<Value> for Told {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let one = |value: Value| match value {
            Value::Bool(on) => Ok(if on { "on" } else { "off" }.to_owned()),
            Value::Number(number) => Ok(number.to_string()),
            Value::String(text) => Ok(text),
            _ => Err("a value is a text, a number, `true`, `false`, or a list of these"),
        };
        match value {
            Value::Array(all) => all.into_iter().map(one).collect::<Result<_, _>>().map(Self::List),
            value => one(value).map(Self::One),
        }
    }
}

fn settings_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "pattern": r"^[a-z0-9_]+(\.[a-z0-9_]+)*$" },
        "additionalProperties": {
            "type": ["string", "number", "boolean", "array"],
            "items": { "type": ["string", "number", "boolean"] },
        },
    })
}

/// A value that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    /// As PostgreSQL reads it.
    pub(super) value: String,
}

impl With {
    /// Everything that is wanted, and everything that is wrong with it.
    pub(super) fn wanted(&self) -> (Vec<Wanted>, Vec<WithError>) {
        let (mut wanted, mut wrong) = (Vec::new(), Vec::new());
        for (name, told) in &self.settings {
            match text(name, told) {
                Ok(value) => wanted.push(Wanted { name: name.clone(), value }),
                Err((message, help)) => {
                    let path = vec!["settings".to_owned(), name.clone()];
                    wrong.push(WithError { path, message, help: Some(help.to_owned()) });
                }
            }
        }
        if self.settings.is_empty() {
            wrong.push(
                WithError::at("settings", "there is nothing to set")
                    .help("write settings of PostgreSQL, such as `work_mem: 64MB`"),
            );
        }
        (wanted, wrong)
    }
}

fn text(name: &str, told: &Told) -> Result<String, (String, &'static str)> {
    if let Some(reason) = statement::forbidden(name) {
        return Err((reason, "write it as `SHOW ALL` lists it, in lower case"));
    }
    let value = match told {
        Told::One(text) => text.clone(),
        Told::List(_) if !statement::is_list(name) => {
            return Err((format!("{name} takes one value"), "write one value"));
        }
        Told::List(elements) => statement::list(name, elements),
    };
    if secret::stands_in(&value) {
        let told = "a secret would stand in the journal, for others to read";
        return Err((told.to_owned(), "let PostgreSQL read the secret from a file of its own"));
    }
    statement::set(name, &value)
        .map(|_| value)
        .map_err(|reason| (reason, "write a value that PostgreSQL takes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(settings: &Value) -> With {
        serde_json::from_value(json!({ "url": "postgres://a@b/c", "settings": settings })).unwrap()
    }

    #[test]
    fn values_of_every_form_become_texts_that_postgres_reads() {
        let (wanted, wrong) = with(&json!({
            "work_mem": "64MB", "random_page_cost": 1.1, "max_parallel_workers": 4, "jit": false,
            "search_path": ["$user", "public"], "log_destination": ["stderr", "csvlog"],
        }))
        .wanted();
        assert_eq!(wrong, []);
        let values: Vec<&str> = wanted.iter().map(|one| &*one.value).collect();
        assert_eq!(values, ["64MB", "1.1", "4", "off", "\"$user\", public", "stderr, csvlog"]);
    }

    #[test]
    fn a_value_that_is_none_is_told_in_plain_words() {
        let settings = json!({ "url": "postgres://a@b/c", "settings": { "work_mem": { "a": 1 } } });
        let error = serde_json::from_value::<With>(settings).unwrap_err().to_string();
        assert!(error.contains("a value is a text, a number"), "{error}");
    }

    #[test]
    fn what_can_be_no_setting_of_postgres_is_told_at_its_key() {
        let marker = secret::Source::Env("PW".to_owned()).marker();
        for (settings, told) in [
            (json!({}), "nothing to set"),
            (json!({ "Work_Mem": "64MB" }), "lower-case"),
            (json!({ "a; b": "1" }), "not the name"),
            (json!({ "work_mem": ["1", 2] }), "takes one value"),
            (json!({ "search_path": [] }), "none of them empty"),
            (json!({ "search_path": "" }), "none of them empty"),
            (json!({ "application_name": "a\nb" }), "one line"),
            (json!({ "primary_conninfo": "x" }), "may hold a password"),
            (json!({ "cluster_name": marker }), "a secret would stand in the journal"),
        ] {
            let (_, wrong) = with(&settings).wanted();
            assert_eq!(wrong.len(), 1, "{settings}");
            assert!(wrong[0].message.contains(told), "{wrong:?}");
        }
    }
}
