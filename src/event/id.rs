//! Names of runs and phases.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

/// A text that is not a name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a {what}: {rule}")]
pub struct NameError {
    found: String,
    what: &'static str,
    rule: &'static str,
}

/// The name of a run: when it began, to the microsecond, and three digits that tell runs of one microsecond on
/// different hosts apart. Sorts by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The name of a run of process `pid` that began at `started`, such as `20261123T221530Z-7c41f2b9`.
    #[must_use]
    pub fn new(started: Timestamp, pid: u32) -> Self {
        let second = started.strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&started.as_nanosecond().to_le_bytes()).update(&pid.to_le_bytes());
        // Under a million, so five digits; it is what makes two runs of one second sort by time.
        let micros = started.subsec_microsecond().unsigned_abs();
        Self(format!("{second}-{micros:05x}{}", &hasher.finalize().to_hex()[..3]))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rule = "write it as `trueup report list` shows it, such as 20261123T221530Z-7c41f2b9";
        let shaped = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if shaped {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError { found: text.to_owned(), what: "run", rule })
        }
    }
}

/// The name of a phase: letters, digits, `_`, `-`; it starts with a letter. That of a phase made by `matrix` ends with
/// its values in brackets, such as `build[5,fast]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct PhaseName(Arc<str>);

impl PhaseName {
    /// Longest name, with what is in brackets.
    pub const LONGEST: usize = 200;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without brackets.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.split('[').next().unwrap_or_default()
    }

    /// What is in the brackets, if there are any.
    #[must_use]
    pub fn member(&self) -> Option<&str> {
        self.0.split_once('[').map(|(_, rest)| rest.trim_end_matches(']'))
    }
}

impl FromStr for PhaseName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (base, values) = match text.split_once('[') {
            Some((base, rest)) => (base, Some(rest.strip_suffix(']').unwrap_or_default())),
            None => (text, None),
        };
        let mut bytes = base.bytes();
        let shaped = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            && base.len() <= 100
            && text.len() <= Self::LONGEST
            && values.is_none_or(|values| values.split(',').all(is_matrix_value));
        let rule = "use up to 100 letters, digits, `_` and `-`, and a letter first";
        if shaped {
            Ok(Self(text.into()))
        } else {
            Err(NameError { found: text.to_owned(), what: "phase name", rule })
        }
    }
}

/// Whether a text may stand in the brackets of a name that `matrix` makes.
#[must_use]
pub fn is_matrix_value(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

impl Serialize for PhaseName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Names are looked up by their text.
impl Borrow<str> for PhaseName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<RunId> for String {
    fn from(name: RunId) -> Self {
        name.0
    }
}

/// What both kinds of names do alike.
macro_rules! name_traits {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
    };
}

name_traits!(RunId);
name_traits!(PhaseName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_sort_by_the_time_they_began() {
        let early = RunId::new(Timestamp::UNIX_EPOCH, 7);
        let late = RunId::new("2026-11-23T22:15:30Z".parse().unwrap(), 7);
        assert!(early < late);
        let at = |micros: i64| Timestamp::from_microsecond(1_795_472_130_000_000 + micros).unwrap();
        let names: Vec<_> = [0, 1, 15, 16, 999, 65_536, 999_999, 1_000_000]
            .into_iter()
            .map(|micros| RunId::new(at(micros), 7))
            .collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_ne!(RunId::new(at(0), 7), RunId::new(at(0), 8));
        assert!(late.as_str().starts_with("20261123T221530Z-"), "{late}");
        assert_eq!(late.as_str().parse(), Ok(late));
    }

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        for text in ["", "../x", "a/b", "a b", ".hidden"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
            assert!(text.parse::<PhaseName>().is_err(), "{text}");
        }
        assert!("1st".parse::<PhaseName>().is_err());
    }

    #[test]
    fn a_name_that_a_matrix_makes_has_values_in_brackets() {
        let name: PhaseName = "build[5,fast-2.5]".parse().unwrap();
        assert_eq!((name.base(), name.member()), ("build", Some("5,fast-2.5")));
        let plain: PhaseName = "build".parse().unwrap();
        assert_eq!((plain.base(), plain.member()), ("build", None));
        for text in ["a[", "a[]", "a[1", "a[1,]", "a[b/c]", "[1]", "a[1]x", "a[1][2]"] {
            assert!(text.parse::<PhaseName>().is_err(), "{text}");
        }
    }
}
