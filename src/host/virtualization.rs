//! Whether the host is a virtual machine, and whether this is a container, where a file tells it.
//!
//! A hint for people and for fingerprints, not a security boundary: a hypervisor can tell what it likes.

use super::cpuinfo::CpuInfo;
use super::sysroot::{Gather, Sourced};

/// Texts of the firmware that name a hypervisor, and the name used here.
const FIRMWARE: [(&str, &str); 14] = [
    ("KVM", "kvm"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VirtualBox", "virtualbox"),
    ("innotek", "virtualbox"),
    ("Virtual Machine", "hyper-v"),
    ("Amazon EC2", "amazon"),
    ("Google Compute Engine", "google"),
    ("DigitalOcean", "kvm"),
    ("OpenStack", "kvm"),
    ("Parallels", "parallels"),
    ("Bochs", "bochs"),
    ("Xen", "xen"),
    ("Apple Virtualization", "apple"),
];

/// Vendor and device of the PCI devices that only a hypervisor has, and its name here.
const DEVICES: [(&str, &str); 4] = [
    ("80eecafe", "virtualbox"),
    ("15ad0710", "vmware"),
    ("15ad0740", "vmware"),
    ("58530001", "xen"),
];

/// The hypervisor; `none` for a machine that says it is real; nothing where no file tells.
pub(super) fn hypervisor(gather: &Gather<'_>, info: &CpuInfo) -> Option<Sourced<String>> {
    if let Some(kind) = gather.text("/sys/hypervisor/type") {
        return Some(kind);
    }
    // An Amazon or Google machine of bare metal has the firmware of one, but no such flag.
    let flag = info.hypervisor();
    if flag != Some(false) {
        for name in ["product_name", "sys_vendor", "board_vendor", "bios_vendor"] {
            let Some(text) = gather.text(&format!("/sys/class/dmi/id/{name}")) else { continue };
            if let Some((_, kind)) = FIRMWARE.iter().find(|(known, _)| text.value.contains(known)) {
                return Some(Sourced::new((*kind).to_owned(), text.source));
            }
        }
        let tree = gather.text("/proc/device-tree/hypervisor/compatible");
        if let Some(kind) = tree.filter(|text| text.value.contains("kvm")) {
            return Some(Sourced::new("kvm".to_owned(), kind.source));
        }
    }
    // Some hypervisors hide the flag, and not their devices.
    if let Some(devices) = gather.text("/proc/bus/pci/devices") {
        let mut ids = devices.value.lines().filter_map(|line| line.split('\t').nth(1));
        let kind = ids.find_map(|id| DEVICES.iter().find(|(device, _)| *device == id));
        if let Some((_, kind)) = kind {
            return Some(Sourced::new((*kind).to_owned(), devices.source));
        }
    }
    let kind = if flag? { "unknown" } else { "none" };
    Some(Sourced::new(kind.to_owned(), "/proc/cpuinfo"))
}

/// The container manager; nothing where no file hints at one.
pub(super) fn container(gather: &Gather<'_>) -> Option<Sourced<String>> {
    if let Some(manager) = gather.text("/run/systemd/container") {
        return Some(manager);
    }
    for (path, manager) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if gather.root.exists(path) {
            return Some(Sourced::new(manager.to_owned(), path));
        }
    }
    let groups = gather.text("/proc/self/cgroup")?;
    ["kubepods", "docker", "libpod", "lxc"]
        .into_iter()
        .find(|manager| groups.value.contains(manager))
        .map(|manager| Sourced::new(manager.to_owned(), groups.source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    fn kind(tree: &Tree) -> Option<String> {
        let root = tree.sysroot();
        let gather = Gather::new(&root);
        hypervisor(&gather, &CpuInfo::read(&gather)).map(|kind| kind.value)
    }

    #[test]
    fn the_firmware_names_the_hypervisor_and_the_flag_says_whether_there_is_one() {
        let virtual_cpu = "processor : 0\nflags : fpu hypervisor\n";
        let tree = Tree::new().file("/proc/cpuinfo", virtual_cpu);
        assert_eq!(kind(&tree).unwrap(), "unknown");
        let tree = tree.file("/sys/class/dmi/id/sys_vendor", "QEMU\n");
        assert_eq!(kind(&tree).unwrap(), "qemu");
        tree.put("/proc/cpuinfo", "processor : 0\nflags : fpu\n");
        assert_eq!(kind(&tree).unwrap(), "none");
        assert_eq!(kind(&Tree::new()), None);
    }

    #[test]
    fn a_hypervisor_that_hides_its_flag_is_told_by_its_devices() {
        let tree = Tree::new()
            .file("/proc/cpuinfo", "processor : 0\nflags : fpu\n")
            .file("/proc/bus/pci/devices", "0008\t80861237\t0\n0020\t80eecafe\t14\n");
        assert_eq!(kind(&tree).unwrap(), "virtualbox");
    }

    #[test]
    fn a_container_is_told_by_its_marks_or_by_its_group() {
        let container = |tree: &Tree| {
            let root = tree.sysroot();
            container(&Gather::new(&root)).map(|found| found.value)
        };
        assert_eq!(container(&Tree::new().file("/.dockerenv", "")).unwrap(), "docker");
        let pod = Tree::new().file("/proc/self/cgroup", "0::/kubepods.slice/x\n");
        assert_eq!(container(&pod).unwrap(), "kubepods");
        assert_eq!(container(&Tree::new()), None);
    }
}
