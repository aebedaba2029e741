//! The facts of a host: what it is, as far as files tell.
//!
//! Every figure carries its source; one that no file tells is absent, and one whose file could not be read
//! is told in `unreadable`. CPUs and memory are those that this process may use: the least over affinity,
//! cpuset and quota of every enclosing control group. Facts do not change during a run; what does is in
//! `reading`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cgroup;
use super::cpufreq::{self, Policy};
use super::cpuinfo::CpuInfo;
use super::cpus::{self, Cpus};
use super::numa::{self, Node};
use super::sysroot::{Gather, Sourced, Sysroot};
use super::virtualization;

/// The file that lists the mounted disks.
const MOUNTS: &str = "/proc/mounts";

/// How long the mounted disks may take to tell their sizes.
const DISKS_PATIENCE: Duration = Duration::from_secs(2);

/// What a host is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// Its name on the network.
    pub hostname: Option<Sourced<String>>,
    /// The release of the kernel, as `uname -r` prints it.
    pub kernel: Option<Sourced<String>>,
    /// The architecture, as `uname -m` prints it.
    pub arch: Option<Sourced<String>>,
    /// Changes with every boot.
    pub boot_id: Option<Sourced<String>>,
    /// A digest of the machine's id, which itself is confidential (machine-id(5)): 16 hex digits.
    pub machine: Option<Sourced<String>>,
    /// The hypervisor; `none` where the machine says that it is real.
    pub virtualization: Option<Sourced<String>>,
    /// The container manager, where there are marks of one.
    pub container: Option<Sourced<String>>,
    /// The CPUs.
    pub cpus: Cpus,
    /// The NUMA nodes; none where the kernel knows of none.
    pub numa: Vec<Node>,
    /// The frequency policies; none on a machine without cpufreq.
    pub cpufreq: Vec<Policy>,
    /// Whether CPUs may run above their base frequency; absent where that can't be switched.
    pub boost: Option<Sourced<bool>>,
    /// The memory.
    pub memory: Memory,
    /// The mounted file systems of this machine; none for a copied tree.
    pub disks: Vec<Disk>,
    /// What is there and yet could not be read, each with its reason.
    pub unreadable: Vec<String>,
}

/// The memory of a host, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// All that the kernel manages.
    pub total: Option<Sourced<u64>>,
    /// What could be used at the time of reading without swapping.
    pub available: Option<Sourced<u64>>,
    /// All swap space.
    pub swap: Option<Sourced<u64>>,
    /// The tightest limit of an enclosing control group.
    pub limit: Option<Sourced<u64>>,
    /// What this process can count on: the total, or the limit if that is less.
    pub usable: Option<Sourced<u64>>,
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: Sourced<String>,
    /// Its type, such as `ext4`.
    pub file_system: Sourced<String>,
    /// Its size in bytes.
    pub total: Sourced<u64>,
    /// Bytes free to this user at the time of reading.
    pub available: Sourced<u64>,
}

impl Facts {
    /// Reads the facts of the host below `root`. Whatever is missing there is absent here.
    #[must_use]
    pub fn read(root: &Sysroot) -> Self {
        let gather = Gather::new(root);
        let info = CpuInfo::read(&gather);
        let limits = cgroup::read(&gather);
        let policies = cpufreq::read(&gather);
        Self {
            hostname: gather
                .text("/proc/sys/kernel/hostname")
                .or_else(|| gather.text("/etc/hostname")),
            kernel: gather.text("/proc/sys/kernel/osrelease"),
            arch: architecture(&gather, &info),
            boot_id: boot_id(&gather),
            machine: gather
                .text("/etc/machine-id")
                // As images have it before their first boot (machine-id(5)): no machine's own.
                .filter(|id| id.value != "uninitialized")
                .map(|id| id.map(|id| machine_digest(&id))),
            virtualization: virtualization::hypervisor(&gather, &info),
            container: virtualization::container(&gather),
            cpus: cpus::read(&gather, &info, &limits, &policies),
            numa: numa::read(&gather),
            boost: cpufreq::boost(&gather),
            cpufreq: policies,
            memory: memory(&gather, limits.memory),
            disks: if root.is_live() { disks(&gather) } else { Vec::new() },
            unreadable: gather.into_unreadable(),
        }
    }

    /// What tells this host from all others: the digest of its machine id, else its name; `unknown` without both.
    #[must_use]
    pub fn identity(&self) -> &str {
        let known = self.machine.as_ref().or(self.hostname.as_ref());
        known.map_or("unknown", |identity| &identity.value)
    }

    /// The facts that expressions of a pipeline see as `host.*`: one flat object, in which what no file tells is null.
    ///
    /// `cpus` (usable, integer), `cpus_online` (integer), `memory` (usable bytes, integer), `hostname`,
    /// `kernel`, `arch`, `virtualization` (texts), `has_cpufreq` (boolean).
    #[must_use]
    pub fn expression_values(&self) -> Value {
        let text = |fact: &Option<Sourced<String>>| fact.as_ref().map(|fact| fact.value.clone());
        json!({
            "cpus": self.cpus.usable.as_ref().map(|cpus| cpus.value),
            "cpus_online": self.cpus.online.as_ref().map(|cpus| cpus.value.len()),
            "memory": self.memory.usable.as_ref().map(|memory| memory.value),
            "hostname": text(&self.hostname),
            "kernel": text(&self.kernel),
            "arch": text(&self.arch),
            "virtualization": text(&self.virtualization),
            "has_cpufreq": !self.cpufreq.is_empty(),
        })
    }
}

/// The id of this boot of the host; nothing where the kernel tells none.
#[must_use]
pub fn boot(root: &Sysroot) -> Option<String> {
    boot_id(&Gather::new(root)).map(|id| id.value)
}

fn boot_id(gather: &Gather<'_>) -> Option<Sourced<String>> {
    gather.text("/proc/sys/kernel/random/boot_id")
}

fn machine_digest(id: &str) -> String {
    blake3::Hash::from(blake3::derive_key("trueup machine id", id.as_bytes())).to_hex()[..16]
        .to_owned()
}

fn architecture(gather: &Gather<'_>, info: &CpuInfo) -> Option<Sourced<String>> {
    if let Some(arch) = gather.text("/proc/sys/kernel/arch") {
        return Some(arch);
    }
    if gather.root.is_live() {
        return Some(Sourced::new(sysinfo::System::cpu_arch(), "uname(2)"));
    }
    info.architecture()
}

/// One line of /proc/meminfo, in bytes.
pub(super) fn meminfo(gather: &Gather<'_>, field: &str) -> Option<Sourced<u64>> {
    let text = gather.text("/proc/meminfo")?;
    let line = text.value.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(Sourced::new(kibibytes.checked_mul(1024)?, text.source))
}

fn memory(gather: &Gather<'_>, limit: Option<Sourced<u64>>) -> Memory {
    let total = meminfo(gather, "MemTotal");
    let usable = match (&total, &limit) {
        (Some(total), Some(limit)) if limit.value < total.value => Some(limit.clone()),
        (None, limit) => limit.clone(),
        (total, _) => total.clone(),
    };
    Memory {
        available: meminfo(gather, "MemAvailable"),
        swap: meminfo(gather, "SwapTotal"),
        total,
        limit,
        usable,
    }
}

/// The mounted file systems. A network file system whose server is gone blocks whoever asks for its size,
/// so a thread of its own asks, and is not waited for longer than [`DISKS_PATIENCE`].
fn disks(gather: &Gather<'_>) -> Vec<Disk> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(mounted()));
    match told.recv_timeout(DISKS_PATIENCE) {
        Ok(Ok(disks)) => return disks,
        Ok(Err(trouble)) => gather.note(format!("could not list the mounted disks: {trouble}")),
        Err(_) => gather.note(format!(
            "could not list the mounted disks within {} s: one of them does not answer",
            DISKS_PATIENCE.as_secs()
        )),
    }
    Vec::new()
}

fn mounted() -> Result<Vec<Disk>, sysinfo::Error> {
    let mut disks: Vec<Disk> = sysinfo::Disks::new_with_refreshed_list()?
        .iter()
        .map(|disk| {
            let mount = disk.mount_point().display().to_string();
            let asked = format!("statvfs {mount}");
            Disk {
                mount: Sourced::new(mount, MOUNTS),
                file_system: Sourced::new(disk.file_system().to_string_lossy().into(), MOUNTS),
                total: Sourced::new(disk.total_space(), asked.as_str()),
                available: Sourced::new(disk.available_space(), asked.as_str()),
            }
        })
        .collect();
    disks.sort_unstable_by(|a, b| a.mount.value.cmp(&b.mount.value));
    Ok(disks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    /// Four CPUs, of which one is offline, in a group with a quota of one CPU and a half and 1 GiB.
    fn container() -> Tree {
        Tree::new()
            .file("/proc/sys/kernel/hostname", "box\n")
            .file("/proc/sys/kernel/osrelease", "6.1.0-1\n")
            .file("/proc/sys/kernel/random/boot_id", "11111111-2222\n")
            .file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
            .file("/proc/cpuinfo", "processor : 0\nmodel name : A CPU\nflags : lm aes\n")
            .file("/sys/devices/system/cpu/present", "0-3\n")
            .file("/sys/devices/system/cpu/online", "0-2\n")
            .file("/proc/self/cgroup", "0::/pod\n")
            .file("/sys/fs/cgroup/pod/cpu.max", "150000 100000\n")
            .file("/sys/fs/cgroup/pod/memory.max", "1073741824\n")
            .file(
                "/proc/meminfo",
                "MemTotal: 4194304 kB\nMemAvailable: 2097152 kB\nSwapTotal: 0 kB\n",
            )
    }

    #[test]
    fn usable_cpus_and_memory_are_those_of_the_container_and_name_its_files() {
        let facts = Facts::read(&container().sysroot());
        assert_eq!(facts.cpus.usable, Some(Sourced::new(2, "/sys/fs/cgroup/pod/cpu.max")));
        assert_eq!(facts.cpus.allowed.unwrap().value, [0, 1, 2]);
        assert_eq!(
            facts.memory.usable,
            Some(Sourced::new(1 << 30, "/sys/fs/cgroup/pod/memory.max"))
        );
        assert_eq!(facts.memory.total.unwrap().value, 4 << 30);
        assert_eq!(facts.unreadable, Vec::<String>::new());
    }

    #[test]
    fn a_cpuset_narrows_the_allowed_cpus_and_a_wide_quota_changes_nothing() {
        let tree = container()
            .file("/sys/fs/cgroup/pod/cpu.max", "400000 100000\n")
            .file("/sys/fs/cgroup/pod/cpuset.cpus.effective", "1,3\n");
        let cpus = Facts::read(&tree.sysroot()).cpus;
        assert_eq!(cpus.allowed.unwrap().value, [1]);
        let usable = cpus.usable.unwrap();
        assert_eq!((usable.value, usable.source.ends_with("cpuset.cpus.effective")), (1, true));
    }

    #[test]
    fn a_quota_far_below_one_cpu_still_leaves_one() {
        let tree = container().file("/sys/fs/cgroup/pod/cpu.max", "1000 100000\n");
        assert_eq!(Facts::read(&tree.sysroot()).cpus.usable.unwrap().value, 1);
    }

    #[test]
    fn a_host_is_told_apart_by_its_machine_id_else_by_its_name() {
        let of = |tree: Tree| Facts::read(&tree.sysroot()).identity().to_owned();
        let machine = of(container());
        assert_eq!(machine.len(), 16);
        assert_eq!(of(container().file("/proc/sys/kernel/hostname", "renamed\n")), machine);
        let other = "fedcba9876543210fedcba9876543210\n";
        assert_ne!(of(container().file("/etc/machine-id", other)), machine);
        for none in ["", "uninitialized\n"] {
            assert_eq!(of(container().file("/etc/machine-id", none)), "box", "{none:?}");
        }
        assert_eq!(of(Tree::new()), "unknown");
    }

    #[test]
    fn the_machine_id_is_never_told_itself() {
        let facts = Facts::read(&container().sysroot());
        let told = serde_json::to_string(&facts).unwrap();
        assert!(!told.contains("0123456789abcdef"), "{told}");
        assert_eq!(facts.machine.unwrap().value.len(), 16);
    }

    #[test]
    fn an_empty_tree_has_no_facts_and_no_troubles() {
        let facts = Facts::read(&Tree::new().sysroot());
        assert_eq!(facts.cpus.usable, None);
        assert_eq!(facts.memory.usable, None);
        assert!(facts.hostname.is_none() && facts.arch.is_none() && facts.unreadable.is_empty());
        assert_eq!(facts.expression_values()["has_cpufreq"], json!(false));
    }

    #[test]
    fn expressions_see_a_flat_object() {
        let values = Facts::read(&container().sysroot()).expression_values();
        assert_eq!(
            values,
            json!({
                "cpus": 2, "cpus_online": 3, "memory": 1_073_741_824_u64, "hostname": "box",
                "kernel": "6.1.0-1", "arch": "x86_64", "virtualization": "none", "has_cpufreq": false,
            })
        );
    }

    #[test]
    fn facts_survive_a_round_trip_through_json() {
        let facts = Facts::read(&container().sysroot());
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
    }

    #[test]
    fn the_live_host_tells_at_least_its_kernel_cpus_and_memory() {
        let facts = Facts::read(&Sysroot::live());
        assert!(facts.kernel.is_some() && facts.arch.is_some());
        assert!(facts.cpus.usable.unwrap().value >= 1);
        assert!(facts.memory.usable.unwrap().value > 0);
    }
}
