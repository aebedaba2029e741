//! Texts of foreign origin, made fit to be shown: the passwords of URLs are hidden, and no character of theirs begins
//! a line, moves the cursor or turns the reading direction.
//!
//! ```text
//! postgres://app:hunter2@db/app           postgres://app:***@db/app
//! done⏎SUCCESS in 0.1 s                   done\nSUCCESS in 0.1 s
//! ```
//!
//! Whatever a program, a file or a database has said goes through [`in_line`] before it stands in a line, and through
//! [`as_written`] where places in it must stay. Data is left as it is: what a phase decided, what a program printed.
//! The markers of secrets and the expressions of pipelines are no passwords. Knows no file and no terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

/// The text as it may stand in a line.
#[must_use]
pub fn in_line(text: &str) -> Cow<'_, str> {
    let shown = without_passwords(text);
    if shown.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !shown.contains(is_unfit) {
        return shown;
    }
    let mut line = String::with_capacity(shown.len() + 8);
    for c in shown.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c.is_ascii_control() => drop(write!(line, "\\x{:02x}", u32::from(c))),
            c if is_unfit(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    Cow::Owned(line)
}

/// The text with `***` in place of the password of every URL.
#[must_use]
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    replace(text, passwords(text), |_| "***".to_owned())
}

/// [`without_passwords`] in place. Costs next to nothing where there is no URL.
pub fn hide_passwords(text: &mut String) {
    if let Cow::Owned(hidden) = without_passwords(text) {
        *text = hidden;
    }
}

/// A URL with `***` in place of its password, blanks and quotes in it or not.
#[must_use]
pub fn url(text: &str) -> Cow<'_, str> {
    let mut passwords = found(text, |_| Ends::Never);
    if passwords.is_empty() {
        passwords.extend(of_parameters(text).filter(|range| !is_opaque(&text[range.clone()])));
    }
    replace(text, passwords, |_| "***".to_owned())
}

/// A file's text with its lines, and every byte where it was: what must not be seen is covered, not cut.
#[must_use]
pub fn as_written(text: &str) -> Cow<'_, str> {
    let covered = replace(text, passwords(text), |password| "*".repeat(password.len()));
    let breaks = |c: char| is_unfit(c) && c != '\n' && c != '\t';
    if !covered.contains(breaks) {
        return covered;
    }
    let mut made = String::with_capacity(covered.len());
    let mut rest = covered.chars().peekable();
    while let Some(c) = rest.next() {
        let ends_line = c == '\r' && rest.peek() == Some(&'\n');
        made.push(match c.len_utf8() {
            _ if !breaks(c) || ends_line => c,
            1 => '?',
            2 => '\u{bf}',
            _ => char::REPLACEMENT_CHARACTER,
        });
    }
    Cow::Owned(made)
}

/// Control characters, and those by which text is written in another direction or in another line.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn replace(text: &str, ranges: Vec<Range<usize>>, by: impl Fn(&str) -> String) -> Cow<'_, str> {
    if ranges.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut made = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        made.push_str(&text[at..range.start]);
        made.push_str(&by(&text[range.clone()]));
        at = range.end;
    }
    made.push_str(&text[at..]);
    Cow::Owned(made)
}

/// Where a URL in a text ends, beside the end of the line.
#[derive(Clone, Copy)]
enum Ends {
    /// It is all of the text.
    Never,
    /// At this quote, as it begins with one.
    At(char),
    /// At a blank, a quote or a bracket.
    AtBlank,
}

/// The passwords of all URLs in a text, in order.
fn passwords(text: &str) -> Vec<Range<usize>> {
    found(text, |before| match before {
        Some(quote @ ('"' | '\'' | '`')) => Ends::At(quote),
        _ => Ends::AtBlank,
    })
}

fn found(text: &str, ends: impl Fn(Option<char>) -> Ends) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(colon) = text[at..].find(':').map(|next| at + next) {
        at = colon + 1;
        if !text[at..].starts_with("//") {
            continue;
        }
        let scheme = text[..colon]
            .trim_end_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let start = colon + 3;
        let url = &text[start..start + length(&text[start..], ends(scheme.chars().next_back()))];
        let user = of_user(url);
        let beyond = user.as_ref().map_or(0, |user| user.end);
        let parameter =
            of_parameters(&url[beyond..]).map(|part| beyond + part.start..beyond + part.end);
        for part in [user, parameter].into_iter().flatten() {
            let part = start + part.start..start + part.end;
            let password = &text[part.clone()];
            if !is_opaque(password) && !password.bytes().all(|byte| byte == b'*') {
                all.push(part);
            }
        }
    }
    // One URL may be a parameter of another, or its password.
    all.sort_by_key(|part| part.start);
    all.dedup_by(|next, part| {
        let overlaps = next.start < part.end;
        part.end = if overlaps { part.end.max(next.end) } else { part.end };
        overlaps
    });
    all
}

/// How many bytes of a text belong to the URL that it begins with.
fn length(text: &str, ends: Ends) -> usize {
    let end = parts(text).find(|(_, c)| match (c, ends) {
        (_, Ends::Never) => false,
        ('\n', _) => true,
        (c, Ends::At(quote)) => *c == quote,
        (c, Ends::AtBlank) => c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>'),
    });
    end.map_or(text.len(), |(at, _)| at)
}

/// The characters of a text that are not within the marker of a secret or an expression.
fn parts(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut beyond = 0;
    text.char_indices().filter(move |(at, _)| {
        if *at >= beyond {
            let opaque = [("⟦", "⟧"), ("{{", "}}")].into_iter().find_map(|(open, close)| {
                let rest =
                    text[*at..].starts_with(open).then(|| text[*at..].split('\n').next())??;
                rest.find(close).map(|end| *at + end + close.len())
            });
            beyond = opaque.unwrap_or(beyond);
        }
        *at >= beyond
    })
}

/// The password before the host, of a URL without its scheme.
fn of_user(url: &str) -> Option<Range<usize>> {
    let first = |wanted: &[char]| parts(url).find(|(_, c)| wanted.contains(c)).map(|(at, _)| at);
    let last = |end: usize| parts(&url[..end]).filter(|(_, c)| *c == '@').last().map(|(at, _)| at);
    let colon = first(&[':'])?;
    let end = first(&['/', '?', '#']).unwrap_or(url.len());
    let at = last(end).or_else(|| {
        // Not escaped, a slash in a password looks like the end of the host; but no port has letters.
        let is_port = url.get(colon + 1..end)?.bytes().all(|byte| byte.is_ascii_digit());
        last(url.len()).filter(|_| !is_port)
    })?;
    (colon + 1 < at).then_some(colon + 1..at)
}

/// The password among the parameters of a URL.
fn of_parameters(url: &str) -> Option<Range<usize>> {
    const NAME: &str = "password=";
    let start = parts(url).find(|(at, _)| url[*at..].starts_with(NAME))?.0 + NAME.len();
    let length = parts(&url[start..]).find(|(_, c)| *c == '&').map(|(at, _)| at);
    let end = length.map_or(url.len(), |length| start + length);
    (start < end).then_some(start..end)
}

/// Whether a password is one marker or one expression, and tells nothing.
fn is_opaque(password: &str) -> bool {
    let ends = password.ends_with(['⟧', '}']);
    ends && parts(password).next().is_none()
        && password.matches('⟦').count() + password.matches("{{").count() == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIECES: [&str; 20] = [
        "a",
        "://",
        ":",
        "@",
        "/",
        "?",
        "⟦",
        "⟧",
        "{{",
        "}}",
        " ",
        "\"",
        "'",
        "\n",
        "\r",
        "\u{1b}",
        "\u{202e}",
        "ü",
        "password=",
        "&",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_brings_it_down_or_gets_by(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24),
        ) {
            let text = pieces.concat();
            let line = in_line(&text);
            prop_assert!(!line.contains(is_unfit), "{text:?}: {line:?}");
            let covered = as_written(&text);
            prop_assert_eq!(covered.len(), text.len());
            prop_assert_eq!(covered.matches('\n').count(), text.matches('\n').count());
            let _ = url(&text);
        }

        #[test]
        fn no_password_gets_by_whatever_stands_around_its_url(
            before in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
            after in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
            parameter in any::<bool>(),
        ) {
            let url = if parameter { "a://h?password=hunter2" } else { "a://u:hunter2@h" };
            // Within a marker or an expression it would be the name of something.
            let before: String =
                before.into_iter().filter(|piece| !piece.contains(['⟦', '{'])).collect();
            let after = after.concat();
            let hidden = without_passwords(&format!("{before}{url}{after}")).into_owned();
            prop_assert!(!hidden.contains("hunter2"), "{hidden:?}");
        }
    }

    const HIDDEN: [(&str, &str); 18] = [
        ("postgres://u:secret@host/db", "postgres://u:***@host/db"),
        ("see postgres://u:secret@host, or a://b:c@d", "see postgres://u:***@host, or a://b:***@d"),
        ("x: \"postgres://u:sec ret@host/db\" y", "x: \"postgres://u:***@host/db\" y"),
        ("[a://u:p@h,b://u:q@g]", "[a://u:***@h,b://u:***@g]"),
        ("postgres://u:s/e?c@ret@host/db", "postgres://u:***@host/db"),
        ("postgres://u:p@h/d?password=q&x=1", "postgres://u:***@h/d?password=***&x=1"),
        ("postgres:///d?host=/run&password=q z", "postgres:///d?host=/run&password=*** z"),
        ("postgres://u:***@host/db", "postgres://u:***@host/db"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("http://host/a:b@c", "http://host/a:b@c"),
        ("postgres://u@host/db, a:b@c", "postgres://u@host/db, a:b@c"),
        ("a://u:⟦secret file /a@b⟧@host", "a://u:⟦secret file /a@b⟧@host"),
        ("a://u:x⟦secret file /a@b⟧@host", "a://u:***@host"),
        ("a://h?⟦secret file password=b⟧ c", "a://h?⟦secret file password=b⟧ c"),
        ("'a://u:{{ vars.p }}@host'", "'a://u:{{ vars.p }}@host'"),
        ("{{ env.X | default('a://u:p@h') }}", "{{ env.X | default('a://u:***@h') }}"),
        ("a://h/?x=b://u:p@g/&password=q", "a://h/?x=b://u:***@g/&password=***"),
        ("ü://ö:ä@é", "ü://ö:***@é"),
    ];

    #[test]
    fn the_password_of_a_url_is_hidden_wherever_it_stands_and_nothing_else_is() {
        for (given, shown) in HIDDEN {
            assert_eq!(without_passwords(given), shown);
            assert_eq!(without_passwords(shown), shown, "once more");
        }
        assert_eq!(url("postgres://me:a b\"c@db/app"), "postgres://me:***@db/app");
    }

    #[test]
    fn what_would_begin_a_line_or_move_the_cursor_can_be_seen_and_does_neither() {
        let given = "a\nb\r\tc\u{1b}[31m\u{7f}\u{9b}2J\u{202e}é\\";
        assert_eq!(in_line(given), "a\\nb\\r\\tc\\x1b[31m\\x7f\\u{9b}2J\\u{202e}é\\");
        assert!(matches!(in_line("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_covered_in_a_file_leaves_every_byte_where_it_was() {
        let given = "a: x://u:gehäim@h\r\nb: \u{1b}[2J\r!\u{9b}\u{202e}\tü\n";
        let shown = as_written(given);
        assert_eq!(shown, "a: x://u:*******@h\r\nb: ?[2J?!\u{bf}\u{fffd}\tü\n");
        assert_eq!(shown.len(), given.len());
    }
}
