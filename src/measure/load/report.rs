//! What a load found, and whether it can be believed.
//!
//! *Who was the limit?* In a closed loop the target is, unless the generator was. The generator is taken
//! for the limit when it used more than [`BUSY_SHARE`] of the CPU it could use (its runtime's workers, or
//! the usable CPUs where there are fewer): then more load could not have been made. In an open loop it is
//! also the limit when one release in a hundred came more than [`LATE_MS`] after its intended start.
//! Where the target runs in this process the first rule can't tell, and is not applied.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::measure::histogram::LatencySummary;
use crate::measure::warmup::drift;

use super::client::Tally;
use super::pacer::Pacing;
use super::{CallError, Place, Setting, Watched};

/// The share of its CPU above which the generator is the limit.
pub const BUSY_SHARE: f64 = 0.9;
/// The share of its CPU from which the generator is told to disturb a target on the same host.
pub const NOTICEABLE_SHARE: f64 = 0.5;
/// The change between the halves of a window from which the rate is told to have moved.
pub const NOTICEABLE_DRIFT: f64 = 0.05;
/// The lateness of releases (0.99 quantile, milliseconds) above which the generator is the limit.
pub const LATE_MS: f64 = 1.0;
/// The share of the rate asked for that a target must reach to have kept up.
pub const KEPT_UP: f64 = 0.99;

/// Which loop made the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each client waits for its answer.
    Closed,
    /// Requests begin at a fixed rate.
    Open,
}

/// How warm-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmupEnd {
    /// The series had settled, or the time was fixed.
    Settled,
    /// It had not settled when its time was over.
    NotSettled,
    /// There was to be none.
    NotAsked,
}

/// What kept the throughput from being higher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Limit {
    /// The target, with this many clients: the throughput is its capacity.
    Target,
    /// The rate that was asked for: the target kept up, and its capacity is higher.
    OfferedRate,
    /// The load generator: the throughput is a lower bound of what the target can do.
    Generator {
        /// How that was seen.
        reason: GeneratorLimit,
    },
}

/// How the generator was seen to be the limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GeneratorLimit {
    /// It used nearly all the CPU that it could use.
    Cpu {
        /// Share of that CPU, 0..=1.
        share: f64,
    },
    /// It released requests late.
    Late {
        /// The 0.99 quantile of the lateness, in milliseconds.
        p99_ms: f64,
    },
}

/// What makes a figure of the report doubtful.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LoadWarning {
    /// Warm-up was over before the series had settled.
    NotSettled,
    /// The rate still moved inside the window.
    StillMoving {
        /// From the first half to the second, as a share of the faster one: 0.1 is faster by that.
        change: f64,
    },
    /// The generator took much of the CPU that a target on the same host wants.
    GeneratorShare {
        /// Share of the CPU it could use, 0..=1.
        share: f64,
    },
    /// In an open loop, requests were due that no client was free to begin; their latency counts as the
    /// wait until the window closed, which is less than it would have been.
    Unstarted {
        /// How many.
        requests: u64,
    },
    /// Latencies above 60 s are counted as 60 s.
    Clipped {
        /// How many.
        requests: u64,
    },
    /// Some requests were not answered as wanted.
    Errors {
        /// Share of all requests, 0..=1.
        share: f64,
    },
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target => f.write_str("the target"),
            Self::OfferedRate => f.write_str("the rate that was asked for; the target can do more"),
            Self::Generator { reason } => {
                write!(f, "the load generator, which {reason}; the target can do more")
            }
        }
    }
}

impl fmt::Display for GeneratorLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { share } => write!(f, "used {:.0}% of the CPU it may use", share * 100.0),
            Self::Late { p99_ms } => write!(f, "was {p99_ms:.1} ms late at the 0.99 quantile"),
        }
    }
}

impl fmt::Display for LoadWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSettled => f.write_str("the rate had not settled when warm-up was over"),
            Self::StillMoving { change } => {
                write!(
                    f,
                    "the rate still moved, by {:+.0}% from one half to the other",
                    change * 100.0
                )
            }
            Self::GeneratorShare { share } => {
                write!(f, "the load generator used {:.0}% of the CPU it may use", share * 100.0)
            }
            Self::Unstarted { requests } => {
                write!(f, "{requests} requests were due that no client was free to begin")
            }
            Self::Clipped { requests } => {
                write!(f, "{requests} requests took over 60 s and count as 60 s")
            }
            Self::Errors { share } => {
                write!(f, "{:.1}% of the requests were not answered as wanted", share * 100.0)
            }
        }
    }
}

/// Requests that were not answered as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CallErrors {
    /// How many the target refused.
    pub refused: u64,
    /// How many went wrong.
    pub failed: u64,
    /// What was said first, of each client at first sight.
    pub first_failure: Option<String>,
}

impl CallErrors {
    pub(super) fn count(&mut self, error: CallError) {
        let said = match error {
            CallError::Refused(said) => {
                self.refused += 1;
                said
            }
            CallError::Failed(said) => {
                self.failed += 1;
                said
            }
        };
        self.first_failure.get_or_insert(said);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.refused += other.refused;
        self.failed += other.failed;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
    }

    /// Refused and failed together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.refused + self.failed
    }
}

/// What the generator itself cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// CPU time of this process over the window; nothing where the kernel does not tell.
    pub cpu_seconds: Option<f64>,
    /// The same as a share, 0..=1, of what it could have used: the runtime's workers or the usable CPUs.
    pub share: Option<f64>,
    /// In an open loop, the 0.99 quantile of how late requests were released, in milliseconds.
    pub lateness_p99_ms: Option<f64>,
}

/// What a load found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Which loop made it.
    pub mode: Mode,
    /// Units of work per second, over the window.
    pub throughput: f64,
    /// Requests that began in the window and were answered.
    pub requests: u64,
    /// Units of work done inside the window.
    pub units: u64,
    /// Requests that began in the window and were not answered as wanted.
    pub errors: CallErrors,
    /// Latency of the answered requests; in an open loop from the intended start, those never begun included.
    pub latency: LatencySummary,
    /// Length of the window, in seconds.
    pub seconds: f64,
    /// Length of the warm-up before it, in seconds.
    pub warmup_seconds: f64,
    /// How the warm-up ended.
    pub warmup_end: WarmupEnd,
    /// Units per second in each 100 ms of the window.
    pub rate_series: Vec<f64>,
    /// How many clients there were.
    pub clients: usize,
    /// In an open loop, the requests per second that were asked for.
    pub offered_rate: Option<f64>,
    /// What kept the throughput from being higher.
    pub limited_by: Limit,
    /// What the generator itself cost.
    pub generator: Effort,
    /// What makes a figure doubtful.
    pub warnings: Vec<LoadWarning>,
}

impl LoadReport {
    /// Refused and failed requests as a share of all that began in the window, 0..=1.
    #[must_use]
    pub fn error_ratio(&self) -> f64 {
        let errors = self.errors.total() as f64;
        errors / (errors + self.requests as f64).max(1.0)
    }

    /// The names by which an objective may ask for the figures: `throughput` in units/s, `error_ratio` in 0..=1.
    pub const METRICS: [&str; 9] = [
        "throughput",
        "requests_per_second",
        "error_ratio",
        "mean_ms",
        "p50_ms",
        "p90_ms",
        "p99_ms",
        "p999_ms",
        "max_ms",
    ];

    /// The figures, by these names.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let latency = &self.latency;
        let figures = [
            self.throughput,
            self.requests as f64 / self.seconds,
            self.error_ratio(),
            latency.mean_ms,
            latency.p50_ms,
            latency.p90_ms,
            latency.p99_ms,
            latency.p999_ms,
            latency.max_ms,
        ];
        Self::METRICS.map(str::to_owned).into_iter().zip(figures).collect()
    }
}

pub(super) fn make(
    setting: &Setting,
    watched: Watched,
    tally: Tally,
    pacing: Option<Pacing>,
) -> LoadReport {
    let seconds = setting.duration.as_secs_f64();
    let mut effort = watched.effort;
    effort.lateness_p99_ms = pacing.map(|pacing| pacing.lateness_p99_ms);
    let mut report = LoadReport {
        mode: watched.mode,
        throughput: tally.units as f64 / seconds,
        requests: tally.requests,
        units: tally.units,
        errors: tally.errors,
        latency: tally.latency.summary(),
        seconds,
        warmup_seconds: watched.warmup.as_secs_f64(),
        warmup_end: watched.warmup_end,
        rate_series: watched.rates,
        clients: setting.clients,
        offered_rate: pacing.map(|pacing| pacing.rate),
        limited_by: Limit::Target,
        generator: effort,
        warnings: Vec::new(),
    };
    report.limited_by = limit(&report, setting.place);
    report.warnings = warnings(&report, setting.place, tally.unstarted, tally.latency.clipped());
    report
}

fn limit(report: &LoadReport, place: Place) -> Limit {
    if let (Place::OtherProcess, Some(share)) = (place, report.generator.share)
        && share > BUSY_SHARE
    {
        return Limit::Generator { reason: GeneratorLimit::Cpu { share } };
    }
    let Some(rate) = report.offered_rate else { return Limit::Target };
    if let Some(p99_ms) = report.generator.lateness_p99_ms
        && p99_ms > LATE_MS
    {
        return Limit::Generator { reason: GeneratorLimit::Late { p99_ms } };
    }
    // One request more or less at the edges of the window is not a target that falls behind.
    let due = (rate * report.seconds * KEPT_UP - 1.0).max(0.0);
    if (report.requests as f64) < due { Limit::Target } else { Limit::OfferedRate }
}

fn warnings(report: &LoadReport, place: Place, unstarted: u64, clipped: u64) -> Vec<LoadWarning> {
    let mut found = Vec::new();
    if report.warmup_end == WarmupEnd::NotSettled {
        found.push(LoadWarning::NotSettled);
    }
    if let Some(change) = drift(&report.rate_series)
        && change.abs() > NOTICEABLE_DRIFT
    {
        found.push(LoadWarning::StillMoving { change });
    }
    if let (Place::OtherProcess, Some(share)) = (place, report.generator.share)
        && share >= NOTICEABLE_SHARE
    {
        found.push(LoadWarning::GeneratorShare { share });
    }
    if unstarted > 0 {
        found.push(LoadWarning::Unstarted { requests: unstarted });
    }
    if clipped > 0 {
        found.push(LoadWarning::Clipped { requests: clipped });
    }
    if report.errors.total() > 0 {
        found.push(LoadWarning::Errors { share: report.error_ratio() });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(share: f64, offered: Option<f64>, requests: u64, lateness: f64) -> LoadReport {
        LoadReport {
            mode: if offered.is_some() { Mode::Open } else { Mode::Closed },
            throughput: requests as f64,
            requests,
            units: requests,
            errors: CallErrors::default(),
            latency: LatencySummary::default(),
            seconds: 1.0,
            warmup_seconds: 0.0,
            warmup_end: WarmupEnd::Settled,
            rate_series: vec![requests as f64; 10],
            clients: 4,
            offered_rate: offered,
            limited_by: Limit::Target,
            generator: Effort {
                cpu_seconds: Some(share),
                share: Some(share),
                lateness_p99_ms: offered.map(|_| lateness),
            },
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_generator_that_used_up_its_cpu_is_the_limit_unless_the_target_runs_in_it() {
        let busy = report(0.95, None, 1000, 0.0);
        let reason = GeneratorLimit::Cpu { share: 0.95 };
        assert_eq!(limit(&busy, Place::OtherProcess), Limit::Generator { reason });
        assert_eq!(limit(&busy, Place::ThisProcess), Limit::Target);
        let half = report(0.6, None, 1000, 0.0);
        assert_eq!(limit(&half, Place::OtherProcess), Limit::Target);
        let told = warnings(&half, Place::OtherProcess, 0, 0);
        assert_eq!(told, [LoadWarning::GeneratorShare { share: 0.6 }]);
        assert_eq!(warnings(&half, Place::ThisProcess, 0, 0), []);
    }

    #[test]
    fn an_open_loop_is_limited_by_its_rate_its_target_or_its_own_lateness() {
        let kept_up = report(0.1, Some(1000.0), 995, 0.1);
        assert_eq!(limit(&kept_up, Place::OtherProcess), Limit::OfferedRate);
        let behind = report(0.1, Some(1000.0), 800, 0.1);
        assert_eq!(limit(&behind, Place::OtherProcess), Limit::Target);
        let late = report(0.1, Some(1000.0), 995, 3.0);
        let reason = GeneratorLimit::Late { p99_ms: 3.0 };
        assert_eq!(limit(&late, Place::ThisProcess), Limit::Generator { reason });
    }

    #[test]
    fn a_report_has_metrics_for_an_objective_and_a_json_form() {
        let report = report(0.1, None, 1000, 0.0);
        let metrics = report.metrics();
        assert!((metrics["throughput"] - 1000.0).abs() < 1e-9 && metrics.contains_key("p99_ms"));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["limited_by"], serde_json::json!({ "by": "target" }));
        assert_eq!(serde_json::from_value::<LoadReport>(json).unwrap(), report);
    }
}
