//! Holds processes to the life of a run, also when that is killed outright and can do nothing more.
//!
//! Every process of a run has a mark in its environment, and so has all that it starts. With the first of them a guard
//! is started: this program once more, which waits for the end of a pipe that the run holds. When the run is gone,
//! however it went, the guard kills what has the mark. That costs one process a run and nothing for each process of it.
//! A parent death signal would have to be asked for between fork and exec, which safe code can't do and which would
//! make each start twice as expensive.
//!
//! ```text
//! TRUEUP_RUN=20261124T001120Z-1a5926@fd01-2c4f       the run, and the folder of results as device and inode
//! ```
//!
//! Not covered: a process that drops or overwrites its environment, one of another user where the guard is not root,
//! and a guard that is killed together with its run; what that leaves behind is ended by the next guard of the same
//! folder.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::process::{Child, ProcessError, ProcessSpec};

/// The variable that holds the mark.
pub const MARK: &str = "TRUEUP_RUN";

/// How often it is looked for what is left.
const LOOKS: u32 = 200;

/// The time from one look to the next, in which what was killed ends.
const BETWEEN: Duration = Duration::from_millis(10);

/// Holds the processes of one run.
#[derive(Debug)]
pub struct Leash {
    program: PathBuf,
    mark: String,
    guard: Mutex<Option<Child>>,
}

impl Leash {
    /// For the run of this name, whose results are kept in `results`; `program` is this program.
    #[must_use]
    pub fn new(program: PathBuf, results: &Path, run: &str) -> Self {
        let (device, inode) = results.metadata().map_or((0, 0), |dir| (dir.dev(), dir.ino()));
        let mark = format!("{run}@{device:x}-{inode:x}");
        Self { program, mark, guard: Mutex::new(None) }
    }

    /// Makes sure of the guard, and answers the variable that a process must have in its environment, and its value.
    ///
    /// # Errors
    /// When the guard can't be started.
    pub fn hold(&self) -> Result<(&'static str, &str), ProcessError> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            let mut spec = ProcessSpec::new(&self.program, ["guard", self.mark.as_str()]);
            // A guard is no process of the run within whose processes this one may itself be.
            spec.env.insert(MARK.to_owned(), String::new());
            *guard = Some(Child::spawn(&spec)?);
        }
        Ok((MARK, &self.mark))
    }
}

/// What has left the groups of the processes that were run to their end, ends here.
impl Drop for Leash {
    fn drop(&mut self) {
        let guard = self.guard.get_mut().unwrap_or_else(PoisonError::into_inner);
        if guard.is_some() {
            // Should this fail, the guard does the same.
            let _ = kill_all(&self.mark, 1);
        }
    }
}

/// Guards the run of this mark: waits until `alive` is at its end, then kills what has the mark. At first it kills
/// what earlier runs of the same folder have left behind: while this one runs, no other can.
///
/// # Errors
/// When `alive` or the list of processes can't be read.
pub fn guard(mark: &str, alive: &mut impl Read) -> io::Result<()> {
    let folder = mark.rfind('@').map_or(mark, |at| &mark[at..]);
    kill_marked(|found| found != mark && found.ends_with(folder))?;
    io::copy(alive, &mut io::sink())?;
    // What was just being started when the run ended shows its mark a moment later.
    kill_all(mark, 3)
}

/// Kills what has the mark, until so many looks in a row have found nothing.
fn kill_all(mark: &str, quiet_looks: u32) -> io::Result<()> {
    let mut quiet = 0;
    for _ in 0..LOOKS {
        quiet = if kill_marked(|found| found == mark)? == 0 { quiet + 1 } else { 0 };
        if quiet == quiet_looks {
            break;
        }
        std::thread::sleep(BETWEEN);
    }
    Ok(())
}

/// Kills every process whose mark is one that is meant, and answers how many those were.
fn kill_marked(meant: impl Fn(&str) -> bool) -> io::Result<usize> {
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        // Before it is looked at: should its number become another's meanwhile, this handle leads to nobody.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        let marked = environment.split(|byte| *byte == 0).any(|variable| {
            let text = std::str::from_utf8(variable).unwrap_or_default();
            text.strip_prefix(MARK).and_then(|rest| rest.strip_prefix('=')).is_some_and(&meant)
        });
        if marked && pidfd_send_signal(&handle, Signal::KILL).is_ok() {
            killed += 1;
        }
    }
    Ok(killed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guard_kills_what_has_the_mark_of_its_run_and_of_earlier_ones_and_nobody_else() {
        let folder = format!("@test-{}", std::process::id());
        let start = |run: &str, folder: &str| {
            let script = "sleep 60 & wait";
            let mut spec = ProcessSpec::new("/bin/sh", ["-c", script]);
            spec.env.insert(MARK.to_owned(), format!("{run}{folder}"));
            Child::spawn(&spec).unwrap()
        };
        let (mut earlier, mut now) = (start("earlier", &folder), start("now", &folder));
        let mut other = start("now", "@elsewhere");
        let mark = format!("now{folder}");
        let guarded = tokio::task::spawn_blocking(move || guard(&mark, &mut io::empty()));
        assert!(!earlier.wait().await.unwrap().success());
        assert!(!now.wait().await.unwrap().success());
        guarded.await.unwrap().unwrap();
        assert_eq!(other.try_wait().unwrap(), None);
    }
}
