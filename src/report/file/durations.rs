//! `results/durations.json`: how long each phase took the last time that it ran, for whoever looks ahead.
//!
//! ```text
//! { "version": 1,
//!   "pipelines": {
//!     "optimize": {
//!       "ended": "2026-11-23T22:16:43Z",
//!       "phases": { "db_pool": { "last": 0.02, "measured": 23.7, "cached": 0.02 } } } } }
//! ```
//! Kept by the name of the pipeline, and apart for a decision that came from the cache: the two differ a thousandfold.
//! Only phases that ended well count, as one that failed tells little of how long it takes. Looking ahead must never
//! keep a run from its work: a file that is missing, damaged or of another version is one that knows nothing.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{self, DiskError};
use crate::event::Outcome;
use crate::report::{PhaseReport, Report};

/// Version of the file.
const VERSION: u32 = 1;

/// Most pipelines that are kept; the one that ran longest ago goes first.
const PIPELINES: usize = 16;

/// Largest file that is read.
const LIMIT: u64 = 64 << 20;

/// How long a phase took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Took {
    /// Seconds of the last run in which it ran and ended well.
    pub last: f64,
    /// Seconds of the last one in which it worked out or measured its decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// Seconds of the last one in which its decision came from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    pipelines: BTreeMap<String, Phases>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Phases {
    ended: Timestamp,
    phases: IndexMap<String, Took>,
}

/// Seconds of each phase of the pipeline of that name, of the last run in which it did its work and ended well. A run
/// that only remembered its decision counts where there was no other. Phases that are not in it have never ended well;
/// without a readable file, that is all of them.
#[must_use]
pub fn last_durations(results_dir: &Path, pipeline: &str) -> IndexMap<String, f64> {
    let known = durations(results_dir, pipeline).into_iter();
    known.map(|(phase, took)| (phase, took.measured.unwrap_or(took.last))).collect()
}

/// As [`last_durations`], with what it took to measure and to remember apart.
#[must_use]
pub fn durations(results_dir: &Path, pipeline: &str) -> IndexMap<String, Took> {
    let phases = read(results_dir).pipelines.remove(pipeline).map(|known| known.phases);
    let mut phases = phases.unwrap_or_default();
    phases.retain(|_, took| {
        let all = [Some(took.last), took.measured, took.cached];
        all.into_iter().flatten().all(|seconds| seconds.is_finite() && seconds >= 0.0)
    });
    phases
}

fn read(results_dir: &Path) -> File {
    let text = disk::read_bounded(&results_dir.join("durations.json"), LIMIT);
    let file = text.ok().and_then(|text| serde_json::from_slice::<File>(&text).ok());
    file.filter(|file| file.version == VERSION)
        .unwrap_or(File { version: VERSION, pipelines: BTreeMap::new() })
}

/// Keeps what a run that has ended tells. What is known of a phase that did not run stays, unless the pipeline has no
/// such phase any more.
pub(super) fn keep(results_dir: &Path, report: &Report) -> Result<(), DiskError> {
    let mut file = read(results_dir);
    let former = file.pipelines.remove(&report.pipeline.name);
    let mut phases = former.map_or_else(IndexMap::new, |former| former.phases);
    phases.retain(|name, _| report.phases.contains_key(name.as_str()));
    for (name, phase) in report.phases.iter().filter(|(_, phase)| ended_well(phase)) {
        let cached = phase.cache.as_ref().is_some_and(|cache| cache.hit);
        let known = phases.get(name.as_str());
        let took = Took {
            last: phase.seconds,
            measured: (!cached).then_some(phase.seconds).or(known.and_then(|known| known.measured)),
            cached: cached.then_some(phase.seconds).or(known.and_then(|known| known.cached)),
        };
        phases.insert(name.to_string(), took);
    }
    let seconds = std::time::Duration::try_from_secs_f64(report.total_optimization_time);
    let ended = report.started_at.saturating_add(seconds.unwrap_or_default());
    let ended = ended.unwrap_or(report.started_at);
    file.pipelines.insert(report.pipeline.name.clone(), Phases { ended, phases });
    while file.pipelines.len() > PIPELINES {
        let oldest = file.pipelines.iter().min_by_key(|(_, known)| known.ended);
        let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
        file.pipelines.remove(&oldest);
    }
    disk::replace_by(&results_dir.join("durations.json"), |to| {
        Ok(serde_json::to_writer(to, &file)?)
    })
}

fn ended_well(phase: &PhaseReport) -> bool {
    let well =
        matches!(phase.status, Some(Outcome::Success | Outcome::Reverted | Outcome::NotApplicable));
    well && phase.attempts > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::CacheReport;

    fn run(pipeline: &str, at: i64, phases: &[(&str, Outcome, f64, bool)]) -> Report {
        let mut report = Report::default();
        pipeline.clone_into(&mut report.pipeline.name);
        report.started_at = Timestamp::from_second(at).unwrap();
        for (name, status, seconds, hit) in phases {
            let phase = PhaseReport {
                status: Some(*status),
                attempts: u32::from(*status != Outcome::Skipped),
                seconds: *seconds,
                cache: Some(Box::new(CacheReport { hit: *hit, ..CacheReport::default() })),
                ..PhaseReport::default()
            };
            report.phases.insert(name.parse().unwrap(), phase);
        }
        report
    }

    #[test]
    fn what_it_took_to_measure_is_kept_apart_from_what_it_took_to_remember() {
        let dir = tempfile::tempdir().unwrap();
        let pool = |outcome, seconds, hit| run("p", 1, &[("pool", outcome, seconds, hit)]);
        keep(dir.path(), &pool(Outcome::Success, 24.0, false)).unwrap();
        keep(dir.path(), &pool(Outcome::Success, 0.5, true)).unwrap();
        let pool_took = Took { last: 0.5, measured: Some(24.0), cached: Some(0.5) };
        assert_eq!(durations(dir.path(), "p")["pool"], pool_took);
        keep(dir.path(), &pool(Outcome::TimedOut, 600.0, false)).unwrap();
        keep(dir.path(), &pool(Outcome::Skipped, 0.0, false)).unwrap();
        assert_eq!(durations(dir.path(), "p")["pool"], pool_took, "only good ends count");
        assert_eq!(last_durations(dir.path(), "p"), IndexMap::from([("pool".to_owned(), 24.0)]));
        assert!(last_durations(dir.path(), "other").is_empty());
    }

    #[test]
    fn phases_that_the_pipeline_has_not_got_any_more_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let both = [("a", Outcome::Success, 1.0, false), ("b", Outcome::Reverted, 2.0, false)];
        keep(dir.path(), &run("p", 1, &both)).unwrap();
        keep(dir.path(), &run("p", 2, &both[1..])).unwrap();
        assert_eq!(last_durations(dir.path(), "p").into_keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_pipelines_that_ran_last_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for at in 0..i64::try_from(PIPELINES).unwrap() + 3 {
            keep(dir.path(), &run(&format!("p{at}"), at, &[("a", Outcome::Success, 1.0, false)]))
                .unwrap();
        }
        let known = read(dir.path()).pipelines;
        assert_eq!(known.len(), PIPELINES);
        assert!(!known.contains_key("p2") && known.contains_key("p3"));
    }

    #[test]
    fn a_file_that_is_damaged_or_of_another_version_knows_nothing_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("durations.json");
        let other = r#"{"version":2,"pipelines":{"p":{"ended":"2026-11-23T22:16:43Z","phases":{"a":{"last":1.0}}}}}"#;
        for text in [
            "",
            "{",
            "[]",
            other,
            &other.replace("\"version\":2", "\"version\":1").replace("1.0", "-1.0"),
        ] {
            disk::replace(&path, text.as_bytes()).unwrap();
            assert!(last_durations(dir.path(), "p").is_empty(), "{text}");
        }
        keep(dir.path(), &run("p", 1, &[("a", Outcome::Success, 1.0, false)])).unwrap();
        assert_eq!(last_durations(dir.path(), "p").len(), 1);
    }
}
