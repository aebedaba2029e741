//! Attributes of processes that run already: set on every thread, read back from each.
//!
//! Affinity, niceness and I/O priority are each thread's own. So they are set thread by thread, and the threads are
//! listed again until none is left that has another value: one that began meanwhile has what the thread had that began
//! it. Threads that differ before anything was set are a choice of their program, which is not overridden, as their
//! former values could not be given back once some of them have ended. The number of a thread could be another process's
//! in the instant between two calls of the kernel, which has no call that knows the difference; whether the process is
//! still the same is asked right before. Knows nothing of journals: whoever writes has written the intent.

use std::collections::BTreeSet;
use std::io;

use nix::sched::{CpuSet, sched_setaffinity};
use rustix::io::Errno;
use rustix::process::{Pid, Resource as Limited, Rlimit, prlimit, setpriority_process};

use super::host::WriteError;
use super::setting_file::put;
use crate::fault;
use crate::host::attributes::attribute::{
    ALL_CPUS, Attribute, IoPriority, Limits, Resource, differ,
};
use crate::host::attributes::io_priority::for_threads;
use crate::host::attributes::living::{Living, NotFound};
use crate::host::attributes::right;
use crate::host::setting::Observed;
use crate::host::{Sysroot, cpu_list};

/// How often threads are listed again. Each time fewer can be left: what begins after its starter was set has the value.
const ROUNDS: u32 = 100;

/// The attributes of the processes of this host.
#[derive(Debug)]
pub(super) struct ProcessAttributes {
    root: Sysroot,
}

type Told<T> = Result<T, String>;

impl ProcessAttributes {
    pub(super) fn below(root: Sysroot) -> Self {
        Self { root }
    }

    pub(super) fn observe(&self, process: &Living, attribute: Attribute) -> Observed {
        process.observe(&self.root, attribute)
    }

    /// Why `value` can't be set, or could not be taken back.
    pub(super) fn obstacle(
        &self,
        process: &Living,
        attribute: Attribute,
        value: &str,
    ) -> Option<String> {
        if !self.root.is_live() {
            return Some(NO_PROCESSES.to_owned());
        }
        let from = match self.observe(process, attribute) {
            Observed::Value(from) => from,
            Observed::Absent(reason) | Observed::Unreadable(reason) => return Some(reason),
        };
        if differ(&from) {
            return Some(threads_differ(attribute, &from));
        }
        match right::obstacle(&self.root, process, attribute, (&from, value)) {
            Ok(obstacle) => obstacle,
            Err(NotFound::Ended(reason) | NotFound::Unreadable(reason)) => Some(reason),
        }
    }

    pub(super) fn write(
        &self,
        process: &Living,
        attribute: Attribute,
        value: &str,
    ) -> Result<(), WriteError> {
        self.set(process, attribute, value).map_err(|reason| WriteError::Attribute {
            attribute,
            pid: process.pid,
            value: value.to_owned(),
            reason,
        })
    }

    fn set(&self, process: &Living, attribute: Attribute, value: &str) -> Told<()> {
        if !self.root.is_live() {
            return Err(NO_PROCESSES.to_owned());
        }
        let value = attribute.canonical(value).ok_or("it is no value of this attribute")?;
        self.still(process)?;
        match attribute {
            Attribute::Limit(resource) => set_limits(process.pid, resource, &value),
            Attribute::OomScoreAdj => self.set_oom_score_adj(process.pid, &value),
            Attribute::Cpus | Attribute::Nice | Attribute::Io => {
                self.set_threads(process, attribute, &value)
            }
        }
    }

    fn still(&self, process: &Living) -> Told<()> {
        process.is_there(&self.root).map_err(told)
    }

    fn set_threads(&self, process: &Living, attribute: Attribute, value: &str) -> Told<()> {
        let mut set = BTreeSet::new();
        for _ in 0..ROUNDS {
            let found = process.of_threads(&self.root, attribute).map_err(told)?;
            let left =
                found.into_iter().filter(|(thread, now)| now != value && !set.contains(thread));
            let left: Vec<u32> = left.map(|(thread, _)| thread).collect();
            if left.is_empty() {
                break;
            }
            self.still(process)?;
            if attribute == Attribute::Io {
                fault::pass().map_err(words)?;
                set_io(&left, value)?;
                set.extend(left);
                continue;
            }
            for thread in left {
                self.still(process)?;
                fault::pass().map_err(words)?;
                match set_thread(thread, attribute, value) {
                    Ok(()) | Err(Errno::SRCH) => drop(set.insert(thread)),
                    Err(errno) => return Err(words(errno.into())),
                }
            }
        }
        fault::pass().map_err(words)
    }

    fn set_oom_score_adj(&self, pid: u32, value: &str) -> Told<()> {
        let write = || -> io::Result<()> {
            let place = self
                .root
                .path(&format!("/proc/{pid}/oom_score_adj"))
                .map_err(|error| io::Error::other(error.to_string()))?;
            put(&place, value)
        };
        write().map_err(words)
    }
}

const NO_PROCESSES: &str = "a tree of files has no processes; leave out --sysroot";

/// What is told of threads that differ.
pub(super) fn threads_differ(attribute: Attribute, found: &str) -> String {
    format!(
        "its threads have different values of {attribute} ({found}): its program sets them by itself, \
         and is not overridden"
    )
}

fn set_thread(thread: u32, attribute: Attribute, value: &str) -> Result<(), Errno> {
    let raw = i32::try_from(thread).map_err(|_| Errno::SRCH)?;
    if attribute == Attribute::Nice {
        let nice: i32 = value.parse().map_err(|_| Errno::INVAL)?;
        return setpriority_process(Some(Pid::from_raw(raw).ok_or(Errno::SRCH)?), nice);
    }
    let wanted = match value {
        // The kernel takes those of them that there are.
        ALL_CPUS => (0..CpuSet::count()).collect(),
        list => cpu_list::parse(list).ok_or(Errno::INVAL)?,
    };
    let mut cpus = CpuSet::new();
    for cpu in wanted {
        cpus.set(cpu).map_err(|_| Errno::INVAL)?;
    }
    sched_setaffinity(nix::unistd::Pid::from_raw(raw), &cpus)
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

fn set_io(threads: &[u32], value: &str) -> Told<()> {
    let priority = IoPriority::parse(value).ok_or("it is no I/O priority")?;
    let (class, level) = priority.numbers();
    let mut options = vec!["-c".to_owned(), class.to_string()];
    if matches!(priority, IoPriority::BestEffort(_) | IoPriority::Realtime(_)) {
        options.extend(["-n".to_owned(), level.to_string()]);
    }
    for_threads(threads, &options, &mut |_, _| Ok(()))
}

fn set_limits(pid: u32, resource: Resource, value: &str) -> Told<()> {
    let Limits { soft, hard } = Limits::parse(value).ok_or("they are no limits")?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("there is no such process")?;
    let limits = Rlimit { current: soft, maximum: hard };
    fault::pass().map_err(words)?;
    prlimit(Some(pid), limited(resource), limits).map_err(|errno| words(errno.into()))?;
    fault::pass().map_err(words)
}

fn limited(resource: Resource) -> Limited {
    match resource {
        Resource::As => Limited::As,
        Resource::Core => Limited::Core,
        Resource::Cpu => Limited::Cpu,
        Resource::Data => Limited::Data,
        Resource::Fsize => Limited::Fsize,
        Resource::Locks => Limited::Locks,
        Resource::Memlock => Limited::Memlock,
        Resource::Msgqueue => Limited::Msgqueue,
        Resource::Nice => Limited::Nice,
        Resource::Nofile => Limited::Nofile,
        Resource::Nproc => Limited::Nproc,
        Resource::Rss => Limited::Rss,
        Resource::Rtprio => Limited::Rtprio,
        Resource::Rttime => Limited::Rttime,
        Resource::Sigpending => Limited::Sigpending,
        Resource::Stack => Limited::Stack,
    }
}

fn told(error: NotFound) -> String {
    match error {
        NotFound::Ended(reason) | NotFound::Unreadable(reason) => reason,
    }
}

/// What an error of the kernel means for an attribute.
#[expect(clippy::needless_pass_by_value, reason = "it ends here")]
fn words(error: io::Error) -> String {
    let known = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "this user may not; it needs root, or the capability for it (EPERM)"
        }
        Some(Errno::INVAL) => "the kernel does not take this value for it (EINVAL)",
        Some(Errno::SRCH | Errno::NOENT) => "the process has ended (ESRCH)",
        _ => return error.to_string(),
    };
    known.to_owned()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start the processes that they change")]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::change::{
        Applied, Applier, ApplyResult, Change, Options, RollbackReport, TakenBack, Target,
        rollback, script,
    };
    use crate::clock::Clock;
    use crate::host::attributes::living::find;
    use jiff::Timestamp;
    use tempfile::TempDir;

    const OPEN_FILES: Attribute = Attribute::Limit(Resource::Nofile);

    /// A process that does nothing, until the test leaves it.
    struct Sleeper(Child, Living);

    impl Sleeper {
        fn start() -> Self {
            let child = Command::new("sleep").arg("600").spawn().unwrap();
            let process = find(&Sysroot::live(), child.id()).unwrap().process;
            Self(child, process)
        }

        fn value(&self, attribute: Attribute) -> String {
            match self.1.observe(&Sysroot::live(), attribute) {
                Observed::Value(value) => value,
                other => panic!("{other:?}"),
            }
        }

        fn change(&self, attribute: Attribute, to: &str) -> Change {
            Change {
                phase: "p".to_owned(),
                target: Target::Process { process: self.1, attribute },
                from: self.value(attribute),
                to: to.to_owned(),
            }
        }

        /// A change of each attribute that any user may make and take back.
        fn changes(&self) -> Vec<Change> {
            let limits = Limits::parse(&self.value(OPEN_FILES)).unwrap();
            let lower = Limits { soft: Some(64), ..limits }.to_string();
            let mut changes = vec![
                self.change(Attribute::Io, "best_effort 7"),
                self.change(Attribute::OomScoreAdj, "900"),
                self.change(OPEN_FILES, &lower),
            ];
            let me = std::fs::read_to_string("/proc/self/status").unwrap();
            let mine = me.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            let mine = mine.and_then(cpu_list::parse).unwrap();
            if mine.len() > 1 {
                changes.push(self.change(Attribute::Cpus, &mine[0].to_string()));
            }
            changes
        }

        fn all(&self, changes: &[Change]) -> Vec<String> {
            let value = |change: &Change| match change.target {
                Target::Process { attribute, .. } => self.value(attribute),
                _ => unreachable!("there are no others"),
            };
            changes.iter().map(value).collect()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn applier(dir: &TempDir) -> Applier {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        Applier::new(Sysroot::live(), dir.path(), "r1", clock)
    }

    fn options(force: bool) -> Options {
        Options { force, ..Options::new(Timestamp::UNIX_EPOCH, "a test") }
    }

    fn take_back(run: &Applier, force: bool) -> RollbackReport {
        let options = options(force);
        rollback(&Sysroot::live(), run.journal(), &options).unwrap()
    }

    fn refused(made: &Applied) -> String {
        match &made.result {
            ApplyResult::Refused { reason } => reason.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_attribute_is_set_read_back_and_taken_back() {
        let (sleeper, dir) = (Sleeper::start(), tempfile::tempdir().unwrap());
        let changes = sleeper.changes();
        let before = sleeper.all(&changes);
        let run = applier(&dir);
        for made in run.apply(&changes) {
            let applied = [ApplyResult::Match, ApplyResult::Already].contains(&made.result);
            assert!(applied, "{made:?}");
        }
        let wanted: Vec<String> = changes.iter().map(|change| change.to.clone()).collect();
        assert_eq!(sleeper.all(&changes), wanted);
        run.keep().unwrap();
        assert!(take_back(&run, false).is_complete());
        assert_eq!(sleeper.all(&changes), before);
        assert_eq!(take_back(&run, false).changes, []);
    }

    #[test]
    fn a_niceness_is_set_by_who_may_and_refused_with_what_it_needs_to_who_may_not() {
        let (sleeper, dir) = (Sleeper::start(), tempfile::tempdir().unwrap());
        let change = sleeper.change(Attribute::Nice, "-3");
        let run = applier(&dir);
        let made = run.apply(std::slice::from_ref(&change)).remove(0);
        if nix::unistd::geteuid().is_root() {
            assert_eq!(
                (made.result, sleeper.value(Attribute::Nice)),
                (ApplyResult::Match, "-3".to_owned())
            );
            let _ = run.revert("p");
            assert_eq!(sleeper.value(Attribute::Nice), change.from);
        } else {
            assert!(refused(&made).contains("CAP_SYS_NICE"), "{made:?}");
        }
    }

    #[test]
    fn what_a_run_that_was_killed_may_have_set_is_taken_back_or_found_untouched() {
        let (sleeper, dir) = (Sleeper::start(), tempfile::tempdir().unwrap());
        let changes = sleeper.changes();
        let before = sleeper.all(&changes);
        let run = applier(&dir);
        let _ = run.apply(&changes);
        // Its journal has the intents and no more: whether it was set is not known.
        let whole = crate::disk::read_text(run.journal(), 1 << 20).unwrap();
        let intents = whole.split_inclusive('\n').take(1 + changes.len()).collect::<String>();
        for set in [true, false] {
            crate::disk::replace(run.journal(), intents.as_bytes()).unwrap();
            assert_eq!(sleeper.all(&changes) == before, !set);
            assert!(take_back(&run, false).is_complete());
            assert_eq!(sleeper.all(&changes), before);
        }
    }

    #[test]
    fn what_somebody_else_has_set_since_is_left_unless_forced() {
        let (sleeper, dir) = (Sleeper::start(), tempfile::tempdir().unwrap());
        let change = sleeper.change(Attribute::OomScoreAdj, "900");
        let run = applier(&dir);
        let _ = run.apply(std::slice::from_ref(&change));
        let place = format!("/proc/{}/oom_score_adj", sleeper.1.pid);
        std::fs::write(place, "950").unwrap();
        assert_eq!(
            take_back(&run, false).changes[0].result,
            TakenBack::Left { found: "950".to_owned() }
        );
        let forced = take_back(&run, true);
        let restored = TakenBack::Restored { read_back: change.from.clone() };
        assert_eq!(forced.changes[0].result, restored);
    }

    #[test]
    fn a_process_that_has_ended_leaves_nothing_to_be_taken_back() {
        let (mut sleeper, dir) = (Sleeper::start(), tempfile::tempdir().unwrap());
        let changes = sleeper.changes();
        let run = applier(&dir);
        let _ = run.apply(&changes);
        sleeper.0.kill().unwrap();
        sleeper.0.wait().unwrap();
        let text = script(&[run.journal()], &options(false)).unwrap();
        let report = take_back(&run, false);
        let ended = TakenBack::Ended { reason: format!("process {} has ended", sleeper.1.pid) };
        assert!(report.changes.iter().all(|one| one.result == ended), "{report:?}");
        assert!(report.is_complete() && report.left() == 0);
        let output = Command::new("/bin/sh").arg("-c").arg(&text).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let late = applier(&tempfile::tempdir().unwrap()).apply(&changes);
        assert!(refused(&late[0]).contains("has ended"), "{late:?}");
    }

    #[test]
    fn a_process_that_has_the_number_by_now_is_never_touched() {
        let (sleeper, dir) = (Sleeper::start(), tempfile::tempdir().unwrap());
        let mut changes = sleeper.changes();
        let run = applier(&dir);
        let _ = run.apply(&changes);
        let now = sleeper.all(&changes);
        // As if the run had been about a process that had the number before.
        let other = Living { started: sleeper.1.started - 1, ..sleeper.1 };
        let whole = crate::disk::read_text(run.journal(), 1 << 20).unwrap();
        crate::disk::replace(run.journal(), retold(&whole, &sleeper.1, &other).as_bytes()).unwrap();
        let text = script(&[run.journal()], &options(true)).unwrap();
        let output = Command::new("/bin/sh").arg("-c").arg(&text).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report = take_back(&run, true);
        let ended = |one: &TakenBack| matches!(one, TakenBack::Ended { reason } if reason.contains("another's"));
        assert!(report.changes.iter().all(|one| ended(&one.result)), "{report:?}");
        assert_eq!((report.changes.len(), sleeper.all(&changes)), (changes.len(), now));
        for change in &mut changes {
            if let Target::Process { process, .. } = &mut change.target {
                *process = other;
            }
        }
        let again = applier(&tempfile::tempdir().unwrap()).apply(&changes);
        assert!(refused(&again[0]).contains("another's by now"), "{again:?}");
    }

    /// A journal of which each record tells of another process.
    fn retold(journal: &str, one: &Living, other: &Living) -> String {
        let started = |process: &Living| format!("\"started\":{}", process.started);
        let line = |line: &str| {
            let body = line.rsplit_once(",\"sum\"").unwrap().0;
            let body = body.replace(&started(one), &started(other));
            let sum = &blake3::hash(format!("{body}}}").as_bytes()).to_hex()[..16];
            format!("{body},\"sum\":\"{sum}\"}}\n")
        };
        journal.lines().map(line).collect()
    }

    #[test]
    fn the_script_takes_attributes_back_as_a_rollback_would() {
        let (sleeper, dir) = (Sleeper::start(), tempfile::tempdir().unwrap());
        let mut changes = sleeper.changes();
        if nix::unistd::geteuid().is_root() {
            changes.push(sleeper.change(Attribute::Nice, "-3"));
        }
        let before = sleeper.all(&changes);
        let run = applier(&dir);
        let _ = run.apply(&changes);
        run.keep().unwrap();
        let text = script(&[run.journal()], &options(false)).unwrap();
        let sh = || Command::new("/bin/sh").arg("-c").arg(&text).output().unwrap();
        let output = sh();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{text}");
        assert_eq!(sleeper.all(&changes), before);
        assert!(sh().status.success());
        std::fs::write(format!("/proc/{}/oom_score_adj", sleeper.1.pid), "950").unwrap();
        let output = sh();
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        assert_eq!(sleeper.value(Attribute::OomScoreAdj), "950");
    }

    #[test]
    fn a_tree_of_files_has_no_processes_to_be_set() {
        let tree = crate::host::attributes::living::tests::host([0, 0], 99);
        let process = Living { pid: 42, started: 99 };
        let files = ProcessAttributes::below(tree.sysroot());
        let obstacle = files.obstacle(&process, Attribute::Nice, "1").unwrap();
        assert!(obstacle.contains("has no processes"), "{obstacle}");
        assert!(files.write(&process, Attribute::OomScoreAdj, "1").is_err());
        assert_eq!(tree.get("/proc/42/oom_score_adj"), "-17\n");
    }
}
