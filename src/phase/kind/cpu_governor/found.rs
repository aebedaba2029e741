//! What the host has of the settings that are wanted: their values, what keeps them from being set, and in which order
//! they are to be set.
//!
//! Order matters where the kernel holds one setting to another: a lowest frequency that rises above the highest must
//! follow it. Taking back goes the other way round by itself.

use serde::Serialize;

use super::with::{Cores, Wanted, What};
use crate::change::{Change, Target, observe, obstacle};
use crate::host::Sysroot;
use crate::host::catalog::{Instance, Known, Scope};
use crate::host::core_class::Role;
use crate::host::relation;
use crate::host::setting::{self, Observed, Setting, Writability};
use crate::phase::Context;

/// A setting as it was found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) wanted: String,
    /// Its value, where it can be read.
    pub(super) value: Option<String>,
    /// Why it can't be set here; none when it can, or is as wanted.
    pub(super) obstacle: Option<String>,
    /// What it is set to when the host starts; none where that is not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_boot: Option<AtBoot>,
    /// The module that the kernel has to load for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<String>,
    /// Settings of lower numbers are set first.
    #[serde(skip)]
    turn: u8,
    /// Whether the kernel sets it when another one is set.
    #[serde(skip)]
    follows: bool,
}

/// What a setting is set to when the host starts.
#[derive(Debug, Serialize)]
pub(super) struct AtBoot {
    /// That, or that it is not.
    value: Option<String>,
    /// Why it can't be set there; none when it can, or is as wanted.
    obstacle: Option<String>,
}

impl Found {
    /// Looks at what it is set to when the host starts. What can't be set now is not set then, and what the kernel sets
    /// with another one must not be: it would undo that.
    pub(super) fn with_boot(mut self, root: &Sysroot) -> Self {
        if self.obstacle.is_none() && !self.follows {
            let target = Target::at_boot(&self.path);
            let (value, unread) = match target
                .forbidden()
                .map_or_else(|| observe(root, &target), Observed::Unreadable)
            {
                Observed::Value(value) => (Some(value), None),
                Observed::Absent(reason) | Observed::Unreadable(reason) => (None, Some(reason)),
            };
            let is_so = value.as_ref().is_some_and(|value| target.same(value, &self.wanted));
            let wanted = &self.wanted;
            let obstacle =
                unread.or_else(|| if is_so { None } else { obstacle(root, &target, wanted) });
            self.at_boot = Some(AtBoot { value, obstacle });
        }
        self
    }

    /// The change that sets it when the host starts, for `phase`.
    pub(super) fn change_at_boot(&self, phase: &str) -> Option<Change> {
        let AtBoot { value: Some(from), obstacle: None } = self.at_boot.as_ref()? else {
            return None;
        };
        let (target, to) = (Target::at_boot(&self.path), self.wanted.clone());
        let (phase, from) = (phase.to_owned(), from.clone());
        (!target.same(&from, &to)).then_some(Change { phase, target, from, to })
    }

    /// Why it is not set when the host starts.
    pub(super) fn told_at_boot(&self) -> Option<String> {
        let obstacle = self.at_boot.as_ref()?.obstacle.as_ref()?;
        Some(format!("{obstacle} (would set {} to {} at boot)", self.path, self.wanted))
    }

    /// Why it is not set, and what would have been changed.
    pub(super) fn told(&self) -> Option<String> {
        let obstacle = self.obstacle.as_ref()?;
        Some(match &self.value {
            Some(value) => format!("{obstacle} (would change {value} to {})", self.wanted),
            None => format!("{obstacle} (would set it to {})", self.wanted),
        })
    }

    fn nowhere(wanted: &Wanted, obstacle: String) -> Self {
        let (name, path) = match wanted.name() {
            "governor" => ("CPU frequency governor", "/sys/devices/system/cpu/cpufreq"),
            name => (name, ""),
        };
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            wanted: wanted.value.clone(),
            value: None,
            obstacle: Some(obstacle),
            at_boot: None,
            module: None,
            turn: 0,
            follows: false,
        }
    }
}

/// Looks at everything that is wanted, in the order in which it is to be set.
pub(super) fn look(wanted: &[Wanted], cores: Cores, cx: &Context) -> Vec<Found> {
    let meant = meant(cores, cx);
    let mut found = Vec::new();
    for one in wanted {
        match one.what {
            What::File => found.push(look_at(cx, &Setting::file(one.name()), &one.value)),
            What::Known(known) => found.extend(look_for(known, one, meant.as_ref(), (wanted, cx))),
        }
    }
    // What is wanted of one file counts before what is wanted of all of its kind.
    let files: Vec<&str> =
        wanted.iter().filter(|one| one.what == What::File).map(Wanted::name).collect();
    found.retain(|one| one.name == one.path || !files.contains(&one.path.as_str()));
    order(&mut found);
    let twins: Vec<Found> = wanted.iter().filter_map(|one| twin(one, &found, cx)).collect();
    found.extend(twins);
    found
}

/// The CPUs that settings of cores are for; nothing for all, and a reason where there are none.
fn meant(cores: Cores, cx: &Context) -> Option<Result<Vec<usize>, String>> {
    let role = match cores {
        Cores::All => return None,
        Cores::Performance => Role::Performance,
        Cores::Efficiency => Role::Efficiency,
    };
    let classes = &cx.run.facts.cpus.classes;
    if classes.is_empty() {
        // Where all cores are alike none of them is for saving power.
        let none = "all cores of this machine are alike: none is for efficiency".to_owned();
        return (role == Role::Efficiency).then_some(Err(none));
    }
    let of_role = classes.iter().filter(|class| class.role == role);
    Some(Ok(of_role.flat_map(|class| class.cpus.value.iter().copied()).collect()))
}

fn look_for(
    known: &'static Known,
    wanted: &Wanted,
    meant: Option<&Result<Vec<usize>, String>>,
    (all, cx): (&[Wanted], &Context),
) -> Vec<Found> {
    let cpus = match meant.filter(|_| known.is_of_cores()) {
        Some(Err(reason)) => return vec![Found::nowhere(wanted, reason.clone())],
        Some(Ok(cpus)) => Some(cpus.as_slice()),
        None => None,
    };
    let scope = Scope { root: &cx.run.sysroot, facts: &cx.run.facts, cpus };
    let instances = match known.instances(&scope) {
        Ok(instances) => instances,
        Err(reason) => return vec![Found::nowhere(wanted, reason)],
    };
    let look = |(index, instance): (usize, &Instance)| {
        let value = instance.written(&wanted.value);
        let mut found = look_at(cx, &instance.setting, &value);
        found.turn = turn(known.name, all);
        // What stays as it is: of the same policy where there is one for each.
        let current = |name: &str| {
            let is_wanted = all.iter().any(|other| other.name() == name);
            let partner = Known::find(name).filter(|_| !is_wanted)?.instances(&scope).ok()?;
            match setting::observe(&cx.run.sysroot, &partner.get(index)?.setting) {
                Observed::Value(value) => Some(value),
                Observed::Absent(_) | Observed::Unreadable(_) => None,
            }
        };
        let is_so = found.value.as_ref().is_some_and(|now| setting::same(now, &value));
        if !is_so && found.obstacle.is_none() {
            found.obstacle = relation::beside(known.name, &value, current);
        }
        found
    };
    instances.iter().enumerate().map(look).collect()
}

/// When a setting has its turn. The drivers that have an energy preference take one only under another governor than
/// `performance`, so that one comes first where it is to be `performance`, and else the governor does.
fn turn(name: &str, all: &[Wanted]) -> u8 {
    match name {
        "energy_preference" => {
            let last = |one: &Wanted| one.name() == "governor" && one.value == "performance";
            if all.iter().any(last) { 0 } else { 2 }
        }
        "governor" => 1,
        _ => 3,
    }
}

/// Sorts by turn, and puts the highest frequency of a policy before the lowest where that is to rise above what is now
/// the highest.
fn order(found: &mut [Found]) {
    found.sort_by_key(|one| one.turn);
    let partner = |path: &str| {
        path.strip_suffix("scaling_min_freq").map(|dir| format!("{dir}scaling_max_freq"))
    };
    for index in 0..found.len() {
        let Some(upper) = partner(&found[index].path) else { continue };
        let Some(other) = found.iter().position(|one| one.path == upper) else { continue };
        let khz = |text: Option<&String>| text.and_then(|text| text.trim().parse::<u64>().ok());
        let rises = khz(Some(&found[index].wanted)) > khz(found[other].value.as_ref());
        if rises == (index < other) {
            found.swap(index, other);
        }
    }
}

/// The setting that the kernel zeroes when `wanted` is set: a change as well, that must be taken back as well. It
/// comes after: by then the kernel has set it, so it is in the journal alone, and is taken back first, which brings back both.
fn twin(wanted: &Wanted, found: &[Found], cx: &Context) -> Option<Found> {
    let name = relation::twin(wanted.name())?;
    let sets = |one: &Found| {
        let now = one.value.as_ref();
        one.name == wanted.name()
            && one.obstacle.is_none()
            && now.is_some_and(|now| !setting::same(now, &one.wanted))
    };
    let twin = Found { follows: true, ..look_at(cx, &Setting::sysctl(name), "0") };
    (found.iter().any(sets) && twin.value.is_some()).then_some(twin)
}

fn look_at(cx: &Context, setting: &Setting, wanted: &str) -> Found {
    let (value, unread) = match setting::observe(&cx.run.sysroot, setting) {
        Observed::Value(value) => (Some(value), None),
        Observed::Absent(reason) | Observed::Unreadable(reason) => (None, Some(reason)),
    };
    let is_so = value.as_ref().is_some_and(|value| setting::same(value, wanted));
    let obstacle = unread.or_else(|| {
        if is_so {
            return None;
        }
        let refused = setting.check(wanted).err().map(|error| error.to_string());
        refused.or_else(|| match setting::writable(&cx.run.sysroot, setting) {
            Writability::Yes => None,
            Writability::No(reason) => Some(reason),
        })
    });
    Found {
        name: setting.name.clone(),
        path: setting.path.clone(),
        wanted: wanted.to_owned(),
        value,
        obstacle,
        at_boot: None,
        module: setting.valid.module(wanted).filter(|_| !is_so).map(str::to_owned),
        turn: 3,
        follows: false,
    }
}
