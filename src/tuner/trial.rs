//! One measured evaluation of a point, and where it is kept.
//!
//! As JSON a trial is one object, here broken into lines:
//! ```json
//! {"number":3,"role":"search","point":{"threads":4,"linger":"500us"},"seconds":2.1,
//!  "outcome":"measured","objective":812.5,"metrics":{"p99_ms":12.0,"throughput":812.5}}
//! ```
//! `outcome` is `measured`, `infeasible` or `failed`; a failed trial is data too. Numbers are finite,
//! because JSON has no other. Does not know how a trial is measured, nor how it is stored.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::objective::{Evaluation, Objective};
use super::space::Point;

/// Why a point was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is what was in force before the search: trial 0.
    Incumbent,
    /// The solver asked for it.
    Search,
    /// It looked best, and is measured again to be sure.
    Repeat,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum TrialOutcome {
    /// With a value, all constraints met.
    Measured {
        /// The objective's metric.
        objective: f64,
        /// All metrics that were measured.
        metrics: BTreeMap<String, f64>,
    },
    /// With a value, some constraint not met.
    Infeasible {
        /// The objective's metric.
        objective: f64,
        /// All metrics that were measured.
        metrics: BTreeMap<String, f64>,
        /// Which constraints were not met, with the values found.
        violated: Vec<String>,
        /// How far they were beyond their bounds, as shares of them, summed.
        excess: f64,
    },
    /// Without a value.
    Failed {
        /// Why.
        reason: String,
    },
}

impl TrialOutcome {
    /// What a measurement is worth to an objective; metrics that are not finite are left out.
    #[must_use]
    pub fn of_metrics(objective: &Objective, mut metrics: BTreeMap<String, f64>) -> Self {
        let evaluated = objective.evaluate(&metrics);
        metrics.retain(|_, value| value.is_finite());
        match evaluated {
            Ok(Evaluation::Feasible { objective }) => Self::Measured { objective, metrics },
            Ok(Evaluation::Infeasible { objective, violated }) => {
                let excess = violated.iter().map(|one| one.constraint.excess(one.found)).sum();
                let violated = violated.iter().map(ToString::to_string).collect();
                Self::Infeasible { objective, metrics, violated, excess }
            }
            Err(error) => Self::Failed { reason: error.to_string() },
        }
    }
}

/// One measured evaluation of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Its number in the search, from 0.
    pub number: u32,
    /// Why it was made.
    pub role: Role,
    /// The parameters.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub point: Point,
    /// How long it took.
    pub seconds: f64,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: TrialOutcome,
}

/// Names one search: trials of the same study belong to one space, objective and target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StudyId(pub String);

impl fmt::Display for StudyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Trials that could not be kept or found again.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} the trials of {study}")]
pub struct TrialLogError {
    /// What was attempted, as in "could not *record* the trials of ...".
    pub action: &'static str,
    /// Of which study.
    pub study: StudyId,
    /// What went wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The answer of a log, in its own time.
pub type TrialLogFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, TrialLogError>> + Send + 'a>>;

/// Where trials are kept as they end, so that an interrupted search resumes.
pub trait TrialLog: Send + Sync {
    /// Keeps a trial. It is kept when this has answered; one of the same number replaces an earlier one.
    fn record<'a>(&'a self, study: &'a StudyId, trial: &'a Trial) -> TrialLogFuture<'a, ()>;

    /// All trials of a study, by number; none for a study that is not known.
    fn load<'a>(&'a self, study: &'a StudyId) -> TrialLogFuture<'a, Vec<Trial>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuner::space::ParameterValue;
    use serde_json::json;

    fn objective() -> Objective {
        serde_json::from_value(json!({"maximize": "rate", "subject_to": ["p99_ms < 50"]})).unwrap()
    }

    fn metrics(rate: f64, p99_ms: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([("rate".to_owned(), rate), ("p99_ms".to_owned(), p99_ms)])
    }

    #[test]
    fn a_trial_is_one_flat_object_and_comes_back_the_same() {
        let outcome = TrialOutcome::of_metrics(&objective(), metrics(812.5, 12.0));
        let point = Point::from_iter([
            ("threads".to_owned(), ParameterValue::Int(4)),
            ("mode".to_owned(), ParameterValue::Category("fast".to_owned())),
        ]);
        let trial = Trial { number: 3, role: Role::Search, point, seconds: 2.5, outcome };
        let json = serde_json::to_value(&trial).unwrap();
        let expected = json!({
            "number": 3, "role": "search", "point": {"threads": 4, "mode": "fast"}, "seconds": 2.5,
            "outcome": "measured", "objective": 812.5, "metrics": {"p99_ms": 12.0, "rate": 812.5},
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Trial>(json).unwrap(), trial);
    }

    #[test]
    fn an_outcome_is_measured_infeasible_or_failed_and_always_has_a_json_form() {
        let infeasible = TrialOutcome::of_metrics(&objective(), metrics(900.0, 75.0));
        let TrialOutcome::Infeasible { violated, excess, .. } = &infeasible else {
            panic!("{infeasible:?}")
        };
        assert_eq!(violated, &["p99_ms < 50 (was 75)"]);
        assert!((excess - 0.5).abs() < 1e-12);
        let failed = TrialOutcome::of_metrics(&objective(), metrics(f64::NAN, 1.0));
        assert!(matches!(&failed, TrialOutcome::Failed { reason } if reason.contains("rate")));
        for outcome in [infeasible, failed] {
            let text = serde_json::to_string(&outcome).unwrap();
            assert_eq!(serde_json::from_str::<TrialOutcome>(&text).unwrap(), outcome);
        }
    }
}
