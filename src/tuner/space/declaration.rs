//! A parameter as it is written, and what makes such a writing senseless.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::unit::Span;

use super::axis::Axis;

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal factors.
    Log,
}

/// A parameter as it is written: exactly one of the kinds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The least and the greatest whole number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int: Option<[i64; 2]>,
    /// The least and the greatest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float: Option<[f64; 2]>,
    /// The shortest and the longest duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<[Span; 2]>,
    /// The values to choose from.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "names")]
    pub category: Option<Vec<String>>,
    /// The values to choose from: `[false, true]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bool: Option<Vec<bool>>,
    /// How the axis of an int or a float is divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
}

/// Categories; what YAML takes for something else than a text, such as `on` or `no`, is told to be quoted.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let values = Vec::<serde_json::Value>::deserialize(deserializer)?;
    let name = |value: serde_json::Value| match value {
        serde_json::Value::String(name) => Ok(name),
        other => Err(de::Error::custom(format!(
            "the category {other} is not a text; put it into quotes, as in `[\"on\", \"off\"]`"
        ))),
    };
    values.into_iter().map(name).collect::<Result<_, _>>().map(Some)
}

/// Whole numbers beyond this are not exact as a float, in which solvers calculate.
const WIDEST_INT: i64 = 1 << 53;
/// The ratio of high to low from which whole numbers lie on a log axis by themselves.
const WIDE: i64 = 16;
/// Durations are told apart in nanoseconds of 64 bits.
const LONGEST_SECONDS: u64 = 100 * 365 * 24 * 3600;

impl Declaration {
    /// The axis that is meant, or what is wrong and what would be right.
    pub(super) fn axis(&self) -> Result<Axis, String> {
        let scaled = self.scale.is_some();
        match self {
            Self {
                int: Some(_), float: None, duration: None, category: None, bool: None, ..
            }
            | Self {
                float: Some(_), int: None, duration: None, category: None, bool: None, ..
            } => self.number(),
            Self {
                duration: Some(_), int: None, float: None, category: None, bool: None, ..
            }
            | Self {
                category: Some(_), int: None, float: None, duration: None, bool: None, ..
            }
            | Self {
                bool: Some(_), int: None, float: None, duration: None, category: None, ..
            } if scaled => {
                Err("has a `scale`, which only `int` and `float` can have: leave it out".to_owned())
            }
            Self {
                duration: Some([low, high]),
                int: None,
                float: None,
                category: None,
                bool: None,
                ..
            } => duration(low.0, high.0),
            Self {
                category: Some(names),
                int: None,
                float: None,
                duration: None,
                bool: None,
                ..
            } => choice(names).map(Axis::Category),
            Self {
                bool: Some(values),
                int: None,
                float: None,
                duration: None,
                category: None,
                ..
            } => choice(values).map(Axis::Bool),
            _ => Err("must be exactly one of `int`, `float`, `duration`, `category` and `bool`: \
                      write for example `{ int: [1, 8] }`"
                .to_owned()),
        }
    }

    fn number(&self) -> Result<Axis, String> {
        let log = self.scale == Some(Scale::Log);
        if let Some([low, high]) = self.int {
            ordered(&low, &high, low <= high)?;
            if low < -WIDEST_INT || high > WIDEST_INT {
                return Err(format!(
                    "goes beyond {WIDEST_INT}, where whole numbers are not exact: narrow it"
                ));
            }
            if log && low < 1 {
                return Err(format!(
                    "has a log scale from {low}: start it at 1 or more, or make it linear"
                ));
            }
            let wide = low >= 1 && high / WIDE >= low;
            return Ok(Axis::Int { low, high, log: log || wide });
        }
        let [low, high] = self.float.unwrap_or_default();
        if !(low.is_finite() && high.is_finite()) {
            return Err("has a bound that is not a finite number: write for example `{ float: [0.1, 10.0] }`".to_owned());
        }
        ordered(&low, &high, low <= high)?;
        if log && low <= 0.0 {
            return Err(format!("has a log scale from {low}: start it above 0, or make it linear"));
        }
        Ok(Axis::Float { low, high, log })
    }
}

fn ordered(
    low: &impl std::fmt::Display,
    high: &impl std::fmt::Display,
    right: bool,
) -> Result<(), String> {
    if right {
        Ok(())
    } else {
        Err(format!("goes from {low} down to {high}: write `[{high}, {low}]`"))
    }
}

fn duration(low: std::time::Duration, high: std::time::Duration) -> Result<Axis, String> {
    ordered(&Span(low), &Span(high), low <= high)?;
    if high.as_secs() > LONGEST_SECONDS {
        return Err("is longer than 100 years: shorten it".to_owned());
    }
    Ok(Axis::duration(low, high))
}

fn choice<T: Clone + PartialEq + std::fmt::Debug>(values: &[T]) -> Result<Vec<T>, String> {
    if values.is_empty() {
        return Err("has no values to choose from: list at least one".to_owned());
    }
    for (index, value) in values.iter().enumerate() {
        if values[..index].contains(value) {
            return Err(format!("lists {value:?} twice: keep one"));
        }
    }
    Ok(values.to_vec())
}
