//! What a search is after: one metric to maximize or minimize, and constraints on others.
//!
//! Written `{ maximize: service_throughput, subject_to: ["p99_ms < 50"] }`. Knows nothing of where metrics
//! come from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Whether more or less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// More is better.
    Maximize,
    /// Less is better.
    Minimize,
}

/// What a search is after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub struct Objective {
    /// Whether more or less of it is better.
    pub goal: Goal,
    /// The metric.
    pub metric: String,
    /// What must hold of other metrics.
    pub subject_to: Vec<Constraint>,
}

/// An objective as it is written.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Objective")]
struct Written {
    /// The metric of which more is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maximize: Option<String>,
    /// The metric of which less is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimize: Option<String>,
    /// What must hold of other metrics, such as `p99_ms < 50`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subject_to: Vec<Constraint>,
}

/// An objective that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectiveError {
    /// No goal, or two.
    #[error("an objective has one goal: write either `maximize: METRIC` or `minimize: METRIC`")]
    NotOneGoal,
    /// The metric has no name.
    #[error("an objective names a metric: write for example `maximize: service_throughput`")]
    NoMetric,
}

impl TryFrom<Written> for Objective {
    type Error = ObjectiveError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let (goal, metric) = match (written.maximize, written.minimize) {
            (Some(metric), None) => (Goal::Maximize, metric),
            (None, Some(metric)) => (Goal::Minimize, metric),
            _ => return Err(ObjectiveError::NotOneGoal),
        };
        if metric.trim().is_empty() {
            return Err(ObjectiveError::NoMetric);
        }
        Ok(Self { goal, metric, subject_to: written.subject_to })
    }
}

impl From<Objective> for Written {
    fn from(objective: Objective) -> Self {
        let metric = Some(objective.metric);
        let (maximize, minimize) = match objective.goal {
            Goal::Maximize => (metric, None),
            Goal::Minimize => (None, metric),
        };
        Self { maximize, minimize, subject_to: objective.subject_to }
    }
}

/// How a metric is compared with a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// One condition on a metric, written `p99_ms < 50`.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    /// The metric.
    pub metric: String,
    /// How it is compared.
    pub relation: Relation,
    /// With what.
    pub bound: f64,
}

/// A text that is not a constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is not a constraint: write a metric, one of `<`, `<=`, `>`, `>=`, and a number, as in `p99_ms < 50`"
)]
pub struct ParseConstraintError {
    /// What was written.
    pub found: String,
}

/// The longer sign first where one begins with another.
const RELATIONS: [(&str, Relation); 4] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("<", Relation::Below),
    (">", Relation::Above),
];

impl FromStr for Constraint {
    type Err = ParseConstraintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseConstraintError { found: text.to_owned() };
        let (metric, relation, bound) = RELATIONS
            .iter()
            .find_map(|(sign, relation)| {
                text.split_once(sign)
                    .map(|(metric, bound)| (metric.trim(), *relation, bound.trim()))
            })
            .ok_or_else(refuse)?;
        let named = metric.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c));
        let bound: f64 = bound.parse().map_err(|_| refuse())?;
        if metric.is_empty() || !named || !bound.is_finite() {
            return Err(refuse());
        }
        Ok(Self { metric: metric.to_owned(), relation, bound })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.relation {
            Relation::Below => "<",
            Relation::AtMost => "<=",
            Relation::Above => ">",
            Relation::AtLeast => ">=",
        };
        write!(f, "{} {sign} {}", self.metric, self.bound)
    }
}

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Constraint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Constraint {
    fn schema_name() -> Cow<'static, str> {
        "Constraint".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*[\w.-]+\s*(<=|>=|<|>)\s*-?[0-9.]+(e[+-]?[0-9]+)?\s*$|\{\{",
            "description": "a condition on a metric, such as `p99_ms < 50`",
        })
    }
}

impl Constraint {
    /// Whether a value meets it; one that is not a number does not.
    #[must_use]
    pub fn met_by(&self, value: f64) -> bool {
        match self.relation {
            Relation::Below => value < self.bound,
            Relation::AtMost => value <= self.bound,
            Relation::Above => value > self.bound,
            Relation::AtLeast => value >= self.bound,
        }
    }

    /// How far a value is beyond the bound, as a share of the bound where that is not zero; 0 when met.
    #[must_use]
    pub fn excess(&self, value: f64) -> f64 {
        if self.met_by(value) {
            return 0.0;
        }
        let scale = if self.bound == 0.0 { 1.0 } else { self.bound.abs() };
        let excess = (value - self.bound).abs() / scale;
        if excess.is_finite() { excess } else { f64::MAX }
    }
}

/// A constraint that was not met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// The constraint.
    pub constraint: Constraint,
    /// The value of its metric.
    pub found: f64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (was {})", self.constraint, self.found)
    }
}

/// What metrics say of an objective.
#[derive(Debug, Clone, PartialEq)]
pub enum Evaluation {
    /// All constraints are met.
    Feasible {
        /// The objective's metric.
        objective: f64,
    },
    /// Some are not.
    Infeasible {
        /// The objective's metric.
        objective: f64,
        /// Which; never empty.
        violated: Vec<Violation>,
    },
}

/// Metrics of which an objective can't be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// One that is named is not there.
    #[error("the measurement has no metric `{metric}`; {known}")]
    Missing {
        /// The metric.
        metric: String,
        /// What there is.
        known: String,
    },
    /// One is not a finite number.
    #[error("the metric `{0}` is not a finite number")]
    NotFinite(String),
}

impl Objective {
    /// What the metrics say of it.
    ///
    /// # Errors
    /// When a metric that is named is missing or not finite.
    pub fn evaluate(&self, metrics: &BTreeMap<String, f64>) -> Result<Evaluation, EvaluationError> {
        let of = |name: &str| match metrics.get(name) {
            Some(value) if value.is_finite() => Ok(*value),
            Some(_) => Err(EvaluationError::NotFinite(name.to_owned())),
            None => {
                let known = metrics.keys().map(String::as_str);
                let known = crate::diagnostic::did_you_mean(name, known)
                    .unwrap_or_else(|| "it has none at all".to_owned());
                Err(EvaluationError::Missing { metric: name.to_owned(), known })
            }
        };
        let objective = of(&self.metric)?;
        let mut violated = Vec::new();
        for constraint in &self.subject_to {
            let found = of(&constraint.metric)?;
            if !constraint.met_by(found) {
                violated.push(Violation { constraint: constraint.clone(), found });
            }
        }
        Ok(if violated.is_empty() {
            Evaluation::Feasible { objective }
        } else {
            Evaluation::Infeasible { objective, violated }
        })
    }

    /// The objective as a cost, of which less is always better.
    #[must_use]
    pub fn cost(&self, objective: f64) -> f64 {
        match self.goal {
            Goal::Maximize => -objective,
            Goal::Minimize => objective,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(entries: &[(&str, f64)]) -> BTreeMap<String, f64> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    fn parse(yaml: &str) -> Result<Objective, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn an_objective_reads_as_it_is_written_and_comes_back_the_same() {
        let objective = parse(
            "{ maximize: service_throughput, subject_to: ['p99_ms < 50', 'error_ratio<=0.01'] }",
        )
        .unwrap();
        assert_eq!(
            (objective.goal, objective.metric.as_str()),
            (Goal::Maximize, "service_throughput")
        );
        let json = serde_json::to_value(&objective).unwrap();
        let expected = serde_json::json!({
            "maximize": "service_throughput",
            "subject_to": ["p99_ms < 50", "error_ratio <= 0.01"],
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Objective>(json).unwrap(), objective);
    }

    #[test]
    fn a_wrong_objective_is_told_what_is_right() {
        for (yaml, remedy) in [
            ("{ maximize: a, minimize: b }", "one goal"),
            ("{ subject_to: ['a < 1'] }", "one goal"),
            ("{ maximize: '' }", "names a metric"),
            ("{ maximise: a }", "maximise"),
            ("{ maximize: a, subject_to: ['p99_ms = 50'] }", "as in `p99_ms < 50`"),
            ("{ maximize: a, subject_to: ['< 50'] }", "as in `p99_ms < 50`"),
            ("{ maximize: a, subject_to: ['p99 < fast'] }", "as in `p99_ms < 50`"),
            ("{ maximize: a, subject_to: ['p99 < inf'] }", "as in `p99_ms < 50`"),
        ] {
            let error = parse(yaml).unwrap_err();
            assert!(error.contains(remedy), "{yaml}: {error}");
        }
    }

    #[test]
    fn a_measurement_is_feasible_or_says_by_which_constraint_it_is_not() {
        let objective =
            parse("{ maximize: rate, subject_to: ['p99_ms < 50', 'rate >= 10'] }").unwrap();
        let found = objective.evaluate(&metrics(&[("rate", 12.0), ("p99_ms", 49.9)]));
        assert_eq!(found, Ok(Evaluation::Feasible { objective: 12.0 }));
        let found = objective.evaluate(&metrics(&[("rate", 12.0), ("p99_ms", 50.0)])).unwrap();
        let Evaluation::Infeasible { violated, .. } = found else { panic!("{found:?}") };
        assert_eq!(violated[0].to_string(), "p99_ms < 50 (was 50)");
        assert!((violated[0].constraint.excess(75.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_metric_that_is_missing_or_no_number_is_named() {
        let objective = parse("{ minimize: p99_ms }").unwrap();
        let error = objective.evaluate(&metrics(&[("p99ms", 1.0)])).unwrap_err();
        assert!(error.to_string().contains("did you mean `p99ms`?"), "{error}");
        let error = objective.evaluate(&metrics(&[("p99_ms", f64::NAN)])).unwrap_err();
        assert_eq!(error, EvaluationError::NotFinite("p99_ms".to_owned()));
    }
}
