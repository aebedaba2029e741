//! One line of text as a proof, in the form in which people have it at hand.
//!
//! ```text
//! {"format":"challenge","data":"00ff","nonce":71,"bits":16}       any format, as on the wire
//! {"algorithm":"SHA-256","challenge":"0efa..","number":1234, ..}  an ALTCHA payload that somebody has decoded
//! eyJhbGdvcml0aG0iOi..                                            an ALTCHA payload as a page sends it
//! 1:20:040428:foo::0298b26853c8ebb3:beca0                         a hashcash stamp
//! 0100000000..                                                    a header: 160 hex digits, Bitcoin's unless told
//! ```
//! No text is two of these, so [`Form::Auto`] guesses nothing but the network of a header.

use super::altcha;
use super::fields::{Entry, Malformed};
use super::hashcash::Stamp;
use super::header::Header;
use super::proof::Proof;
use super::wire::{self, Submission};

/// What a line is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Whatever it looks like.
    #[default]
    Auto,
    /// JSON, as on the wire.
    Json,
    /// A header of Bitcoin.
    Bitcoin,
    /// A header of Litecoin.
    Litecoin,
    /// A stamp.
    Hashcash,
    /// A payload, in base64 or decoded.
    Altcha,
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it.
pub fn read(line: &str, form: Form) -> Entry {
    match form {
        Form::Json => json(line),
        Form::Bitcoin => header(line).map(|header| Proof::Bitcoin { header }),
        Form::Litecoin => header(line).map(|header| Proof::Litecoin { header }),
        Form::Hashcash => match line.parse::<Stamp>() {
            Ok(stamp) => Ok(Proof::Hashcash { stamp }),
            Err(error) => Err(error.to_string().into()),
        },
        Form::Altcha if line.starts_with('{') => Ok(altcha::read(line)?.into()),
        Form::Altcha => Ok(altcha::decode(line)?.into()),
        Form::Auto => read(line, looks_like(line)),
    }
}

fn looks_like(line: &str) -> Form {
    if line.starts_with('{') {
        // A payload that was decoded has no `format`; whatever else has none is told so by the wire.
        let is_payload = altcha::json::read(line).is_ok_and(|json| {
            json.get("format").is_none()
                && (json.get("algorithm").or(json.get("solution")).is_some())
        });
        return if is_payload { Form::Altcha } else { Form::Json };
    }
    if line.contains(':') {
        return Form::Hashcash;
    }
    if line.len() == 160 && line.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Form::Bitcoin;
    }
    Form::Altcha
}

fn json(line: &str) -> Entry {
    match wire::read(line.as_bytes(), 1) {
        Ok(Submission::One(entry)) => entry,
        Ok(Submission::Many(_)) | Err(wire::ReadError::TooMany { .. }) => {
            Err("a line is one proof, and not a list".to_owned().into())
        }
        Err(wire::ReadError::Syntax(error)) => Err(format!("it is not JSON: {error}").into()),
    }
}

fn header(line: &str) -> Result<Header, Malformed> {
    line.parse::<Header>().map_err(|error| error.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::powd::header::tests::GENESIS;
    use crate::powd::proof::Format;
    use crate::powd::reason::Reason;

    const PAYLOAD: &str = r#"{"algorithm":"SHA-1","challenge":"b4b4e0b8c2a32d515c21f7940512953412b84850","number":1234,"salt":"a?expires=1800000000&","signature":"8520013874d849bd06e149e86cceb3ae63cbb18b"}"#;

    #[test]
    fn each_form_is_known_by_its_looks() {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(PAYLOAD);
        let wire = format!(r#"{{"format":"litecoin","header":"{GENESIS}"}}"#);
        for (line, format) in [
            (GENESIS, Format::Bitcoin),
            (&GENESIS.to_uppercase(), Format::Bitcoin),
            ("1:20:040428:foo::0298b26853c8ebb3:beca0", Format::Hashcash),
            (&encoded, Format::AltchaV1),
            (PAYLOAD, Format::AltchaV1),
            (&wire, Format::Litecoin),
            (r#"{"format":"challenge","data":"00","nonce":1,"bits":1}"#, Format::Challenge),
        ] {
            assert_eq!(read(line, Form::Auto).unwrap().format(), format, "{line}");
        }
        assert_eq!(read(GENESIS, Form::Litecoin).unwrap().format(), Format::Litecoin);
    }

    #[test]
    fn a_line_that_is_no_proof_is_told_what_is_wrong_with_it() {
        for (line, form, told) in [
            ("{", Form::Auto, "it is not JSON"),
            ("{}", Form::Auto, "`format` is missing"),
            ("[]", Form::Json, "not a list"),
            (r#"{"format":"altcha","algorithm":1}"#, Form::Auto, "unknown field `algorithm`"),
            (r#"{"algorithm":"x","algorithm":"x"}"#, Form::Altcha, "stands twice"),
            ("1:2:3", Form::Auto, "seven fields"),
            ("zz", Form::Auto, "base64"),
            ("zz", Form::Bitcoin, "160 hex digits"),
            (PAYLOAD, Form::Json, "unknown field `algorithm`"),
        ] {
            let error = read(line, form).unwrap_err();
            assert!(error.told.contains(told), "{line}: {error}");
            assert_eq!(error.reason, Reason::Malformed);
        }
    }
}
