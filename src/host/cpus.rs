//! The CPUs of a host: which there are, which this process may use, of which models, and how they are arranged.
//!
//! What a process may use is the least over affinity, cpuset and quota of every enclosing control group. Frequencies
//! and what sets them are in `cpufreq`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cgroup::Limits;
use super::core_class::{self, CoreClass};
use super::cpu_cache::{self, CpuCache};
use super::cpu_list;
use super::cpufreq::{self, Policy};
use super::cpuinfo::CpuInfo;
use super::sysroot::{Gather, Sourced};
use super::topology::{self, Shape, Topology};

const FOLDER: &str = "/sys/devices/system/cpu";

/// The CPUs of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cpus {
    /// CPUs that are in the machine.
    pub present: Option<Sourced<Vec<usize>>>,
    /// CPUs that run.
    pub online: Option<Sourced<Vec<usize>>>,
    /// CPUs that are in the machine and do not run.
    pub offline: Option<Sourced<Vec<usize>>>,
    /// CPUs that this process is bound to, by whoever started it.
    pub affinity: Option<Sourced<Vec<usize>>>,
    /// CPUs that the control groups of this process allow.
    pub cpuset: Option<Sourced<Vec<usize>>>,
    /// CPUs that this process may run on: those in all of the lists above.
    pub allowed: Option<Sourced<Vec<usize>>>,
    /// CPU time that this process may use per time, in CPUs; absent where no quota is set.
    pub quota: Option<Sourced<f64>>,
    /// How many CPUs this process can keep busy: the allowed ones, or the quota rounded up if that is less.
    pub usable: Option<Sourced<usize>>,
    /// The name of the model; several, joined by ` + `, where the cores differ.
    pub model: Option<Sourced<String>>,
    /// The maker.
    pub vendor: Option<Sourced<String>>,
    /// The version of the microcode.
    pub microcode: Option<Sourced<String>>,
    /// Instruction sets that matter here and that all CPUs have.
    pub flags: Option<Sourced<Vec<String>>>,
    /// Whether cores run more than one thread: `on`, `off`, `notsupported` and so on, as the kernel says.
    pub smt: Option<Sourced<String>>,
    /// Sockets, cores and threads.
    pub topology: Option<Sourced<Topology>>,
    /// The models that there are, each with its CPUs and how they are arranged.
    pub models: Vec<Model>,
    /// The classes of cores of a hybrid machine, the strongest first; none where all are alike.
    pub classes: Vec<CoreClass>,
    /// The caches by name.
    pub caches: Vec<CpuCache>,
}

/// CPUs of one model: of the same vendor, name, model and stepping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// Its name; of an ARM core that of its part number.
    pub name: Option<String>,
    /// The maker.
    pub vendor: Option<String>,
    /// The family.
    pub family: Option<String>,
    /// The number of the model, or the revision where there is one.
    pub model: Option<String>,
    /// The stepping.
    pub stepping: Option<String>,
    /// The CPUs that are of it.
    pub cpus: Sourced<Vec<usize>>,
    /// How they are arranged.
    pub shape: Option<Sourced<Shape>>,
    /// The lowest frequency of the hardware, in kHz.
    pub min_khz: Option<Sourced<u64>>,
    /// The highest frequency of the hardware, in kHz.
    pub max_khz: Option<Sourced<u64>>,
}

pub(super) fn read(
    gather: &Gather<'_>,
    info: &CpuInfo,
    limits: &Limits,
    policies: &[Policy],
) -> Cpus {
    let list = |name: &str| {
        let text = gather.text(&format!("{FOLDER}/{name}"))?;
        Some(Sourced::new(cpu_list::parse(&text.value)?, text.source))
    };
    let folders = folders(gather, list("possible").map(|possible| possible.value).as_deref());
    let present = list("present");
    let online = list("online")
        .or_else(|| info.listed())
        .or_else(|| present.clone())
        .or_else(|| (!folders.is_empty()).then(|| Sourced::new(folders.clone(), FOLDER)));
    let affinity = if gather.root.is_live() { affinity(gather) } else { None };
    let allowed = [online.as_ref(), affinity.as_ref(), limits.cpus.as_ref()]
        .into_iter()
        .flatten()
        .cloned()
        .reduce(narrower);
    let running = online.as_ref().map_or(&[][..], |online| &online.value);
    let mut identities = info.identities();
    if let Some(first) = identities.first_mut() {
        // What /proc/cpuinfo does not list, as a CPU that is offline, is taken to be as the first.
        let listed = info.listed().map_or_else(Vec::new, |listed| listed.value);
        let there = present.as_ref().map_or(running, |present| &present.value);
        first.cpus.extend(there.iter().filter(|cpu| !listed.contains(cpu)));
        first.cpus.sort_unstable();
    }
    let arrangement = topology::read(gather, (&folders, running), info, &identities);
    let models = identities.into_iter().zip(arrangement.models);
    let models = models
        .map(|(identity, shape)| {
            let [min_khz, max_khz] = cpufreq::hardware_limits(gather, policies, &identity.cpus);
            Model {
                name: identity.name,
                vendor: identity.vendor,
                family: identity.family,
                model: identity.model,
                stepping: identity.stepping,
                cpus: Sourced::new(identity.cpus, "/proc/cpuinfo"),
                shape: shape.map(|shape| Sourced::new(shape, topology::SOURCE)),
                min_khz,
                max_khz,
            }
        })
        .collect();
    Cpus {
        offline: offline(present.as_ref(), online.as_ref()),
        cpuset: limits.cpus.clone(),
        usable: usable(allowed.as_ref(), limits.quota.as_ref()),
        quota: limits.quota.clone(),
        model: info.model(),
        vendor: info.vendor(),
        microcode: info
            .microcode()
            .or_else(|| gather.text(&format!("{FOLDER}/cpu0/microcode/version"))),
        flags: info.flags(),
        smt: gather.text(&format!("{FOLDER}/smt/control")),
        topology: arrangement.machine,
        models,
        classes: core_class::read(gather, running, policies),
        caches: cpu_cache::read(gather, &folders),
        present,
        affinity,
        allowed,
        online,
    }
}

/// The CPUs that have a folder and are possible, ascending.
fn folders(gather: &Gather<'_>, possible: Option<&[usize]>) -> Vec<usize> {
    let mut cpus: Vec<usize> = gather
        .list(FOLDER)
        .iter()
        .filter_map(|name| name.strip_prefix("cpu")?.parse().ok())
        .filter(|cpu| possible.is_none_or(|possible| possible.contains(cpu)))
        .collect();
    cpus.sort_unstable();
    cpus
}

fn offline(
    present: Option<&Sourced<Vec<usize>>>,
    online: Option<&Sourced<Vec<usize>>>,
) -> Option<Sourced<Vec<usize>>> {
    let (present, online) = (present?, online?);
    let rest: Vec<usize> =
        present.value.iter().copied().filter(|cpu| !online.value.contains(cpu)).collect();
    (!rest.is_empty())
        .then(|| Sourced::new(rest, format!("{} less {}", present.source, online.source)))
}

fn usable(
    allowed: Option<&Sourced<Vec<usize>>>,
    quota: Option<&Sourced<f64>>,
) -> Option<Sourced<usize>> {
    let allowed = allowed?;
    // A quota below one CPU still lets one thread run, a part of the time.
    let most = |quota: &Sourced<f64>| (quota.value.ceil() as usize).max(1);
    Some(match quota {
        Some(quota) if most(quota) < allowed.value.len() => {
            Sourced::new(most(quota), quota.source.clone())
        }
        _ => Sourced::new(allowed.value.len(), allowed.source.clone()),
    })
}

/// The CPUs in both lists; the source stays where the second takes nothing away.
fn narrower(all: Sourced<Vec<usize>>, next: Sourced<Vec<usize>>) -> Sourced<Vec<usize>> {
    let both: Vec<usize> =
        all.value.iter().copied().filter(|cpu| next.value.binary_search(cpu).is_ok()).collect();
    // Lists that share nothing describe different machines: a copied tree may hold such.
    if both.len() == all.value.len() || both.is_empty() {
        return all;
    }
    Sourced::new(both, next.source)
}

fn affinity(gather: &Gather<'_>) -> Option<Sourced<Vec<usize>>> {
    let status = gather.text("/proc/self/status")?;
    let list = status.value.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(Sourced::new(cpu_list::parse(list)?, status.source))
}

#[cfg(test)]
mod tests {
    use super::super::Facts;
    use super::*;
    use crate::host::tree::Tree;

    #[test]
    fn sparse_and_offline_cpus_keep_their_numbers() {
        let cpu = |number| format!("processor : {number}\nvendor_id : X\nmodel name : A\n\n");
        let tree = Tree::new()
            .file(&format!("{FOLDER}/possible"), "0-7\n")
            .file(&format!("{FOLDER}/present"), "0,2,5-6\n")
            .file(&format!("{FOLDER}/online"), "0,5-6\n")
            .file("/proc/cpuinfo", &(cpu(0) + &cpu(5) + &cpu(6)));
        let cpus = Facts::read(&tree.sysroot()).cpus;
        assert_eq!(cpus.offline.unwrap().value, [2]);
        assert_eq!(cpus.usable.unwrap().value, 3);
        assert_eq!(cpus.models[0].cpus.value, [0, 2, 5, 6]);
        assert_eq!(cpus.models[0].shape, None);
    }

    #[test]
    fn without_a_list_of_the_kernel_the_cpus_are_those_that_cpuinfo_tells() {
        let tree = Tree::new().file("/proc/cpuinfo", "processor : 4\n\nprocessor : 9\n");
        let cpus = Facts::read(&tree.sysroot()).cpus;
        assert_eq!(cpus.online.unwrap(), Sourced::new(vec![4, 9], "/proc/cpuinfo"));
    }
}
