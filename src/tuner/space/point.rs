//! The values of all parameters, in the order of the space; as JSON a plain object.
//!
//! Durations are written as texts such as `"2ms 500us"`. Read back without their space they are texts like
//! categories; [`super::Space::adopt`] gives them their type again.

use std::fmt;
use std::time::Duration;

use serde::de::{self, MapAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::unit::Span;

/// The value of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterValue {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A span of time.
    Duration(Duration),
    /// One of several names.
    Category(String),
    /// True or false.
    Bool(bool),
}

impl ParameterValue {
    /// A whole number, also one written as `4.0`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(*value as i64),
            _ => None,
        }
    }

    /// A number, also a whole one.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// A span of time, also one written as a text.
    #[must_use]
    pub fn as_duration(&self) -> Option<Duration> {
        match self {
            Self::Duration(value) => Some(*value),
            Self::Category(text) => text.parse::<Span>().ok().map(|span| span.0),
            _ => None,
        }
    }

    /// A category.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Category(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Duration(value) => Span(*value).fmt(f),
            Self::Category(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
        }
    }
}

impl Serialize for ParameterValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Duration(value) => Span(*value).serialize(serializer),
            Self::Category(value) => serializer.serialize_str(value),
            Self::Bool(value) => serializer.serialize_bool(*value),
        }
    }
}

impl<'de> Deserialize<'de> for ParameterValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Plain;
        impl de::Visitor<'_> for Plain {
            type Value = ParameterValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a text, `true` or `false`")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<ParameterValue, E> {
                Ok(ParameterValue::Bool(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ParameterValue, E> {
                Ok(ParameterValue::Int(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ParameterValue, E> {
                i64::try_from(value).map(ParameterValue::Int).map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<ParameterValue, E> {
                Ok(ParameterValue::Float(value))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<ParameterValue, E> {
                Ok(ParameterValue::Category(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Plain)
    }
}

/// The values of all parameters, in the order of the space.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Point(Vec<(String, ParameterValue)>);

impl Point {
    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ParameterValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All names with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ParameterValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl FromIterator<(String, ParameterValue)> for Point {
    fn from_iter<I: IntoIterator<Item = (String, ParameterValue)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={value}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> de::Visitor<'de> for Values {
            type Value = Point;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of parameters to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Point, A::Error> {
                let mut values = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    values.push(entry);
                }
                Ok(Point(values))
            }
        }
        deserializer.deserialize_map(Values)
    }
}
