//! ALTCHA, both versions: what a page sends back once its visitor's processor has solved the challenge.
//!
//! A payload is base64 (RFC 4648, standard alphabet, padded) of a JSON object; which version it is shows in its fields:
//! ```json
//! {"algorithm":"SHA-256","challenge":"0efa..","number":1234,"salt":"54Di..?expires=1800000000&","signature":"7470.."}
//! {"challenge":{"parameters":{"algorithm":"PBKDF2/SHA-256", ..},"signature":"5402.."},"solution":{"counter":306,"derivedKey":"000a.."}}
//! ```
//! [`v1`] and [`v2`] know their rules, [`mod@derive`] the functions that take time and memory, [`json`] reads what has one
//! meaning only, and writes what is signed.

pub mod derive;
pub mod json;
pub mod v1;
pub mod v2;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::reason::Reason;

/// Longest payload, in bytes of base64.
const LONGEST: usize = 16 << 10;

/// What is wrong with a text that is no payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{told}")]
pub struct PayloadError {
    /// The reason that it is rejected for.
    pub reason: Reason,
    /// What is wrong.
    pub told: String,
}

impl PayloadError {
    fn because(reason: Reason, told: impl Into<String>) -> Self {
        Self { reason, told: told.into() }
    }

    fn malformed(told: impl Into<String>) -> Self {
        Self::because(Reason::Malformed, told)
    }
}

/// A payload as submitted; its syntax is right, nothing else is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Of the first version.
    V1(Box<v1::Payload>),
    /// Of the second.
    V2(Box<v2::Payload>),
}

/// Reads a payload as a page sends it.
///
/// # Errors
/// When it is none.
pub fn decode(text: &str) -> Result<Payload, PayloadError> {
    if text.len() > LONGEST {
        return Err(PayloadError::malformed(format!("a payload is at most {LONGEST} bytes long")));
    }
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| PayloadError::malformed(format!("a payload is base64: {error}")))?;
    let json = String::from_utf8(bytes)
        .map_err(|_| PayloadError::malformed("a payload is base64 of JSON, which is UTF-8"))?;
    read(&json)
}

/// Reads the JSON of a payload.
///
/// # Errors
/// When it is none.
pub fn read(json: &str) -> Result<Payload, PayloadError> {
    if json.len() > LONGEST {
        return Err(PayloadError::malformed(format!("a payload is at most {LONGEST} bytes long")));
    }
    match json::read(json).map_err(|error| PayloadError::malformed(error.to_string()))? {
        Value::Object(fields) if fields.contains_key("solution") => {
            v2::Payload::read(fields).map(|payload| Payload::V2(Box::new(payload)))
        }
        Value::Object(fields) => {
            v1::Payload::read(fields).map(|payload| Payload::V1(Box::new(payload)))
        }
        _ => Err(PayloadError::malformed("a payload is a JSON object")),
    }
}

/// A payload as a page sends it.
fn encode(json: &Value) -> String {
    STANDARD.encode(json.to_string())
}

/// Bytes from digits as they are issued: lower-case hex.
fn lower_hex(text: &str) -> Option<Vec<u8>> {
    let lower = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if lower { hex::decode(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_one_spelling() {
        for wrong in
            ["", "e30", "e30=\n", " e30=", "e31=", "e30==", "e30=e30=", "-_-_", "e30%3D", "\u{e4}"]
        {
            assert_eq!(decode(wrong).unwrap_err().reason, Reason::Malformed, "{wrong:?}");
        }
        assert!(decode("e30=").unwrap_err().told.contains("`algorithm` is missing"));
        assert!(decode(&"e30=".repeat(5000)).unwrap_err().told.contains("at most"));
        assert!(decode("W10=").unwrap_err().told.contains("a JSON object"));
        assert!(decode("/w==").unwrap_err().told.contains("UTF-8"));
    }

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(lower_hex("0aff"), Some(vec![0x0a, 0xff]));
        for wrong in ["0A", "0", "0x", " 0", "\u{e4}"] {
            assert_eq!(lower_hex(wrong), None);
        }
    }
}
