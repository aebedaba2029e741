//! When a gate looks at its pairs, and how sure each look must be.
//!
//! Whoever looks again and again and stops as soon as the interval is on the right side finds a gain where there is
//! none far more often than the interval says (Armitage, `McPherson` and Rowe 1969, "Repeated significance tests on
//! accumulating data"). So it is looked only after fixed numbers of pairs and once at the end, and the risk of being
//! wrong is divided among all looks that there can be (Bonferroni). Pure; knows nothing of hosts.

use crate::measure::compare::{Acceptance, Comparison, LEAST_PAIRS, Pairs, Verdict, verdict};
use crate::pipeline::Gate;
use crate::unit::Percent;

/// After how many pairs it is looked, if there is time for so many. When the time is over between two of them, the look
/// at the end takes the place of the next: there are never more looks than this.
const LOOKS: [usize; 5] = [6, 12, 24, 48, MOST_PAIRS];

/// The most pairs that a gate measures. Each doubling of the pairs shrinks the interval by a third only.
pub(super) const MOST_PAIRS: usize = 96;

/// The surest interval that resampling can give.
const SUREST: f64 = 99.9;

/// Starts the bootstrap; fixed, so that a verdict can be worked out again from its pairs.
const SEED: u64 = 1;

const _: () = assert!(LOOKS[0] >= LEAST_PAIRS, "fewer pairs have no verdict");

/// Whether it is looked after so many pairs.
pub(super) fn is_due(pairs: usize) -> bool {
    LOOKS.contains(&pairs)
}

/// How sure each look must be, so that all of them together are as sure as `wanted`.
pub(super) fn confidence(wanted: Percent) -> Percent {
    let each = 100.0 - (100.0 - wanted.0) / LOOKS.len() as f64;
    Percent(each.min(SUREST))
}

/// One look at the pairs so far.
pub(super) fn look(pairs: &Pairs, gate: &Gate) -> Comparison {
    let (min_gain, confidence) = (gate.min_gain, confidence(gate.confidence));
    verdict(pairs, Acceptance { min_gain, confidence, seed: SEED }, &pairs.null_ratios())
}

/// Whether more pairs would be measured in vain: it helps, it harms, or it surely gains less than was asked for.
pub(super) fn is_clear(comparison: &Comparison, gate: &Gate) -> bool {
    comparison.verdict != Verdict::Inconclusive || comparison.is_surely_below(gate.min_gain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::statistic::normal_quantile;
    use crate::pipeline::GateObjective;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};
    use std::time::Duration;

    fn gate(min_gain: f64) -> Gate {
        Gate {
            objective: GateObjective::ServiceThroughput,
            min_gain: Percent(min_gain),
            confidence: Percent(95.0),
            budget: Duration::from_mins(1),
        }
    }

    /// The verdict of a gate, and after how many pairs, when the true gain and the noise of a measurement are these.
    fn play(gain: f64, noise: f64, min_gain: f64, seed: u64) -> (Verdict, usize) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut one = |level: f64| {
            level
                * (1.0 + noise * normal_quantile(random.random::<f64>().clamp(1e-12, 1.0 - 1e-12)))
        };
        let gate = gate(min_gain);
        let mut pairs = Pairs::default();
        loop {
            pairs.a.push(one(1000.0));
            pairs.b.push(one(1000.0 * (1.0 + gain)));
            let made = pairs.a.len();
            if !is_due(made) {
                continue;
            }
            let comparison = look(&pairs, &gate);
            // The last look takes most of the time of this test and changes little.
            if is_clear(&comparison, &gate) || made == LOOKS[3] {
                return (comparison.verdict, made);
            }
        }
    }

    fn share(wanted: Verdict, (gain, noise, min_gain): (f64, f64, f64)) -> f64 {
        let rounds = 120;
        let hits = (0..rounds).filter(|seed| play(gain, noise, min_gain, *seed).0 == wanted);
        hits.count() as f64 / rounds as f64
    }

    #[test]
    fn what_changes_nothing_is_kept_or_condemned_less_often_than_the_level_allows_over_all_looks() {
        for verdict in [Verdict::Helps, Verdict::Harms] {
            let found = share(verdict, (0.0, 0.02, 0.0));
            assert!(found <= 0.025, "{verdict:?} in {found}");
        }
    }

    #[test]
    fn a_gain_well_above_the_noise_is_found_early_and_a_harm_as_well() {
        let found = share(Verdict::Helps, (0.05, 0.01, 1.0));
        assert!(found >= 0.95, "{found}");
        let found = share(Verdict::Harms, (-0.05, 0.01, 1.0));
        assert!(found >= 0.95, "{found}");
        assert!(play(0.10, 0.01, 1.0, 3).1 <= LOOKS[1]);
    }

    #[test]
    fn a_gain_surely_below_the_least_ends_the_gate_before_its_time() {
        let (verdict, pairs) = play(0.0, 0.002, 5.0, 1);
        assert_eq!((verdict, pairs), (Verdict::Inconclusive, LOOKS[0]));
    }

    #[test]
    fn the_risk_is_divided_among_the_looks() {
        assert!((confidence(Percent(95.0)).0 - 99.0).abs() < 1e-9);
        assert_eq!((1..=MOST_PAIRS).filter(|pairs| is_due(*pairs)).count(), LOOKS.len());
    }
}
