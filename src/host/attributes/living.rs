//! A process by its number and the time at which it started, so that another one which has the number later is never
//! taken for it; and what its attributes are.
//!
//! What each thread has of its own is asked of each: the kernel knows no affinity, niceness or I/O priority of a whole
//! process. Threads that end meanwhile are passed over. Nothing is set here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attribute::{Attribute, Limits, Resource, bound, cpus_among, joined};
use super::io_priority;
use crate::host::cpu_list;
use crate::host::setting::Observed;
use crate::host::sysroot::{ReadError, Sysroot};

/// A process.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Living {
    /// Its number.
    pub pid: u32,
    /// When it started, in ticks of the kernel's clock since the boot: field 22 of /proc/PID/stat.
    pub started: u64,
}

/// What else is known of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The process.
    pub process: Living,
    /// The name of its program, at most 15 bytes.
    pub name: String,
    /// Its real and its effective user.
    pub users: (u32, u32),
}

/// Why a process is not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// It has ended, or its number is another's by now.
    Ended(String),
    /// Nobody can tell.
    Unreadable(String),
}

/// What of /proc/PID/stat counts here.
struct Stat {
    name: String,
    state: char,
    nice: String,
    started: u64,
}

/// The process that has this number now.
///
/// # Errors
/// When there is none, or nobody can tell.
pub fn find(root: &Sysroot, pid: u32) -> Result<Described, NotFound> {
    let stat = stat(root, pid, &format!("/proc/{pid}/stat"))?;
    let process = Living { pid, started: stat.started };
    process.not_over(root, &stat)?;
    let users = process.users(root)?;
    Ok(Described { process, name: stat.name, users })
}

impl Living {
    /// Whether it runs.
    ///
    /// # Errors
    /// When it has ended, or nobody can tell.
    pub fn is_there(&self, root: &Sysroot) -> Result<(), NotFound> {
        let pid = self.pid;
        let stat = stat(root, pid, &format!("/proc/{pid}/stat"))?;
        if stat.started != self.started {
            let told = format!("process {pid} has ended, and its number is another's by now");
            return Err(NotFound::Ended(told));
        }
        self.not_over(root, &stat)
    }

    /// A process that nobody has waited for has ended all the same, unless only its first thread has.
    fn not_over(&self, root: &Sysroot, stat: &Stat) -> Result<(), NotFound> {
        let over = matches!(stat.state, 'Z' | 'X' | 'x') && self.threads(root)?.len() < 2;
        if over { Err(NotFound::Ended(ended(self.pid))) } else { Ok(()) }
    }

    /// Its threads, which may be others a moment later.
    ///
    /// # Errors
    /// When it has ended, or nobody can tell.
    pub fn threads(&self, root: &Sysroot) -> Result<Vec<u32>, NotFound> {
        let names = root.list(&format!("/proc/{}/task", self.pid));
        let names = names.map_err(|error| unread(self.pid, &error))?;
        let threads: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        if threads.is_empty() { Err(NotFound::Ended(ended(self.pid))) } else { Ok(threads) }
    }

    /// What it has of an attribute: of one that each thread has for itself all values, see [`Attribute`].
    #[must_use]
    pub fn observe(&self, root: &Sysroot, attribute: Attribute) -> Observed {
        let looked = self.is_there(root).and_then(|()| self.value(root, attribute));
        // Only now it is sure that no other process was looked at.
        match looked.and_then(|value| self.is_there(root).map(|()| value)) {
            Ok(value) => Observed::Value(value),
            Err(NotFound::Ended(reason)) => Observed::Absent(reason),
            Err(NotFound::Unreadable(reason)) => Observed::Unreadable(reason),
        }
    }

    fn value(&self, root: &Sysroot, attribute: Attribute) -> Result<String, NotFound> {
        let pid = self.pid;
        match attribute {
            Attribute::OomScoreAdj => {
                let text = self.read(root, "oom_score_adj")?;
                attribute.canonical(text.trim()).ok_or_else(|| malformed(pid, "oom_score_adj"))
            }
            Attribute::Limit(resource) => {
                let text = self.read(root, "limits")?;
                limits(&text, resource).ok_or_else(|| malformed(pid, resource.title()))
            }
            Attribute::Cpus | Attribute::Nice | Attribute::Io => {
                let values = self.of_threads(root, attribute)?;
                let values = values.into_iter().map(|(_, value)| value).collect();
                joined(values).ok_or_else(|| NotFound::Ended(ended(pid)))
            }
        }
    }

    /// What each thread has of an attribute.
    ///
    /// # Errors
    /// When the process has ended, or nobody can tell.
    pub fn of_threads(
        &self,
        root: &Sysroot,
        attribute: Attribute,
    ) -> Result<Vec<(u32, String)>, NotFound> {
        if attribute == Attribute::Io {
            return self.io_of_threads(root);
        }
        let online = root.read("/sys/devices/system/cpu/online").ok();
        let online = online.and_then(|list| cpu_list::parse(&list)).unwrap_or_default();
        let mut found = Vec::new();
        for thread in self.threads(root)? {
            let folder = format!("/proc/{}/task/{thread}", self.pid);
            let value = if attribute == Attribute::Nice {
                stat(root, self.pid, &format!("{folder}/stat")).map(|stat| stat.nice)
            } else {
                read(root, self.pid, &format!("{folder}/status")).and_then(|text| {
                    let cpus = field(&text, "Cpus_allowed_list").and_then(cpu_list::parse);
                    cpus.map(|cpus| cpus_among(&online, cpus))
                        .ok_or_else(|| malformed(self.pid, "Cpus_allowed_list"))
                })
            };
            match value {
                Ok(value) => found.push((thread, value)),
                Err(NotFound::Ended(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn io_of_threads(&self, root: &Sysroot) -> Result<Vec<(u32, String)>, NotFound> {
        if !root.is_live() {
            let told = "the I/O priority of a process stands in no file; only the kernel tells it";
            return Err(NotFound::Unreadable(told.to_owned()));
        }
        let found = io_priority::of_threads(&self.threads(root)?).map_err(NotFound::Unreadable)?;
        Ok(found.into_iter().map(|(thread, priority)| (thread, priority.to_string())).collect())
    }

    /// Its real and its effective user.
    ///
    /// # Errors
    /// When it has ended, or nobody can tell.
    pub fn users(&self, root: &Sysroot) -> Result<(u32, u32), NotFound> {
        let status = self.read(root, "status")?;
        let users = || {
            let mut ids = field(&status, "Uid")?.split_whitespace();
            Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
        };
        users().ok_or_else(|| malformed(self.pid, "Uid"))
    }

    fn read(&self, root: &Sysroot, file: &str) -> Result<String, NotFound> {
        read(root, self.pid, &format!("/proc/{}/{file}", self.pid))
    }
}

fn ended(pid: u32) -> String {
    format!("process {pid} has ended")
}

fn malformed(pid: u32, what: &str) -> NotFound {
    NotFound::Unreadable(format!("could not find `{what}` in the files of process {pid}"))
}

fn unread(pid: u32, error: &ReadError) -> NotFound {
    // A process that ends while it is read answers so.
    let gone = error.is_missing() || error.to_string().contains("No such process");
    if gone { NotFound::Ended(ended(pid)) } else { NotFound::Unreadable(error.to_string()) }
}

fn read(root: &Sysroot, pid: u32, path: &str) -> Result<String, NotFound> {
    root.read(path).map_err(|error| unread(pid, &error))
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn stat(root: &Sysroot, pid: u32, path: &str) -> Result<Stat, NotFound> {
    let text = read(root, pid, path)?;
    let parsed = || {
        // The name may itself hold blanks and parentheses; the state is the third field.
        let (name, rest) = text.trim_end().rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Stat {
            name: name.split_once('(')?.1.to_owned(),
            state: fields.first()?.chars().next()?,
            nice: fields.get(16)?.parse::<i32>().ok()?.to_string(),
            started: fields.get(19)?.parse().ok()?,
        })
    };
    parsed().ok_or_else(|| malformed(pid, "start time"))
}

/// Both limits of a resource in the text of /proc/PID/limits.
fn limits(text: &str, resource: Resource) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(resource.title()))?;
    let mut words = line.split_whitespace();
    let limits = Limits { soft: bound(words.next()?)?, hard: bound(words.next()?)? };
    Some(limits.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::host::tree::Tree;

    /// The text of a stat file of a process that was started at this tick.
    pub(crate) fn stat_of(pid: u32, state: char, nice: i32, started: u64) -> String {
        format!("{pid} (a) b) {state} 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 {nice} 2 0 {started} 9 9\n")
    }

    /// A process of two threads.
    pub(crate) fn host(nice: [i32; 2], started: u64) -> Tree {
        let status = |cpus| format!("Name:\ta\nUid:\t7\t8\t8\t8\nCpus_allowed_list:\t{cpus}\n");
        Tree::new()
            .file("/proc/42/stat", &stat_of(42, 'S', nice[0], started))
            .file("/proc/42/status", &status("0-1"))
            .file("/proc/42/oom_score_adj", "-17\n")
            .file(
                "/proc/42/limits",
                "Limit   Soft Limit  Hard Limit  Units\n\
                 Max open files            1024                 unlimited            files     \n",
            )
            .file("/proc/42/task/42/stat", &stat_of(42, 'S', nice[0], started))
            .file("/proc/42/task/42/status", &status("0-1"))
            .file("/proc/42/task/43/stat", &stat_of(43, 'S', nice[1], started + 1))
            .file("/proc/42/task/43/status", &status("0,1"))
    }

    fn told(value: &str) -> Observed {
        Observed::Value(value.to_owned())
    }

    #[test]
    fn the_attributes_of_a_process_are_read_of_all_its_threads() {
        let tree = host([0, -5], 99);
        let root = tree.sysroot();
        let found = find(&root, 42).unwrap();
        assert_eq!(
            found,
            Described {
                process: Living { pid: 42, started: 99 },
                name: "a) b".to_owned(),
                users: (7, 8)
            }
        );
        let of = |attribute| found.process.observe(&root, attribute);
        assert_eq!(of(Attribute::Nice), told("-5 and 0"));
        assert_eq!(of(Attribute::Cpus), told("0-1"));
        assert_eq!(of(Attribute::OomScoreAdj), told("-17"));
        assert_eq!(of(Attribute::Limit(Resource::Nofile)), told("1024:unlimited"));
        assert!(matches!(of(Attribute::Limit(Resource::Core)), Observed::Unreadable(_)));
        assert!(matches!(of(Attribute::Io), Observed::Unreadable(_)));
    }

    #[test]
    fn a_process_that_has_ended_and_one_that_has_its_number_since_are_not_it() {
        let gone = Living { pid: 43, started: 99 };
        let tree = host([0, 0], 99);
        let Observed::Absent(reason) = gone.observe(&tree.sysroot(), Attribute::Nice) else {
            panic!()
        };
        assert_eq!(reason, "process 43 has ended");
        let other = Living { pid: 42, started: 98 };
        let Observed::Absent(reason) = other.observe(&tree.sysroot(), Attribute::Nice) else {
            panic!()
        };
        assert_eq!(reason, "process 42 has ended, and its number is another's by now");
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_has_ended_unless_other_threads_of_it_run() {
        let tree = host([0, 0], 99).file("/proc/42/stat", &stat_of(42, 'Z', 0, 99));
        let root = tree.sysroot();
        assert!(find(&root, 42).is_ok());
        crate::disk::remove_tree(&root.path("/proc/42/task/43").unwrap()).unwrap();
        assert_eq!(find(&root, 42), Err(NotFound::Ended("process 42 has ended".to_owned())));
    }

    #[test]
    fn every_limit_of_this_process_is_understood() {
        let root = Sysroot::live();
        let me = find(&root, std::process::id()).unwrap().process;
        for resource in Resource::ALL {
            let found = me.observe(&root, Attribute::Limit(resource));
            assert!(matches!(found, Observed::Value(_)), "{resource:?}: {found:?}");
        }
        assert!(matches!(me.observe(&root, Attribute::Io), Observed::Value(_)));
    }
}
