//! Which name an expression could not do without, where it stands, and what may have been meant.

use std::ops::Range;

use minijinja::Value;
use minijinja::value::ValueKind;

use super::expression::Trouble;
use super::token::{Chain, Word};
use crate::diagnostic::did_you_mean;

/// What is missing in `words` of `text`, when the engine has said of it that something is not defined: `detail` in its
/// words and `at` a place, as far as it tells one. Nothing where all names that can be looked up are there.
pub(super) fn missing(
    text: &str,
    words: &[Word<'_>],
    context: &Value,
    (detail, at): (&str, Option<Range<usize>>),
) -> Option<Trouble> {
    let found: Vec<Missing<'_>> = words
        .iter()
        .filter_map(|word| match word {
            Word::Chain(chain) => look_up(chain, context),
            Word::Filter(..) | Word::Test(..) => None,
        })
        .filter(|one| !one.is_cared_for(text))
        .collect();
    let named = |one: &&Missing<'_>| detail.contains(&format!("`{}`", &text[one.whole.clone()]));
    let there = |one: &&Missing<'_>| {
        at.as_ref().is_some_and(|at| at.start < one.whole.end && one.whole.start < at.end)
    };
    let one = found.iter().find(|one| named(one) && there(one));
    let one = one.or_else(|| found.iter().find(named)).or_else(|| found.iter().find(there));
    one.or(found.first()).map(|one| one.told(text))
}

/// The text in which chains of names that hang on something missing, and of which the text says what becomes of them
/// when they are, end where they are missing: `phases.x.code | default(9)` gives 9 when there is no `phases.x`, and
/// `is defined` asks for all of a chain. Nothing where there is no such chain. All places stay the same.
pub(super) fn shortened(text: &str, words: &[Word<'_>], context: &Value) -> Option<String> {
    let mut made: Option<String> = None;
    for word in words {
        let Word::Chain(chain) = word else { continue };
        let Some(missing) = look_up(chain, context) else { continue };
        let (end, last) = (missing.end(text), missing.chain_end(text));
        if end < last && is_cared_for(&text[last..]) {
            made.get_or_insert_with(|| text.to_owned())
                .replace_range(end..last, &" ".repeat(last - end));
        }
    }
    made
}

/// Whether what follows a name says what becomes of it when it is missing, by `default` or a test.
fn is_cared_for(after: &str) -> bool {
    let after = after.trim_start();
    let filter = after.strip_prefix('|').map_or("", str::trim_start);
    let filter = filter.split(|c: char| !c.is_alphanumeric()).next();
    matches!(filter, Some("default" | "d")) || after.starts_with("is ")
}

/// A chain of names of which one is not there.
struct Missing<'a> {
    /// Up to the name that is not there.
    whole: Range<usize>,
    name: &'a str,
    /// What it was looked for in.
    inside: Value,
    /// True for a name of the environment.
    is_variable: bool,
    at: Range<usize>,
    /// The last name of the chain.
    last: Range<usize>,
}

fn look_up<'a>(chain: &Chain<'a>, context: &Value) -> Option<Missing<'a>> {
    let (root, start) = chain.parts.first()?;
    let mut value = context.get_attr(root).ok()?;
    // A name of a loop, or one that was set within the text.
    if value.is_undefined() {
        return None;
    }
    for (step, (name, at)) in chain.parts.iter().enumerate().skip(1) {
        let next = value.get_attr(name).ok()?;
        if next.is_undefined() {
            let is_variable = *root == "env" && step == 1;
            let whole = start.start..at.end;
            let last = chain.parts.last().map_or_else(|| at.clone(), |(_, last)| last.clone());
            return Some(Missing { whole, name, inside: value, is_variable, at: at.clone(), last });
        }
        value = next;
    }
    None
}

fn name_end(text: &str, name: &Range<usize>) -> usize {
    let is_quoted = text[name.end..].starts_with(['\'', '"']);
    let close = text[name.end..].find(']').filter(|_| is_quoted);
    name.end + close.map_or(0, |close| close + 1)
}

impl Missing<'_> {
    /// Whether the expression says what becomes of it when it is missing.
    fn is_cared_for(&self, text: &str) -> bool {
        is_cared_for(&text[self.end(text)..])
    }

    /// Where its name ends, the bracket that it may stand in included.
    fn end(&self, text: &str) -> usize {
        name_end(text, &self.at)
    }

    /// Where the names end that hang on it.
    fn chain_end(&self, text: &str) -> usize {
        name_end(text, &self.last)
    }

    fn told(&self, text: &str) -> Trouble {
        let whole = &text[self.whole.start..self.end(text)];
        let known: Vec<String> = match self.inside.kind() {
            ValueKind::Map => {
                self.inside.try_iter().into_iter().flatten().map(|key| key.to_string()).collect()
            }
            _ => Vec::new(),
        };
        let near = did_you_mean(self.name, known.iter().map(String::as_str));
        let default = "`default(..)` gives a value for a name that may be missing";
        // An environment has too many names for a list.
        let near = near.filter(|near| !self.is_variable || near.starts_with("did you mean"));
        let label = match (self.is_variable, self.inside.kind()) {
            (true, _) => "not in the environment".to_owned(),
            (false, ValueKind::Map) => "no value has this name".to_owned(),
            (false, ValueKind::Seq) => "a list has no names".to_owned(),
            (false, ValueKind::String) => "a text has no names".to_owned(),
            (false, kind) => format!("a {kind} has no names"),
        };
        Trouble {
            message: format!("`{whole}` is not defined"),
            label,
            part: self.at.clone(),
            help: match near {
                Some(near) if near.starts_with("did you mean") => near,
                Some(near) => format!("{near}; {default}"),
                None => default.to_owned(),
            },
        }
    }
}
