//! The few statistics that the judgements of this island rest on: moments, quantiles, the normal and t laws.
//!
//! Pure functions over slices. Each formula names its source. Knows nothing of what the numbers mean.

use std::f64::consts::{PI, SQRT_2};

/// The arithmetic mean; nothing for no values.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The sample variance (divided by n - 1); nothing below two values.
#[must_use]
pub fn variance(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    Some(squares / (values.len() - 1) as f64)
}

/// The quantile at `level` in 0..=1 of values sorted upwards, interpolated between neighbours (type 7 of
/// Hyndman and Fan 1996); nothing for no values.
#[must_use]
pub fn quantile(sorted: &[f64], level: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = level.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64))
}

/// The middle of the values, in any order; nothing for no values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// The probability that a standard normal value is below `z`.
///
/// By the continued fraction and the series of the error function (Abramowitz and Stegun 7.1.5, 7.1.14);
/// the absolute error is below 1e-12.
#[must_use]
pub fn normal_below(z: f64) -> f64 {
    let x = z.abs() / SQRT_2;
    let upper = if x < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200_i32 {
            term *= -x * x / f64::from(n);
            let addend = term / f64::from(2 * n + 1);
            sum += addend;
            if addend.abs() < 1e-17 {
                break;
            }
        }
        1.0 - 2.0 / PI.sqrt() * sum
    } else {
        let tail = (1..=60).rev().fold(0.0, |tail, n| f64::from(n) / 2.0 / (x + tail));
        (-x * x).exp() / PI.sqrt() / (x + tail)
    };
    if z > 0.0 { 1.0 - upper / 2.0 } else { upper / 2.0 }
}

/// The standard normal quantile of `level`, which must lie inside 0..1; infinite at its ends.
///
/// Bisection of [`normal_below`]: exact to the last digits that matter and never off in a tail.
#[must_use]
pub fn normal_quantile(level: f64) -> f64 {
    if level <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if level >= 1.0 {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if normal_below(middle) < level { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The quantile of Student's t law with `freedom` degrees, by the Cornish-Fisher expansion of Abramowitz
/// and Stegun 26.7.5; within 1% for 4 degrees and more at levels up to 0.99.
#[must_use]
pub fn student_quantile(level: f64, freedom: usize) -> f64 {
    let x = normal_quantile(level);
    let v = freedom.max(1) as f64;
    let square = x * x;
    let first = (square + 1.0) * x / 4.0;
    let second = ((5.0 * square + 16.0) * square + 3.0) * x / 96.0;
    let third = (((3.0 * square + 19.0) * square + 17.0) * square - 15.0) * x / 384.0;
    let fourth = ((((79.0 * square + 776.0) * square + 1482.0) * square - 1920.0) * square - 945.0)
        * x
        / 92_160.0;
    x + first / v + second / v.powi(2) + third / v.powi(3) + fourth / v.powi(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64, within: f64) {
        assert!((found - wanted).abs() <= within, "{found} is not {wanted}");
    }

    #[test]
    fn moments_and_quantiles_have_their_textbook_values() {
        close(mean(&[1.0, 2.0, 6.0]).unwrap(), 3.0, 1e-12);
        close(variance(&[1.0, 2.0, 6.0]).unwrap(), 7.0, 1e-12);
        close(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5).unwrap(), 2.5, 1e-12);
        close(median(&[9.0, 1.0, 5.0]).unwrap(), 5.0, 1e-12);
        assert_eq!((mean(&[]), variance(&[1.0]), quantile(&[], 0.5)), (None, None, None));
    }

    #[test]
    fn the_normal_law_has_its_tabled_values_in_the_middle_and_in_the_tails() {
        close(normal_below(0.0), 0.5, 1e-12);
        close(normal_below(1.96), 0.975_002_104_851_780, 1e-12);
        close(normal_below(-4.5), 3.397_673_124_730_e-6, 1e-14);
        close(normal_below(5.0), 1.0 - 2.866_515_718_791_9e-7, 1e-14);
        close(normal_quantile(0.975), 1.959_963_984_540, 1e-9);
        assert!(normal_quantile(0.0).is_infinite() && normal_quantile(1.0).is_infinite());
    }

    #[test]
    fn the_t_law_has_its_tabled_values_for_small_samples() {
        for (freedom, wanted) in [(4, 2.776), (5, 2.571), (7, 2.365), (15, 2.131), (100, 1.984)] {
            close(student_quantile(0.975, freedom), wanted, 0.005 * wanted);
        }
    }
}
