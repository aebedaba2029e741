//! `cpu_governor`: settings of the host, first of all those that decide how fast its CPUs run.
//!
//! What can be set here is set, through the journal, and read back; what can't be is told with the reason and
//! with what it would have become. Nothing is measured: the values are those that the pipeline names.

mod found;
mod with;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::found::Found;
pub use self::with::With;
use self::with::{Cores, What};
use crate::change::at_boot::file_of;
use crate::change::{Change, Target, observe};
use crate::event::{Check, CheckState, PhaseName};
use crate::host::Sysroot;
use crate::host::setting::{self, Observed};
use crate::phase::{Applicability, Claim, Context, Kind, PhaseError, WithError};

/// Sets settings of the host.
#[derive(Debug)]
pub struct CpuGovernor;

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    settings: Vec<Found>,
}

/// What it concludes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {
    #[serde(skip_serializing_if = "Option::is_none")]
    governor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swappiness: Option<u32>,
    /// All others, by name or file, in the form of the kernel.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, String>,
    /// Modules that the kernel has not loaded and needs for it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    modules: BTreeSet<String>,
}

impl Kind for CpuGovernor {
    const NAME: &'static str = "cpu_governor";
    const ABOUT: &'static str =
        "sets CPU frequency, memory, disk and network settings of the kernel, reversibly";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        let (wanted, mut wrong) = with.wanted();
        if wanted.is_empty() && wrong.is_empty() {
            wrong.push(WithError {
                path: Vec::new(),
                message: "there is nothing to set".to_owned(),
                help: Some(
                    "write `governor: performance` or `swappiness: 10`, or others under `settings`; \
                     `trueup host --settings` lists them"
                        .to_owned(),
                ),
            });
        }
        wrong
    }

    fn claims(with: &With) -> Vec<Claim> {
        let (wanted, _) = with.wanted();
        let claim = |wanted: &with::Wanted| {
            let name = match wanted.name() {
                "governor" => "the CPU frequency governor",
                name => name,
            };
            let own = |cores: &str| Claim(format!("{name} of the {cores} cores"));
            match (wanted.what, with.cores) {
                (What::Known(known), Cores::Performance) if known.is_of_cores() => {
                    vec![own("performance")]
                }
                (What::Known(known), Cores::Efficiency) if known.is_of_cores() => {
                    vec![own("efficiency")]
                }
                // Whoever sets all cores and whoever sets some of them must not both do so.
                (What::Known(known), Cores::All) if known.is_of_cores() => {
                    vec![Claim(name.to_owned()), own("performance"), own("efficiency")]
                }
                _ => vec![Claim(name.to_owned())],
            }
        };
        wanted.iter().flat_map(claim).collect()
    }

    async fn observe(with: &With, cx: &Context) -> Result<Applicability<Observation>, PhaseError> {
        let (wanted, _) = with.wanted();
        let mut settings = found::look(&wanted, with.cores, cx);
        let mut obstacles: Vec<String> = settings.iter().filter_map(Found::told).collect();
        let none_applicable = obstacles.len() == settings.len();
        if with.persist {
            settings = settings.into_iter().map(|one| one.with_boot(&cx.run.sysroot)).collect();
            obstacles.extend(settings.iter().filter_map(Found::told_at_boot));
        }
        let observation = Observation { settings };
        let required = with.require.then_some("setting");
        Applicability::in_spite_of(&obstacles, none_applicable, required, observation)
    }

    async fn decide(with: &With, found: &Observation, _: &Context) -> Result<Decision, PhaseError> {
        let (wanted, _) = with.wanted();
        let mut settings: BTreeMap<String, String> =
            wanted.into_iter().map(|wanted| (wanted.name().to_owned(), wanted.value)).collect();
        let swappiness = settings.remove("vm.swappiness");
        Ok(Decision {
            governor: settings.remove("governor"),
            swappiness: swappiness.and_then(|value| value.parse().ok()),
            settings,
            modules: found.settings.iter().filter_map(|one| one.module.clone()).collect(),
        })
    }

    fn tell(with: &With, decision: &Decision) -> String {
        let governor = decision.governor.as_ref().map(|governor| format!("governor={governor}"));
        let swappiness = decision.swappiness.map(|value| format!("swappiness={value}"));
        let others = decision.settings.iter().map(|(name, value)| format!("{name}={value}"));
        let persist = with.persist.then(|| "(at boot as well)".to_owned());
        let modules: Vec<&str> = decision.modules.iter().map(String::as_str).collect();
        let modules = (!modules.is_empty())
            .then(|| format!("(needs {}, which is not loaded)", modules.join(", ")));
        let all =
            governor.into_iter().chain(swappiness).chain(others).chain(persist).chain(modules);
        all.collect::<Vec<_>>().join(" ")
    }

    fn diff(phase: &PhaseName, observation: &Observation, _: &Decision) -> Vec<Change> {
        // First those that hold at once: what is taken back in the other order is first no longer set again.
        let at_boot = observation.settings.iter();
        let at_boot = at_boot.filter_map(|found| found.change_at_boot(phase.as_str()));
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
            .chain(at_boot)
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
        let at_boot = |found: &Found| check_at_boot(found, &cx.run.sysroot);
        let settings = observation.settings.iter();
        Ok(settings.clone().map(check).chain(settings.filter_map(at_boot)).collect())
    }
}

/// Whether a setting is set as wanted when the host starts; nothing where that is not asked for.
fn check_at_boot(found: &Found, root: &Sysroot) -> Option<Check> {
    found.at_boot.as_ref()?;
    let name = format!("{} at boot", found.name);
    if let Some(reason) = found.told_at_boot() {
        return Some(Check::new(name, CheckState::NotApplicable { reason }));
    }
    let target = Target::at_boot(&found.path);
    let wanted = found.wanted.clone();
    Some(match observe(root, &target) {
        Observed::Value(seen) if target.same(&seen, &wanted) => Check::matched(name, seen, wanted),
        Observed::Value(seen) => {
            let (seen, source) =
                (target.shown(&seen).into_owned(), file_of(&found.path).to_owned());
            Check::new(name, CheckState::Mismatch { seen, wanted, source })
        }
        Observed::Absent(reason) | Observed::Unreadable(reason) => {
            Check::new(name, CheckState::Unreadable { reason })
        }
    })
}
