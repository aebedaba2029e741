//! The frequency policies of the host: which CPUs each governs, by which driver, and what it is set to.
//!
//! Two layouts are in use: `/sys/devices/system/cpu/cpufreq/policyN`, and in older kernels one `cpufreq`
//! folder per CPU, which may be a link to that of another CPU. Both end as one entry per policy. A policy
//! all of whose CPUs are offline is left out: it can't be set. Frequencies are in kHz, as the kernel's.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cpu_list;
use super::sysroot::{Gather, Sourced, Sysroot};

const CPUS: &str = "/sys/devices/system/cpu";

/// One frequency policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// Its folder on the host.
    pub path: String,
    /// The online CPUs that it governs.
    pub cpus: Vec<usize>,
    /// The driver, such as `intel_pstate`.
    pub driver: Option<Sourced<String>>,
    /// The governor now.
    pub governor: Option<Sourced<String>>,
    /// The governors that may be set, in the kernel's order.
    pub available_governors: Vec<String>,
    /// The energy preference now, where the driver has one.
    pub energy_preference: Option<Sourced<String>>,
    /// The energy preferences that may be set.
    pub available_energy_preferences: Vec<String>,
    /// The energy bias of its first CPU, from 0 (performance) to 15 (saving power), where the CPUs have one.
    pub energy_bias: Option<Sourced<String>>,
    /// The lowest frequency now allowed, in kHz.
    pub min_khz: Option<Sourced<u64>>,
    /// The highest frequency now allowed, in kHz.
    pub max_khz: Option<Sourced<u64>>,
    /// The lowest frequency of the hardware, in kHz.
    pub hardware_min_khz: Option<Sourced<u64>>,
    /// The highest frequency of the hardware, in kHz.
    pub hardware_max_khz: Option<Sourced<u64>>,
}

/// All policies of the host as they are now; none on a machine without cpufreq.
#[must_use]
pub fn policies(root: &Sysroot) -> Vec<Policy> {
    read(&Gather::new(root))
}

pub(super) fn read(gather: &Gather<'_>) -> Vec<Policy> {
    let mut seen = BTreeSet::new();
    folders(gather)
        .into_iter()
        .filter(|(_, path)| gather.root.path(path).is_ok_and(|place| seen.insert(place)))
        .filter_map(|(cpu, path)| policy(gather, cpu, path))
        .collect()
}

/// Whether CPUs may run above their base frequency; nothing where that can't be switched.
pub(super) fn boost(gather: &Gather<'_>) -> Option<Sourced<bool>> {
    let switch = |path: &str, on: &str| Some(gather.text(path)?.map(|text| text == on));
    switch(&format!("{CPUS}/cpufreq/boost"), "1")
        .or_else(|| switch(&format!("{CPUS}/intel_pstate/no_turbo"), "0"))
}

/// The lowest and the highest frequency of the hardware of `cpus`, in kHz.
pub(super) fn hardware_limits(
    gather: &Gather<'_>,
    policies: &[Policy],
    cpus: &[usize],
) -> [Option<Sourced<u64>>; 2] {
    let of_policies = policies
        .iter()
        .filter(|policy| policy.cpus.iter().any(|cpu| cpus.contains(cpu)))
        .map(|policy| [policy.hardware_min_khz.clone(), policy.hardware_max_khz.clone()]);
    // A CPU that is offline is in no policy and may have a folder all the same.
    let governed = |cpu: &usize| policies.iter().any(|policy| policy.cpus.contains(cpu));
    let of_others = cpus.iter().filter(|cpu| !governed(cpu)).map(|cpu| {
        ["cpuinfo_min_freq", "cpuinfo_max_freq"]
            .map(|name| gather.number(&format!("{CPUS}/cpu{cpu}/cpufreq/{name}")))
    });
    let known = |khz: &Sourced<u64>| khz.value > 0;
    let [mut least, mut most]: [Option<Sourced<u64>>; 2] = [None, None];
    for [low, high] in of_policies.chain(of_others) {
        // Of equals the first, so that the source does not depend on how many there are.
        least = [least, low.filter(known)].into_iter().flatten().min_by_key(|khz| khz.value);
        most = [high.filter(known), most].into_iter().flatten().max_by_key(|khz| khz.value);
    }
    [least, most]
}

/// The folders of policies, with the CPU that each is named after.
fn folders(gather: &Gather<'_>) -> Vec<(usize, String)> {
    let numbered = |dir: &str, prefix: &str, below: &str| {
        let mut found: Vec<(usize, String)> = gather
            .list(dir)
            .into_iter()
            .filter_map(|name| {
                let number = name.strip_prefix(prefix)?.parse().ok()?;
                Some((number, format!("{dir}/{name}{below}")))
            })
            .collect();
        found.sort_unstable();
        found
    };
    let policies = numbered(&format!("{CPUS}/cpufreq"), "policy", "");
    if policies.is_empty() { numbered(CPUS, "cpu", "/cpufreq") } else { policies }
}

fn policy(gather: &Gather<'_>, cpu: usize, path: String) -> Option<Policy> {
    let file = |name: &str| gather.text(&format!("{path}/{name}"));
    let words = |name: &str| -> Vec<String> {
        let text = file(name).map(|text| text.value).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let khz = |name: &str| gather.number(&format!("{path}/{name}"));
    let cpus = match gather.root.read(&format!("{path}/affected_cpus")) {
        Ok(list) => cpu_list::parse(&list)?,
        Err(_) => file("related_cpus")
            .and_then(|list| cpu_list::parse(&list.value))
            .unwrap_or_else(|| vec![cpu]),
    };
    let governor = file("scaling_governor");
    let driver = file("scaling_driver");
    if cpus.is_empty() || (governor.is_none() && driver.is_none()) {
        return None;
    }
    Some(Policy {
        driver,
        governor,
        available_governors: words("scaling_available_governors"),
        energy_preference: file("energy_performance_preference"),
        available_energy_preferences: words("energy_performance_available_preferences"),
        energy_bias: gather.text(&format!("{CPUS}/cpu{}/power/energy_perf_bias", cpus[0])),
        min_khz: khz("scaling_min_freq"),
        max_khz: khz("scaling_max_freq"),
        hardware_min_khz: khz("cpuinfo_min_freq"),
        hardware_max_khz: khz("cpuinfo_max_freq"),
        cpus,
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    fn put(tree: Tree, dir: &str, cpus: &str, governor: &str) -> Tree {
        tree.file(&format!("{dir}/affected_cpus"), cpus)
            .file(&format!("{dir}/scaling_driver"), "a-driver\n")
            .file(&format!("{dir}/scaling_governor"), governor)
            .file(&format!("{dir}/scaling_available_governors"), "walt performance \n")
            .file(&format!("{dir}/scaling_max_freq"), "2016000\n")
    }

    #[test]
    fn policies_shared_by_clusters_come_once_in_the_order_of_their_numbers() {
        let mut tree = Tree::new();
        for (policy, cpus) in [(0, "0 1 2\n"), (3, "3 4\n"), (10, "10\n")] {
            tree = put(tree, &format!("{CPUS}/cpufreq/policy{policy}"), cpus, "walt\n");
        }
        let tree = tree
            .file(&format!("{CPUS}/cpufreq/boost"), "0")
            .link("/sys/devices/system/cpu/cpu0/cpufreq", "../cpufreq/policy0");
        let found = policies(&tree.sysroot());
        let cpus: Vec<_> = found.iter().map(|policy| cpu_list::render(&policy.cpus)).collect();
        assert_eq!(cpus, ["0-2", "3-4", "10"]);
        assert_eq!(found[0].governor.as_ref().unwrap().value, "walt");
        assert_eq!(found[0].available_governors, ["walt", "performance"]);
        assert_eq!(found[0].max_khz.as_ref().unwrap().value, 2_016_000);
        assert_eq!(found[2].path, format!("{CPUS}/cpufreq/policy10"));
    }

    #[test]
    fn folders_per_cpu_count_once_when_they_are_links_to_one() {
        let tree = put(Tree::new(), &format!("{CPUS}/cpu0/cpufreq"), "0 1\n", "ondemand\n");
        let tree = tree.link(&format!("{CPUS}/cpu1/cpufreq"), "../cpu0/cpufreq");
        let tree = put(tree, &format!("{CPUS}/cpu2/cpufreq"), "2\n", "ondemand\n");
        let paths: Vec<_> = policies(&tree.sysroot()).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, [format!("{CPUS}/cpu0/cpufreq"), format!("{CPUS}/cpu2/cpufreq")]);
    }

    #[test]
    fn offline_policies_and_empty_folders_are_not_policies() {
        let tree = put(Tree::new(), &format!("{CPUS}/cpufreq/policy0"), "\n", "performance\n")
            .file(&format!("{CPUS}/cpufreq/policy1/affected_cpus"), "1\n");
        assert_eq!(policies(&tree.sysroot()), []);
        assert_eq!(policies(&Tree::new().sysroot()), []);
    }
}
