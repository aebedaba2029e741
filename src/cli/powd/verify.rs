//! `trueup powd verify`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::rules::rules;
use crate::cli::args::{LineForm, VerifyProofsArgs};
use crate::cli::exit::{ExitCode, Failure};
use crate::clock::Clock;
use crate::powd::chain::{self, Followed};
use crate::powd::line::{self, Form};
use crate::powd::proof::{Format, ProofId, verify as check};
use crate::powd::reason::Reason;
use crate::powd::rules::Rules;
use crate::shown;

/// Longest line, in bytes.
const LONGEST: u64 = 64 << 10;

pub(super) fn verify(options: &VerifyProofsArgs) -> Result<ExitCode, Failure> {
    let rules = rules(&options.rules)?;
    let now = options.at.unwrap_or_else(|| Clock::system().now());
    let input = input(options)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let right = if options.headers {
        headers(options, input, &rules, &mut out)?
    } else {
        lines(options, input, (&rules, now), &mut out)?
    };
    out.flush()?;
    Ok(if right { ExitCode::Success } else { ExitCode::Failed })
}

fn input(options: &VerifyProofsArgs) -> Result<Box<dyn BufRead>, Failure> {
    if options.file.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(&options.file) {
        Ok(file) => Ok(Box::new(BufReader::new(file))),
        Err(error) => Err(unreadable(options, &error)),
    }
}

fn unreadable(options: &VerifyProofsArgs, error: &io::Error) -> Failure {
    let file = options.file.display();
    let told = format!("could not read {}: {error}", shown::in_line(&file.to_string()));
    crate::diagnostic::Diagnostic::error("powd::input", told).into()
}

/// What is told of a chain.
#[derive(Serialize)]
struct Chain {
    headers: u64,
    tip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<Broken>,
}

#[derive(Serialize)]
struct Broken {
    at: u64,
    reason: &'static str,
    detail: String,
}

/// Follows a chain; true when it does not break.
fn headers(
    options: &VerifyProofsArgs,
    input: Box<dyn BufRead>,
    rules: &Rules,
    out: &mut impl Write,
) -> Result<bool, Failure> {
    // A chain is held to its network's limit; what each of its headers is worth is not asked.
    let rules = Rules { difficulty: 0, ..rules.clone() };
    let followed: Followed =
        chain::follow(input, &rules).map_err(|error| unreadable(options, &error))?;
    let tip = followed.tip_shown();
    let broken = followed.broken.map(|broken| Broken {
        at: broken.at,
        reason: broken.flaw.name(),
        detail: broken.flaw.to_string(),
    });
    let right = broken.is_none() && followed.headers > 0;
    if options.json {
        serde_json::to_writer(&mut *out, &Chain { headers: followed.headers, tip, broken })?;
        writeln!(out)?;
        return Ok(right);
    }
    let tip = tip.map_or_else(String::new, |tip| format!(", the last one {tip}"));
    let plural = if followed.headers == 1 { "" } else { "s" };
    writeln!(out, "{} header{plural} valid and linked{tip}", followed.headers)?;
    if let Some(Broken { at, reason, detail }) = broken {
        writeln!(out, "header {at}, counted from 0, at byte {}: {reason}: {detail}", at * 80)?;
    }
    Ok(right)
}

/// What is told of a line.
#[derive(Serialize)]
struct Told {
    line: u64,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<ProofId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Verifies line after line; true when there is one, and all of them are accepted.
fn lines(
    options: &VerifyProofsArgs,
    mut input: Box<dyn BufRead>,
    (rules, now): (&Rules, Timestamp),
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let form = form(options.format);
    let mut seen = HashSet::new();
    let (mut number, mut proofs, mut accepted) = (0, 0_u64, 0_u64);
    loop {
        let text = match next(&mut input).map_err(|error| unreadable(options, &error))? {
            Next::End => break,
            Next::Line(text) => text,
        };
        number += 1;
        if matches!(&text, Ok(text) if text.is_empty()) {
            continue;
        }
        proofs += 1;
        let judged = judge(text, form, (rules, now), &mut seen);
        accepted += u64::from(judged.1.is_ok());
        tell(options.json, number, judged, out)?;
    }
    if !options.json {
        let plural = if proofs == 1 { "" } else { "s" };
        writeln!(out, "{proofs} proof{plural}, {accepted} accepted")?;
    }
    Ok(proofs > 0 && proofs == accepted)
}

/// A verdict, and the format where that is known.
type Judged = (Option<Format>, Result<ProofId, (Reason, String)>);

fn judge(
    text: Result<String, String>,
    form: Form,
    (rules, now): (&Rules, Timestamp),
    seen: &mut HashSet<ProofId>,
) -> Judged {
    let because = |reason: Reason| (reason, reason.detail().to_owned());
    let text = match text {
        Ok(text) => text,
        Err(told) => return (None, Err((Reason::Malformed, told))),
    };
    match line::read(&text, form) {
        Err(malformed) => (None, Err((malformed.reason, malformed.told))),
        Ok(proof) => {
            let verdict = check(&proof, rules, now).and_then(|verified| {
                if seen.insert(verified.id) { Ok(verified.id) } else { Err(Reason::Replayed) }
            });
            (Some(proof.format()), verdict.map_err(because))
        }
    }
}

fn tell(
    json: bool,
    line: u64,
    (format, verdict): Judged,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let format = format.map(Format::name);
    let (id, reason, detail) = match verdict {
        Ok(id) => (Some(id), None, None),
        Err((reason, detail)) => (None, Some(reason.name()), Some(detail)),
    };
    if json {
        let accepted = id.is_some();
        serde_json::to_writer(&mut *out, &Told { line, accepted, format, id, reason, detail })?;
        return Ok(writeln!(out)?);
    }
    let format = format.unwrap_or("-");
    match (id, reason, detail) {
        (Some(id), ..) => writeln!(out, "{line:<4} accepted  {format:<9}  {id}")?,
        (None, Some(reason), Some(detail)) => {
            let detail = shown::in_line(&detail);
            writeln!(out, "{line:<4} rejected  {format:<9}  {reason}: {detail}")?;
        }
        (None, ..) => {}
    }
    Ok(())
}

enum Next {
    Line(Result<String, String>),
    End,
}

/// The next line without its end, or what is wrong with it; of one that is too long the rest is skipped.
fn next(input: &mut impl BufRead) -> io::Result<Next> {
    let mut line = Vec::new();
    if input.take(LONGEST + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(Next::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() as u64 > LONGEST {
        input.skip_until(b'\n')?;
        return Ok(Next::Line(Err(format!("a line is at most {LONGEST} bytes long"))));
    }
    let text = String::from_utf8(line).map_err(|_| "a line is UTF-8".to_owned());
    Ok(Next::Line(text))
}

const fn form(format: LineForm) -> Form {
    match format {
        LineForm::Auto => Form::Auto,
        LineForm::Json => Form::Json,
        LineForm::Bitcoin => Form::Bitcoin,
        LineForm::Litecoin => Form::Litecoin,
        LineForm::Hashcash => Form::Hashcash,
        LineForm::Altcha => Form::Altcha,
    }
}
