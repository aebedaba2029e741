//! The caches of the CPUs, as `/sys/devices/system/cpu/cpuN/cache` tells them: size, and how many there are of each.
//!
//! Knows nothing of models and cores: which CPUs share a cache is in its own files.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sysroot::{Gather, Sourced};

/// All caches of one level and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuCache {
    /// Its usual name: `L1d`, `L1i`, `L2`, `L3`.
    pub name: String,
    /// The size of all of them together, in bytes; absent where the kernel does not tell it.
    pub total: Option<Sourced<u64>>,
    /// How many there are.
    pub instances: usize,
    /// Bytes of one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

#[derive(Debug, Default)]
struct Found {
    total: u64,
    line: Option<u64>,
    source: Option<String>,
    seen: BTreeSet<String>,
}

/// The caches of the CPUs in `folders`, by name.
pub(super) fn read(gather: &Gather<'_>, folders: &[usize]) -> Vec<CpuCache> {
    let mut caches: BTreeMap<String, Found> = BTreeMap::new();
    for cpu in folders {
        let dir = format!("/sys/devices/system/cpu/cpu{cpu}/cache");
        for index in gather.list(&dir).iter().filter(|name| name.starts_with("index")) {
            one(gather, &format!("{dir}/{index}"), &mut caches);
        }
    }
    let told = caches.into_iter().map(|(name, found)| CpuCache {
        name,
        total: found.source.map(|source| Sourced::new(found.total, source)),
        instances: found.seen.len(),
        line: found.line,
    });
    told.collect()
}

fn one(gather: &Gather<'_>, dir: &str, caches: &mut BTreeMap<String, Found>) {
    let file = |name: &str| gather.text(&format!("{dir}/{name}")).map(|text| text.value);
    let (Some(level), Some(kind)) = (file("level"), file("type")) else { return };
    let letter = match kind.as_str() {
        "Data" => "d",
        "Instruction" => "i",
        _ => "",
    };
    let found = caches.entry(format!("L{level}{letter}")).or_default();
    let own = || file("shared_cpu_map").or_else(|| file("shared_cpu_list"));
    let identity = file("id").or_else(own).unwrap_or_else(|| dir.to_owned());
    if !found.seen.insert(identity.trim_start_matches(['0', ',']).to_owned()) {
        return;
    }
    found.line = found.line.or_else(|| file("coherency_line_size")?.parse().ok());
    if let Some(size) = gather.text(&format!("{dir}/size"))
        && let Some(bytes) = bytes(&size.value)
    {
        found.total += bytes;
        found.source.get_or_insert(size.source);
    }
}

/// `48K` and its like.
fn bytes(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match &size[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    fn cache(tree: Tree, cpu: usize, index: usize, files: [&str; 4]) -> Tree {
        let dir = format!("/sys/devices/system/cpu/cpu{cpu}/cache/index{index}");
        ["level", "type", "shared_cpu_map", "size"]
            .iter()
            .zip(files)
            .fold(tree, |tree, (name, text)| tree.file(&format!("{dir}/{name}"), text))
    }

    #[test]
    fn a_cache_that_cpus_share_counts_once() {
        let mut tree = Tree::new();
        for (cpu, own) in [(0, "1"), (1, "2")] {
            tree = cache(tree, cpu, 0, ["1", "Data", own, "48K\n"]);
            tree = cache(tree, cpu, 1, ["3", "Unified", "3", "12M\n"]);
        }
        let root = tree.sysroot();
        let gather = Gather::new(&root);
        let found: Vec<_> = read(&gather, &[0, 1])
            .into_iter()
            .map(|cache| (cache.name, cache.total.unwrap().value, cache.instances))
            .collect();
        assert_eq!(found, [("L1d".to_owned(), 96 << 10, 2), ("L3".to_owned(), 12 << 20, 1)]);
    }

    #[test]
    fn a_cache_of_unknown_size_is_told_without_one() {
        let dir = "/sys/devices/system/cpu/cpu0/cache/index0";
        let tree = Tree::new()
            .file(&format!("{dir}/level"), "1")
            .file(&format!("{dir}/type"), "Instruction")
            .file(&format!("{dir}/shared_cpu_map"), "1");
        let root = tree.sysroot();
        let found = &read(&Gather::new(&root), &[0])[0];
        assert_eq!((found.name.as_str(), &found.total, found.instances), ("L1i", &None, 1));
    }
}
