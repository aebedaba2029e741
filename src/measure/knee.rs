//! The smallest size that suffices: within a tolerance of the best admissible throughput.
//!
//! A size is admissible when its p99 is within its bound. Sizes measured more than once (up the range and
//! down again) count by the mean of their throughputs and the worst of their p99. Pure.

use serde::{Deserialize, Serialize};

use crate::unit::Percent;

use super::statistic::mean;

/// What was measured at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizePoint {
    /// The size: connections, threads.
    pub size: u64,
    /// Units per second.
    pub throughput: f64,
    /// The 0.99 quantile of the latency, in milliseconds.
    pub p99_ms: f64,
    /// Whether the load generator was the limit, so that the throughput is only a lower bound.
    pub generator_bound: bool,
}

/// What suffices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KneeRule {
    /// How far below the best admissible throughput is good enough.
    pub tolerance: Percent,
    /// The longest p99 that is admissible, in milliseconds; infinite for no bound.
    pub p99_bound_ms: f64,
}

/// How the curve looks around the size chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KneeVerdict {
    /// Beyond it throughput falls, or latency leaves its bound.
    Knee,
    /// Beyond it throughput neither rises nor falls.
    Plateau,
    /// It is the largest size measured: more might be better.
    NotReached,
    /// The load generator was the limit at the best size: the target could do more.
    GeneratorBound,
}

/// The size chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// The smallest size that suffices.
    pub size: u64,
    /// Its throughput, in units per second.
    pub throughput: f64,
    /// Its p99, in milliseconds.
    pub p99_ms: f64,
    /// The admissible size of highest throughput.
    pub best_size: u64,
    /// The throughput there.
    pub best_throughput: f64,
    /// How the curve looks around it.
    pub verdict: KneeVerdict,
    /// Sizes left out because their p99 was beyond its bound.
    pub inadmissible: Vec<u64>,
}

/// Why no size can be chosen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoKnee {
    /// Nothing was measured.
    #[error("could not choose a size: none was measured")]
    NothingMeasured,
    /// Every size is beyond the bound of latency.
    #[error(
        "could not choose a size: none has a p99 within {bound_ms} ms; the nearest is {size} with {p99_ms} ms"
    )]
    NoneAdmissible {
        /// The bound.
        bound_ms: f64,
        /// The size of least p99.
        size: u64,
        /// Its p99, in milliseconds.
        p99_ms: f64,
    },
    /// No size did any work.
    #[error("could not choose a size: the throughput of every admissible one is zero")]
    NoThroughput,
}

/// Chooses the smallest size that suffices.
///
/// # Errors
/// When nothing was measured, no size is admissible, or none did any work.
pub fn knee(curve: &[SizePoint], rule: KneeRule) -> Result<Knee, NoKnee> {
    let curve = by_size(curve);
    let nearest =
        curve.iter().min_by(|a, b| a.p99_ms.total_cmp(&b.p99_ms)).ok_or(NoKnee::NothingMeasured)?;
    let (admissible, beyond): (Vec<&SizePoint>, Vec<&SizePoint>) =
        curve.iter().partition(|point| point.p99_ms <= rule.p99_bound_ms);
    let best = admissible.iter().max_by(|a, b| a.throughput.total_cmp(&b.throughput)).ok_or(
        NoKnee::NoneAdmissible {
            bound_ms: rule.p99_bound_ms,
            size: nearest.size,
            p99_ms: nearest.p99_ms,
        },
    )?;
    if best.throughput <= 0.0 {
        return Err(NoKnee::NoThroughput);
    }
    let enough = best.throughput * (1.0 - rule.tolerance.0 / 100.0);
    let chosen =
        admissible.iter().find(|point| point.throughput >= enough).copied().unwrap_or(best);
    let larger = || curve.iter().filter(|point| point.size > chosen.size);
    let falls = |point: &SizePoint| point.p99_ms > rule.p99_bound_ms || point.throughput < enough;
    let verdict = if best.generator_bound {
        KneeVerdict::GeneratorBound
    } else if larger().next().is_none() {
        KneeVerdict::NotReached
    } else if larger().any(falls) {
        KneeVerdict::Knee
    } else {
        KneeVerdict::Plateau
    };
    Ok(Knee {
        size: chosen.size,
        throughput: chosen.throughput,
        p99_ms: chosen.p99_ms,
        best_size: best.size,
        best_throughput: best.throughput,
        verdict,
        inadmissible: beyond.iter().map(|point| point.size).collect(),
    })
}

/// One point a size, upwards.
fn by_size(curve: &[SizePoint]) -> Vec<SizePoint> {
    let mut sorted = curve.to_vec();
    sorted.sort_by_key(|point| point.size);
    sorted
        .chunk_by(|a, b| a.size == b.size)
        .map(|same| {
            let rates: Vec<f64> = same.iter().map(|point| point.throughput).collect();
            SizePoint {
                size: same[0].size,
                throughput: mean(&rates).unwrap_or(0.0),
                p99_ms: same.iter().map(|point| point.p99_ms).fold(0.0, f64::max),
                generator_bound: same.iter().any(|point| point.generator_bound),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: KneeRule = KneeRule { tolerance: Percent(2.0), p99_bound_ms: 50.0 };

    fn curve(points: &[(u64, f64, f64)]) -> Vec<SizePoint> {
        points
            .iter()
            .map(|&(size, throughput, p99_ms)| SizePoint {
                size,
                throughput,
                p99_ms,
                generator_bound: false,
            })
            .collect()
    }

    #[test]
    fn the_smallest_size_within_the_tolerance_is_chosen_and_a_fall_beyond_it_is_a_knee() {
        let points = curve(&[(4, 80.0, 5.0), (8, 99.0, 8.0), (12, 100.0, 12.0), (16, 90.0, 30.0)]);
        let found = knee(&points, RULE).unwrap();
        assert_eq!((found.size, found.best_size, found.verdict), (8, 12, KneeVerdict::Knee));
    }

    #[test]
    fn a_flat_end_is_a_plateau_and_a_rising_one_is_not_reached() {
        let flat = curve(&[(5, 98.5, 5.0), (10, 100.0, 8.0), (20, 99.0, 9.0)]);
        assert_eq!(knee(&flat, RULE).unwrap().verdict, KneeVerdict::Plateau);
        let rising = curve(&[(5, 50.0, 5.0), (10, 75.0, 8.0), (20, 100.0, 9.0)]);
        let found = knee(&rising, RULE).unwrap();
        assert_eq!((found.size, found.verdict), (20, KneeVerdict::NotReached));
    }

    #[test]
    fn latency_beyond_its_bound_makes_a_size_inadmissible_however_fast() {
        let points = curve(&[(5, 60.0, 20.0), (10, 90.0, 45.0), (20, 200.0, 80.0)]);
        let found = knee(&points, RULE).unwrap();
        assert_eq!((found.size, found.verdict), (10, KneeVerdict::Knee));
        assert_eq!(found.inadmissible, [20]);
        let none = knee(&curve(&[(5, 60.0, 70.0), (10, 60.0, 90.0)]), RULE);
        assert_eq!(none, Err(NoKnee::NoneAdmissible { bound_ms: 50.0, size: 5, p99_ms: 70.0 }));
    }

    #[test]
    fn sizes_measured_up_and_down_count_once_by_their_mean_and_worst_latency() {
        let points = curve(&[(5, 90.0, 5.0), (10, 100.0, 9.0), (10, 96.0, 60.0), (5, 92.0, 6.0)]);
        let found = knee(&points, RULE).unwrap();
        assert_eq!((found.size, found.inadmissible.as_slice()), (5, [10].as_slice()));
        assert!((found.throughput - 91.0).abs() < 1e-12);
    }

    #[test]
    fn a_generator_at_its_limit_is_said_and_nothing_measured_is_no_size() {
        let mut points = curve(&[(5, 50.0, 5.0), (10, 51.0, 5.0)]);
        points[1].generator_bound = true;
        assert_eq!(knee(&points, RULE).unwrap().verdict, KneeVerdict::GeneratorBound);
        assert_eq!(knee(&[], RULE), Err(NoKnee::NothingMeasured));
        assert_eq!(knee(&curve(&[(5, 0.0, 1.0)]), RULE), Err(NoKnee::NoThroughput));
    }
}
