//! What an earlier run left half done is taken back before anything else is done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::change::{
    JournalState, Options, Reverted, RollbackReport, Scope, TakenBack, list, rollback,
};
use crate::clock::Clock;
use crate::database::SealedUrl;
use crate::database::server::Logins;
use crate::disk;
use crate::event::{Event, RecoveredRun, RunId};
use crate::host::Sysroot;
use crate::plan::Plan;
use crate::secret::Secrets;

/// The runs whose changes a run would take back first, and those that are still at work.
#[must_use]
pub fn cut_off(journal_dir: &Path) -> Vec<String> {
    let journals = list(journal_dir).unwrap_or_default().into_iter();
    let unfinished = journals.filter(|journal| matches!(journal.state, JournalState::Unfinished));
    unfinished.map(|journal| journal.run).collect()
}

/// How the phases of a plan reach their servers, as far as that is known before any of them has run: the run that is
/// taken back was most likely one of the same pipeline, and nobody else may know the passwords.
pub(super) fn told_logins(logins: &Logins, plan: &Plan, secrets: &Secrets) -> Logins {
    for position in &plan.order {
        let scope = plan.scope_of(*position, |_| None);
        let Ok(with) = plan.render_with(*position, &scope) else { continue };
        let texts = with.as_object().into_iter().flat_map(Map::values).filter_map(Value::as_str);
        for url in texts.filter_map(|text| text.parse::<SealedUrl>().ok()) {
            if let Ok(url) = url.reveal(secrets) {
                logins.remember(&url);
            }
        }
    }
    logins.clone()
}

/// Takes back the changes of every run that was cut off, before `run` begins, and tells of it. Where there is one,
/// `logins` is asked how servers are reached.
pub(super) fn recover(
    sysroot: &Sysroot,
    journal_dir: &Path,
    (run, clock): (&RunId, &Clock),
    logins: impl FnOnce() -> Logins,
) -> Vec<Event> {
    let note = |text: String| Event::Noted { phase: None, text };
    let journals = match list(journal_dir) {
        Ok(journals) => journals,
        Err(error) => {
            return vec![note(format!("could not look for runs that were cut off: {error}"))];
        }
    };
    let due = journals.iter().any(|journal| matches!(journal.state, JournalState::Unfinished));
    let logins = if due { logins() } else { Logins::default() };
    let by = format!("run {run}");
    let options = Options { scope: Scope::Due, logins, ..Options::new(clock.now(), by) };
    journals
        .into_iter()
        .filter_map(|journal| match &journal.state {
            JournalState::Kept | JournalState::Left | JournalState::RolledBack => None,
            JournalState::Unreadable { reason } => {
                Some(note(format!("nobody can tell what run {} changed: {reason}", journal.run)))
            }
            // Without the lock it can't be told to wait, but it must not lose what it is working with.
            JournalState::Unfinished if disk::is_held(&record_of(journal_dir, &journal.run)) => {
                Some(note(format!("run {} is still at work, and was left alone", journal.run)))
            }
            JournalState::Unfinished => Some(match rollback(sysroot, &journal.path, &options) {
                Ok(report) => recovered(journal.run, &report),
                Err(error) => {
                    note(format!("could not take back what run {} changed: {error}", journal.run))
                }
            }),
        })
        .collect()
}

/// The record of a run, beside the folder of journals.
fn record_of(journal_dir: &Path, run: &str) -> PathBuf {
    journal_dir.with_file_name("runs").join(run).join("events.jsonl")
}

fn recovered(run: String, report: &RollbackReport) -> Event {
    let of_change = |one: &Reverted| (one.change.target.name().into_owned(), told(one));
    let mut changes: BTreeMap<String, String> = report.changes.iter().map(of_change).collect();
    if report.damaged {
        changes.insert("journal".to_owned(), report.notes.join("; "));
    }
    Event::Recovered(RecoveredRun { cut_off: run, changes })
}

fn told(one: &Reverted) -> String {
    let shown = |value| one.change.target.shown(value);
    match &one.result {
        TakenBack::Restored { read_back } => format!("taken back to {}", shown(read_back)),
        TakenBack::AlreadyBack { found } => format!("still at {}", shown(found)),
        TakenBack::Left { found } => {
            format!("left alone, somebody else has set it to {} since", shown(found))
        }
        TakenBack::Gone { reason } => format!("left alone: {reason}"),
        TakenBack::Handed { run } => format!("left to run {run}, which has set it since"),
        TakenBack::Moot => "taken back by a reboot".to_owned(),
        TakenBack::Ended { reason } => format!("nothing to take back: {reason}"),
        TakenBack::Failed { reason } => format!("could not be taken back: {reason}"),
    }
}
