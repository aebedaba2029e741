//! What is run: how it may be written, and what no kernel would pass to a program.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::phase::{WithError, Word};
use crate::secret::stands_in;

/// Longest argument, or variable of the environment with its name, in bytes: execve(2), `MAX_ARG_STRLEN`.
pub(super) const LONGEST: usize = 128 * 1024 - 1;

/// Most bytes of all arguments: three quarters of the 8 MiB that a stack has at first, execve(2).
const MOST_BYTES: usize = 6 << 20;

/// What each argument takes beside its text: its end, and where it is.
const OF_EACH: usize = 1 + size_of::<usize>();

/// What is run: a list of words, or the text for a shell. A list of one text is the same for a shell.
#[derive(Debug)]
pub(super) struct Argv {
    pub(super) words: Vec<Word>,
    /// Written as a text and not as a list.
    is_text: bool,
}

impl Argv {
    /// All words in a line.
    pub(super) fn joined(&self) -> String {
        self.words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// As a list, however it was written: so the same command has the same cache key.
impl Serialize for Argv {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.words.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArgvVisitor)
    }
}

struct ArgvVisitor;

impl<'de> Visitor<'de> for ArgvVisitor {
    type Value = Argv;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, words: A) -> Result<Argv, A::Error> {
        let words = Vec::deserialize(SeqAccessDeserializer::new(words))?;
        Ok(Argv { words, is_text: false })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Argv, E> {
        let word = Word::deserialize(text.into_deserializer())?;
        Ok(Argv { words: vec![word], is_text: true })
    }
}

impl JsonSchema for Argv {
    fn schema_name() -> Cow<'static, str> {
        "argv".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let words = generator.subschema_for::<Vec<Word>>();
        json_schema!({ "anyOf": [words, { "type": "string" }] })
    }
}

/// What is wrong with it.
pub(super) fn check(argv: &Argv, shell: bool) -> Vec<WithError> {
    let mut wrong = Vec::new();
    match argv.words.as_slice() {
        [first, ..] if first.trim().is_empty() => {
            wrong.push(
                WithError::at("argv", "there is no program")
                    .help("write it like `argv: [/usr/bin/true]`"),
            );
        }
        [] => wrong.push(
            WithError::at("argv", "there is no program")
                .help("write it like `argv: [/usr/bin/true]`"),
        ),
        [_, _, ..] if shell => wrong.push(
            WithError::at("argv", "a shell runs one text, and this is a list of several").help(
                "write `argv: \"first | second\"` with `shell: true`, or leave `shell` out: a program needs no shell to get its arguments",
            ),
        ),
        [text] if argv.is_text && !shell => {
            wrong.push(WithError::at("argv", NO_SHELL).help(as_list(text)));
        }
        _ => {}
    }
    for (index, _) in argv.words.iter().enumerate().filter(|(_, text)| stands_in(text)) {
        let told = "a secret can't be an argument: everybody on the host can read those";
        let path = vec!["argv".to_owned(), index.to_string()];
        let help = "give it by `env` or `stdin`, and let the program read it there";
        wrong.push(WithError { path, message: told.to_owned(), help: Some(help.to_owned()) });
    }
    for (index, word) in argv.words.iter().enumerate() {
        let path = || vec!["argv".to_owned(), index.to_string()];
        wrong.extend(not_passed(word.len(), word.contains('\0'), "an argument", path));
    }
    let bytes: usize = argv.words.iter().map(|word| word.len() + OF_EACH).sum();
    if bytes > MOST_BYTES {
        let told = format!(
            "the arguments take {bytes} bytes, and no kernel passes more than {MOST_BYTES}"
        );
        wrong.push(WithError::at("argv", told).help("give them by `stdin`, or in a file"));
    }
    wrong
}

/// What is wrong with a text of so many bytes that is to be passed to a program.
pub(super) fn not_passed(
    bytes: usize,
    has_nul: bool,
    what: &str,
    path: impl Fn() -> Vec<String>,
) -> Option<WithError> {
    let (message, help) = if has_nul {
        let told = format!("{what} can't have a NUL byte in it: it would end there");
        (told, "give it by `stdin`, or in a file")
    } else if bytes > LONGEST {
        let told = format!("{what} has {bytes} bytes, and the kernel passes at most {LONGEST}");
        (told, "give it by `stdin`, or in a file")
    } else {
        return None;
    };
    Some(WithError { path: path(), message, help: Some(help.to_owned()) })
}

const NO_SHELL: &str = "this is a text, and without a shell nobody takes it apart";

/// How a text is written as program and arguments, as far as that can be told: not what quotes are for.
pub(super) fn as_list(text: &str) -> String {
    const SHELL_SIGNS: [char; 16] =
        ['|', '&', ';', '<', '>', '$', '`', '"', '\'', '\\', '(', ')', '*', '?', '~', '\n'];
    if text.contains(SHELL_SIGNS) {
        return "add `shell: true` to have a shell run it".to_owned();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("write `argv: [{}]`, or add `shell: true`", words.join(", "))
}
