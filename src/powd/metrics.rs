//! What the service counts, and its face for Prometheus (text format 0.0.4).
//!
//! Counters only grow, and are read without a lock: a scrape during load may see a sum that is one request ahead
//! of its count. Knows no ledger and no queue; what they hold at the moment is handed to [`Metrics::render`].

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ledger::Connections;
use super::proof::Format;
use super::reason::Reason;

/// Upper bounds of the buckets of times, in seconds.
const SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Upper bounds of the buckets of batch sizes, in proofs.
const PROOFS: [f64; 14] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Formats, and one more for proofs of none that is known.
const FORMATS: usize = Format::ALL.len() + 1;

/// Reasons, and one more for accepted.
const RESULTS: usize = Reason::ALL.len() + 1;

/// What the service counted since it started.
#[derive(Debug)]
pub struct Metrics {
    verifications: [[AtomicU64; RESULTS]; FORMATS],
    request: Histogram,
    commit: Histogram,
    batch: Histogram,
    failed_commits: AtomicU64,
}

/// What stands at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    /// Proofs admitted and not answered yet.
    pub queued: usize,
    /// How many of them there may be.
    pub queue: usize,
    /// The ledger's connections.
    pub connections: Connections,
    /// Since the service started.
    pub uptime: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            verifications: Default::default(),
            request: Histogram::new(&SECONDS),
            commit: Histogram::new(&SECONDS),
            batch: Histogram::new(&PROOFS),
            failed_commits: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// Counts an answer about one proof; no format means that it had none that is known.
    pub fn answered(&self, format: Option<Format>, result: Result<(), Reason>) {
        let format = format.map_or(Format::ALL.len(), Format::index);
        let result = result.err().map_or(0, |reason| reason.index() + 1);
        self.verifications[format][result].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request to verify, from its head to its answer.
    pub fn request(&self, took: Duration) {
        self.request.observe(took.as_secs_f64());
    }

    /// Counts a batch that the ledger took.
    pub fn committed(&self, proofs: usize, took: Duration) {
        self.batch.observe(proofs as f64);
        self.commit.observe(took.as_secs_f64());
    }

    /// Counts a batch that the ledger did not take.
    pub fn commit_failed(&self) {
        self.failed_commits.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it in Prometheus' text format.
    #[must_use]
    pub fn render(&self, gauges: Gauges) -> String {
        let mut out = String::with_capacity(8192);
        family(
            &mut out,
            "powd_verifications_total",
            "counter",
            "Proofs answered, by format and result.",
        );
        let formats = Format::ALL.iter().map(|format| format.name()).chain(["unknown"]);
        for (format, results) in formats.zip(&self.verifications) {
            let names =
                ["accepted"].into_iter().chain(Reason::ALL.iter().map(|reason| reason.name()));
            for (result, count) in names.zip(results) {
                let labels = format!("{{format=\"{format}\",result=\"{result}\"}}");
                line(&mut out, "powd_verifications_total", &labels, count.load(Ordering::Relaxed));
            }
        }
        self.request.render(
            &mut out,
            "powd_request_seconds",
            "Time from a request's head to its answer.",
        );
        self.commit.render(
            &mut out,
            "powd_commit_seconds",
            "Time of one durable commit of the ledger.",
        );
        self.batch.render(&mut out, "powd_batch_proofs", "Proofs committed together.");
        let failed = self.failed_commits.load(Ordering::Relaxed);
        single(
            &mut out,
            "powd_failed_commits_total",
            ("counter", "Batches the ledger did not take."),
            failed,
        );
        single(
            &mut out,
            "powd_queue_depth",
            ("gauge", "Proofs admitted and not answered yet."),
            gauges.queued,
        );
        single(&mut out, "powd_queue_limit", ("gauge", "How many proofs may wait."), gauges.queue);
        family(&mut out, "powd_pool_connections", "gauge", "Connections to the ledger's database.");
        let Connections { open, idle } = gauges.connections;
        line(&mut out, "powd_pool_connections", "{state=\"idle\"}", idle);
        line(&mut out, "powd_pool_connections", "{state=\"used\"}", open.saturating_sub(idle));
        let uptime = gauges.uptime.as_secs_f64();
        single(
            &mut out,
            "powd_uptime_seconds",
            ("gauge", "Time since the service started."),
            uptime,
        );
        family(&mut out, "powd_build_info", "gauge", "The build that runs; always 1.");
        line(
            &mut out,
            "powd_build_info",
            concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
            1,
        );
        out
    }
}

/// Counts of values by bucket, and their sum.
#[derive(Debug)]
struct Histogram {
    bounds: &'static [f64; 14],
    /// Not cumulative; the last is for what is over all bounds.
    buckets: [AtomicU64; 15],
    /// In millionths, so that it can be added to without a lock.
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64; 14]) -> Self {
        Self { bounds, buckets: Default::default(), sum: AtomicU64::new(0) }
    }

    fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6).round() as u64, Ordering::Relaxed);
    }

    fn render(&self, out: &mut String, name: &str, help: &str) {
        family(out, name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, in_bucket) in bounds.zip(&self.buckets) {
            count += in_bucket.load(Ordering::Relaxed);
            line(out, &bucket, &format!("{{le=\"{bound}\"}}"), count);
        }
        line(out, &format!("{name}_sum"), "", self.sum.load(Ordering::Relaxed) as f64 / 1e6);
        line(out, &format!("{name}_count"), "", count);
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{name}{labels} {value}");
}

fn single(out: &mut String, name: &str, (kind, help): (&str, &str), value: impl std::fmt::Display) {
    family(out, name, kind, help);
    line(out, name, "", value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(metrics: &Metrics) -> String {
        metrics.render(Gauges {
            queued: 3,
            queue: 64,
            connections: Connections { open: 5, idle: 4 },
            uptime: Duration::from_millis(1500),
        })
    }

    #[test]
    fn answers_are_counted_by_format_and_result() {
        let metrics = Metrics::default();
        metrics.answered(Some(Format::Challenge), Ok(()));
        metrics.answered(Some(Format::Challenge), Ok(()));
        metrics.answered(Some(Format::Bitcoin), Err(Reason::Replayed));
        metrics.answered(None, Err(Reason::Malformed));
        let text = rendered(&metrics);
        for line in [
            "powd_verifications_total{format=\"challenge\",result=\"accepted\"} 2\n",
            "powd_verifications_total{format=\"bitcoin\",result=\"replayed\"} 1\n",
            "powd_verifications_total{format=\"unknown\",result=\"malformed\"} 1\n",
            "powd_verifications_total{format=\"bitcoin\",result=\"accepted\"} 0\n",
            "powd_queue_depth 3\n",
            "powd_pool_connections{state=\"used\"} 1\n",
            "powd_uptime_seconds 1.5\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_histogram_is_cumulative_and_a_bound_belongs_to_its_bucket() {
        let metrics = Metrics::default();
        for proofs in [1, 2, 3, 9000] {
            metrics.committed(proofs, Duration::from_millis(1));
        }
        let text = rendered(&metrics);
        for line in [
            "powd_batch_proofs_bucket{le=\"1\"} 1\n",
            "powd_batch_proofs_bucket{le=\"2\"} 2\n",
            "powd_batch_proofs_bucket{le=\"4\"} 3\n",
            "powd_batch_proofs_bucket{le=\"8192\"} 3\n",
            "powd_batch_proofs_bucket{le=\"+Inf\"} 4\n",
            "powd_batch_proofs_count 4\n",
            "powd_batch_proofs_sum 9006\n",
            "powd_commit_seconds_bucket{le=\"0.001\"} 4\n",
            "powd_commit_seconds_sum 0.004\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_line_is_a_comment_or_a_sample_of_a_declared_family() {
        let text = rendered(&Metrics::default());
        let mut declared = "";
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                declared = comment.split(' ').nth(1).unwrap();
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(declared), "{line} under {declared}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        assert!(text.ends_with('\n'));
    }
}
