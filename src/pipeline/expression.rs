//! Expressions: one engine (minijinja) for templates and conditions.
//!
//! A text that is one expression, `"{{ vars.target }}"`, keeps the type of its value; any other text with
//! expressions in it becomes a text. A name that is not defined is an error, never an empty text.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use super::place::{Extent, Sources};
use super::scope::Frame;
use super::token::{Word, parts, words_of_expression, words_of_text};
use super::{comparison, sealed, undefined};
use crate::diagnostic::Diagnostic;

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

/// The engine, for whoever adds to a copy of it or evaluates a part of an expression.
pub(super) fn engine() -> &'static Environment<'static> {
    &ENGINE
}

/// Steps that one expression may take.
const FUEL: u64 = 20_000;

/// Longest text with expressions in it, in bytes: deeply nested ones are parsed by recursion.
const LONGEST: usize = 4096;

/// What a misspelt filter may have meant; the engine does not list those it has.
pub(super) const FILTERS: [&str; 44] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "groupby",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "trim",
    "unique",
    "upper",
];

/// What a misspelt test may have meant.
pub(super) const TESTS: [&str; 24] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "string",
    "undefined",
];

/// The expression inside `{{ }}` when a text is one expression and nothing else.
pub(super) fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim_matches(['-', '+']).trim())
}

/// The part of a text that is given to the engine.
fn evaluated(text: &str) -> Range<usize> {
    let sole = sole_expression(text).and_then(|sole| Some((text.find(sole)?, sole.len())));
    sole.map_or(0..text.len(), |(start, length)| start..start + length)
}

/// True when there is anything to evaluate in a text.
pub(super) fn is_dynamic(text: &str) -> bool {
    text.contains('{') && (text.contains("{{") || text.contains("{%"))
}

/// The names in the expressions of a text that are not given a value in it.
pub(super) fn names_of_text(text: &str) -> Result<HashSet<String>, Box<minijinja::Error>> {
    within_length(text)?;
    Ok(ENGINE.template_from_str(text)?.undeclared_variables(false))
}

/// The names in an expression.
pub(super) fn names_of_expression(text: &str) -> Result<HashSet<String>, Box<minijinja::Error>> {
    within_length(text)?;
    Ok(ENGINE.compile_expression(text)?.undeclared_variables(false))
}

/// True for a function that the engine brings along.
pub(super) fn is_global(name: &str) -> bool {
    ENGINE.globals().any(|(global, _)| global == name)
}

/// The filters there are, when there is none of this name.
pub(super) fn unknown_filter(name: &str) -> Option<&'static [&'static str]> {
    is_refused(&format!("1|{name}"), ErrorKind::UnknownFilter).then_some(&FILTERS)
}

/// The tests there are, when there is none of this name.
pub(super) fn unknown_test(name: &str) -> Option<&'static [&'static str]> {
    is_refused(&format!("1 is {name}"), ErrorKind::UnknownTest).then_some(&TESTS)
}

fn is_refused(expression: &str, kind: ErrorKind) -> bool {
    let tried = ENGINE.compile_expression(expression).and_then(|compiled| compiled.eval(()));
    tried.is_err_and(|error| error.kind() == kind)
}

/// The value of a text that is one expression.
pub(super) fn value_of(text: &str, context: &Value) -> Result<Value, Trouble> {
    let part = evaluated(text);
    evaluate(&text[part.clone()], context).map_err(|trouble| trouble.in_part(&part))
}

/// A text with the values of its expressions in their places.
pub(super) fn joined(text: &str, context: &Value) -> Result<String, Trouble> {
    within_length(text).map_err(|error| Trouble::of_engine(&error, text))?;
    let rendered = forgiving(text, words_of_text, context, |text| ENGINE.render_str(text, context));
    let (rendered, text) = rendered?;
    match sealed::of_text(&text, context).or_else(|| comparison::of_text(&text, context)) {
        Some(trouble) => Err(trouble),
        None => Ok(rendered),
    }
}

/// The truth of a condition.
///
/// # Errors
/// When it can't be evaluated.
pub fn evaluate_condition(expression: &str, frame: &Frame) -> Result<bool, Trouble> {
    Ok(evaluate(expression, &frame.context)?.is_true())
}

/// What is wrong with a condition whatever the values are that it does not know yet, if anything can be told.
#[must_use]
pub fn doubt_condition(expression: &str, frame: &Frame) -> Option<Trouble> {
    let context = &frame.context;
    sealed::of_expression(expression, context)
        .or_else(|| comparison::of_known(expression, context))
        .or_else(|| constant_trouble(expression, context))
}

/// What is wrong with a part of a condition that names nothing, such as `1 / 0 > 1`, and so can only fail.
fn constant_trouble(condition: &str, context: &Value) -> Option<Trouble> {
    parts(condition).into_iter().find_map(|part| {
        let text = &condition[part.clone()];
        let names_something =
            words_of_expression(text).iter().any(|word| matches!(word, Word::Chain(_)));
        if text.trim().is_empty() || names_something {
            return None;
        }
        Some(evaluate(text, context).err()?.in_part(&part))
    })
}

fn evaluate(expression: &str, context: &Value) -> Result<Value, Trouble> {
    within_length(expression).map_err(|error| Trouble::of_engine(&error, expression))?;
    let made = forgiving(expression, words_of_expression, context, |text| {
        ENGINE.compile_expression(text)?.eval(context)
    });
    let (value, expression) = made?;
    if value.is_undefined() {
        let told = format!("`{expression}` is not defined");
        let whole = Some(0..expression.len());
        let words = words_of_expression(&expression);
        let found = undefined::missing(&expression, &words, context, (&told, whole));
        let part = 0..expression.len();
        let whole = Trouble { message: told, part, ..Trouble::default() };
        return Err(found.unwrap_or(whole));
    }
    let trouble = sealed::of_expression(&expression, context);
    trouble.or_else(|| comparison::of_expression(&expression, context)).map_or(Ok(value), Err)
}

/// What `make` makes of a text, and of which text it did: where a name is missing whose users say what becomes of it
/// when it is, of one in which their names end there.
fn forgiving<'a, T>(
    text: &'a str,
    words: impl Fn(&str) -> Vec<Word<'_>>,
    context: &Value,
    make: impl Fn(&str) -> Result<T, minijinja::Error>,
) -> Result<(T, Cow<'a, str>), Trouble> {
    let error = match make(text) {
        Ok(value) => return Ok((value, Cow::Borrowed(text))),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::UndefinedError
        && let Some(shorter) = undefined::shortened(text, &words(text), context)
        && let Ok(value) = make(&shorter)
    {
        return Ok((value, Cow::Owned(shorter)));
    }
    Err(Trouble::of(&error, text, &words(text), context))
}

fn within_length(text: &str) -> Result<(), Box<minijinja::Error>> {
    if text.len() <= LONGEST {
        return Ok(());
    }
    let told = format!(
        "a text with expressions may have {LONGEST} bytes, and this one has {}",
        text.len()
    );
    Err(Box::new(minijinja::Error::new(ErrorKind::SyntaxError, told)))
}

/// Why an expression has no value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
    /// What stands at the place; may be empty.
    pub label: String,
    /// The bytes of the expression that are meant.
    pub part: Range<usize>,
    /// What would be right; may be empty.
    pub help: String,
}

impl Trouble {
    /// What the engine says, and where as far as it says that.
    pub(super) fn of_engine(error: &minijinja::Error, text: &str) -> Self {
        let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        let help = match error.kind() {
            ErrorKind::UndefinedError => {
                "every name must be defined; `default(..)` gives a value for one that may be missing"
            }
            ErrorKind::UnknownFilter | ErrorKind::UnknownFunction => {
                "see https://docs.rs/minijinja/latest/minijinja/filters for the filters there are"
            }
            _ => "",
        };
        let part = error.range().unwrap_or(0..text.len());
        Self {
            message: format!("this expression has no value: {detail}"),
            label: String::new(),
            part: part.start.min(text.len())..part.end.min(text.len()),
            help: help.to_owned(),
        }
    }

    /// The same, with the name where it is one that is missing.
    fn of(error: &minijinja::Error, text: &str, words: &[Word<'_>], context: &Value) -> Self {
        let missing = (error.kind() == ErrorKind::UndefinedError)
            .then(|| {
                let said = (error.detail().unwrap_or_default(), error.range());
                undefined::missing(text, words, context, said)
            })
            .flatten();
        missing.unwrap_or_else(|| Self::of_engine(error, text))
    }

    /// The same of a text of which the expression is a part.
    pub(super) fn in_part(mut self, part: &Range<usize>) -> Self {
        self.part = self.part.start + part.start..self.part.end + part.start;
        self
    }

    /// Told at its place, where `text` stands at `span`.
    #[must_use]
    pub fn at(self, sources: &Sources, span: Extent, text: &str) -> Diagnostic {
        let whole = self.part == (0..text.len());
        let span = if whole { span } else { sources.within(span, text, &self.part) };
        let help = if self.help.is_empty() {
            "an expression is written like `{{ vars.name }}` or `{{ host.cpus * 2 }}`".to_owned()
        } else {
            self.help
        };
        Diagnostic::error("pipeline::expression", self.message)
            .at(sources.place(span), self.label)
            .help(help)
    }
}

/// In one line.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}
