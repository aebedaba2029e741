//! `trueup rollback`.

use std::collections::BTreeSet;
use std::io::{StdoutLock, Write as _};
use std::path::Path;

use super::args::RollbackArgs;
use super::exit::{ExitCode, Failure};
use super::wire;
use crate::change::{
    JournalState, JournalSummary, Options, Reverted, RollbackError, RollbackReport, Scope,
    TakenBack, list, of_file, rollback as take_back, script,
};
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::disk::{LockFile, Locked};
use crate::event::{NameError, RunId};
use crate::host::{Sysroot, facts};
use crate::shown;
use crate::trust;

pub(super) fn rollback(options: &RollbackArgs) -> Result<ExitCode, Failure> {
    let sysroot = wire::sysroot(&options.sysroot)?;
    let results = &options.state.results;
    let folder = results.join("journal");
    let journals = list(&folder).map_err(|error| Failure::because("rollback::journals", &error))?;
    let named = options.journal.as_deref().map(|file| named(file, &journals)).transpose()?;
    let chosen = match &named {
        Some(Named::Own(journal)) => vec![*journal],
        Some(Named::Copy(copy)) => vec![&**copy],
        None => choose(&journals, options)?,
    };
    let chosen = of_phases(chosen, &journals, options)?;
    let how = Options {
        force: options.force,
        scope: match &options.phase[..] {
            [] => Scope::All,
            phases => Scope::Phases(phases.to_owned()),
        },
        copied_from: matches!(named, Some(Named::Copy(_))).then(|| folder.clone()),
        ..Options::new(Clock::system().now(), format!("`{}`", command(options)))
    };
    let mut out = std::io::stdout().lock();
    let unusable: Vec<Diagnostic> = journals.iter().filter_map(unusable).collect();
    let unknown = || match &unusable[..] {
        [_, ..] if is_all(options) => {
            Err(Failure { code: ExitCode::Failed, diagnostics: unusable.clone() })
        }
        _ => Ok(()),
    };
    if options.print {
        let paths: Vec<&Path> = chosen.iter().map(|journal| &*journal.path).collect();
        let text =
            script(&paths, &how).map_err(|error| Failure::because("rollback::journal", &error))?;
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
    // Beside a copy there may be no folder with journals that could be written to, and none is made for it.
    let _lock =
        if how.copied_from.is_some() && !results.is_dir() { None } else { Some(lock(results)?) };
    take_all_back(&sysroot, &chosen, (options, &how), &mut out)
}

/// The lock of the results folder.
fn lock(results: &Path) -> Result<LockFile, Failure> {
    let note = format!("rollback, process {}", std::process::id());
    let lock = LockFile::try_lock_folder(&results.join("lock"), &note);
    match lock.map_err(|error| Failure::because("rollback::lock", &error))? {
        Locked::Ours(lock) => Ok(lock),
        Locked::Held(by) => {
            let found =
                Diagnostic::error("rollback::locked", format!("another run is at work: {by}"));
            Err(Failure::from(found.help("wait for it to end")).exit(ExitCode::Locked))
        }
    }
}

/// The command as it would be typed, but for its folders.
fn command(options: &RollbackArgs) -> String {
    let force = if options.force { " --force" } else { "" };
    format!("trueup rollback{force}{}", narrowed(options))
}

/// The options by which less is taken back.
fn narrowed(options: &RollbackArgs) -> String {
    let mut told = String::new();
    for phase in &options.phase {
        told.extend([" --phase ", phase]);
    }
    if let Some(file) = &options.journal {
        told.extend([" --journal ", &*file.to_string_lossy()]);
    }
    told
}

/// Whether all runs are to be taken back.
fn is_all(options: &RollbackArgs) -> bool {
    options.run.is_none() && options.journal.is_none()
}

/// Takes back run by run, tells of each value, and last of what is not back.
fn take_all_back(
    sysroot: &Sysroot,
    chosen: &[&JournalSummary],
    (options, how): (&RollbackArgs, &Options),
    out: &mut StdoutLock<'_>,
) -> Result<ExitCode, Failure> {
    let mut complete = true;
    // Values that are not as they were left, and the last run that has some.
    let (mut left, mut left_by, mut runs_left) = (0, "", 0);
    for journal in chosen {
        let report = match take_back(sysroot, &journal.path, how) {
            Ok(report) => report,
            // Runs on other trees may keep their journals in the same place; they are not asked for here.
            Err(error @ RollbackError::OtherRoot { .. }) if is_all(options) => {
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
        if report.changes.is_empty() && journal.left == 0 && !is_all(options) {
            writeln!(out, "{}  there is nothing to take back", report.run)?;
        }
        complete &= report.is_complete();
        // One that was taken back before is not looked at again, and is still not as it was left.
        let is_known = report.changes.is_empty() && how.scope == Scope::All;
        let of_run = if is_known { journal.left } else { report.left() };
        if of_run > 0 {
            (left, left_by, runs_left) = (left + of_run, &*journal.run, runs_left + 1);
        }
    }
    if left > 0 {
        let (values, are, them) =
            if left == 1 { ("value", "is", "it") } else { ("values", "are", "them") };
        let run = match runs_left {
            1 if options.journal.is_none() => format!(" {left_by}"),
            _ => String::new(),
        };
        writeln!(
            out,
            "{left} {values} {are} not as the run left {them}, and not taken back;\n\
             `trueup rollback --force{}{run}` takes {them} back as well",
            narrowed(options)
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

/// What `--journal` names.
enum Named<'a> {
    /// A journal of the results folder.
    Own(&'a JournalSummary),
    /// A copy of one from somewhere.
    Copy(Box<JournalSummary>),
}

/// The journal in a file. A copy is taken only where the results folder has no use for it itself.
fn named<'a>(file: &Path, journals: &'a [JournalSummary]) -> Result<Named<'a>, Failure> {
    let same = |other: &&JournalSummary| {
        let (one, other) = (file.canonicalize(), other.path.canonicalize());
        matches!((one, other), (Ok(one), Ok(other)) if one == other)
    };
    if let Some(own) = journals.iter().find(same) {
        return Ok(Named::Own(own));
    }
    if let Some(doubt) = trust::doubt(file) {
        let told = format!("others than root could have written {}: {doubt}", file.display());
        let found = Diagnostic::error("rollback::journal", told)
            .help("check what it says, then copy it to a folder and a file of root's own");
        return Err(Failure::from(found).exit(ExitCode::Invalid));
    }
    let copy = of_file(file);
    if let JournalState::Unreadable { reason } = &copy.state {
        let found = Diagnostic::error("rollback::journal", reason.clone())
            .help("--journal takes a journal of a run: results/journal/RUN.jsonl, or a copy of it");
        return Err(Failure::from(found).exit(ExitCode::Invalid));
    }
    let is_whole = |other: &&JournalSummary| {
        !other.damaged && !matches!(other.state, JournalState::Unreadable { .. })
    };
    match journals.iter().filter(is_whole).find(|other| other.run == copy.run) {
        Some(own) => {
            let told = format!(
                "{} is a copy of the journal of run {}, which is here",
                file.display(),
                own.run
            );
            let help = format!("take that run back: `trueup rollback {}`", own.run);
            let found = Diagnostic::error("rollback::journal", told).help(help);
            Err(Failure::from(found).exit(ExitCode::Invalid))
        }
        None => Ok(Named::Copy(Box::new(copy))),
    }
}

/// Of these journals those of the phases that are asked for, which some run must have had.
fn of_phases<'a>(
    chosen: Vec<&'a JournalSummary>,
    journals: &[JournalSummary],
    options: &RollbackArgs,
) -> Result<Vec<&'a JournalSummary>, Failure> {
    if options.phase.is_empty() {
        return Ok(chosen);
    }
    let all: Vec<&JournalSummary> =
        if is_all(options) { journals.iter().collect() } else { chosen.clone() };
    let known = || all.iter().flat_map(|journal| &journal.phases).map(String::as_str);
    for phase in &options.phase {
        if known().all(|other| other != phase) && !all.is_empty() {
            let told = format!("no change was made by a phase `{phase}`");
            let names: BTreeSet<&str> = known().collect();
            let found =
                Diagnostic::error("rollback::phase", told).maybe_help(did_you_mean(phase, names));
            return Err(Failure::from(found).exit(ExitCode::Invalid));
        }
    }
    let asked = |journal: &&JournalSummary| {
        options.phase.iter().any(|phase| journal.phases.contains(phase))
    };
    Ok(chosen.into_iter().filter(asked).collect())
}

/// The journal of a run, which the beginning of its name is enough to tell.
pub(super) fn of_run<'a>(
    journals: &'a [JournalSummary],
    run: &str,
) -> Result<&'a JournalSummary, Failure> {
    let run: RunId = run.parse().map_err(|error: NameError| {
        let failure = Failure::because("rollback::run", &error);
        failure.help("`trueup report list` shows the runs").exit(ExitCode::Invalid)
    })?;
    let begin_so = || journals.iter().filter(|journal| journal.run.starts_with(run.as_str()));
    let whole = journals.iter().find(|journal| journal.run == run.as_str());
    let only = || begin_so().next().filter(|_| begin_so().count() == 1);
    whole.or_else(only).ok_or_else(|| {
        let several = begin_so().count() > 1;
        let message = if several {
            format!("several runs that have changed something begin with `{run}`")
        } else {
            format!("no run `{run}` has changed anything here")
        };
        let found = Diagnostic::error("rollback::run", message);
        let help = if journals.is_empty() {
            "no run has changed anything".to_owned()
        } else if several {
            crate::diagnostic::one_of(begin_so().map(|journal| &*journal.run))
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
