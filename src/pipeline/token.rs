//! The words of expressions with their places: names with what hangs on them, and what filters and tests are called.
//!
//! Reads tokens and no grammar: the engine of expressions has already said that the text is well formed.

use std::ops::Range;

/// A name with the attributes that follow it, as far as they are written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain<'a> {
    /// The name and what follows it: `vars`, `list` of `vars['list'][0]`.
    pub(super) parts: Vec<(&'a str, Range<usize>)>,
}

/// What is found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// A name that may stand for a value.
    Chain(Chain<'a>),
    /// The name of a filter.
    Filter(&'a str, Range<usize>),
    /// The name of a test.
    Test(&'a str, Range<usize>),
}

/// The words of the expressions in a text.
pub(super) fn words_of_text(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find('{').map(|found| at + found) {
        at = start + 1;
        match text.as_bytes().get(at) {
            Some(b'#') => {
                at = text[at..].find("#}").map_or(text.len(), |end| at + end + 2);
            }
            Some(b'{' | b'%') => at = read(text, at + 1, true, &mut words),
            _ => {}
        }
    }
    words
}

/// What stands between the braces of each expression and statement of a text.
pub(super) fn blocks(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find('{').map(|found| at + found) {
        at = start + 1;
        match text.as_bytes().get(at) {
            Some(b'#') => {
                at = text[at..].find("#}").map_or(text.len(), |end| at + end + 2);
            }
            Some(b'{' | b'%') => {
                let inside = at + 1;
                at = read(text, inside, true, &mut Vec::new());
                found.push(inside..at.saturating_sub(2).max(inside));
            }
            _ => {}
        }
    }
    found
}

/// What stands between the `and`, `or` and `not` of a condition, outside of brackets.
pub(super) fn parts(condition: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut at, mut start, mut depth) = (0, 0, 0_usize);
    while let Some((token, range)) = token(condition, at) {
        at = range.end;
        match token {
            Token::Sign(b'(' | b'[' | b'{') => depth += 1,
            Token::Sign(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            Token::Name("and" | "or" | "not") if depth == 0 => {
                found.push(start..range.start);
                start = at;
            }
            _ => {}
        }
    }
    found.push(start..condition.len());
    found
}

/// The words of an expression that stands by itself.
pub(super) fn words_of_expression(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    read(text, 0, false, &mut words);
    words
}

/// A word, a text in quotes, a number, or any other sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Text(&'a str),
    Number,
    Sign(u8),
}

/// Reads words up to the end of a block, or of the text; answers where that is.
fn read<'a>(text: &'a str, start: usize, in_block: bool, words: &mut Vec<Word<'a>>) -> usize {
    let mut at = start;
    let mut depth = 0_usize;
    let mut before = [None, None];
    while let Some((token, range)) = token(text, at) {
        at = range.end;
        match token {
            Token::Sign(b'{') => depth += 1,
            Token::Sign(b'}') if depth > 0 => depth -= 1,
            Token::Sign(b'}' | b'%') if in_block && text.as_bytes().get(at) == Some(&b'}') => {
                return at + 1;
            }
            Token::Name(name) => match before {
                [_, Some(Token::Sign(b'|'))] => words.push(Word::Filter(name, range)),
                [_, Some(Token::Name("is"))] if name != "not" => {
                    words.push(Word::Test(name, range));
                }
                [Some(Token::Name("is")), Some(Token::Name("not"))] => {
                    words.push(Word::Test(name, range));
                }
                _ => {
                    let chain = chain(text, name, range);
                    at = chain.parts.last().map_or(at, |(_, last)| last.end.max(at));
                    if text[at..].starts_with(['\'', '"']) {
                        at += 1;
                    }
                    if !is_argument(text, at) {
                        words.push(Word::Chain(chain));
                    }
                }
            },
            _ => {}
        }
        before = [before[1], Some(token)];
    }
    text.len()
}

/// True for the name of an argument, as in `default(value=1)`.
fn is_argument(text: &str, at: usize) -> bool {
    let rest = text[at..].trim_start();
    rest.starts_with('=') && !rest.starts_with("==")
}

fn chain<'a>(text: &'a str, name: &'a str, range: Range<usize>) -> Chain<'a> {
    let mut at = range.end;
    let mut parts = vec![(name, range)];
    loop {
        match token(text, at) {
            Some((Token::Sign(b'.'), dot)) => match token(text, dot.end) {
                Some((Token::Name(next), range)) => {
                    at = range.end;
                    parts.push((next, range));
                }
                _ => return Chain { parts },
            },
            Some((Token::Sign(b'['), open)) => {
                let Some((Token::Text(next), range)) = token(text, open.end) else {
                    return Chain { parts };
                };
                let Some((Token::Sign(b']'), close)) = token(text, range.end) else {
                    return Chain { parts };
                };
                at = close.end;
                parts.push((next, range.start + 1..range.end - 1));
            }
            _ => return Chain { parts },
        }
    }
}

/// The next token at or after a byte.
pub(super) fn token(text: &str, at: usize) -> Option<(Token<'_>, Range<usize>)> {
    let rest = text.get(at..)?;
    let start = at + (rest.len() - rest.trim_start().len());
    let rest = &text[start..];
    let first = rest.chars().next()?;
    let until = |matches: fn(char) -> bool| rest.find(|c| !matches(c)).unwrap_or(rest.len());
    Some(if first == '_' || first.is_alphabetic() {
        let end = start + until(|c| c == '_' || c.is_alphanumeric());
        (Token::Name(&text[start..end]), start..end)
    } else if first.is_ascii_digit() {
        (Token::Number, start..start + until(|c| c == '_' || c.is_ascii_alphanumeric()))
    } else if matches!(first, '\'' | '"') {
        let mut escaped = false;
        let close = rest[1..].find(|c| {
            let ends = c == first && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = close.map_or(text.len(), |close| start + close + 2);
        (Token::Text(text.get(start + 1..end - 1).unwrap_or_default()), start..end)
    } else {
        let sign = u8::try_from(u32::from(first)).unwrap_or(b'?');
        (Token::Sign(sign), start..start + first.len_utf8())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chains(text: &str) -> Vec<String> {
        let words = words_of_text(text).into_iter();
        words
            .map(|word| match word {
                Word::Chain(chain) => {
                    for (part, range) in &chain.parts {
                        assert_eq!(&text[range.clone()], *part, "{text}");
                    }
                    chain.parts.iter().map(|(part, _)| *part).collect::<Vec<_>>().join("/")
                }
                Word::Filter(name, range) => {
                    assert_eq!(&text[range], name);
                    format!("|{name}")
                }
                Word::Test(name, range) => {
                    assert_eq!(&text[range], name);
                    format!("is {name}")
                }
            })
            .collect()
    }

    #[test]
    fn names_are_found_with_what_hangs_on_them() {
        for (text, found) in [
            ("a {{ vars.x }} vars.no", vec!["vars/x"]),
            ("{{ phases['tune'].x + vars . y }}", vec!["phases/tune/x", "vars/y"]),
            (
                "{{ phases.a['2.5'].f | default(vars.z, boolean=true) }}",
                vec!["phases/a/2.5/f", "|default", "vars/z"],
            ),
            ("{{ 'vars.no }}' ~ vars.x }} {{ vars.y }}", vec!["vars/x", "vars/y"]),
            ("{{ {'a': {'b': vars.x}} }}", vec!["vars/x"]),
            (
                "{% if vars.x is not defined %}{# vars.no #}{% endif %}",
                vec!["if", "vars/x", "is defined", "endif"],
            ),
            ("{{ vars[env.x].y }}", vec!["vars", "env/x", "y"]),
            ("{{ vars.x", vec!["vars/x"]),
            ("{{ \"", vec![]),
            ("{{ 'é' ~ é.ü }}", vec!["é/ü"]),
        ] {
            let without_words: Vec<String> = chains(text)
                .into_iter()
                .filter(|word| !matches!(word.as_str(), "is" | "not" | "true"))
                .collect();
            assert_eq!(without_words, found, "{text}");
        }
    }
}
