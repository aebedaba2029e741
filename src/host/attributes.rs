//! Attributes of a process: affinity, niceness, limits. Read back of any, set on oneself only.
//!
//! A process that this program starts is told which it is to have, and sets them on itself before it starts threads,
//! which inherit them. Whether they took effect is read from /proc/PID, not believed. Those of a process that runs
//! already are set by `change`; what they are, how they are read and who may set them is known here.

pub mod attribute;
pub mod io_priority;
pub mod living;
pub mod right;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cpu_list;
use super::reading::{Bound, open_files};
use super::sysroot::{ReadError, Sysroot};

/// What a process has, as /proc/PID tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attributes {
    /// The CPUs that it may run on.
    pub cpus: Vec<usize>,
    /// Its niceness, from -20 (first served) to 19.
    pub nice: i32,
    /// How many files it may have open at once: the soft limit.
    pub open_files: u64,
    /// How many threads it has.
    pub threads: u64,
}

/// What a process is to have; what is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct WantedAttributes {
    /// The CPUs that it may run on.
    pub cpus: Option<Vec<usize>>,
    /// Its niceness, from -20 (first served) to 19.
    pub nice: Option<i32>,
    /// How many files it may have open at once.
    pub open_files: Option<u64>,
}

/// An attribute that could not be read or set.
#[derive(Debug, thiserror::Error)]
pub enum AttributeError {
    /// A file of /proc/PID can't be read; missing means that the process has ended.
    #[error("could not read the attributes of process {pid}")]
    Read {
        /// The process.
        pid: u32,
        /// Which file, and why.
        #[source]
        source: ReadError,
    },
    /// A file of /proc/PID has another form than this kernel interface promises.
    #[error("could not find `{field}` in /proc/{pid}/{file}")]
    Malformed {
        /// The process.
        pid: u32,
        /// The file.
        file: &'static str,
        /// What was looked for.
        field: &'static str,
    },
    /// The system refuses.
    #[error("could not set {attribute} to {value}; {remedy}")]
    Refused {
        /// What was to be set.
        attribute: &'static str,
        /// To which value.
        value: String,
        /// What would help.
        remedy: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Reads back what process `pid` has.
///
/// # Errors
/// When it has ended, or its files can't be read.
pub fn attributes(root: &Sysroot, pid: u32) -> Result<Attributes, AttributeError> {
    let read = |file: &str| {
        root.read(&format!("/proc/{pid}/{file}"))
            .map_err(|source| AttributeError::Read { pid, source })
    };
    let malformed = |file, field| AttributeError::Malformed { pid, file, field };
    let status = read("status")?;
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let stat = read("stat")?;
    Ok(Attributes {
        cpus: field("Cpus_allowed_list")
            .and_then(cpu_list::parse)
            .ok_or_else(|| malformed("status", "Cpus_allowed_list"))?,
        // The name in parentheses may itself hold blanks and parentheses; the 19th field is the niceness.
        nice: stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(16)?.parse().ok())
            .ok_or_else(|| malformed("stat", "nice"))?,
        open_files: open_files(&read("limits")?, Bound::Soft)
            .ok_or_else(|| malformed("limits", "Max open files"))?,
        threads: field("Threads")
            .and_then(|threads| threads.trim().parse().ok())
            .ok_or_else(|| malformed("status", "Threads"))?,
    })
}

/// Sets attributes of this process. To be called before it starts threads, which inherit them: affinity and
/// niceness are each thread's own.
///
/// # Errors
/// At the first attribute that the system refuses.
pub fn apply_to_self(wanted: &WantedAttributes) -> Result<(), AttributeError> {
    if let Some(cpus) = &wanted.cpus {
        set_affinity(cpus).map_err(|errno| AttributeError::Refused {
            attribute: "affinity",
            value: format!("CPUs {}", cpu_list::render(cpus)),
            remedy: "choose CPUs that are online and that this process may use",
            source: errno.into(),
        })?;
    }
    if let Some(nice) = wanted.nice {
        rustix::process::setpriority_process(None, nice).map_err(|errno| {
            AttributeError::Refused {
                attribute: "niceness",
                value: nice.to_string(),
                remedy: "below its present value it needs CAP_SYS_NICE",
                source: errno.into(),
            }
        })?;
    }
    if let Some(files) = wanted.open_files {
        set_open_files(files).map_err(|errno| AttributeError::Refused {
            attribute: "the limit of open files",
            value: files.to_string(),
            remedy: "above the hard limit it needs CAP_SYS_RESOURCE, and never exceeds fs.nr_open",
            source: errno.into(),
        })?;
    }
    Ok(())
}

fn set_affinity(cpus: &[usize]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn set_open_files(files: u64) -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, files, hard.max(files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    #[test]
    fn attributes_are_read_back_even_of_a_process_with_an_odd_name() {
        let tree = Tree::new()
            .file("/proc/42/status", "Name:\tx\nThreads:\t7\nCpus_allowed_list:\t0-2,5\n")
            .file(
                "/proc/42/stat",
                "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 25 -5 7 0 99\n",
            )
            .file("/proc/42/limits", "Max open files            4096       524288       files\n");
        let expected =
            Attributes { cpus: vec![0, 1, 2, 5], nice: -5, open_files: 4096, threads: 7 };
        assert_eq!(attributes(&tree.sysroot(), 42).unwrap(), expected);
        let tree = tree.file("/proc/42/stat", "42 (a) S 1\n");
        let error = attributes(&tree.sysroot(), 42).unwrap_err();
        assert_eq!(error.to_string(), "could not find `nice` in /proc/42/stat");
    }

    #[test]
    fn a_process_that_has_ended_is_an_error_that_names_it() {
        let error = attributes(&Tree::new().sysroot(), 7).unwrap_err();
        assert_eq!(error.to_string(), "could not read the attributes of process 7");
    }

    #[test]
    fn what_is_applied_to_a_thread_of_ones_own_is_read_back() {
        let root = Sysroot::live();
        let me = std::process::id();
        let before = attributes(&root, me).unwrap();
        let cpu = *before.cpus.last().unwrap();
        // Affinity and niceness are each thread's own, so the other tests keep theirs.
        let status = std::thread::spawn(move || {
            let wanted = WantedAttributes {
                cpus: Some(vec![cpu]),
                nice: Some(before.nice),
                open_files: Some(before.open_files),
            };
            apply_to_self(&wanted).unwrap();
            Sysroot::live().read("/proc/thread-self/status").unwrap()
        });
        assert!(status.join().unwrap().contains(&format!("Cpus_allowed_list:\t{cpu}\n")));
        assert_eq!(attributes(&root, me).unwrap().open_files, before.open_files);
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_refused_with_a_remedy() {
        let wanted = WantedAttributes { cpus: Some(vec![8000]), ..Default::default() };
        let error = apply_to_self(&wanted).unwrap_err().to_string();
        assert!(error.starts_with("could not set affinity to CPUs 8000; choose"), "{error}");
    }
}
