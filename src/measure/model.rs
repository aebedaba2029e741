//! Measurements and comparisons as plain data: a value with its unit and the samples behind it; a verdict with what
//! it rests on.
//!
//! Every decision carries them, so this form is kept in reports and in the store. Does not know how a value was
//! obtained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::statistic;
use crate::unit::Percent;

/// What is known of a quantity that is the ratio of a comparison.
const COMPARISON: &str = "comparison";

/// One measured quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// What was measured, such as `service_throughput`.
    pub name: String,
    /// The quantity, in `unit`.
    pub value: f64,
    /// The unit of the value and of each sample, such as `1/s` or `ms`.
    pub unit: String,
    /// The single observations behind the value, in the order in which they were made.
    pub samples: Vec<f64>,
    /// What else is known of it: quantiles, counts, warnings.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
}

impl Measurement {
    /// A quantity observed once.
    #[must_use]
    pub fn once(name: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        let (name, unit) = (name.into(), unit.into());
        Self { name, value, unit, samples: vec![value], detail: Map::new() }
    }

    /// The mean of several observations; nothing where there are none.
    #[must_use]
    pub fn mean_of(
        name: impl Into<String>,
        samples: Vec<f64>,
        unit: impl Into<String>,
    ) -> Option<Self> {
        let value = statistic::mean(&samples)?;
        Some(Self { name: name.into(), value, unit: unit.into(), samples, detail: Map::new() })
    }

    /// Says what a comparison that this quantity is the ratio of has shown.
    #[must_use]
    pub fn compared(self, comparison: &Comparison) -> Self {
        let shown = serde_json::to_value(comparison).unwrap_or(Value::Null);
        self.with_detail(COMPARISON, shown)
    }

    /// The comparison that this quantity is the ratio of; nothing for one that was measured by itself.
    #[must_use]
    pub fn comparison(&self) -> Option<Comparison> {
        Comparison::deserialize(self.detail.get(COMPARISON)?).ok()
    }

    /// Adds one thing that is known of it.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.detail.insert(key.into(), value.into());
        self
    }
}

/// The answer to: is B, the candidate, better than A, the former state?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is, by more than the least gain and than noise.
    Helps,
    /// It is worse, by more than noise.
    Harms,
    /// These pairs do not tell.
    Inconclusive,
}

/// A verdict of [`compare`](super::compare) with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// B over A, as the geometric mean of the pairs: 1.05 is 5% more.
    pub ratio: f64,
    /// Lower bound of the interval of `ratio`.
    pub low: f64,
    /// Upper bound of the interval of `ratio`.
    pub high: f64,
    /// The gain that noise alone would show, as a share: 0.01 is 1%.
    pub noise_floor: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// Usable pairs behind it.
    pub pairs: usize,
    /// Pairs that a verdict of `helps` would take if the effect and the noise stay as they were seen;
    /// nothing where no number of pairs would do, because the effect is below what is asked for.
    pub pairs_needed: Option<usize>,
}

impl Verdict {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Helps => "helps",
            Self::Harms => "harms",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl Comparison {
    /// True when the gain is surely below `min_gain`, by more than noise: more pairs would not find it.
    #[must_use]
    pub fn is_surely_below(&self, min_gain: Percent) -> bool {
        self.high + self.noise_floor < 1.0 + min_gain.0 / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_keeps_its_samples_through_json() {
        let measured = Measurement::mean_of("rate", vec![10.0, 12.0, 14.0], "1/s")
            .unwrap()
            .with_detail("p99_ms", 4.5);
        assert!((measured.value - 12.0).abs() < 1e-12);
        let text = serde_json::to_string(&measured).unwrap();
        assert_eq!(serde_json::from_str::<Measurement>(&text).unwrap(), measured);
    }

    #[test]
    fn a_ratio_is_told_with_what_its_comparison_has_shown() {
        let comparison = Comparison {
            ratio: 1.08,
            low: 0.95,
            high: 1.21,
            noise_floor: 0.02,
            verdict: Verdict::Inconclusive,
            pairs: 8,
            pairs_needed: Some(40),
        };
        let measured = Measurement::once("gain", 1.08, "ratio");
        assert_eq!(measured.comparison(), None);
        assert_eq!(measured.compared(&comparison).comparison(), Some(comparison));
    }

    #[test]
    fn no_samples_make_no_measurement() {
        assert_eq!(Measurement::mean_of("rate", Vec::new(), "1/s"), None);
    }
}
