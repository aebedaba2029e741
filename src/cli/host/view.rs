//! What is known of a host, for people: what decides how fast it is comes first, and each figure has its unit and
//! its source.

use super::sheet::Sheet;
use crate::host::Inspection;
use crate::host::cpu_list;
use crate::host::cpufreq::Policy;
use crate::host::cpus::Model;
use crate::host::numa::Node;
use crate::host::sysroot::Sourced;
use crate::unit::Bytes;

/// The page for a terminal of `width` columns.
pub(super) fn text(host: &Inspection, width: usize) -> String {
    let mut sheet = Sheet::new(width.min(110));
    machine(host, &mut sheet);
    cpus(host, &mut sheet);
    models(host, &mut sheet);
    frequency(host, &mut sheet);
    memory(host, &mut sheet);
    pressure(host, &mut sheet);
    disks(host, &mut sheet);
    if !host.facts.unreadable.is_empty() {
        sheet.group("COULD NOT BE READ");
        for trouble in &host.facts.unreadable {
            sheet.row("", trouble, "");
        }
    }
    sheet.into_text()
}

/// A row for a fact that is there.
fn fact<T>(sheet: &mut Sheet, label: &str, fact: Option<&Sourced<T>>, told: impl Fn(&T) -> String) {
    if let Some(fact) = fact {
        sheet.row(label, &told(&fact.value), &fact.source);
    }
}

fn machine(host: &Inspection, sheet: &mut Sheet) {
    let facts = &host.facts;
    sheet.group("HOST");
    fact(sheet, "name", facts.hostname.as_ref(), String::clone);
    fact(sheet, "kernel", facts.kernel.as_ref(), String::clone);
    fact(sheet, "architecture", facts.arch.as_ref(), String::clone);
    fact(sheet, "hypervisor", facts.virtualization.as_ref(), String::clone);
    fact(sheet, "container", facts.container.as_ref(), String::clone);
    fact(sheet, "boot", facts.boot_id.as_ref(), String::clone);
    fact(sheet, "machine", facts.machine.as_ref(), |digest| format!("{digest} (digest of its id)"));
    let available = host.clock.available.join(" ");
    fact(sheet, "clock source", host.clock.source.as_ref(), |source| {
        if available.is_empty() { source.clone() } else { format!("{source} (of {available})") }
    });
    match &host.clock.synchronized_by {
        Some(service) => sheet.row("clock kept by", &service.value, &service.source),
        None => sheet.row("clock kept by", "no mark of a service that does", ""),
    }
}

fn list(cpus: &[usize]) -> String {
    if cpus.is_empty() { "none".to_owned() } else { cpu_list::render(cpus) }
}

fn numbered(cpus: &[usize]) -> String {
    format!("{} (CPUs {})", cpus.len(), list(cpus)).replace(" (CPUs none)", "")
}

fn cpus(host: &Inspection, sheet: &mut Sheet) {
    let cpus = &host.facts.cpus;
    sheet.group("CPUS");
    let many = |cpus: &Vec<usize>| numbered(cpus);
    fact(sheet, "usable here", cpus.usable.as_ref(), |count| plural(*count, "CPU"));
    fact(sheet, "present", cpus.present.as_ref(), many);
    fact(sheet, "online", cpus.online.as_ref(), many);
    fact(sheet, "offline", cpus.offline.as_ref(), many);
    fact(sheet, "affinity", cpus.affinity.as_ref(), many);
    fact(sheet, "cpuset", cpus.cpuset.as_ref(), many);
    fact(sheet, "quota", cpus.quota.as_ref(), |quota| format!("{quota:.2} CPUs of time"));
    fact(sheet, "topology", cpus.topology.as_ref(), |topology| {
        // Kernels that know of none say that each socket, or each core, is one.
        let telling = |count: Option<usize>| {
            count.filter(|n| (topology.sockets + 1..topology.cores).contains(n))
        };
        let mut parts = Vec::new();
        let optional = [
            (topology.drawers, "drawer"),
            (topology.books, "book"),
            (Some(topology.sockets), "socket"),
            (telling(topology.dies), "die"),
            (telling(topology.clusters), "cluster"),
            (Some(topology.cores), "core"),
            (Some(topology.threads), "thread"),
        ];
        for (count, name) in optional {
            parts.extend(count.map(|count| plural(count, name)));
        }
        parts.join(", ")
    });
    fact(sheet, "SMT", cpus.smt.as_ref(), String::clone);
    fact(sheet, "vendor", cpus.vendor.as_ref(), String::clone);
    fact(sheet, "model", cpus.model.as_ref(), String::clone);
    fact(sheet, "microcode", cpus.microcode.as_ref(), String::clone);
    fact(sheet, "instructions", cpus.flags.as_ref(), |flags| flags.join(" "));
    for class in &cpus.classes {
        let strength = class.capacity.map(|capacity| format!(", capacity {capacity} of 1024"));
        let told = format!("{}{}", numbered(&class.cpus.value), strength.unwrap_or_default());
        sheet.row(class.role.word(), &told, &class.cpus.source);
    }
    for cache in &cpus.caches {
        let size = cache.total.as_ref();
        let bytes =
            size.map_or_else(|| "unknown size".to_owned(), |size| Bytes(size.value).to_string());
        let told = format!("{bytes} in {}", plural(cache.instances, "instance"));
        let source = size.map_or("", |size| &size.source);
        sheet.row(&format!("{} cache", cache.name), &told, source);
    }
    for node in host.facts.numa.iter().filter(|_| host.facts.numa.len() > 1) {
        numa(node, sheet);
    }
    if let [node] = &*host.facts.numa {
        sheet.row("NUMA", "1 node", &node.cpus.source);
    }
}

fn numa(node: &Node, sheet: &mut Sheet) {
    let memory = node.memory.as_ref().map(|bytes| format!(", {}", Bytes(bytes.value)));
    let distances: Vec<String> = node.distances.iter().map(ToString::to_string).collect();
    let mut told = format!("{}{}", numbered(&node.cpus.value), memory.unwrap_or_default());
    if !distances.is_empty() {
        told = format!("{told}, distances {}", distances.join(" "));
    }
    sheet.row(&format!("NUMA node {}", node.id), &told, &node.cpus.source);
}

/// Of machines with several models only: elsewhere all of it has been said.
fn models(host: &Inspection, sheet: &mut Sheet) {
    let models = &host.facts.cpus.models;
    if models.len() < 2 {
        return;
    }
    sheet.group("MODELS");
    for model in models {
        sheet.row("model", model.name.as_deref().unwrap_or("not told"), &model.cpus.source);
        sheet.row("", &model_told(model), "");
    }
}

fn model_told(model: &Model) -> String {
    let mut parts = vec![format!("CPUs {}", list(&model.cpus.value))];
    parts.extend(model.stepping.as_ref().map(|stepping| format!("stepping {stepping}")));
    if let Some(shape) = &model.shape {
        let shape = shape.value;
        parts.push(plural(shape.sockets, "socket"));
        parts.push(format!("{} a socket", plural(shape.cores_per_socket, "core")));
        parts.push(format!("{} a core", plural(shape.threads_per_core, "thread")));
    }
    if let (Some(least), Some(most)) = (&model.min_khz, &model.max_khz) {
        parts.push(range(least.value, most.value));
    }
    parts.join(", ")
}

fn range(least: u64, most: u64) -> String {
    let megahertz = |khz: u64| khz as f64 / 1000.0;
    format!("{} to {} MHz", megahertz(least), megahertz(most))
}

fn frequency(host: &Inspection, sheet: &mut Sheet) {
    sheet.group("FREQUENCY");
    let policies = &host.facts.cpufreq;
    if policies.is_empty() {
        sheet.row("policies", "none: the frequency is not this kernel's to set", "");
    }
    fact(sheet, "boost", host.facts.boost.as_ref(), |on| if *on { "on" } else { "off" }.to_owned());
    fact(sheet, "idle driver", host.idle_driver.as_ref(), String::clone);
    // A large machine has a policy for each CPU, all of them alike.
    let values =
        |policy: &Policy| policy_rows(policy).into_iter().map(|row| row.1).collect::<Vec<_>>();
    let mut alike: Vec<(&Policy, Vec<usize>)> = Vec::new();
    for policy in policies {
        match alike.iter_mut().find(|(first, _)| values(first) == values(policy)) {
            Some((_, cpus)) => cpus.extend(&policy.cpus),
            None => alike.push((policy, policy.cpus.clone())),
        }
    }
    for (policy, mut cpus) in alike {
        cpus.sort_unstable();
        sheet.row("of CPUs", &list(&cpus), &policy.path);
        for (label, value, source) in policy_rows(policy) {
            let file = source.strip_prefix(&policy.path).map(|rest| rest.trim_start_matches('/'));
            sheet.row(&format!("  {label}"), &value, file.unwrap_or(&source));
        }
    }
}

/// What is to be known of a policy: label, value and source.
fn policy_rows(policy: &Policy) -> Vec<(&'static str, String, String)> {
    let of = |now: &Sourced<String>, all: &[String]| {
        let others = all.iter().map(String::as_str).filter(|other| *other != now.value);
        let others: Vec<&str> = others.collect();
        if others.is_empty() {
            return now.value.clone();
        }
        format!("{} (or {})", now.value, others.join(", "))
    };
    let mut rows = Vec::new();
    let mut add = |label, value, source: &str| rows.push((label, value, source.to_owned()));
    if let Some(driver) = &policy.driver {
        add("driver", driver.value.clone(), &driver.source);
    }
    if let Some(governor) = &policy.governor {
        add("governor", of(governor, &policy.available_governors), &governor.source);
    }
    if let Some(preference) = &policy.energy_preference {
        let told = of(preference, &policy.available_energy_preferences);
        add("preference", told, &preference.source);
    }
    if let Some(bias) = &policy.energy_bias {
        add("energy bias", format!("{} of 15", bias.value), &bias.source);
    }
    if let (Some(least), Some(most)) = (&policy.min_khz, &policy.max_khz) {
        add("allowed", range(least.value, most.value), "scaling_{min,max}_freq");
    }
    if let (Some(least), Some(most)) = (&policy.hardware_min_khz, &policy.hardware_max_khz) {
        add("hardware", range(least.value, most.value), "cpuinfo_{min,max}_freq");
    }
    rows
}

fn memory(host: &Inspection, sheet: &mut Sheet) {
    let memory = &host.facts.memory;
    let size = |bytes: &u64| bytes_told(*bytes);
    sheet.group("MEMORY");
    fact(sheet, "usable here", memory.usable.as_ref(), size);
    fact(sheet, "total", memory.total.as_ref(), size);
    fact(sheet, "available", memory.available.as_ref(), size);
    fact(sheet, "group limit", memory.limit.as_ref(), size);
    fact(sheet, "swap", memory.swap.as_ref(), size);
    fact(sheet, "swap free", host.swap_free.as_ref(), size);
    for device in &host.swap_devices {
        let told = format!("{}, {} in use", device.path, bytes_told(device.used));
        sheet.row("swap on", &told, "/proc/swaps");
    }
    fact(sheet, "huge pages", host.huge_pages.as_ref(), String::clone);
    fact(sheet, "  defrag", host.huge_page_defrag.as_ref(), String::clone);
    fact(sheet, "NUMA balancing", host.numa_balancing.as_ref(), |mode| {
        if mode == "0" { "off".to_owned() } else { format!("on ({mode})") }
    });
}

fn pressure(host: &Inspection, sheet: &mut Sheet) {
    sheet.group("NOW");
    for pressure in &host.pressure {
        let full = pressure.full.map(|full| format!(", all tasks {full:.1}%"));
        let told =
            format!("some task waited {:.1}%{}", pressure.some.value, full.unwrap_or_default());
        sheet.row(&format!("{} pressure", pressure.resource), &told, &pressure.some.source);
    }
    if host.pressure.is_empty() {
        sheet.row("pressure", "this kernel does not account for it", "");
    }
    for sensor in &host.sensors {
        let told = format!("{:.1} C", sensor.celsius.value);
        sheet.row(&sensor.name, &told, &sensor.celsius.source);
    }
    if host.sensors.is_empty() {
        sheet.row("temperature", "this host has no thermometer that answers", "");
    }
}

fn disks(host: &Inspection, sheet: &mut Sheet) {
    if !host.block_devices.is_empty() {
        sheet.group("BLOCK DEVICES");
    }
    for device in &host.block_devices {
        let mut parts = Vec::new();
        parts.extend(device.size.as_ref().map(|size| bytes_told(size.value)));
        parts.extend(
            device
                .rotational
                .as_ref()
                .map(|turns| if turns.value { "rotational" } else { "solid state" }.to_owned()),
        );
        parts.extend(device.scheduler.as_ref().map(|now| {
            let all = device.schedulers.join(" ");
            format!("scheduler {} (of {all})", now.value)
        }));
        parts.extend(
            device.read_ahead_kib.as_ref().map(|kib| format!("read-ahead {} KiB", kib.value)),
        );
        parts.extend(device.requests.as_ref().map(|most| format!("{} requests", most.value)));
        parts.extend(device.model.as_ref().map(|model| model.value.clone()));
        sheet.row(&device.name, &parts.join(", "), &format!("/sys/block/{}", device.name));
    }
    if !host.facts.disks.is_empty() {
        sheet.group("FILE SYSTEMS");
    }
    for disk in &host.facts.disks {
        let told = format!(
            "{}, {}, {} free",
            disk.file_system.value,
            bytes_told(disk.total.value),
            bytes_told(disk.available.value)
        );
        sheet.row(&disk.mount.value, &told, &disk.total.source);
    }
}

/// A size to three digits or so: which byte it is nobody asks here.
fn bytes_told(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && size < 100.0 && size.fract() > 0.0);
    format!("{size:.digits$} {}", units[unit])
}

fn plural(count: usize, name: &str) -> String {
    if count == 1 { format!("1 {name}") } else { format!("{count} {name}s") }
}
