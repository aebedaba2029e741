//! The Universal Scalability Law, fitted: X(N) = l N / (1 + s (N - 1) + k N (N - 1)) with s, k >= 0.
//!
//! l is the throughput of one, s the share that is serial (contention), k the price of agreeing
//! (coherency); from Gunther, "Guerrilla Capacity Planning" (2007). The fit is by least squares of the
//! throughput: l follows from s and k in closed form, and (s, k) are found by argmin's Nelder-Mead from the
//! start that the linearised law gives, over their square roots so that neither gets negative. Uncertainty
//! comes from a bootstrap of the residuals. Pure; knows nothing of pools or threads.

use argmin::core::{CostFunction, Error, Executor, State};
use argmin::solver::neldermead::NelderMead;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::statistic::{mean, quantile};

/// Points of different sizes that a fit needs at least: one more than the law has parameters.
pub const LEAST_SIZES: usize = 4;
/// Refits behind a band.
const REFITS: usize = 200;
/// Iterations of the simplex; a fit mostly takes 50 over both parameters.
const MOST_ITERATIONS: u64 = 400;

/// Why there is no fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Too few sizes.
    #[error("could not fit the scalability law to {0} sizes: measure at least {LEAST_SIZES}")]
    TooFewSizes(usize),
    /// A size below 1, or a throughput that is not positive and finite.
    #[error("could not fit the scalability law: sizes must be 1 or more and throughputs positive")]
    NotPositive,
    /// The solver gave up.
    #[error("could not fit the scalability law: the solver found no finite point")]
    NotFound,
}

/// The law with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// Throughput of one, in units of the throughput.
    pub lambda: f64,
    /// Contention, 0 or more.
    pub sigma: f64,
    /// Coherency, 0 or more.
    pub kappa: f64,
}

/// Where the law peaks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peak {
    /// At this whole size, with this throughput.
    At {
        /// The size.
        size: u64,
        /// The throughput there.
        throughput: f64,
    },
    /// Nowhere: without coherency it rises towards this throughput, infinite when there is no contention.
    Never {
        /// The limit of the throughput.
        towards: Option<f64>,
    },
}

/// A fit with its uncertainty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The law.
    pub law: Law,
    /// Where it peaks.
    pub peak: Peak,
    /// The share of the scatter of throughput that it explains, at most 1.
    pub r_squared: f64,
    /// The 5% and 95% quantiles of the peak's size over refits; nothing where most of them have no peak.
    pub peak_band: Option<(f64, f64)>,
}

impl Law {
    /// The throughput at a size of 1 or more.
    #[must_use]
    pub fn throughput(&self, size: f64) -> f64 {
        self.lambda * shape(size, self.sigma, self.kappa)
    }

    /// Where it peaks: sqrt((1 - s) / k), rounded down as Gunther does.
    #[must_use]
    pub fn peak(&self) -> Peak {
        let Some(size) = self.peak_size().map(f64::floor) else {
            let towards = (self.sigma > 0.0).then(|| self.lambda / self.sigma);
            return Peak::Never { towards };
        };
        Peak::At { size: size as u64, throughput: self.throughput(size) }
    }

    fn peak_size(&self) -> Option<f64> {
        if self.sigma >= 1.0 {
            return Some(1.0);
        }
        (self.kappa > 0.0).then(|| ((1.0 - self.sigma) / self.kappa).sqrt().max(1.0))
    }
}

/// The law at l = 1.
fn shape(size: f64, sigma: f64, kappa: f64) -> f64 {
    size / (1.0 + sigma * (size - 1.0) + kappa * size * (size - 1.0))
}

/// Fits the law to measured (size, throughput), in any order, sizes repeated or not.
///
/// # Errors
/// When there are too few sizes, or a value that can't be.
pub fn fit(points: &[(f64, f64)], seed: u64) -> Result<Fit, FitError> {
    let mut sizes: Vec<f64> = points.iter().map(|point| point.0).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let sane = |(size, rate): &(f64, f64)| {
        *size >= 1.0 && size.is_finite() && *rate > 0.0 && rate.is_finite()
    };
    if !points.iter().all(sane) {
        return Err(FitError::NotPositive);
    }
    if sizes.len() < LEAST_SIZES {
        return Err(FitError::TooFewSizes(sizes.len()));
    }
    let law = fit_law(points, start(points))?;
    Ok(Fit {
        law,
        peak: law.peak(),
        r_squared: r_squared(points, &law),
        peak_band: peak_band(points, &law, seed),
    })
}

/// The least-squares law, the bounds of s and k included.
fn fit_law(points: &[(f64, f64)], (sigma, kappa): (f64, f64)) -> Result<Law, FitError> {
    let free = |sigma_free: bool, kappa_free: bool| Residuals { points, sigma_free, kappa_free };
    let inside = free(true, true);
    let mut best = inside.solve(sigma, kappa).ok_or(FitError::NotFound)?;
    // At a bound the simplex only comes near it; the law that lies on it is taken when it is as good.
    for edge in [free(true, false), free(false, true)] {
        if let Some(found) = edge.solve(sigma, kappa)
            && inside.squares(found) <= inside.squares(best) * (1.0 + 1e-9)
        {
            best = found;
        }
    }
    if inside.squares((0.0, 0.0)) <= inside.squares(best) * (1.0 + 1e-9) {
        best = (0.0, 0.0);
    }
    let (sigma, kappa) = best;
    let lambda = inside.lambda(best).ok_or(FitError::NotFound)?;
    Ok(Law { lambda, sigma, kappa })
}

/// The start from the linearised law: N / X is a parabola in N whose coefficients give s and k.
fn start(points: &[(f64, f64)]) -> (f64, f64) {
    // Least squares of N / X on (1, N - 1, N (N - 1)), by the normal equations and Cramer's rule.
    let mut normal = [[0.0_f64; 3]; 3];
    let mut right = [0.0_f64; 3];
    for (size, rate) in points {
        let row = [1.0, size - 1.0, size * (size - 1.0)];
        for i in 0..3 {
            right[i] += row[i] * size / rate;
            for j in 0..3 {
                normal[i][j] += row[i] * row[j];
            }
        }
    }
    let whole = determinant(&normal);
    let solved: Vec<f64> = (0..3)
        .map(|column| {
            let mut replaced = normal;
            for row in 0..3 {
                replaced[row][column] = right[row];
            }
            determinant(&replaced) / whole
        })
        .collect();
    let ratio = |value: f64, default: f64| {
        let found = value / solved[0];
        if found.is_finite() && found > 0.0 { found.min(1.0) } else { default }
    };
    (ratio(solved[1], 1e-2), ratio(solved[2], 1e-4))
}

fn determinant(m: &[[f64; 3]; 3]) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

/// The sum of squared residuals as argmin's problem, over the square roots of what is free of s and k.
#[derive(Clone, Copy)]
struct Residuals<'a> {
    points: &'a [(f64, f64)],
    sigma_free: bool,
    kappa_free: bool,
}

impl Residuals<'_> {
    /// The best l for given s and k: the regression of X on the shape.
    fn lambda(&self, (sigma, kappa): (f64, f64)) -> Option<f64> {
        let (mut product, mut square) = (0.0, 0.0);
        for (size, rate) in self.points {
            let at = shape(*size, sigma, kappa);
            product += at * rate;
            square += at * at;
        }
        Some(product / square).filter(|lambda| lambda.is_finite())
    }

    /// The sum of squared residuals, relative to that of the throughputs themselves.
    fn squares(&self, at: (f64, f64)) -> f64 {
        let Some(lambda) = self.lambda(at) else { return f64::MAX };
        let (mut residual, mut total) = (0.0, 0.0);
        for (size, rate) in self.points {
            residual += (rate - lambda * shape(*size, at.0, at.1)).powi(2);
            total += rate * rate;
        }
        let relative = residual / total;
        if relative.is_finite() { relative } else { f64::MAX }
    }

    fn unpack(&self, roots: &[f64]) -> (f64, f64) {
        let mut rest = roots.iter().map(|root| root * root);
        let mut take = |free: bool| if free { rest.next().unwrap_or(0.0) } else { 0.0 };
        (take(self.sigma_free), take(self.kappa_free))
    }

    fn solve(&self, sigma: f64, kappa: f64) -> Option<(f64, f64)> {
        let mut centre = Vec::new();
        if self.sigma_free {
            centre.push(sigma.sqrt());
        }
        if self.kappa_free {
            centre.push(kappa.sqrt());
        }
        let corners = (0..centre.len()).map(|axis| {
            let mut corner = centre.clone();
            corner[axis] *= 1.3;
            corner
        });
        let simplex: Vec<Vec<f64>> = std::iter::once(centre.clone()).chain(corners).collect();
        // The cost is quadratic at its least, so a spread of 1e-18 in it is 1e-9 in the roots.
        let method = NelderMead::new(simplex).with_sd_tolerance(1e-18).ok()?;
        let solved = Executor::new(*self, method)
            .configure(|state| state.max_iters(MOST_ITERATIONS))
            .ctrlc(false)
            .run()
            .ok()?;
        solved.state.get_best_param().map(|roots| self.unpack(roots))
    }
}

impl CostFunction for Residuals<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, roots: &Self::Param) -> Result<f64, Error> {
        Ok(self.squares(self.unpack(roots)))
    }
}

fn r_squared(points: &[(f64, f64)], law: &Law) -> f64 {
    let rates: Vec<f64> = points.iter().map(|point| point.1).collect();
    let centre = mean(&rates).unwrap_or(0.0);
    let total: f64 = rates.iter().map(|rate| (rate - centre).powi(2)).sum();
    let residual: f64 = points.iter().map(|(n, x)| (x - law.throughput(*n)).powi(2)).sum();
    if total > 0.0 { 1.0 - residual / total } else { 0.0 }
}

/// Refits the law to itself with resampled relative residuals.
fn peak_band(points: &[(f64, f64)], law: &Law, seed: u64) -> Option<(f64, f64)> {
    let relative: Vec<f64> = points.iter().map(|(n, x)| x / law.throughput(*n) - 1.0).collect();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let near = (law.sigma.max(1e-3), law.kappa.max(1e-6));
    let mut peaks: Vec<f64> = (0..REFITS)
        .filter_map(|_| {
            let again: Vec<(f64, f64)> = points
                .iter()
                .map(|(size, _)| {
                    let residual = relative[random.random_range(0..relative.len())];
                    (*size, law.throughput(*size) * (1.0 + residual))
                })
                .collect();
            fit_law(&again, near).ok()?.peak_size()
        })
        .collect();
    if peaks.len() * 10 < REFITS * 9 {
        return None;
    }
    peaks.sort_by(f64::total_cmp);
    Some((quantile(&peaks, 0.05)?, quantile(&peaks, 0.95)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A published measurement of 32 sizes, with the parameters that its authors' fit gives.
    const KNOWN: [f64; 32] = [
        955.16, 1878.91, 2688.01, 3548.68, 4315.54, 5130.43, 5931.37, 6531.08, 7219.8, 7867.61,
        8278.71, 8646.7, 9047.84, 9426.55, 9645.37, 9897.24, 10097.6, 10240.5, 10532.39, 10798.52,
        11151.43, 11518.63, 11806.0, 12089.37, 12075.41, 12177.29, 12211.41, 12158.93, 12155.27,
        12118.04, 12140.4, 12074.39,
    ];

    fn numbered(rates: &[f64]) -> Vec<(f64, f64)> {
        rates.iter().enumerate().map(|(index, rate)| ((index + 1) as f64, *rate)).collect()
    }

    fn relative(found: f64, wanted: f64) -> f64 {
        ((found - wanted) / wanted).abs()
    }

    #[test]
    fn the_known_measurement_gets_its_known_fit() {
        let fit = fit(&numbered(&KNOWN), 1).unwrap();
        assert!(relative(fit.law.sigma, 0.026_715_91) < 1e-5, "{:?}", fit.law);
        assert!(relative(fit.law.kappa, 7.690_945e-4) < 1e-5, "{:?}", fit.law);
        assert!(relative(fit.law.lambda, 995.6486) < 1e-5, "{:?}", fit.law);
        let Peak::At { size, throughput } = fit.peak else { panic!("{:?}", fit.peak) };
        assert_eq!(size, 35);
        assert!(relative(throughput, 12_341.745_4) < 1e-5, "{throughput}");
        let (low, high) = fit.peak_band.unwrap();
        assert!(low < 35.6 && 35.5 < high && high - low < 10.0, "{low} {high}");
        assert!(fit.r_squared > 0.99);
    }

    #[test]
    fn without_coherency_there_is_no_peak() {
        let law = Law { lambda: 100.0, sigma: 0.1, kappa: 0.0 };
        let points: Vec<_> =
            (1..=16).map(|n| (f64::from(n), law.throughput(f64::from(n)))).collect();
        let found = fit(&points, 1).unwrap();
        let Peak::Never { towards: Some(limit) } = found.peak else { panic!("{found:?}") };
        assert!(relative(limit, 1000.0) < 1e-4, "{limit}");
        assert!(found.law.kappa <= 0.0);
    }

    #[test]
    fn linear_scaling_is_linear() {
        let points: Vec<_> = (1..=8).map(|n| (f64::from(n), 50.0 * f64::from(n))).collect();
        let found = fit(&points, 1).unwrap();
        assert_eq!(found.peak, Peak::Never { towards: None });
        assert!(relative(found.law.lambda, 50.0) < 1e-9);
    }

    #[test]
    fn what_can_not_be_fitted_is_refused() {
        let few = [(1.0, 1.0), (2.0, 2.0), (2.0, 2.1), (3.0, 2.5)];
        assert_eq!(fit(&few, 1), Err(FitError::TooFewSizes(3)));
        let dead = [(1.0, 1.0), (2.0, 0.0), (3.0, 1.0), (4.0, 1.0)];
        assert_eq!(fit(&dead, 1), Err(FitError::NotPositive));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_law_is_found_back_from_its_own_curve(
            lambda in 1.0_f64..1e6, sigma in 0.001_f64..0.5, kappa in 1e-5_f64..0.01,
        ) {
            let law = Law { lambda, sigma, kappa };
            let points: Vec<_> =
                (0..24).map(|i| (1.0 + 2.0 * f64::from(i), law.throughput(1.0 + 2.0 * f64::from(i)))).collect();
            let found = fit_law(&points, start(&points)).unwrap();
            prop_assert!(relative(found.lambda, lambda) < 1e-4, "{:?}", found);
            prop_assert!(relative(found.sigma, sigma) < 1e-3, "{:?}", found);
            prop_assert!(relative(found.kappa, kappa) < 1e-2, "{:?}", found);
        }
    }
}
