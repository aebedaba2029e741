//! When has a rate settled? Warm-up is detected from the series of rates, not guessed as a fixed time.
//!
//! The rule is MSER-m (White 1997, "An effective truncation heuristic for bias reduction in simulation
//! output"; MSER-5 with batches of five): of all ways to cut off a beginning within the first half, take
//! the one whose rest has the smallest standard error of its mean. It has not settled when that cut is the
//! last one possible, when too few slices follow it, or when what follows still drifts (which MSER alone
//! does not see in a short series). Pure: a series in, an answer out.

use serde::{Deserialize, Serialize};

use super::statistic::{mean, variance};

/// The fewest slices that must follow the warm-up before it is believed to be over.
pub const LEAST_STEADY_SLICES: usize = 8;

/// Slices that are averaged before the rule is applied. White's five would make the shortest possible
/// warm-up of 100 ms slices half a second; two still hide the beat between slices and the scheduler's tick.
const BATCH: usize = 2;

/// Whether a series of rates has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settling {
    /// The rate is steady from this slice on.
    After(usize),
    /// The series still moves, or is too short to tell.
    NotYet,
}

/// Tells from the rates of successive slices of equal length how many of them are warm-up.
#[must_use]
pub fn settling(rates: &[f64]) -> Settling {
    let batches: Vec<f64> = rates.chunks_exact(BATCH).filter_map(mean).collect();
    let half = batches.len() / 2;
    let Some(cut) = (0..=half)
        .min_by(|a, b| squared_error(&batches, *a).total_cmp(&squared_error(&batches, *b)))
    else {
        return Settling::NotYet;
    };
    let rest = &rates[cut * BATCH..];
    if cut == half || rest.len() < LEAST_STEADY_SLICES || drift(rest).is_some() {
        return Settling::NotYet;
    }
    Settling::After(cut * BATCH)
}

/// White's statistic: the squared standard error of the mean of what follows the cut.
fn squared_error(batches: &[f64], cut: usize) -> f64 {
    let rest = &batches[cut..];
    let centre = mean(rest).unwrap_or(0.0);
    let squares: f64 = rest.iter().map(|rate| (rate - centre).powi(2)).sum();
    squares / (rest.len() as f64).powi(2)
}

/// The change from the first half of a series to the second, as a share of the faster one (-1..=1); nothing
/// when it is within three standard errors of the halves' means, or the series too short to tell.
#[must_use]
pub fn drift(rates: &[f64]) -> Option<f64> {
    if rates.len() < LEAST_STEADY_SLICES {
        return None;
    }
    let (first, second) = rates.split_at(rates.len() / 2);
    let change = mean(second)? - mean(first)?;
    let squared_error = |half: &[f64]| Some(variance(half)? / half.len() as f64);
    let error = (squared_error(first)? + squared_error(second)?).sqrt();
    let faster = mean(first)?.max(mean(second)?);
    (faster > 0.0 && change.abs() > 3.0 * error).then(|| change / faster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    fn noisy(level: impl Fn(usize) -> f64, slices: usize, noise: f64, seed: u64) -> Vec<f64> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        (0..slices)
            .map(|slice| level(slice) * (1.0 + noise * (random.random::<f64>() * 2.0 - 1.0)))
            .collect()
    }

    #[test]
    fn a_steady_series_has_no_warm_up() {
        assert_eq!(settling(&[100.0; 20]), Settling::After(0));
    }

    #[test]
    fn a_slow_start_is_cut_off_where_it_ends() {
        let ramp = |slice: usize| if slice < 12 { 20.0 + 5.0 * slice as f64 } else { 100.0 };
        let mut settled = 0;
        for seed in 0..100 {
            if let Settling::After(cut) = settling(&noisy(ramp, 60, 0.05, seed)) {
                assert!((10..=30).contains(&cut), "seed {seed}: cut at {cut}");
                settled += 1;
            }
        }
        assert!(settled >= 90, "{settled} of 100 had settled");
    }

    #[test]
    fn watched_slice_by_slice_a_slow_start_is_not_taken_for_its_end() {
        let ramp = |slice: usize| if slice < 20 { 40.0 + 3.0 * slice as f64 } else { 100.0 };
        for seed in 0..100 {
            let series = noisy(ramp, 100, 0.04, seed);
            let first = (1..=100).find(|n| matches!(settling(&series[..*n]), Settling::After(_)));
            assert!((18..=60).contains(&first.unwrap()), "seed {seed}: {first:?}");
        }
    }

    #[test]
    fn a_series_that_still_rises_has_not_settled() {
        let series: Vec<f64> = (0..40).map(|slice| 100.0 + 10.0 * f64::from(slice)).collect();
        assert_eq!(settling(&series), Settling::NotYet);
    }

    #[test]
    fn too_short_a_series_can_not_tell() {
        for length in 0..LEAST_STEADY_SLICES {
            assert_eq!(settling(&vec![5.0; length]), Settling::NotYet, "{length} slices");
        }
    }

    #[test]
    fn a_step_in_the_middle_is_drift_and_noise_is_not() {
        for seed in 0..50 {
            let step = |slice: usize| if slice < 20 { 80.0 } else { 100.0 };
            let change = drift(&noisy(step, 40, 0.1, seed)).unwrap();
            assert!((change - 0.2).abs() < 0.1, "seed {seed}: {change}");
        }
        let alarms =
            (0..200).filter(|seed| drift(&noisy(|_| 100.0, 40, 0.2, *seed)).is_some()).count();
        assert!(alarms <= 4, "{alarms} false alarms of 200");
    }

    proptest! {
        #[test]
        fn the_rule_never_depends_on_the_unit_of_the_rate(
            rates in prop::collection::vec(1.0_f64..1000.0, 0..60),
        ) {
            let scaled: Vec<f64> = rates.iter().map(|rate| rate * 1024.0).collect();
            prop_assert_eq!(settling(&rates), settling(&scaled));
        }
    }
}
