//! Where a known setting is on one host: the files, and what each takes there.
//!
//! Reads the host; decides nothing.

use crate::host::facts::Facts;
use crate::host::setting::{Setting, Valid};
use crate::host::sysroot::Sysroot;

use super::{Known, Place, Takes};

const CPUS: &str = "/sys/devices/system/cpu";

/// On which host, and for which of its CPUs.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Where its files are.
    pub root: &'a Sysroot,
    /// What it is.
    pub facts: &'a Facts,
    /// The CPUs that are meant by settings of cores; nothing means all.
    pub cpus: Option<&'a [usize]>,
}

/// A known setting in one file of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The file with what it takes.
    pub setting: Setting,
    /// True where the kernel keeps a switch the other way round.
    pub inverted: bool,
}

impl Instance {
    /// What is written for a value in the kernel's form.
    #[must_use]
    pub fn written(&self, value: &str) -> String {
        match value {
            "0" if self.inverted => "1".to_owned(),
            "1" if self.inverted => "0".to_owned(),
            other => other.to_owned(),
        }
    }
}

impl Known {
    /// The files of the setting on a host.
    ///
    /// # Errors
    /// When the host has no place for it; the reason.
    pub fn instances(&self, scope: &Scope<'_>) -> Result<Vec<Instance>, String> {
        let plain = |paths: Vec<(String, String)>| {
            paths.into_iter().map(|(path, name)| self.instance(scope.root, path, name)).collect()
        };
        let name = self.name.to_owned();
        match self.place {
            Place::Sysctl if self.name == "vm.swappiness" => {
                let kernel = scope.facts.kernel.as_ref().map(|kernel| kernel.value.as_str());
                Ok(vec![Instance { setting: Setting::swappiness(kernel), inverted: false }])
            }
            Place::Sysctl => Ok(plain(vec![(Setting::sysctl(self.name).path, name)])),
            Place::File(paths) => {
                let there = paths.iter().find(|path| scope.root.exists(path));
                let path = there.or(paths.first()).ok_or("it has no file")?;
                Ok(plain(vec![((*path).to_owned(), name)]))
            }
            Place::Boost => Ok(vec![self.boost(scope.root)?]),
            Place::Policy(file) => {
                let policies = &scope.facts.cpufreq;
                if policies.is_empty() {
                    return Err("this machine has no cpufreq policy: its CPU frequency is not the kernel's to set".to_owned());
                }
                let meant = policies.iter().filter(|policy| meant(scope, &policy.cpus));
                let paths = meant.map(|policy| {
                    let own = policy.path.rsplit('/').find(|part| *part != "cpufreq");
                    (format!("{}/{file}", policy.path), format!("{name} of {}", own.unwrap_or("")))
                });
                Ok(plain(paths.collect()))
            }
            Place::Cpu(file) => {
                let online = scope.facts.cpus.online.as_ref().map_or(&[][..], |cpus| &cpus.value);
                let paths: Vec<_> = online
                    .iter()
                    .filter(|cpu| meant(scope, &[**cpu]))
                    .map(|cpu| (format!("{CPUS}/cpu{cpu}/{file}"), format!("{name} of cpu{cpu}")))
                    .collect();
                if !paths.iter().any(|(path, _)| scope.root.exists(path)) {
                    return Err(format!("no CPU of this machine has {file}"));
                }
                Ok(plain(paths))
            }
            Place::Disk(file) => {
                let disks = scope.root.list("/sys/block").unwrap_or_default();
                let real = disks.iter().filter(|disk| {
                    !["loop", "ram", "zram"].iter().any(|sort| disk.starts_with(sort))
                });
                let paths: Vec<_> = real
                    .map(|disk| (format!("/sys/block/{disk}/{file}"), format!("{name} of {disk}")))
                    .filter(|(path, _)| scope.root.exists(path))
                    .collect();
                if paths.is_empty() {
                    return Err(format!("no block device of this host has {file}"));
                }
                Ok(plain(paths))
            }
        }
    }

    fn instance(&self, root: &Sysroot, path: String, name: String) -> Instance {
        let valid = self.valid_at(root, &path);
        let setting = Setting { path, name, meaning: self.meaning, valid };
        Instance { setting, inverted: false }
    }

    fn boost(&self, root: &Sysroot) -> Result<Instance, String> {
        let files = [("cpufreq/boost", false), ("intel_pstate/no_turbo", true)];
        let found = files.into_iter().find(|(file, _)| root.exists(&format!("{CPUS}/{file}")));
        let (file, inverted) =
            found.ok_or("no driver of this machine lets the boost be switched")?;
        let instance = self.instance(root, format!("{CPUS}/{file}"), self.name.to_owned());
        Ok(Instance { inverted, ..instance })
    }

    /// What the file at `path` takes.
    fn valid_at(&self, root: &Sysroot, path: &str) -> Valid {
        let beside = |name: &str| match path.rsplit_once('/') {
            Some((dir, _)) => root.read(&format!("{dir}/{name}")).ok(),
            None => None,
        };
        match self.takes {
            Takes::Offered(list) => {
                let list = if list.is_empty() { root.read(path).ok() } else { beside(list) };
                let words = list.unwrap_or_default();
                // A list of which nothing is chosen is no list: the file holds one word.
                let is_list = !matches!(self.takes, Takes::Offered("")) || words.contains('[');
                let words: Vec<String> = words
                    .split_whitespace()
                    .filter(|_| is_list)
                    .map(|word| word.trim_matches(['[', ']']).to_owned())
                    .collect();
                if words.is_empty() { Valid::Any } else { Valid::OneOf(words) }
            }
            Takes::Governor => {
                let words = |name| beside(name).unwrap_or_default();
                governors(&words("scaling_available_governors"), words("scaling_driver").trim())
            }
            Takes::Frequency => {
                let khz = |name| beside(name)?.trim().parse::<i64>().ok();
                match (khz("cpuinfo_min_freq"), khz("cpuinfo_max_freq")) {
                    (Some(min), Some(max)) if min <= max => Valid::Whole { min, max },
                    _ => Valid::Whole { min: 1, max: i64::from(i32::MAX) },
                }
            }
            Takes::Switch | Takes::Whole(..) | Takes::Ascending(..) => self.valid(),
        }
    }
}

/// The governors of the kernel (Documentation/admin-guide/pm/cpufreq.rst), each of which may be a module.
const GOVERNORS: [&str; 6] =
    ["performance", "powersave", "userspace", "ondemand", "conservative", "schedutil"];

/// Drivers that choose frequencies themselves: they have policies of their own by the names of two governors, and take
/// no other. Under another name (`intel_cpufreq`, `amd-pstate`) the same drivers take all.
const WITHOUT_GOVERNORS: [&str; 3] = ["intel_pstate", "amd-pstate-epp", "longrun"];

/// What a policy takes. The kernel offers a governor that is a module only when it is loaded, and loads it when its name
/// is written.
fn governors(offered: &str, driver: &str) -> Valid {
    let offered: Vec<String> = offered.split_whitespace().map(str::to_owned).collect();
    if offered.is_empty() {
        return Valid::Any;
    }
    let others = GOVERNORS.iter().filter(|name| offered.iter().all(|one| one != *name));
    let modules: Vec<(String, String)> =
        others.map(|name| ((*name).to_owned(), format!("cpufreq_{name}"))).collect();
    if driver.is_empty() || WITHOUT_GOVERNORS.contains(&driver) || modules.is_empty() {
        return Valid::OneOf(offered);
    }
    Valid::Loadable { offered, modules }
}

fn meant(scope: &Scope<'_>, cpus: &[usize]) -> bool {
    scope.cpus.is_none_or(|meant| cpus.iter().any(|cpu| meant.contains(cpu)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    fn policy(tree: Tree, number: usize, cpus: &str) -> Tree {
        let dir = format!("{CPUS}/cpufreq/policy{number}");
        tree.file(&format!("{dir}/affected_cpus"), cpus)
            .file(&format!("{dir}/scaling_governor"), "powersave\n")
            .file(&format!("{dir}/scaling_available_governors"), "performance powersave\n")
            .file(&format!("{dir}/cpuinfo_min_freq"), "400000\n")
            .file(&format!("{dir}/cpuinfo_max_freq"), "4700000\n")
    }

    fn found(tree: &Tree, name: &str, cpus: Option<&[usize]>) -> Result<Vec<Instance>, String> {
        let root = tree.sysroot();
        let facts = Facts::read(&root);
        Known::find(name).unwrap().instances(&Scope { root: &root, facts: &facts, cpus })
    }

    #[test]
    fn a_setting_of_cores_has_a_file_in_every_policy_that_is_meant() {
        let tree = policy(policy(Tree::new(), 0, "0 1"), 2, "2 3");
        let all = found(&tree, "governor", None).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].setting.name, "governor of policy0");
        let some = found(&tree, "min_frequency", Some(&[3])).unwrap();
        assert_eq!(some.len(), 1);
        assert_eq!(some[0].setting.valid, Valid::Whole { min: 400_000, max: 4_700_000 });
        assert!(found(&Tree::new(), "governor", None).unwrap_err().contains("no cpufreq policy"));
    }

    #[test]
    fn governors_that_are_not_loaded_are_taken_by_drivers_that_take_any() {
        let of = |driver: &str| {
            let tree = policy(Tree::new(), 0, "0 1")
                .file(&format!("{CPUS}/cpufreq/policy0/scaling_driver"), &format!("{driver}\n"));
            found(&tree, "governor", None).unwrap().remove(0).setting
        };
        for driver in ["acpi-cpufreq", "intel_cpufreq", "amd-pstate", "cppc_cpufreq"] {
            let setting = of(driver);
            assert_eq!(setting.check("ondemand"), Ok(()), "{driver}");
            assert_eq!(setting.valid.module("ondemand"), Some("cpufreq_ondemand"));
            assert_eq!(setting.valid.module("powersave"), None, "it is offered");
            let refused = setting.check("turbo").unwrap_err().to_string();
            let told = "one of performance, powersave; not loaded, where the kernel has their modules: userspace";
            assert!(refused.contains(told), "{refused}");
        }
        for driver in ["intel_pstate", "amd-pstate-epp", ""] {
            assert!(of(driver).check("ondemand").is_err(), "{driver}");
        }
    }

    #[test]
    fn what_the_kernel_keeps_the_other_way_round_is_written_so() {
        let tree = Tree::new().file(&format!("{CPUS}/intel_pstate/no_turbo"), "0\n");
        let boost = &found(&tree, "boost", None).unwrap()[0];
        assert_eq!((boost.written("1"), boost.written("0")), ("0".to_owned(), "1".to_owned()));
        let tree = tree.file(&format!("{CPUS}/cpufreq/boost"), "1\n");
        assert_eq!(found(&tree, "boost", None).unwrap()[0].written("1"), "1");
    }

    #[test]
    fn words_are_those_that_the_file_or_its_neighbour_offers() {
        let tree = Tree::new()
            .file("/sys/block/sda/queue/scheduler", "[none] mq-deadline\n")
            .file("/sys/block/loop0/queue/scheduler", "[none]\n");
        let disks = found(&tree, "block.scheduler", None).unwrap();
        assert_eq!(disks.len(), 1);
        assert_eq!(disks[0].setting.check("mq-deadline"), Ok(()));
        assert!(disks[0].setting.check("bfq").is_err());
    }
}
