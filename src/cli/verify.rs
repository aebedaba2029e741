//! `trueup verify`: are the changes that runs have kept still in place?

use std::io::{self, Write};

use serde::Serialize;

use super::args::VerifyArgs;
use super::exit::{ExitCode, Failure};
use super::terminal::width;
use super::{rollback, wire};
use crate::change::{Standing, StandingChange, Verification, list, verify as look};
use crate::disk::DiskError;
use crate::report::wrap;

/// How many changes stand how.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Counts {
    matching: usize,
    mismatching: usize,
    not_applicable: usize,
    unreadable: usize,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    found: &'a Verification,
    counts: Counts,
}

pub(super) fn verify(options: &VerifyArgs) -> Result<ExitCode, Failure> {
    let sysroot = wire::sysroot(&options.sysroot)?;
    let journals = options.state.results.join("journal");
    let unlisted = |error: DiskError| Failure::because("verify::journals", &error);
    let run = match &options.run {
        Some(run) => Some(rollback::of_run(&list(&journals).map_err(unlisted)?, run)?.run.clone()),
        None => None,
    };
    let found = look(&sysroot, &journals, run.as_deref()).map_err(unlisted)?;
    let counts = count(&found);
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &Told { found: &found, counts })?;
        writeln!(out)?;
        return Ok(code(&found, counts));
    }
    for change in &found.changes {
        let (word, told) = told(change);
        let text = format!("{}  {told}", change.change.target.name());
        row(&mut out, word, &text)?;
    }
    for unknown in &found.unknown {
        row(&mut out, "unknown", unknown)?;
    }
    writeln!(out, "{}", summary(&found, counts))?;
    Ok(code(&found, counts))
}

/// A word, and beside it a text that goes on below itself.
fn row(out: &mut impl Write, word: &str, text: &str) -> io::Result<()> {
    for (index, line) in wrap(text, width() - 16).iter().enumerate() {
        writeln!(out, "{:14}{line}", if index == 0 { word } else { "" })?;
    }
    Ok(())
}

fn count(found: &Verification) -> Counts {
    let mut counts = Counts::default();
    for change in &found.changes {
        *match change.standing {
            Standing::Match => &mut counts.matching,
            Standing::Mismatch { .. } => &mut counts.mismatching,
            Standing::NotApplicable { .. } => &mut counts.not_applicable,
            Standing::Unreadable { .. } => &mut counts.unreadable,
        } += 1;
    }
    counts
}

/// A mismatch is what a timer is set for; that something could not be told is a failure of another kind.
fn code(found: &Verification, counts: Counts) -> ExitCode {
    if counts.mismatching > 0 {
        ExitCode::Drift
    } else if counts.unreadable > 0 || !found.unknown.is_empty() {
        ExitCode::Failed
    } else {
        ExitCode::Success
    }
}

fn told(one: &StandingChange) -> (&'static str, String) {
    let StandingChange { run, change, kept, standing } = one;
    let kept = change.target.shown(kept);
    match standing {
        Standing::Match => ("match", format!("{kept} (run {run})")),
        Standing::Mismatch { found, rebooted } => {
            let why = if *rebooted {
                "the host was booted since; `trueup run` sets it again"
            } else {
                "somebody else has set it since"
            };
            (
                "MISMATCH",
                format!("{}, kept was {kept} (run {run}): {why}", change.target.shown(found)),
            )
        }
        Standing::NotApplicable { reason } => {
            ("n/a", format!("kept was {kept} (run {run}): {reason}"))
        }
        Standing::Unreadable { reason } => {
            ("UNREADABLE", format!("kept was {kept} (run {run}): {reason}"))
        }
    }
}

fn summary(found: &Verification, counts: Counts) -> String {
    if found.changes.is_empty() && found.unknown.is_empty() {
        return "no run has left a change on this host".to_owned();
    }
    let Counts { matching, mismatching, not_applicable, unreadable } = counts;
    let mut parts = vec![format!("{matching} in place"), format!("{mismatching} not")];
    if not_applicable > 0 {
        parts.push(format!("{not_applicable} not applicable"));
    }
    if unreadable > 0 {
        parts.push(format!("{unreadable} unreadable"));
    }
    if !found.unknown.is_empty() {
        parts.push(format!("{} runs unknown", found.unknown.len()));
    }
    parts.join(", ")
}
