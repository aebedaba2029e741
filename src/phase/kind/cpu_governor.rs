//! `cpu_governor`: the frequency governor of every policy, and the kernel's readiness to swap.
//!
//! What can be set here is set, through the journal, and read back; what can't be is told with the reason and
//! with what it would have become. Nothing is measured: the values are those that the pipeline names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::{Change, Target};
use crate::event::{Check, CheckState, PhaseName};
use crate::host::setting::{self, Observed, Setting, Writability};
use crate::phase::{Applicability, Claim, Context, Kind, PhaseError, WithError};

/// Sets governors and memory settings.
#[derive(Debug)]
pub struct CpuGovernor;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The governor that every frequency policy shall have, such as `performance`.
    governor: Option<String>,
    /// The value that `vm.swappiness` shall have, from 0 to 200.
    #[schemars(range(max = 200))]
    swappiness: Option<u32>,
    /// True when a setting that can't be set here is a failure.
    #[serde(default)]
    require: bool,
}

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    settings: Vec<Found>,
}

/// A setting as it was found.
#[derive(Debug, Serialize)]
struct Found {
    name: String,
    path: String,
    wanted: String,
    /// Its value, where it can be read.
    value: Option<String>,
    /// Why it can't be set here; none when it can, or is as wanted.
    obstacle: Option<String>,
}

/// What it concludes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {
    #[serde(skip_serializing_if = "Option::is_none")]
    governor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swappiness: Option<u32>,
}

impl Kind for CpuGovernor {
    const NAME: &'static str = "cpu_governor";
    const ABOUT: &'static str = "sets the CPU frequency governor and vm.swappiness, reversibly";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        let mut wrong = Vec::new();
        if with.governor.is_none() && with.swappiness.is_none() {
            wrong.push(WithError {
                path: Vec::new(),
                message: "there is nothing to set".to_owned(),
                help: Some("write `governor: performance` or `swappiness: 10`".to_owned()),
            });
        }
        if with.swappiness.is_some_and(|value| value > 200) {
            wrong.push(
                WithError::at("swappiness", "the kernel takes 0 to 200")
                    .help("10 is usual for a database"),
            );
        }
        wrong
    }

    fn claims(with: &With) -> Vec<Claim> {
        let governor =
            with.governor.as_ref().map(|_| Claim("the CPU frequency governor".to_owned()));
        let swappiness = with.swappiness.map(|_| Claim("vm.swappiness".to_owned()));
        governor.into_iter().chain(swappiness).collect()
    }

    async fn observe(with: &With, cx: &Context) -> Result<Applicability<Observation>, PhaseError> {
        let mut settings = Vec::new();
        if let Some(governor) = &with.governor {
            let policies = &cx.run.facts.cpufreq;
            if policies.is_empty() {
                settings.push(Found {
                    name: "CPU frequency governor".to_owned(),
                    path: "/sys/devices/system/cpu/cpufreq".to_owned(),
                    wanted: governor.clone(),
                    value: None,
                    obstacle: Some("this machine has no cpufreq policy: its CPU frequency is not the kernel's to set".to_owned()),
                });
            }
            settings.extend(
                policies.iter().map(|policy| look(cx, &Setting::governor(policy), governor)),
            );
        }
        if let Some(swappiness) = with.swappiness {
            let kernel = cx.run.facts.kernel.as_ref().map(|kernel| kernel.value.as_str());
            settings.push(look(cx, &Setting::swappiness(kernel), &swappiness.to_string()));
        }
        let obstacles: Vec<String> = settings.iter().filter_map(Found::told).collect();
        let none_applicable = obstacles.len() == settings.len();
        let observation = Observation { settings };
        if with.require && !obstacles.is_empty() {
            let told = format!("a required setting can't be set here: {}", obstacles.join("; "));
            return Err(PhaseError::new(told).help("take `require` away to set only what can be"));
        }
        if none_applicable {
            return Ok(Applicability::No { reason: obstacles.join("; "), observation });
        }
        Ok(Applicability::Yes(observation))
    }

    async fn decide(with: &With, _: &Observation, _: &Context) -> Result<Decision, PhaseError> {
        Ok(Decision { governor: with.governor.clone(), swappiness: with.swappiness })
    }

    fn tell(_: &With, decision: &Decision) -> String {
        let governor = decision.governor.as_ref().map(|governor| format!("governor={governor}"));
        let swappiness = decision.swappiness.map(|value| format!("swappiness={value}"));
        governor.into_iter().chain(swappiness).collect::<Vec<_>>().join(" ")
    }

    fn diff(phase: &PhaseName, observation: &Observation, _: &Decision) -> Vec<Change> {
        observation
            .settings
            .iter()
            .filter(|found| found.obstacle.is_none())
            .filter_map(|found| {
                let from = found.value.as_ref()?;
                (!setting::same(from, &found.wanted)).then(|| Change {
                    phase: phase.to_string(),
                    target: Target::setting(&found.path),
                    from: from.clone(),
                    to: found.wanted.clone(),
                })
            })
            .collect()
    }

    async fn verify(
        _: &With,
        observation: &Observation,
        _: &Decision,
        cx: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let check = |found: &Found| {
            if let Some(reason) = found.told() {
                return Check::new(&found.name, CheckState::NotApplicable { reason });
            }
            let wanted = found.wanted.clone();
            match setting::observe_path(&cx.run.sysroot, &found.path) {
                Observed::Value(seen) if setting::same(&seen, &wanted) => {
                    Check::matched(&found.name, seen, wanted)
                }
                Observed::Value(seen) => Check::new(
                    &found.name,
                    CheckState::Mismatch { seen, wanted, source: found.path.clone() },
                ),
                Observed::Absent(reason) | Observed::Unreadable(reason) => {
                    Check::new(&found.name, CheckState::Unreadable { reason })
                }
            }
        };
        Ok(observation.settings.iter().map(check).collect())
    }
}

impl Found {
    /// Why it is not set, and what would have been changed.
    fn told(&self) -> Option<String> {
        let obstacle = self.obstacle.as_ref()?;
        Some(match &self.value {
            Some(value) => format!("{obstacle} (would change {value} to {})", self.wanted),
            None => format!("{obstacle} (would set it to {})", self.wanted),
        })
    }
}

fn look(cx: &Context, setting: &Setting, wanted: &str) -> Found {
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
    }
}
