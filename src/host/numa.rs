//! The NUMA nodes of the host: their CPUs, their memory, and how far they are from each other.
//!
//! Knows nothing of balancing between them; that is a setting.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cpu_list;
use super::sysroot::{Gather, Sourced};

const NODES: &str = "/sys/devices/system/node";

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its number.
    pub id: usize,
    /// Its CPUs; none for a node of memory alone.
    pub cpus: Sourced<Vec<usize>>,
    /// Its memory in bytes.
    pub memory: Option<Sourced<u64>>,
    /// How far it is from each node in their order; 10 is itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distances: Vec<u32>,
}

/// The nodes by number; none where the kernel knows of no NUMA.
pub(super) fn read(gather: &Gather<'_>) -> Vec<Node> {
    let names = gather.list(NODES);
    let mut numbers: Vec<usize> =
        names.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|id| node(gather, id)).collect()
}

fn node(gather: &Gather<'_>, id: usize) -> Node {
    let dir = format!("{NODES}/node{id}");
    let mask = gather.text(&format!("{dir}/cpumap"));
    let mask =
        mask.and_then(|text| Some(Sourced::new(cpu_list::parse_mask(&text.value)?, text.source)));
    let list = || {
        let text = gather.text(&format!("{dir}/cpulist"))?;
        Some(Sourced::new(cpu_list::parse(&text.value)?, text.source))
    };
    let cpus = mask.or_else(list).unwrap_or_else(|| Sourced::new(Vec::new(), &*dir));
    let memory = gather.text(&format!("{dir}/meminfo")).and_then(|text| {
        let line = text.value.lines().find_map(|line| line.split_once("MemTotal:"))?.1;
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(Sourced::new(kibibytes.checked_mul(1024)?, text.source))
    });
    let distances = gather.text(&format!("{dir}/distance")).map_or_else(Vec::new, |text| {
        text.value.split_whitespace().filter_map(|one| one.parse().ok()).collect()
    });
    Node { id, cpus, memory, distances }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    #[test]
    fn nodes_come_by_number_with_their_cpus_memory_and_distances() {
        let tree = Tree::new()
            .file(&format!("{NODES}/node10/cpulist"), "4-7\n")
            .file(&format!("{NODES}/node2/cpumap"), "0000000f\n")
            .file(
                &format!("{NODES}/node2/meminfo"),
                "Node 2 MemTotal:  1024 kB\nNode 2 MemFree: 1 kB\n",
            )
            .file(&format!("{NODES}/node2/distance"), "10 21\n")
            .file(&format!("{NODES}/possible"), "0-10\n");
        let root = tree.sysroot();
        let found = read(&Gather::new(&root));
        let cpus: Vec<_> =
            found.iter().map(|node| (node.id, cpu_list::render(&node.cpus.value))).collect();
        assert_eq!(cpus, [(2, "0-3".to_owned()), (10, "4-7".to_owned())]);
        assert_eq!(found[0].memory.as_ref().unwrap().value, 1 << 20);
        assert_eq!((&*found[0].distances, &*found[1].distances), (&[10, 21][..], &[][..]));
    }
}
