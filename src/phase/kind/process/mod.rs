//! `process`: attributes of a process that runs already: CPUs, niceness, I/O priority, readiness to be ended, limits.
//!
//! What can be set here is set, through the journal, on all threads, and read back; what can't be is told with the
//! reason and with what it would have become. The process is known by its number and the time at which it started.
//! Nothing is measured: the values are those that the pipeline names.

mod with;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::with::With;
use self::with::{Wanted, Whose};
use crate::change::{Change, Target};
use crate::event::{Check, CheckState, PhaseName};
use crate::host::attributes::attribute::{Attribute, differ};
use crate::host::attributes::living::{Described, Living, NotFound, find};
use crate::host::attributes::right;
use crate::host::cpu_list;
use crate::host::setting::Observed;
use crate::phase::{Applicability, Claim, Context, Kind, PhaseError, WithError};

/// Sets attributes of a process.
#[derive(Debug)]
pub struct Process;

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    process: Living,
    /// The name of its program.
    name: String,
    attributes: Vec<Found>,
}

/// An attribute as it was found.
#[derive(Debug, Serialize)]
struct Found {
    attribute: Attribute,
    wanted: String,
    /// Its value, where it can be read.
    value: Option<String>,
    /// Why it can't be set here; none when it can, or is as wanted.
    obstacle: Option<String>,
}

/// What it concludes: attributes by name.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {
    /// The process.
    pid: u32,
    /// What it shall have, in the form of the kernel.
    attributes: BTreeMap<String, String>,
    /// What can't be set here, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    not_set: BTreeMap<String, String>,
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

    fn is_so(&self) -> bool {
        self.value.as_ref().is_some_and(|value| self.attribute.same(value, &self.wanted))
    }
}

impl Kind for Process {
    const NAME: &'static str = "process";
    const ABOUT: &'static str =
        "sets CPUs, niceness, I/O priority, OOM score and limits of a running process, reversibly";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        with.wrong()
    }

    fn claims(with: &With) -> Vec<Claim> {
        let Ok(whose) = with.whose() else { return Vec::new() };
        let claim = |attribute: Attribute| Claim(format!("{attribute} of {whose}"));
        with.wanted().iter().map(|wanted| claim(wanted.attribute())).collect()
    }

    async fn observe(with: &With, cx: &Context) -> Result<Applicability<Observation>, PhaseError> {
        let found = process_of(with, cx)?;
        let attributes: Vec<Found> =
            with.wanted().iter().map(|wanted| look(wanted, &found, cx)).collect();
        let obstacles: Vec<String> = attributes
            .iter()
            .filter_map(|found| Some(format!("{}: {}", found.attribute, found.told()?)))
            .collect();
        let none_applicable = obstacles.len() == attributes.len();
        let observation = Observation { process: found.process, name: found.name, attributes };
        let required = with.require.then_some("attribute");
        Applicability::in_spite_of(&obstacles, none_applicable, required, observation)
    }

    async fn decide(_: &With, found: &Observation, _: &Context) -> Result<Decision, PhaseError> {
        let (mut attributes, mut not_set) = (BTreeMap::new(), BTreeMap::new());
        for one in &found.attributes {
            let name = one.attribute.to_string();
            match &one.obstacle {
                None => drop(attributes.insert(name, one.wanted.clone())),
                Some(obstacle) => drop(not_set.insert(name, obstacle.clone())),
            }
        }
        Ok(Decision { pid: found.process.pid, attributes, not_set })
    }

    fn tell(_: &With, decision: &Decision) -> String {
        let set = decision.attributes.iter().map(|(name, value)| format!("{name}={value}"));
        let set = set.collect::<Vec<_>>().join(" ");
        let not_set = decision.not_set.iter().map(|(name, why)| format!("; not {name}: {why}"));
        format!("process {}: {set}{}", decision.pid, not_set.collect::<String>())
    }

    fn diff(phase: &PhaseName, found: &Observation, _: &Decision) -> Vec<Change> {
        let process = found.process;
        let wanted = found.attributes.iter().filter(|one| one.obstacle.is_none() && !one.is_so());
        wanted
            .filter_map(|one| {
                Some(Change {
                    phase: phase.to_string(),
                    target: Target::Process { process, attribute: one.attribute },
                    from: one.value.clone()?,
                    to: one.wanted.clone(),
                })
            })
            .collect()
    }

    async fn verify(
        _: &With,
        found: &Observation,
        _: &Decision,
        cx: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let process = found.process;
        let check = |one: &Found| {
            let name = one.attribute.to_string();
            if let Some(reason) = one.told() {
                return Check::new(name, CheckState::NotApplicable { reason });
            }
            let wanted = one.wanted.clone();
            match process.observe(&cx.run.sysroot, one.attribute) {
                Observed::Value(seen) if one.attribute.same(&seen, &wanted) => {
                    Check::matched(name, seen, wanted)
                }
                Observed::Value(seen) => {
                    let source = format!("/proc/{}", process.pid);
                    Check::new(name, CheckState::Mismatch { seen, wanted, source })
                }
                Observed::Absent(reason) | Observed::Unreadable(reason) => {
                    Check::new(name, CheckState::Unreadable { reason })
                }
            }
        };
        Ok(found.attributes.iter().map(check).collect())
    }
}

/// The process that is meant.
fn process_of(with: &With, cx: &Context) -> Result<Described, PhaseError> {
    let whose = with.whose().map_err(|wrong| PhaseError::new(wrong.message))?;
    let (pid, owner) = match &whose {
        Whose::Pid(pid) => (*pid, None),
        Whose::File(path) => with::read_pid_file(&cx.run.sysroot, path)?,
    };
    let found = find(&cx.run.sysroot, pid).map_err(|error| match error {
        NotFound::Ended(_) => PhaseError::new(format!("there is no process {pid}"))
            .help("it may have been restarted since; name a `pid_file`, or start it before"),
        NotFound::Unreadable(reason) => PhaseError::new(reason),
    })?;
    // Whoever may write the file must not choose whose process root changes.
    match owner {
        Some(owner) if found.users != (owner, owner) => Err(PhaseError::new(format!(
            "{whose} is process {pid}, which is not of the user who owns that file"
        ))
        .help("give the file to root: `chown root`")),
        _ => Ok(found),
    }
}

fn look(wanted: &Wanted, found: &Described, cx: &Context) -> Found {
    let (process, root) = (found.process, &cx.run.sysroot);
    let attribute = wanted.attribute();
    let (value, unread) = match process.observe(root, attribute) {
        Observed::Value(value) => (Some(value), None),
        Observed::Absent(reason) | Observed::Unreadable(reason) => (None, Some(reason)),
    };
    let to = wanted.value(value.as_deref(), online(cx));
    let mut found = Found { attribute, wanted: to, value, obstacle: None };
    found.obstacle = if !root.is_live() {
        Some("a tree of files has no processes to be set; leave out --sysroot".to_owned())
    } else if found.is_so() {
        None
    } else {
        unread.or_else(|| obstacle(&found, process, cx))
    };
    found
}

fn obstacle(found: &Found, process: Living, cx: &Context) -> Option<String> {
    let value = found.value.as_deref()?;
    let attribute = found.attribute;
    if differ(value) {
        return Some(format!(
            "the threads of process {} have different values, which its program sets by itself: it \
             is not overridden",
            process.pid
        ));
    }
    let cpus = Some(&found.wanted).filter(|_| attribute == Attribute::Cpus);
    if let Some(mut missing) = cpus.and_then(|cpus| cpu_list::parse(cpus)) {
        missing.retain(|cpu| !online(cx).contains(cpu));
        if !missing.is_empty() && !online(cx).is_empty() {
            return Some(format!("this host has no CPU {} online", cpu_list::render(&missing)));
        }
    }
    match right::obstacle(&cx.run.sysroot, &process, attribute, (value, &found.wanted)) {
        Ok(obstacle) => obstacle,
        Err(NotFound::Ended(reason) | NotFound::Unreadable(reason)) => Some(reason),
    }
}

/// The CPUs that are online, where that is known.
fn online(cx: &Context) -> &[usize] {
    cx.run.facts.cpus.online.as_ref().map_or(&[], |online| &online.value)
}
