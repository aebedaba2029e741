//! How the CPUs are arranged: sockets, cores and threads, of the whole machine and of each model of CPU.
//!
//! Counted as lscpu(1) counts: CPUs of the same sibling mask in `/sys/devices/system/cpu/cpuN/topology` share a core
//! or a socket, and s390 tells the shape of its machine in /proc/sysinfo. Where a kernel has no such folder, the fields
//! `physical id` and `core id` of /proc/cpuinfo are asked. Knows nothing of which CPUs this process may use.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cpu_list;
use super::cpuinfo::{CpuInfo, Identity};
use super::sysroot::{Gather, Sourced};

const CPUS: &str = "/sys/devices/system/cpu";
/// The files that tell it.
pub(super) const SOURCE: &str = "/sys/devices/system/cpu/cpu*/topology";

/// How the CPUs of the machine are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Topology {
    /// Packages.
    pub sockets: usize,
    /// Physical cores.
    pub cores: usize,
    /// Hardware threads that run: the CPUs that the kernel schedules on.
    pub threads: usize,
    /// Threads of the core that has most.
    pub threads_per_core: usize,
    /// Cores for each socket.
    pub cores_per_socket: usize,
    /// Dies, where the kernel tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dies: Option<usize>,
    /// Groups of cores that share a part of their caches, where the kernel tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<usize>,
    /// Books of a mainframe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub books: Option<usize>,
    /// Drawers of a mainframe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawers: Option<usize>,
}

/// How the CPUs of one model are arranged, in the figures of lscpu(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Shape {
    /// Threads of the core that has most.
    pub threads_per_core: usize,
    /// Cores for each socket.
    pub cores_per_socket: usize,
    /// Sockets; for each book where there are books.
    pub sockets: usize,
    /// Books for each drawer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub books_per_drawer: Option<usize>,
    /// Drawers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawers: Option<usize>,
}

/// Everything that the files tell of the arrangement.
pub(super) struct Arrangement {
    pub(super) machine: Option<Sourced<Topology>>,
    /// One for each model, in the same order; nothing where no CPU of a model has a folder.
    pub(super) models: Vec<Option<Shape>>,
}

/// A level of the arrangement and the files that tell which CPUs share one of it, the best first.
const LEVELS: [(Level, [&str; 4]); 6] = [
    (Level::Core, ["thread_siblings", "core_cpus", "thread_siblings_list", "core_cpus_list"]),
    (Level::Socket, ["core_siblings", "package_cpus", "core_siblings_list", "package_cpus_list"]),
    (Level::Die, ["die_cpus", "die_cpus_list", "", ""]),
    (Level::Cluster, ["cluster_cpus", "cluster_cpus_list", "", ""]),
    (Level::Book, ["book_siblings", "book_siblings_list", "", ""]),
    (Level::Drawer, ["drawer_siblings", "drawer_siblings_list", "", ""]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Core,
    Socket,
    Die,
    Cluster,
    Book,
    Drawer,
}

/// CPUs that share one of a level.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    /// The same for all of them.
    name: String,
    /// How many they are, where the name says so.
    cpus: usize,
}

/// By level the different groups, and how many CPUs share a core at most.
#[derive(Debug, Default)]
struct Count {
    groups: BTreeMap<Level, BTreeSet<Group>>,
    threads_per_core: usize,
}

impl Count {
    fn of(&self, level: Level) -> usize {
        self.groups.get(&level).map_or(0, BTreeSet::len)
    }

    fn told(&self, level: Level) -> Option<usize> {
        Some(self.of(level)).filter(|count| *count > 0)
    }
}

/// Arranges the CPUs in `folders`, of which `online` run.
pub(super) fn read(
    gather: &Gather<'_>,
    (folders, online): (&[usize], &[usize]),
    info: &CpuInfo,
    models: &[Identity],
) -> Arrangement {
    let groups = groups(gather, folders);
    if groups.is_empty() {
        let machine = from_cpuinfo(online, info);
        return Arrangement { machine, models: models.iter().map(|_| None).collect() };
    }
    let software = software(gather);
    let threads = info.of_machine("max thread id").and_then(|last| last.parse::<usize>().ok());
    let shapes: Vec<Option<Shape>> = models
        .iter()
        .map(|model| {
            let own = groups.iter().filter(|(cpu, _)| model.cpus.contains(cpu));
            let mut count = count(own.map(|(_, groups)| groups));
            if let Some(last) = threads {
                count.threads_per_core = last + 1;
            }
            (count.of(Level::Core) > 0).then(|| shape(&count, software))
        })
        .collect();
    let whole = count(groups.iter().map(|(_, groups)| groups));
    let mut sockets = whole.of(Level::Socket);
    let mut clusters = whole.told(Level::Cluster);
    // Without a table of the firmware, kernels before 5.19 numbered the clusters of an ARM machine as packages.
    if info.is_arm()
        && models.len() > 1
        && !gather.root.exists("/sys/firmware/acpi/tables/PPTT")
        && let Some(of_models) = shapes.iter().flatten().map(|shape| shape.sockets).max()
    {
        clusters = clusters.or(Some(sockets));
        sockets = of_models;
    }
    let cores = whole.of(Level::Core);
    let machine = Topology {
        sockets,
        cores,
        threads: online.len(),
        threads_per_core: threads.map_or(whole.threads_per_core, |last| last + 1),
        cores_per_socket: cores.checked_div(sockets).unwrap_or(0),
        dies: whole.told(Level::Die),
        clusters,
        books: whole.told(Level::Book),
        drawers: whole.told(Level::Drawer),
    };
    Arrangement { machine: Some(Sourced::new(machine, SOURCE)), models: shapes }
}

fn shape(count: &Count, software: Option<[usize; 4]>) -> Shape {
    let [cores, sockets, books, drawers] =
        [Level::Core, Level::Socket, Level::Book, Level::Drawer].map(|level| count.of(level));
    let each = |all: usize, of: usize| all.checked_div(of).unwrap_or(0);
    let [drawers, per_drawer, per_book, per_socket] = software.unwrap_or_else(|| {
        [drawers, each(books, drawers), each(sockets, books), each(cores, sockets)]
    });
    Shape {
        threads_per_core: count.threads_per_core,
        cores_per_socket: per_socket,
        sockets: if per_book > 0 { per_book } else { sockets },
        books_per_drawer: (books > 0).then_some(if per_drawer > 0 { per_drawer } else { books }),
        drawers: (books > 0 && drawers > 0).then_some(drawers),
    }
}

/// Drawers, books for each, sockets for each and cores for each, as a mainframe's hypervisor tells its shape.
fn software(gather: &Gather<'_>) -> Option<[usize; 4]> {
    let text = gather.text("/proc/sysinfo")?.value;
    let line = text.lines().find_map(|line| line.strip_prefix("CPU Topology SW:"))?;
    let figures: Vec<usize> = line.split_whitespace().map_while(|one| one.parse().ok()).collect();
    figures.get(2..6)?.try_into().ok()
}

/// Of each CPU that has a folder, the group of each level that it belongs to.
fn groups(gather: &Gather<'_>, folders: &[usize]) -> Vec<(usize, BTreeMap<Level, Group>)> {
    let dir = |cpu: usize| format!("{CPUS}/cpu{cpu}/topology");
    // All folders have the same files, but for those of CPUs that are offline, which have none.
    let files = folders
        .iter()
        .map(|cpu| gather.list(&dir(*cpu)))
        .find(|names| !names.is_empty())
        .unwrap_or_default();
    let has = |name: &str| files.iter().any(|file| file == name);
    let chosen: Vec<(Level, &str)> = LEVELS
        .iter()
        .filter_map(|(level, names)| Some((*level, *names.iter().find(|name| has(name))?)))
        .collect();
    let by_number = |cpu: usize, name: &str| {
        let number = has(name).then(|| gather.text(&format!("{}/{name}", dir(cpu))))??;
        Some(number.value)
    };
    folders
        .iter()
        .filter_map(|cpu| {
            let mut found: BTreeMap<Level, Group> = chosen
                .iter()
                .filter_map(|(level, name)| {
                    let text = gather.text(&format!("{}/{name}", dir(*cpu)))?;
                    Some((*level, Group::read(&text.value, name)))
                })
                .collect();
            if !found.contains_key(&Level::Socket)
                && let Some(socket) = by_number(*cpu, "physical_package_id")
            {
                found.insert(Level::Socket, Group { name: socket, cpus: 0 });
            }
            if !found.contains_key(&Level::Core)
                && let (Some(core), Some(socket)) =
                    (by_number(*cpu, "core_id"), found.get(&Level::Socket))
            {
                let name = format!("{core} of {}", socket.name);
                found.insert(Level::Core, Group { name, cpus: 0 });
            }
            found.contains_key(&Level::Core).then_some((*cpu, found))
        })
        .collect()
}

impl Group {
    fn read(text: &str, file: &str) -> Self {
        if file.ends_with("_list") {
            let cpus = cpu_list::parse(text).map_or(0, |cpus| cpus.len());
            return Self { name: text.to_owned(), cpus };
        }
        // Masks of the same CPUs differ in how many zeros are in front.
        let bits = text.chars().filter_map(|digit| digit.to_digit(16)).map(u32::count_ones);
        let cpus = bits.sum::<u32>() as usize;
        Self { name: text.trim_start_matches(['0', ',']).to_owned(), cpus }
    }
}

fn count<'a>(cpus: impl Iterator<Item = &'a BTreeMap<Level, Group>>) -> Count {
    let mut count = Count::default();
    let mut sharing: BTreeMap<&Group, usize> = BTreeMap::new();
    for (level, group) in cpus.flatten() {
        count.groups.entry(*level).or_default().insert(group.clone());
        if *level == Level::Core {
            *sharing.entry(group).or_default() += 1;
        }
    }
    let threads =
        sharing.iter().map(|(group, seen)| if group.cpus > 0 { group.cpus } else { *seen });
    count.threads_per_core = threads.max().unwrap_or(0);
    count
}

fn from_cpuinfo(online: &[usize], info: &CpuInfo) -> Option<Sourced<Topology>> {
    let mut sockets = BTreeSet::new();
    let mut cores: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for cpu in online {
        let socket = info.of_cpu(*cpu, "physical id")?;
        *cores.entry((socket, info.of_cpu(*cpu, "core id")?)).or_default() += 1;
        sockets.insert(socket);
    }
    let topology = Topology {
        sockets: sockets.len(),
        cores: cores.len(),
        threads: online.len(),
        threads_per_core: cores.values().copied().max()?,
        cores_per_socket: cores.len() / sockets.len(),
        ..Topology::default()
    };
    Some(Sourced::new(topology, "/proc/cpuinfo"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    fn arranged(tree: &Tree, folders: &[usize], online: &[usize]) -> Arrangement {
        let root = tree.sysroot();
        let gather = Gather::new(&root);
        let info = CpuInfo::read(&gather);
        read(&gather, (folders, online), &info, &info.identities())
    }

    fn machine(tree: &Tree, online: &[usize]) -> Option<Topology> {
        arranged(tree, online, online).machine.map(|machine| machine.value)
    }

    /// A CPU in a tree: its number, then the texts of its files.
    fn cpu(tree: Tree, number: usize, files: &[(&str, &str)]) -> Tree {
        files.iter().fold(tree, |tree, (name, text)| {
            tree.file(&format!("{CPUS}/cpu{number}/topology/{name}"), text)
        })
    }

    #[test]
    fn sibling_threads_are_one_core_even_where_core_numbers_repeat() {
        let mut tree = Tree::new();
        for (number, (socket, siblings)) in
            [("0", "0,2"), ("1", "1,3"), ("0", "0,2"), ("1", "1,3")].into_iter().enumerate()
        {
            let files = [
                ("physical_package_id", socket),
                ("core_id", "0\n"),
                ("thread_siblings_list", siblings),
            ];
            tree = cpu(tree, number, &files);
        }
        let found = machine(&tree, &[0, 1, 2, 3]).unwrap();
        assert_eq!((found.sockets, found.cores, found.threads), (2, 2, 4));
        assert_eq!((found.threads_per_core, found.cores_per_socket), (2, 1));
    }

    #[test]
    fn numbers_alone_arrange_cpus_where_there_are_no_lists_of_siblings() {
        let mut tree = Tree::new();
        for (number, core) in ["0", "0", "1", "1"].into_iter().enumerate() {
            tree = cpu(tree, number, &[("physical_package_id", "0"), ("core_id", core)]);
        }
        let found = machine(&tree, &[0, 1, 2, 3]).unwrap();
        assert_eq!((found.sockets, found.cores, found.threads_per_core), (1, 2, 2));
    }

    #[test]
    fn without_sysfs_cpuinfo_is_asked_and_without_both_nobody_knows() {
        let cpu = |n, core| format!("processor : {n}\nphysical id : 0\ncore id : {core}\n\n");
        let tree = Tree::new().file("/proc/cpuinfo", &(cpu(0, 0) + &cpu(1, 0) + &cpu(2, 1)));
        let found = machine(&tree, &[0, 1, 2]).unwrap();
        assert_eq!((found.sockets, found.cores, found.threads), (1, 2, 3));
        assert_eq!(machine(&Tree::new(), &[0, 1]), None);
    }

    #[test]
    fn the_clusters_of_an_arm_machine_are_not_taken_for_its_sockets() {
        let part = |number, part| {
            format!("processor : {number}\nCPU implementer : 0x41\nCPU part : {part}\n\n")
        };
        let mut tree = Tree::new()
            .file("/proc/cpuinfo", &(part(0, "0xd05") + &part(1, "0xd05") + &part(2, "0xd0b")));
        for (number, own, package) in [(0, "1", "3"), (1, "2", "3"), (2, "4", "4")] {
            tree = cpu(tree, number, &[("thread_siblings", own), ("core_siblings", package)]);
        }
        let found = arranged(&tree, &[0, 1, 2], &[0, 1, 2]);
        let whole = found.machine.unwrap().value;
        assert_eq!((whole.sockets, whole.clusters, whole.cores), (1, Some(2), 3));
        let cores: Vec<_> =
            found.models.into_iter().flatten().map(|shape| shape.cores_per_socket).collect();
        assert_eq!(cores, [2, 1]);
    }

    #[test]
    fn a_mainframe_has_the_shape_that_its_hypervisor_tells() {
        let mut tree = Tree::new()
            .file(
                "/proc/cpuinfo",
                "vendor_id : IBM/S390\nmax thread id : 1\n\ncpu number : 0\n\ncpu number : 1\n",
            )
            .file("/proc/sysinfo", "Type: 2964\nCPU Topology SW:      0 0 1 4 2 8\n");
        for number in [0, 1] {
            let files = [
                ("thread_siblings", "3"),
                ("core_siblings", "3"),
                ("book_siblings", "3"),
                ("drawer_siblings", "3"),
            ];
            tree = cpu(tree, number, &files);
        }
        let shape = arranged(&tree, &[0, 1], &[0, 1]).models[0].unwrap();
        let expected = Shape {
            threads_per_core: 2,
            cores_per_socket: 8,
            sockets: 2,
            books_per_drawer: Some(4),
            drawers: Some(1),
        };
        assert_eq!(shape, expected);
    }

    #[test]
    fn cpus_that_are_offline_have_no_folder_and_are_counted_as_nothing_but_siblings() {
        let tree = cpu(Tree::new(), 0, &[("thread_siblings", "03"), ("core_siblings", "0f")]);
        let tree = cpu(tree, 2, &[("thread_siblings", "00,00000004"), ("core_siblings", "f")]);
        let whole = arranged(&tree, &[0, 1, 2, 3], &[0, 2]).machine.unwrap().value;
        assert_eq!(
            (whole.sockets, whole.cores, whole.threads, whole.threads_per_core),
            (1, 2, 2, 2)
        );
    }
}
