//! A text that may be written as a number or a truth: an argument of a program, a value of its environment.
//!
//! So an expression that has a number as its value can stand where a text is wanted. Knows no kind of phase.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::shown;

/// A text, a number or a truth, as a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(String);

/// Written without the passwords of URLs, so that no cache key ever holds one.
impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&shown::without_passwords(&self.0))
    }
}

impl Deref for Word {
    type Target = String;

    fn deref(&self) -> &String {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

struct Words;

impl Visitor<'_> for Words {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number or a boolean")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
        Ok(Word(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Word, E> {
        Ok(Word(truth.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "word".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn a_word_is_written_without_the_password_of_a_url_in_it() {
        let word: Word = from_value(json!("--db=postgres://u:secret@h/d")).unwrap();
        assert_eq!(serde_json::to_value(&word).unwrap(), "--db=postgres://u:***@h/d");
        assert!(word.contains("secret"));
    }

    #[test]
    fn a_word_is_a_text_a_number_or_a_truth_and_nothing_else() {
        for (written, read) in [
            (json!("a b"), "a b"),
            (json!(5), "5"),
            (json!(-1), "-1"),
            (json!(0.5), "0.5"),
            (json!(true), "true"),
        ] {
            assert_eq!(*from_value::<Word>(written).unwrap(), read);
        }
        for wrong in [json!(null), json!([1]), json!({ "a": 1 })] {
            from_value::<Word>(wrong).unwrap_err();
        }
    }
}
