//! How settings depend on each other: one that may not be above another, and pairs of which the kernel keeps only one.
//!
//! What two wanted values say of each other is known from the pipeline alone; what a wanted one says of one that stays
//! as it is, only on the host.

use std::collections::BTreeMap;

/// A relation between two settings, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    lower: &'static str,
    upper: &'static str,
    /// True where the two may not be equal either.
    strict: bool,
    /// Why.
    reason: &'static str,
}

/// Orders that the kernel holds settings to, whether both are set now or only one.
const ORDERS: [Order; 4] = [
    Order {
        lower: "min_frequency",
        upper: "max_frequency",
        strict: false,
        reason: "no frequency would be left",
    },
    Order {
        lower: "vm.dirty_background_ratio",
        upper: "vm.dirty_ratio",
        strict: true,
        reason: "the kernel would take half of the latter in its place",
    },
    Order {
        lower: "vm.dirty_background_bytes",
        upper: "vm.dirty_bytes",
        strict: true,
        reason: "the kernel would take half of the latter in its place",
    },
    Order {
        lower: "kernel.sched_rt_runtime_us",
        upper: "kernel.sched_rt_period_us",
        strict: false,
        reason: "the kernel refuses it",
    },
];

/// Orders that the kernel does not hold settings to, and that whoever sets both means.
const MEANT: [Order; 4] = [
    Order {
        lower: "net.core.rmem_default",
        upper: "net.core.rmem_max",
        strict: false,
        reason: "a socket that asks for nothing would get more than one may ask for",
    },
    Order {
        lower: "net.core.wmem_default",
        upper: "net.core.wmem_max",
        strict: false,
        reason: "a socket that asks for nothing would get more than one may ask for",
    },
    Order {
        lower: "net.ipv4.tcp_rmem",
        upper: "net.core.rmem_max",
        strict: false,
        reason: "a socket that asks for a size would stay below what others grow to by themselves",
    },
    Order {
        lower: "net.ipv4.tcp_wmem",
        upper: "net.core.wmem_max",
        strict: false,
        reason: "a socket that asks for a size would stay below what others grow to by themselves",
    },
];

/// Pairs of which the kernel zeroes the one when the other is set.
const TWINS: [(&str, &str); 2] = [
    ("vm.dirty_ratio", "vm.dirty_bytes"),
    ("vm.dirty_background_ratio", "vm.dirty_background_bytes"),
];

/// A relation that values do not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The setting that is to be changed.
    pub name: &'static str,
    /// What is wrong.
    pub message: String,
}

/// The figure of a value: of several the last, which is the largest.
fn figure(value: &str) -> Option<i64> {
    value.split_whitespace().next_back()?.parse().ok()
}

impl Order {
    /// Why the two values can't stand together; nothing when they can. Zero and less stand for "no limit of this kind".
    fn broken(&self, lower: &str, upper: &str) -> Option<String> {
        let (low, high) = (figure(lower)?, figure(upper)?);
        let kept = low <= 0 || high <= 0 || low < high || (low == high && !self.strict);
        let bound = if self.strict { "not below" } else { "above" };
        let Self { lower: name, upper, reason, .. } = self;
        (!kept).then(|| format!("{name} ({low}) is {bound} {upper} ({high}): {reason}"))
    }
}

/// Everything that wanted values, by name and in the kernel's form, say against each other.
#[must_use]
pub fn among(wanted: &BTreeMap<&'static str, String>) -> Vec<Broken> {
    let mut broken = Vec::new();
    for order in ORDERS.iter().chain(&MEANT) {
        if let (Some(lower), Some(upper)) = (wanted.get(order.lower), wanted.get(order.upper))
            && let Some(message) = order.broken(lower, upper)
        {
            broken.push(Broken { name: order.lower, message });
        }
    }
    for (one, other) in TWINS {
        if wanted.contains_key(one) && wanted.contains_key(other) {
            let message = format!(
                "{one} and {other} are one setting: the kernel zeroes the one when the other is set"
            );
            broken.push(Broken { name: other, message });
        }
    }
    let preference =
        wanted.get("energy_preference").filter(|preference| *preference != "performance");
    if let (Some(governor), Some(preference)) = (wanted.get("governor"), preference)
        && governor == "performance"
    {
        let message = format!(
            "under the governor `performance` no other energy preference than `performance` is taken, and so not `{preference}`"
        );
        broken.push(Broken { name: "energy_preference", message });
    }
    broken
}

/// Why the wanted `value` of a setting can't stand beside what the host has; `current` tells the value of a setting
/// that is not to be changed, and nothing of one that is.
pub fn beside(name: &str, value: &str, current: impl Fn(&str) -> Option<String>) -> Option<String> {
    ORDERS.iter().find_map(|order| {
        if order.lower == name {
            order.broken(value, &current(order.upper)?)
        } else if order.upper == name {
            order.broken(&current(order.lower)?, value)
        } else {
            None
        }
    })
}

/// The file of the setting that the kernel zeroes when that of the given file is set.
#[must_use]
pub fn twin_of_file(path: &str) -> Option<String> {
    let name = path.strip_prefix("/proc/sys/")?.replace('/', ".");
    Some(format!("/proc/sys/{}", twin(&name)?.replace('.', "/")))
}

/// The setting that the kernel zeroes when the one of the given name is set.
#[must_use]
pub fn twin(name: &str) -> Option<&'static str> {
    TWINS.iter().find_map(|(one, other)| {
        if *one == name {
            Some(*other)
        } else if *other == name {
            Some(*one)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(wanted: &[(&'static str, &str)]) -> Vec<String> {
        let wanted = wanted.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        among(&wanted).into_iter().map(|broken| broken.message).collect()
    }

    #[test]
    fn wanted_values_are_held_against_each_other() {
        for (wanted, part) in [
            (
                [("min_frequency", "3000000"), ("max_frequency", "2000000")],
                "no frequency would be left",
            ),
            (
                [("vm.dirty_background_ratio", "20"), ("vm.dirty_ratio", "20")],
                "not below vm.dirty_ratio (20)",
            ),
            (
                [("net.ipv4.tcp_rmem", "4096 131072 6291456"), ("net.core.rmem_max", "1048576")],
                "(6291456) is above net.core.rmem_max (1048576)",
            ),
            ([("vm.dirty_bytes", "1048576"), ("vm.dirty_ratio", "10")], "are one setting"),
            ([("governor", "performance"), ("energy_preference", "power")], "not `power`"),
            (
                [("kernel.sched_rt_runtime_us", "2"), ("kernel.sched_rt_period_us", "1")],
                "the kernel refuses it",
            ),
        ] {
            let told = told(&wanted);
            assert!(told.len() == 1 && told[0].contains(part), "{wanted:?}: {told:?}");
        }
        assert_eq!(told(&[("vm.dirty_background_ratio", "5"), ("vm.dirty_ratio", "10")]), [""; 0]);
        assert_eq!(
            told(&[("kernel.sched_rt_runtime_us", "-1"), ("kernel.sched_rt_period_us", "1")]),
            [""; 0]
        );
    }

    #[test]
    fn a_wanted_value_is_held_against_what_the_host_has() {
        let current = |name: &str| (name == "vm.dirty_ratio").then(|| "20".to_owned());
        let told = beside("vm.dirty_background_ratio", "30", current).unwrap();
        assert!(told.contains("(30) is not below vm.dirty_ratio (20)"), "{told}");
        assert_eq!(beside("vm.dirty_background_ratio", "10", current), None);
        // The size counts there, and not the share.
        let zero = |_: &str| Some("0".to_owned());
        assert_eq!(beside("vm.dirty_background_ratio", "30", zero), None);
        assert_eq!(twin("vm.dirty_bytes"), Some("vm.dirty_ratio"));
        let twin = twin_of_file("/proc/sys/vm/dirty_background_ratio");
        assert_eq!(twin.as_deref(), Some("/proc/sys/vm/dirty_background_bytes"));
        assert_eq!(twin_of_file("/sys/vm/dirty_bytes"), None);
    }
}
