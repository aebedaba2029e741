//! A quick reader of the YAML that most pipelines are written in, for those of thousands of phases.
//!
//! ```text
//! phases:                                                   maps, one key a line, and lists, one item a line
//!   pool: { uses: db_pool, with: { min: 5, max: 20 } }      maps and lists in brackets, on one line
//!   test:
//!     needs: [pool]                                         texts with or without quotes, on one line; whole numbers,
//!     when: "{{ host.cpus > 2 }}"                           `true`, `false`, `null`
//! ```
//!
//! It either answers exactly what the reader of all YAML would, each node at the same place, or nothing: then that one
//! is asked, which also tells what is wrong. So whatever it is not sure of is nothing to it: anchors, tags, blocks of
//! text, escapes, keys in quotes, numbers that are not whole, words that may be booleans. A property holds the two
//! against each other.

use std::collections::HashSet;

use super::place::Extent;
use super::tree::{MOST_VALUES, Node, Tree};

/// Deepest nesting that is followed.
const DEEPEST: usize = 32;

/// Maps of up to so many keys are looked through for a second one of the same name; of larger ones, a set is made.
const FEW: usize = 12;

/// Words that are no texts, or that another reader of YAML might take for none.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

type Entry = (String, Extent, Node);

/// The tree of a document, if it is written plainly.
pub(super) fn read(text: &str) -> Option<Node> {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return None;
    }
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, values: 0 };
    let indent = reader.next_line()?;
    let node = reader.map(indent, DEEPEST)?;
    // What is left is not indented as its beginning was.
    (reader.at == text.len()).then_some(node)
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// The next byte that is not read yet.
    at: usize,
    /// Keys and values so far.
    values: usize,
}

impl Reader<'_> {
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while self.byte() == Some(b' ') {
            self.at += 1;
        }
    }

    /// Goes to the next line that says anything, and answers how far it is indented. Nothing at the end.
    fn next_line(&mut self) -> Option<usize> {
        loop {
            let start = self.at;
            self.skip_spaces();
            match self.byte()? {
                b'\n' => self.at += 1,
                b'#' => self.skip_line(),
                _ => return Some(self.at - start),
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        self.at += length.map_or(rest.len(), |length| length + 1);
    }

    /// Ends a line on which nothing but a comment may follow; answers how far the next one is indented, which at the
    /// end is no distance at all.
    fn end_line(&mut self) -> Option<usize> {
        let before = self.at;
        self.skip_spaces();
        match self.byte() {
            None => {}
            Some(b'\n') => self.at += 1,
            Some(b'#') if self.at > before => self.skip_line(),
            Some(_) => return None,
        }
        Some(self.next_line().unwrap_or(0))
    }

    fn is_item(&self) -> bool {
        self.bytes[self.at..].starts_with(b"- ")
    }

    fn node(&mut self, tree: Tree, start: usize, end: usize) -> Option<Node> {
        self.values += 1;
        (self.values <= MOST_VALUES).then_some(Node { tree, span: Extent::of(start..end) })
    }

    /// A map of one key a line, all of them at `indent`.
    fn map(&mut self, indent: usize, depth: usize) -> Option<Node> {
        let depth = depth.checked_sub(1)?;
        let start = self.at;
        let mut entries = Vec::new();
        loop {
            let (key, span) = self.key()?;
            let (node, next) = self.value_of_line(indent, depth)?;
            entries.push((key, span, node));
            // Deeper, the value would go on. At the end of the text there is nothing more.
            if next > indent {
                return None;
            }
            if next < indent || self.at == self.bytes.len() {
                return self.whole_map(entries, start, start);
            }
        }
    }

    /// What stands behind a key, on its line or below it, and how far the line after that is indented.
    fn value_of_line(&mut self, indent: usize, depth: usize) -> Option<(Node, usize)> {
        let colon = self.at - 1;
        self.skip_spaces();
        if !matches!(self.byte(), None | Some(b'\n' | b'#')) {
            let node = self.value(false, depth)?;
            return Some((node, self.end_line()?));
        }
        self.at = colon + 1;
        let next = self.end_line()?;
        let is_item = self.is_item();
        if next > indent && !is_item {
            let node = self.map(next, depth)?;
            return Some((node, self.indent_here()));
        }
        if is_item && next >= indent {
            let node = self.list(next, next == indent, depth)?;
            return Some((node, self.indent_here()));
        }
        Some((self.node(Tree::Null, colon, colon)?, next))
    }

    /// How far the line is indented at whose first word this is.
    fn indent_here(&self) -> usize {
        let before = self.bytes[..self.at].iter().rev();
        before.take_while(|byte| **byte == b' ').count()
    }

    /// A list of one item a line. One that is not indented is said to begin with its first item.
    fn list(&mut self, indent: usize, is_flush: bool, depth: usize) -> Option<Node> {
        let depth = depth.checked_sub(1)?;
        let dash = self.at;
        let mut items = Vec::new();
        while self.is_item() {
            self.at += 2;
            self.skip_spaces();
            items.push(self.value(false, depth)?);
            let next = self.end_line()?;
            if next > indent {
                return None;
            }
            if next < indent {
                break;
            }
        }
        items.shrink_to_fit();
        let start = if is_flush { items.first()?.span.bytes().start } else { dash };
        self.node(Tree::List(items), start, start)
    }

    /// A value on this line.
    fn value(&mut self, in_brackets: bool, depth: usize) -> Option<Node> {
        match self.byte()? {
            b'{' => self.map_in_brackets(depth),
            b'[' => self.list_in_brackets(depth),
            quote @ (b'"' | b'\'') => self.quoted(quote),
            _ => self.plain(in_brackets),
        }
    }

    fn map_in_brackets(&mut self, depth: usize) -> Option<Node> {
        let depth = depth.checked_sub(1)?;
        let start = self.at;
        let mut entries = Vec::new();
        self.at += 1;
        self.skip_spaces();
        while self.byte()? != b'}' {
            let (key, span) = self.key()?;
            let colon = self.at - 1;
            self.skip_spaces();
            let node = match self.byte()? {
                b',' | b'}' => self.node(Tree::Null, colon, colon)?,
                _ => self.value(true, depth)?,
            };
            entries.push((key, span, node));
            self.end_of_item(b'}')?;
        }
        self.at += 1;
        self.whole_map(entries, start, start + 1)
    }

    fn list_in_brackets(&mut self, depth: usize) -> Option<Node> {
        let depth = depth.checked_sub(1)?;
        let start = self.at;
        let mut items = Vec::new();
        self.at += 1;
        self.skip_spaces();
        while self.byte()? != b']' {
            items.push(self.value(true, depth)?);
            self.end_of_item(b']')?;
        }
        self.at += 1;
        items.shrink_to_fit();
        self.node(Tree::List(items), start, start + 1)
    }

    /// Goes over a comma to what follows it, or up to the bracket.
    fn end_of_item(&mut self, bracket: u8) -> Option<()> {
        self.skip_spaces();
        match self.byte()? {
            b',' => {
                self.at += 1;
                self.skip_spaces();
                (self.byte()? != bracket).then_some(())
            }
            byte => (byte == bracket).then_some(()),
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Option<(String, Extent)> {
        let start = self.at;
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let length = self.bytes[start..].iter().take_while(|byte| is_part(byte)).count();
        let end = start + length;
        let key = &self.text[start..end];
        let is_name = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        self.at = end + 1;
        if !is_name
            || is_word(key)
            || self.bytes.get(end) != Some(&b':')
            || !matches!(self.byte(), None | Some(b' ' | b'\n'))
        {
            return None;
        }
        self.values += 1;
        Some((key.to_owned(), Extent::of(start..end)))
    }

    fn whole_map(&mut self, mut entries: Vec<Entry>, start: usize, end: usize) -> Option<Node> {
        let mut keys = entries.iter().map(|(key, _, _)| key.as_str());
        let is_twice = if entries.len() > FEW {
            let mut seen = HashSet::with_capacity(entries.len());
            !keys.all(|key| seen.insert(key))
        } else {
            (1..entries.len())
                .any(|at| entries[..at].iter().any(|(key, _, _)| *key == entries[at].0))
        };
        entries.shrink_to_fit();
        if is_twice { None } else { self.node(Tree::Map(entries), start, end) }
    }

    /// A text in quotes without anything that stands for something else.
    fn quoted(&mut self, quote: u8) -> Option<Node> {
        let start = self.at;
        let inside = start + 1;
        let special = |byte: &u8| matches!(*byte, b'\\' | b'\n') || *byte == quote;
        let end = inside + self.bytes[inside..].iter().position(special)?;
        self.at = end + 1;
        let is_plain = self.bytes[end] == quote && self.byte() != Some(quote);
        let text = is_plain.then(|| self.text[inside..end].to_owned())?;
        self.node(Tree::Text(text), start, end + 1)
    }

    /// A text without quotes, a number or a word.
    fn plain(&mut self, in_brackets: bool) -> Option<Node> {
        let start = self.at;
        let mut end = start;
        while let Some(byte) = self.byte() {
            let next = self.bytes.get(self.at + 1).copied().unwrap_or(b'\n');
            match byte {
                b'\n' => break,
                b'#' if end < self.at => break,
                b',' | b']' | b'}' if in_brackets => break,
                b'[' | b'{' if in_brackets => return None,
                b':' if matches!(next, b' ' | b'\n' | b',' | b'[' | b']' | b'{' | b'}') => {
                    return None;
                }
                _ => {}
            }
            self.at += 1;
            if byte != b' ' {
                end = self.at;
            }
        }
        self.at = end;
        let tree = scalar(&self.text[start..end])?;
        self.node(tree, start, end)
    }
}

/// What a text without quotes stands for, where that can't be doubted.
fn scalar(text: &str) -> Option<Tree> {
    let mut bytes = text.bytes();
    let plain = match (bytes.next()?, bytes.next()) {
        (b'a'..=b'z' | b'A'..=b'Z', _) if is_word(text) => match text {
            "true" => Tree::Bool(true),
            "false" => Tree::Bool(false),
            "null" => Tree::Null,
            _ => return None,
        },
        (b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'/', _)
        | (b'-', Some(b'a'..=b'z' | b'A'..=b'Z' | b'-'))
        | (b'.', Some(b'/')) => Tree::Text(text.to_owned()),
        (b'0', None) => Tree::Number(0.into()),
        (b'1'..=b'9', _) => {
            let rest = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
            match rest.as_bytes().first() {
                None if text.len() < 19 => Tree::Number(text.parse::<u64>().ok()?.into()),
                // A quantity; only `e` would make a number of it.
                Some(unit) if unit.is_ascii_alphabetic() && !matches!(unit, b'e' | b'E') => {
                    Tree::Text(text.to_owned())
                }
                Some(b'%') => Tree::Text(text.to_owned()),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(plain)
}

fn is_word(text: &str) -> bool {
    text.len() <= 5 && WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tree::read_whole;
    use proptest::prelude::*;

    /// The two agree where this one answers; answers whether it does.
    fn agrees(text: &str) -> bool {
        let Some(node) = read(text) else { return false };
        match read_whole(text) {
            Ok(whole) => assert_eq!(node, whole, "{text}"),
            Err(error) => panic!("{text}\nis not YAML: {error}"),
        }
        true
    }

    #[test]
    fn a_pipeline_as_most_write_it_is_read_quickly_and_as_all_yaml_is() {
        let text = "\n# A pipeline.\nversion: 1 # one\nname: nightly\nphases:\n\n  a: { uses: command, with: { argv: [/bin/echo, 'a b', \
            \"{{ vars.x }}\", -n, --x=1, ./y] }, timeout: 5m, cache: { ttl: 24h }, u: , v: {}, w: [ ] }\n  # two\n  b:\n    \
            uses:   command\n    needs:\n      - a\n      - { x: 80C }\n    optional: true  # yes\n    when:\n    with:\n      \
            limit: 1GiB\n      share: 20%\n      url: sqlite://a:b@c/d#e\n      none: null\n      zero: 0\n  c:\n    needs:\n    \
            - a\n    - b\n    description: some words, and [brackets]\nlast: x";
        assert!(agrees(text));
        assert!(agrees(&format!("{text}\n")));
    }

    #[test]
    fn what_is_not_plain_or_not_right_is_left_to_the_reader_of_all_yaml() {
        for text in [
            "",
            "# c\n",
            "- a\n",
            "a: 1\na: 2\n",
            "a: { b: 1, b: 2 }\n",
            "a: yes\n",
            "a: ~\n",
            "yes: 1\n",
            "a: 1.5\n",
            "a: 1_0\n",
            "a: 007\n",
            "a: 1e5\n",
            "a: -5\n",
            "a: .5\n",
            "a: .inf\n",
            "a: &x b\n",
            "a: *x\n",
            "a: !!str b\n",
            "a: |\n  b\n",
            "a: >\n  b\n",
            "a: b\n  c\n",
            "a: b: c\n",
            "a: [b\n",
            "a: [b,\n c]\n",
            "a: [b, ]\n",
            "a: [b: c]\n",
            "a: {b}\n",
            "a: {b:c}\n",
            "a: \"\\n\"\n",
            "a: 'it''s'\n",
            "'a': b\n",
            "? a\n",
            "<<: b\n",
            "a: b\n---\nc: d\n",
            "---\na: b\n",
            "a: b\n...\n",
            "a:\tb\n",
            "a: b\r\n",
            "a: җ\n",
            "a:\n    b: c\n  d: e\n",
            "a:\n - b\n  - c\n",
            "  a: b\nc: d\n",
            "a: \"b\" c\n",
            "a: [b] c\n",
            "a: [b]#c\n",
            "a: @b\n",
            "a: %b\n",
            "a: 18446744073709551616\n",
            "a: b:\n",
            "a: [b:]\n",
            "a:\n- - b\n",
            "a:\n-\n",
            "a:\n- b: c\n",
            "a: [a{b]\n",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        let deep = format!("a: {}{}\n", "[".repeat(100), "]".repeat(100));
        assert!(read(&deep).is_none());
    }

    /// Pieces of which documents are put together, right and wrong.
    fn piece() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "a",
            "b",
            "key",
            "a: ",
            "b: ",
            "c:",
            ": ",
            ":",
            "\n",
            "\n",
            "\n  ",
            "\n  ",
            "\n    ",
            " ",
            "  ",
            "- ",
            "\n- ",
            "\n  - ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            ",",
            "'x'",
            "\"y\"",
            "'",
            "\"",
            "1",
            "0",
            "42",
            "24h",
            "1GiB",
            "80C",
            "5%",
            "1e5",
            "0x1",
            "1.5",
            "true",
            "null",
            "no",
            "~",
            "/bin/true",
            "--flag",
            "-n",
            "./x",
            "../y",
            "_z",
            "# c",
            " # c",
            "#",
            "|",
            ">",
            "&x",
            "*x",
            "!t",
            "?",
            "@",
            "%",
            "\\",
            "---",
            "...",
            "<<: ",
            "http://x",
            "(",
            ")",
            "=",
            "{{ vars.x }}",
            "\"{{ a }}\"",
            "!",
            "*",
            "&",
            "`",
            "$HOME",
            "+1",
            ";",
        ])
    }

    /// A value on one line, mostly right.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            3 => "[a-z/_][a-zA-Z0-9_/.:=-]{0,8}",
            2 => "[0-9]{1,3}[a-zA-Z%]{0,3}",
            1 => "[ -~]{0,8}",
            1 => "\"[ -~]{0,8}\"",
            1 => "'[ -~]{0,8}'",
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..4);
            let map = proptest::collection::vec(("[a-c]{1,2}", inner), 0..4);
            prop_oneof![
                list.prop_map(|items| format!("[{}]", items.join(", "))),
                map.prop_map(|entries| {
                    let entries: Vec<String> =
                        entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                    format!("{{ {} }}", entries.join(", "))
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_that_is_read_quickly_is_read_alike(pieces in proptest::collection::vec(piece(), 0..24)) {
            agrees(&pieces.concat());
            agrees(&format!("a: {}", pieces.concat()));
        }

        #[test]
        fn lines_that_are_read_quickly_are_read_alike(
            lines in proptest::collection::vec((0_usize..4, "(- |[a-e]: |[a-e]:|)", proptest::option::of(value())), 1..10),
        ) {
            let lines = lines.iter().map(|(indent, key, value)| {
                format!("{}{key}{}\n", " ".repeat(indent * 2), value.as_deref().unwrap_or_default())
            });
            agrees(&lines.collect::<String>());
        }
    }
}
