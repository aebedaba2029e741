//! How phases and runs end.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// It is so, and was seen to be so.
    Success,
    /// Measured, not shown to help, taken back or not made again: a good end.
    Reverted,
    /// This host has not got what the phase is about, or does not let it be set; the reason says which.
    NotApplicable,
    /// Not selected, or its `when` was false.
    Skipped,
    /// It could not be done, or is not so afterwards.
    Failed,
    /// It took longer than its `timeout`.
    TimedOut,
    /// The run was told to stop.
    Cancelled,
    /// A phase it needs did not end well.
    Blocked,
}

impl Outcome {
    /// True when what depends on the phase may go on.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Success | Self::Reverted | Self::NotApplicable | Self::Skipped)
    }

    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Reverted => "REVERTED",
            Self::NotApplicable => "NOT_APPLICABLE",
            Self::Skipped => "SKIPPED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Cancelled => "CANCELLED",
            Self::Blocked => "BLOCKED",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OverallStatus {
    /// Every phase ended well.
    Success,
    /// Only what is marked optional ended badly.
    PartialSuccess,
    /// A phase that matters ended badly.
    Failed,
    /// The run was told to stop.
    Cancelled,
}

impl OverallStatus {
    /// The status of a run from its phases' outcomes, each with whether the phase is optional.
    #[must_use]
    pub fn of(ends: impl IntoIterator<Item = (Outcome, bool)>) -> Self {
        let mut status = Self::Success;
        for (outcome, optional) in ends {
            status = match outcome {
                Outcome::Cancelled => return Self::Cancelled,
                bad if bad.is_good() => status,
                _ if optional && status == Self::Success => Self::PartialSuccess,
                _ if optional => status,
                _ => Self::Failed,
            };
        }
        status
    }

    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::PartialSuccess => "PARTIAL_SUCCESS",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl fmt::Display for OverallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A step inside a phase.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// What is here?
    Observe,
    /// What should be?
    Decide,
    /// Make it so.
    Apply,
    /// Is it so?
    Verify,
}

impl Stage {
    /// The word in reports and on the screen.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Decide => "decide",
            Self::Apply => "apply",
            Self::Verify => "verify",
        }
    }
}

/// The seconds that each stage took. Small, because every phase has one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StageSeconds {
    /// Looking.
    #[serde(skip_serializing_if = "Option::is_none")]
    observe: Option<f64>,
    /// Deciding, or remembering what was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    decide: Option<f64>,
    /// Making it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    apply: Option<f64>,
    /// Looking whether it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<f64>,
}

impl StageSeconds {
    /// The seconds of a stage; none when it was not reached.
    #[must_use]
    pub fn get(&self, stage: Stage) -> Option<f64> {
        match stage {
            Stage::Observe => self.observe,
            Stage::Decide => self.decide,
            Stage::Apply => self.apply,
            Stage::Verify => self.verify,
        }
    }

    /// Notes the seconds of a stage.
    pub fn set(&mut self, stage: Stage, seconds: f64) {
        *match stage {
            Stage::Observe => &mut self.observe,
            Stage::Decide => &mut self.decide,
            Stage::Apply => &mut self.apply,
            Stage::Verify => &mut self.verify,
        } = Some(seconds);
    }

    /// True when no stage was reached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Blocked, Cancelled, Failed, NotApplicable, Skipped, Success};

    #[test]
    fn the_status_of_a_run_is_its_worst_phase_that_matters() {
        let cases: [(&[(Outcome, bool)], OverallStatus); 6] = [
            (&[], OverallStatus::Success),
            (&[(Success, false), (NotApplicable, false), (Skipped, false)], OverallStatus::Success),
            (&[(Failed, true), (Success, false)], OverallStatus::PartialSuccess),
            (&[(Failed, true), (Blocked, false)], OverallStatus::Failed),
            (&[(Failed, false), (Failed, true)], OverallStatus::Failed),
            (&[(Failed, false), (Cancelled, false)], OverallStatus::Cancelled),
        ];
        for (ends, status) in cases {
            assert_eq!(OverallStatus::of(ends.iter().copied()), status, "{ends:?}");
        }
    }
}
