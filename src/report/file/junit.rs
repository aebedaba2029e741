//! JUnit XML in the dialect that Jenkins reads: phases are test cases, and so is all that a phase looked at.
//!
//! ```text
//! <testsuites name="optimize" tests="8" failures="1" errors="0" time="72.600">
//!   <testsuite name="optimize" ..>                      one case for each phase
//!     <testcase classname="optimize" name="db_pool" time="23.700"/>
//!   <testsuite name="optimize.integration_tests" ..>    one case for each check of a phase that has any
//! ```
//! A phase that was not started because another failed is skipped: what is red is what is to be looked at. What may end
//! badly without failing the run is red as well, as the run is then not wholly a success either.

use std::fmt;
use std::io::{self, Write};

use crate::event::{Check, CheckState, Outcome};
use crate::report::{PhaseReport, Report};

/// How a test case ended.
enum Verdict {
    Passed,
    /// Not tried, and why.
    Skipped(String),
    /// It is not as wanted.
    Failure {
        kind: &'static str,
        message: String,
    },
    /// It could not be found out.
    Error {
        kind: &'static str,
        message: String,
    },
}

/// The numbers in the head of a suite.
#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Counts {
    fn of(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let mut counts = Self::default();
        for verdict in verdicts {
            counts.tests += 1;
            match verdict {
                Verdict::Passed => {}
                Verdict::Skipped(_) => counts.skipped += 1,
                Verdict::Failure { .. } => counts.failures += 1,
                Verdict::Error { .. } => counts.errors += 1,
            }
        }
        counts
    }
}

/// Writes a report as JUnit XML.
///
/// # Errors
/// When it can't be written.
pub fn write(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    let pipeline = &report.pipeline.name;
    let phases = Counts::of(report.phases.values().map(of_phase));
    let checks = Counts::of(report.phases.values().flat_map(|phase| &phase.checks).map(of_check));
    writeln!(to, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        to,
        r#"<testsuites name="{}" tests="{}" failures="{}" errors="{}" time="{:.3}">"#,
        Escaped(pipeline),
        phases.tests + checks.tests,
        phases.failures + checks.failures,
        phases.errors + checks.errors,
        report.total_optimization_time
    )?;
    open_suite(report, pipeline, &phases, report.total_optimization_time, to)?;
    properties(report, to)?;
    for (name, phase) in &report.phases {
        let said = phase.decided.iter().chain(&phase.notes).map(String::as_str);
        let said: Vec<&str> = said.collect();
        case(
            &Case { class: pipeline, name: name.as_str(), seconds: phase.seconds },
            &of_phase(phase),
            &said,
            to,
        )?;
    }
    writeln!(to, "  </testsuite>")?;
    for (name, phase) in report.phases.iter().filter(|(_, phase)| !phase.checks.is_empty()) {
        let suite = format!("{pipeline}.{name}");
        let seconds = phase.stages.get(crate::event::Stage::Verify).unwrap_or(0.0);
        open_suite(report, &suite, &Counts::of(phase.checks.iter().map(of_check)), seconds, to)?;
        // Only the stage as a whole was timed.
        for check in &phase.checks {
            let case_of = Case { class: &suite, name: &check.name, seconds: 0.0 };
            let said = matches!(check.state, CheckState::Match { .. }).then(|| check.to_string());
            case(&case_of, &of_check(check), &said.as_deref().into_iter().collect::<Vec<_>>(), to)?;
        }
        writeln!(to, "  </testsuite>")?;
    }
    writeln!(to, "</testsuites>")
}

fn open_suite(
    report: &Report,
    name: &str,
    counts: &Counts,
    seconds: f64,
    to: &mut dyn Write,
) -> io::Result<()> {
    let Counts { tests, failures, errors, skipped } = counts;
    write!(
        to,
        r#"  <testsuite name="{}" tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}""#,
        Escaped(name)
    )?;
    let began = report.started_at.strftime("%Y-%m-%dT%H:%M:%S");
    write!(to, r#" time="{seconds:.3}" timestamp="{began}""#)?;
    if let Some(host) = hostname(report) {
        write!(to, r#" hostname="{}""#, Escaped(host))?;
    }
    writeln!(to, ">")
}

/// The name of the host among its facts.
fn hostname(report: &Report) -> Option<&str> {
    report.host.get("hostname")?.get("value")?.as_str()
}

fn properties(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    let status = report.overall_status.map_or("CUT_OFF", crate::event::OverallStatus::word);
    writeln!(to, "    <properties>")?;
    for (name, value) in [
        ("run", report.run_id.as_str()),
        ("status", status),
        ("pipeline", &report.pipeline.file),
        ("trueup", &report.version),
    ] {
        writeln!(to, r#"      <property name="{name}" value="{}"/>"#, Escaped(value))?;
    }
    writeln!(to, "    </properties>")
}

/// A test case before its verdict.
struct Case<'a> {
    class: &'a str,
    name: &'a str,
    seconds: f64,
}

fn case(case: &Case<'_>, verdict: &Verdict, said: &[&str], to: &mut dyn Write) -> io::Result<()> {
    write!(
        to,
        r#"    <testcase classname="{}" name="{}" time="{:.3}""#,
        Escaped(case.class),
        Escaped(case.name),
        case.seconds
    )?;
    if matches!(verdict, Verdict::Passed) && said.is_empty() {
        return writeln!(to, "/>");
    }
    writeln!(to, ">")?;
    match verdict {
        Verdict::Passed => {}
        Verdict::Skipped(why) => writeln!(to, r#"      <skipped message="{}"/>"#, Escaped(why))?,
        Verdict::Failure { kind, message } => bad("failure", kind, message, to)?,
        Verdict::Error { kind, message } => bad("error", kind, message, to)?,
    }
    if !said.is_empty() {
        writeln!(to, "      <system-out>{}</system-out>", Escaped(&said.join("\n")))?;
    }
    writeln!(to, "    </testcase>")
}

fn bad(element: &str, kind: &str, message: &str, to: &mut dyn Write) -> io::Result<()> {
    let first = message.lines().next().unwrap_or_default();
    writeln!(
        to,
        r#"      <{element} type="{kind}" message="{}">{}</{element}>"#,
        Escaped(first),
        Escaped(message)
    )
}

fn of_phase(phase: &PhaseReport) -> Verdict {
    let why = || phase.reason.clone().unwrap_or_default();
    match phase.status {
        Some(Outcome::Success | Outcome::Reverted) => Verdict::Passed,
        Some(Outcome::NotApplicable | Outcome::Skipped) => Verdict::Skipped(why()),
        Some(Outcome::Blocked) => Verdict::Skipped(format!("BLOCKED: {}", why())),
        Some(Outcome::Cancelled) if phase.attempts == 0 => {
            Verdict::Skipped(format!("CANCELLED: {}", why()))
        }
        Some(Outcome::Failed) => Verdict::Failure { kind: "FAILED", message: why() },
        Some(outcome @ (Outcome::TimedOut | Outcome::Cancelled)) => {
            Verdict::Error { kind: outcome.word(), message: why() }
        }
        None if phase.attempts == 0 => Verdict::Skipped("the run was cut off before".to_owned()),
        None => Verdict::Error { kind: "CUT_OFF", message: "the run was cut off".to_owned() },
    }
}

fn of_check(check: &Check) -> Verdict {
    match &check.state {
        CheckState::Match { .. } => Verdict::Passed,
        CheckState::NotApplicable { reason } => Verdict::Skipped(reason.clone()),
        CheckState::Mismatch { .. } => {
            let kind = if check.optional { "mismatch (optional)" } else { "mismatch" };
            Verdict::Failure { kind, message: check.to_string() }
        }
        CheckState::Unreadable { .. } => {
            let kind = if check.optional { "unreadable (optional)" } else { "unreadable" };
            Verdict::Error { kind, message: check.to_string() }
        }
    }
}

/// A text as it may stand in an attribute or an element. What XML 1.0 has no way to write, even escaped, is left out:
/// control characters and the two non-characters (section 2.2).
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let special = |c: char| {
            matches!(c, '&' | '<' | '>' | '"' | '\'' | '\u{fffe}' | '\u{ffff}') || c < ' '
        };
        let mut rest = self.0;
        while let Some(at) = rest.find(special) {
            f.write_str(&rest[..at])?;
            let mut chars = rest[at..].chars();
            match chars.next() {
                Some('&') => f.write_str("&amp;")?,
                Some('<') => f.write_str("&lt;")?,
                Some('>') => f.write_str("&gt;")?,
                Some('"') => f.write_str("&quot;")?,
                Some('\'') => f.write_str("&apos;")?,
                // An attribute would otherwise be read back with blanks in their place.
                Some('\n') => f.write_str("&#10;")?,
                Some('\r') => f.write_str("&#13;")?,
                Some('\t') => f.write_str("&#9;")?,
                _ => {}
            }
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::rich;
    use std::collections::BTreeMap;

    /// An element as a strict reader sees it: by its name, with its attributes, and what is in it.
    #[derive(Debug)]
    struct Element {
        name: String,
        attributes: BTreeMap<String, String>,
        children: Vec<Element>,
        text: String,
    }

    impl Element {
        fn attribute(&self, name: &str) -> &str {
            &self.attributes[name]
        }

        fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
            self.children.iter().filter(move |child| child.name == name)
        }
    }

    /// Reads XML of the few forms that are written here; anything else is not well formed.
    struct Reader<'a>(&'a str);

    impl Reader<'_> {
        fn take(&mut self, wanted: &str) {
            self.0 = self.0.strip_prefix(wanted).unwrap_or_else(|| {
                panic!("wanted {wanted} at {}", self.0.chars().take(60).collect::<String>())
            });
        }

        fn until(&mut self, end: &[char]) -> String {
            let at = self.0.find(end).expect("an end");
            let (text, rest) = self.0.split_at(at);
            self.0 = rest;
            text.to_owned()
        }

        fn element(&mut self) -> Element {
            self.take("<");
            let name = self.until(&[' ', '/', '>']);
            let mut attributes = BTreeMap::new();
            while self.0.starts_with(' ') {
                self.take(" ");
                let name = self.until(&['=']);
                self.take("=\"");
                let value = self.until(&['"', '<']);
                self.take("\"");
                assert!(attributes.insert(name, unescaped(&value)).is_none(), "twice");
            }
            let (mut children, mut text) = (Vec::new(), String::new());
            if self.0.starts_with('/') {
                self.take("/>");
                return Element { name, attributes, children, text };
            }
            self.take(">");
            loop {
                text.push_str(&unescaped(&self.until(&['<'])));
                if self.0.starts_with("</") {
                    break;
                }
                children.push(self.element());
            }
            self.take(&format!("</{name}>"));
            Element { name, attributes, children, text }
        }
    }

    fn unescaped(text: &str) -> String {
        let valid = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        assert!(text.chars().all(valid), "a character that XML has not got: {text:?}");
        let mut plain = String::new();
        let mut parts = text.split('&');
        plain.push_str(parts.next().unwrap());
        for part in parts {
            let (name, rest) = part.split_once(';').expect("an entity ends");
            plain.push(match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                "#9" => '\t',
                "#10" => '\n',
                "#13" => '\r',
                other => panic!("{other}"),
            });
            plain.push_str(rest);
        }
        plain
    }

    fn read(report: &Report) -> Element {
        let mut text = Vec::new();
        write(report, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let mut reader = Reader(&text);
        reader.take("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let root = reader.element();
        assert_eq!(reader.0.trim(), "");
        root
    }

    /// The rules of Jenkins' schema, as far as it has any: which element may stand where, and what it must say.
    fn keeps_the_rules(element: &Element) {
        let (may_hold, must_say): (&[&str], &[&str]) = match element.name.as_str() {
            "testsuites" => (&["testsuite"], &["name"]),
            "testsuite" => {
                (&["properties", "testcase"], &["name", "tests", "failures", "errors", "time"])
            }
            "properties" => (&["property"], &[]),
            "property" => (&[], &["name", "value"]),
            "testcase" => (&["skipped", "error", "failure", "system-out"], &["name", "classname"]),
            "skipped" | "error" | "failure" => (&[], &["message"]),
            "system-out" => (&[], &[]),
            other => panic!("{other}"),
        };
        for name in must_say {
            assert!(element.attributes.contains_key(*name), "{name} of {element:?}");
        }
        for child in &element.children {
            assert!(may_hold.contains(&child.name.as_str()), "{} in {}", child.name, element.name);
            keeps_the_rules(child);
        }
    }

    fn found(case: &Element) -> Option<&str> {
        let verdicts = case.children.iter().map(|child| child.name.as_str());
        let mut verdicts = verdicts.filter(|name| *name != "system-out");
        let verdict = verdicts.next();
        assert_eq!(verdicts.next(), None, "one verdict");
        verdict
    }

    #[test]
    fn every_phase_is_a_case_and_so_is_every_check() {
        let root = read(&rich());
        keeps_the_rules(&root);
        let suites: Vec<&Element> = root.all("testsuite").collect();
        let names: Vec<&str> = suites.iter().map(|suite| suite.attribute("name")).collect();
        assert_eq!(names, ["opt\"imize\\", "opt\"imize\\.readiness", "opt\"imize\\.tests"]);
        let verdicts = |suite: &Element| -> Vec<(String, Option<String>)> {
            let of = |case: &Element| {
                (case.attribute("name").to_owned(), found(case).map(str::to_owned))
            };
            suite.all("testcase").map(of).collect()
        };
        let wanted = |all: &[(&str, Option<&str>)]| -> Vec<(String, Option<String>)> {
            all.iter()
                .map(|(name, verdict)| ((*name).to_owned(), verdict.map(str::to_owned)))
                .collect()
        };
        assert_eq!(
            verdicts(suites[0]),
            wanted(&[
                ("readiness", None),
                ("memory", None),
                ("pool", None),
                ("tests", Some("failure")),
                ("slow", Some("error")),
                ("after", Some("skipped")),
                ("left_out", Some("skipped")),
                ("cut", Some("error")),
            ])
        );
        assert_eq!(
            verdicts(suites[1]),
            wanted(&[("memory", None), ("temperature", Some("skipped"))])
        );
        assert_eq!(
            verdicts(suites[2]),
            wanted(&[("answer", Some("failure")), ("log \"file\"", Some("error"))])
        );
    }

    #[test]
    fn the_counts_are_those_of_the_cases() {
        let root = read(&rich());
        let mut total = 0;
        for suite in root.all("testsuite") {
            let cases: Vec<&Element> = suite.all("testcase").collect();
            let of = |verdict| cases.iter().filter(|case| found(case) == Some(verdict)).count();
            assert_eq!(suite.attribute("tests"), cases.len().to_string());
            assert_eq!(suite.attribute("failures"), of("failure").to_string());
            assert_eq!(suite.attribute("errors"), of("error").to_string());
            assert_eq!(suite.attribute("skipped"), of("skipped").to_string());
            total += cases.len();
        }
        assert_eq!(root.attribute("tests"), total.to_string());
        assert_eq!(root.attribute("time"), "72.600");
    }

    #[test]
    fn texts_come_back_as_they_were_without_what_xml_can_not_say() {
        let root = read(&rich());
        let suite = root.all("testsuite").next().unwrap();
        let case =
            |name: &str| suite.all("testcase").find(|case| case.attribute("name") == name).unwrap();
        let failure = case("tests").all("failure").next().unwrap();
        let first = "answer: saw <b>\"500\" & 'more'</b>, wanted 200 (GET /a|b)";
        assert_eq!(failure.attribute("message"), first);
        assert_eq!(failure.text, format!("{first}\nsecond  line "));
        let said = case("pool").all("system-out").next().unwrap();
        assert_eq!(said.text, "pool_size=19\nattempt 1 failed: [31mcold[0m");
        assert_eq!(suite.attribute("timestamp"), "2026-11-23T22:15:30");
        assert_eq!(suite.attribute("hostname"), "h1");
    }
}
