//! The runs of a results folder, and how a person names one: whole, by its beginning, or counted from the last.
//!
//! A folder counts as a run when it has something of one in it: a record that was begun, or a report. Which run came
//! after which is told by `order`, to which each adds its name when it begins, a line each; a clock that was wrong for
//! once does not make a run the last one for ever. Runs that are not in there come before all others, by their names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError};
use crate::event::{NameError, RunId};

/// Most runs that are named in an error.
const NAMED: usize = 5;

/// Why a run could not be found.
#[derive(Debug, thiserror::Error)]
pub enum RunNameError {
    /// The folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A text that names no run, whichever runs there are.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is none at all.
    #[error("there is no run in {}", .0.display())]
    None(PathBuf),
    /// `last~N` with less than that.
    #[error("there is no `{name}`: {} has {count} runs", folder.display())]
    Few {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// No run begins so.
    #[error("there is no run `{name}` in {}", folder.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// More than one run begins so.
    #[error("`{name}` may be any of {count} runs: {}", some.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// How many begin so.
        count: usize,
        /// The latest of them.
        some: Vec<String>,
    },
}

/// Largest file of the order that is read.
const ORDER_LIMIT: u64 = 256 << 20;

/// The runs that are recorded below `results_dir`, in the order in which they began.
///
/// # Errors
/// When the folder can't be listed.
pub fn recorded(results_dir: &Path) -> Result<Vec<RunId>, DiskError> {
    let folder = results_dir.join("runs");
    let names = disk::list(&folder)?;
    let runs = names.iter().filter_map(|name| name.parse::<RunId>().ok());
    let mut runs: Vec<RunId> = runs.filter(|run| is_run(&folder.join(run.as_str()))).collect();
    let order = match disk::read_text(&results_dir.join("order"), ORDER_LIMIT) {
        Ok(order) => order,
        Err(error) if error.is_not_found() => String::new(),
        Err(error) => return Err(error),
    };
    let places: HashMap<&str, usize> =
        order.lines().enumerate().map(|(place, run)| (run, place)).collect();
    // The names are sorted already, and what is not in the order stays so.
    runs.sort_by_key(|run| places.get(run.as_str()));
    Ok(runs)
}

/// True when a run has left something in its folder.
fn is_run(folder: &Path) -> bool {
    ["events.jsonl", "report.json"]
        .iter()
        .any(|name| folder.join(name).metadata().is_ok_and(|file| file.is_file() && file.len() > 0))
}

/// The run that is meant by `name`: its name or a beginning of it that no other run shares; `last`, or `last~N` for the
/// one that is N runs before the last.
///
/// # Errors
/// When there is none such, or more than one.
pub fn find(results_dir: &Path, name: &str) -> Result<RunId, RunNameError> {
    let mut runs = recorded(results_dir)?;
    let folder = || results_dir.join("runs");
    let count = runs.len();
    if let Some(back) = from_the_last(name) {
        if runs.is_empty() {
            return Err(RunNameError::None(results_dir.to_owned()));
        }
        let at = back.checked_add(1).and_then(|back| count.checked_sub(back));
        let few = RunNameError::Few { name: name.to_owned(), folder: folder(), count };
        return at.map(|at| runs.swap_remove(at)).ok_or(few);
    }
    let wanted: RunId = name.parse()?;
    if runs.contains(&wanted) {
        return Ok(wanted);
    }
    runs.retain(|run| run.as_str().starts_with(name));
    match runs.len() {
        0 => Err(RunNameError::Unknown { name: name.to_owned(), folder: folder() }),
        1 => Ok(runs.swap_remove(0)),
        count => {
            let some = runs.iter().rev().take(NAMED).map(ToString::to_string).collect();
            Err(RunNameError::Ambiguous { name: name.to_owned(), count, some })
        }
    }
}

/// How many runs before the last, more than there are when that is not a number; none for a name of another form.
fn from_the_last(name: &str) -> Option<usize> {
    match name.strip_prefix("last")? {
        "" => Some(0),
        rest => Some(rest.strip_prefix('~')?.parse().unwrap_or(usize::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: [&str; 3] =
        ["20261122T101010Z-0a000111", "20261123T101010Z-0b000222", "20261123T202020Z-0c000333"];

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for run in RUNS {
            let record = dir.path().join("runs").join(run).join("events.jsonl");
            disk::replace(&record, b"{}\n").unwrap();
        }
        dir
    }

    #[test]
    fn a_run_is_found_by_its_name_by_a_beginning_and_from_the_last() {
        let dir = folder();
        for (name, wanted) in [
            (RUNS[1], 1),
            ("20261122", 0),
            ("20261123T2", 2),
            ("last", 2),
            ("last~0", 2),
            ("last~2", 0),
        ] {
            assert_eq!(find(dir.path(), name).unwrap().as_str(), RUNS[wanted], "{name}");
        }
    }

    #[test]
    fn the_last_run_is_the_one_that_began_last_whatever_the_clock_said_and_junk_is_none() {
        let dir = folder();
        let runs = dir.path().join("runs");
        disk::create_dir_all(&runs.join("zzz")).unwrap();
        disk::replace(&runs.join("zz"), b"a file").unwrap();
        disk::replace(&runs.join("99991231T000000Z-0a000111/events.jsonl"), b"").unwrap();
        assert_eq!(find(dir.path(), "last").unwrap().as_str(), RUNS[2]);
        let order = format!("{}\n{}\n", RUNS[2], RUNS[1]);
        disk::replace(&dir.path().join("order"), order.as_bytes()).unwrap();
        let names = ["last", "last~1", "last~2"];
        let found = names.map(|name| find(dir.path(), name).unwrap().to_string());
        assert_eq!(found, [RUNS[1], RUNS[2], RUNS[0]]);
        assert!(find(dir.path(), "last~3").is_err());
    }

    #[test]
    fn a_name_of_none_or_of_several_is_refused_with_what_there_is() {
        let dir = folder();
        for (name, told) in [
            ("20261123", "may be any of 2 runs: 20261123T202020Z-0c000333, 20261123T101010Z-"),
            ("2025", "there is no run `2025` in"),
            ("last~3", "has 3 runs"),
            ("last~x", "there is no `last~x`"),
            ("../secrets", "is not a run"),
        ] {
            let error = find(dir.path(), name).unwrap_err().to_string();
            assert!(error.contains(told), "{name}: {error}");
        }
        let none = find(&dir.path().join("elsewhere"), "last").unwrap_err();
        assert!(matches!(none, RunNameError::None(_)), "{none}");
    }
}
