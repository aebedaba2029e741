//! What a run would do to a phase, as data: what is known of its decision, its changes, and the verdict on them.
//!
//! Plans are made of these, as text and as files. How they are found out is not known here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::change::Change;
use crate::event::{Outcome, PhaseName};
use crate::measure::model::Verdict;
use crate::secret::Secrets;
use crate::shown;

/// What one phase would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// The phase.
    #[schemars(with = "String")]
    pub phase: PhaseName,
    /// Its kind.
    pub uses: String,
    /// True when the run may end well without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Digest of all that it is told, its secrets and passwords left out; none before that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// What would happen.
    #[serde(flatten)]
    pub what: Foreseen,
    /// What it takes to keep its changes, in words; none without a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
}

/// What would happen to a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outlook", rename_all = "snake_case")]
pub enum Foreseen {
    /// It would be left out.
    Skipped {
        /// Why.
        why: String,
    },
    /// There is nothing for it to do here.
    NotApplicable {
        /// Why.
        why: String,
    },
    /// It would not begin, because a phase that it needs would end badly.
    Blocked {
        /// Which.
        why: String,
    },
    /// It would fail.
    Fails {
        /// Why.
        why: String,
    },
    /// It would run.
    Runs {
        /// What is known of its decision.
        decision: Forethought,
        /// The changes of the host it would make, as far as the decision is known.
        changes: Vec<Change>,
        /// What is known of the verdict on them, where a gate has to accept them. They stay if it is or becomes
        /// `helps`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Box<ForeseenVerdict>>,
    },
}

impl Foreseen {
    /// The changes of the host that are known beforehand and will stay, unless a gate that has yet to measure them
    /// decides otherwise.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Runs { changes, verdict, .. } if !is_against(verdict.as_deref()) => changes,
            _ => &[],
        }
    }

    /// The changes that a remembered verdict is against: none of them will stay.
    #[must_use]
    pub fn not_kept(&self) -> &[Change] {
        match self {
            Self::Runs { changes, verdict, .. } if is_against(verdict.as_deref()) => changes,
            _ => &[],
        }
    }

    /// How the phase would end, as far as that is known beforehand.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Skipped { .. } => Outcome::Skipped,
            Self::NotApplicable { .. } => Outcome::NotApplicable,
            Self::Blocked { .. } => Outcome::Blocked,
            Self::Fails { .. } => Outcome::Failed,
            Self::Runs { .. } if !self.not_kept().is_empty() => Outcome::Reverted,
            Self::Runs { .. } => Outcome::Success,
        }
    }

    /// What is known of the verdict on its changes.
    #[must_use]
    pub fn verdict(&self) -> Option<&ForeseenVerdict> {
        match self {
            Self::Runs { verdict, .. } => verdict.as_deref(),
            _ => None,
        }
    }

    /// What is known of the decision of a phase that would run.
    #[must_use]
    pub fn decision(&self) -> Option<&Forethought> {
        match self {
            Self::Runs { decision, .. } => Some(decision),
            _ => None,
        }
    }

    /// In two or three words.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Skipped { .. } => "skipped",
            Self::NotApplicable { .. } => "not applicable",
            Self::Blocked { .. } => "would be blocked",
            Self::Fails { .. } => "would fail",
            Self::Runs { decision, .. } => match decision {
                Forethought::Known { .. } | Forethought::Later { .. } => "will run",
                Forethought::Cached { .. } => "from the cache",
                Forethought::ToBeMeasured { .. } => "to be measured",
            },
        }
    }

    /// No password of a URL in what is told, and no value of a secret in that and in the decision.
    pub(super) fn hide(&mut self, secrets: &Secrets) {
        let hide = |words: &mut String| {
            shown::hide_passwords(words);
            secrets.hide(words);
        };
        match self {
            Self::Skipped { why }
            | Self::NotApplicable { why }
            | Self::Blocked { why }
            | Self::Fails { why } => hide(why),
            Self::Runs { decision, verdict, .. } => {
                match decision {
                    Forethought::Known { told, value }
                    | Forethought::Cached { told, value, .. } => {
                        hide(told);
                        secrets.hide_in(value);
                    }
                    Forethought::ToBeMeasured { why, .. } | Forethought::Later { why } => hide(why),
                }
                match verdict.as_deref_mut() {
                    None => {}
                    Some(ForeseenVerdict::Cached { told, .. }) => hide(told),
                    Some(ForeseenVerdict::ToBeMeasured { why, .. }) => hide(why),
                }
            }
        }
    }
}

/// True when changes will not stay.
fn is_against(verdict: Option<&ForeseenVerdict>) -> bool {
    verdict.is_some_and(|verdict| verdict.kept() == Some(false))
}

/// What is known beforehand of the verdict of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ForeseenVerdict {
    /// It is remembered. Unless it is `helps`, the changes are not made.
    Cached {
        /// The verdict.
        verdict: Verdict,
        /// What was found, in one sentence.
        told: String,
        /// Its key in the cache.
        key: String,
        /// How old it is, in seconds.
        age_seconds: f64,
        /// The run that measured it.
        run: String,
    },
    /// It would be measured.
    ToBeMeasured {
        /// Why it is not remembered.
        why: String,
        /// Its key in the cache, when all that it depends on is known.
        key: Option<String>,
    },
}

/// What is known of a decision beforehand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Forethought {
    /// It costs nothing.
    Known {
        /// In a few words.
        told: String,
        /// The decision.
        value: Value,
    },
    /// It is remembered.
    Cached {
        /// In a few words.
        told: String,
        /// The decision.
        value: Value,
        /// Its key in the cache.
        key: String,
        /// How old it is, in seconds.
        age_seconds: f64,
        /// The run that measured it.
        run: String,
    },
    /// It would be measured.
    ToBeMeasured {
        /// Why it is not remembered.
        why: String,
        /// Its key in the cache, when all that it depends on is known.
        key: Option<String>,
    },
    /// It costs nothing, but depends on what phases above will make visible.
    Later {
        /// Why it is not known.
        why: String,
    },
}

impl ForeseenVerdict {
    /// Whether the changes are kept; nothing when that is to be measured.
    #[must_use]
    pub fn kept(&self) -> Option<bool> {
        match self {
            Self::Cached { verdict, .. } => Some(*verdict == Verdict::Helps),
            Self::ToBeMeasured { .. } => None,
        }
    }

    /// In two or three words.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.kept() {
            Some(true) => "kept",
            Some(false) => "not kept",
            None => "to be measured",
        }
    }

    /// Its key in the cache.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Cached { key, .. } => Some(key),
            Self::ToBeMeasured { key, .. } => key.as_deref(),
        }
    }
}
