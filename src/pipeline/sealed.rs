//! What an expression does with a secret beyond inserting it.
//!
//! While expressions are evaluated a marker stands for the secret, and its length, its letters and what it equals are
//! those of the marker. So a secret may be inserted, joined to texts and replaced by a default, and all else is refused.
//! Reads tokens and no grammar: what is refused of an expression with a secret in it may be about another of its names.

use std::ops::Range;

use minijinja::Value;

use super::expression::Trouble;
use super::scope::{Names, holds_marker};
use super::token::{Chain, Token, Word, blocks, token, words_of_expression};

/// Words that choose between values, and look into none.
const CHOOSING: [&str; 11] =
    ["if", "elif", "else", "endif", "not", "and", "or", "is", "none", "true", "false"];

/// Filters and tests that ask only whether there is a value.
const ASKING: [&str; 5] = ["default", "d", "defined", "undefined", "not"];

/// What an expression does that must not be done with the secret in it, if it is so.
pub(super) fn of_expression(text: &str, context: &Value) -> Option<Trouble> {
    let part = offence(text)?;
    let words = words_of_expression(text);
    let is_sealed = words.iter().any(|word| match word {
        Word::Chain(chain) => holds_secret(chain, context),
        Word::Filter(..) | Word::Test(..) => false,
    });
    is_sealed.then(|| Trouble {
        message: "a secret can be inserted or joined to a text, and nothing else".to_owned(),
        label: "works on what stands for the secret".to_owned(),
        part,
        help: "let the program that is given the secret do this with it".to_owned(),
    })
}

/// The same of each expression in a text.
pub(super) fn of_text(text: &str, context: &Value) -> Option<Trouble> {
    blocks(text).into_iter().find_map(|block| {
        let trouble = of_expression(&text[block.clone()], context)?;
        Some(trouble.in_part(&block))
    })
}

/// The first token that does more than insert, join or choose.
fn offence(text: &str) -> Option<Range<usize>> {
    let mut at = text.len() - text.trim_start_matches(['-', '+']).len();
    let end = text.trim_end_matches(['-', '+']).len();
    let text = &text[..end];
    let mut before = Token::Sign(b' ');
    while let Some((found, range)) = token(text, at) {
        at = range.end;
        let next = token(text, at);
        let is_fine = match found {
            // What hangs on a name may be called anything.
            Token::Name(_) if before == Token::Sign(b'.') => {
                !matches!(next, Some((Token::Sign(b'('), _)))
            }
            Token::Name("for" | "set" | "in" | "filter" | "with") => false,
            Token::Name(name) if before == Token::Sign(b'|') || before == Token::Name("is") => {
                ASKING.contains(&name) || name == "none"
            }
            Token::Name(name) => {
                // A call: of a function, or of something that hangs on a name.
                CHOOSING.contains(&name)
                    || ASKING.contains(&name)
                    || !matches!(next, Some((Token::Sign(b'('), _)))
            }
            Token::Text(_) | Token::Number => true,
            Token::Sign(b'[') => matches!(next, Some((Token::Text(_), _))),
            Token::Sign(sign) => b"~+(),.|]".contains(&sign),
        };
        if !is_fine {
            return Some(range);
        }
        before = found;
    }
    None
}

/// Whether a name, or what it hangs on, is a secret or has one in it.
fn holds_secret(chain: &Chain<'_>, context: &Value) -> bool {
    let known = context.get_attr("vars").ok();
    let known = known.as_ref().and_then(|vars| vars.downcast_object_ref::<Names>());
    // Most variables hold none, and some are large.
    if let ([("vars", _), (name, _), ..], Some(known)) = (&chain.parts[..], known)
        && known.is_sealed(name) == Some(false)
    {
        return false;
    }
    let mut value = context.clone();
    for (part, _) in &chain.parts {
        let Ok(next) = value.get_attr(part) else { return false };
        if next.is_undefined() {
            break;
        }
        value = next;
    }
    holds_marker(&value)
}
