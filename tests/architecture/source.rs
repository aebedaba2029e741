//! Rust sources as far as imports need them.
//!
//! Comments, texts and test code are blanked in place, so that the lines keep their numbers; what is left is
//! searched for paths that begin with `crate`, `$crate` or `super`. This is no parser: it relies on sources that
//! the compiler and rustfmt have accepted.

use std::path::Path;

/// A source file in the forms that rules look at.
#[derive(Debug)]
pub struct SourceFile {
    /// Path below the folder that was read.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Comments and texts blanked.
    pub without_texts: String,
    /// Test code blanked as well.
    pub code: String,
    /// Names of modules in other files that only tests see.
    pub test_modules: Vec<String>,
}

impl SourceFile {
    pub fn new(path: &str, text: &str) -> Self {
        let without_texts = blank_texts(text);
        let (code, test_modules) = blank_tests(&without_texts);
        Self { path: path.to_owned(), text: text.to_owned(), without_texts, code, test_modules }
    }

    /// The module that the file is, from the root of the crate.
    pub fn module(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let mut parts: Vec<String> = stem.split('/').map(str::to_owned).collect();
        if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }

    /// Every path into the crate, from its root, with its line.
    pub fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        let bytes = self.code.as_bytes();
        for (start, word) in
            ["crate", "super"].iter().flat_map(|word| self.code.match_indices(*word))
        {
            let before = start.checked_sub(1).map_or(b' ', |at| bytes[at]);
            if is_word(before) || before == b':' {
                continue;
            }
            let mut prefix = self.module();
            if word == "crate" {
                prefix.clear();
            } else {
                prefix.pop();
            }
            let mut at = start + word.len();
            while word == "super" && self.code[at..].starts_with("::super") {
                prefix.pop();
                at += "::super".len();
            }
            if let Some(rest) = self.code[at..].strip_prefix("::") {
                let at = self.code.len() - rest.len();
                self.tree(at, &prefix, &mut found);
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// The paths of a use tree (or a plain path) that begins at a byte; answers where it ends.
    fn tree(
        &self,
        mut at: usize,
        prefix: &[String],
        found: &mut Vec<(usize, Vec<String>)>,
    ) -> usize {
        let bytes = self.code.as_bytes();
        let skip = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
                at += 1;
            }
            at
        };
        let mut path = prefix.to_vec();
        loop {
            at = skip(at);
            if bytes.get(at) == Some(&b'{') {
                at = skip(at + 1);
                while bytes.get(at).is_some_and(|byte| *byte != b'}') {
                    let end = self.tree(at, &path, found);
                    at = skip(end.max(at + 1));
                    if bytes.get(at) == Some(&b',') {
                        at = skip(at + 1);
                    }
                }
                return at + 1;
            }
            let length = self.code[at..].bytes().take_while(|byte| is_word(*byte)).count();
            if length == 0 {
                return at;
            }
            path.push(self.code[at..at + length].to_owned());
            let here = at;
            at += length;
            if self.code[at..].starts_with("::") {
                at += 2;
                if bytes.get(at) != Some(&b'<') {
                    continue;
                }
            }
            found.push((self.code[..here].matches('\n').count() + 1, path));
            if self.code[at..].starts_with(" as ") {
                at += 4;
                at += self.code[at..].bytes().take_while(|byte| is_word(*byte)).count();
            }
            return at;
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// All `.rs` files below a folder.
pub fn read_tree(folder: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                files.push(SourceFile::new(&name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

/// Comments and the insides of texts and characters become blanks.
fn blank_texts(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let end = match rest {
            [b'/', b'/', ..] => at + length_until(rest, b"\n"),
            [b'/', b'*', ..] => at + block_comment(rest),
            [b'"', ..] => at + quoted(rest),
            [b'r' | b'b', ..] if at == 0 || !is_word(bytes[at - 1]) => at + raw(rest).unwrap_or(0),
            [b'\'', b'\\', ..] => at + 2 + length_until(&rest[2..], b"'").max(1) + 1,
            [b'\'', ..] => at + character(&text[at..]).unwrap_or(0),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        let end = end.min(bytes.len());
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).unwrap()
}

fn length_until(bytes: &[u8], end: &[u8]) -> usize {
    bytes.windows(end.len()).position(|window| window == end).unwrap_or(bytes.len())
}

fn block_comment(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn quoted(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Length of a raw text such as `r#"..."#`, if this is one.
fn raw(bytes: &[u8]) -> Option<usize> {
    let mut at = usize::from(bytes.first() == Some(&b'b'));
    at += usize::from(bytes.get(at) == Some(&b'r'));
    if bytes.get(at - 1) != Some(&b'r') {
        return None;
    }
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".to_vec(), vec![b'#'; hashes]].concat();
    let start = at + hashes + 1;
    Some(start + length_until(&bytes[start..], &end) + end.len())
}

/// Length of a character such as `'x'`; none when the quote begins a lifetime.
fn character(text: &str) -> Option<usize> {
    let inner = text[1..].chars().next()?;
    text[1 + inner.len_utf8()..].starts_with('\'').then(|| inner.len_utf8() + 2)
}

/// Items under `#[cfg(test)]` become blanks; answers the modules in other files among them too.
fn blank_tests(code: &str) -> (String, Vec<String>) {
    let mut out = code.as_bytes().to_vec();
    let mut modules = Vec::new();
    for (start, mark) in code.match_indices("#[cfg(test)]") {
        let after = start + mark.len();
        let length = code[after..].find(['{', ';']).map_or(code.len() - after, |at| at + 1);
        let head = &code[after..after + length];
        let mut end = after + length;
        if head.ends_with('{') {
            let mut depth = 1;
            for byte in code[end..].bytes() {
                depth += i32::from(byte == b'{') - i32::from(byte == b'}');
                end += 1;
                if depth == 0 {
                    break;
                }
            }
        } else if let Some((_, name)) = head.trim_end_matches(';').split_once("mod ") {
            modules.push(name.trim().to_owned());
        }
        for byte in &mut out[start..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    (String::from_utf8(out).unwrap(), modules)
}
