//! The block devices of the host: how large, of what sort, and how their requests are ordered.
//!
//! Loop and RAM disks are left out: what lies below them is here by itself. File systems are in `facts`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::setting;
use super::sysroot::{Gather, Sourced};

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlockDevice {
    /// Its name, such as `nvme0n1`.
    pub name: String,
    /// What its maker calls it.
    pub model: Option<Sourced<String>>,
    /// Its size in bytes.
    pub size: Option<Sourced<u64>>,
    /// True where heads must move.
    pub rotational: Option<Sourced<bool>>,
    /// The scheduler of its requests.
    pub scheduler: Option<Sourced<String>>,
    /// The schedulers that may be set.
    pub schedulers: Vec<String>,
    /// How much is read ahead of what was asked for, in KiB.
    pub read_ahead_kib: Option<Sourced<u64>>,
    /// How many requests may wait.
    pub requests: Option<Sourced<u64>>,
}

/// The block devices by name.
pub(super) fn read(gather: &Gather<'_>) -> Vec<BlockDevice> {
    let is_real = |name: &String| !["loop", "ram"].iter().any(|sort| name.starts_with(sort));
    gather.list("/sys/block").into_iter().filter(is_real).map(|name| device(gather, name)).collect()
}

fn device(gather: &Gather<'_>, name: String) -> BlockDevice {
    let dir = format!("/sys/block/{name}");
    let scheduler = gather.text(&format!("{dir}/queue/scheduler"));
    let words = scheduler.as_ref().map_or("", |text| &text.value).split_whitespace();
    let schedulers = words.map(|word| word.trim_matches(['[', ']']).to_owned()).collect();
    BlockDevice {
        model: gather.text(&format!("{dir}/device/model")),
        // Counted in sectors of 512 bytes, whatever those of the device are.
        size: gather
            .number::<u64>(&format!("{dir}/size"))
            .map(|sectors| sectors.map(|sectors| sectors.saturating_mul(512))),
        rotational: gather
            .number::<u8>(&format!("{dir}/queue/rotational"))
            .map(|flag| flag.map(|flag| flag == 1)),
        scheduler: scheduler.map(|text| text.map(|text| setting::plain(&text).to_owned())),
        schedulers,
        read_ahead_kib: gather.number(&format!("{dir}/queue/read_ahead_kb")),
        requests: gather.number(&format!("{dir}/queue/nr_requests")),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    #[test]
    fn a_disk_tells_its_scheduler_and_what_else_it_could_have() {
        let tree = Tree::new()
            .file("/sys/block/sda/size", "2048\n")
            .file("/sys/block/sda/queue/scheduler", "none [mq-deadline] kyber\n")
            .file("/sys/block/sda/queue/rotational", "1\n")
            .file("/sys/block/loop0/size", "8\n");
        let root = tree.sysroot();
        let found = read(&Gather::new(&root));
        assert_eq!(found.len(), 1);
        let disk = &found[0];
        assert_eq!(disk.size.as_ref().unwrap().value, 1 << 20);
        assert_eq!(disk.scheduler.as_ref().unwrap().value, "mq-deadline");
        assert_eq!(disk.schedulers, ["none", "mq-deadline", "kyber"]);
        assert_eq!(disk.rotational.as_ref().map(|told| told.value), Some(true));
    }
}
