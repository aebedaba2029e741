//! Quantities as people write them: `1GiB`, `20%`, `80C`, `250ms`.
//!
//! Each is a newtype that parses, prints in canonical form and carries its JSON Schema, so a unit is
//! checked where it is written and is never a bare number further on. Knows nothing of what the
//! quantities are for.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that is not a quantity of the wanted form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {wanted}")]
pub struct ParseUnitError {
    /// What was written.
    pub found: String,
    /// The right form, with an example.
    pub wanted: &'static str,
}

/// A number of bytes; written `512MiB`, `1GiB`, `2GB`, `4096B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bytes(pub u64);

/// A ratio in percent; written `5%` or `2.5%`. Holds the number before the sign.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Percent(pub f64);

/// A temperature in degrees Celsius; written `80C` or `80°C`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Celsius(pub f64);

/// A span of time; written `24h`, `2m 30s`, `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// Suffixes of sizes with their factors, longest first where one ends with another.
const SIZES: [(&str, u64); 13] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("B", 1),
];

impl FromStr for Bytes {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseUnitError {
            found: text.to_owned(),
            wanted: "a size such as `512MiB`, `1GiB` or `4096B`",
        };
        let trimmed = text.trim();
        let (number, factor) = SIZES
            .iter()
            .find_map(|(suffix, factor)| Some((trimmed.strip_suffix(suffix)?, *factor)))
            .ok_or_else(refuse)?;
        let number = number.trim();
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(refuse);
        }
        let fraction = decimal(number).ok_or_else(refuse)?;
        let bytes = fraction * factor as f64;
        if bytes < u64::MAX as f64 { Ok(Self(bytes.round() as u64)) } else { Err(refuse()) }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, factor) in
            [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        {
            if self.0 >= factor {
                return if self.0.is_multiple_of(factor) {
                    write!(f, "{}{suffix}", self.0 / factor)
                } else {
                    write!(f, "{:.2}{suffix}", self.0 as f64 / factor as f64)
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for Percent {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim()
            .strip_suffix('%')
            .and_then(|number| decimal(number.trim()))
            .map(Self)
            .ok_or_else(|| ParseUnitError {
                found: text.to_owned(),
                wanted: "a ratio such as `5%`",
            })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Celsius {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        trimmed
            .strip_suffix("°C")
            .or_else(|| trimmed.strip_suffix('C'))
            .and_then(|number| number.trim().parse::<f64>().ok())
            .filter(|degrees| degrees.is_finite())
            .map(Self)
            .ok_or_else(|| ParseUnitError {
                found: text.to_owned(),
                wanted: "a temperature such as `80C`",
            })
    }
}

impl fmt::Display for Celsius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}C", self.0)
    }
}

impl FromStr for Span {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text.trim()).map(Self).map_err(|_| ParseUnitError {
            found: text.to_owned(),
            wanted: "a duration such as `24h`, `2m 30s` or `250ms`",
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// A non-negative finite decimal number: digits and at most one point, no exponent.
fn decimal(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

/// Gives a quantity the same face in YAML, JSON and the schema: its text.
macro_rules! written_as_text {
    ($type:ty, $name:literal, $pattern:literal, $about:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($about)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $about })
            }
        }
    };
}

written_as_text!(
    Bytes,
    "Bytes",
    r"^\s*[0-9.]+\s*([KMGT]iB|[kKMGT]B|[KMG]|B)\s*$|\{\{",
    "a size such as `512MiB`, `1GiB` or `4096B`"
);
written_as_text!(Percent, "Percent", r"^\s*[0-9.]+\s*%\s*$|\{\{", "a ratio such as `5%`");
written_as_text!(
    Celsius,
    "Celsius",
    r"^\s*-?[0-9.]+\s*°?C\s*$|\{\{",
    "a temperature such as `80C`"
);
written_as_text!(
    Span,
    "Span",
    r"^\s*([0-9]+\s*[a-zµ]+\s*)+$|\{\{|^0$",
    "a duration such as `24h`, `2m 30s` or `250ms`"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_in_both_families_and_print_canonically() {
        assert_eq!("1GiB".parse(), Ok(Bytes(1 << 30)));
        assert_eq!("2GB".parse(), Ok(Bytes(2_000_000_000)));
        assert_eq!("1.5 MiB".parse(), Ok(Bytes(3 << 19)));
        assert_eq!(Bytes(1 << 30).to_string(), "1GiB");
        assert_eq!(Bytes(1500).to_string(), "1.46KiB");
    }

    #[test]
    fn a_size_without_unit_or_out_of_range_is_refused_with_the_right_form() {
        for text in ["1024", "", "GiB", "-1GiB", "1e9GiB", "99999999999TiB", "1..5MiB"] {
            let error = text.parse::<Bytes>().unwrap_err();
            assert!(error.to_string().contains("512MiB"), "{text}: {error}");
        }
    }

    #[test]
    fn ratios_temperatures_and_durations_round_trip() {
        for text in ["5%", "2.5%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        assert_eq!("-5.5°C".parse(), Ok(Celsius(-5.5)));
        assert_eq!("2m 30s".parse(), Ok(Span(Duration::from_secs(150))));
        assert!("30".parse::<Span>().is_err());
        assert!("NaN%".parse::<Percent>().is_err());
    }
}
