//! `trueup host`: what it says of machines is what lscpu(1) of this machine says of them.
//!
//! The trees are made here, of the forms in which real machines come. With `TRUEUP_HOST_TREES` set to a folder of more
//! of them, as folders or archives (`.tar.gz`) of /proc and /sys, those are compared as well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use trueup::host::cpu_list;

use crate::house::{House, list};

const CPU: &str = "sys/devices/system/cpu";

/// What lscpu tells of a tree: fields of the machine, and of each model by itself.
#[derive(Debug, Default)]
struct Lscpu {
    machine: BTreeMap<String, String>,
    models: Vec<BTreeMap<String, String>>,
}

/// Fields that stand below each model.
const OF_MODEL: [&str; 14] = [
    "Model name",
    "CPU family",
    "Model",
    "Stepping",
    "Microcode version",
    "Thread(s) per core",
    "Core(s) per socket",
    "Socket(s) per book",
    "Book(s) per drawer",
    "Drawer(s)",
    "Book(s)",
    "Socket(s)",
    "CPU max MHz",
    "CPU min MHz",
];

fn lscpu(tree: &Path) -> Lscpu {
    let ended = Command::new("lscpu")
        .args(["--bytes", "--sysroot"])
        .arg(tree)
        .env("LC_ALL", "C")
        .output()
        .expect("lscpu of util-linux is needed to compare with; scripts/test installs it");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let mut told = Lscpu::default();
    for line in String::from_utf8(ended.stdout).unwrap().lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        let (field, value) = (field.trim().to_owned(), value.trim().to_owned());
        if field == "Model name" {
            told.models.push(BTreeMap::new());
        }
        match told.models.last_mut() {
            Some(model) if OF_MODEL.contains(&&*field) => model.insert(field, value),
            _ => told.machine.insert(field, value),
        };
    }
    told
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn cpus(value: &Value) -> Option<Vec<usize>> {
    serde_json::from_value(value["value"].clone()).ok()
}

/// What differs between what lscpu and what trueup say of a tree. What lscpu does not know (`-`, 0) is not compared.
fn differences(tree: &Path) -> Vec<String> {
    let house = House::new();
    let path = tree.to_str().unwrap();
    let ended = house.trueup(&["host", "--json", "--sysroot", path]).wanted(0);
    let host: Value = serde_json::from_str(&ended.stdout).unwrap();
    let told = lscpu(tree);
    let mut found = Vec::new();
    let mut compare = |what: &str, lscpu: Option<String>, ours: String| {
        if let Some(lscpu) = lscpu.filter(|value| !matches!(&**value, "-" | "0" | ""))
            && lscpu != ours
        {
            found.push(format!("{what}: lscpu says {lscpu}, trueup {ours}"));
        }
    };
    let machine = |field: &str| told.machine.get(field).cloned();
    let rendered =
        |value: &Value| cpus(value).map_or_else(String::new, |all| cpu_list::render(&all));
    let canonical = |list: Option<String>| Some(cpu_list::render(&cpu_list::parse(&list?)?));
    let many = cpus(&host["cpus"]["present"]).map_or(0, |all| all.len());
    compare("CPUs", machine("CPU(s)"), many.to_string());
    let online = canonical(machine("On-line CPU(s) list"));
    compare("online", online, rendered(&host["cpus"]["online"]));
    let offline = canonical(machine("Off-line CPU(s) list"));
    compare("offline", offline, rendered(&host["cpus"]["offline"]));
    compare("vendor", machine("Vendor ID"), text(&host["cpus"]["models"][0]["vendor"]));
    let nodes = list(&host["numa"]);
    compare("nodes", machine("NUMA node(s)"), nodes.len().to_string());
    for node in &nodes {
        let list = canonical(machine(&format!("NUMA node{} CPU(s)", node["id"])));
        compare("CPUs of a node", list, rendered(&node["cpus"]));
    }
    for cache in list(&host["cpus"]["caches"]) {
        let name = text(&cache["name"]);
        let many = cache["instances"].as_u64().unwrap();
        let plural = if many == 1 { "" } else { "s" };
        let total = &cache["total"]["value"];
        let ours = format!("{total} ({many} instance{plural})");
        compare(&name, machine(&format!("{name} cache")), ours);
    }
    let mut models = list(&host["cpus"]["models"]);
    let many = models.len().to_string();
    let has_counts = |model: &BTreeMap<_, _>| model.contains_key("Thread(s) per core");
    if told.models.iter().any(has_counts) {
        compare("models", Some(told.models.len().to_string()), many);
    }
    for theirs in told.models.iter().filter(|model| has_counts(model)) {
        let wrong =
            |ours: &Value| model_differences(theirs, ours, &host["cpus"]["microcode"]["value"]);
        let Some(index) = models.iter().position(|ours| wrong(ours).is_empty()) else {
            let closest = models.iter().map(wrong).min_by_key(Vec::len).unwrap_or_default();
            found.push(format!("no model is {theirs:?}; the closest: {closest:?}"));
            continue;
        };
        models.remove(index);
    }
    found
}

fn model_differences(
    theirs: &BTreeMap<String, String>,
    ours: &Value,
    microcode: &Value,
) -> Vec<String> {
    let shape = &ours["shape"]["value"];
    let megahertz = |khz: &Value| {
        khz["value"].as_f64().map_or_else(String::new, |khz| format!("{:.4}", khz / 1000.0))
    };
    let pairs = [
        ("Model name", text(&ours["name"])),
        ("CPU family", text(&ours["family"])),
        ("Model", text(&ours["model"])),
        ("Stepping", text(&ours["stepping"])),
        ("Microcode version", text(microcode)),
        ("Thread(s) per core", text(&shape["threads_per_core"])),
        ("Core(s) per socket", text(&shape["cores_per_socket"])),
        ("Socket(s) per book", text(&shape["sockets"])),
        ("Socket(s)", text(&shape["sockets"])),
        ("Book(s) per drawer", text(&shape["books_per_drawer"])),
        ("Book(s)", text(&shape["books_per_drawer"])),
        ("Drawer(s)", text(&shape["drawers"])),
        ("CPU max MHz", megahertz(&ours["max_khz"])),
        ("CPU min MHz", megahertz(&ours["min_khz"])),
    ];
    // Versions of lscpu that do not get the last of several models whole leave its stepping undecoded, too.
    let undecoded = theirs.get("Model name").is_some_and(|name| name == "-");
    let told = pairs.into_iter().filter_map(|(field, ours)| {
        // A CPU that is offline has the least frequency 0 there.
        let theirs =
            theirs.get(field).filter(|value| !matches!(&***value, "-" | "0" | "0.0000"))?;
        let skipped = field == "Stepping" && undecoded;
        (*theirs != ours && !skipped).then(|| format!("{field}: lscpu {theirs}, trueup {ours}"))
    });
    told.collect()
}

/// A tree under way.
struct Machine {
    house: House,
    cpuinfo: String,
}

impl Machine {
    fn new(possible: &str, present: &str, online: &str) -> Self {
        let house = House::new();
        for (name, list) in [("possible", possible), ("present", present), ("online", online)] {
            house.put(&format!("{CPU}/{name}"), &format!("{list}\n"));
        }
        Self { house, cpuinfo: String::new() }
    }

    /// Files of one CPU, each with its path below the folder of the CPU.
    fn cpu(&mut self, number: usize, files: &[(&str, &str)]) -> &mut Self {
        for (path, content) in files {
            self.house.put(&format!("{CPU}/cpu{number}/{path}"), &format!("{content}\n"));
        }
        self
    }

    /// The masks that say with which CPUs one shares a core and a socket.
    fn siblings(&mut self, number: usize, core: &str, socket: &str) -> &mut Self {
        self.cpu(number, &[("topology/thread_siblings", core), ("topology/core_siblings", socket)])
    }

    fn cache(&mut self, number: usize, index: usize, told: [&str; 4]) -> &mut Self {
        let dir = format!("cache/index{index}");
        for (name, content) in ["level", "type", "shared_cpu_map", "size"].iter().zip(told) {
            self.cpu(number, &[(&*format!("{dir}/{name}"), content)]);
        }
        self
    }

    fn frequency(&self, dir: &str, cpus: &str, least: &str, most: &str) {
        let files = [
            ("affected_cpus", cpus),
            ("related_cpus", cpus),
            ("scaling_driver", "acpi-cpufreq"),
            ("scaling_governor", "schedutil"),
            ("cpuinfo_min_freq", least),
            ("cpuinfo_max_freq", most),
        ];
        for (name, content) in files {
            self.house.put(&format!("{CPU}/{dir}/{name}"), &format!("{content}\n"));
        }
    }

    fn told(&mut self, cpuinfo: &str) -> &mut Self {
        self.cpuinfo.push_str(cpuinfo);
        self
    }

    fn x86(&mut self, number: usize, stepping: u32) -> &mut Self {
        let _ = write!(
            self.cpuinfo,
            "processor\t: {number}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n\
             model name\t: Some Xeon(R) @ 2.00GHz\nstepping\t: {stepping}\nmicrocode\t: 0x5003\n\
             cpu MHz\t\t: 2000.000\nflags\t\t: fpu lm aes avx2\nbogomips\t: 4000.00\n\n"
        );
        self
    }

    fn arm(&mut self, number: usize, part: &str, variant: u32, revision: u32) -> &mut Self {
        let _ = write!(
            self.cpuinfo,
            "processor\t: {number}\nBogoMIPS\t: 38.40\nFeatures\t: fp asimd aes\nCPU implementer\t: 0x41\n\
             CPU architecture: 8\nCPU variant\t: 0x{variant:x}\nCPU part\t: {part}\nCPU revision\t: {revision}\n\n"
        );
        self
    }

    fn agrees(&mut self, what: &str) {
        self.house.put("proc/cpuinfo", &self.cpuinfo);
        let found = differences(&self.house.path(""));
        assert_eq!(found, Vec::<String>::new(), "{what}");
    }
}

#[test]
fn two_sockets_with_nodes_caches_and_offline_cpus_are_as_lscpu_says() {
    let mut machine = Machine::new("0-15", "0-7", "0-6");
    for cpu in 0..7_usize {
        let (core, socket) =
            (format!("{:x}", 0b11 << (cpu / 2 * 2)), if cpu < 4 { "f" } else { "f0" });
        machine.siblings(cpu, &core, socket).x86(cpu, 7);
        machine.cache(cpu, 0, ["1", "Data", &core, "32K"]);
        machine.cache(cpu, 1, ["1", "Instruction", &core, "48K"]);
        machine.cache(cpu, 2, ["3", "Unified", socket, "36608K"]);
        machine.frequency(&format!("cpu{cpu}/cpufreq"), &cpu.to_string(), "1200000", "3700000");
    }
    machine.house.put("sys/devices/system/node/node0/cpumap", "0000000f\n");
    machine.house.put("sys/devices/system/node/node1/cpumap", "000000f0\n");
    machine.agrees("two sockets");
}

#[test]
fn sockets_of_two_steppings_and_sparse_numbers_are_as_lscpu_says() {
    let mut machine = Machine::new("0-63", "0,2,40-41", "0,2,40-41");
    machine.siblings(0, "00000000,00000005", "00000000,00000005").x86(0, 4);
    machine.siblings(2, "00000000,00000005", "00000000,00000005").x86(2, 4);
    machine.siblings(40, "00000100,00000000", "00000300,00000000").x86(40, 7);
    machine.siblings(41, "00000200,00000000", "00000300,00000000").x86(41, 7);
    machine.agrees("two steppings");
}

#[test]
fn cores_of_three_kinds_under_shared_policies_are_as_lscpu_says() {
    let mut machine = Machine::new("0-7", "0-7", "0-7");
    let kinds = [(0..3, "0xd46", 1, "7"), (3..7, "0xd4d", 0, "78"), (7..8, "0xd4e", 0, "80")];
    for (cpus, part, revision, cluster) in kinds {
        let first = cpus.start;
        let policy = format!("cpufreq/policy{first}");
        let list: Vec<String> = cpus.clone().map(|cpu| cpu.to_string()).collect();
        let most = format!("{}000", 2_000 + first * 100);
        machine.frequency(&policy, &list.join(" "), "300000", &most);
        for cpu in cpus {
            machine
                .siblings(cpu, &format!("{:02x}", 1 << cpu), cluster)
                .arm(cpu, part, 1, revision);
            let link = machine.house.path(&format!("{CPU}/cpu{cpu}/cpufreq"));
            symlink(format!("../{policy}"), link).unwrap();
        }
    }
    machine.agrees("three kinds of cores");
}

#[test]
fn arm_cores_are_named_by_part_and_by_what_is_known_of_it() {
    for (part, name) in
        [("0xd0c", ""), ("0xfff", "model name : ARMv7 Processor rev 2\n"), ("0xfff", "")]
    {
        let mut machine = Machine::new("0-1", "0-1", "0-1");
        for cpu in 0..2 {
            machine.siblings(cpu, &format!("{}", 1 << cpu), "3").arm(cpu, part, 3, 2);
            let named = machine.cpuinfo.trim_end().to_owned();
            machine.cpuinfo = format!("{named}\n{name}\n");
        }
        machine.agrees(part);
    }
}

#[test]
fn a_mainframe_is_as_lscpu_says_with_and_without_the_word_of_its_hypervisor() {
    for sysinfo in ["Type: 2964\nCPU Topology SW:      0 0 1 4 2 8\n", ""] {
        let mut machine = Machine::new("0-3", "0-3", "0-3");
        machine.told(
            "vendor_id       : IBM/S390\n# processors    : 4\nbogomips per cpu: 3033.00\nmax thread id   : 1\n\
             features\t: esan3 zarch stfle vx\nprocessor 0: version = 00,  machine = 2964\n\n",
        );
        for cpu in 0..4 {
            machine.siblings(cpu, if cpu < 2 { "3" } else { "c" }, "f");
            machine.cpu(cpu, &[("topology/book_siblings", "f"), ("topology/drawer_siblings", "f")]);
            machine.told(&format!("cpu number      : {cpu}\ncpu MHz static  : 5000\n\n"));
        }
        if !sysinfo.is_empty() {
            machine.house.put("proc/sysinfo", sysinfo);
        }
        machine.agrees(sysinfo);
    }
}

#[test]
fn machines_that_tell_little_are_as_lscpu_says() {
    let power = |machine: &mut Machine| {
        for cpu in 0..8 {
            machine.siblings(
                cpu,
                if cpu < 4 { "f" } else { "f0" },
                if cpu < 4 { "f" } else { "f0" },
            );
            machine.told(&format!(
                "processor\t: {cpu}\ncpu\t\t: POWER7 (architected), altivec supported\n\
                 clock\t\t: 3550.000000MHz\nrevision\t: 2.1 (pvr 003f 0201)\n\n"
            ));
        }
        machine.told("timebase\t: 512000000\nplatform\t: pSeries\nmodel\t\t: IBM,8231-E2B\n");
    };
    let no_topology = |machine: &mut Machine| {
        machine.x86(0, 1).x86(1, 1);
        machine.cpu(0, &[("crash_notes", "0")]);
    };
    let sparc = |machine: &mut Machine| {
        machine.siblings(0, "1", "3").siblings(1, "2", "3");
        machine.told("cpu\t\t: UltraSparc T1 (Niagara)\ntype\t\t: sun4v\nncpus active\t: 2\n");
    };
    let mips = |machine: &mut Machine| {
        machine.siblings(0, "1", "3").siblings(1, "2", "3");
        machine.told("system type : Loongson\n\nprocessor : 0\ncpu model : ICT Loongson-3\n\n");
        machine.told("processor : 1\ncpu model : ICT Loongson-3\n\n");
    };
    let machines = [
        ("POWER", "0-7", power as fn(&mut Machine)),
        ("no topology", "0-1", no_topology),
        ("SPARC", "0-1", sparc),
        ("MIPS", "0-1", mips),
    ];
    for (what, cpus, make) in machines {
        let mut machine = Machine::new(cpus, cpus, cpus);
        make(&mut machine);
        machine.agrees(what);
    }
}

#[test]
fn this_machine_is_as_lscpu_says() {
    let house = House::new();
    let host: Value =
        serde_json::from_str(&house.trueup(&["host", "--json"]).wanted(0).stdout).unwrap();
    let ended = Command::new("lscpu").env("LC_ALL", "C").output().expect("lscpu is needed");
    let told = String::from_utf8(ended.stdout).unwrap();
    let field =
        |name: &str| told.lines().find_map(|line| Some(line.trim().strip_prefix(name)?.trim()));
    let present = cpus(&host["cpus"]["present"]).unwrap().len();
    assert_eq!(field("CPU(s):"), Some(&*present.to_string()));
    let online = cpus(&host["cpus"]["online"]).unwrap();
    let listed = field("On-line CPU(s) list:").and_then(cpu_list::parse);
    assert_eq!(listed, Some(online));
}

#[test]
fn more_trees_are_compared_where_the_environment_names_a_folder_of_them() {
    let Some(folder) = std::env::var_os("TRUEUP_HOST_TREES").map(PathBuf::from) else { return };
    let unpacked = House::new();
    let mut compared = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let tree = if path.is_dir() {
            path
        } else if let Some(stem) = name.strip_suffix(".tar.gz") {
            let place = unpacked.path("");
            let tar = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(&place).status();
            assert!(tar.unwrap().success(), "{name} is no archive");
            place.join(stem)
        } else {
            continue;
        };
        assert_eq!(differences(&tree), Vec::<String>::new(), "{name}");
        compared += 1;
    }
    assert!(compared > 0, "there is no tree in {}", folder.display());
}
