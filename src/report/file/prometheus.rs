//! The text format of Prometheus, for the textfile collector of `node_exporter`.
//!
//! The collector reads `*.prom` in its folder at every scrape, refuses a file with timestamps or with one series twice,
//! and drops the whole file for it. So each family is written together under one `# HELP` and `# TYPE`, a quantity that
//! was measured more than once is the last one, and the file is replaced atomically. No series is named after a run:
//! each would be seen once and never again.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use crate::event::OverallStatus;
use crate::measure::model::{Measurement, Verdict};
use crate::report::{CacheReport, PhaseReport, Report};

const STATUSES: [OverallStatus; 4] = [
    OverallStatus::Success,
    OverallStatus::PartialSuccess,
    OverallStatus::Failed,
    OverallStatus::Cancelled,
];

/// Writes a report as metrics.
///
/// # Errors
/// When it can't be written.
pub fn write(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    let mut page = Page { pipeline: &report.pipeline.name, to };
    of_run(report, &mut page)?;
    of_phases(report, &mut page)?;
    page.family(
        "trueup_measurement",
        "What a phase measured, by name and unit; the last one of each name. No ratio that was not shown to be a gain.",
    )?;
    for (name, phase) in &report.phases {
        let told = phase.measurements.iter().filter(|one| is_shown(one));
        let last: BTreeMap<_, _> = told.map(|one| ((&one.name, &one.unit), one.value)).collect();
        for ((what, unit), value) in last {
            let labels = [("phase", name.as_str()), ("name", what), ("unit", unit)];
            page.sample("trueup_measurement", &labels, value)?;
        }
    }
    Ok(())
}

/// False for the ratio of a comparison that did not show a gain: a number alone would claim one.
fn is_shown(measured: &Measurement) -> bool {
    measured.comparison().is_none_or(|comparison| comparison.verdict == Verdict::Helps)
}

fn of_run(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    page.family("trueup_run_status", "How the last run ended: 1 for its status.")?;
    for status in STATUSES {
        let is = report.overall_status == Some(status);
        let labels = [("status", status.word())];
        page.sample("trueup_run_status", &labels, f64::from(u8::from(is)))?;
    }
    let began = report.started_at.as_millisecond() as f64 / 1000.0;
    let hits = decisions(report).filter(|hit| *hit).count() as f64;
    let all = decisions(report).count() as f64;
    for (name, help, value) in [
        ("trueup_run_start_timestamp_seconds", "When the last run began.", began),
        (
            "trueup_run_duration_seconds",
            "How long the last run took.",
            report.total_optimization_time,
        ),
        ("trueup_run_cache_hits", "Decisions of the last run that came from the cache.", hits),
        ("trueup_run_cache_misses", "Decisions of the last run that were measured.", all - hits),
        (
            "trueup_run_changes",
            "Changes of the host that the last run made and kept.",
            report.changes_kept() as f64,
        ),
    ] {
        page.family(name, help)?;
        page.sample(name, &[], value)?;
    }
    Ok(())
}

/// Where a decision came from that can be remembered; one that costs nothing is not.
fn remembered(phase: &PhaseReport) -> Option<&CacheReport> {
    phase.cache.as_deref().filter(|cache| cache.hit || cache.key.is_some() || cache.miss.is_some())
}

/// Whether each decision that can be remembered was.
fn decisions(report: &Report) -> impl Iterator<Item = bool> {
    report.phases.values().filter_map(remembered).map(|cache| cache.hit)
}

/// A family with one sample for each phase that has got it.
struct Family {
    name: &'static str,
    help: &'static str,
    value: fn(&PhaseReport) -> Option<f64>,
}

const FAMILIES: [Family; 4] = [
    Family {
        name: "trueup_phase_duration_seconds",
        help: "How long a phase took, from its first start to its end.",
        value: |phase| Some(phase.seconds),
    },
    Family {
        name: "trueup_phase_attempts",
        help: "How often a phase was started.",
        value: |phase| Some(f64::from(phase.attempts)),
    },
    Family {
        name: "trueup_phase_cache_hit",
        help: "1 when the decision of a phase came from the cache, 0 when it was measured.",
        value: |phase| remembered(phase).map(|cache| f64::from(u8::from(cache.hit))),
    },
    Family {
        name: "trueup_phase_decision_age_seconds",
        help: "How old the decision of a phase was in the last run.",
        value: |phase| remembered(phase).map(|cache| cache.age_seconds.unwrap_or(0.0)),
    },
];

fn of_phases(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    page.family("trueup_phase_outcome", "How a phase ended: 1, with its outcome as a label.")?;
    for (name, phase) in &report.phases {
        let outcome = phase.status.map_or("CUT_OFF", crate::event::Outcome::word);
        page.sample(
            "trueup_phase_outcome",
            &[("phase", name.as_str()), ("outcome", outcome)],
            1.0,
        )?;
    }
    for Family { name, help, value } in FAMILIES {
        page.family(name, help)?;
        for (phase, report) in &report.phases {
            if let Some(value) = value(report) {
                page.sample(name, &[("phase", phase.as_str())], value)?;
            }
        }
    }
    Ok(())
}

struct Page<'a> {
    pipeline: &'a str,
    to: &'a mut dyn Write,
}

impl Page<'_> {
    fn family(&mut self, name: &str, help: &str) -> io::Result<()> {
        writeln!(self.to, "# HELP {name} {help}\n# TYPE {name} gauge")
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) -> io::Result<()> {
        write!(self.to, "{name}{{pipeline=\"{}\"", Label(self.pipeline))?;
        for (label, value) in labels {
            write!(self.to, ",{label}=\"{}\"", Label(value))?;
        }
        writeln!(self.to, "}} {}", Number(value))
    }
}

/// The value of a label, escaped.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'\\' => r"\\",
                b'"' => r#"\""#,
                _ => r"\n",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// A number in the words of the format.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{gain, rich};
    use std::collections::BTreeSet;

    /// A sample as it was read: its name with its labels, and its value.
    type Samples = BTreeMap<String, f64>;

    fn is_name(name: &str) -> bool {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    }

    /// Reads `{a="b",..} value`; the labels come back unescaped, as `a=b`.
    fn labels(text: &str) -> (Vec<String>, &str) {
        let mut rest = text.strip_prefix('{').expect("labels");
        let mut found = Vec::new();
        loop {
            let (name, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(name), "{name}");
            let mut value = String::new();
            let mut chars = after.chars();
            loop {
                match chars.next().expect("the value ends") {
                    '"' => break,
                    '\\' => value.push(match chars.next() {
                        Some('n') => '\n',
                        Some(c @ ('\\' | '"')) => c,
                        other => panic!("{other:?} is not to be escaped"),
                    }),
                    '\n' => panic!("a value is on one line"),
                    c => value.push(c),
                }
            }
            found.push(format!("{name}={value}"));
            match chars.next() {
                Some(',') => rest = chars.as_str(),
                Some('}') => return (found, chars.as_str()),
                other => panic!("{other:?} after a label"),
            }
        }
    }

    /// Reads the format as strictly as the collector: families together and described once, no series twice, no
    /// timestamps.
    fn read(text: &str) -> Samples {
        let mut samples = Samples::new();
        let mut described = BTreeSet::new();
        let mut family = "";
        let mut lines = text.lines();
        assert!(text.ends_with('\n'));
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("words");
                assert!(is_name(name) && !words.is_empty());
                assert!(described.insert(name), "{name} is described twice");
                assert_eq!(lines.next(), Some(format!("# TYPE {name} gauge").as_str()));
                family = name;
                continue;
            }
            let rest = line.strip_prefix(family).unwrap_or_else(|| panic!("{line} in {family}"));
            let (labels, value) = labels(rest);
            let value = value.strip_prefix(' ').expect("a value");
            let value: f64 = value.replace("+Inf", "inf").parse().expect("a number alone");
            let series = format!("{family} {}", labels.join(" "));
            assert!(samples.insert(series.clone(), value).is_none(), "{series} is there twice");
        }
        samples
    }

    fn written(report: &Report) -> Samples {
        let mut text = Vec::new();
        write(report, &mut text).unwrap();
        read(std::str::from_utf8(&text).unwrap())
    }

    #[test]
    fn the_collector_can_read_it_and_every_figure_is_there() {
        let samples = written(&rich());
        let pipeline = "pipeline=opt\"imize\\";
        for (series, value) in [
            (format!("trueup_run_status {pipeline} status=FAILED"), 1.0),
            (format!("trueup_run_status {pipeline} status=SUCCESS"), 0.0),
            (format!("trueup_run_duration_seconds {pipeline}"), 72.6),
            (format!("trueup_run_start_timestamp_seconds {pipeline}"), 1_795_472_130.0),
            (format!("trueup_run_cache_hits {pipeline}"), 1.0),
            (format!("trueup_run_cache_misses {pipeline}"), 1.0),
            (format!("trueup_run_changes {pipeline}"), 1.0),
            (format!("trueup_phase_outcome {pipeline} phase=memory outcome=REVERTED"), 1.0),
            (format!("trueup_phase_outcome {pipeline} phase=cut outcome=CUT_OFF"), 1.0),
            (format!("trueup_phase_duration_seconds {pipeline} phase=pool"), 23.7),
            (format!("trueup_phase_attempts {pipeline} phase=pool"), 2.0),
            (format!("trueup_phase_cache_hit {pipeline} phase=memory"), 1.0),
            (format!("trueup_phase_decision_age_seconds {pipeline} phase=memory"), 3600.0),
            (format!("trueup_phase_decision_age_seconds {pipeline} phase=pool"), 0.0),
            (
                format!(
                    "trueup_measurement {pipeline} phase=pool name=throughput[5] unit=operations/s"
                ),
                120.0,
            ),
        ] {
            assert_eq!(samples.get(&series), Some(&value), "{series} in {samples:#?}");
        }
    }

    #[test]
    fn a_ratio_that_was_not_shown_to_be_a_gain_is_no_metric() {
        let series = "trueup_measurement pipeline=opt\"imize\\ phase=pool name=gain unit=ratio";
        for (verdict, told) in
            [(Verdict::Helps, Some(&1.08)), (Verdict::Harms, None), (Verdict::Inconclusive, None)]
        {
            let mut report = rich();
            report.phases["pool"].measurements.push(gain(verdict));
            assert_eq!(written(&report).get(series), told, "{verdict:?}");
        }
    }

    #[test]
    fn numbers_and_labels_that_are_no_plain_text_are_written_in_the_words_of_the_format() {
        let mut report = rich();
        let pool = &mut report.phases["pool"];
        pool.measurements[2].value = f64::INFINITY;
        pool.measurements[2].name = "a\nb".to_owned();
        let samples = written(&report);
        let series = "trueup_measurement pipeline=opt\"imize\\ phase=pool name=a\nb unit=ms";
        assert_eq!(samples.get(series), Some(&f64::INFINITY));
        assert_eq!(Number(f64::NAN).to_string(), "NaN");
        assert_eq!(Number(1e-7).to_string(), "0.0000001");
    }
}
