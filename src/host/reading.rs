//! Live readings of a host: is it fit to be measured now?
//!
//! Each reading tells its figure, its unit and its source, or why there is none. A thing that a host does
//! not have (a virtual machine has no thermometer) is absent, not zero. Thresholds are not known here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::statvfs;
use schemars::JsonSchema;
use serde::Serialize;

use super::cgroup;
use super::facts::meminfo;
use super::patience::{Answer, within};
use super::sensor;
use super::sysroot::{Gather, Sourced, Sysroot};

/// How long a file system may take to tell its free space; one on a network may never do.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// A figure read just now.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Reading {
    /// The figure.
    pub value: f64,
    /// Its unit: `bytes`, `%`, `C` or `files`.
    pub unit: &'static str,
    /// The file, or call, that told it.
    pub source: String,
}

/// Why there is no reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The host does not have the thing.
    #[error("{0}")]
    Absent(String),
    /// The host has it and does not tell.
    #[error("{0}")]
    Failed(String),
}

/// Which of the two limits of a resource is meant (getrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The limit in force, which the process may raise up to the hard one.
    Soft,
    /// The ceiling.
    Hard,
}

fn reading(value: f64, unit: &'static str, source: impl Into<String>) -> Reading {
    Reading { value, unit, source: source.into() }
}

/// Memory that can be used without swapping, in bytes: what the kernel estimates, or what the control
/// groups of this process leave if that is less.
///
/// # Errors
/// When the host tells neither.
pub fn available_memory(root: &Sysroot) -> Result<Reading, Unreadable> {
    let gather = Gather::new(root);
    let host = meminfo(&gather, "MemAvailable")
        .map(|bytes| Sourced::new(bytes.value, "/proc/meminfo: MemAvailable"));
    [host, cgroup::memory_left(root)]
        .into_iter()
        .flatten()
        .min_by_key(|bytes| bytes.value)
        .map(|bytes| reading(bytes.value as f64, "bytes", bytes.source))
        .ok_or_else(|| {
            Unreadable::Absent("/proc/meminfo does not tell the available memory".to_owned())
        })
}

/// The share of the last ten seconds in which some task waited for a CPU, in percent.
///
/// From the kernel's pressure stall information; a kernel without it gives the load of the last minute per
/// usable CPU instead, which also counts tasks that run or wait for a disk. The source says which.
///
/// # Errors
/// When the host tells neither.
pub fn cpu_pressure(root: &Sysroot, usable_cpus: usize) -> Result<Reading, Unreadable> {
    const PRESSURE: &str = "/proc/pressure/cpu";
    const LOAD: &str = "/proc/loadavg";
    let gather = Gather::new(root);
    let stalled = gather.text(PRESSURE).and_then(|text| {
        let some = text.value.lines().find_map(|line| line.strip_prefix("some "))?;
        some.split(' ').find_map(|field| field.strip_prefix("avg10=")?.parse::<f64>().ok())
    });
    if let Some(percent) = stalled {
        return Ok(reading(percent, "%", format!("{PRESSURE}: some avg10")));
    }
    let load = gather.text(LOAD).and_then(|text| text.value.split(' ').next()?.parse::<f64>().ok());
    let load = load.ok_or_else(|| {
        Unreadable::Absent(format!("neither {PRESSURE} nor {LOAD} tells how busy the CPUs are"))
    })?;
    let cpus = usable_cpus.max(1);
    let source = format!("{LOAD}: 1-minute load per CPU of {cpus} (no {PRESSURE} in this kernel)");
    Ok(reading(load / cpus as f64 * 100.0, "%", source))
}

/// The hottest sensor of the host, in degrees Celsius.
///
/// # Errors
/// When the host has no sensor, or none of them answers.
pub fn temperature(root: &Sysroot) -> Result<Reading, Unreadable> {
    let gather = Gather::new(root);
    let sensors = sensor::files(&gather);
    let silent = sensors.len();
    sensors
        .into_iter()
        .filter_map(|(path, _)| sensor::celsius(&gather, &path))
        .map(|degrees| reading(degrees.value, "C", degrees.source))
        .max_by(|a, b| a.value.total_cmp(&b.value))
        .ok_or_else(|| {
            if silent == 0 {
                Unreadable::Absent("this host has no temperature sensor".to_owned())
            } else {
                Unreadable::Failed(format!("none of {silent} temperature sensors answers"))
            }
        })
}

/// Bytes that this user may still write to the file system of `path`, or of the nearest folder above it
/// that exists.
///
/// # Errors
/// When the file system does not answer.
pub fn free_disk(path: &Path) -> Result<Reading, Unreadable> {
    let asked = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let failed =
        |told: String| Unreadable::Failed(format!("the file system of {} {told}", path.display()));
    // The call blocks on a network file system whose server is gone.
    match within(DISK_PATIENCE, move || nearest_free(&asked)) {
        Answer::Told(Ok((place, bytes))) => {
            Ok(reading(bytes as f64, "bytes", format!("statvfs({})", place.display())))
        }
        Answer::Told(Err(error)) | Answer::NotAsked(error) => {
            Err(failed(format!("could not be asked for its free space: {error}")))
        }
        Answer::Late(_) => {
            Err(failed(format!("did not tell its free space within {} s", DISK_PATIENCE.as_secs())))
        }
    }
}

fn nearest_free(path: &Path) -> std::io::Result<(PathBuf, u64)> {
    let mut place = path;
    loop {
        match (statvfs(place), place.parent()) {
            (Ok(space), _) => {
                return Ok((place.to_owned(), space.f_bavail.saturating_mul(space.f_frsize)));
            }
            (Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR), Some(parent)) => {
                place = parent;
            }
            (Err(errno), _) => return Err(errno.into()),
        }
    }
}

/// How many files this process may have open at once.
///
/// # Errors
/// When the host does not tell.
pub fn open_file_limit(root: &Sysroot, bound: Bound) -> Result<Reading, Unreadable> {
    const LIMITS: &str = "/proc/self/limits";
    let text = root.read(LIMITS).map_err(|error| {
        let kind = if error.is_missing() { Unreadable::Absent } else { Unreadable::Failed };
        kind(error.to_string())
    })?;
    open_files(&text, bound)
        .map(|files| reading(files as f64, "files", format!("{LIMITS}: Max open files")))
        .ok_or_else(|| Unreadable::Failed(format!("{LIMITS} does not tell the open files")))
}

/// The limit of open files in a text of the form of /proc/PID/limits; the largest number for `unlimited`.
pub(super) fn open_files(limits: &str, bound: Bound) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let column = match bound {
        Bound::Soft => 0,
        Bound::Hard => 1,
    };
    match line.split_whitespace().nth(column)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    fn told(reading: Result<Reading, Unreadable>) -> (f64, &'static str, String) {
        let reading = reading.unwrap();
        (reading.value, reading.unit, reading.source)
    }

    #[test]
    fn available_memory_is_what_the_container_leaves_if_that_is_less() {
        let tree = Tree::new().file("/proc/meminfo", "MemTotal: 8 kB\nMemAvailable: 4 kB\n");
        let source = "/proc/meminfo: MemAvailable".to_owned();
        assert_eq!(told(available_memory(&tree.sysroot())), (4096.0, "bytes", source));
        let tree = tree
            .file("/proc/self/cgroup", "0::/a\n")
            .file("/sys/fs/cgroup/a/memory.max", "3000\n")
            .file("/sys/fs/cgroup/a/memory.current", "2500\n");
        let source = "/sys/fs/cgroup/a/memory.max less memory.current".to_owned();
        assert_eq!(told(available_memory(&tree.sysroot())), (500.0, "bytes", source));
        let error = available_memory(&Tree::new().sysroot()).unwrap_err();
        assert!(matches!(error, Unreadable::Absent(_)));
    }

    #[test]
    fn pressure_comes_from_the_kernel_or_else_from_the_load_and_says_so() {
        let tree = Tree::new().file("/proc/loadavg", "1.50 1.00 0.50 1/99 4242\n");
        let (percent, _, source) = told(cpu_pressure(&tree.sysroot(), 3));
        assert_eq!((percent, source.contains("1-minute load")), (50.0, true));
        let tree = tree.file(
            "/proc/pressure/cpu",
            "some avg10=12.34 avg60=0.00 avg300=0.40 total=40179112\nfull avg10=0.00\n",
        );
        let (percent, _, source) = told(cpu_pressure(&tree.sysroot(), 3));
        assert_eq!((percent, &*source), (12.34, "/proc/pressure/cpu: some avg10"));
        assert!(cpu_pressure(&Tree::new().sysroot(), 3).is_err());
    }

    #[test]
    fn the_hottest_sensor_counts_and_one_that_is_off_does_not() {
        let tree = Tree::new()
            .file("/sys/class/thermal/thermal_zone0/temp", "45000\n")
            .file("/sys/class/thermal/thermal_zone1/temp", "-274000\n")
            .file("/sys/class/thermal/cooling_device0/temp", "99000\n")
            .file("/sys/class/hwmon/hwmon0/temp1_input", "61500\n")
            .file("/sys/class/hwmon/hwmon0/temp1_max", "90000\n")
            .file("/sys/class/hwmon/hwmon1/device/temp2_input", "255000\n");
        let source = "/sys/class/hwmon/hwmon0/temp1_input".to_owned();
        assert_eq!(told(temperature(&tree.sysroot())), (61.5, "C", source));
    }

    #[test]
    fn no_thermometer_is_absent_and_a_silent_one_has_failed() {
        let none = temperature(&Tree::new().sysroot()).unwrap_err();
        assert_eq!(none, Unreadable::Absent("this host has no temperature sensor".to_owned()));
        let silent = Tree::new().file("/sys/class/thermal/thermal_zone0/temp", "");
        assert!(matches!(temperature(&silent.sysroot()), Err(Unreadable::Failed(_))));
    }

    #[test]
    fn free_space_is_told_for_a_file_that_is_yet_to_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, unit, source) = told(free_disk(&dir.path().join("results/run/report.json")));
        assert!(bytes > 0.0);
        assert_eq!((unit, source), ("bytes", format!("statvfs({})", dir.path().display())));
    }

    #[test]
    fn both_limits_of_open_files_are_told() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 unlimited            files\n";
        let tree = Tree::new().file("/proc/self/limits", limits);
        let source = "/proc/self/limits: Max open files".to_owned();
        assert_eq!(told(open_file_limit(&tree.sysroot(), Bound::Soft)), (1024.0, "files", source));
        assert_eq!(open_files(limits, Bound::Hard), Some(u64::MAX));
        assert!(open_file_limit(&Sysroot::live(), Bound::Hard).unwrap().value >= 1.0);
    }
}
