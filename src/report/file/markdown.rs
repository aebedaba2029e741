//! Markdown for the summary of a CI job.
//!
//! What a phase says is text and not markup: everything that could be read as markup, a table's end or HTML is escaped.
//! What does not fit into a limit is cut at the end of a line, and that is said.

use std::fmt::Write as _;

use crate::event::{ChangeResult, OverallStatus};
use crate::measure::model::{Comparison, Measurement};
use crate::report::text::figure;
use crate::report::triage::{Triage, late, word};
use crate::report::{PhaseReport, Report, Since};
use crate::shown;

/// Room for what is said when something was cut.
const NOTE: usize = 256;

/// Most lines of the tables of changes and of measurements.
const ROWS: usize = 50;

/// Most characters that a phase says at a time: a program's last words may be long.
const SAID: usize = 600;

/// The report of a run as Markdown of at most `limit` bytes, 1 KiB at least; nothing is known of what came `since` when
/// it has just ended.
#[must_use]
pub fn markdown(report: &Report, since: Option<&Since>, limit: usize) -> String {
    let mut page = Page { text: String::new(), limit: limit.max(1024) - NOTE, cut: false };
    head(report, &mut page);
    phases(report, &mut page);
    changes(report, since, &mut page);
    measurements(report, &mut page);
    if page.cut {
        let _ = write!(
            page.text,
            "\nCut here, as there is no more room. `trueup report show {}` shows the rest.\n",
            report.run_id
        );
    }
    page.text
}

/// A text that grows by whole lines until it is full.
struct Page {
    text: String,
    limit: usize,
    cut: bool,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.cut |= self.text.len() + line.len() >= self.limit;
        if !self.cut {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }
}

fn head(report: &Report, page: &mut Page) {
    let status = report.overall_status.map_or("CUT OFF", OverallStatus::word);
    let (seconds, name) = (report.total_optimization_time, escaped(&report.pipeline.name));
    page.line(&format!("## {}: {name} in {seconds:.1} s\n", escaped(status)));
    let began = report.started_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    page.line(&format!("Run {}, begun {began}, trueup {}\n", report.run_id, report.version));
    if let Some(signal) = &report.signal {
        page.line(&format!("Cancelled by {signal}; what the run had changed was taken back.\n"));
    }
    for note in &report.notes {
        page.line(&format!("- {}", escaped(note)));
    }
    if !report.notes.is_empty() {
        page.line("");
    }
}

fn phases(report: &Report, page: &mut Page) {
    let triage = Triage::of(report);
    page.line("| phase | outcome | seconds | |");
    page.line("| --- | --- | ---: | --- |");
    for (name, phase) in &triage.listed {
        let late = late(phase).map_or_else(String::new, |late| format!(" {late}"));
        let (word, seconds) = (escaped(&format!("{}{late}", word(phase))), phase.seconds);
        page.line(&format!("| {} | {word} | {seconds:.1} | {} |", escaped(name), told(phase)));
    }
    if let Some(rest) = triage.rest_in_words() {
        page.line(&format!("\n{}", escaped(&rest)));
    }
}

/// What is said of a phase in its cell: its decision, its reason, what failed attempts said.
fn told(phase: &PhaseReport) -> String {
    let cached = phase.cache.as_ref().is_some_and(|cache| cache.hit);
    let from = if cached { " (from the cache)" } else { "" };
    let decided = phase.decided.as_ref().map(|decided| said(&format!("{decided}{from}")));
    let rest = phase.reason.iter().chain(&phase.notes).map(|text| said(text));
    decided.into_iter().chain(rest).collect::<Vec<_>>().join("<br>")
}

fn said(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(SAID) else { return escaped(text) };
    format!("{} ...", escaped(&text[..end]))
}

fn changes(report: &Report, since: Option<&Since>, page: &mut Page) {
    let made: Vec<_> = report
        .phases
        .iter()
        .flat_map(|(name, phase)| phase.changes.iter().map(move |change| (name, change)))
        .collect();
    if made.is_empty() {
        return;
    }
    page.line("\n### Changes of the host\n");
    page.line("| phase | setting | from | to | |");
    page.line("| --- | --- | --- | --- | --- |");
    for (name, change) in made.iter().take(ROWS) {
        let came_of_it = match &change.result {
            ChangeResult::Applied => String::new(),
            ChangeResult::Clamped { got } => format!("reads {got}"),
            ChangeResult::Refused { reason } => format!("refused: {reason}"),
            ChangeResult::Reverted => "taken back".to_owned(),
            ChangeResult::Left { reason } => format!("not taken back: {reason}"),
        };
        let cells = [name.as_str(), &change.target, &change.from, &change.to, &came_of_it];
        page.line(&row(&cells));
    }
    more(made.len(), page);
    if let Some(since) = since {
        let noun = if since.settings == 1 { "setting" } else { "settings" };
        let told = escaped(&format!("{} {noun} of the host; {}", since.settings, since.told));
        page.line(&format!("\nChanged: {told}"));
    } else if report.changes_kept() > 0 {
        page.line(&format!("\nUndo: `trueup rollback {}`", report.run_id));
    }
}

fn measurements(report: &Report, page: &mut Page) {
    let made: Vec<_> = report
        .phases
        .iter()
        .flat_map(|(name, phase)| phase.measurements.iter().map(move |one| (name, one)))
        .collect();
    if made.is_empty() {
        return;
    }
    page.line("\n### Measured\n");
    page.line("| phase | what | value | unit | samples |");
    page.line("| --- | --- | ---: | --- | ---: |");
    for (name, one) in made.iter().take(ROWS) {
        let value = value(one);
        let cells = [name.as_str(), &one.name, &value, &one.unit, &one.samples.len().to_string()];
        page.line(&row(&cells));
    }
    more(made.len(), page);
}

/// A quantity; the ratio of a comparison with its interval and what that shows.
fn value(measured: &Measurement) -> String {
    let value = figure(measured.value);
    match measured.comparison() {
        None => value,
        Some(Comparison { low, high, verdict, .. }) if high < f64::MAX => {
            format!("{value} ({} to {}): {}", figure(low), figure(high), verdict.word())
        }
        Some(Comparison { verdict, .. }) => format!("{value}: {}", verdict.word()),
    }
}

/// Says how many rows were left out.
fn more(count: usize, page: &mut Page) {
    if count > ROWS {
        page.line(&format!("\n{} more in the report", count - ROWS));
    }
}

fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
    format!("| {} |", cells.join(" | "))
}

/// A text as it may stand in a cell: one line, and no markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in shown::in_line(text.trim()).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '@' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::model::Verdict;
    use crate::report::samples::{gain, rich};

    #[test]
    fn a_run_is_told_in_tables_and_no_text_of_it_is_markup() {
        insta::assert_snapshot!(
            markdown(&rich(), None, usize::MAX),
            @r##"
            ## FAILED: opt"imize\\ in 72.6 s

            Run 20261123T221530Z-7c41f2b9, begun 2026-11-23 22:15:30 UTC, trueup 0.1.0

            - of the run: a\_b \* &lt;i&gt;

            | phase | outcome | seconds | |
            | --- | --- | ---: | --- |
            | readiness | SUCCESS | 0.0 | 2 conditions<br>temperature: this host has no temperature sensor |
            | memory | REVERTED | 30.0 | swappiness=10 (from the cache)<br>inconclusive: +0.4% (-1.2% to +2.0%) |
            | pool | SUCCESS (2nd attempt) | 23.7 | pool\_size=19<br>attempt 1 failed: \\x1b\[31mcold\\x1b\[0m |
            | tests | FAILED | 2.0 | answer: saw &lt;b&gt;"500" &amp; 'more'&lt;/b&gt;, wanted 200 (GET /a\|b)\\nsecond \\x00 line ￾ |
            | slow | TIMED\_OUT | 1.0 | not done within its timeout of 1s |
            | after | BLOCKED | 0.0 | tests did not end well |
            | left\_out | SKIPPED | 0.0 | not selected |
            | cut | CUT OFF | 0.0 |  |

            ### Changes of the host

            | phase | setting | from | to | |
            | --- | --- | --- | --- | --- |
            | memory | /proc/sys/vm/swappiness | 60 | 10 |  |
            | memory | /proc/sys/vm/swappiness | 60 | 10 | taken back |
            | memory | /sys/a | x | y |  |

            Undo: `trueup rollback 20261123T221530Z-7c41f2b9`

            ### Measured

            | phase | what | value | unit | samples |
            | --- | --- | ---: | --- | ---: |
            | readiness | free\_memory | 2.500 | GiB | 1 |
            | pool | throughput\[5\] | 100.0 | operations/s | 3 |
            | pool | throughput\[5\] | 120.0 | operations/s | 3 |
            | pool | p99 | 0.250 | ms | 1 |
            "##
        );
    }

    #[test]
    fn of_a_run_that_was_taken_back_it_is_told_and_no_way_to_do_it_again() {
        let told = "taken back by `trueup rollback`".to_owned();
        let since = Since { settings: 1, told, at_work: false };
        let text = markdown(&rich(), Some(&since), usize::MAX);
        assert!(text.contains("\nChanged: 1 setting of the host; taken back by "), "{text}");
        assert!(!text.contains("Undo"), "{text}");
    }

    #[test]
    fn a_ratio_is_never_without_what_its_comparison_shows() {
        let mut report = rich();
        report.phases["pool"].measurements.push(gain(Verdict::Inconclusive));
        let text = markdown(&report, None, usize::MAX);
        let row = "| pool | gain | 1.080 (0.950 to 1.210): inconclusive | ratio | 1 |";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_cut_at_the_end_of_a_line_and_that_is_said() {
        let mut report = rich();
        report.notes = (0..100).map(|at| format!("note {at} {}", "x".repeat(100))).collect();
        for limit in [0, 1024, 5000, 12_000] {
            let text = markdown(&report, None, limit);
            assert!(text.len() <= limit.max(1024), "{} of {limit}", text.len());
            assert!(
                text.ends_with("`trueup report show 20261123T221530Z-7c41f2b9` shows the rest.\n")
            );
            let whole = |line: &str| !line.starts_with("- note") || line.ends_with('x');
            assert!(text.lines().all(whole), "{text}");
        }
    }
}
