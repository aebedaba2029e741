//! The facts that a cached decision may depend on, as short stable texts that a person can compare.
//!
//! A part changes only when the host really became another one: memory is rounded, and nothing that
//! fluctuates, such as available memory or a current frequency, is ever a part. What is done with the
//! parts (a key, an explanation) is not known here.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::sysroot::Sourced;
use crate::unit::Bytes;

/// A fact that decisions depend on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// This very machine, and no other of the same kind.
    Machine,
    /// The architecture.
    Architecture,
    /// Vendor and model of the CPU.
    CpuModel,
    /// Instruction sets that matter to hashing and vector code.
    CpuFlags,
    /// Sockets, cores and threads.
    Topology,
    /// How many CPUs this process can keep busy.
    UsableCpus,
    /// The memory that this process can count on, rounded.
    Memory,
    /// The release of the kernel.
    Kernel,
    /// The hypervisor.
    Virtualization,
    /// Drivers of frequency scaling and the governors they offer.
    Cpufreq,
}

impl Fact {
    /// The name of the fact's part.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Architecture => "architecture",
            Self::CpuModel => "cpu_model",
            Self::CpuFlags => "cpu_flags",
            Self::Topology => "topology",
            Self::UsableCpus => "usable_cpus",
            Self::Memory => "memory",
            Self::Kernel => "kernel",
            Self::Virtualization => "virtualization",
            Self::Cpufreq => "cpufreq",
        }
    }
}

impl Facts {
    /// The wanted facts by name, each as a short text; `unknown` for what no file tells.
    #[must_use]
    pub fn digest_parts(&self, wanted: &[Fact]) -> BTreeMap<String, String> {
        wanted.iter().map(|fact| (fact.name().to_owned(), self.part(*fact))).collect()
    }

    fn part(&self, fact: Fact) -> String {
        let known = match fact {
            Fact::Machine => text(self.machine.as_ref()),
            Fact::Architecture => text(self.arch.as_ref()),
            Fact::CpuModel => text(self.cpus.model.as_ref()).map(|model| {
                let vendor =
                    text(self.cpus.vendor.as_ref()).unwrap_or_else(|| "unknown".to_owned());
                format!("{vendor}, {model}")
            }),
            Fact::CpuFlags => self.cpus.flags.as_ref().map(|flags| flags.value.join(" ")),
            Fact::Topology => self.cpus.topology.as_ref().map(|topology| {
                let topology = topology.value;
                format!(
                    "{} sockets, {} cores, {} threads",
                    topology.sockets, topology.cores, topology.threads
                )
            }),
            Fact::UsableCpus => self.cpus.usable.as_ref().map(|cpus| cpus.value.to_string()),
            Fact::Memory => {
                self.memory.usable.as_ref().map(|memory| rounded(memory.value).to_string())
            }
            Fact::Kernel => text(self.kernel.as_ref()),
            Fact::Virtualization => text(self.virtualization.as_ref()),
            Fact::Cpufreq => Some(self.cpufreq_part()),
        };
        known.unwrap_or_else(|| "unknown".to_owned())
    }

    fn cpufreq_part(&self) -> String {
        let kinds: BTreeSet<String> = self
            .cpufreq
            .iter()
            .map(|policy| {
                let driver = text(policy.driver.as_ref()).unwrap_or_else(|| "unknown".to_owned());
                format!("{driver}: {}", policy.available_governors.join(" "))
            })
            .collect();
        if kinds.is_empty() {
            return "none".to_owned();
        }
        kinds.into_iter().collect::<Vec<_>>().join("; ")
    }
}

fn text(fact: Option<&Sourced<String>>) -> Option<String> {
    fact.map(|fact| fact.value.clone())
}

/// To the nearest quarter of the power of two below: a machine of 16 GiB shows 15.3 to 15.7 GiB, which
/// differs a little from kernel to kernel and must not look like another machine.
fn rounded(bytes: u64) -> Bytes {
    let step = 1_u64 << bytes.max(4).ilog2().saturating_sub(2);
    Bytes(bytes.saturating_add(step / 2) / step * step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    fn facts(memory_kib: u64, available_kib: u64) -> Facts {
        let tree = Tree::new()
            .file(
                "/proc/meminfo",
                &format!("MemTotal: {memory_kib} kB\nMemAvailable: {available_kib} kB\n"),
            )
            .file(
                "/proc/cpuinfo",
                "processor : 0\nvendor_id : AMD\nmodel name : A CPU\nflags : aes\n",
            )
            .file("/sys/devices/system/cpu/online", "0-3\n");
        Facts::read(&tree.sysroot())
    }

    #[test]
    fn parts_are_short_texts_under_the_names_of_their_facts() {
        let parts = facts(16 << 20, 1).digest_parts(&[
            Fact::CpuModel,
            Fact::UsableCpus,
            Fact::Memory,
            Fact::Kernel,
            Fact::Cpufreq,
        ]);
        let expected = [
            ("cpu_model", "AMD, A CPU"),
            ("cpufreq", "none"),
            ("kernel", "unknown"),
            ("memory", "16GiB"),
            ("usable_cpus", "4"),
        ];
        let found: Vec<_> = parts.iter().map(|(name, part)| (&**name, &**part)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn memory_does_not_flap_with_what_kernel_and_firmware_keep_for_themselves() {
        let part = |kib, available| facts(kib, available).digest_parts(&[Fact::Memory]);
        assert_eq!(part(16_253_000, 9_000_000), part(16_393_216, 100));
        assert_eq!(part(16_253_000, 1)["memory"], "16GiB");
        assert_eq!(part(8_010_000, 1)["memory"], "8GiB");
        assert_ne!(part(8_010_000, 1), part(16_253_000, 1));
    }

    #[test]
    fn the_name_of_a_fact_is_the_same_in_yaml_and_in_the_parts() {
        for fact in [Fact::Machine, Fact::CpuModel, Fact::UsableCpus, Fact::Cpufreq] {
            assert_eq!(serde_json::to_value(fact).unwrap(), fact.name());
        }
    }

    proptest::proptest! {
        #[test]
        fn rounding_moves_memory_by_an_eighth_at_most(bytes in 64_u64..1 << 50) {
            let moved = rounded(bytes).0.abs_diff(bytes);
            proptest::prop_assert!(moved <= bytes / 8, "{bytes} moved by {moved}");
        }
    }
}
