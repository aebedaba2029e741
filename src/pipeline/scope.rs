//! What expressions can see, ready for any number of them: the environment, facts of the host, variables, what phases
//! have decided, and which of the phases made by `matrix` it is.
//!
//! What all phases see alike is made ready once and shared. A number has two forms here: its value, and how the file
//! spells it. Evaluates nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::value::{Enumerator, Object, Serde, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::{Map, Value};

use super::model::Choice;
use crate::secret;

/// The roots that see numbers, and what stands for each where they are seen as the file spells them. Both are of one
/// length, so that the places in an expression stay the same.
pub(super) const SPELLED: [(&str, &str); 2] = [("vars", "_var"), ("matrix", "_matri")];

/// What expressions can see.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    env: minijinja::Value,
    host: minijinja::Value,
    facts: Arc<Value>,
    vars: Arc<Map<String, Value>>,
    names: Arc<Names>,
    /// The variables that the file spells differently, so spelled.
    spelled: Arc<Names>,
    phases: minijinja::Value,
    matrix: Vec<Choice>,
}

impl Scope {
    /// A scope without variables. A variable of the environment that is nothing (`null`) is one whose value is no text.
    #[must_use]
    pub fn new(env: &Map<String, Value>, host: Value) -> Self {
        let env: BTreeMap<String, minijinja::Value> = env
            .iter()
            .map(|(name, value)| {
                let value = if value.is_null() { no_text(name) } else { seen(value) };
                (name.clone(), value)
            })
            .collect();
        let nothing = seen(&Value::Object(Map::new()));
        Self {
            env: env.into(),
            host: seen(&host),
            facts: host.into(),
            phases: nothing,
            ..Self::default()
        }
    }

    /// Gives a variable its value, and how the file spells that where it differs.
    pub fn set(&mut self, name: &str, value: Value, spelled: Option<&Value>) {
        Arc::make_mut(&mut self.names).insert(name, &value);
        if let Some(spelled) = spelled.filter(|spelled| **spelled != value) {
            Arc::make_mut(&mut self.spelled).insert(name, spelled);
        }
        Arc::make_mut(&mut self.vars).insert(name.to_owned(), value);
    }

    /// The same for a phase that sees what others have decided, and perhaps is one of those made by `matrix`.
    #[must_use]
    pub fn seeing(&self, phases: Map<String, Value>, matrix: &[Choice]) -> Self {
        Self { phases: seen(&Value::Object(phases)), matrix: matrix.to_vec(), ..self.clone() }
    }

    /// The facts of the host.
    #[must_use]
    pub fn facts(&self) -> &Value {
        &self.facts
    }

    /// The variables that have a value.
    #[must_use]
    pub fn vars(&self) -> &Map<String, Value> {
        &self.vars
    }

    /// The scope for any number of expressions.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let vars = minijinja::Value::from_dyn_object(Arc::clone(&self.names));
        let (over, base) = (Arc::clone(&self.spelled), Arc::clone(&self.names));
        let spelled = minijinja::Value::from_object(Overlay { over, base });
        let shared = minijinja::context! {
            env => self.env.clone(), host => self.host.clone(), vars => vars,
            phases => self.phases.clone(), _var => spelled,
        };
        let spells = !self.spelled.0.is_empty();
        Frame { shared, context: minijinja::Value::default(), spells }.with_matrix(&self.matrix)
    }
}

/// What expressions can see, as the engine of expressions sees it.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// What all phases see.
    shared: minijinja::Value,
    pub(super) context: minijinja::Value,
    /// Whether anything is spelled differently than its value.
    pub(super) spells: bool,
}

impl Frame {
    /// The same for one of the phases that `matrix` made.
    #[must_use]
    pub fn with_matrix(&self, matrix: &[Choice]) -> Self {
        let values: BTreeMap<String, minijinja::Value> =
            matrix.iter().map(|choice| (choice.axis.clone(), seen(&choice.value))).collect();
        let texts: BTreeMap<String, minijinja::Value> = matrix
            .iter()
            .map(|choice| (choice.axis.clone(), minijinja::Value::from(choice.text.as_str())))
            .collect();
        let shared = self.shared.clone();
        let context = minijinja::context! { matrix => values, _matri => texts, ..shared.clone() };
        let spells = self.spells || matrix.iter().any(|choice| !choice.value.is_string());
        Self { shared, context, spells }
    }
}

/// A value as the engine of expressions sees it.
fn seen(value: &Value) -> minijinja::Value {
    minijinja::Value::from(Serde(value))
}

/// What is said by whoever uses a variable of the environment that is no text.
fn no_text(name: &str) -> minijinja::Value {
    let told =
        format!("the value of the environment variable `{name}` is not UTF-8, so it is no text");
    Error::new(ErrorKind::InvalidOperation, told).into()
}

/// Whether the marker of a secret stands anywhere in a value.
pub(super) fn holds_marker(value: &minijinja::Value) -> bool {
    match value.kind() {
        ValueKind::String => value.as_str().is_some_and(secret::stands_in),
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter().is_ok_and(|mut items| items.any(|item| holds_marker(&item)))
        }
        ValueKind::Map => value.try_iter().is_ok_and(|mut keys| {
            keys.any(|key| {
                holds_marker(&key) || value.get_item(&key).is_ok_and(|item| holds_marker(&item))
            })
        }),
        _ => false,
    }
}

/// Variables by their names, and whether a secret stands in each.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(IndexMap<String, (minijinja::Value, bool)>);

impl Names {
    fn insert(&mut self, name: &str, value: &Value) {
        let value = seen(value);
        let is_sealed = holds_marker(&value);
        self.0.insert(name.to_owned(), (value, is_sealed));
    }

    /// Whether a secret stands in a variable; nothing of one that is not there.
    pub(super) fn is_sealed(&self, name: &str) -> Option<bool> {
        self.0.get(name).map(|(_, is_sealed)| *is_sealed)
    }

    fn value(&self, name: &str) -> Option<minijinja::Value> {
        self.0.get(name).map(|(value, _)| value.clone())
    }
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        self.value(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<minijinja::Value> {
        self.value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(minijinja::Value::from).collect())
    }
}

/// Variables laid over others.
#[derive(Debug)]
struct Overlay {
    over: Arc<Names>,
    base: Arc<Names>,
}

impl Object for Overlay {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let name = key.as_str()?;
        self.over.value(name).or_else(|| self.base.value(name))
    }
}
