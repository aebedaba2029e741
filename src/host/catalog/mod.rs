//! The settings that are known by name: what the kernel means by each, its unit, what it takes, and its files.
//!
//! A name stands for one file, or for one of each frequency policy, CPU or disk. Values are checked as far as they can
//! be without a host; the rest is known from [`Known::instances`]. All of them are the kernel's own and last until the
//! next boot. Nothing is written here, and how settings depend on each other is in `relation`.

mod place;
mod table;

use crate::unit::Bytes;

use super::setting::{InvalidValue, Valid};

pub use place::{Instance, Scope};

/// A setting that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// How people call it; of a sysctl its own name.
    pub name: &'static str,
    /// What its figure counts; empty for words and switches.
    pub unit: &'static str,
    /// What the kernel means by it.
    pub meaning: &'static str,
    pub(super) place: Place,
    takes: Takes,
}

/// Where the kernel keeps a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The sysctl of the same name.
    Sysctl,
    /// The first of these files that the host has.
    File(&'static [&'static str]),
    /// The switch of frequencies above the base, which one driver keeps the other way round.
    Boost,
    /// This file of each frequency policy.
    Policy(&'static str),
    /// This file of each CPU.
    Cpu(&'static str),
    /// This file of each block device.
    Disk(&'static str),
}

/// What a setting takes, as far as that is known without a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// 0 or 1, or a word for it.
    Switch,
    /// One of the words that the host offers in the file itself, or in the named one beside it.
    Offered(&'static str),
    /// A governor: one that is offered beside the file, or one that the kernel has as a module.
    Governor,
    /// A whole number.
    Whole(i64, i64),
    /// Ascending whole numbers, so many.
    Ascending(usize, i64),
    /// A frequency, which the kernel counts in kHz.
    Frequency,
}

impl Known {
    /// The setting of the given name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        table::ALL.iter().find(|known| known.name == name)
    }

    /// The setting that keeps its one value in the host's file `path`.
    #[must_use]
    pub fn at_path(path: &str) -> Option<&'static Self> {
        table::ALL.iter().find(|known| match known.place {
            Place::Sysctl => super::setting::Setting::sysctl(known.name).path == path,
            Place::File(paths) => paths.contains(&path),
            Place::Boost | Place::Policy(_) | Place::Cpu(_) | Place::Disk(_) => false,
        })
    }

    /// All of them, in the order in which they are told.
    #[must_use]
    pub fn all() -> &'static [Self] {
        table::ALL
    }

    /// What it takes, as far as that is known without a host.
    #[must_use]
    pub fn valid(&self) -> Valid {
        match self.takes {
            Takes::Switch => Valid::OneOf(vec!["0".to_owned(), "1".to_owned()]),
            Takes::Offered(_) | Takes::Governor => Valid::Any,
            Takes::Whole(min, max) => Valid::Whole { min, max },
            Takes::Ascending(count, min) => Valid::Ascending { count, min },
            Takes::Frequency => Valid::Frequency,
        }
    }

    /// True where there is one for each frequency policy or CPU, so that it can be set for a class of cores.
    #[must_use]
    pub fn is_of_cores(&self) -> bool {
        matches!(self.place, Place::Policy(_) | Place::Cpu(_))
    }

    /// The value in the form in which the kernel takes it: `on` is 1, `16MiB` its bytes, `2.4GHz` its kHz.
    ///
    /// # Errors
    /// When it can't take the value on any host; the error says what it takes.
    pub fn kernel_form(&self, value: &str) -> Result<String, InvalidValue> {
        let wanted = value.trim();
        let form = match self.takes {
            Takes::Switch => match wanted {
                "true" | "on" | "1" => Some("1".to_owned()),
                "false" | "off" | "0" => Some("0".to_owned()),
                _ => None,
            },
            Takes::Frequency => kilohertz(wanted).map(|khz| khz.to_string()),
            Takes::Whole(..) if self.unit == "bytes" && wanted.parse::<i64>().is_err() => {
                wanted.parse::<Bytes>().ok().map(|bytes| bytes.0.to_string())
            }
            Takes::Offered(_) | Takes::Governor | Takes::Whole(..) | Takes::Ascending(..) => {
                Some(wanted.split_whitespace().collect::<Vec<_>>().join(" "))
            }
        };
        let fits = |form: &String| self.takes == Takes::Frequency || self.valid().takes(form);
        form.filter(fits).ok_or_else(|| InvalidValue {
            name: self.name.to_owned(),
            value: value.to_owned(),
            valid: self.valid(),
        })
    }
}

/// `2.4GHz`, `2400MHz` or `2400000kHz`, in kHz.
fn kilohertz(text: &str) -> Option<u64> {
    let units = [("GHz", 1e6), ("MHz", 1e3), ("kHz", 1.0)];
    let (number, scale) =
        units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    let khz = number.trim().parse::<f64>().ok()? * scale;
    (khz.is_finite() && (1.0..1e9).contains(&khz)).then_some(khz.round() as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn form(name: &str, value: &str) -> Result<String, String> {
        Known::find(name).unwrap().kernel_form(value).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_taken_in_the_words_of_people_and_given_in_those_of_the_kernel() {
        for (name, value, expected) in [
            ("boost", "off", "0"),
            ("vm.overcommit_memory", "2", "2"),
            ("net.core.rmem_max", "16MiB", "16777216"),
            ("net.core.rmem_max", "4096", "4096"),
            ("min_frequency", "2.4GHz", "2400000"),
            ("max_frequency", "800MHz", "800000"),
            ("net.ipv4.tcp_rmem", "4096  131072\t6291456", "4096 131072 6291456"),
            ("transparent_hugepage.enabled", "madvise", "madvise"),
        ] {
            assert_eq!(form(name, value).as_deref(), Ok(expected), "{name} {value}");
        }
    }

    #[test]
    fn what_no_host_takes_is_refused_with_what_it_takes() {
        for (name, value, told) in [
            ("boost", "maybe", "one of 0, 1"),
            ("vm.dirty_ratio", "101", "a whole number from 0 to 100"),
            ("vm.swappiness", "many", "from 0 to 200"),
            ("min_frequency", "2400", "a frequency with its unit"),
            ("net.ipv4.ip_local_port_range", "60000 1024", "2 whole numbers"),
            ("net.ipv4.tcp_wmem", "4096 16384", "3 whole numbers"),
        ] {
            let error = form(name, value).unwrap_err();
            assert!(error.contains(told), "{name} {value}: {error}");
        }
    }

    #[test]
    fn names_are_told_once_and_each_has_a_meaning() {
        let names: BTreeSet<_> = Known::all().iter().map(|known| known.name).collect();
        assert_eq!(names.len(), Known::all().len());
        assert!(Known::all().iter().all(|known| known.meaning.len() > 20));
        let swappiness = Known::at_path("/proc/sys/vm/swappiness").map(|known| known.name);
        assert_eq!(swappiness, Some("vm.swappiness"));
    }
}
