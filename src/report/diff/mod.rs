//! What differs between two runs: outcomes, decisions, measurements, seconds.
//!
//! Pure: two reports in, data out; [`text`] is the same for a person. Which phases are compared is decided by their names,
//! and of several measurements of one name in a phase the first is compared with the first.

mod noise;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

pub use noise::Judgement;
pub use text::text;

use super::triage::word;
use super::{PhaseReport, Report};
use crate::measure::model::Measurement;

/// What differs between a run and a later one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The run that is compared with.
    pub before: RunInShort,
    /// The run that is compared.
    pub after: RunInShort,
    /// Phases that only the later run has.
    pub added: Vec<String>,
    /// Phases that only the former run has.
    pub removed: Vec<String>,
    /// Phases that ended otherwise.
    pub outcomes: Vec<OutcomeDiffers>,
    /// Phases that concluded something else.
    pub decisions: Vec<DecisionDiffers>,
    /// All that was measured in both runs.
    pub measurements: Vec<MeasurementDiffers>,
    /// How long each phase took that ran in both.
    pub seconds: Vec<SecondsDiffer>,
}

/// A run, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunInShort {
    /// Its name.
    pub run: String,
    /// How it ended.
    pub status: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// What was run.
    pub pipeline: String,
    /// Digest of the pipeline's file.
    pub digest: String,
}

/// A phase that ended otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeDiffers {
    /// Which phase.
    pub phase: String,
    /// How it ended before.
    pub from: &'static str,
    /// How it ended after.
    pub to: &'static str,
    /// Why, as far as the later run says.
    pub reason: Option<String>,
}

/// A phase that concluded something else.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionDiffers {
    /// Which phase.
    pub phase: String,
    /// In words, before.
    pub from: Option<String>,
    /// In words, after.
    pub to: Option<String>,
    /// Each field that differs, by its path.
    pub fields: Vec<FieldDiffers>,
}

/// A field that differs; null where there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldDiffers {
    /// Such as `pool_size` or `curve[3].throughput`.
    pub path: String,
    /// Its value before.
    pub from: Value,
    /// Its value after.
    pub to: Value,
}

/// A quantity that was measured in both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasurementDiffers {
    /// Which phase.
    pub phase: String,
    /// What was measured.
    pub name: String,
    /// The unit after.
    pub unit: String,
    /// The value before.
    pub from: f64,
    /// The value after.
    pub to: f64,
    /// Samples before and after.
    pub samples: (usize, usize),
    /// Whether the difference is beyond the noise of the samples.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// How long a phase took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SecondsDiffer {
    /// Which phase.
    pub phase: String,
    /// Before.
    pub from: f64,
    /// After.
    pub to: f64,
}

impl Difference {
    /// What differs between `before` and `after`.
    #[must_use]
    pub fn between(before: &Report, after: &Report) -> Self {
        let only = |one: &Report, other: &Report| -> Vec<String> {
            let names = one.phases.keys();
            names
                .filter(|name| !other.phases.contains_key(*name))
                .map(ToString::to_string)
                .collect()
        };
        let both: Vec<(&str, &PhaseReport, &PhaseReport)> = after
            .phases
            .iter()
            .filter_map(|(name, phase)| Some((name.as_str(), before.phases.get(name)?, phase)))
            .collect();
        Self {
            before: in_short(before),
            after: in_short(after),
            added: only(after, before),
            removed: only(before, after),
            outcomes: both
                .iter()
                .filter(|(_, before, after)| before.status != after.status)
                .map(|(name, before, after)| OutcomeDiffers {
                    phase: (*name).to_owned(),
                    from: word(before),
                    to: word(after),
                    reason: after.reason.clone(),
                })
                .collect(),
            decisions: both.iter().filter_map(|(name, a, b)| decision(name, a, b)).collect(),
            measurements: measurements(&both),
            seconds: both
                .iter()
                .filter(|(_, before, after)| before.attempts > 0 && after.attempts > 0)
                .map(|(name, before, after)| SecondsDiffer {
                    phase: (*name).to_owned(),
                    from: before.seconds,
                    to: after.seconds,
                })
                .collect(),
        }
    }
}

fn in_short(report: &Report) -> RunInShort {
    RunInShort {
        run: report.run_id.clone(),
        status: report.overall_status.map_or("CUT OFF", crate::event::OverallStatus::word),
        seconds: report.total_optimization_time,
        pipeline: report.pipeline.name.clone(),
        digest: report.pipeline.digest.clone(),
    }
}

/// A phase that did not come to a decision in one of the runs has none to compare: its outcome says so.
fn decision(name: &str, before: &PhaseReport, after: &PhaseReport) -> Option<DecisionDiffers> {
    if before.cache.is_none() || after.cache.is_none() {
        return None;
    }
    let mut fields = Vec::new();
    compare("", &before.decision, &after.decision, &mut fields);
    (!fields.is_empty()).then(|| DecisionDiffers {
        phase: name.to_owned(),
        from: before.decided.clone(),
        to: after.decided.clone(),
        fields,
    })
}

/// Finds the innermost fields that differ.
fn compare(path: &str, from: &Value, to: &Value, found: &mut Vec<FieldDiffers>) {
    match (from, to) {
        (Value::Object(before), Value::Object(after)) => {
            let gone = before.keys().filter(|key| !after.contains_key(*key));
            for key in after.keys().chain(gone) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |side: &serde_json::Map<String, Value>| {
                    side.get(key).cloned().unwrap_or(Value::Null)
                };
                compare(&path, &of(before), &of(after), found);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for at in 0..before.len().max(after.len()) {
                let of = |side: &[Value]| side.get(at).cloned().unwrap_or(Value::Null);
                compare(&format!("{path}[{at}]"), &of(before), &of(after), found);
            }
        }
        (from, to) if from == to => {}
        (from, to) => {
            found.push(FieldDiffers { path: path.to_owned(), from: from.clone(), to: to.clone() });
        }
    }
}

fn measurements(both: &[(&str, &PhaseReport, &PhaseReport)]) -> Vec<MeasurementDiffers> {
    let mut pairs: Vec<(&str, &Measurement, &Measurement)> = Vec::new();
    for (name, before, after) in both {
        let mut former: BTreeMap<&str, Vec<&Measurement>> = BTreeMap::new();
        for one in before.measurements.iter().rev() {
            former.entry(&one.name).or_default().push(one);
        }
        for one in &after.measurements {
            if let Some(before) = former.get_mut(one.name.as_str()).and_then(Vec::pop) {
                pairs.push((name, before, one));
            }
        }
    }
    let compared =
        pairs.iter().filter(|(_, before, after)| noise::comparable(before, after)).count();
    let differs = |(phase, before, after): (&str, &Measurement, &Measurement)| MeasurementDiffers {
        phase: phase.to_owned(),
        name: after.name.clone(),
        unit: after.unit.clone(),
        from: before.value,
        to: after.value,
        samples: (before.samples.len(), after.samples.len()),
        judgement: noise::judge(before, after, compared),
    };
    pairs.into_iter().map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;
    use crate::report::CacheReport;
    use crate::report::samples::rich;
    use serde_json::json;

    /// The run that came after, in which something of everything differs.
    fn later() -> Report {
        let mut report = rich();
        "20261124T101010Z-0a000111".clone_into(&mut report.run_id);
        "other".clone_into(&mut report.pipeline.digest);
        report.total_optimization_time = 50.0;
        let tests = &mut report.phases["tests"];
        (tests.status, tests.reason) = (Some(Outcome::Success), None);
        let pool = &mut report.phases["pool"];
        pool.decision = json!({ "pool_size": 12, "curve": [1, 3], "verdict": "knee" }).into();
        pool.decided = Some("pool_size=12".to_owned());
        pool.seconds = 11.0;
        pool.measurements[0].samples = vec![98.0, 101.0, 102.0];
        pool.measurements[1].samples = vec![139.0, 140.0, 141.0];
        pool.measurements[1].value = 140.0;
        let added =
            PhaseReport { cache: Some(Box::new(CacheReport::default())), ..PhaseReport::default() };
        report.phases.insert("added".parse().unwrap(), added);
        report.phases.shift_remove("cut");
        report
    }

    #[test]
    fn what_differs_between_two_runs_is_told_and_what_does_not_is_counted() {
        insta::assert_snapshot!(
            text(&Difference::between(&rich(), &later()), 80),
            @r##"
            before  20261123T221530Z-7c41f2b9  FAILED             72.6 s  opt"imize\
            after   20261124T101010Z-0a000111  FAILED             50.0 s  opt"imize\
              the file of the pipeline is not the same
              only before: cut
              only after: added

            outcomes
              tests: FAILED -> SUCCESS

            decisions
              pool: pool_size=19
                -> pool_size=12
                pool_size: 19 -> 12
                verdict: none -> knee
                1 more field differs (--json)

            measurements
              pool throughput[5]: 120.0 -> 140.0 operations/s (beyond noise: +14.3% to
                +19.0%)
              1 within noise
              2 with a single sample, of which the noise is not known
              intervals hold with 95% for all of them together, as far as the noise is
                that within a run

            seconds
              pool: 23.7 -> 11.0
            "##
        );
    }

    #[test]
    fn a_run_does_not_differ_from_itself() {
        let same = Difference::between(&rich(), &rich());
        assert!(same.added.is_empty() && same.removed.is_empty() && same.outcomes.is_empty());
        assert!(same.decisions.is_empty());
        let beyond =
            |one: &MeasurementDiffers| matches!(one.judgement, Judgement::BeyondNoise { .. });
        assert_eq!(same.measurements.len(), 4);
        assert!(!same.measurements.iter().any(beyond), "{same:#?}");
    }

    #[test]
    fn every_field_that_differs_has_its_path() {
        let differs = Difference::between(&rich(), &later());
        let fields: Vec<(&str, &Value, &Value)> = differs.decisions[0]
            .fields
            .iter()
            .map(|field| (field.path.as_str(), &field.from, &field.to))
            .collect();
        let wanted = [
            ("pool_size", &json!(19), &json!(12)),
            ("curve[1]", &json!(2), &json!(3)),
            ("verdict", &Value::Null, &json!("knee")),
        ];
        assert_eq!(fields, wanted);
    }
}
