//! The fields of one proof in JSON, as they are met, and the proof that they make.
//!
//! ```json
//! {"format":"challenge","data":"00ff","nonce":71,"bits":16}
//! {"format":"bitcoin","header":"0100.."}
//! {"format":"litecoin","header":"0100.."}
//! {"format":"hashcash","stamp":"1:20:040428:foo::0298b26853c8ebb3:beca0"}
//! {"format":"altcha","payload":"eyJhbGdvcml0aG0iOi.."}
//! ```
//! A field that is missing, stands twice, is one too many or of a wrong type makes the proof malformed, and the first
//! thing that is wrong is told. Knows nothing of bodies and lists.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::altcha::{self, Payload, PayloadError};
use super::challenge::{Challenge, Data};
use super::hashcash::Stamp;
use super::header::Header;
use super::proof::Proof;
use super::reason::Reason;

/// A proof that was read, or what is wrong with it.
pub type Entry = Result<Proof, Malformed>;

/// What is wrong with the syntax of one proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{told}")]
pub struct Malformed {
    /// The reason that it is rejected for.
    pub reason: Reason,
    /// What is wrong.
    pub told: String,
}

impl From<String> for Malformed {
    fn from(told: String) -> Self {
        Self { reason: Reason::Malformed, told }
    }
}

impl From<PayloadError> for Malformed {
    fn from(PayloadError { reason, told }: PayloadError) -> Self {
        Self { reason, told }
    }
}

/// The formats as they are named here. Which version of ALTCHA a payload is of shows in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bitcoin,
    Challenge,
    Litecoin,
    Hashcash,
    Altcha,
}

/// What a format may be named.
const FORMS: &str = "`bitcoin`, `litecoin`, `challenge`, `hashcash` or `altcha`";

impl Form {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bitcoin" => Self::Bitcoin,
            "challenge" => Self::Challenge,
            "litecoin" => Self::Litecoin,
            "hashcash" => Self::Hashcash,
            "altcha" => Self::Altcha,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bitcoin => "bitcoin",
            Self::Challenge => "challenge",
            Self::Litecoin => "litecoin",
            Self::Hashcash => "hashcash",
            Self::Altcha => "altcha",
        }
    }

    /// Whether a field belongs to it.
    const fn has(self, key: &Key) -> bool {
        match self {
            Self::Bitcoin | Self::Litecoin => matches!(key, Key::Header),
            Self::Challenge => matches!(key, Key::Data | Key::Nonce | Key::Bits),
            Self::Hashcash => matches!(key, Key::Stamp),
            Self::Altcha => matches!(key, Key::Payload),
        }
    }
}

/// The name of a field.
pub(super) enum Key {
    Format,
    Header,
    Data,
    Nonce,
    Bits,
    Stamp,
    Payload,
    Other(String),
}

impl Key {
    /// Longest part of an unknown name that is kept and shown.
    const SHOWN: usize = 40;
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }
            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(match name {
                    "format" => Key::Format,
                    "header" => Key::Header,
                    "data" => Key::Data,
                    "nonce" => Key::Nonce,
                    "bits" => Key::Bits,
                    "stamp" => Key::Stamp,
                    "payload" => Key::Payload,
                    other => Key::Other(other.chars().take(Key::SHOWN).collect()),
                })
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

/// The value of a field, of whatever type it was given.
pub(super) enum Value<'de> {
    Text(Cow<'de, str>),
    Number(u64),
    Other,
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
                Ok(Value::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
                Ok(Value::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
                Ok(Value::Number(number))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_unit<E>(self) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The fields of a proof as they are met, and the first thing that is wrong with them.
#[derive(Default)]
pub(super) struct Fields {
    form: Option<Form>,
    header: Option<Header>,
    data: Option<Data>,
    nonce: Option<u64>,
    bits: Option<u8>,
    stamp: Option<Stamp>,
    payload: Option<Payload>,
    complaint: Option<Malformed>,
}

impl Fields {
    pub fn is_empty(&self) -> bool {
        self.complaint.is_none() && self.form.is_none() && self.stray(|_| false).is_none()
    }

    /// The name of a field that is there and not among those that are expected.
    fn stray(&self, expected: impl Fn(&Key) -> bool) -> Option<&'static str> {
        [
            (self.header.is_some(), Key::Header, "header"),
            (self.data.is_some(), Key::Data, "data"),
            (self.nonce.is_some(), Key::Nonce, "nonce"),
            (self.bits.is_some(), Key::Bits, "bits"),
            (self.stamp.is_some(), Key::Stamp, "stamp"),
            (self.payload.is_some(), Key::Payload, "payload"),
        ]
        .into_iter()
        .find_map(|(is_there, key, name)| (is_there && !expected(&key)).then_some(name))
    }

    pub fn set(&mut self, key: &Key, value: Value<'_>) {
        if let Err(complaint) = self.put(key, value) {
            self.complaint.get_or_insert(complaint);
        }
    }

    fn put(&mut self, key: &Key, value: Value<'_>) -> Result<(), Malformed> {
        match (key, value) {
            (Key::Format, Value::Text(name)) => match Form::named(&name) {
                Some(form) => once(&mut self.form, form, "format"),
                None => Err(format!("`format` must be {FORMS}").into()),
            },
            (Key::Header, Value::Text(text)) => match text.parse() {
                Ok(header) => once(&mut self.header, header, "header"),
                Err(error) => Err(error.to_string().into()),
            },
            (Key::Data, Value::Text(text)) => match text.parse() {
                Ok(data) => once(&mut self.data, data, "data"),
                Err(error) => Err(error.to_string().into()),
            },
            (Key::Stamp, Value::Text(text)) => match text.parse::<Stamp>() {
                Ok(stamp) => once(&mut self.stamp, stamp, "stamp"),
                Err(error) => Err(error.to_string().into()),
            },
            (Key::Payload, Value::Text(text)) => {
                once(&mut self.payload, altcha::decode(&text)?, "payload")
            }
            (Key::Nonce, Value::Number(nonce)) => once(&mut self.nonce, nonce, "nonce"),
            (Key::Bits, Value::Number(bits)) => match u8::try_from(bits) {
                Ok(bits) => once(&mut self.bits, bits, "bits"),
                Err(_) => Err("`bits` must be at most 255".to_owned().into()),
            },
            (Key::Other(name), _) => Err(format!("unknown field `{name}`").into()),
            (key, _) => Err(wrong_type(key).to_owned().into()),
        }
    }

    pub fn finish(self) -> Entry {
        if let Some(complaint) = self.complaint {
            return Err(complaint);
        }
        let Some(form) = self.form else {
            return Err(format!("`format` is missing; write {FORMS}").into());
        };
        if let Some(name) = self.stray(|key| form.has(key)) {
            return Err(format!("`{name}` is no field of the format `{}`", form.name()).into());
        }
        Ok(match form {
            Form::Bitcoin => Proof::Bitcoin { header: needed(self.header, "header")? },
            Form::Litecoin => Proof::Litecoin { header: needed(self.header, "header")? },
            Form::Challenge => Proof::Challenge(Challenge {
                data: needed(self.data, "data")?,
                nonce: needed(self.nonce, "nonce")?,
                bits: needed(self.bits, "bits")?,
            }),
            Form::Hashcash => Proof::Hashcash { stamp: needed(self.stamp, "stamp")? },
            Form::Altcha => needed(self.payload, "payload")?.into(),
        })
    }
}

/// What a field must be that is of another type.
const fn wrong_type(key: &Key) -> &'static str {
    match key {
        Key::Format => "`format` must be a text",
        Key::Header => "`header` must be a text of hex digits",
        Key::Data => "`data` must be a text of hex digits",
        Key::Nonce => "`nonce` must be a whole number below 2^64",
        Key::Bits => "`bits` must be a whole number up to 255",
        Key::Stamp => "`stamp` must be a text",
        Key::Payload => "`payload` must be a text of base64",
        Key::Other(_) => "unknown field",
    }
}

fn once<T>(field: &mut Option<T>, value: T, name: &str) -> Result<(), Malformed> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("`{name}` stands twice").into()),
    }
}

fn needed<T>(field: Option<T>, name: &str) -> Result<T, Malformed> {
    field.ok_or_else(|| format!("`{name}` is missing").into())
}
