//! The limits that control groups set to this process: CPUs, CPU time and memory.
//!
//! A limit holds for a group and all groups inside it, so every group from this process's own up to the
//! topmost that can be seen is asked, and the tightest answer counts. Version 2, version 1 and both at
//! once (hybrid) are read; where a controller is in which hierarchy is told by /proc/self/cgroup, and
//! where a hierarchy is mounted by /proc/self/mountinfo. A group that can't be seen from inside a container
//! can't be read either.

use super::cpu_list;
use super::sysroot::{Gather, Sourced, Sysroot};

/// From here on a limit of version 1 means "none": the kernel writes the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

/// The tightest limits on this process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// CPU time per time: 1.5 is one CPU and a half.
    pub quota: Option<Sourced<f64>>,
    /// The CPUs that the processes of the group may run on.
    pub cpus: Option<Sourced<Vec<usize>>>,
    /// Bytes of memory that the group may use.
    pub memory: Option<Sourced<u64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The groups that a controller of this process is bound by, innermost first.
#[derive(Debug)]
struct Groups {
    version: Version,
    dirs: Vec<String>,
}

/// Reads the limits on this process.
#[must_use]
pub fn limits(root: &Sysroot) -> Limits {
    read(&Gather::new(root))
}

pub(super) fn read(gather: &Gather<'_>) -> Limits {
    Limits {
        quota: groups(gather, "cpu").and_then(|groups| {
            tightest(groups.dirs.iter().filter_map(|dir| quota(gather, groups.version, dir)))
        }),
        cpus: groups(gather, "cpuset").and_then(|groups| cpuset(gather, &groups)),
        memory: groups(gather, "memory").and_then(|groups| {
            let limits = groups.dirs.iter().flat_map(|dir| memory(gather, groups.version, dir));
            tightest(limits)
        }),
    }
}

/// Bytes of memory that the groups of this process leave to it: the least of limit less use, where pages
/// of files that nobody used lately do not count as used. Nothing when no group has a limit.
#[must_use]
pub fn memory_left(root: &Sysroot) -> Option<Sourced<u64>> {
    let gather = Gather::new(root);
    let groups = groups(&gather, "memory")?;
    let (usage, reclaimable) = match groups.version {
        Version::Two => ("memory.current", "inactive_file"),
        Version::One => ("memory.usage_in_bytes", "total_inactive_file"),
    };
    tightest(groups.dirs.iter().flat_map(|dir| {
        let used = gather.number::<u64>(&format!("{dir}/{usage}")).map_or(0, |used| used.value);
        let idle = gather.text(&format!("{dir}/memory.stat")).and_then(|stat| {
            stat.value.lines().find_map(|line| line.strip_prefix(reclaimable)?.trim().parse().ok())
        });
        let used = used.saturating_sub(idle.unwrap_or(0));
        memory(&gather, groups.version, dir).map(move |limit| {
            let source = format!("{} less {usage}", limit.source);
            Sourced::new(limit.value.saturating_sub(used), source)
        })
    }))
}

fn tightest<T: PartialOrd>(limits: impl Iterator<Item = Sourced<T>>) -> Option<Sourced<T>> {
    limits.reduce(|least, next| if next.value < least.value { next } else { least })
}

fn quota(gather: &Gather<'_>, version: Version, dir: &str) -> Option<Sourced<f64>> {
    let (quota, period, source) = match version {
        Version::Two => {
            let max = gather.text(&format!("{dir}/cpu.max"))?;
            let (quota, period) = max.value.split_once(' ').unwrap_or((&max.value, "100000"));
            (quota.parse::<f64>().ok()?, period.trim().parse::<f64>().ok()?, max.source)
        }
        Version::One => {
            let quota = gather.number::<f64>(&format!("{dir}/cpu.cfs_quota_us"))?;
            let period = gather.number::<f64>(&format!("{dir}/cpu.cfs_period_us"))?;
            (quota.value, period.value, quota.source)
        }
    };
    (quota > 0.0 && period > 0.0).then(|| Sourced::new(quota / period, source))
}

/// The CPUs that all groups allow; the source is the innermost group, whose list the kernel keeps within the outer ones.
fn cpuset(gather: &Gather<'_>, groups: &Groups) -> Option<Sourced<Vec<usize>>> {
    let names: [&str; 2] = match groups.version {
        Version::Two => ["cpuset.cpus.effective", "cpuset.cpus"],
        Version::One => ["cpuset.effective_cpus", "cpuset.cpus"],
    };
    let mut lists = groups.dirs.iter().filter_map(|dir| {
        let list = names.iter().find_map(|name| gather.text(&format!("{dir}/{name}")))?;
        let cpus = cpu_list::parse(&list.value).filter(|cpus| !cpus.is_empty())?;
        Some(Sourced::new(cpus, list.source))
    });
    let innermost = lists.next()?;
    Some(lists.fold(innermost, |mut all, outer| {
        all.value.retain(|cpu| outer.value.contains(cpu));
        all
    }))
}

fn memory(
    gather: &Gather<'_>,
    version: Version,
    dir: &str,
) -> impl Iterator<Item = Sourced<u64>> + use<> {
    // Above memory.high a group is not stopped but throttled, which no measurement wants.
    let names: &[&str] = match version {
        Version::Two => &["memory.max", "memory.high"],
        Version::One => &["memory.limit_in_bytes"],
    };
    let limits: Vec<_> = names
        .iter()
        .filter_map(|name| gather.text(&format!("{dir}/{name}")))
        .filter_map(|text| Some(Sourced::new(text.value.parse::<u64>().ok()?, text.source)))
        .filter(|limit| limit.value < UNLIMITED)
        .collect();
    limits.into_iter()
}

/// The groups of this process that `controller` acts in; nothing where it acts in none.
fn groups(gather: &Gather<'_>, controller: &str) -> Option<Groups> {
    let memberships = gather.text("/proc/self/cgroup")?.value;
    let mut unified = None;
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        if controllers.split(',').any(|name| name == controller) {
            return Some(enclosing(gather, Version::One, controller, path));
        }
        if controllers.is_empty() {
            unified = Some(path);
        }
    }
    unified.map(|path| enclosing(gather, Version::Two, controller, path))
}

/// The folders of the group at `path` of a hierarchy and of all groups around it.
fn enclosing(gather: &Gather<'_>, version: Version, controller: &str, path: &str) -> Groups {
    let (top, hierarchy_root) = mount(gather, version, controller).unwrap_or_else(|| {
        let top = match version {
            Version::Two => "/sys/fs/cgroup".to_owned(),
            Version::One => format!("/sys/fs/cgroup/{controller}"),
        };
        (top, "/".to_owned())
    });
    // In a container only a part of the hierarchy is mounted, and `path` may be told from outside of it.
    let inside = path.strip_prefix(hierarchy_root.trim_end_matches('/')).unwrap_or("");
    let inside = if inside.split('/').any(|part| part == "..") { "" } else { inside };
    let mut dirs = Vec::new();
    let mut rest = inside.trim_matches('/');
    while !rest.is_empty() {
        dirs.push(format!("{top}/{rest}"));
        rest = rest.rsplit_once('/').map_or("", |(outer, _)| outer);
    }
    dirs.push(top);
    Groups { version, dirs }
}

/// Where a hierarchy is mounted, and which of its groups is mounted there (proc(5), mountinfo).
fn mount(gather: &Gather<'_>, version: Version, controller: &str) -> Option<(String, String)> {
    let mounts = gather.text("/proc/self/mountinfo")?.value;
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let found = match (version, kind.next()?) {
            (Version::Two, "cgroup2") => true,
            (Version::One, "cgroup") => kind.nth(1)?.split(',').any(|name| name == controller),
            _ => false,
        };
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        found.then(|| (point.to_owned(), root.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_tightest_of_all_enclosing_groups_counts_in_version_two() {
        let tree = Tree::new()
            .file("/proc/self/cgroup", "0::/a.slice/b.service\n")
            .file("/proc/self/mountinfo", UNIFIED)
            .file("/sys/fs/cgroup/a.slice/cpu.max", "150000 100000\n")
            .file("/sys/fs/cgroup/a.slice/b.service/cpu.max", "max 100000\n")
            .file("/sys/fs/cgroup/a.slice/b.service/cpuset.cpus.effective", "0-3\n")
            .file("/sys/fs/cgroup/cpuset.cpus.effective", "1-7\n")
            .file("/sys/fs/cgroup/a.slice/memory.max", "1000\n")
            .file("/sys/fs/cgroup/a.slice/b.service/memory.max", "max\n")
            .file("/sys/fs/cgroup/a.slice/b.service/memory.high", "2000\n");
        let limits = limits(&tree.sysroot());
        assert_eq!(limits.quota, Some(Sourced::new(1.5, "/sys/fs/cgroup/a.slice/cpu.max")));
        assert_eq!(limits.cpus.unwrap().value, [1, 2, 3]);
        assert_eq!(limits.memory, Some(Sourced::new(1000, "/sys/fs/cgroup/a.slice/memory.max")));
    }

    #[test]
    fn controllers_of_version_one_are_found_where_they_are_mounted() {
        let tree = Tree::new()
            .file(
                "/proc/self/cgroup",
                "4:memory:/docker/abc\n3:cpuset:/\n1:cpu,cpuacct:/docker/abc\n0::/\n",
            )
            .file(
                "/proc/self/mountinfo",
                "32 31 0:29 /docker/abc /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                 35 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory\n",
            )
            .file("/cg/cpu/cpu.cfs_quota_us", "50000\n")
            .file("/cg/cpu/cpu.cfs_period_us", "100000\n")
            .file("/cg/memory/memory.limit_in_bytes", "9223372036854771712\n")
            .file("/cg/memory/docker/abc/memory.limit_in_bytes", "4096\n")
            .file("/cg/memory/docker/abc/memory.usage_in_bytes", "3000\n")
            .file(
                "/cg/memory/docker/abc/memory.stat",
                "inactive_file 1\ntotal_inactive_file 1000\n",
            );
        let root = tree.sysroot();
        let limits = limits(&root);
        assert_eq!(limits.quota, Some(Sourced::new(0.5, "/cg/cpu/cpu.cfs_quota_us")));
        assert_eq!(limits.cpus, None);
        assert_eq!(limits.memory.unwrap().value, 4096);
        assert_eq!(memory_left(&root).unwrap().value, 4096 - (3000 - 1000));
    }

    #[test]
    fn a_group_told_from_outside_the_container_leaves_the_mounted_one() {
        let tree = Tree::new()
            .file("/proc/self/cgroup", "0::/../../host.slice\n")
            .file("/proc/self/mountinfo", UNIFIED)
            .file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
        assert_eq!(limits(&tree.sysroot()).quota.unwrap().value.to_string(), "2");
    }

    #[test]
    fn no_quota_and_no_groups_mean_no_limits() {
        let tree = Tree::new()
            .file("/proc/self/cgroup", "1:cpu:/\n")
            .file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
            .file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
        assert_eq!(limits(&tree.sysroot()), Limits::default());
        assert_eq!(limits(&Tree::new().sysroot()), Limits::default());
        assert_eq!(memory_left(&Tree::new().sysroot()), None);
    }
}
