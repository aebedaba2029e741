//! Expressions: one engine (minijinja) for templates and conditions.
//!
//! A text that is one expression, `"{{ vars.target }}"`, keeps the type of its value; any other text with
//! expressions in it becomes a text. A name that is not defined is an error, never an empty text.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value};

use super::secret;
use super::tree::{Node, Tree};
use crate::diagnostic::{Diagnostic, Place, Source};

/// The expression engine, which knows no files and no templates but those given to it.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    // A text keeps the end of its last line. The delimiters are the engine's own, so there is no error.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        engine.set_syntax(syntax);
    }
    engine.set_recursion_limit(50);
    engine.set_fuel(Some(FUEL));
    // Each can be told to make a text of any length at once.
    for greedy in ["center", "format", "indent"] {
        engine.remove_filter(greedy);
    }
    engine
});

/// Steps that one expression may take.
const FUEL: u64 = 20_000;

/// Longest text with expressions in it, in bytes: deeply nested ones are parsed by recursion.
const LONGEST: usize = 4096;

/// What an expression refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// `phases.NAME...`
    Phase {
        /// The phase.
        name: String,
    },
    /// `vars.NAME`
    Var {
        /// The variable.
        name: String,
    },
    /// `host...`
    Host,
    /// `env...`
    Env,
    /// A name that is none of these.
    Unknown {
        /// As written.
        name: String,
    },
}

/// What expressions can see.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Environment variables.
    pub env: Arc<Map<String, Value>>,
    /// Facts of the host.
    pub host: Arc<Value>,
    /// Variables of the pipeline.
    pub vars: Arc<Map<String, Value>>,
    /// Outputs of phases that have ended.
    pub phases: Map<String, Value>,
}

impl Scope {
    fn context(&self) -> minijinja::Value {
        minijinja::context! {
            env => minijinja::Value::from(Serde(&*self.env)),
            host => minijinja::Value::from(Serde(&*self.host)),
            vars => minijinja::Value::from(Serde(&*self.vars)),
            phases => minijinja::Value::from(Serde(&self.phases)),
        }
    }
}

/// The expression inside `{{ }}` when a text is one expression and nothing else.
pub(super) fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim_matches(['-', '+']).trim())
}

/// True when there is anything to evaluate in a text.
pub(super) fn is_dynamic(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// What a text refers to; nothing when there is no expression in it.
///
/// # Errors
/// When an expression can't be parsed.
pub fn references(text: &str) -> Result<Vec<Reference>, Box<minijinja::Error>> {
    if !is_dynamic(text) {
        return Ok(Vec::new());
    }
    within_length(text)?;
    let nested = ENGINE.template_from_str(text)?.undeclared_variables(true);
    let found: BTreeSet<Reference> = nested
        .iter()
        .filter(|path| {
            !ENGINE.globals().any(|(name, _)| name == path.split('.').next().unwrap_or_default())
        })
        .map(|path| {
            let mut parts = path.split('.');
            match (parts.next().unwrap_or_default(), parts.next()) {
                ("phases", Some(name)) => Reference::Phase { name: name.to_owned() },
                ("vars", Some(name)) => Reference::Var { name: name.to_owned() },
                ("host", _) => Reference::Host,
                ("env", _) => Reference::Env,
                (other, _) => Reference::Unknown { name: other.to_owned() },
            }
        })
        .collect();
    Ok(found.into_iter().collect())
}

/// The value of a tree with every expression in it evaluated, and its marker in place of every secret.
///
/// # Errors
/// Every expression that can't be, with its place.
pub fn render(node: &Node, scope: &Scope, source: &Arc<Source>) -> Result<Value, Vec<Diagnostic>> {
    let context = scope.context();
    let mut wrong = Vec::new();
    let value = render_in(node, &context, source, &mut wrong);
    if wrong.is_empty() { Ok(value) } else { Err(wrong) }
}

fn render_in(
    node: &Node,
    context: &minijinja::Value,
    source: &Arc<Source>,
    wrong: &mut Vec<Diagnostic>,
) -> Value {
    match &node.tree {
        Tree::Text(text) => render_text(text, context).unwrap_or_else(|error| {
            wrong.push(diagnose(&error, source, &node.span));
            Value::Null
        }),
        Tree::List(items) => {
            Value::Array(items.iter().map(|item| render_in(item, context, source, wrong)).collect())
        }
        Tree::Map(entries) => match secret::form(node) {
            Some(Ok(secret)) => Value::String(secret.marker()),
            // Told when the pipeline was checked.
            Some(Err(_)) => Value::Null,
            None => Value::Object(
                entries
                    .iter()
                    .map(|(key, _, node)| (key.clone(), render_in(node, context, source, wrong)))
                    .collect(),
            ),
        },
        Tree::Null | Tree::Bool(_) | Tree::Number(_) => node.to_value(),
    }
}

fn render_text(text: &str, context: &minijinja::Value) -> Result<Value, Box<minijinja::Error>> {
    if !is_dynamic(text) {
        return Ok(Value::String(text.to_owned()));
    }
    within_length(text)?;
    let Some(expression) = sole_expression(text) else {
        return Ok(Value::String(ENGINE.render_str(text, context)?));
    };
    let value = evaluate(expression, context.clone())?;
    serde_json::to_value(&value).map_err(|error| {
        let told = format!("`{expression}` has no plain value: {error}");
        Box::new(minijinja::Error::new(minijinja::ErrorKind::BadSerialization, told))
    })
}

/// The truth of a condition.
///
/// # Errors
/// When it can't be evaluated.
pub fn evaluate_condition(expression: &str, scope: &Scope) -> Result<bool, Box<minijinja::Error>> {
    Ok(evaluate(expression, scope.context())?.is_true())
}

fn evaluate(
    expression: &str,
    context: minijinja::Value,
) -> Result<minijinja::Value, Box<minijinja::Error>> {
    within_length(expression)?;
    let value = ENGINE.compile_expression(expression)?.eval(context)?;
    if value.is_undefined() {
        let told = format!("`{expression}` is not defined");
        return Err(Box::new(minijinja::Error::new(minijinja::ErrorKind::UndefinedError, told)));
    }
    Ok(value)
}

fn within_length(text: &str) -> Result<(), Box<minijinja::Error>> {
    if text.len() <= LONGEST {
        return Ok(());
    }
    let told = format!(
        "a text with expressions may have {LONGEST} bytes, and this one has {}",
        text.len()
    );
    Err(Box::new(minijinja::Error::new(minijinja::ErrorKind::SyntaxError, told)))
}

/// An error of the engine, pointing into the expression where it says so.
pub(super) fn diagnose(
    error: &minijinja::Error,
    source: &Arc<Source>,
    span: &Range<usize>,
) -> Diagnostic {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let written = source.text.get(span.clone()).unwrap_or_default();
    // Offsets hold in the file as long as the text stands there as it was parsed, but for an opening quote.
    let quote = usize::from(written.starts_with(['"', '\'']));
    let inside =
        error.range().filter(|_| sole_expression(written.trim_matches(['"', '\''])).is_none());
    let narrowed = inside
        .map(|range| span.start + quote + range.start..span.start + quote + range.end)
        .filter(|range| range.end <= span.end && range.start < range.end);
    let help = match error.kind() {
        minijinja::ErrorKind::UndefinedError => {
            "every name must be defined; `default(..)` gives a value for one that may be missing"
        }
        minijinja::ErrorKind::UnknownFilter | minijinja::ErrorKind::UnknownFunction => {
            "see https://docs.rs/minijinja/latest/minijinja/filters for the filters there are"
        }
        _ => "an expression is written like `{{ vars.name }}` or `{{ host.cpus * 2 }}`",
    };
    Diagnostic::error("pipeline::expression", format!("this expression has no value: {detail}"))
        .at(
            Place { source: Arc::clone(source), span: narrowed.unwrap_or_else(|| span.clone()) },
            "",
        )
        .help(help)
}
