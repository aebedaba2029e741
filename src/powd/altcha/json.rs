//! JSON that means one thing to everybody who reads it, and JSON that is signed.
//!
//! A name that stands twice in an object is refused: libraries differ in which of the two they take. What is signed is
//! written as the issuing libraries do, which write what JavaScript would: objects with their names sorted by UTF-16,
//! those that are array indices first and by number, no spaces, numbers as ECMA-262 prints them. Objects within arrays
//! keep the order they were given in. `__proto__` is refused, as JavaScript would leave it out of what it signs.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::PayloadError;

/// Whole numbers beyond are no longer exact in JavaScript.
const EXACT: u64 = 1 << 53;

/// The last index of an array in JavaScript.
const LAST_INDEX: u64 = (1 << 32) - 2;

/// Reads a text in which no name stands twice.
///
/// # Errors
/// When it is not JSON, or a name does.
pub fn read(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Strict>(text).map(|Strict(value)| value)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if values.contains_key(&name) {
                let name: String = name.chars().take(40).collect();
                return Err(de::Error::custom(format!("`{name}` stands twice")));
            }
            let Strict(value) = map.next_value()?;
            values.insert(name, value);
        }
        Ok(values.into())
    }
}

/// A value as it is signed; none where a name is `__proto__`.
#[must_use]
pub fn canonical(value: &Value) -> Option<String> {
    let mut text = String::new();
    write(value, true, &mut text)?;
    Some(text)
}

fn write(value: &Value, sorted: bool, out: &mut String) -> Option<()> {
    match value {
        Value::Number(number) => out.push_str(&printed(number)),
        Value::Array(values) => {
            out.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(value, false, out)?;
            }
            out.push(']');
        }
        Value::Object(values) => {
            let mut entries: Vec<(&String, &Value)> = values.iter().collect();
            // The sort is stable, so names that need not be sorted stay in their order.
            entries.sort_by(|(one, _), (other, _)| order(one, other, sorted));
            out.push('{');
            for (place, (name, value)) in entries.into_iter().enumerate() {
                if name == "__proto__" {
                    return None;
                }
                if place > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, sorted, out)?;
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
    Some(())
}

fn order(one: &str, other: &str, sorted: bool) -> Ordering {
    match (array_index(one), array_index(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) if sorted => one.encode_utf16().cmp(other.encode_utf16()),
        (None, None) => Ordering::Equal,
    }
}

fn array_index(name: &str) -> Option<u64> {
    let plain = name == "0" || !name.starts_with(['0', '+']);
    name.parse().ok().filter(|index| plain && *index <= LAST_INDEX)
}

/// A number as ECMA-262 prints it (`Number::toString`).
fn printed(number: &Number) -> String {
    match (number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64()), number.as_f64()) {
        (Some(exact), _) if exact <= EXACT => number.to_string(),
        (_, Some(float)) => float_printed(float),
        (_, None) => "null".to_owned(),
    }
}

fn float_printed(float: f64) -> String {
    if float == 0.0 {
        return "0".to_owned();
    }
    // The shortest digits that give the number back, as `-1.5e-7`.
    let shortest = format!("{float:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (count, point) = (i32::try_from(digits.len()).unwrap_or(i32::MAX), exponent + 1);
    let text = if !(-5..=21).contains(&point) {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{first}{dot}{rest}e{exponent:+}")
    } else if point <= 0 {
        format!("0.{}{digits}", "0".repeat(-point as usize))
    } else if point >= count {
        format!("{digits}{}", "0".repeat((point - count) as usize))
    } else {
        let (whole, rest) = digits.split_at(point as usize);
        format!("{whole}.{rest}")
    };
    format!("{sign}{text}")
}

/// The fields of an object, each of which is taken once; what is left in the end is too much.
pub(super) struct Fields(pub Map<String, Value>);

impl Fields {
    /// The fields of an object that a field is.
    pub fn object(&mut self, name: &str) -> Result<Self, PayloadError> {
        match self.0.remove(name) {
            Some(Value::Object(fields)) => Ok(Self(fields)),
            found => Err(wrong(name, found.as_ref(), "an object")),
        }
    }

    pub fn text(&mut self, name: &str) -> Result<String, PayloadError> {
        match self.0.remove(name) {
            Some(Value::String(text)) => Ok(text),
            found => Err(wrong(name, found.as_ref(), "a text")),
        }
    }

    pub fn optional_text(&mut self, name: &str) -> Result<Option<String>, PayloadError> {
        if self.takes_nothing(name) { Ok(None) } else { self.text(name).map(Some) }
    }

    pub fn whole(&mut self, name: &str) -> Result<u64, PayloadError> {
        let found = self.0.remove(name);
        let whole = found.as_ref().and_then(Value::as_u64);
        whole.ok_or_else(|| wrong(name, found.as_ref(), "a whole number"))
    }

    pub fn optional_whole(&mut self, name: &str) -> Result<Option<u64>, PayloadError> {
        if self.takes_nothing(name) { Ok(None) } else { self.whole(name).map(Some) }
    }

    /// Takes a number that is of no meaning here, where there is one.
    pub fn skip_number(&mut self, name: &str) -> Result<(), PayloadError> {
        match self.0.remove(name) {
            None | Some(Value::Null | Value::Number(_)) => Ok(()),
            found => Err(wrong(name, found.as_ref(), "a number")),
        }
    }

    /// Bytes as lower-case hex.
    pub fn hex(&mut self, name: &str) -> Result<Vec<u8>, PayloadError> {
        let text = self.text(name)?;
        super::lower_hex(&text)
            .ok_or_else(|| PayloadError::malformed(format!("`{name}` must be lower-case hex")))
    }

    /// Takes a field that is not there, or is null.
    fn takes_nothing(&mut self, name: &str) -> bool {
        let nothing = self.0.get(name).is_none_or(Value::is_null);
        if nothing {
            self.0.remove(name);
        }
        nothing
    }

    /// # Errors
    /// When something is left.
    pub fn end(self) -> Result<(), PayloadError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(40).collect();
                Err(PayloadError::malformed(format!("unknown field `{name}`")))
            }
        }
    }
}

fn wrong(name: &str, found: Option<&Value>, wanted: &str) -> PayloadError {
    PayloadError::malformed(match found {
        None => format!("`{name}` is missing"),
        Some(_) => format!("`{name}` must be {wanted}"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signed(text: &str) -> Option<String> {
        canonical(&read(text).unwrap())
    }

    #[test]
    fn what_is_signed_is_written_as_the_issuing_library_writes_it() {
        let given = r#"{"algorithm": "PBKDF2/SHA-256", "cost": 1000, "data": {"z": 1, "a": [{"b": 1, "a": 2}], "10": true,
            "9": null, "\u00fc": "\u2028\"\\\n\u0001", "n": 1.5e-7, "m": 1e21, "k": {"y": 0.1, "x": -2.5}}}"#;
        let wanted = "{\"algorithm\":\"PBKDF2/SHA-256\",\"cost\":1000,\"data\":{\"9\":null,\"10\":true,\
            \"a\":[{\"b\":1,\"a\":2}],\"k\":{\"x\":-2.5,\"y\":0.1},\"m\":1e+21,\"n\":1.5e-7,\"z\":1,\
            \"\u{fc}\":\"\u{2028}\\\"\\\\\\n\\u0001\"}}";
        assert_eq!(signed(given).unwrap(), wanted);
        assert_eq!(signed(r#"{"a":{"__proto__":1}}"#), None);
        assert_eq!(
            signed(r#"{"\ue000":1,"\ud83d\ude00":2}"#).unwrap(),
            "{\"\u{1f600}\":2,\"\u{e000}\":1}"
        );
        assert_eq!(
            signed(r#"{"4294967295":1,"01":2,"1":3}"#).unwrap(),
            r#"{"1":3,"01":2,"4294967295":1}"#
        );
        assert_eq!(signed(r#"[{"b":1,"2":0,"1":0}]"#).unwrap(), r#"[{"1":0,"2":0,"b":1}]"#);
    }

    #[test]
    fn numbers_are_printed_as_javascript_does() {
        for (given, wanted) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.0", "1"),
            ("-17", "-17"),
            ("9007199254740992", "9007199254740992"),
            ("9007199254740993", "9007199254740992"),
            ("18446744073709551615", "18446744073709552000"),
            ("123456789012345680000", "123456789012345680000"),
            ("1e21", "1e+21"),
            ("-1.25e22", "-1.25e+22"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("123.456", "123.456"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ] {
            assert_eq!(signed(given).unwrap(), wanted, "{given}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for wrong in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"\u0062":1}}"#,
            r#"[{"a":1,"a":2}]"#,
            "{} {}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":1e999}",
            "{\"a\":NaN}",
            r#""\ud800""#,
            "",
            &"[".repeat(1000),
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_float_that_was_printed_is_read_back(float in proptest::num::f64::NORMAL) {
            prop_assert_eq!(float_printed(float).parse::<f64>(), Ok(float));
        }
    }
}
