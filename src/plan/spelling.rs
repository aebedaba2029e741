//! Numbers and truths in the spelling of the file, where a kind takes them as texts.
//!
//! Which places those are is said by the schema of the kind: a text, a number or a truth, and whichever is as good as
//! its spelling.

use schemars::Schema;
use serde_json::{Map, Value};

/// What a kind is told, in which the spelling takes the place of the value wherever the kind takes any text.
pub(super) fn fit(schema: &Schema, value: Value, spelled: Value) -> Value {
    let schema = schema.as_value();
    let definitions = schema.get("$defs").and_then(Value::as_object);
    Fitter { definitions }.fit(&[schema], value, spelled)
}

struct Fitter<'a> {
    definitions: Option<&'a Map<String, Value>>,
}

impl<'a> Fitter<'a> {
    fn fit(&self, schemas: &[&'a Value], value: Value, spelled: Value) -> Value {
        if schemas.is_empty() || value == spelled {
            return value;
        }
        let mut forms = Vec::new();
        for schema in schemas {
            self.forms(schema, &mut forms);
        }
        match (value, spelled) {
            (Value::Object(value), Value::Object(mut spelled)) => {
                let entries = value.into_iter().map(|(key, value)| {
                    let schemas: Vec<&Value> = forms
                        .iter()
                        .filter_map(|form| {
                            let own = form.get("properties").and_then(|all| all.get(&key));
                            own.or_else(|| form.get("additionalProperties"))
                        })
                        .collect();
                    let value = match spelled.get_mut(&key).map(Value::take) {
                        Some(spelled) => self.fit(&schemas, value, spelled),
                        None => value,
                    };
                    (key, value)
                });
                Value::Object(entries.collect())
            }
            (Value::Array(values), Value::Array(spelled)) => {
                let schemas: Vec<&Value> =
                    forms.iter().filter_map(|form| form.get("items")).collect();
                let items = values.into_iter().zip(spelled);
                Value::Array(
                    items.map(|(value, spelled)| self.fit(&schemas, value, spelled)).collect(),
                )
            }
            (_, spelled @ Value::String(_)) if forms.iter().any(|form| takes_all(form)) => spelled,
            (value, _) => value,
        }
    }

    /// The forms that a value may have, one of which it has.
    fn forms(&self, schema: &'a Value, found: &mut Vec<&'a Value>) {
        found.push(schema);
        let named = schema.get("$ref").and_then(Value::as_str);
        let named = named.and_then(|path| path.strip_prefix("#/$defs/"));
        if let Some(definition) = named.and_then(|name| self.definitions?.get(name)) {
            self.forms(definition, found);
        }
        for several in ["anyOf", "oneOf", "allOf"] {
            let forms = schema.get(several).and_then(Value::as_array);
            forms.into_iter().flatten().for_each(|form| self.forms(form, found));
        }
    }
}

/// Whether a text, a number and a truth are the same to a kind.
fn takes_all(form: &Value) -> bool {
    let Some(types) = form.get("type").and_then(Value::as_array) else { return false };
    ["string", "number", "boolean"].iter().all(|one| types.iter().any(|other| other == one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::phase::standard;

    #[test]
    fn the_spelling_stands_where_a_kind_takes_any_text_and_the_value_elsewhere() {
        let schema = standard().get("command").unwrap().with_schema();
        let value = json!({ "argv": ["a", 1.1], "env": { "A": 777 }, "exit": [16], "stdin": true });
        let spelled = json!({
            "argv": ["a", "1.10"], "env": { "A": "0777" }, "exit": ["0x10"], "stdin": "True",
        });
        let wanted = json!({
            "argv": ["a", "1.10"], "env": { "A": "0777" }, "exit": [16], "stdin": "True",
        });
        assert_eq!(fit(&schema, value, spelled), wanted);
    }
}
