//! Names of runs and phases.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A text that is not a name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a {what}: {rule}")]
pub struct NameError {
    found: String,
    what: &'static str,
    rule: &'static str,
}

/// The name of a run: when it began, and a suffix that tells runs of one second apart. Sorts by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The name of a run of process `pid` that began at `started`, such as `20261123T221530Z-7c41f2`.
    #[must_use]
    pub fn new(started: Timestamp, pid: u32) -> Self {
        let second = started.strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&started.as_nanosecond().to_le_bytes()).update(&pid.to_le_bytes());
        Self(format!("{second}-{}", &hasher.finalize().to_hex()[..6]))
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
        let rule = "write it as `trueup report list` shows it, such as 20261123T221530Z-7c41f2";
        let shaped = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if shaped {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError { found: text.to_owned(), what: "run", rule })
        }
    }
}

/// The name of a phase: letters, digits, `_`, `-`; it starts with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhaseName(String);

impl PhaseName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhaseName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut bytes = text.bytes();
        let shaped = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            && text.len() <= 100;
        let rule = "use up to 100 letters, digits, `_` and `-`, and a letter first";
        if shaped {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError { found: text.to_owned(), what: "phase name", rule })
        }
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

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
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
}
