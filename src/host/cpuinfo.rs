//! What /proc/cpuinfo says of the CPUs: models, vendor, and the instructions that matter to a verifier.
//!
//! The file differs by architecture: x86 says `model name` and `flags`, ARM `CPU part` and `Features`, RISC-V `uarch`
//! and `isa`, POWER `cpu`, and s390 nearly all before the first CPU. Models are told apart as lscpu(1) does. Knows
//! nothing of how many CPUs may be used, nor how they are arranged.

use std::collections::BTreeSet;

use super::cpu_parts;
use super::sysroot::{Gather, Sourced};

const FILE: &str = "/proc/cpuinfo";

/// The instruction sets that change how fast hashing and vector code is.
const FLAGS: [&str; 29] = [
    "aes",
    "amx_tile",
    "asimd",
    "atomics",
    "avx",
    "avx2",
    "avx512bw",
    "avx512dq",
    "avx512f",
    "avx512vl",
    "avx512_vnni",
    "bmi2",
    "crc32",
    "hypervisor",
    "lasx",
    "neon",
    "pclmulqdq",
    "sha1",
    "sha2",
    "sha3",
    "sha512",
    "sha_ni",
    "sse4_2",
    "sve",
    "sve2",
    "vaes",
    "vx",
    "zbb",
    "zvknhb",
];

/// The fields that are looked at; the others are not kept.
const FIELDS: [&str; 35] = [
    "processor",
    "cpu number",
    "vendor_id",
    "vendor",
    "CPU implementer",
    "mvendorid",
    "CPU part",
    "model",
    "mimpid",
    "cpu model",
    "model name",
    "Model Name",
    "cpu",
    "uarch",
    "stepping",
    "CPU variant",
    "CPU revision",
    "revision",
    "CPU Revision",
    "cpu family",
    "family",
    "CPU Family",
    "marchid",
    "CPU architecture",
    "microcode",
    "flags",
    "Features",
    "features",
    "isa",
    "physical id",
    "core id",
    "max thread id",
    "Model",
    "Hardware",
    "machine",
];

/// Fields by name, of one CPU or of the whole machine. The last of a name counts.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// The CPUs that /proc/cpuinfo lists, each with its fields by name.
#[derive(Debug, Default)]
pub(super) struct CpuInfo {
    processors: Vec<(usize, Fields)>,
    /// Fields of the whole machine, which stand before the first CPU (s390) or after the last (POWER, some ARM).
    machine: Fields,
}

/// A model of CPU and the CPUs that are of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Identity {
    pub(super) name: Option<String>,
    pub(super) vendor: Option<String>,
    pub(super) family: Option<String>,
    pub(super) model: Option<String>,
    pub(super) stepping: Option<String>,
    pub(super) cpus: Vec<usize>,
}

impl CpuInfo {
    pub(super) fn read(gather: &Gather<'_>) -> Self {
        let text = gather.text(FILE).map(|text| text.value).unwrap_or_default();
        let mut info = Self::default();
        let mut block = (None, Fields::default());
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else {
                if line.trim().is_empty() {
                    info.end(std::mem::take(&mut block));
                }
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            let Some(name) = FIELDS.iter().find(|known| **known == name) else { continue };
            if matches!(*name, "processor" | "cpu number") {
                if block.0.is_some() {
                    info.end(std::mem::take(&mut block));
                }
                block.0 = value.parse::<usize>().ok();
            } else if !value.is_empty() {
                block.1.0.push((name, value.to_owned()));
            }
        }
        info.end(block);
        info
    }

    fn end(&mut self, (number, fields): (Option<usize>, Fields)) {
        match number {
            Some(number) => self.processors.push((number, fields)),
            None => self.machine.0.extend(fields.0),
        }
    }

    /// The numbers of the CPUs that are listed.
    pub(super) fn listed(&self) -> Option<Sourced<Vec<usize>>> {
        let numbers: BTreeSet<usize> = self.processors.iter().map(|(number, _)| *number).collect();
        (!numbers.is_empty()).then(|| Sourced::new(numbers.into_iter().collect(), FILE))
    }

    /// The value of `field` for the CPU of the given number.
    pub(super) fn of_cpu(&self, cpu: usize, field: &str) -> Option<&str> {
        self.processors.iter().find(|(number, _)| *number == cpu)?.1.get(field)
    }

    /// The value of `field` for the whole machine.
    pub(super) fn of_machine(&self, field: &str) -> Option<&str> {
        self.machine.get(field)
    }

    /// True where CPUs are identified as ARM's are.
    pub(super) fn is_arm(&self) -> bool {
        let first = self.processors.first().map(|(_, fields)| fields);
        first.into_iter().chain([&self.machine]).any(|fields| fields.get("CPU part").is_some())
    }

    /// The models, in the order of their first CPU: CPUs of the same vendor, model, name and stepping are of one.
    pub(super) fn identities(&self) -> Vec<Identity> {
        let mut found: Vec<([Option<&str>; 4], Identity)> = Vec::new();
        let nothing = Fields::default();
        let only_machine = self.processors.is_empty() && !self.machine.0.is_empty();
        let alone = only_machine.then_some((None, &nothing));
        let listed = self.processors.iter().map(|(number, fields)| (Some(*number), fields));
        for (number, fields) in alone.into_iter().chain(listed) {
            let first = |names: &[&str]| {
                names.iter().find_map(|name| fields.get(name).or_else(|| self.machine.get(name)))
            };
            let told = Told {
                vendor: first(&["vendor_id", "vendor", "CPU implementer", "mvendorid"]),
                part: first(&["CPU part", "model", "mimpid", "cpu model"]),
                name: first(&["model name", "Model Name", "cpu", "uarch"]),
                stepping: first(&["stepping", "CPU variant"]),
                revision: first(&["CPU revision", "revision", "CPU Revision"]),
            };
            let key = [told.vendor, told.part, told.name, told.stepping];
            let index = found.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
                let mut identity = told.identity(fields.get("CPU part").is_some() || self.is_arm());
                identity.family =
                    first(&["cpu family", "family", "CPU Family", "marchid"]).map(str::to_owned);
                if identity.name.is_none() {
                    identity.name = first(&["cpu model", "Model", "Hardware"]).map(str::to_owned);
                }
                found.push((key, identity));
                found.len() - 1
            });
            found[index].1.cpus.extend(number);
        }
        found.into_iter().map(|(_, identity)| identity).collect()
    }

    /// The name of the model; several, joined by ` + `, where the cores differ.
    pub(super) fn model(&self) -> Option<Sourced<String>> {
        let mut names: Vec<String> = Vec::new();
        for name in self.identities().into_iter().filter_map(|identity| identity.name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| Sourced::new(names.join(" + "), FILE))
    }

    /// Who made the CPU, as the CPU says.
    pub(super) fn vendor(&self) -> Option<Sourced<String>> {
        let vendor = self.identities().into_iter().find_map(|identity| identity.vendor)?;
        // RISC-V tells the maker's number in the list of JEDEC.
        let known = if vendor == "0x489" { "SiFive".to_owned() } else { vendor };
        Some(Sourced::new(known, FILE))
    }

    /// The version of the microcode of the first CPU.
    pub(super) fn microcode(&self) -> Option<Sourced<String>> {
        let told = self.processors.first()?.1.get("microcode")?;
        Some(Sourced::new(told.to_owned(), FILE))
    }

    /// The different lists of flags.
    fn flag_lists(&self) -> Vec<&str> {
        let mut lists: Vec<&str> = Vec::new();
        let fields = self.processors.iter().map(|(_, fields)| fields).chain([&self.machine]);
        for fields in fields {
            let list =
                ["flags", "Features", "features", "isa"].iter().find_map(|name| fields.get(name));
            if let Some(list) = list
                && !lists.contains(&list)
            {
                lists.push(list);
            }
        }
        lists
    }

    /// The flags that matter and that every CPU has.
    pub(super) fn flags(&self) -> Option<Sourced<Vec<String>>> {
        let lists = self.flag_lists();
        if lists.is_empty() {
            return None;
        }
        let has = |list: &&str, flag: &str| {
            list.split([' ', '_']).any(|word| word == flag)
                || list.split(' ').any(|word| word == flag)
        };
        let common = FLAGS.iter().filter(|flag| lists.iter().all(|list| has(list, flag)));
        Some(Sourced::new(common.map(|flag| (*flag).to_owned()).collect(), FILE))
    }

    /// Whether an x86 CPU says that it is a virtual one; nothing on other architectures, which do not say.
    pub(super) fn hypervisor(&self) -> Option<bool> {
        let flags = self.processors.first()?.1.get("flags")?;
        Some(flags.split(' ').any(|flag| flag == "hypervisor"))
    }

    /// The architecture by the fields that only one of them has.
    pub(super) fn architecture(&self) -> Option<Sourced<String>> {
        let first = &self.processors.first()?.1;
        let told = if let Some(isa) = first.get("isa") {
            if isa.starts_with("rv64") { "riscv64" } else { "riscv32" }
        } else if let Some(flags) = first.get("flags") {
            if flags.split(' ').any(|flag| flag == "lm") { "x86_64" } else { "i686" }
        } else if let Some(version) = first.get("CPU architecture") {
            if version == "8" { "aarch64" } else { "arm" }
        } else if self.machine.get("vendor_id") == Some("IBM/S390") {
            "s390x"
        } else if first.get("CPU Family") == Some("Loongson-64bit") {
            "loongarch64"
        } else {
            return None;
        };
        Some(Sourced::new(told.to_owned(), FILE))
    }
}

/// What the file tells of a model, in its own words.
struct Told<'a> {
    vendor: Option<&'a str>,
    part: Option<&'a str>,
    name: Option<&'a str>,
    stepping: Option<&'a str>,
    revision: Option<&'a str>,
}

impl Told<'_> {
    fn identity(&self, is_arm: bool) -> Identity {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let mut identity = Identity {
            name: owned(self.name),
            vendor: owned(self.vendor),
            model: owned(self.revision.or(self.part)),
            stepping: owned(self.stepping),
            ..Identity::default()
        };
        let Some(maker) = self.vendor.and_then(hex).filter(|_| is_arm) else { return identity };
        if let Some(known) = cpu_parts::maker(maker) {
            identity.vendor = Some(known.to_owned());
        }
        let part = self.part.and_then(hex);
        if let Some(known) = part.and_then(|part| cpu_parts::part(maker, part)) {
            identity.name = Some(known.to_owned());
        } else if identity.name.is_none() {
            identity.name = self.part.map(|part| format!("part {part}"));
        }
        let variant = self.stepping.and_then(hex);
        if let (0x41, Some(variant), Some(revision)) = (maker, variant, self.revision) {
            identity.stepping = Some(format!("r{variant}p{revision}"));
        }
        identity
    }
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
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
        assert_eq!(info.listed().unwrap().value, [0, 1]);
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
        assert_eq!(info.model().unwrap().value, "Cortex-A510 + Cortex-A715");
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
        assert!(info.listed().is_none() && info.model().is_none() && info.flags().is_none());
    }

    #[test]
    fn a_part_that_nobody_knows_keeps_the_name_it_was_given_or_its_number() {
        let cpu = "processor : 0\nCPU implementer : 0x41\nCPU variant : 0x3\nCPU part : 0xfff\nCPU revision : 2\n";
        let unnamed = &info(cpu).identities()[0];
        assert_eq!(unnamed.name.as_deref(), Some("part 0xfff"));
        assert_eq!(unnamed.stepping.as_deref(), Some("r3p2"));
        let named = info(&format!("{cpu}model name : ARMv7 Processor rev 2 (v7l)\n"));
        assert_eq!(named.model().unwrap().value, "ARMv7 Processor rev 2 (v7l)");
    }

    #[test]
    fn cpus_of_another_stepping_are_another_model() {
        let cpu = |n, stepping| {
            format!("processor : {n}\nvendor_id : X\nmodel name : A\nstepping : {stepping}\n\n")
        };
        let info = info(&(cpu(0, 4) + &cpu(2, 4) + &cpu(5, 7)));
        let cpus: Vec<_> = info.identities().into_iter().map(|model| model.cpus).collect();
        assert_eq!(cpus, [vec![0, 2], vec![5]]);
        assert_eq!(info.model().unwrap().value, "A");
    }

    #[test]
    fn what_stands_once_for_the_whole_machine_is_told_of_every_cpu() {
        let s390 = info(
            "vendor_id : IBM/S390\nmax thread id : 1\nfeatures : esan3 vx\nprocessor 0: version = 00\n\n\
             cpu number : 0\ncpu MHz static : 5000\n\ncpu number : 1\n",
        );
        let model = &s390.identities()[0];
        assert_eq!((model.vendor.as_deref(), model.name.as_deref()), (Some("IBM/S390"), None));
        assert_eq!(model.cpus, [0, 1]);
        assert_eq!(s390.of_machine("max thread id"), Some("1"));
        assert_eq!(s390.architecture().unwrap().value, "s390x");
        let power = info(
            "processor : 0\ncpu : POWER7 (architected), altivec supported\nrevision : 2.1\n\n\
             platform : pSeries\nmodel : IBM,8231\n",
        );
        let model = &power.identities()[0];
        assert_eq!(model.name.as_deref(), Some("POWER7 (architected), altivec supported"));
        assert_eq!(model.model.as_deref(), Some("2.1"));
    }
}
