//! Numbers as the file spells them: `1.10`, `0777`, `1e3`, where they become a part of a text.
//!
//! What is computed with a number has no other spelling than its own. So only where an expression does nothing else
//! than insert names, join them to texts and give them a default, its variables are seen as the file spells them. Reads
//! tokens and no grammar.

use super::place::Sources;
use super::scope::SPELLED;
use super::token::{Token, Word, blocks, token, words_of_expression};
use super::tree::{Node, Tree};

/// Filters that leave a number as it is spelled.
const KEEPING: [&str; 4] = ["default", "d", "string", "trim"];

/// Words that are no names of values.
const KEYWORDS: [&str; 14] = [
    "if", "elif", "else", "endif", "for", "endfor", "set", "endset", "not", "and", "or", "in",
    "is", "with",
];

/// How the file spells a number or a truth, where that is not how it is written otherwise.
pub(super) fn of_node<'a>(node: &Node, sources: &'a Sources) -> Option<&'a str> {
    let usual = match &node.tree {
        Tree::Number(number) if number.is_f64() => String::new(),
        Tree::Number(number) => number.to_string(),
        Tree::Bool(truth) => truth.to_string(),
        _ => return None,
    };
    let written = sources.written(node.span).trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    (!written.is_empty() && written != usual && written.chars().all(is_plain)).then_some(written)
}

/// An expression in which what is only inserted is as the file spells it; nothing where nothing is.
pub(super) fn of_expression(text: &str) -> Option<String> {
    if !only_inserts(text) {
        return None;
    }
    let mut made = text.to_owned();
    for word in words_of_expression(text) {
        let Word::Chain(chain) = word else { continue };
        let (root, at) = &chain.parts[0];
        if let Some((_, spelled)) = SPELLED.iter().find(|(valued, _)| valued == root) {
            made.replace_range(at.clone(), spelled);
        }
    }
    (made != text).then_some(made)
}

/// The same of each expression in a text.
pub(super) fn of_text(text: &str) -> Option<String> {
    let mut made = text.to_owned();
    for block in blocks(text) {
        if let Some(spelled) = of_expression(&text[block.clone()]) {
            made.replace_range(block, &spelled);
        }
    }
    (made != text).then_some(made)
}

fn only_inserts(text: &str) -> bool {
    let mut at = text.len() - text.trim_start_matches(['-', '+']).len();
    let text = text.trim_end_matches(['-', '+']);
    let mut before = Token::Sign(b' ');
    while let Some((found, range)) = token(text, at) {
        at = range.end;
        let is_fine = match found {
            Token::Name(name) if before == Token::Sign(b'|') => KEEPING.contains(&name),
            Token::Name(name) => before == Token::Sign(b'.') || !KEYWORDS.contains(&name),
            Token::Text(_) | Token::Number => true,
            Token::Sign(b'[') => {
                matches!(token(text, at), Some((Token::Text(_) | Token::Number, _)))
            }
            Token::Sign(sign) => b"~(),.|]".contains(&sign),
        };
        if !is_fine {
            return false;
        }
        before = found;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_inserted_and_not_computed_with_is_spelled_as_in_the_file() {
        for (text, spelled) in [
            ("vars.v", Some("_var.v")),
            (" vars['v'] | default(matrix.x) ", Some(" _var['v'] | default(_matri.x) ")),
            ("vars.a ~ '-' ~ vars.b.c", Some("_var.a ~ '-' ~ _var.b.c")),
            ("vars.list[0]", Some("_var.list[0]")),
            ("host.cpus", None),
            ("vars.set ~ vars.in.for", Some("_var.set ~ _var.in.for")),
            ("vars.v * 2", None),
            ("vars.v + 1", None),
            ("vars.v | int", None),
            ("vars.v if vars.v else 1", None),
            ("-vars.v", Some("-_var.v")),
        ] {
            assert_eq!(of_expression(text).as_deref(), spelled, "{text}");
        }
        assert_eq!(
            of_text("{{ vars.v }} {{ vars.v - 1 }} {% if vars.v %}").as_deref(),
            Some("{{ _var.v }} {{ vars.v - 1 }} {% if vars.v %}")
        );
    }
}
