//! Is B better than A? Judged from interleaved pairs, with an interval and a noise floor.
//!
//! The order is A B B A A B B A ..., so that drift hits both sides alike. Of each pair the logarithm of
//! b / a is taken; their mean is the effect. Its interval is a bootstrap by `BCa` (Efron 1987, "Better
//! bootstrap confidence intervals"), widened for few pairs as Hesterberg proposes (2015, "What teachers
//! should know about the bootstrap", expanded percentiles), because a plain one is too narrow by a fifth at
//! eight pairs. The noise floor is what comparing A with itself shows: the root mean square of the A/A
//! log-ratios over the square root of the number of pairs.
//!
//! B helps when the whole interval lies above both the least gain and the noise floor, and harms when it
//! lies below the noise floor on the other side. Seeded, so the same pairs always get the same verdict.
//! Does not know what is compared, and measures nothing.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::unit::Percent;

pub use super::model::{Comparison, Verdict};
use super::statistic::{mean, normal_below, normal_quantile, quantile, student_quantile, variance};

/// Below this many pairs there is no verdict: the bootstrap has too few distinct resamples.
pub const LEAST_PAIRS: usize = 5;
/// Resamples per interval: between seeds a bound of eight pairs then scatters by 2% of the interval's width.
const RESAMPLES: usize = 4000;
/// The most pairs that a forecast of the pairs needed tells; beyond it the gain is not worth the search.
const MOST_PAIRS: usize = 10_000;

/// One of the two variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Variant {
    /// The former state.
    A,
    /// The candidate.
    B,
}

/// The order in which to measure so many pairs: `2 * pairs` entries, two successive ones being a pair.
#[must_use]
pub fn plan_order(pairs: usize) -> Vec<Variant> {
    (0..pairs)
        .flat_map(
            |pair| {
                if pair % 2 == 0 { [Variant::A, Variant::B] } else { [Variant::B, Variant::A] }
            },
        )
        .collect()
}

/// What was measured of both variants, pair by pair: both of the same length, higher is better.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pairs {
    /// Of the former state.
    pub a: Vec<f64>,
    /// Of the candidate.
    pub b: Vec<f64>,
}

impl Pairs {
    /// Puts measurements made in the order of [`plan_order`] into pairs; an unfinished pair is left out.
    #[must_use]
    pub fn of_order(order: &[Variant], measured: &[f64]) -> Self {
        let mut pairs = Self::default();
        let both = order.chunks_exact(2).zip(measured.chunks_exact(2));
        for (variants, values) in both {
            let a = usize::from(variants[0] == Variant::B);
            pairs.a.push(values[a]);
            pairs.b.push(values[1 - a]);
        }
        pairs
    }

    /// The logarithm of b / a of each pair in which both are positive and finite.
    #[must_use]
    pub fn log_ratios(&self) -> Vec<f64> {
        let pairs = self.a.iter().zip(&self.b);
        pairs.filter_map(|(a, b)| log_ratio(*a, *b)).collect()
    }

    /// Comparisons of a variant with itself that the order yields for nothing: between pairs, A B B A puts
    /// two measurements of one variant next to each other. Logarithms of second / first.
    #[must_use]
    pub fn null_ratios(&self) -> Vec<f64> {
        let neighbours = |values: &[f64], pair: usize| log_ratio(values[pair], values[pair + 1]);
        let last = self.a.len().min(self.b.len()).saturating_sub(1);
        (0..last)
            .filter_map(|pair| neighbours(if pair % 2 == 0 { &self.b } else { &self.a }, pair))
            .collect()
    }
}

fn log_ratio(a: f64, b: f64) -> Option<f64> {
    (a > 0.0 && b > 0.0).then(|| (b / a).ln()).filter(|ratio| ratio.is_finite())
}

/// What it takes to be accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Acceptance {
    /// The least gain that is worth a change.
    pub min_gain: Percent,
    /// How sure the interval must be, such as 95%; clamped to 50%..99.9%.
    pub confidence: Percent,
    /// The seed of the bootstrap.
    pub seed: u64,
}

/// Judges the pairs. `aa` holds log-ratios of the former state with itself; with fewer than two of them
/// those that the order yields ([`Pairs::null_ratios`]) are taken.
#[must_use]
pub fn verdict(pairs: &Pairs, acceptance: Acceptance, aa: &[f64]) -> Comparison {
    let ratios = pairs.log_ratios();
    let confidence = (acceptance.confidence.0 / 100.0).clamp(0.5, 0.999);
    let own = if aa.len() < 2 { pairs.null_ratios() } else { aa.to_vec() };
    let scatter = root_mean_square(&own);
    let effect = mean(&ratios).unwrap_or(0.0);
    if ratios.len() < LEAST_PAIRS {
        return Comparison {
            ratio: effect.exp(),
            low: 0.0,
            high: f64::MAX,
            noise_floor: (scatter / (ratios.len().max(1) as f64).sqrt()).exp_m1(),
            verdict: Verdict::Inconclusive,
            pairs: ratios.len(),
            pairs_needed: Some(LEAST_PAIRS),
        };
    }
    let floor = scatter / (ratios.len() as f64).sqrt();
    let (low, high) = interval_of_mean(&ratios, confidence, acceptance.seed);
    let least = (acceptance.min_gain.0 / 100.0).ln_1p();
    let verdict = if low > least.max(floor) {
        Verdict::Helps
    } else if high < -floor {
        Verdict::Harms
    } else {
        Verdict::Inconclusive
    };
    Comparison {
        ratio: effect.exp(),
        low: low.exp(),
        high: high.exp(),
        noise_floor: floor.exp_m1(),
        verdict,
        pairs: ratios.len(),
        pairs_needed: pairs_needed(&ratios, confidence, least, scatter),
    }
}

/// The interval of the mean of at least two values: `BCa` with expanded percentiles.
#[must_use]
pub fn interval_of_mean(values: &[f64], confidence: f64, seed: u64) -> (f64, f64) {
    let Some(centre) = mean(values) else { return (0.0, 0.0) };
    let spread = variance(values).unwrap_or(0.0);
    if spread <= 0.0 {
        return (centre, centre);
    }
    let count = values.len();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sum: f64 = (0..count).map(|_| values[random.random_range(0..count)]).sum();
            sum / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    // Resamples that hit the mean itself count half, or two pairs of values would look biased.
    let below = means.partition_point(|value| *value < centre);
    let upto = means.partition_point(|value| *value <= centre);
    let bias = normal_quantile(f64::midpoint(below as f64, upto as f64) / RESAMPLES as f64);
    let acceleration = acceleration(values, centre);
    let half = student_quantile(f64::midpoint(1.0, confidence), count - 1)
        * (count as f64 / (count - 1) as f64).sqrt();
    let bound = |z: f64| {
        let shifted = bias + z;
        let level = normal_below(bias + shifted / (1.0 - acceleration * shifted));
        quantile(&means, level).unwrap_or(centre)
    };
    (bound(-half), bound(half))
}

/// Efron's acceleration of the mean: a sixth of its skewness, from the jackknife.
fn acceleration(values: &[f64], centre: f64) -> f64 {
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    let cubes: f64 = values.iter().map(|value| (value - centre).powi(3)).sum();
    if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 }
}

fn root_mean_square(values: &[f64]) -> f64 {
    mean(&values.iter().map(|value| value * value).collect::<Vec<_>>()).unwrap_or(0.0).sqrt()
}

/// The fewest pairs whose normal-theory lower bound would pass, at the effect and the spread seen.
fn pairs_needed(ratios: &[f64], confidence: f64, least: f64, scatter: f64) -> Option<usize> {
    let effect = mean(ratios)?;
    let spread = variance(ratios)?.sqrt();
    let passes = |pairs: usize| {
        let root = (pairs as f64).sqrt();
        let reach = student_quantile(f64::midpoint(1.0, confidence), pairs - 1) * spread / root;
        effect - reach > least.max(scatter / root)
    };
    if !passes(MOST_PAIRS) {
        return None;
    }
    // Every term that has to be beaten shrinks with the number of pairs, so the least is found by halving.
    let (mut fails, mut suffices) = (LEAST_PAIRS - 1, MOST_PAIRS);
    while suffices - fails > 1 {
        let middle = usize::midpoint(fails, suffices);
        if passes(middle) { suffices = middle } else { fails = middle }
    }
    Some(suffices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pairs with a true gain and normal noise on each measurement, and as many A/A log-ratios.
    fn simulate(pairs: usize, gain: f64, noise: f64, seed: u64) -> (Pairs, Vec<f64>) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut one = |level: f64| {
            let z = normal_quantile(random.random::<f64>().clamp(1e-12, 1.0 - 1e-12));
            level * (1.0 + noise * z)
        };
        let mut made = Pairs::default();
        for _ in 0..pairs {
            made.a.push(one(1000.0));
            made.b.push(one(1000.0 * (1.0 + gain)));
        }
        let aa = (0..pairs).filter_map(|_| log_ratio(one(1000.0), one(1000.0))).collect();
        (made, aa)
    }

    fn rule(min_gain: f64) -> Acceptance {
        Acceptance { min_gain: Percent(min_gain), confidence: Percent(95.0), seed: 7 }
    }

    fn share(verdict_wanted: Verdict, gain: f64, noise: f64, min_gain: f64) -> f64 {
        let rounds = 120;
        let hits = (0..rounds)
            .filter(|seed| {
                let (pairs, aa) = simulate(8, gain, noise, *seed);
                verdict(&pairs, rule(min_gain), &aa).verdict == verdict_wanted
            })
            .count();
        hits as f64 / rounds as f64
    }

    #[test]
    fn the_order_is_a_b_b_a_and_its_measurements_find_back_to_their_pairs() {
        use Variant::{A, B};
        let order = plan_order(4);
        assert_eq!(order, [A, B, B, A, A, B, B, A]);
        let pairs = Pairs::of_order(&order, &[1.0, 2.0, 4.0, 3.0, 5.0, 6.0, 8.0]);
        assert_eq!(pairs, Pairs { a: vec![1.0, 3.0, 5.0], b: vec![2.0, 4.0, 6.0] });
        // B of the first pair next to B of the second; A of the second next to A of the third.
        let nulls = pairs.null_ratios();
        assert!((nulls[0] - 2.0_f64.ln()).abs() < 1e-12);
        assert!((nulls[1] - (5.0_f64 / 3.0).ln()).abs() < 1e-12);
    }

    #[test]
    fn white_noise_is_accepted_less_often_than_its_level_allows() {
        let accepted = share(Verdict::Helps, 0.0, 0.02, 0.0);
        assert!(accepted <= 0.025, "{accepted}");
        let condemned = share(Verdict::Harms, 0.0, 0.1, 0.0);
        assert!(condemned <= 0.025, "{condemned}");
    }

    #[test]
    fn a_gain_of_five_percent_under_two_percent_noise_is_found_by_eight_pairs() {
        let found = share(Verdict::Helps, 0.05, 0.02, 1.0);
        assert!(found >= 0.85, "{found}");
        let found = share(Verdict::Harms, -0.05, 0.02, 1.0);
        assert!(found >= 0.85, "{found}");
    }

    #[test]
    fn a_gain_below_the_least_is_not_accepted_however_sure_it_is() {
        assert!(share(Verdict::Helps, 0.005, 0.001, 1.0) <= 0.0);
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says_even_with_eight_pairs() {
        let rounds = 200;
        let covered = (0..rounds)
            .filter(|seed| {
                let (pairs, _) = simulate(8, 0.0, 0.03, 10_000 + seed);
                let (low, high) = interval_of_mean(&pairs.log_ratios(), 0.95, *seed);
                low <= 0.0 && 0.0 <= high
            })
            .count();
        let share = covered as f64 / f64::from(u16::try_from(rounds).unwrap());
        assert!((0.92..=0.985).contains(&share), "{share}");
    }

    #[test]
    fn too_few_or_useless_pairs_give_no_verdict() {
        let pairs = Pairs { a: vec![1.0, 0.0, 1.0, f64::NAN, 1.0], b: vec![2.0; 5] };
        let found = verdict(&pairs, rule(0.0), &[]);
        assert_eq!((found.verdict, found.pairs), (Verdict::Inconclusive, 3));
        assert_eq!(found.pairs_needed, Some(LEAST_PAIRS));
    }

    #[test]
    fn an_inconclusive_comparison_says_how_many_pairs_it_would_have_taken() {
        let (pairs, aa) = simulate(8, 0.02, 0.03, 3);
        let found = verdict(&pairs, rule(0.0), &aa);
        if found.verdict == Verdict::Inconclusive && found.ratio > 1.0 {
            assert!(found.pairs_needed.unwrap() > 8, "{found:?}");
        }
        let (pairs, aa) = simulate(8, -0.05, 0.01, 3);
        assert_eq!(verdict(&pairs, rule(0.0), &aa).pairs_needed, None);
    }

    #[test]
    fn the_same_pairs_always_get_the_same_comparison() {
        let (pairs, aa) = simulate(10, 0.03, 0.02, 11);
        assert_eq!(verdict(&pairs, rule(1.0), &aa), verdict(&pairs, rule(1.0), &aa));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_ratio_lies_inside_its_interval_and_swapping_the_variants_never_keeps_a_gain(
            values in prop::collection::vec((1.0_f64..100.0, 1.0_f64..100.0), 5..20),
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = values.into_iter().unzip();
            let forth = verdict(&Pairs { a: a.clone(), b: b.clone() }, rule(0.0), &[]);
            prop_assert!(forth.low <= forth.ratio * 1.000_001);
            prop_assert!(forth.ratio <= forth.high * 1.000_001);
            let back = verdict(&Pairs { a: b, b: a }, rule(0.0), &[]);
            prop_assert!((forth.ratio * back.ratio - 1.0).abs() < 1e-9);
            prop_assert!(!(forth.verdict == Verdict::Helps && back.verdict == Verdict::Helps));
        }
    }
}
