//! The classes of cores of a hybrid machine: those for performance and those for efficiency.
//!
//! Told by the kernel's own lists of both (`/sys/devices/cpu_core`, Intel), else by the capacity of each CPU (ARM),
//! else by how high its frequency may go. The cores of a machine that has but one class are in none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cpu_list;
use super::cpufreq::Policy;
use super::sysroot::{Gather, Sourced};

/// Below this share of the next higher frequency a core is of another class: the favoured cores of one kind differ by
/// a few percent only.
const OTHER_CLASS: f64 = 0.9;

/// What a class of cores is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The strongest cores, and all others that are not the weakest.
    Performance,
    /// The weakest cores.
    Efficiency,
}

impl Role {
    /// The word for it in YAML and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Performance => "performance",
            Self::Efficiency => "efficiency",
        }
    }
}

/// Cores of the same strength.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoreClass {
    /// What they are for.
    pub role: Role,
    /// Their CPUs.
    pub cpus: Sourced<Vec<usize>>,
    /// How strong they are, in thousandths of the strongest, where the kernel tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
}

/// The classes, the strongest first; none where all cores are of one.
pub(super) fn read(gather: &Gather<'_>, online: &[usize], policies: &[Policy]) -> Vec<CoreClass> {
    let told = listed(gather, online);
    if !told.is_empty() {
        return told;
    }
    let capacity = |cpu: &usize| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpu_capacity");
        Some((*cpu, gather.number::<u64>(&path)?.value))
    };
    // A kernel tells the capacity of all CPUs or of none.
    let capacities: Option<Vec<(usize, u64)>> = online.iter().map(capacity).collect();
    if let Some(capacities) = capacities {
        let source = "/sys/devices/system/cpu/cpu*/cpu_capacity";
        let mut classes = classes(capacities, source, |next, strongest| next < strongest);
        for (class, strength) in &mut classes {
            class.capacity = Some(*strength);
        }
        return classes.into_iter().map(|(class, _)| class).collect();
    }
    let frequencies = policies.iter().flat_map(|policy| {
        let khz = policy.hardware_max_khz.as_ref().map_or(0, |khz| khz.value);
        policy.cpus.iter().map(move |cpu| (*cpu, khz))
    });
    let frequencies: Vec<(usize, u64)> = frequencies.filter(|(_, khz)| *khz > 0).collect();
    let source = "cpufreq: cpuinfo_max_freq of every policy";
    let lower = |next: u64, previous: u64| (next as f64) < previous as f64 * OTHER_CLASS;
    classes(frequencies, source, lower).into_iter().map(|(class, _)| class).collect()
}

/// The lists of cores that the kernel keeps for its counters of events.
fn listed(gather: &Gather<'_>, online: &[usize]) -> Vec<CoreClass> {
    let kinds = [
        ("cpu_core", Role::Performance),
        ("cpu_atom", Role::Efficiency),
        ("cpu_lowpower", Role::Efficiency),
    ];
    let classes: Vec<CoreClass> = kinds
        .into_iter()
        .filter_map(|(name, role)| {
            let text = gather.text(&format!("/sys/devices/{name}/cpus"))?;
            let mut cpus = cpu_list::parse(&text.value)?;
            cpus.retain(|cpu| online.contains(cpu));
            let cpus = Sourced::new(cpus, text.source);
            (!cpus.value.is_empty()).then_some(CoreClass { role, cpus, capacity: None })
        })
        .collect();
    if classes.len() > 1 { classes } else { Vec::new() }
}

/// CPUs by their strength, the strongest class first; a new class begins where `weaker` says so of two neighbours.
fn classes(
    mut cpus: Vec<(usize, u64)>,
    source: &str,
    weaker: impl Fn(u64, u64) -> bool,
) -> Vec<(CoreClass, u64)> {
    cpus.sort_unstable_by_key(|(cpu, strength)| (std::cmp::Reverse(*strength), *cpu));
    let groups: Vec<&[(usize, u64)]> = cpus.chunk_by(|a, b| !weaker(b.1, a.1)).collect();
    if groups.len() < 2 {
        return Vec::new();
    }
    let last = groups.len() - 1;
    let class = |(index, group): (usize, &&[(usize, u64)])| {
        let role = if index == last { Role::Efficiency } else { Role::Performance };
        let mut cpus: Vec<usize> = group.iter().map(|(cpu, _)| *cpu).collect();
        cpus.sort_unstable();
        (CoreClass { role, cpus: Sourced::new(cpus, source), capacity: None }, group[0].1)
    };
    groups.iter().enumerate().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cpufreq;
    use crate::host::tree::Tree;

    fn found(tree: &Tree, online: &[usize]) -> Vec<(&'static str, String)> {
        let root = tree.sysroot();
        let policies = cpufreq::policies(&root);
        read(&Gather::new(&root), online, &policies)
            .into_iter()
            .map(|class| (class.role.word(), cpu_list::render(&class.cpus.value)))
            .collect()
    }

    fn policy(tree: Tree, number: usize, cpus: &str, khz: u64) -> Tree {
        let dir = format!("/sys/devices/system/cpu/cpufreq/policy{number}");
        tree.file(&format!("{dir}/affected_cpus"), cpus)
            .file(&format!("{dir}/scaling_driver"), "d")
            .file(&format!("{dir}/cpuinfo_max_freq"), &khz.to_string())
    }

    #[test]
    fn of_three_capacities_only_the_least_is_for_efficiency() {
        let mut tree = Tree::new();
        for (cpu, capacity) in [280, 280, 855, 1024].into_iter().enumerate() {
            tree = tree.file(
                &format!("/sys/devices/system/cpu/cpu{cpu}/cpu_capacity"),
                &format!("{capacity}\n"),
            );
        }
        let expected = [("performance", "3"), ("performance", "2"), ("efficiency", "0-1")];
        assert_eq!(
            found(&tree, &[0, 1, 2, 3]),
            expected.map(|(role, cpus)| (role, cpus.to_owned()))
        );
    }

    #[test]
    fn the_kernels_own_lists_count_before_anything_else() {
        let tree = Tree::new()
            .file("/sys/devices/cpu_core/cpus", "0-3\n")
            .file("/sys/devices/cpu_atom/cpus", "4-7\n");
        let tree = policy(tree, 0, "0 1 2 3 4 5 6 7", 5_000_000);
        let expected = [("performance", "0-3"), ("efficiency", "4-5")];
        let online = [0, 1, 2, 3, 4, 5];
        assert_eq!(found(&tree, &online), expected.map(|(role, cpus)| (role, cpus.to_owned())));
    }

    #[test]
    fn favoured_cores_are_no_class_of_their_own_and_much_slower_ones_are() {
        let tree = policy(Tree::new(), 0, "0", 4_900_000);
        let tree = policy(tree, 1, "1", 4_700_000);
        assert_eq!(found(&tree, &[0, 1]), []);
        let tree = policy(tree, 2, "2", 3_700_000);
        let expected = [("performance", "0-1"), ("efficiency", "2")];
        assert_eq!(found(&tree, &[0, 1, 2]), expected.map(|(role, cpus)| (role, cpus.to_owned())));
    }
}
