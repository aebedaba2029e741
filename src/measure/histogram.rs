//! Latencies in an HDR histogram: 1 us to 60 s with three significant digits, whatever their number.
//!
//! What lies outside the range is counted at its end, and how often that happened at the upper end is
//! told. Merging the histograms of clients loses nothing; averaging their quantiles would.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency that is told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;
/// Significant decimal digits of a recorded value.
const DIGITS: u8 = 3;

/// A distribution of latencies.
#[derive(Debug, Clone)]
pub struct Latency {
    /// Microseconds. It grows with the largest value seen, so a client of a fast service costs 16 kB.
    counts: Histogram<u64>,
    clipped: u64,
}

/// What people ask of a distribution of latencies; all zero when nothing was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many latencies were recorded.
    pub count: u64,
    /// Arithmetic mean, in milliseconds.
    pub mean_ms: f64,
    /// The quantile at 0.5, in milliseconds.
    pub p50_ms: f64,
    /// The quantile at 0.9, in milliseconds.
    pub p90_ms: f64,
    /// The quantile at 0.99, in milliseconds.
    pub p99_ms: f64,
    /// The quantile at 0.999, in milliseconds.
    pub p999_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
}

impl Latency {
    /// An empty distribution.
    #[must_use]
    #[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "three digits are allowed")]
    pub fn new() -> Self {
        let counts = Histogram::new(DIGITS).expect("a histogram may have three digits");
        Self { counts, clipped: 0 }
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        // A histogram that grows takes every value up to the bound, so only what is beyond it is clipped.
        let recorded = self.counts.record(micros.clamp(1, LONGEST_US));
        self.clipped += u64::from(micros > LONGEST_US || recorded.is_err());
    }

    /// Adds all of `other`.
    #[expect(
        clippy::missing_panics_doc,
        clippy::expect_used,
        reason = "both have the same digits and grow"
    )]
    pub fn merge(&mut self, other: &Self) {
        self.counts
            .add(&other.counts)
            .expect("histograms of the same digits that grow can be added");
        self.clipped += other.clipped;
    }

    /// How many latencies were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// How many were longer than 60 s and are counted as 60 s.
    #[must_use]
    pub fn clipped(&self) -> u64 {
        self.clipped
    }

    /// The latency below which the share `level` (0..=1) of all lies, in milliseconds; 0 when empty.
    #[must_use]
    pub fn quantile_ms(&self, level: f64) -> f64 {
        millis(self.counts.value_at_quantile(level))
    }

    /// The usual quantiles.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.count(),
            mean_ms: self.counts.mean() / 1e3,
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p99_ms: self.quantile_ms(0.99),
            p999_ms: self.quantile_ms(0.999),
            max_ms: millis(self.counts.max()),
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_distribution_is_all_zero() {
        assert_eq!(Latency::new().summary(), LatencySummary::default());
    }

    #[test]
    fn quantiles_of_a_thousand_known_latencies_are_within_a_tenth_of_a_percent() {
        let mut latency = Latency::new();
        for millis in 1..=1000 {
            latency.record(Duration::from_millis(millis));
        }
        let found = latency.summary();
        for (found, wanted) in [
            (found.p50_ms, 500.0),
            (found.p90_ms, 900.0),
            (found.p99_ms, 990.0),
            (found.max_ms, 1000.0),
            (found.mean_ms, 500.5),
        ] {
            assert!((found - wanted).abs() <= wanted * 1e-3, "{found} is not {wanted}");
        }
    }

    #[test]
    fn what_is_too_long_is_counted_at_the_end_and_told() {
        let mut latency = Latency::new();
        latency.record(Duration::from_hours(1));
        latency.record(Duration::ZERO);
        assert_eq!((latency.count(), latency.clipped()), (2, 1));
        assert!((latency.summary().max_ms - 60_000.0).abs() < 60.0);
    }

    proptest! {
        #[test]
        fn merging_is_the_same_as_recording_all_in_one(
            left in prop::collection::vec(0_u64..100_000_000, 0..50),
            right in prop::collection::vec(0_u64..100_000_000, 0..50),
        ) {
            let fill = |values: &[u64]| {
                let mut latency = Latency::new();
                for us in values {
                    latency.record(Duration::from_micros(*us));
                }
                latency
            };
            let mut merged = fill(&left);
            merged.merge(&fill(&right));
            let whole = fill(&[left, right].concat());
            prop_assert_eq!(merged.summary(), whole.summary());
            prop_assert_eq!(merged.clipped(), whole.clipped());
        }
    }
}
