//! Proofs as JSON: the body of a request, read strictly, and what is wrong with each of its proofs.
//!
//! A body is one proof, or many:
//! ```json
//! {"format":"challenge","data":"00ff","nonce":71,"bits":16}
//! {"format":"hashcash","stamp":"1:20:040428:foo::0298b26853c8ebb3:beca0"}
//! {"format":"altcha","payload":"eyJhbGdvcml0aG0iOi.."}
//! [{"format":"bitcoin","header":"0100.."}, {"format":"challenge","data":"00ff","nonce":72,"bits":16}]
//! {"proofs":[{"format":"bitcoin","header":"0100.."}]}
//! ```
//! A body that is not JSON of that shape is refused whole. A proof in it that lacks a field, has one too many or
//! one of a wrong type is malformed by itself, and does not spoil its neighbours. Nothing is guessed or defaulted,
//! a field that stands twice is malformed, and hex digits may be of either case. What a proof
//! is made of is known to [`fields`](super::fields), and what proofs are worth to neither.

use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::fields::{Entry, Fields, Key};
use super::proof::Proof;

/// Most proofs that a request may hold.
pub const MAX_PROOFS: usize = 1024;

/// The proofs of one body.
#[derive(Debug, PartialEq, Eq)]
pub enum Submission {
    /// The body is a proof.
    One(Entry),
    /// The body is a list of them, in their order.
    Many(Vec<Entry>),
}

/// A body that is refused whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not JSON of the right shape.
    #[error("the body is not a proof or a list of proofs in JSON")]
    Syntax(#[source] serde_json::Error),
    /// It holds too many proofs.
    #[error("the body holds {found} proofs; at most {limit} are taken at once")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// Reads a body of at most `limit` proofs.
///
/// # Errors
/// When it is not JSON of the right shape, or holds more proofs.
pub fn read(body: &[u8], limit: usize) -> Result<Submission, ReadError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let top = BodyVisitor { limit };
    let read = json.deserialize_any(top).map_err(ReadError::Syntax)?;
    json.end().map_err(ReadError::Syntax)?;
    match read {
        Body::One(entry) => Ok(Submission::One(entry)),
        Body::Many(List { found, .. }) if found > limit => Err(ReadError::TooMany { found, limit }),
        Body::Many(list) => Ok(Submission::Many(list.entries)),
    }
}

impl<'de> Deserialize<'de> for Proof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)?.map_err(de::Error::custom)
    }
}

enum Body {
    One(Entry),
    Many(List),
}

/// The proofs of a list as far as they may be kept, and how many there were.
#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    found: usize,
}

struct BodyVisitor {
    limit: usize,
}

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a proof, an array of proofs, or {\"proofs\": [..]}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Body, A::Error> {
        ListSeed { limit: self.limit }.visit_seq(seq).map(Body::Many)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut fields = Fields::default();
        let mut list = None;
        while let Some(key) = map.next_key::<Key>()? {
            if matches!(&key, Key::Other(name) if name == "proofs") {
                let seed = ListSeed { limit: self.limit };
                if list.replace(map.next_value_seed(seed)?).is_some() {
                    return Err(de::Error::custom("`proofs` stands twice"));
                }
            } else {
                fields.set(&key, map.next_value()?);
            }
        }
        match list {
            None => Ok(Body::One(fields.finish())),
            Some(list) if fields.is_empty() => Ok(Body::Many(list)),
            Some(_) => Err(de::Error::custom("`proofs` must stand alone")),
        }
    }
}

struct ListSeed {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for ListSeed {
    type Value = List;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<List, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListSeed {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of proofs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List, A::Error> {
        let mut list = List::default();
        while list.found < self.limit {
            match seq.next_element_seed(EntrySeed)? {
                Some(entry) => list.entries.push(entry),
                None => return Ok(list),
            }
            list.found += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            list.found += 1;
        }
        Ok(list)
    }
}

struct EntrySeed;

impl<'de> DeserializeSeed<'de> for EntrySeed {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

/// Reads any JSON value as a proof; fails only where the JSON itself does.
struct EntryVisitor;

impl EntryVisitor {
    fn not_an_object() -> Entry {
        Err("a proof must be a JSON object".to_owned().into())
    }
}

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a proof")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Key>()? {
            fields.set(&key, map.next_value()?);
        }
        Ok(fields.finish())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::not_an_object())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Entry, E> {
        Ok(Self::not_an_object())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Entry, E> {
        Ok(Self::not_an_object())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Entry, E> {
        Ok(Self::not_an_object())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Entry, E> {
        Ok(Self::not_an_object())
    }

    fn visit_str<E>(self, _: &str) -> Result<Entry, E> {
        Ok(Self::not_an_object())
    }

    fn visit_unit<E>(self) -> Result<Entry, E> {
        Ok(Self::not_an_object())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::powd::challenge::Challenge;
    use crate::powd::fields::Malformed;
    use crate::powd::header::tests::GENESIS;

    const CHALLENGE: &str =
        r#"{"format":"challenge","data":"00ff","nonce":18446744073709551615,"bits":16}"#;

    fn complaint(body: &str) -> String {
        match read(body.as_bytes(), 10).unwrap() {
            Submission::One(Err(Malformed { told, .. })) => told,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn a_proof_is_read_as_it_is_written() {
        let bitcoin = format!(r#"{{"format":"bitcoin","header":"{GENESIS}"}}"#);
        for text in [CHALLENGE, &bitcoin] {
            let proof: Proof = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&proof).unwrap(), text);
            assert_eq!(read(text.as_bytes(), 1).unwrap(), Submission::One(Ok(proof)));
        }
    }

    #[test]
    fn the_order_of_fields_and_escapes_do_not_matter() {
        let text = r#" {"bits":16, "nonce":18446744073709551615, "data":"\u00300Ff", "f\u006frmat":"challenge"} "#;
        assert_eq!(
            serde_json::from_str::<Proof>(text).unwrap(),
            serde_json::from_str::<Proof>(CHALLENGE).unwrap()
        );
    }

    #[test]
    fn what_is_wrong_with_a_proof_is_named() {
        for (body, wanted) in [
            (
                "{}",
                "`format` is missing; write `bitcoin`, `litecoin`, `challenge`, `hashcash` or `altcha`",
            ),
            (
                r#"{"format":"altcha_v1"}"#,
                "`format` must be `bitcoin`, `litecoin`, `challenge`, `hashcash` or `altcha`",
            ),
            (r#"{"format":"hashcash"}"#, "`stamp` is missing"),
            (r#"{"format":"hashcash","stamp":7}"#, "`stamp` must be a text"),
            (
                r#"{"format":"hashcash","stamp":"1:2"}"#,
                "a stamp has seven fields with `:` between them",
            ),
            (r#"{"format":"altcha"}"#, "`payload` is missing"),
            (r#"{"format":"altcha","payload":{}}"#, "`payload` must be a text of base64"),
            (r#"{"format":"altcha","payload":"e30="}"#, "`algorithm` is missing"),
            (r#"{"format":1}"#, "`format` must be a text"),
            (r#"{"format":"bitcoin"}"#, "`header` is missing"),
            (
                r#"{"format":"bitcoin","header":"00"}"#,
                "`header` must be 160 hex digits: the 80 bytes of a block header",
            ),
            (r#"{"format":"challenge","data":"00","nonce":1}"#, "`bits` is missing"),
            (r#"{"format":"challenge","data":"00","bits":1}"#, "`nonce` is missing"),
            (
                r#"{"format":"challenge","data":"","nonce":1,"bits":1}"#,
                "`data` must be 2 to 128 hex digits: 1 to 64 bytes",
            ),
            (
                r#"{"format":"challenge","data":"00","nonce":-1,"bits":1}"#,
                "`nonce` must be a whole number below 2^64",
            ),
            (
                r#"{"format":"challenge","data":"00","nonce":"1","bits":1}"#,
                "`nonce` must be a whole number below 2^64",
            ),
            (
                r#"{"format":"challenge","data":"00","nonce":18446744073709551616,"bits":1}"#,
                "`nonce` must be a whole number below 2^64",
            ),
            (
                r#"{"format":"challenge","data":"00","nonce":1.5,"bits":1}"#,
                "`nonce` must be a whole number below 2^64",
            ),
            (
                r#"{"format":"challenge","data":"00","nonce":1,"bits":256}"#,
                "`bits` must be at most 255",
            ),
            (
                r#"{"format":"challenge","data":"00","nonce":1,"bits":1,"x":[{}]}"#,
                "unknown field `x`",
            ),
            (
                r#"{"format":"challenge","data":"00","nonce":1,"nonce":1,"bits":1}"#,
                "`nonce` stands twice",
            ),
            (r#"{"format":"challenge","header":null}"#, "`header` must be a text of hex digits"),
        ] {
            assert_eq!(complaint(body), wanted, "{body}");
        }
        let mixed = format!(r#"{{"format":"bitcoin","header":"{GENESIS}","bits":16}}"#);
        assert_eq!(complaint(&mixed), "`bits` is no field of the format `bitcoin`");
        let mixed = format!(r#"{{"header":"{GENESIS}","format":"challenge"}}"#);
        assert_eq!(complaint(&mixed), "`header` is no field of the format `challenge`");
    }

    #[test]
    fn a_malformed_proof_in_a_list_does_not_spoil_its_neighbours() {
        let list =
            format!(r#"[{CHALLENGE},1,"x",null,true,-1,0.5,[[]],{{"proofs":[]}},{CHALLENGE}]"#);
        for body in [list.clone(), format!(r#"{{"proofs":{list}}}"#)] {
            let Submission::Many(entries) = read(body.as_bytes(), 10).unwrap() else {
                panic!("a list")
            };
            let right: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].is_ok()).collect();
            assert_eq!((entries.len(), right), (10, vec![0, 9]));
        }
    }

    #[test]
    fn a_list_over_the_limit_is_refused_with_its_length() {
        let list = format!("[{CHALLENGE},{CHALLENGE},3]");
        match read(list.as_bytes(), 2) {
            Err(ReadError::TooMany { found: 3, limit: 2 }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_of_another_shape_is_refused_whole() {
        let deep = "[".repeat(10_000);
        for body in [
            "",
            "{",
            "1",
            "\"x\"",
            "null",
            "[1",
            "{} {}",
            "\u{feff}{}",
            "{\"proofs\":{}}",
            "{\"proofs\":[],\"proofs\":[]}",
            "{\"proofs\":[],\"bits\":1}",
            "{\"proofs\":[],\"x\":1}",
            &deep,
        ] {
            assert!(matches!(read(body.as_bytes(), 10), Err(ReadError::Syntax(_))), "{body}");
        }
        assert!(matches!(read(b"[\"\xff\"]", 10), Err(ReadError::Syntax(_))));
    }

    proptest! {
        #[test]
        fn every_proof_survives_the_wire(data in proptest::collection::vec(any::<u8>(), 1..=64), nonce: u64, bits: u8) {
            let proof = Proof::Challenge(Challenge { data: data.as_slice().try_into().unwrap(), nonce, bits });
            let text = serde_json::to_vec(&proof).unwrap();
            prop_assert_eq!(read(&text, 1).unwrap(), Submission::One(Ok(proof)));
        }

        #[test]
        fn no_body_is_too_strange_to_be_answered(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body, 3);
        }

        #[test]
        fn a_proof_cut_short_is_refused(cut in 0..CHALLENGE.len()) {
            prop_assert!(read(&CHALLENGE.as_bytes()[..cut], 1).is_err());
        }
    }
}
