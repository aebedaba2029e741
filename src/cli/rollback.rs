//! `trueup rollback`.

use std::io::{StdoutLock, Write as _};
use std::path::Path;

use super::args::RollbackArgs;
use super::exit::{ExitCode, Failure};
use super::wire;
use crate::change::{
    JournalState, JournalSummary, Options, Reverted, RollbackError, RollbackReport, TakenBack,
    list, rollback as take_back, script,
};
use crate::clock::Clock;
use crate::diagnostic::Diagnostic;
use crate::disk::{LockFile, Locked};
use crate::event::{NameError, RunId};
use crate::host::{Sysroot, facts};
use crate::shown;

pub(super) fn rollback(options: &RollbackArgs) -> Result<ExitCode, Failure> {
    let sysroot = wire::sysroot(&options.sysroot)?;
    let results = &options.state.results;
    let journals = list(&results.join("journal"))
        .map_err(|error| Failure::because("rollback::journals", &error))?;
    let unusable: Vec<Diagnostic> = journals.iter().filter_map(unusable).collect();
    let chosen = choose(&journals, options)?;
    let mut out = std::io::stdout().lock();
    let unknown = || match &unusable[..] {
        [_, ..] if options.run.is_none() => {
            Err(Failure { code: ExitCode::Failed, diagnostics: unusable.clone() })
        }
        _ => Ok(()),
    };
    if options.print {
        let paths: Vec<&Path> = chosen.iter().map(|journal| &*journal.path).collect();
        let text = script(&paths, options.force)
            .map_err(|error| Failure::because("rollback::journal", &error))?;
        out.write_all(text.as_bytes())?;
        return unknown().map(|()| ExitCode::Success);
    }
    unknown()?;
    if chosen.is_empty() {
        writeln!(out, "there is nothing to take back in {}", results.display())?;
        if is_left(&journals, &sysroot) {
            writeln!(
                out,
                "but for what was left alone before, because it was set to other values since:\n\
                 `trueup rollback --force` takes it back as well"
            )?;
        }
        return Ok(ExitCode::Success);
    }
    let lock = LockFile::try_lock_folder(
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
    take_all_back(&sysroot, &chosen, options, &mut out)
}

/// Takes back run by run, tells of each value, and last of what is not back.
fn take_all_back(
    sysroot: &Sysroot,
    chosen: &[&JournalSummary],
    options: &RollbackArgs,
    out: &mut StdoutLock<'_>,
) -> Result<ExitCode, Failure> {
    let by = if options.force { "`trueup rollback --force`" } else { "`trueup rollback`" };
    let how = Options { force: options.force, at: Clock::system().now(), by: by.to_owned() };
    let mut complete = true;
    // Values that are not as they were left, and the last run that has some.
    let (mut left, mut left_by, mut runs_left) = (0, "", 0);
    for journal in chosen {
        let report = match take_back(sysroot, &journal.path, &how) {
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
        tell(&report, out)?;
        complete &= report.is_complete();
        // One that was taken back before is not looked at again, and is still not as it was left.
        let of_run = if report.changes.is_empty() { journal.left } else { report.left() };
        if of_run > 0 {
            (left, left_by, runs_left) = (left + of_run, &*journal.run, runs_left + 1);
        }
    }
    if left > 0 {
        let (values, are, them) =
            if left == 1 { ("value", "is", "it") } else { ("values", "are", "them") };
        let run = if runs_left == 1 { format!(" {left_by}") } else { String::new() };
        writeln!(
            out,
            "{left} {values} {are} not as the run left {them}, and not taken back;\n\
             `trueup rollback --force{run}` takes {them} back as well"
        )?;
    }
    Ok(match (complete, left) {
        (false, _) => ExitCode::Failed,
        (true, 0) => ExitCode::Success,
        (true, _) => ExitCode::Drift,
    })
}

fn tell(report: &RollbackReport, out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    for one in &report.changes {
        let (target, what) = (one.change.target.name(), told(one));
        writeln!(out, "{}  {}", report.run, shown::in_line(&format!("{target}: {what}")))?;
    }
    for note in &report.notes {
        writeln!(out, "{}  {}", report.run, shown::in_line(note))?;
    }
    Ok(())
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

/// Whether earlier rollbacks have left values alone that can still be taken back.
fn is_left(journals: &[JournalSummary], sysroot: &Sysroot) -> bool {
    let boot = facts::boot(sysroot);
    let rebooted = |journal: &JournalSummary| {
        facts::is_other_boot(journal.boot_id.as_deref(), boot.as_deref())
    };
    journals.iter().any(|journal| journal.state == JournalState::Left && !rebooted(journal))
}

/// The journals to take back, the latest first: that of one run, or all with something in place; by force, those with
/// something that was left alone as well.
fn choose<'a>(
    journals: &'a [JournalSummary],
    options: &RollbackArgs,
) -> Result<Vec<&'a JournalSummary>, Failure> {
    let Some(run) = &options.run else {
        let due = |state: &JournalState| match state {
            JournalState::Kept | JournalState::Unfinished => true,
            JournalState::Left => options.force,
            JournalState::RolledBack | JournalState::Unreadable { .. } => false,
        };
        return Ok(journals.iter().filter(|journal| due(&journal.state)).collect());
    };
    of_run(journals, run).map(|journal| vec![journal])
}

/// The journal of a run.
pub(super) fn of_run<'a>(
    journals: &'a [JournalSummary],
    run: &str,
) -> Result<&'a JournalSummary, Failure> {
    let run: RunId = run.parse().map_err(|error: NameError| {
        let failure = Failure::because("rollback::run", &error);
        failure.help("`trueup report list` shows the runs").exit(ExitCode::Invalid)
    })?;
    journals.iter().find(|journal| journal.run == run.as_str()).ok_or_else(|| {
        let found =
            Diagnostic::error("rollback::run", format!("run {run} has changed nothing here"));
        let help = if journals.is_empty() {
            "no run has changed anything".to_owned()
        } else {
            crate::diagnostic::one_of(journals.iter().map(|journal| &*journal.run))
        };
        Failure::from(found.help(help)).exit(ExitCode::Invalid)
    })
}

fn told(one: &Reverted) -> String {
    let shown = |value| one.change.target.shown(value);
    let from = shown(&one.change.from);
    match &one.result {
        TakenBack::Restored { read_back } => format!("taken back to {}", shown(read_back)),
        TakenBack::AlreadyBack { found } => format!("already back at {}", shown(found)),
        TakenBack::Left { found } => {
            format!("left alone: it was set to {} since, and was {from} before", shown(found))
        }
        TakenBack::Gone { reason } => format!("left alone: {reason}"),
        TakenBack::Handed { run } => {
            format!("run {run} has set it since; taking back that run restores {from}")
        }
        TakenBack::Moot => "the host was booted since, which took it back".to_owned(),
        TakenBack::Ended { reason } => format!("nothing to take back: {reason}"),
        TakenBack::Failed { reason } => format!("could not be taken back: {reason}"),
    }
}
