//! Taking a whole run back from its journal, after a kill at any instant or later on demand.
//!
//! In reverse order, verified, and idempotent: what was done is recorded, and what was done without being
//! recorded is found done. Only what is still ours is taken back; what another boot took back is moot; what a newer run
//! has set since stays, and that run is handed the former value. Which run is to be taken back, and when, is not
//! known here.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::apply::Reverted;
use super::chain::Chain;
use super::host::{ThisHost, root_name};
use super::journal::{self, Entry, Integrity, Journal, JournalError, Opened, Record, Writer};
use super::model::Target;
use super::reboot::Reboot;
use super::take_back::{Foreign, TakenBack, Taker};
use crate::database::server::Logins;
use crate::disk::{self, DiskError};
use crate::host::{Sysroot, facts};

/// How a rollback is to be done, and what the journal is told of it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether values that somebody else has set since are overwritten too.
    pub force: bool,
    /// Which changes of a run are taken back.
    pub scope: Scope,
    /// The folder of the journals of the host, where the journal at hand is a copy from there: nothing is written to it,
    /// since it may be the last one.
    pub copied_from: Option<PathBuf>,
    /// When it began.
    pub at: Timestamp,
    /// What began it: a command, or a run.
    pub by: String,
    /// How servers are reached of which settings are taken back.
    pub logins: Logins,
}

/// Which changes of a run are taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those of these phases.
    Phases(Vec<String>),
    /// Those of a run, or of a rollback of some phases, that was cut off: what is kept stays.
    Due,
}

impl Options {
    /// A rollback of all changes that are as they were left.
    #[must_use]
    pub fn new(at: Timestamp, by: impl Into<String>) -> Self {
        let logins = Logins::default();
        Self { force: false, scope: Scope::All, copied_from: None, at, by: by.into(), logins }
    }

    /// Whether a change may be taken back: it is asked for, and as it was left or to be taken back again.
    pub(super) fn takes(&self, journal: &Journal, entry: &Entry, again: bool) -> bool {
        let asked_for = match &self.scope {
            Scope::All => true,
            Scope::Phases(phases) => phases.contains(&entry.change.phase),
            Scope::Due => journal.is_due(entry),
        };
        asked_for && if again { entry.may_be_taken_back() } else { entry.is_open() }
    }

    /// The phases whose changes alone are taken back; none where it is all of them.
    fn only<'a>(&'a self, journal: &'a Journal) -> &'a [String] {
        match &self.scope {
            Scope::All => &[],
            Scope::Phases(phases) => phases,
            Scope::Due => journal.partly.as_deref().unwrap_or(&[]),
        }
    }

    /// The newer runs that may stand on that of the journal at `path`; not those of the journals in `but`.
    pub(super) fn newer(
        &self,
        path: &Path,
        opened: &Opened,
        but: &[&Path],
    ) -> Result<Chain, RollbackError> {
        let now = facts::boot(&Sysroot::at(PathBuf::from(&opened.root)));
        let chain = match &self.copied_from {
            Some(dir) => Chain::above_copy(dir, opened, now.as_deref()),
            None => Chain::above(path, opened, but, now.as_deref()),
        };
        chain.map_err(|source| RollbackError::Newer { run: opened.run.clone(), source })
    }
}

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackReport {
    /// The run.
    pub run: String,
    /// The changes that were looked at, the latest first, with what became of each.
    pub changes: Vec<Reverted>,
    /// What else a person should know, such as damage of the journal.
    pub notes: Vec<String>,
    /// True when the journal was damaged, so that changes may be in place which nobody knows of any more.
    pub damaged: bool,
}

impl RollbackReport {
    /// True when nothing of the run is left that should have been taken back, as far as anybody can know.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.damaged && self.nothing_failed()
    }

    /// How many values are not back, because they are no longer as the run left them.
    #[must_use]
    pub fn left(&self) -> usize {
        let left =
            |one: &&Reverted| matches!(one.result, TakenBack::Left { .. } | TakenBack::Gone { .. });
        self.changes.iter().filter(left).count()
    }

    /// True when another try would find nothing to do.
    fn nothing_failed(&self) -> bool {
        !self.changes.iter().any(|change| matches!(change.result, TakenBack::Failed { .. }))
    }
}

/// A rollback that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The journal can't be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The run was on another host, or below another sysroot.
    #[error(
        "run {run} changed the host below {root}, and this is {here}; name it with --sysroot {root}"
    )]
    OtherRoot {
        /// The run.
        run: String,
        /// Where it made its changes.
        root: String,
        /// Where they were to be taken back.
        here: String,
    },
    /// Nobody can tell whether a newer run has set the same; nothing was done.
    #[error("could not look for newer runs than {run}")]
    Newer {
        /// The run.
        run: String,
        /// What the disk said.
        #[source]
        source: DiskError,
    },
    /// What was done could not be recorded; it was done nevertheless.
    #[error("could not record the rollback of run {run}, of which {done} changes were looked at")]
    Record {
        /// The run.
        run: String,
        /// How many changes were looked at.
        done: usize,
        /// What the disk said.
        #[source]
        source: DiskError,
    },
}

/// Takes the run of the journal at `path` back on the host below `root`.
///
/// # Errors
/// When the journal can't be used, or what was done can't be recorded.
pub fn rollback(
    root: &Sysroot,
    path: &Path,
    options: &Options,
) -> Result<RollbackReport, RollbackError> {
    let journal = journal::read(path)?;
    let run = match &journal.opened {
        Some(opened) => opened.run.clone(),
        None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let mut report =
        RollbackReport { run: run.clone(), changes: Vec::new(), notes: Vec::new(), damaged: false };
    let record = |source, done: usize, run: &str| RollbackError::Record {
        run: run.to_owned(),
        done,
        source,
    };
    let Some(opened) = &journal.opened else {
        let unopened = unopened(path, options, &mut report);
        return unopened.map(|()| report).map_err(|source| record(source, 0, &run));
    };
    let here = root_name(root);
    if opened.root != here {
        return Err(RollbackError::OtherRoot { run, root: opened.root.clone(), here });
    }
    let host = ThisHost::below(root.clone(), options.logins.clone());
    let plan = Plan::of(&journal, facts::boot(root).as_deref(), options);
    let is_asked_for_less = matches!(options.scope, Scope::Phases(_));
    if plan.entries.is_empty()
        && (journal.closed || is_asked_for_less)
        && journal.integrity == Integrity::Whole
    {
        return Ok(report);
    }
    if options.copied_from.is_some() {
        report.notes.push(format!("nothing is recorded in {}, which is a copy", path.display()));
        if !journal.closed {
            report.damaged = true;
            report.notes.push("it has no end: what the run did after it is not known".to_owned());
        }
    }
    let reboot = plan.rebooted.then(|| Reboot::after(&journal.entries));
    let gone = |target: &Target| reboot.as_ref().is_some_and(|reboot| reboot.takes_back(target));
    let in_place = |entry: &&Entry| !gone(&entry.change.target);
    let newer = if plan.entries.iter().any(in_place) {
        options.newer(path, opened, &[])?
    } else {
        Chain::default()
    };
    let mut taker =
        Taker::new(&host, reboot, plan.foreign).among(&journal.entries).below(&run, newer);
    if plan.rebooted {
        report
            .notes
            .push("the host was booted since: what is not kept on a disk is moot".to_owned());
    }
    let done = match journal.integrity {
        Integrity::Corrupt { line } => {
            report.damaged = true;
            report.notes.push(format!(
                "line {line} of {} is damaged: changes after it are not known",
                path.display()
            ));
            report.changes.extend(plan.entries.iter().map(|entry| {
                let result = taker.take_back(entry);
                Reverted { change: entry.change.clone(), result }
            }));
            if plan.rest_is_due { Ok(()) } else { set_aside(path, options, &mut report) }
        }
        Integrity::Whole | Integrity::TornEnd => {
            let resumed = Record::Resumed {
                at: Some(options.at),
                by: Some(options.by.clone()),
                phases: options.only(&journal).to_owned(),
            };
            let is_ours = options.copied_from.is_none();
            recorded(is_ours.then_some((path, resumed)), &plan, &mut taker, &mut report)
        }
    };
    report.notes.extend(taker.notes());
    done.map_err(|source| record(source, report.changes.len(), &report.run))?;
    Ok(report)
}

/// A journal without its first record. Torn there, nothing had been changed yet; anything else was a journal once.
fn unopened(path: &Path, options: &Options, report: &mut RollbackReport) -> Result<(), DiskError> {
    const BEGINNING: &[u8] = b"{\"record\":\"opened\",";
    let content = disk::read_bounded(path, u64::from(u16::MAX))?;
    let common = content.len().min(BEGINNING.len());
    let torn =
        content[..common] == BEGINNING[..common] && !content.trim_ascii_end().contains(&b'\n');
    // That is only true of what the run itself has written, and not of a copy.
    if torn && options.copied_from.is_none() {
        report
            .notes
            .push("the journal was torn before its first record: nothing was changed".to_owned());
        return disk::remove(path).map(drop);
    }
    report.damaged = true;
    report.notes.push(format!(
        "{} is damaged from its first line on: what it changed is not known",
        path.display()
    ));
    set_aside(path, options, report)
}

/// What is to be looked at, the latest first.
struct Plan<'a> {
    entries: Vec<&'a Entry>,
    rebooted: bool,
    foreign: Foreign,
    /// Whether something is to be taken back that is not looked at.
    rest_is_due: bool,
}

impl<'a> Plan<'a> {
    fn of(journal: &'a Journal, boot: Option<&str>, options: &Options) -> Self {
        let then = journal.opened.as_ref().and_then(|opened| opened.boot_id.as_deref());
        let rebooted = facts::is_other_boot(then, boot);
        let again = options.force || rebooted;
        let (entries, rest): (Vec<&Entry>, Vec<&Entry>) =
            journal.entries.iter().rev().partition(|entry| options.takes(journal, entry, again));
        // Of a damaged journal, what is left over would be lost with its name.
        let is_damaged = matches!(journal.integrity, Integrity::Corrupt { .. });
        let due = |entry: &&Entry| entry.is_open() && (is_damaged || journal.is_due(entry));
        Self {
            rest_is_due: rest.iter().any(due),
            entries,
            rebooted,
            foreign: if options.force { Foreign::Overwrite } else { Foreign::Leave },
        }
    }
}

/// Takes back with a record of each, unless of a copy; closes the journal when nothing is left to do.
fn recorded(
    journal: Option<(&Path, Record)>,
    plan: &Plan<'_>,
    taker: &mut Taker<'_>,
    report: &mut RollbackReport,
) -> Result<(), DiskError> {
    let mut writer = match journal {
        Some((path, resumed)) => {
            let mut writer = Writer::open(path)?;
            writer.append(&[resumed])?;
            Some(writer)
        }
        None => None,
    };
    // A disk that is full must not stop the host from being restored.
    let mut trouble = None;
    for entry in &plan.entries {
        let result = taker.take_back(entry);
        if let (Some(writer), Some(record), None) = (&mut writer, result.record(entry.n), &trouble)
        {
            trouble = writer.append(&[record]).err();
        }
        report.changes.push(Reverted { change: entry.change.clone(), result });
    }
    if let Some(error) = trouble {
        return Err(error);
    }
    let Some(mut writer) = writer else { return Ok(()) };
    if report.nothing_failed() && !plan.rest_is_due {
        writer.append(&[Record::Closed {}])?;
    }
    writer.sync()
}

/// A damaged journal that was worked off is renamed, so that no later rollback takes it for a new one.
fn set_aside(path: &Path, options: &Options, report: &mut RollbackReport) -> Result<(), DiskError> {
    if !report.nothing_failed() || options.copied_from.is_some() {
        return Ok(());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".corrupt");
    let aside = PathBuf::from(name);
    disk::rename(path, &aside)?;
    report.notes.push(format!("the damaged journal is now {}", aside.display()));
    Ok(())
}
