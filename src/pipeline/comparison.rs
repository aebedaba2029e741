//! Orderings of two values (`<`, `<=`, `>`, `>=`) that are not of one kind.
//!
//! The engine of expressions orders a text and a number by their kinds, so that `env.X > 5` would be true whatever `X`
//! says. Where an expression has such a sign it is evaluated a second time, with a function around what stands on the
//! right of each, which is told both sides and refuses those that have no order. So only what is really compared is
//! judged: not what stands behind an `and` whose left side is false.
//!
//! Reads tokens and no grammar: an operand reaches to the next word or sign that binds less than an ordering.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::LazyLock;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::expression::{Trouble, engine};
use super::token::{Chain, Token, Word, token, words_of_expression};

/// What no text in a file is called.
const FUNCTION: &str = "__both_sides_of_an_ordering";

/// The engine with that function.
static JUDGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut judge = engine().clone();
    judge.add_function(FUNCTION, |left: Value, right: Value, at: usize| {
        match (class(&left), class(&right)) {
            (Some(one), Some(other)) if one != other => {
                let told = format!("{at} {} {}", one as u8, other as u8);
                Err(Error::new(ErrorKind::InvalidOperation, format!("{FUNCTION} {told}")))
            }
            _ => Ok(right),
        }
    });
    judge
});

/// Kinds of values that have an order among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Number,
    Text,
    List,
    Map,
}

impl Class {
    const ALL: [Self; 4] = [Self::Number, Self::Text, Self::List, Self::Map];

    fn word(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }
}

fn class(value: &Value) -> Option<Class> {
    match value.kind() {
        ValueKind::Number | ValueKind::Bool => Some(Class::Number),
        ValueKind::String => Some(Class::Text),
        ValueKind::Seq | ValueKind::Iterable => Some(Class::List),
        ValueKind::Map => Some(Class::Map),
        // A fact that this host does not tell is less than any.
        _ => None,
    }
}

/// An ordering, and what stands on both sides of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ordering {
    left: Range<usize>,
    right: Range<usize>,
}

/// What is wrong with the orderings of an expression that has a value, if anything.
pub(super) fn of_expression(text: &str, context: &Value) -> Option<Trouble> {
    if !text.contains(['<', '>']) {
        return None;
    }
    let all = orderings(text, false);
    let told = judged(text, &all)?;
    let judged = JUDGE.compile_expression(&told).and_then(|made| made.eval(context.clone()));
    trouble(text, &all, &judged.err()?)
}

/// The same of a text with expressions in it.
pub(super) fn of_text(text: &str, context: &Value) -> Option<Trouble> {
    if !text.contains(['<', '>']) {
        return None;
    }
    let all = orderings(text, true);
    let told = judged(text, &all)?;
    trouble(text, &all, &JUDGE.render_str(&told, context).err()?)
}

/// What is wrong with the orderings of an expression whose value is not known yet, as far as both sides of one are.
pub(super) fn of_known(text: &str, context: &Value) -> Option<Trouble> {
    if !text.contains(['<', '>']) {
        return None;
    }
    // Whoever asks for the kind of a value knows that it may be another.
    if words_of_expression(text).iter().any(|word| matches!(word, Word::Test(..))) {
        return None;
    }
    orderings(text, false).into_iter().find_map(|one| {
        let left = class_of(&text[one.left.clone()], context)?;
        let right = class_of(&text[one.right.clone()], context)?;
        (left != right).then(|| mixed(text, &one, left, right))
    })
}

fn class_of(operand: &str, context: &Value) -> Option<Class> {
    // Whatever is in the environment is a text.
    if let [Word::Chain(Chain { parts })] = &words_of_expression(operand)[..]
        && matches!(&parts[..], [("env", root), (_, name)]
            if root.start == 0 && operand[name.end..].trim_matches(['"', '\'', ']']).is_empty())
    {
        return Some(Class::Text);
    }
    class(&engine().compile_expression(operand).ok()?.eval(context.clone()).ok()?)
}

/// The text with the function around what stands on the right of each ordering; nothing where there is none.
fn judged(text: &str, all: &[Ordering]) -> Option<String> {
    let mut put: Vec<(usize, String)> = Vec::with_capacity(all.len() * 2);
    for (at, Ordering { left, right }) in all.iter().enumerate() {
        put.push((right.start, format!("{FUNCTION}(({}), (", &text[left.clone()])));
        put.push((right.end, format!("), {at})")));
    }
    put.sort_by_key(|(at, _)| *at);
    let mut made = String::with_capacity(text.len() * 2);
    let mut from = 0;
    for (at, piece) in put {
        made.push_str(&text[from..at]);
        made.push_str(&piece);
        from = at;
    }
    made.push_str(&text[from..]);
    (!all.is_empty()).then_some(made)
}

/// What the function has refused. Any other error is none of the expression as it is written.
fn trouble(text: &str, all: &[Ordering], error: &Error) -> Option<Trouble> {
    let mut told = error.detail()?.strip_prefix(FUNCTION)?.split_whitespace();
    let mut number = || told.next()?.parse::<usize>().ok();
    let ordering = all.get(number()?)?;
    let (left, right) = (Class::ALL.get(number()?)?, Class::ALL.get(number()?)?);
    Some(mixed(text, ordering, *left, *right))
}

fn mixed(text: &str, ordering: &Ordering, left: Class, right: Class) -> Trouble {
    let Ordering { left: l, right: r } = ordering;
    let part = l.start..r.end;
    let (one, other) = (&text[l.clone()], &text[r.clone()]);
    let sign = &text[l.end..r.start];
    let right_side = match (left, right) {
        (Class::Text, Class::Number) => Some(format!("{}{sign}{other}", as_number(one, other))),
        (Class::Number, Class::Text) => Some(format!("{one}{sign}{}", as_number(other, one))),
        _ => None,
    };
    let help = right_side.map_or_else(
        || "compare a number with a number, or a text with a text".to_owned(),
        |right| format!("make a number of the text: `{right}`"),
    );
    Trouble {
        message: format!(
            "`{}` compares {} with {}, which have no order",
            &text[part.clone()],
            left.word(),
            right.word()
        ),
        label: format!("{}{sign}{}", left.word(), right.word()),
        part,
        help,
    }
}

/// How a text is written as a number beside another one.
fn as_number(text: &str, beside: &str) -> String {
    let bare = text.trim_matches(['\'', '"']);
    if bare.len() + 2 == text.len() && bare.parse::<f64>().is_ok() {
        return bare.to_owned();
    }
    let filter =
        if beside.parse::<f64>().is_ok() && beside.contains('.') { "float" } else { "int" };
    let mut made = String::new();
    let simple = text.chars().all(|c| c.is_alphanumeric() || "_.[]'\"".contains(c));
    let _ = if simple {
        write!(made, "{text} | {filter}")
    } else {
        write!(made, "({text}) | {filter}")
    };
    made
}

/// What is known of an operand that is being read, at one depth of brackets.
#[derive(Default)]
struct Level {
    operand: Option<Range<usize>>,
    /// The left side of an ordering whose right side is being read.
    left: Option<Range<usize>>,
}

impl Level {
    fn extend(&mut self, token: &Range<usize>) {
        let start = self.operand.as_ref().map_or(token.start, |operand| operand.start);
        self.operand = Some(start..token.end);
    }

    /// Ends the operand; answers it, and tells the ordering that it is the right side of.
    fn end(&mut self, found: &mut Vec<Ordering>) -> Option<Range<usize>> {
        let operand = self.operand.take();
        if let (Some(left), Some(right)) = (self.left.take(), operand.clone()) {
            found.push(Ordering { left, right });
        }
        operand
    }
}

/// The orderings in a text, in the order in which their right sides end.
fn orderings(text: &str, is_template: bool) -> Vec<Ordering> {
    let mut found = Vec::new();
    if !is_template {
        read(text, 0, false, &mut found);
        return found;
    }
    let mut at = 0;
    while let Some(start) = text[at..].find('{').map(|next| at + next) {
        at = start + 1;
        match text.as_bytes().get(at) {
            Some(b'#') => at = text[at..].find("#}").map_or(text.len(), |end| at + end + 2),
            Some(b'{' | b'%') => at = read(text, at + 1, true, &mut found),
            _ => {}
        }
    }
    found
}

/// Reads up to the end of a block, or of the text; answers where that is.
fn read(text: &str, start: usize, in_block: bool, found: &mut Vec<Ordering>) -> usize {
    let mut at = start;
    let mut levels = vec![Level::default()];
    let mut before = None;
    while let Some((token, range)) = token(text, at) {
        at = range.end;
        let next = text.as_bytes().get(at);
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return at };
        match token {
            Token::Sign(b'}' | b'%') if in_block && depth == 1 && next == Some(&b'}') => {
                level.end(found);
                return at + 1;
            }
            Token::Sign(b'-' | b'+')
                if in_block
                    && depth == 1
                    && ["}}", "%}"].iter().any(|end| text[at..].starts_with(end)) =>
            {
                level.end(found);
            }
            Token::Sign(b'(' | b'[' | b'{') => {
                level.extend(&range);
                levels.push(Level::default());
            }
            Token::Sign(b')' | b']' | b'}') => {
                level.end(found);
                if depth > 1 {
                    levels.pop();
                }
                if let Some(outer) = levels.last_mut() {
                    outer.extend(&range);
                }
            }
            Token::Sign(b'<' | b'>') => {
                level.left = level.end(found);
                at += usize::from(next == Some(&b'='));
            }
            Token::Sign(b',' | b':' | b'=' | b'!') => drop(level.end(found)),
            Token::Name("not") if before == Some(Token::Name("is")) => level.extend(&range),
            Token::Name("and" | "or" | "not" | "in" | "if" | "elif" | "else" | "set" | "for") => {
                level.end(found);
            }
            _ => level.extend(&range),
        }
        before = Some(token);
    }
    for mut level in levels {
        level.end(found);
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(text: &str, is_template: bool) -> Vec<(&str, &str)> {
        let all = orderings(text, is_template).into_iter();
        all.map(|one| (&text[one.left], &text[one.right])).collect()
    }

    #[test]
    fn both_sides_of_an_ordering_reach_to_what_binds_less() {
        for (text, found) in [
            ("env.X > 5", vec![("env.X", "5")]),
            ("not a.b + 1 <= c | int and d", vec![("a.b + 1", "c | int")]),
            ("a < b < c", vec![("a", "b"), ("b", "c")]),
            (
                "(a > 1) == (b['x>y'] < f(c, d > 2))",
                vec![("a", "1"), ("d", "2"), ("b['x>y']", "f(c, d > 2)")],
            ),
            ("a is not defined or b >= -1.5", vec![("b", "-1.5")]),
            ("x if a > b else y", vec![("a", "b")]),
            ("a >= b == c", vec![("a", "b")]),
            ("a >", vec![]),
        ] {
            assert_eq!(sides(text, false), found, "{text}");
        }
        let text = "a > b {{ c > d }} {%- if e < f -%} {# g > h #} {{ {'a': i > j}.a }}{% endif %}";
        assert_eq!(sides(text, true), [("c", "d"), ("e", "f"), ("i", "j")]);
    }
}
