//! A host looked at closely: its facts, and beside them how it is set and how it fares at this moment.
//!
//! For people who ask (`trueup host`); a run records the facts alone, which do not change while it lasts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::block_device::{self, BlockDevice};
use super::facts::{Facts, meminfo};
use super::sensor::{self, Sensor};
use super::setting;
use super::sysroot::{Gather, Sourced, Sysroot};

/// Where the kernel keeps what it does about huge pages.
const HUGE: &str = "/sys/kernel/mm/transparent_hugepage";

/// Everything that is known of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// What it is.
    #[serde(flatten)]
    pub facts: Facts,
    /// Whether the kernel backs memory with huge pages by itself: `always`, `madvise`, `never`.
    pub huge_pages: Option<Sourced<String>>,
    /// How hard it tries to make huge pages.
    pub huge_page_defrag: Option<Sourced<String>>,
    /// Whether memory follows tasks between NUMA nodes: 0 is off.
    pub numa_balancing: Option<Sourced<String>>,
    /// Swap space that is not in use, in bytes.
    pub swap_free: Option<Sourced<u64>>,
    /// Where swap space is.
    pub swap_devices: Vec<SwapDevice>,
    /// The pressure on each resource; none in a kernel that does not account for it.
    pub pressure: Vec<Pressure>,
    /// The thermometers that answer.
    pub sensors: Vec<Sensor>,
    /// The block devices.
    pub block_devices: Vec<BlockDevice>,
    /// The driver that chooses how deeply idle CPUs sleep.
    pub idle_driver: Option<Sourced<String>>,
    /// The clock.
    pub clock: Clock,
}

/// A place for pages that were swapped out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SwapDevice {
    /// The device or file.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes in use.
    pub used: u64,
}

/// The share of the last ten seconds in which tasks waited for a resource, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pressure {
    /// `cpu`, `memory` or `io`.
    pub resource: String,
    /// At least one task waited.
    pub some: Sourced<f64>,
    /// All tasks waited.
    pub full: Option<f64>,
}

/// The clock of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// What the kernel reads the time from; reading `tsc` is cheap, `hpet` and `acpi_pm` are not.
    pub source: Option<Sourced<String>>,
    /// What else it could read it from.
    pub available: Vec<String>,
    /// What keeps it synchronised, as far as files tell; absent where no such service is found. `systemd-timesyncd` marks
    /// that it has synchronised the clock since the boot; of `chronyd` and `ntpd` it is known only that they run. What the
    /// kernel itself holds of its clock (`STA_UNSYNC` of adjtimex(2)) is told by a system call and by no file, and none of
    /// the libraries in use has a safe function for it.
    pub synchronized_by: Option<Sourced<String>>,
}

impl Inspection {
    /// Looks at the host below `root`. Whatever is missing there is absent here.
    #[must_use]
    pub fn read(root: &Sysroot) -> Self {
        let gather = Gather::new(root);
        let chosen =
            |path: &str| Some(gather.text(path)?.map(|text| setting::plain(&text).to_owned()));
        let mut inspection = Self {
            facts: Facts::read(root),
            huge_pages: chosen(&format!("{HUGE}/enabled")),
            huge_page_defrag: chosen(&format!("{HUGE}/defrag")),
            numa_balancing: gather.text("/proc/sys/kernel/numa_balancing"),
            swap_free: meminfo(&gather, "SwapFree"),
            swap_devices: swap_devices(&gather),
            pressure: ["cpu", "memory", "io"]
                .iter()
                .filter_map(|resource| pressure(&gather, resource))
                .collect(),
            sensors: sensor::read(&gather),
            block_devices: block_device::read(&gather),
            idle_driver: gather
                .text("/sys/devices/system/cpu/cpuidle/current_driver")
                .filter(|driver| driver.value != "none"),
            clock: clock(&gather),
        };
        inspection.facts.unreadable.extend(gather.into_unreadable());
        inspection.facts.unreadable.dedup();
        inspection
    }
}

fn swap_devices(gather: &Gather<'_>) -> Vec<SwapDevice> {
    let text = gather.text("/proc/swaps").map(|text| text.value).unwrap_or_default();
    let device = |line: &str| {
        let mut fields = line.split_whitespace();
        let path = fields.next()?.to_owned();
        let mut kibibytes = fields.skip(1).map(|field| field.parse::<u64>().ok());
        let mut bytes = || kibibytes.next()??.checked_mul(1024);
        Some(SwapDevice { path, size: bytes()?, used: bytes()? })
    };
    text.lines().skip(1).filter_map(device).collect()
}

fn pressure(gather: &Gather<'_>, resource: &str) -> Option<Pressure> {
    let text = gather.text(&format!("/proc/pressure/{resource}"))?;
    let share = |which: &str| {
        let line = text.value.lines().find(|line| line.starts_with(which))?;
        line.split(' ').find_map(|field| field.strip_prefix("avg10=")?.parse::<f64>().ok())
    };
    let some = Sourced::new(share("some")?, text.source.clone());
    Some(Pressure { resource: resource.to_owned(), some, full: share("full") })
}

fn clock(gather: &Gather<'_>) -> Clock {
    const DIR: &str = "/sys/devices/system/clocksource/clocksource0";
    const MARK: (&str, &str) = ("/run/systemd/timesync/synchronized", "systemd-timesyncd");
    let available = gather.text(&format!("{DIR}/available_clocksource"));
    let available = available.map(|text| text.value).unwrap_or_default();
    let processes = [
        ("/run/chrony/chronyd.pid", "chronyd"),
        ("/run/chronyd.pid", "chronyd"),
        ("/run/ntpd.pid", "ntpd"),
    ];
    // A service that was killed leaves its file behind, and another process may have its number by now.
    let runs = |(path, service): &(&str, &str)| {
        let comm = |pid: u64| gather.root.read(&format!("/proc/{pid}/comm")).ok();
        let comm = gather.number(path).and_then(|pid| comm(pid.value));
        comm.is_some_and(|comm| comm.trim() == *service)
    };
    let mark = Some(MARK).filter(|(path, _)| gather.root.exists(path));
    let mark = mark.or_else(|| processes.into_iter().find(runs));
    Clock {
        source: gather.text(&format!("{DIR}/current_clocksource")),
        available: available.split_whitespace().map(str::to_owned).collect(),
        synchronized_by: mark.map(|(path, service)| Sourced::new(service.to_owned(), path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    #[test]
    fn a_host_tells_how_it_is_set_and_how_it_fares() {
        let tree = Tree::new()
            .file("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
            .file("/proc/pressure/io", "some avg10=1.50 avg60=0.00\nfull avg10=0.25 avg60=0.00\n")
            .file("/proc/pressure/cpu", "some avg10=2.00 avg60=0.00\n")
            .file("/proc/swaps", "Filename Type Size Used Priority\n/swapfile file 2048 1024 -2\n")
            .file("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n")
            .file("/run/ntpd.pid", "812\n")
            .file("/proc/812/comm", "bash\n")
            .file("/run/chrony/chronyd.pid", "811\n")
            .file("/proc/811/comm", "chronyd\n");
        let found = Inspection::read(&tree.sysroot());
        assert_eq!(found.huge_pages.unwrap().value, "madvise");
        let pressure: Vec<_> =
            found.pressure.iter().map(|one| (&*one.resource, one.some.value, one.full)).collect();
        assert_eq!(pressure, [("cpu", 2.0, None), ("io", 1.5, Some(0.25))]);
        assert_eq!(found.swap_devices[0].used, 1 << 20);
        assert_eq!(found.clock.synchronized_by.unwrap().value, "chronyd");
        assert_eq!(found.facts.unreadable, Vec::<String>::new());
        let synchronized = |tree: &Tree| Inspection::read(&tree.sysroot()).clock.synchronized_by;
        let tree = tree.file("/proc/811/comm", "cat\n");
        assert_eq!(synchronized(&tree), None, "what its file names is another process by now");
        let tree = tree.file("/run/systemd/timesync/synchronized", "");
        assert_eq!(synchronized(&tree).unwrap().value, "systemd-timesyncd");
    }

    #[test]
    fn an_inspection_survives_a_round_trip_through_json() {
        let found = Inspection::read(&Tree::new().file("/proc/swaps", "x\n").sysroot());
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Inspection>(&text).unwrap(), found);
    }
}
