//! What is visible of a command downstream: what it printed, as texts and as the fields of a JSON object.
//!
//! No value of a secret is in it, and nothing is other than it was printed.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::host::process::{Finished, Gap};
use crate::phase::PhaseError;
use crate::secret::Secrets;
use crate::unit::Bytes;

/// What is visible of a command downstream, beside its exit code `code`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outputs {
    /// `stdout` and `stderr` as texts; and the fields of a JSON object, if that is what it prints.
    #[default]
    Auto,
    /// The fields of the JSON object that it must print.
    Json,
    /// `stdout` and `stderr` as texts.
    Text,
    /// Nothing more.
    None,
}

/// An output as a text that tells no secret, and says what is not in it.
pub(super) fn text(bytes: &[u8], gap: Option<Gap>, secrets: &Secrets) -> String {
    let received = |bytes: &[u8]| {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        secrets.receive(&mut text);
        text
    };
    let Some(gap) = gap else { return received(bytes) };
    let (begin, end) = bytes.split_at(gap.at);
    let (mut begin, mut end) = (received(begin), received(end));
    secrets.cut_end(&mut begin);
    secrets.cut_start(&mut end);
    format!("{begin}\n[{} bytes left out]\n{end}", gap.bytes)
}

/// What is visible downstream, and what should be said of what is not.
pub(super) fn visible(
    outputs: Outputs,
    limit: Bytes,
    ended: &Finished,
    (stdout, stderr): (String, String),
    secrets: &Secrets,
) -> Result<(Map<String, Value>, Option<String>), PhaseError> {
    let mut note = None;
    let mut visible = match outputs {
        Outputs::Json if ended.stdout_gap.is_some() => {
            let told = format!("it printed more than {limit}, so its JSON is not whole");
            return Err(PhaseError::new(told).help("raise `output_limit`"));
        }
        Outputs::Json => fields(&ended.stdout, secrets).map_err(|flaw| match flaw {
            Flaw::NoObject(error) => PhaseError::because("it did not print a JSON object", error)
                .help("`outputs: json` takes one object on standard output and nothing else"),
            Flaw::Inexact(told) => PhaseError::new(format!("its JSON can't be kept as it is: {told}"))
                .help("print each key once, and a longer number as a text"),
        })?,
        Outputs::Auto
            if ended.stdout_gap.is_none() && ended.stdout.trim_ascii().starts_with(b"{") =>
        {
            fields(&ended.stdout, secrets).unwrap_or_else(|flaw| {
                if let Flaw::Inexact(told) = flaw {
                    note = Some(format!(
                        "the fields of the JSON that it printed are not visible, as they can't be kept as they are: {told}"
                    ));
                }
                Map::new()
            })
        }
        Outputs::Auto | Outputs::Text | Outputs::None => Map::new(),
    };
    if matches!(outputs, Outputs::Auto | Outputs::Text) {
        visible.insert("stdout".to_owned(), stdout.into());
        visible.insert("stderr".to_owned(), stderr.into());
    }
    visible.insert("code".to_owned(), ended.status.code().into());
    Ok((visible, note))
}

/// Why there are no fields.
#[derive(Debug)]
enum Flaw {
    /// It is no object in JSON.
    NoObject(serde_json::Error),
    /// It is one that would be changed by being read.
    Inexact(String),
}

/// The fields of a JSON object.
fn fields(bytes: &[u8], secrets: &Secrets) -> Result<Map<String, Value>, Flaw> {
    // From the bytes: a value that is hidden in a text may have been a number.
    let Exact(mut value) = serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() { Flaw::Inexact(error.to_string()) } else { Flaw::NoObject(error) }
    })?;
    if let Some(number) = too_long(bytes) {
        return Err(Flaw::Inexact(format!("the whole number {number} has more than 64 bits")));
    }
    secrets.receive_in(&mut value);
    serde_json::from_value(value).map_err(Flaw::NoObject)
}

/// The first whole number in JSON that has more than 64 bits, and would be rounded.
fn too_long(json: &[u8]) -> Option<&str> {
    let mut rest = json;
    loop {
        let start = rest.iter().position(|b| matches!(b, b'"' | b'-' | b'0'..=b'9'))?;
        rest = &rest[start..];
        if rest.first() == Some(&b'"') {
            let mut is_escaped = false;
            let end = rest.iter().skip(1).position(|b| {
                let ends = *b == b'"' && !is_escaped;
                is_escaped = *b == b'\\' && !is_escaped;
                ends
            })?;
            rest = &rest[end + 2..];
            continue;
        }
        let is_part = |b: &u8| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
        let end = rest.iter().position(|b| !is_part(b)).unwrap_or(rest.len());
        let number = std::str::from_utf8(&rest[..end]).ok()?;
        let is_whole = !number.contains(['.', 'e', 'E']);
        if is_whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
            return Some(number);
        }
        rest = &rest[end..];
    }
}

/// A value of which no key stands twice in a map.
struct Exact(Value);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExactVisitor).map(Self)
    }
}

struct ExactVisitor;

impl<'de> Visitor<'de> for ExactVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Exact(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Exact(item) = entries.next_value()?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{key}` stands in it twice")));
            }
            map.insert(key, item);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_would_be_changed_by_being_read_is_refused_with_the_reason() {
        let read = |text: &str| fields(text.as_bytes(), &Secrets::default());
        for (text, told) in [
            (r#"{"a": 1, "b": {"c": 1, "c": 2}}"#, "the key `c` stands in it twice"),
            (r#"{"a": [18446744073709551616]}"#, "18446744073709551616 has more than 64 bits"),
            (r#"{"a\\": -9223372036854775809}"#, "-9223372036854775809 has more than 64 bits"),
        ] {
            assert!(
                matches!(read(text), Err(Flaw::Inexact(found)) if found.contains(told)),
                "{text}"
            );
        }
        for text in [
            r#"{"a": 18446744073709551615, "b": -9223372036854775808, "c": 1e30, "d": 0.1}"#,
            r#"{"99999999999999999999": "\"99999999999999999999", "e": [], "f": {"a": null}}"#,
        ] {
            let same: Map<String, Value> = serde_json::from_str(text).unwrap();
            assert_eq!(read(text).unwrap(), same, "{text}");
        }
        for text in ["{", "[1]", "1", "{} {}"] {
            assert!(matches!(read(text), Err(Flaw::NoObject(_))), "{text}");
        }
    }
}
