//! A measurement as plain data: a value with its unit and the samples behind it.
//!
//! Every decision carries measurements, so this form is kept in reports and in the store. Does not know
//! how a value was obtained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::statistic;

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

    /// Adds one thing that is known of it.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.detail.insert(key.into(), value.into());
        self
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
    fn no_samples_make_no_measurement() {
        assert_eq!(Measurement::mean_of("rate", Vec::new(), "1/s"), None);
    }
}
