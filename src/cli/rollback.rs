//! `trueup rollback`.

use std::io::Write as _;

use super::args::RollbackArgs;
use super::exit::{ExitCode, Failure};
use super::wire;
use crate::change::{
    JournalState, JournalSummary, Options, RollbackError, TakenBack, list, rollback as take_back,
    script,
};
use crate::diagnostic::Diagnostic;
use crate::disk::{LockFile, Locked};
use crate::shown;

pub(super) fn rollback(options: &RollbackArgs) -> Result<ExitCode, Failure> {
    let sysroot = wire::sysroot(&options.sysroot)?;
    let results = &options.state.results;
    let journals = list(&results.join("journal"))
        .map_err(|error| Failure::because("rollback::journals", &error))?;
    let unusable: Vec<Diagnostic> = journals.iter().filter_map(unusable).collect();
    let chosen = choose(journals, options.run.as_deref())?;
    let mut out = std::io::stdout().lock();
    if options.print {
        for journal in &chosen {
            let text = script(&journal.path)
                .map_err(|error| Failure::because("rollback::journal", &error))?;
            out.write_all(text.as_bytes())?;
        }
        return Ok(ExitCode::Success);
    }
    if !unusable.is_empty() && options.run.is_none() {
        return Err(Failure { code: ExitCode::Failed, diagnostics: unusable });
    }
    if chosen.is_empty() {
        writeln!(out, "there is nothing to take back in {}", results.display())?;
        return Ok(ExitCode::Success);
    }
    let lock = LockFile::try_lock(
        &results.join("lock"),
        &format!("rollback, process {}", std::process::id()),
    );
    let _lock = match lock.map_err(|error| Failure::because("rollback::lock", &error))? {
        Locked::Ours(lock) => lock,
        Locked::Held(by) => {
            let found =
                Diagnostic::error("rollback::locked", format!("another run is at work: {by}"));
            return Err(Failure::from(found.help("wait for it to end")).exit(ExitCode::Locked));
        }
    };
    let mut complete = true;
    for journal in chosen {
        let report = match take_back(&sysroot, &journal.path, Options { force: options.force }) {
            Ok(report) => report,
            // Runs on other trees may keep their journals in the same place; they are not asked for here.
            Err(error @ RollbackError::OtherRoot { .. }) if options.run.is_none() => {
                writeln!(
                    out,
                    "{}  left alone: {}",
                    journal.run,
                    shown::in_line(&error.to_string())
                )?;
                continue;
            }
            Err(error) => return Err(Failure::because("rollback::failed", &error)),
        };
        complete &= report.is_complete();
        for one in &report.changes {
            let target = one.change.target.path();
            let done = told(&one.result, &one.change.from, &report.run);
            writeln!(out, "{}  {}: {}", report.run, shown::in_line(target), shown::in_line(&done))?;
        }
        for note in &report.notes {
            writeln!(out, "{}  {}", report.run, shown::in_line(note))?;
        }
    }
    Ok(if complete { ExitCode::Success } else { ExitCode::Failed })
}

/// Why nobody can tell what a run has changed, if so.
fn unusable(journal: &JournalSummary) -> Option<Diagnostic> {
    let JournalState::Unreadable { reason } = &journal.state else { return None };
    let told = format!("nobody can tell what run {} changed: {reason}", journal.run);
    let help = format!(
        "look at {}; when you are sure of the host, move it away, or name the runs to take back one by one",
        journal.path.display()
    );
    Some(Diagnostic::error("rollback::unusable", told).help(help))
}

/// The journals to take back, the latest first: that of one run, or all with something in place.
fn choose(
    journals: Vec<JournalSummary>,
    run: Option<&str>,
) -> Result<Vec<JournalSummary>, Failure> {
    let Some(run) = run else {
        let due =
            |state: &JournalState| matches!(state, JournalState::Kept | JournalState::Unfinished);
        return Ok(journals.into_iter().filter(|journal| due(&journal.state)).collect());
    };
    let known: Vec<String> = journals.iter().map(|journal| journal.run.clone()).collect();
    let of_run: Vec<JournalSummary> =
        journals.into_iter().filter(|journal| journal.run == run).collect();
    if of_run.is_empty() {
        let found =
            Diagnostic::error("rollback::run", format!("run {run} has changed nothing here"));
        let help = if known.is_empty() {
            "no run has changed anything".to_owned()
        } else {
            crate::diagnostic::one_of(known.iter().map(String::as_str))
        };
        return Err(Failure::from(found.help(help)).exit(ExitCode::Invalid));
    }
    Ok(of_run)
}

fn told(result: &TakenBack, from: &str, run: &str) -> String {
    match result {
        TakenBack::Restored { read_back } => format!("taken back to {read_back}"),
        TakenBack::AlreadyBack { found } => format!("already back at {found}"),
        TakenBack::Left { found } => {
            format!(
                "left alone: it was set to {found} since; `trueup rollback --force {run}` takes it back to {from}"
            )
        }
        TakenBack::Moot => "the host was booted since, which took it back".to_owned(),
        TakenBack::Failed { reason } => format!("could not be taken back: {reason}"),
    }
}
