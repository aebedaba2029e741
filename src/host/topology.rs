//! Sockets, cores and threads of the online CPUs.
//!
//! From `/sys/devices/system/cpu/cpuN/topology`; where a kernel has no such folder, from the fields
//! `physical id` and `core id` of /proc/cpuinfo. Knows nothing of which CPUs this process may use.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cpu_list;
use super::cpuinfo::CpuInfo;
use super::sysroot::{Gather, Sourced};

/// How the online CPUs are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Topology {
    /// Packages, as the firmware numbers them.
    pub sockets: usize,
    /// Physical cores.
    pub cores: usize,
    /// Hardware threads: the CPUs that the kernel schedules on.
    pub threads: usize,
}

/// Arranges the online CPUs; nothing when no file says how.
pub(super) fn read(
    gather: &Gather<'_>,
    online: &[usize],
    info: &CpuInfo,
) -> Option<Sourced<Topology>> {
    from_sysfs(gather, online).or_else(|| from_cpuinfo(online, info))
}

fn from_sysfs(gather: &Gather<'_>, online: &[usize]) -> Option<Sourced<Topology>> {
    let mut sockets = BTreeSet::new();
    let mut cores = BTreeSet::new();
    for cpu in online {
        let file = |name: &str| {
            gather
                .text(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/{name}"))
                .map(|text| text.value)
        };
        let socket = file("physical_package_id")?;
        // `core_id` repeats between dies and clusters; the set of sibling threads does not.
        let core = file("core_cpus_list")
            .or_else(|| file("thread_siblings_list"))
            .and_then(|list| cpu_list::parse(&list))
            .map_or_else(
                || Some(format!("{socket}:{}", file("core_id")?)),
                |cpus| Some(cpu_list::render(&cpus)),
            )?;
        sockets.insert(socket);
        cores.insert(core);
    }
    arrange(&sockets, &cores, online, "/sys/devices/system/cpu/cpu*/topology")
}

fn from_cpuinfo(online: &[usize], info: &CpuInfo) -> Option<Sourced<Topology>> {
    let mut sockets = BTreeSet::new();
    let mut cores = BTreeSet::new();
    for cpu in online {
        let socket = info.of_cpu(*cpu, "physical id")?;
        cores.insert(format!("{socket}:{}", info.of_cpu(*cpu, "core id")?));
        sockets.insert(socket.to_owned());
    }
    arrange(&sockets, &cores, online, "/proc/cpuinfo")
}

fn arrange(
    sockets: &BTreeSet<String>,
    cores: &BTreeSet<String>,
    online: &[usize],
    source: &str,
) -> Option<Sourced<Topology>> {
    let (sockets, cores, threads) = (sockets.len(), cores.len(), online.len());
    (threads > 0).then(|| Sourced::new(Topology { sockets, cores, threads }, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    fn topology(tree: &Tree, online: &[usize]) -> Option<Topology> {
        let root = tree.sysroot();
        let gather = Gather::new(&root);
        read(&gather, online, &CpuInfo::read(&gather)).map(|topology| topology.value)
    }

    #[test]
    fn sibling_threads_are_one_core_even_where_core_numbers_repeat() {
        let mut tree = Tree::new();
        for (cpu, (socket, siblings)) in
            [("0", "0,2"), ("1", "1,3"), ("0", "0,2"), ("1", "1,3")].into_iter().enumerate()
        {
            let dir = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
            tree = tree
                .file(&format!("{dir}/physical_package_id"), socket)
                .file(&format!("{dir}/core_id"), "0\n")
                .file(&format!("{dir}/thread_siblings_list"), siblings);
        }
        assert_eq!(
            topology(&tree, &[0, 1, 2, 3]),
            Some(Topology { sockets: 2, cores: 2, threads: 4 })
        );
    }

    #[test]
    fn without_sysfs_cpuinfo_is_asked_and_without_both_nobody_knows() {
        let cpu = |n, core| format!("processor : {n}\nphysical id : 0\ncore id : {core}\n\n");
        let tree = Tree::new().file("/proc/cpuinfo", &(cpu(0, 0) + &cpu(1, 0) + &cpu(2, 1)));
        assert_eq!(
            topology(&tree, &[0, 1, 2]),
            Some(Topology { sockets: 1, cores: 2, threads: 3 })
        );
        assert_eq!(topology(&Tree::new(), &[0, 1]), None);
    }
}
