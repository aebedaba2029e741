//! The JSON Schema of a pipeline with what each kind is told: as published in pipelines/pipeline.schema.json.
//!
//! The form of the file comes from `pipeline`, that of each `with` from its kind. Here they are joined: a phase's
//! `with` has the form of the kind that it `uses`, and wherever a kind wants a value, an expression will do.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::phase::{AnyKind, Registry};
use crate::pipeline::schema::{ExpressionForm, PhaseForm, PipelineForm, SecretForm};

/// The JSON Schema of pipelines that use the kinds of a registry.
#[must_use]
pub fn schema(registry: &Registry) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    generator.subschema_for::<PhaseForm>();
    generator.subschema_for::<ExpressionForm>();
    generator.subschema_for::<SecretForm>();
    let mut root = generator.into_root_schema_for::<PipelineForm>().to_value();
    // Outside of `with`, quantities are read as they stand.
    each(&mut root, &mut without_expressions);
    let forms = registry.iter().map(|kind| Form::of(kind.as_ref())).collect::<Vec<_>>();
    let phase = &mut root["$defs"]["phase"];
    let kinds = registry
        .iter()
        .map(|kind| json!({ "const": kind.name(), "description": kind.about() }))
        .collect::<Vec<_>>();
    let uses = &mut phase["properties"]["uses"];
    *uses = json!({ "description": uses["description"], "anyOf": kinds });
    phase["allOf"] = forms.iter().map(Form::shapes).collect();
    let whole: Vec<Value> = forms.iter().filter_map(Form::requires).collect();
    root["if"] = json!({ "not": { "required": ["extends"] } });
    root["then"] = json!({
        "required": ["phases"],
        "properties": { "phases": {
            "minProperties": 1,
            // Only a file that extends another has anything to take away.
            "additionalProperties": {
                "type": "object", "required": ["uses"], "allOf": whole,
                "additionalProperties": { "not": { "type": "null" } },
            },
        } },
    });
    if let Some(definitions) = root["$defs"].as_object_mut() {
        definitions.extend(forms.into_iter().flat_map(|form| form.definitions));
    }
    root
}

/// What a kind is told, as definitions whose names hold its own.
struct Form {
    kind: &'static str,
    required: Option<Value>,
    definitions: Map<String, Value>,
}

impl Form {
    fn of(kind: &dyn AnyKind) -> Self {
        let name = kind.name();
        let mut with = kind.with_schema().to_value();
        each(&mut with, &mut |schema| point_into(schema, name));
        open(&mut with);
        let mut definitions = Map::new();
        let mut required = None;
        if let Some(with) = with.as_object_mut() {
            with.remove("$schema");
            with.remove("title");
            with.insert("description".to_owned(), json!(format!("What `{name}` is told.")));
            // A file that extends another one may say the rest only; see `requires`.
            required = with.remove("required");
            if let Some(Value::Object(inner)) = with.remove("$defs") {
                definitions.extend(inner.into_iter().map(|(key, mut schema)| {
                    open(&mut schema);
                    (format!("with.{name}.{key}"), schema)
                }));
            }
        }
        definitions.insert(format!("with.{name}"), with);
        Self { kind: name, required, definitions }
    }

    fn when_used(&self, then: &Value) -> Value {
        let used =
            json!({ "required": ["uses"], "properties": { "uses": { "const": self.kind } } });
        json!({ "if": used, "then": then })
    }

    /// The `with` of a phase that uses the kind.
    fn shapes(&self) -> Value {
        let form = json!({ "$ref": format!("#/$defs/with.{}", self.kind) });
        self.when_used(
            &json!({ "properties": { "with": { "anyOf": [form, { "type": "null" }] } } }),
        )
    }

    /// What the `with` of such a phase must have, when nothing is extended.
    fn requires(&self) -> Option<Value> {
        let required = self.required.as_ref()?;
        let then =
            json!({ "required": ["with"], "properties": { "with": { "required": required } } });
        Some(self.when_used(&then))
    }
}

/// Calls `visit` with a schema and every schema in it.
fn each(schema: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Object(map) => {
            visit(map);
            map.values_mut().for_each(|inner| each(inner, visit));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| each(inner, visit)),
        _ => {}
    }
}

/// A reference to a definition of a kind's own, after that has got the kind's name.
fn point_into(schema: &mut Map<String, Value>, kind: &str) {
    if let Some(Value::String(target)) = schema.get_mut("$ref")
        && let Some(name) = target.strip_prefix("#/$defs/")
    {
        *target = format!("#/$defs/with.{kind}.{name}");
    }
}

/// Patterns of quantities let an expression pass; where none is evaluated, they must not.
fn without_expressions(schema: &mut Map<String, Value>) {
    if let Some(Value::String(pattern)) = schema.get_mut("pattern")
        && pattern.starts_with('^')
    {
        *pattern = pattern.replace(r"|\{\{", "");
    }
}

/// Opens every value in a schema to expressions, and texts to secrets; a key of a map may be taken away with `null`.
fn open(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for (key, inner) in map {
        match (key.as_str(), inner) {
            ("properties", Value::Object(properties)) => {
                for property in properties.values_mut() {
                    open(property);
                    accept(property, true);
                }
            }
            ("additionalProperties" | "items", inner @ Value::Object(_)) => {
                open(inner);
                accept(inner, key == "additionalProperties");
            }
            ("prefixItems", Value::Array(items)) => {
                for item in items {
                    open(item);
                    accept(item, false);
                }
            }
            ("anyOf" | "oneOf" | "allOf", Value::Array(forms)) => forms.iter_mut().for_each(open),
            _ => {}
        }
    }
}

/// Makes of the schema of a value one that an expression meets as well. What it says of the value stays in front.
fn accept(schema: &mut Value, is_key: bool) {
    let Value::Object(map) = schema else { return };
    let is = |wanted: &str| {
        let of = map.get("type").unwrap_or(&Value::Null);
        of == wanted || of.as_array().is_some_and(|types| types.contains(&json!(wanted)))
    };
    let (is_text, may_be_null) = (is("string"), is("null"));
    let mut forms = vec![json!({ "$ref": "#/$defs/expression" })];
    if is_text {
        forms.push(json!({ "$ref": "#/$defs/secret" }));
    }
    if is_key && !may_be_null {
        forms.push(json!({ "type": "null" }));
    }
    let mut outer = Map::new();
    for told in ["description", "default"] {
        if let Some(value) = map.remove(told) {
            outer.insert(told.to_owned(), value);
        }
    }
    // Anything at all: an expression is among it.
    if !map.is_empty() {
        forms.insert(0, Value::Object(std::mem::take(map)));
        outer.insert("anyOf".to_owned(), Value::Array(forms));
    }
    *map = outer;
}
