//! One attribute of a process: its name, the values that it takes, and which texts mean the same one.
//!
//! ```text
//! cpus             0-3,8, or all that are online: all            of each thread
//! nice             -5                                            of each thread
//! io               none, idle, best_effort 4, realtime 0         of each thread
//! oom_score_adj    -500
//! limits.nofile    1024:524288, unlimited:unlimited              the soft limit and the hard one
//! ```
//! Where threads have different values, what is found is all of them: `0 and -5`. Nothing is read or set here.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::cpu_list;

/// Stands between the values that the threads of one process have.
const AND: &str = " and ";

/// What stands for all CPUs that are online, whichever these are. A process that was never told where to run may run on
/// CPUs that are not there yet, too; what it is told, the kernel cuts down to those that are.
pub const ALL_CPUS: &str = "all";

/// What stands for no limit.
const UNLIMITED: &str = "unlimited";

/// An attribute of a process that can be set from without.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The CPUs that it may run on.
    Cpus,
    /// Its niceness, from -20 (first served) to 19.
    Nice,
    /// The class and the level by which its input and output is served.
    Io,
    /// How readily the kernel ends it when memory runs out, from -1000 (never) to 1000.
    OomScoreAdj,
    /// A limit of what it may use.
    Limit(Resource),
}

/// What a limit is of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Its address space, in bytes.
    As,
    /// A file that the kernel writes when it crashes, in bytes.
    Core,
    /// Time on CPUs, in seconds.
    Cpu,
    /// Its data, in bytes.
    Data,
    /// A file that it writes, in bytes.
    Fsize,
    /// Locks of files.
    Locks,
    /// Memory that it keeps from being swapped, in bytes.
    Memlock,
    /// Messages in queues, in bytes.
    Msgqueue,
    /// How far it may lower its niceness, as 20 less the niceness.
    Nice,
    /// Open files.
    Nofile,
    /// Processes of its user.
    Nproc,
    /// Memory in use, in bytes; kernels since 2.4.30 do not hold to it.
    Rss,
    /// Its real-time priority.
    Rtprio,
    /// Time without a wait under a real-time policy, in microseconds.
    Rttime,
    /// Signals that wait.
    Sigpending,
    /// Its stack, in bytes.
    Stack,
}

/// The class by which input and output is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IoClass {
    /// Before all others.
    Realtime,
    /// As everybody.
    BestEffort,
    /// When nobody else wants anything.
    Idle,
}

/// A value of the I/O attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoPriority {
    /// None was set: the niceness decides.
    None,
    /// When nobody else wants anything.
    Idle,
    /// As everybody, from 0 (first served) to 7; kernels since 6.5 keep a hint in the bits above.
    BestEffort(u16),
    /// Before all others, the same.
    Realtime(u16),
}

/// The two limits of a resource; none is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What holds now.
    pub soft: Option<u64>,
    /// Up to where the process itself may raise it.
    pub hard: Option<u64>,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];

    /// Its name, which is that of prlimit(1).
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names().0
    }

    /// How /proc/PID/limits calls it.
    pub(super) fn title(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::As => ("as", "Max address space"),
            Self::Core => ("core", "Max core file size"),
            Self::Cpu => ("cpu", "Max cpu time"),
            Self::Data => ("data", "Max data size"),
            Self::Fsize => ("fsize", "Max file size"),
            Self::Locks => ("locks", "Max file locks"),
            Self::Memlock => ("memlock", "Max locked memory"),
            Self::Msgqueue => ("msgqueue", "Max msgqueue size"),
            Self::Nice => ("nice", "Max nice priority"),
            Self::Nofile => ("nofile", "Max open files"),
            Self::Nproc => ("nproc", "Max processes"),
            Self::Rss => ("rss", "Max resident set"),
            Self::Rtprio => ("rtprio", "Max realtime priority"),
            Self::Rttime => ("rttime", "Max realtime timeout"),
            Self::Sigpending => ("sigpending", "Max pending signals"),
            Self::Stack => ("stack", "Max stack size"),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpus => "cpus",
            Self::Nice => "nice",
            Self::Io => "io",
            Self::OomScoreAdj => "oom_score_adj",
            Self::Limit(resource) => return write!(f, "limits.{}", resource.name()),
        })
    }
}

impl Attribute {
    /// Whether each thread has its own.
    #[must_use]
    pub fn is_of_threads(self) -> bool {
        matches!(self, Self::Cpus | Self::Nice | Self::Io)
    }

    /// The one form of all texts that mean the same value; nothing where it is no value of this attribute.
    #[must_use]
    pub fn canonical(self, text: &str) -> Option<String> {
        let whole = |least: i32, most: i32| {
            let number: i32 = text.parse().ok()?;
            (least..=most).contains(&number).then(|| number.to_string())
        };
        match self {
            Self::Cpus if text == ALL_CPUS => Some(ALL_CPUS.to_owned()),
            Self::Cpus => {
                let cpus = cpu_list::parse(text).filter(|cpus| !cpus.is_empty())?;
                Some(cpu_list::render(&cpus))
            }
            Self::Nice => whole(-20, 19),
            Self::Io => IoPriority::parse(text).map(|priority| priority.to_string()),
            Self::OomScoreAdj => whole(-1000, 1000),
            Self::Limit(_) => Limits::parse(text).map(|limits| limits.to_string()),
        }
    }

    /// Whether two texts are the same value, or the same values of several threads.
    #[must_use]
    pub fn same(self, one: &str, other: &str) -> bool {
        let all = |text: &str| -> Vec<String> {
            let mut all: Vec<String> = text
                .split(AND)
                .map(|part| self.canonical(part).unwrap_or_else(|| part.to_owned()))
                .collect();
            all.sort_unstable();
            all
        };
        all(one) == all(other)
    }

    /// Whether each of the values that were found is one of these.
    #[must_use]
    pub fn is_among(self, found: &str, values: &[&str]) -> bool {
        found.split(AND).all(|part| values.iter().any(|value| self.same(part, value)))
    }
}

/// A list of CPUs as the value of a process on a host on which these are online: those of them, or that it is all.
#[must_use]
pub fn cpus_among(online: &[usize], mut cpus: Vec<usize>) -> String {
    if !online.is_empty() && online.iter().all(|cpu| cpus.contains(cpu)) {
        return ALL_CPUS.to_owned();
    }
    if cpus.iter().any(|cpu| online.contains(cpu)) {
        cpus.retain(|cpu| online.contains(cpu));
    }
    cpu_list::render(&cpus)
}

/// What the threads of a process have: one value, or all that they have, each once. Nothing of none.
#[must_use]
pub(super) fn joined(mut values: Vec<String>) -> Option<String> {
    values.sort_unstable();
    values.dedup();
    (!values.is_empty()).then(|| values.join(AND))
}

/// Whether the threads that this was found of have different values.
#[must_use]
pub fn differ(found: &str) -> bool {
    found.contains(AND)
}

impl IoPriority {
    /// The value of a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let level = |text: &str| text.parse::<u16>().ok().filter(|level| *level < 1 << 13);
        match text.split_once(' ') {
            None if text == "none" => Some(Self::None),
            None if text == "idle" => Some(Self::Idle),
            Some(("best_effort", number)) => level(number).map(Self::BestEffort),
            Some(("realtime", number)) => level(number).map(Self::Realtime),
            _ => None,
        }
    }

    /// The number of the class, and the level within it.
    #[must_use]
    pub fn numbers(self) -> (u16, u16) {
        match self {
            Self::None => (0, 0),
            Self::Realtime(level) => (1, level),
            Self::BestEffort(level) => (2, level),
            Self::Idle => (3, 0),
        }
    }
}

impl fmt::Display for IoPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Idle => f.write_str("idle"),
            Self::BestEffort(level) => write!(f, "best_effort {level}"),
            Self::Realtime(level) => write!(f, "realtime {level}"),
        }
    }
}

impl Limits {
    /// The limits of a text: the soft one, a colon, the hard one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (soft, hard) = text.split_once(':')?;
        let limits = Self { soft: bound(soft)?, hard: bound(hard)? };
        (order(limits.soft) <= order(limits.hard)).then_some(limits)
    }
}

/// One limit of a text; within it none is unlimited.
#[must_use]
pub fn bound(text: &str) -> Option<Option<u64>> {
    if text == UNLIMITED {
        return Some(None);
    }
    // The largest number is how the kernel writes that there is no limit.
    text.parse().ok().filter(|number| *number != u64::MAX).map(Some)
}

/// A limit as a number that grows with it.
#[must_use]
pub fn order(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |limit: Option<u64>| limit.map_or(UNLIMITED.to_owned(), |n| n.to_string());
        write!(f, "{}:{}", told(self.soft), told(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_one_form_and_what_is_none_is_told() {
        for (attribute, text, canonical) in [
            (Attribute::Cpus, "3,0-1,2", Some("0-3")),
            (Attribute::Cpus, "all", Some("all")),
            (Attribute::Cpus, "", None),
            (Attribute::Cpus, "x", None),
            (Attribute::Nice, "-5", Some("-5")),
            (Attribute::Nice, "+5", Some("5")),
            (Attribute::Nice, "20", None),
            (Attribute::Io, "best_effort 0", Some("best_effort 0")),
            (Attribute::Io, "best_effort", None),
            (Attribute::Io, "best_effort 99", Some("best_effort 99")),
            (Attribute::Io, "best_effort 8192", None),
            (Attribute::Io, "idle 1", None),
            (Attribute::OomScoreAdj, "-1000", Some("-1000")),
            (Attribute::OomScoreAdj, "1001", None),
            (Attribute::Limit(Resource::Nofile), "1024:unlimited", Some("1024:unlimited")),
            (Attribute::Limit(Resource::Nofile), "unlimited:1024", None),
            (Attribute::Limit(Resource::Nofile), "2:1", None),
            (Attribute::Limit(Resource::Nofile), "18446744073709551615:unlimited", None),
            (Attribute::Limit(Resource::Nofile), "5", None),
        ] {
            assert_eq!(attribute.canonical(text).as_deref(), canonical, "{attribute} {text}");
        }
    }

    #[test]
    fn cpus_that_are_not_online_do_not_count_and_all_that_are_is_all() {
        let among = |list| cpus_among(&[0, 1, 2], cpu_list::parse(list).unwrap());
        let told = ["0-127", "0-2", "0-1,9", "9"].map(among);
        assert_eq!(told, ["all", "all", "0-1", "9"]);
        assert_eq!(cpus_among(&[], vec![0]), "0");
    }

    #[test]
    fn values_of_several_threads_are_one_value_only_where_all_have_it() {
        let nice = Attribute::Nice;
        let joined = |values: &[&str]| joined(values.iter().map(ToString::to_string).collect());
        assert_eq!(joined(&["0", "0"]).as_deref(), Some("0"));
        assert_eq!(joined(&["0", "-5", "0"]).as_deref(), Some("-5 and 0"));
        assert_eq!(joined(&[]), None);
        assert!(nice.same("0 and -5", "-5 and 0") && !nice.same("0", "-5 and 0"));
        assert!(
            nice.is_among("-5 and 0", &["0", "-5"]) && !nice.is_among("-5 and 3", &["0", "-5"])
        );
        assert!(differ("-5 and 0") && !differ("-5"));
    }
}
