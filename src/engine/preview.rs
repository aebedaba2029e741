//! What a run would do, found out without touching anything: observe, look into the cache, compare.
//!
//! Phases are looked at one after the other in the order of the plan, each with what those above it would make
//! visible, as far as that is known beforehand. What a phase makes visible beyond its decision is not; so an
//! expression that has no value yet may still get one, and is no failure.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::acceptance::{Question, Remembered};
use super::outlook::{Foreseen, ForeseenVerdict, Forethought, Preview};
use super::outputs::{Above, Outputs};
use super::stages::{Memory, key_manifest};
use crate::cache::{Lookup, Manifest, MissReason};
use crate::diagnostic::Diagnostic;
use crate::event::Event;
use crate::phase::{AnyKind, AnyPhase, Applicability, Context, PhaseError, RunContext};
use crate::pipeline::{PhaseSpec, Reference};
use crate::plan::Plan;

/// Foresees a run, phase by phase in the order of the plan.
pub async fn preview(plan: &Arc<Plan>, memory: &Memory, run: &Arc<RunContext>) -> Vec<Preview> {
    let count = plan.phases.len();
    // Nobody listens: what a phase tells while it looks is not recorded.
    let (events, _) = unbounded_channel();
    let mut seer = Seer {
        plan,
        memory,
        run,
        events,
        outputs: Arc::new(Outputs::new(count)),
        fates: vec![Fate::Open; count],
        open: vec![false; count],
        told: vec![None; count],
    };
    let mut previews = Vec::with_capacity(count);
    for position in &plan.order {
        let mut what = seer.foresee(*position).await;
        what.hide(&run.secrets);
        let spec = plan.spec(*position);
        let uses = spec.uses.value.clone();
        let gate = spec.gate.as_ref().map(|gate| gate.value.told());
        let (phase, optional) = (plan.name(*position).clone(), spec.optional);
        let told = seer.told[*position].take();
        previews.push(Preview { phase, uses, optional, told, what, gate });
    }
    previews
}

/// What phases downstream can count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It ends well and makes nothing visible.
    Bare,
    /// Its decision is known.
    Decided,
    /// Its decision is not known.
    Open,
    /// It ends badly.
    Bad,
}

struct Seer<'a> {
    plan: &'a Arc<Plan>,
    memory: &'a Memory,
    run: &'a Arc<RunContext>,
    events: UnboundedSender<Event>,
    outputs: Arc<Outputs>,
    fates: Vec<Fate>,
    /// True when the decision of the phase, or of one above it, is not known.
    open: Vec<bool>,
    /// Digests of what phases are told.
    told: Vec<Option<String>>,
}

/// A phase that is looked at.
struct Looked<'a> {
    kind: &'a dyn AnyKind,
    spec: &'a PhaseSpec,
    phase: Box<dyn AnyPhase>,
    cx: Context,
    /// True when a decision above it is not known.
    open: bool,
}

impl Seer<'_> {
    async fn foresee(&mut self, position: usize) -> Foreseen {
        let (plan, spec) = (self.plan, self.plan.spec(position));
        let needs = &plan.phases[position].needs;
        let open = needs.iter().any(|need| self.open[*need]);
        let bad = needs.iter().find(|need| self.fates[**need] == Fate::Bad);
        let what = match bad.filter(|_| !spec.always) {
            Some(need) => {
                let why = format!("it needs `{}`, which would end badly", plan.name(*need));
                Foreseen::Blocked { why }
            }
            None if !plan.phases[position].selected => {
                Foreseen::Skipped { why: "not selected".to_owned() }
            }
            None => self.look(position, open).await,
        };
        let (fate, visible) = match &what {
            Foreseen::Skipped { .. } | Foreseen::NotApplicable { .. } => {
                (Fate::Bare, Some(Value::Null))
            }
            Foreseen::Blocked { .. } | Foreseen::Fails { .. } => (Fate::Bad, None),
            Foreseen::Runs { decision, .. } => match decision {
                Forethought::Known { value, .. } | Forethought::Cached { value, .. } => {
                    (Fate::Decided, Some(value.clone()))
                }
                Forethought::ToBeMeasured { .. } | Forethought::Later { .. } => (Fate::Open, None),
            },
        };
        if let Some(visible) = visible {
            self.outputs.set(position, visible.into());
        }
        self.fates[position] = fate;
        self.open[position] = open || fate == Fate::Open;
        what
    }

    async fn look(&mut self, position: usize, open: bool) -> Foreseen {
        let plan = self.plan;
        let (spec, kind) = (plan.spec(position), plan.phases[position].kind.as_ref());
        let remembered = plan.remembers(position);
        if self.names_what_is_open(position) {
            return later(remembered);
        }
        // More may become visible of phases that run than is known of them now.
        let settled =
            plan.phases[position].needs.iter().all(|need| self.fates[*need] == Fate::Bare);
        let scope = plan.scope_of(position, |need| self.outputs.get(need));
        match plan.left_out(position, &scope) {
            Ok(None) => {}
            Ok(Some(why)) => return Foreseen::Skipped { why },
            Err(why) if settled => return Foreseen::Fails { why },
            Err(_) => return later(remembered),
        }
        let with = match plan.render_with(position, &scope) {
            Ok(with) => with,
            Err(wrong) if settled => {
                let told: Vec<String> = wrong.iter().map(Diagnostic::in_a_line).collect();
                return Foreseen::Fails { why: told.join("; ") };
            }
            Err(_) => return later(remembered),
        };
        let phase = match kind.bind(&with) {
            Ok(phase) => phase,
            Err(wrong) => return Foreseen::Fails { why: plan.told_of_with(position, &wrong) },
        };
        let told = Manifest::new(kind.name(), 0).with("with", phase.with()).key();
        self.told[position] = Some(told.to_string());
        let looked = Looked { kind, spec, phase, cx: self.context(position), open };
        looked
            .foresee(self.memory)
            .await
            .unwrap_or_else(|error| Foreseen::Fails { why: error.told() })
    }

    /// True when an expression of the phase names one of which nothing is known yet.
    fn names_what_is_open(&self, position: usize) -> bool {
        let is_open = |position: usize| self.fates[position] == Fate::Open;
        self.plan.phases[position].needs.iter().any(|need| is_open(*need))
            && self.plan.spec(position).mentions.iter().any(|mention| match &mention.reference {
                Reference::Phase { name, .. } => self.plan.pipeline.positions(name).any(is_open),
                _ => false,
            })
    }

    fn context(&self, position: usize) -> Context {
        let (plan, outputs) = (Arc::clone(self.plan), Arc::clone(&self.outputs));
        let (remembers, gated) = (plan.remembers(position), plan.spec(position).gate.is_some());
        let name = plan.name(position).clone();
        let above = Arc::new(Above { plan, position, outputs });
        let (run, events) = (Arc::clone(self.run), self.events.clone());
        Context::new(name, run, above, CancellationToken::new(), events)
            .remembering(remembers)
            .gating(gated)
    }
}

impl Looked<'_> {
    async fn foresee(mut self, memory: &Memory) -> Result<Foreseen, PhaseError> {
        if let Applicability::No { reason, .. } = self.phase.observe(&self.cx).await? {
            return Ok(Foreseen::NotApplicable { why: reason });
        }
        let decision = if self.cx.remembered {
            self.recall(memory).await?
        } else {
            match self.phase.decide(&self.cx).await {
                Ok(value) => Forethought::Known { told: self.phase.tell()?, value },
                Err(_) if self.open => return Ok(later(self.cx.remembered)),
                Err(error) => return Err(error),
            }
        };
        let changes = match &decision {
            Forethought::Known { .. } | Forethought::Cached { .. } => {
                self.phase.diff(&self.cx.phase)?
            }
            Forethought::ToBeMeasured { .. } | Forethought::Later { .. } => Vec::new(),
        };
        let verdict = match &self.spec.gate {
            Some(gate) if !changes.is_empty() => {
                let policy = &self.spec.cache;
                let question = Question { gate: &gate.value, policy, changes: &changes };
                Some(Box::new(self.verdict(question, memory).await?))
            }
            _ => None,
        };
        Ok(Foreseen::Runs { decision, changes, verdict })
    }

    /// What is known of the verdict of the gate.
    async fn verdict(
        &self,
        question: Question<'_>,
        memory: &Memory,
    ) -> Result<ForeseenVerdict, PhaseError> {
        let measured = |why: String, key| ForeseenVerdict::ToBeMeasured { why, key };
        let manifest = match question.manifest(&self.cx).await {
            Ok(manifest) => manifest,
            Err(_) if self.open => return Ok(measured(DEPENDS.to_owned(), None)),
            Err(error) => return Err(error),
        };
        let key = Some(manifest.key().to_string());
        Ok(match memory {
            Memory::Use(cache) if question.policy.on => {
                match question.recall(cache, &manifest, &self.cx) {
                    Ok(verdict) => remembered(verdict),
                    Err(reason) => measured(reason.to_string(), key),
                }
            }
            _ => measured(MissReason::Refresh.to_string(), key),
        })
    }

    async fn recall(&mut self, memory: &Memory) -> Result<Forethought, PhaseError> {
        let policy = &self.spec.cache;
        let measured = |why: String, key| Ok(Forethought::ToBeMeasured { why, key });
        let manifest = key_manifest(self.kind, self.phase.as_ref(), policy, &self.cx).await;
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(_) if self.open => return measured(DEPENDS.to_owned(), None),
            Err(error) => return measured(error.told(), None),
        };
        let key = Some(manifest.key().to_string());
        let cache = match memory {
            Memory::Use(cache) if policy.on => cache,
            _ => return measured(MissReason::Refresh.to_string(), key),
        };
        match cache.look_up(self.kind.name(), self.cx.phase.as_str(), &manifest, policy.ttl) {
            Lookup::Miss(reason) => measured(reason.to_string(), key),
            Lookup::Hit { entry, age } => {
                self.phase.recall(&entry.decision).map_err(|error| {
                    PhaseError::because("the remembered decision can't be read", error)
                })?;
                Ok(Forethought::Cached {
                    told: self.phase.tell()?,
                    value: entry.decision,
                    key: entry.key.to_string(),
                    age_seconds: age.as_secs_f64(),
                    run: entry.run,
                })
            }
        }
    }
}

/// A verdict from the cache.
fn remembered(Remembered { report, key, age, run }: Remembered) -> ForeseenVerdict {
    let (told, verdict) = (report.told(), report.comparison.verdict);
    ForeseenVerdict::Cached { verdict, told, key, age_seconds: age.as_secs_f64(), run }
}

const DEPENDS: &str = "it depends on what phases before it will decide";

/// A phase of which nothing is known before those above it have decided.
fn later(remembered: bool) -> Foreseen {
    let why = DEPENDS.to_owned();
    let decision = if remembered {
        Forethought::ToBeMeasured { why, key: None }
    } else {
        Forethought::Later { why }
    };
    Foreseen::Runs { decision, changes: Vec::new(), verdict: None }
}
