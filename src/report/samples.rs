//! Reports for tests, as a run would leave them.

use serde_json::json;

use super::Report;
use crate::measure::model::{Comparison, Measurement, Verdict};

/// The ratio of a comparison that came to this verdict.
pub(super) fn gain(verdict: Verdict) -> Measurement {
    let (ratio, low, high) = (1.08, 0.95, 1.21);
    let comparison = Comparison {
        ratio,
        low,
        high,
        noise_floor: 0.02,
        verdict,
        pairs: 8,
        pairs_needed: Some(40),
    };
    Measurement::once("gain", ratio, "ratio").compared(&comparison)
}

/// A run with something of everything, and texts that mean something in every format that is written.
pub(super) fn rich() -> Report {
    let report = json!({
        "optimization_timestamp": 1_795_472_130, "total_optimization_time": 72.6, "overall_status": "FAILED",
        "phases": {
            "readiness": {
                "status": "SUCCESS", "uses": "readiness", "attempts": 1, "seconds": 0.012, "decided": "2 conditions",
                "reason": "temperature: this host has no temperature sensor", "stages": { "verify": 0.004 },
                "cache": { "hit": false },
                "measurements": [{ "name": "free_memory", "value": 2.5, "unit": "GiB", "samples": [2.5] }],
                "checks": [
                    { "name": "memory", "result": "match", "seen": "2.5 GiB", "wanted": "at least 1 GiB" },
                    { "name": "temperature", "result": "not_applicable", "reason": "this host has no temperature sensor" },
                ],
            },
            "memory": {
                "status": "REVERTED", "uses": "cpu_governor", "attempts": 1, "seconds": 30.0, "needs": ["readiness"],
                "reason": "inconclusive: +0.4% (-1.2% to +2.0%)", "cache": { "hit": true, "key": "k", "age_seconds": 3600.0, "measured_by": "r" },
                "decided": "swappiness=10", "decision": { "swappiness": 10 },
                "changes": [
                    { "target": "/proc/sys/vm/swappiness", "from": "60", "to": "10", "result": "applied" },
                    { "target": "/proc/sys/vm/swappiness", "from": "60", "to": "10", "result": "reverted" },
                    { "target": "/sys/a", "from": "x", "to": "y", "result": "applied" },
                ],
            },
            "pool": {
                "status": "SUCCESS", "uses": "db_pool", "attempts": 2, "seconds": 23.7, "decided": "pool_size=19",
                "cache": { "hit": false, "key": "l", "miss": "never measured here" }, "decision": { "pool_size": 19, "curve": [1, 2] },
                "notes": ["attempt 1 failed: \u{1b}[31mcold\u{1b}[0m"],
                "measurements": [
                    { "name": "throughput[5]", "value": 100.0, "unit": "operations/s", "samples": [99.0, 100.0, 101.0] },
                    { "name": "throughput[5]", "value": 120.0, "unit": "operations/s", "samples": [119.0, 120.0, 121.0] },
                    { "name": "p99", "value": 0.25, "unit": "ms", "samples": [0.25] },
                ],
            },
            "tests": {
                "status": "FAILED", "uses": "integration_tests", "attempts": 1, "seconds": 2.0, "optional": true,
                "reason": "answer: saw <b>\"500\" & 'more'</b>, wanted 200 (GET /a|b)\nsecond \u{0} line \u{fffe}",
                "checks": [
                    { "name": "answer", "result": "mismatch", "seen": "<500>", "wanted": "200", "source": "GET /a|b" },
                    { "name": "log \"file\"", "result": "unreadable", "reason": "no such file", "optional": true },
                ],
            },
            "slow": { "status": "TIMED_OUT", "uses": "command", "attempts": 1, "seconds": 1.0, "reason": "not done within its timeout of 1s" },
            "after": { "status": "BLOCKED", "uses": "command", "attempts": 0, "seconds": 0.0, "needs": ["tests"], "reason": "tests did not end well" },
            "left_out": { "status": "SKIPPED", "uses": "command", "attempts": 0, "seconds": 0.0, "reason": "not selected" },
            "cut": { "status": null, "uses": "command", "attempts": 1, "seconds": 0.0 },
        },
        "schema": 1, "version": "0.1.0", "run_id": "20261123T221530Z-7c41f2b9", "started_at": "2026-11-23T22:15:30Z", "signal": null,
        "pipeline": { "name": "opt\"imize\\", "file": "p.yaml", "digest": "d" },
        "host": { "hostname": { "value": "h1", "source": "/proc/sys/kernel/hostname" } },
        "recovered": [], "notes": ["of the run: a_b * <i>"],
    });
    serde_json::from_value(report).unwrap()
}
