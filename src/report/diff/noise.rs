//! Whether two measurements of one quantity differ beyond their noise.
//!
//! Welch's interval of the difference of two means (Welch 1947): samples of each side, their own variances, Student's law
//! with the degrees of freedom after Satterthwaite. Over all quantities that are compared at once the chance of one false
//! alarm is held (Bonferroni). What it can't see is what changed between the runs as a whole and not within one, such as
//! a neighbour on the same machine: samples of one run share it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::measure::model::Measurement;
use crate::measure::statistic::{mean, student_quantile, variance};

/// The chance of calling any of the differences real when none is.
const ERROR: f64 = 0.05;

/// What is known of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "judgement", rename_all = "snake_case")]
pub enum Judgement {
    /// The interval of the difference leaves out zero.
    BeyondNoise {
        /// Lower end of the interval, relative to the former mean.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// It does not.
    WithinNoise {
        /// Lower end of the interval, relative to the former mean.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// One side has a single sample, so nothing is known of its noise.
    TooFewSamples,
    /// The sides are not in the same unit.
    OtherUnit,
}

/// True when the samples of both sides tell something of their noise.
pub(super) fn comparable(before: &Measurement, after: &Measurement) -> bool {
    before.unit == after.unit && before.samples.len() > 1 && after.samples.len() > 1
}

/// Judges one of `compared` differences.
pub(super) fn judge(before: &Measurement, after: &Measurement, compared: usize) -> Judgement {
    if before.unit != after.unit {
        return Judgement::OtherUnit;
    }
    let level = 1.0 - ERROR / compared.max(1) as f64 / 2.0;
    match interval(&before.samples, &after.samples, level) {
        None => Judgement::TooFewSamples,
        Some((low, high)) if low > 0.0 || high < 0.0 => Judgement::BeyondNoise { low, high },
        Some((low, high)) => Judgement::WithinNoise { low, high },
    }
}

/// The interval of the difference of the means, relative to the former mean.
fn interval(before: &[f64], after: &[f64], level: f64) -> Option<(f64, f64)> {
    let (from, to) = (mean(before)?, mean(after)?);
    let (before_count, after_count) = (before.len() as f64, after.len() as f64);
    let (a, b) = (variance(before)? / before_count, variance(after)? / after_count);
    let size = from.abs();
    // What was zero has no change in percent; its interval is that of the difference itself.
    let unit = if size > 0.0 { size } else { 1.0 };
    let difference = (to - from) / unit;
    let error = (a + b).sqrt() / unit;
    let margin = if error > 0.0 {
        let freedom =
            (a + b).powi(2) / (a.powi(2) / (before_count - 1.0) + b.powi(2) / (after_count - 1.0));
        student(level, freedom.floor() as usize) * error
    } else {
        0.0
    };
    (difference.is_finite() && margin.is_finite())
        .then_some((difference - margin, difference + margin))
}

/// Most degrees of freedom at which Student's law is inverted; the expansion does for more.
const EXACT: usize = 30;

/// The quantile of Student's law at a level above one half. With few degrees and a level near 1, as here, the expansion
/// is off by a tenth and more, so the law itself is inverted.
fn student(level: f64, freedom: usize) -> f64 {
    let freedom = freedom.max(1);
    if freedom > EXACT {
        return student_quantile(level, freedom);
    }
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if within(middle, freedom) < 2.0 * level - 1.0 { low = middle } else { high = middle }
    }
    (freedom as f64).sqrt() * low.tan()
}

/// The probability that a variable of Student's law lies within `sqrt(freedom) tan(angle)` of zero (Abramowitz and
/// Stegun 26.7.3 and 26.7.4).
fn within(angle: f64, freedom: usize) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = 0.0;
    let first = usize::from(odd);
    for power in (first..freedom.saturating_sub(1)).step_by(2) {
        if power > first {
            term *= cosine * cosine * (power - 1) as f64 / power as f64;
        }
        sum += term;
    }
    if odd { std::f64::consts::FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(samples: &[f64]) -> Measurement {
        Measurement::mean_of("rate", samples.to_vec(), "1/s").unwrap()
    }

    #[test]
    fn the_interval_is_that_of_the_textbook() {
        // Two samples of equal size and variance: the pooled interval of 8 degrees, t = 2.306.
        let before = measured(&[98.0, 99.0, 100.0, 101.0, 102.0]);
        let after = measured(&[108.0, 109.0, 110.0, 111.0, 112.0]);
        let Judgement::BeyondNoise { low, high } = judge(&before, &after, 1) else {
            panic!("10% at a standard error of 1%")
        };
        assert!((low - (0.1 - 0.023_06)).abs() < 2e-4 && (high - (0.1 + 0.023_06)).abs() < 2e-4);
    }

    #[test]
    fn quantiles_of_few_degrees_are_those_of_the_table() {
        for (level, freedom, wanted) in [
            (0.975, 1, 12.706),
            (0.975, 2, 4.303),
            (0.975, 3, 3.182),
            (0.975, 4, 2.776),
            (0.9995, 3, 12.924),
            (0.9995, 6, 5.959),
            (0.9995, 30, 3.646),
            (0.975, 100, 1.984),
        ] {
            let found = student(level, freedom);
            assert!((found - wanted).abs() < 0.001 * wanted, "{level} {freedom}: {found}");
        }
    }

    #[test]
    fn two_samples_each_must_differ_by_much_to_count() {
        let judged = judge(&measured(&[100.0, 104.0]), &measured(&[90.0, 95.0]), 1);
        assert!(matches!(judged, Judgement::WithinNoise { .. }), "{judged:?}");
        let judged = judge(&measured(&[100.0, 101.0]), &measured(&[50.0, 51.0]), 1);
        assert!(matches!(judged, Judgement::BeyondNoise { .. }), "{judged:?}");
    }

    #[test]
    fn the_more_is_compared_the_more_it_takes_to_count() {
        let (before, after) = (measured(&[10.0, 11.0, 12.0]), measured(&[13.0, 14.0, 15.0]));
        assert!(matches!(judge(&before, &after, 1), Judgement::BeyondNoise { .. }));
        assert!(matches!(judge(&before, &after, 100), Judgement::WithinNoise { .. }));
    }

    #[test]
    fn what_has_no_noise_differs_when_it_is_not_the_same() {
        let same = measured(&[5.0, 5.0]);
        assert!(matches!(judge(&same, &same, 1), Judgement::WithinNoise { .. }));
        let other = measured(&[6.0, 6.0]);
        assert!(matches!(judge(&same, &other, 1), Judgement::BeyondNoise { .. }));
        let nothing = measured(&[0.0, 0.0]);
        assert!(matches!(judge(&nothing, &same, 1), Judgement::BeyondNoise { .. }));
    }

    #[test]
    fn a_single_sample_or_another_unit_is_not_judged() {
        let (one, many) = (measured(&[1.0]), measured(&[1.0, 2.0]));
        assert_eq!(judge(&one, &many, 1), Judgement::TooFewSamples);
        let other = Measurement { unit: "ms".to_owned(), ..many.clone() };
        assert_eq!(judge(&many, &other, 1), Judgement::OtherUnit);
        assert!(!comparable(&one, &many) && !comparable(&many, &other) && comparable(&many, &many));
    }
}
