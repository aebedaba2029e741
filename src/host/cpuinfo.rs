//! What /proc/cpuinfo says of the CPUs: model, vendor, and the instructions that matter to a verifier.
//!
//! The file differs by architecture: x86 says `model name` and `flags`, ARM `CPU part` and `Features`,
//! RISC-V `uarch` and `isa`. Knows nothing of how many CPUs may be used.

use std::collections::{BTreeMap, BTreeSet};

use super::sysroot::{Gather, Sourced};

const FILE: &str = "/proc/cpuinfo";

/// The instruction sets that change how fast hashing and vector code is.
const FLAGS: [&str; 16] = [
    "aes",
    "asimd",
    "avx",
    "avx2",
    "avx512f",
    "bmi2",
    "hypervisor",
    "sha1",
    "sha2",
    "sha3",
    "sha512",
    "sha_ni",
    "sve",
    "vaes",
    "zbb",
    "zvknhb",
];

/// The CPUs that /proc/cpuinfo lists, each with its fields by name.
#[derive(Debug, Default)]
pub(super) struct CpuInfo {
    processors: Vec<BTreeMap<String, String>>,
    /// Fields of the whole machine that some ARM kernels put after the last CPU.
    machine: BTreeMap<String, String>,
}

impl CpuInfo {
    pub(super) fn read(gather: &Gather<'_>) -> Self {
        let text = gather.text(FILE).map(|text| text.value).unwrap_or_default();
        let mut info = Self::default();
        for block in text.split("\n\n") {
            let fields: BTreeMap<String, String> = block
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .collect();
            if fields.contains_key("processor") {
                info.processors.push(fields);
            } else {
                info.machine.extend(fields);
            }
        }
        info
    }

    /// How many CPUs are listed.
    pub(super) fn count(&self) -> Option<Sourced<usize>> {
        (!self.processors.is_empty()).then(|| Sourced::new(self.processors.len(), FILE))
    }

    /// The value of `field` for the CPU of the given number.
    pub(super) fn of_cpu(&self, cpu: usize, field: &str) -> Option<&str> {
        let number = cpu.to_string();
        self.processors
            .iter()
            .find(|fields| fields.get("processor") == Some(&number))?
            .get(field)
            .map(String::as_str)
    }

    /// The different values of a field, in the order of the CPUs.
    fn distinct(&self, field: &str) -> Vec<&str> {
        let mut seen = Vec::new();
        for value in self.processors.iter().filter_map(|fields| fields.get(field)) {
            if !value.is_empty() && !seen.contains(&value.as_str()) {
                seen.push(value.as_str());
            }
        }
        seen
    }

    /// The name of the model; several, joined by ` + `, where the cores differ.
    pub(super) fn model(&self) -> Option<Sourced<String>> {
        let name = |name: String| Some(Sourced::new(name, FILE));
        for field in ["model name", "cpu model", "uarch", "cpu"] {
            let models = self.distinct(field);
            if !models.is_empty() {
                return name(models.join(" + "));
            }
        }
        let parts = self.distinct("CPU part");
        if parts.is_empty() {
            return self
                .machine
                .get("Model")
                .or(self.machine.get("Hardware"))
                .cloned()
                .and_then(name);
        }
        name(format!("part {}", parts.join(" + ")))
    }

    /// Who made the CPU, as the CPU says.
    pub(super) fn vendor(&self) -> Option<Sourced<String>> {
        let vendor = ["vendor_id", "CPU implementer", "mvendorid"]
            .into_iter()
            .find_map(|field| self.distinct(field).first().map(|vendor| (*vendor).to_owned()))?;
        let known = match vendor.as_str() {
            "0x41" => "ARM".to_owned(),
            "0x48" => "HiSilicon".to_owned(),
            "0x51" => "Qualcomm".to_owned(),
            "0x61" => "Apple".to_owned(),
            "0xc0" => "Ampere".to_owned(),
            "0x489" => "SiFive".to_owned(),
            _ => vendor,
        };
        Some(Sourced::new(known, FILE))
    }

    /// The flags that matter and that every CPU has.
    pub(super) fn flags(&self) -> Option<Sourced<Vec<String>>> {
        let words = |fields: &BTreeMap<String, String>| -> Option<BTreeSet<String>> {
            let (list, between) = ["flags", "Features"]
                .into_iter()
                .find_map(|name| Some((fields.get(name)?, ' ')))
                .or_else(|| Some((fields.get("isa")?, '_')))?;
            Some(list.split(between).map(str::to_owned).collect())
        };
        let common = self
            .processors
            .iter()
            .filter_map(words)
            .reduce(|all, more| all.intersection(&more).cloned().collect())?;
        let matter = FLAGS.iter().filter(|flag| common.contains(**flag));
        Some(Sourced::new(matter.map(|flag| (*flag).to_owned()).collect(), FILE))
    }

    /// Whether an x86 CPU says that it is a virtual one; nothing on other architectures, which do not say.
    pub(super) fn hypervisor(&self) -> Option<bool> {
        let flags = self.processors.first()?.get("flags")?;
        Some(flags.split(' ').any(|flag| flag == "hypervisor"))
    }

    /// The architecture by the fields that only one of them has.
    pub(super) fn architecture(&self) -> Option<Sourced<String>> {
        let first = self.processors.first()?;
        let told = if let Some(isa) = first.get("isa") {
            if isa.starts_with("rv64") { "riscv64" } else { "riscv32" }
        } else if let Some(flags) = first.get("flags") {
            if flags.split(' ').any(|flag| flag == "lm") { "x86_64" } else { "i686" }
        } else if first.get("CPU architecture").is_some_and(|version| version == "8") {
            "aarch64"
        } else {
            return None;
        };
        Some(Sourced::new(told.to_owned(), FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    fn info(text: &str) -> CpuInfo {
        let tree = Tree::new().file(FILE, text);
        CpuInfo::read(&Gather::new(&tree.sysroot()))
    }

    #[test]
    fn x86_tells_a_model_and_its_sha_instructions() {
        let cpu = "vendor_id\t: GenuineIntel\nmodel name\t: Some CPU @ 2GHz\nflags\t\t: fpu lm sha_ni avx2 aes\n";
        let info = info(&format!("processor\t: 0\n{cpu}\nprocessor\t: 1\n{cpu}\n"));
        assert_eq!(info.count().unwrap().value, 2);
        assert_eq!(info.model().unwrap().value, "Some CPU @ 2GHz");
        assert_eq!(info.flags().unwrap().value, ["aes", "avx2", "sha_ni"]);
        assert_eq!(info.hypervisor(), Some(false));
        assert_eq!(info.architecture().unwrap().value, "x86_64");
    }

    #[test]
    fn cores_of_several_kinds_are_all_named_and_only_common_flags_count() {
        let info = info(
            "processor : 0\nFeatures : asimd aes sve\nCPU implementer : 0x41\nCPU architecture: 8\nCPU part : 0xd46\n\n\
             processor : 1\nFeatures : asimd aes\nCPU implementer : 0x41\nCPU architecture: 8\nCPU part : 0xd4d\n\n\
             Hardware : a board\n",
        );
        assert_eq!(info.model().unwrap().value, "part 0xd46 + 0xd4d");
        assert_eq!(info.vendor().unwrap().value, "ARM");
        assert_eq!(info.flags().unwrap().value, ["aes", "asimd"]);
        assert_eq!(info.hypervisor(), None);
        assert_eq!(info.architecture().unwrap().value, "aarch64");
    }

    #[test]
    fn riscv_tells_its_extensions_in_one_word() {
        let info = info(
            "processor : 0\nhart : 3\nisa : rv64imafdc_zicsr_zbb\nuarch : sifive,u74-mc\nmvendorid : 0x489\n",
        );
        assert_eq!(info.model().unwrap().value, "sifive,u74-mc");
        assert_eq!(info.vendor().unwrap().value, "SiFive");
        assert_eq!(info.flags().unwrap().value, ["zbb"]);
        assert_eq!(info.architecture().unwrap().value, "riscv64");
    }

    #[test]
    fn a_host_without_the_file_has_no_figures() {
        let info = CpuInfo::read(&Gather::new(&Tree::new().sysroot()));
        assert!(info.count().is_none() && info.model().is_none() && info.flags().is_none());
    }
}
