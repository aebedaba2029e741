//! Whether this process may lead another's attribute from one value to another and back: what needs root is known
//! before anything is tried.
//!
//! What could be set and not taken back is not to be set: so the way back counts as well. Where the kernel may know
//! better, such as in a namespace of users, its answer decides.

use super::attribute::{Attribute, IoPriority, Limits, Resource, order};
use super::living::{Living, NotFound};
use crate::host::setting::Observed;
use crate::host::sysroot::Sysroot;

/// The capabilities that matter, by their bits.
const SYS_ADMIN: u32 = 21;
const SYS_NICE: u32 = 23;
const SYS_RESOURCE: u32 = 24;
const DAC_OVERRIDE: u32 = 1;

/// What this process is allowed.
#[derive(Debug, Clone, Copy)]
struct Caller {
    user: u32,
    capabilities: u64,
}

/// What stands in the way of an attribute being led from one value to another and back; nothing when nothing does, as
/// far as can be known.
///
/// # Errors
/// When the process has ended, or what it is can't be read.
pub fn obstacle(
    root: &Sysroot,
    process: &Living,
    attribute: Attribute,
    (from, to): (&str, &str),
) -> Result<Option<String>, NotFound> {
    let caller = Caller::this();
    let users = process.users(root)?;
    let told = match attribute {
        _ if !caller.may_touch(attribute, users) => {
            Some(format!("process {} belongs to another user; run as root", process.pid))
        }
        Attribute::Cpus => None,
        Attribute::Nice => {
            let limit = match process.observe(root, Attribute::Limit(Resource::Nice)) {
                Observed::Value(limits) => Limits::parse(&limits).map_or(0, |one| order(one.soft)),
                Observed::Absent(_) | Observed::Unreadable(_) => 0,
            };
            caller.of_niceness(limit, from, to)
        }
        Attribute::Io => caller.of_io(from, to),
        Attribute::OomScoreAdj => caller.of_oom(from, to),
        Attribute::Limit(resource) => caller.of_limit(resource, (from, to), nr_open(root)),
    };
    Ok(told)
}

/// The most files that any process may have open.
fn nr_open(root: &Sysroot) -> Option<u64> {
    root.read("/proc/sys/fs/nr_open").ok()?.trim().parse().ok()
}

impl Caller {
    fn this() -> Self {
        let status = Sysroot::live().read("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        Self { user: nix::unistd::geteuid().as_raw(), capabilities: mask.unwrap_or(0) }
    }

    /// How a capability is had.
    fn way(self) -> &'static str {
        if self.user == 0 { "give it to this root, who has not got it" } else { "run as root" }
    }

    fn has(self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }

    fn may_touch(self, attribute: Attribute, (real, effective): (u32, u32)) -> bool {
        let own = self.user == real && self.user == effective;
        own || self.has(match attribute {
            Attribute::Cpus | Attribute::Nice | Attribute::Io => SYS_NICE,
            Attribute::OomScoreAdj => DAC_OVERRIDE,
            Attribute::Limit(_) => SYS_RESOURCE,
        })
    }

    fn of_niceness(self, limit: u64, from: &str, to: &str) -> Option<String> {
        let (from, to): (i64, i64) = (from.parse().ok()?, to.parse().ok()?);
        let needs = from.min(to);
        let allowed = |nice: i64| u64::try_from(20 - nice).is_ok_and(|wants| wants <= limit);
        if from == to || self.has(SYS_NICE) || allowed(needs) {
            return None;
        }
        let remedy =
            format!("{}, or give the process a limit `nice` of {}", self.way(), 20 - needs);
        Some(if to < from {
            format!("a niceness below {from} needs CAP_SYS_NICE; {remedy}")
        } else {
            format!(
                "a niceness of {to} could not be taken back to {from} without CAP_SYS_NICE; {remedy}"
            )
        })
    }

    fn of_io(self, from: &str, to: &str) -> Option<String> {
        let realtime =
            |text: &str| matches!(IoPriority::parse(text), Some(IoPriority::Realtime(_)));
        let missing =
            (realtime(from) || realtime(to)) && !self.has(SYS_NICE) && !self.has(SYS_ADMIN);
        missing.then(|| format!("the class realtime needs CAP_SYS_NICE; {}", self.way()))
    }

    fn of_oom(self, from: &str, to: &str) -> Option<String> {
        let (from, to): (i64, i64) = (from.parse().ok()?, to.parse().ok()?);
        // Back up and down again is free: the kernel holds to the lowest value that was set with the capability.
        (to < from && !self.has(SYS_RESOURCE))
            .then(|| format!("a value below {from} needs CAP_SYS_RESOURCE; {}", self.way()))
    }

    fn of_limit(
        self,
        resource: Resource,
        (from, to): (&str, &str),
        nr_open: Option<u64>,
    ) -> Option<String> {
        let (from, to) = (Limits::parse(from)?, Limits::parse(to)?);
        let (before, after) = (order(from.hard), order(to.hard));
        if resource == Resource::Nofile
            && let Some(most) = nr_open.filter(|most| after > *most && after != before)
        {
            return Some(format!(
                "no process may have more than {most} files open; raise /proc/sys/fs/nr_open first"
            ));
        }
        if before == after || self.has(SYS_RESOURCE) {
            return None;
        }
        Some(if after > before {
            format!("a limit above the hard one needs CAP_SYS_RESOURCE; {}", self.way())
        } else {
            format!(
                "a lower hard limit could not be taken back without CAP_SYS_RESOURCE; {}, or lower the soft one only",
                self.way()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Caller = Caller { user: 1000, capabilities: 0 };
    const ROOT: Caller = Caller { user: 0, capabilities: u64::MAX };

    #[test]
    fn what_needs_root_is_told_for_the_way_there_and_for_the_way_back() {
        let nice = |caller: Caller, limit, from, to| caller.of_niceness(limit, from, to);
        assert!(nice(USER, 0, "0", "-5").unwrap().contains("below 0 needs CAP_SYS_NICE"));
        assert!(nice(USER, 0, "0", "5").unwrap().contains("could not be taken back to 0"));
        assert_eq!(nice(USER, 20, "0", "5"), None, "the limit lets it go back");
        assert_eq!(nice(USER, 25, "0", "-5"), None);
        assert!(nice(USER, 24, "0", "-5").is_some());
        assert_eq!(nice(ROOT, 0, "0", "-5"), None);
        assert!(USER.of_io("none", "realtime 0").is_some() && USER.of_io("none", "idle").is_none());
        assert!(USER.of_io("realtime 4", "idle").is_some(), "it could not be taken back");
        assert!(USER.of_oom("0", "-1").is_some() && USER.of_oom("0", "500").is_none());
        let limit =
            |caller: Caller, from, to| caller.of_limit(Resource::Nofile, (from, to), Some(9));
        assert_eq!(limit(USER, "1:5", "5:5"), None);
        assert!(limit(USER, "1:5", "6:6").unwrap().contains("above the hard one"));
        assert!(limit(USER, "1:5", "1:4").unwrap().contains("could not be taken back"));
        assert_eq!(limit(ROOT, "1:5", "9:9"), None);
        assert!(limit(ROOT, "1:5", "10:10").unwrap().contains("nr_open"));
    }

    #[test]
    fn a_process_of_another_user_is_left_to_root() {
        for attribute in [Attribute::Cpus, Attribute::OomScoreAdj, Attribute::Limit(Resource::Core)]
        {
            assert!(USER.may_touch(attribute, (1000, 1000)));
            assert!(!USER.may_touch(attribute, (1000, 0)) && !USER.may_touch(attribute, (0, 0)));
            assert!(ROOT.may_touch(attribute, (1000, 1000)));
        }
    }
}
