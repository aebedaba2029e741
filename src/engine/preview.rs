//! What a run would do, found out without touching anything: observe, look into the cache, compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use super::stages::{Memory, key_manifest};
use crate::cache::Lookup;
use crate::change::Change;
use crate::event::PhaseName;
use crate::phase::{Applicability, Context, PhaseError, RunContext};
use crate::pipeline::{Condition, evaluate_condition};
use crate::plan::Plan;
use crate::secret::Secrets;

/// What one phase would do.
#[derive(Debug)]
pub struct Preview {
    /// The phase.
    pub phase: PhaseName,
    /// Its kind.
    pub uses: String,
    /// What would happen.
    pub what: Foreseen,
    /// What it takes to keep its changes, in words; none without a gate.
    pub gate: Option<String>,
}

/// What would happen to a phase.
#[derive(Debug)]
pub enum Foreseen {
    /// It would be left out; why.
    Skipped(String),
    /// There is nothing for it to do here; why.
    NotApplicable(String),
    /// It would fail; why.
    Fails(String),
    /// It would run.
    Runs {
        /// What is known of its decision.
        decision: Forethought,
        /// The changes of the host it would make, as far as the decision is known.
        changes: Vec<Change>,
    },
}

impl Foreseen {
    /// No value of a secret in what is told.
    fn hide(&mut self, secrets: &Secrets) {
        match self {
            Self::Skipped(told) | Self::NotApplicable(told) | Self::Fails(told) => {
                secrets.hide(told);
            }
            Self::Runs { decision, .. } => match decision {
                Forethought::Known(told)
                | Forethought::Cached { told, .. }
                | Forethought::ToBeMeasured(told) => secrets.hide(told),
            },
        }
    }
}

/// What is known of a decision beforehand.
#[derive(Debug)]
pub enum Forethought {
    /// It costs nothing.
    Known(String),
    /// It is remembered.
    Cached {
        /// In a few words.
        told: String,
        /// How old it is, in seconds.
        age_seconds: f64,
    },
    /// It would be measured; why it is not remembered.
    ToBeMeasured(String),
}

/// Foresees a run, phase by phase in the order of the plan.
pub async fn preview(plan: &Plan, memory: &Memory, run: &Arc<RunContext>) -> Vec<Preview> {
    let mut outputs: BTreeMap<usize, Value> = BTreeMap::new();
    let mut previews = Vec::new();
    for position in &plan.order {
        let (mut what, visible) = foresee(plan, *position, memory, run, &outputs).await;
        what.hide(&run.secrets);
        if let Some(visible) = visible {
            outputs.insert(*position, visible);
        }
        let uses = plan.spec(*position).uses.value.clone();
        let gate = plan.spec(*position).gate.as_ref().map(|gate| gate.value.told());
        previews.push(Preview { phase: plan.name(*position).clone(), uses, what, gate });
    }
    previews
}

async fn foresee(
    plan: &Plan,
    position: usize,
    memory: &Memory,
    run: &Arc<RunContext>,
    outputs: &BTreeMap<usize, Value>,
) -> (Foreseen, Option<Value>) {
    if !plan.phases[position].selected {
        return (Foreseen::Skipped("not selected".to_owned()), None);
    }
    let scope = plan.scope_of(position, |need| outputs.get(&need));
    match &plan.spec(position).when {
        Some(Condition::Literal(false)) => {
            return (Foreseen::Skipped("`when` is false".to_owned()), None);
        }
        Some(Condition::Expression(text)) => match evaluate_condition(&text.value, &scope) {
            Ok(true) => {}
            Ok(false) => return (Foreseen::Skipped(format!("`{}` is false", text.value)), None),
            Err(_) => return (later(plan.remembers(position)), None),
        },
        None | Some(Condition::Literal(true)) => {}
    }
    let kind = &plan.phases[position].kind;
    let undecided = plan.upstream(position).iter().any(|need| !outputs.contains_key(need));
    let Ok(with) = plan.render_with(position, &scope) else {
        return (later(plan.remembers(position)), None);
    };
    let mut phase = match plan.phases[position].kind.bind(&with) {
        Ok(phase) => phase,
        Err(wrong) => {
            let told: Vec<String> = wrong.into_iter().map(|error| error.message).collect();
            return (Foreseen::Fails(told.join("; ")), None);
        }
    };
    let upstream: Vec<(PhaseName, Value)> = plan
        .upstream(position)
        .into_iter()
        .map(|need| (plan.name(need).clone(), outputs.get(&need).cloned().unwrap_or(Value::Null)))
        .collect();
    // Nobody listens: what a phase tells while it looks is not recorded.
    let (events, _) = unbounded_channel();
    let name = plan.name(position).clone();
    let cx =
        Context::new(name, Arc::clone(run), Arc::new(upstream), CancellationToken::new(), events)
            .remembering(plan.remembers(position));
    let foreseen = async {
        if let Applicability::No { reason, .. } = phase.observe(&cx).await? {
            return Ok((Foreseen::NotApplicable(reason), None));
        }
        let (decision, visible) = if cx.remembered {
            let policy = &plan.spec(position).cache;
            let manifest = key_manifest(kind.as_ref(), phase.as_ref(), policy, &cx).await;
            let manifest = match manifest {
                Ok(manifest) => manifest,
                Err(_) if undecided => return Ok((later(plan.remembers(position)), None)),
                Err(error) => return Ok((waits(&error.told()), None)),
            };
            let look_up = match memory {
                Memory::Use(cache) if policy.on => {
                    cache.look_up(kind.name(), cx.phase.as_str(), &manifest, policy.ttl)
                }
                _ => {
                    return Ok((waits("told to measure anew"), None));
                }
            };
            match look_up {
                Lookup::Miss(reason) => return Ok((waits(&reason.to_string()), None)),
                Lookup::Hit { entry, age } => {
                    phase.recall(&entry.decision).map_err(|error| {
                        PhaseError::because("the remembered decision can't be read", error)
                    })?;
                    let cached =
                        Forethought::Cached { told: phase.tell()?, age_seconds: age.as_secs_f64() };
                    (cached, entry.decision)
                }
            }
        } else {
            let visible = phase.decide(&cx).await?;
            (Forethought::Known(phase.tell()?), visible)
        };
        Ok((Foreseen::Runs { decision, changes: phase.diff(&cx.phase)? }, Some(visible)))
    };
    foreseen.await.unwrap_or_else(|error: PhaseError| (Foreseen::Fails(error.told()), None))
}

/// A phase of which nothing is known before those above it have decided.
fn later(remembered: bool) -> Foreseen {
    let why = "it depends on what phases before it will decide".to_owned();
    let decision =
        if remembered { Forethought::ToBeMeasured(why) } else { Forethought::Known(why) };
    Foreseen::Runs { decision, changes: Vec::new() }
}

fn waits(why: &str) -> Foreseen {
    Foreseen::Runs { decision: Forethought::ToBeMeasured(why.to_owned()), changes: Vec::new() }
}
