//! The four stages of one attempt: observe, decide or recall, apply through the journal, verify; then the gate.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use serde_json::{Map, Value};

use super::acceptance::{accept, known_against};
use super::resume::Resumption;
use crate::cache::{
    CacheDirectory, CacheError, Lookup, Manifest, MissReason, Origin, digest_inputs,
};
use crate::change::{Applied, Applier, ApplyResult, Change, Reverted, TakenBack};
use crate::diagnostic::Diagnostic;
use crate::event::{
    ChangeRecord, ChangeResult, Check, CheckState, Data, DecisionSource, Event, Outcome, Stage,
    StageSeconds,
};
use crate::phase::{AnyKind, AnyPhase, Applicability, Context, PhaseError};
use crate::pipeline::{CachePolicy, Scope};
use crate::plan::Plan;

/// How decisions are remembered in a run.
#[derive(Debug, Clone)]
pub enum Memory {
    /// Looked up and remembered.
    Use(CacheDirectory),
    /// Measured anew and remembered.
    Refresh(CacheDirectory),
    /// Neither.
    Off,
}

impl Memory {
    /// True when something was remembered that is not on the disk yet.
    pub(super) fn is_behind(&self) -> bool {
        match self {
            Self::Use(cache) | Self::Refresh(cache) => cache.is_behind(),
            Self::Off => false,
        }
    }

    /// Writes down what was remembered and is not on the disk yet.
    pub(super) async fn flush(&self) -> Result<(), CacheError> {
        let (Self::Use(cache) | Self::Refresh(cache)) = self else { return Ok(()) };
        let cache = cache.clone();
        // A panic in there would be told as one; whatever it was, the decisions hold without being written.
        blocking(move || cache.flush()).await.unwrap_or(Ok(()))
    }
}

/// What all phases of a run share beyond their context.
pub(super) struct Shared {
    pub(super) applier: Applier,
    pub(super) memory: Memory,
    /// The run that this one goes on with, if any.
    pub(super) earlier: Resumption,
}

/// Which phase of which plan, and what its expressions can see.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) plan: &'a Plan,
    pub(super) position: usize,
    pub(super) scope: &'a Scope,
}

/// The seconds of each stage of an attempt.
#[derive(Debug, Default)]
pub(super) struct Stopwatch(Mutex<StageSeconds>);

impl Stopwatch {
    fn note(&self, stage: Stage, seconds: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).set(stage, seconds);
    }

    /// What was noted; starts anew.
    pub(super) fn take(&self) -> StageSeconds {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A phase that came to its end.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<String>,
    pub(super) outputs: Data,
    /// Digest of all it was told, where its end outlasts the run.
    pub(super) told: Option<String>,
    /// True when something optional in it is not as wanted.
    pub(super) partial: bool,
}

impl Done {
    /// An end that has nothing to show for it.
    pub(super) fn without_work(outcome: Outcome, reason: String) -> Self {
        Self { outcome, reason: Some(reason), outputs: Data::default(), told: None, partial: false }
    }
}

/// Runs the stages; the error is the reason, told whole.
pub(super) async fn run(
    at: At<'_>,
    shared: &Shared,
    cx: &Context,
    stopwatch: &Stopwatch,
) -> Result<Done, String> {
    let At { plan, position, scope } = at;
    let with = plan
        .render_with(position, scope)
        .map_err(|wrong| wrong.iter().map(Diagnostic::in_a_line).collect::<Vec<_>>().join("; "))?;
    let kind = &plan.phases[position].kind;
    let mut phase = kind.bind(&with).map_err(|wrong| plan.told_of_with(position, &wrong))?;
    let stage = Stages { cx, stopwatch };
    let observed = stage.run(Stage::Observe, phase.observe(cx)).await?;
    let (Applicability::Yes(observation) | Applicability::No { observation, .. }) = &observed;
    if !is_nothing(observation) {
        let observation = observation.clone();
        cx.tell(Event::Observed { phase: cx.phase.clone(), observation: observation.into() });
    }
    if let Applicability::No { reason, .. } = observed {
        return Ok(Done::without_work(Outcome::NotApplicable, reason));
    }
    let told = told(plan, position, phase.as_ref(), cx);
    if let Some(outputs) = shared.earlier.end(plan, position, told.as_deref()) {
        let reason = format!("it ended well in run {}", shared.earlier.run());
        let outputs = outputs.clone();
        return Ok(Done { outputs, told, ..Done::without_work(Outcome::Success, reason) });
    }
    let decision = stage.run(Stage::Decide, decide(at, phase.as_mut(), shared, cx)).await?;
    let spec = plan.spec(position);
    let against = known_against(spec, phase.as_ref(), shared, cx).await;
    if let Some(reason) = against.map_err(|error| error.told())? {
        let outputs = visible(decision, Map::new());
        return Ok(Done { outputs, ..Done::without_work(Outcome::Reverted, reason) });
    }
    let more = stage.run(Stage::Apply, apply(phase.as_mut(), shared, cx)).await?;
    let checks = stage.run(Stage::Verify, phase.verify(cx)).await?;
    for check in &checks {
        cx.tell(Event::Checked { phase: cx.phase.clone(), check: check.clone() });
    }
    let partial = checks.iter().any(|check| check.is_bad() && check.optional);
    let (outcome, reason) = judge(&checks)?;
    let done = Done { outcome, reason, outputs: visible(decision, more), told, partial };
    accept(spec, phase.as_mut(), shared, cx, done).await
}

/// What others can see of a phase: the fields of its decision, and what it did beside that.
fn visible(decision: Data, more: Map<String, Value>) -> Data {
    if more.is_empty() && decision.is_object() {
        return decision;
    }
    let mut fields = match &*decision {
        Value::Object(fields) => fields.clone(),
        Value::Null => Map::new(),
        other => Map::from_iter([("decision".to_owned(), other.clone())]),
    };
    fields.extend(more);
    Value::Object(fields).into()
}

/// Digest of all that a phase is told and works with, where its end outlasts the run. What always runs is always done.
fn told(plan: &Plan, position: usize, phase: &dyn AnyPhase, cx: &Context) -> Option<String> {
    if !plan.outlasts(position) || plan.spec(position).always {
        return None;
    }
    let kind = &plan.phases[position].kind;
    let depends = phase.depends_on(cx).ok()?;
    let manifest = Manifest::new(kind.name(), 1).with("with", phase.with());
    Some(manifest.with_dependencies(&depends).key().to_string())
}

/// Null, or an object without fields.
fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// What work comes to that need not wait for anything; nothing of other work, which is then to be waited for. Most stages
/// of most phases are such, and need no timer to be set for them.
pub(super) async fn at_once<T>(mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|task| match work.as_mut().poll(task) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// How long a stage must last before it is told of by itself.
const LASTS: Duration = Duration::from_millis(50);

/// Times stages and tells of those that last.
struct Stages<'a> {
    cx: &'a Context,
    stopwatch: &'a Stopwatch,
}

impl Stages<'_> {
    async fn run<T>(
        &self,
        stage: Stage,
        work: impl Future<Output = Result<T, PhaseError>>,
    ) -> Result<T, String> {
        let (cx, clock) = (self.cx, &self.cx.run.clock);
        let started = clock.instant();
        let mut work = pin!(work);
        let soon = match at_once(work.as_mut()).await {
            None => tokio::select! {
                biased;
                ended = &mut work => Some(ended),
                () = tokio::time::sleep(LASTS) => None,
            },
            ended => ended,
        };
        let lasts = soon.is_none();
        let ended = if let Some(ended) = soon {
            ended
        } else {
            cx.tell(Event::StageStarted { phase: cx.phase.clone(), stage });
            work.await
        };
        let seconds = (clock.instant() - started).as_secs_f64();
        self.stopwatch.note(stage, seconds);
        if lasts {
            cx.tell(Event::StageEnded { phase: cx.phase.clone(), stage, seconds });
        }
        ended.map_err(|error| error.told())
    }
}

/// All that the decision of a phase depends on; after it has observed.
pub(super) async fn key_manifest(
    kind: &dyn AnyKind,
    phase: &dyn AnyPhase,
    policy: &CachePolicy,
    cx: &Context,
) -> Result<Manifest, PhaseError> {
    let depends = phase.depends_on(cx)?;
    let manifest = Manifest::new(kind.name(), kind.revision())
        .on(policy.scope, cx.run.facts.identity())
        .with("with", phase.with())
        .with_dependencies(&depends);
    with_inputs(manifest, policy, cx).await
}

/// The same with the files that the phase is declared to depend on.
pub(super) async fn with_inputs(
    manifest: Manifest,
    policy: &CachePolicy,
    cx: &Context,
) -> Result<Manifest, PhaseError> {
    if policy.inputs.is_empty() {
        return Ok(manifest);
    }
    let globs: Vec<String> = policy.inputs.iter().map(|glob| glob.value.clone()).collect();
    let (run, stop) = (Arc::clone(&cx.run), cx.cancel.child_token());
    // Whoever does not wait for it any more does not want it any more.
    let _guard = stop.clone().drop_guard();
    let inputs = blocking(move || {
        let globs = globs.iter().map(String::as_str);
        digest_inputs(&run.pipeline_dir, globs, &|| stop.is_cancelled())
    });
    let inputs = inputs.await?.map_err(|error| {
        PhaseError::because("could not tell what the decision depends on", error)
    })?;
    Ok(inputs.iter().fold(manifest, |manifest, (path, digest)| manifest.with_input(path, digest)))
}

/// Takes the decision from the cache, or makes and remembers it.
async fn decide(
    at: At<'_>,
    phase: &mut dyn AnyPhase,
    shared: &Shared,
    cx: &Context,
) -> Result<Data, PhaseError> {
    let kind = &at.plan.phases[at.position].kind;
    let policy = &at.plan.spec(at.position).cache;
    if !at.plan.remembers(at.position) || !policy.on {
        let decision = phase.decide(cx).await?;
        return tell_decision(cx, phase, DecisionSource::Run { key: None, miss: None }, decision);
    }
    let manifest = key_manifest(kind.as_ref(), phase, policy, cx).await?;
    let key = || manifest.key().to_string();
    if let Some((key, decision, age)) = shared.earlier.decision(cx, key, policy.ttl)
        && phase.recall(decision).is_ok()
    {
        let measured_by = shared.earlier.run().to_owned();
        let age_seconds = Some(age.as_secs_f64());
        let source = DecisionSource::Cache { key, age_seconds, measured_by };
        return tell_decision(cx, phase, source, decision.clone());
    }
    let miss = match &shared.memory {
        Memory::Off => None,
        Memory::Refresh(_) => Some(MissReason::Refresh),
        Memory::Use(cache) => {
            match cache.look_up(kind.name(), cx.phase.as_str(), &manifest, policy.ttl) {
                Lookup::Miss(reason) => Some(reason),
                Lookup::Hit { entry, age } => match phase.recall(&entry.decision) {
                    Ok(()) => {
                        let age_seconds = Some(age.as_secs_f64());
                        let (key, measured_by) = (entry.key.to_string(), entry.run);
                        let source = DecisionSource::Cache { key, age_seconds, measured_by };
                        return tell_decision(cx, phase, source, entry.decision);
                    }
                    Err(error) => Some(MissReason::Untrusted {
                        path: entry.key.to_string(),
                        flaw: error.to_string(),
                    }),
                },
            }
        }
    };
    if let Some(reason @ MissReason::Untrusted { .. }) = &miss {
        cx.note(reason.to_string());
    }
    let decision = phase.decide(cx).await?;
    let miss = miss.map(|reason| reason.to_string());
    // What changed meanwhile may have been looked at before or after. What can't be looked at has changed.
    let now = key_manifest(kind.as_ref(), phase, policy, cx).await;
    if !now.is_ok_and(|now| now == manifest) {
        cx.note("what its decision depends on changed while it was made: it is not remembered");
        return tell_decision(cx, phase, DecisionSource::Run { key: None, miss }, decision);
    }
    remember(shared, cx, kind.name(), (&manifest, policy), &decision);
    tell_decision(cx, phase, DecisionSource::Run { key: Some(key()), miss }, decision)
}

fn tell_decision(
    cx: &Context,
    phase: &dyn AnyPhase,
    source: DecisionSource,
    decision: impl Into<Data>,
) -> Result<Data, PhaseError> {
    let (told, decision) = (phase.tell()?, decision.into());
    cx.tell(Event::Decided { phase: cx.phase.clone(), source, decision: decision.clone(), told });
    Ok(decision)
}

/// A decision that can't be remembered is told of, and holds all the same. One that could not be written yet is
/// tried again at the end of the run, which tells of it then.
fn remember(
    shared: &Shared,
    cx: &Context,
    kind: &'static str,
    (manifest, policy): (&Manifest, &CachePolicy),
    decision: &Value,
) {
    let (Memory::Use(cache) | Memory::Refresh(cache)) = &shared.memory else { return };
    let origin = Origin { kind, phase: cx.phase.as_str(), run: cx.run.run.as_str() };
    let mut decision = decision.clone();
    cx.run.secrets.hide_in(&mut decision);
    if let Err(error) = cache.remember(manifest, origin, &decision, policy.ttl) {
        cx.note(format!("the decision could not be remembered: {error}"));
    }
}

/// Changes first, through the journal; then whatever else the kind does.
async fn apply(
    phase: &mut dyn AnyPhase,
    shared: &Shared,
    cx: &Context,
) -> Result<Map<String, Value>, PhaseError> {
    let changes = phase.diff(&cx.phase)?;
    if !changes.is_empty() {
        cx.go_on()?;
        without_secrets(&changes, cx)?;
        let applier = shared.applier.clone();
        let made = blocking(move || applier.apply(&changes)).await?;
        for one in &made {
            cx.tell(Event::Changed { phase: cx.phase.clone(), change: change_record(one) });
        }
    }
    phase.apply(cx).await
}

/// Both values of a change stand in the journal, which others may read.
fn without_secrets(changes: &[Change], cx: &Context) -> Result<(), PhaseError> {
    let hides = |text: &String| {
        let mut hidden = text.clone();
        cx.run.secrets.hide(&mut hidden);
        hidden != *text
    };
    match changes.iter().find(|change| hides(&change.from) || hides(&change.to)) {
        Some(change) => {
            let told = format!("a secret would stand in the journal with {}", change.target.name());
            Err(PhaseError::new(told).help("keep the secret in a file of its own"))
        }
        None => Ok(()),
    }
}

/// Does work that blocks on a thread of its own; where the system refuses one, on this thread: what was changed must
/// be taken back there as well. The runtime's own threads for such work panic then.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PhaseError> {
    let ours = Arc::new(Mutex::new(Some(work)));
    let theirs = Arc::clone(&ours);
    let (sender, done) = tokio::sync::oneshot::channel();
    let started = std::thread::Builder::new().name("host".to_owned()).spawn(move || {
        let work = theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody waits any more for what is stopped.
        let _ = work.map(|work| sender.send(work()));
    });
    if started.is_err() {
        let work = ours.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            return Ok(work());
        }
    }
    done.await.map_err(|error| PhaseError::because("could not finish work on the host", error))
}

pub(super) fn record(change: &Change, result: ChangeResult) -> ChangeRecord {
    ChangeRecord {
        target: change.target.name().into_owned(),
        from: change.target.shown(&change.from).into_owned(),
        to: change.target.shown(&change.to).into_owned(),
        result,
    }
}

fn change_record(applied: &Applied) -> ChangeRecord {
    let result = match &applied.result {
        ApplyResult::Match | ApplyResult::Already => ChangeResult::Applied,
        ApplyResult::Clamped { got } => {
            ChangeResult::Clamped { got: applied.change.target.shown(got).into_owned() }
        }
        ApplyResult::Refused { reason } => ChangeResult::Refused { reason: reason.clone() },
    };
    record(&applied.change, result)
}

/// Takes back what the phase has changed so far, tells of it, and answers how many changes that were.
pub(super) async fn take_back(applier: &Applier, cx: &Context) -> usize {
    let applier = applier.clone();
    let phase = cx.phase.clone();
    let reverted = match blocking(move || applier.revert(phase.as_str())).await {
        Ok(reverted) => reverted,
        Err(error) => {
            cx.note(error.told());
            return 0;
        }
    };
    for one in &reverted {
        let change = record(&one.change, taken_back(one));
        cx.tell(Event::Changed { phase: cx.phase.clone(), change });
    }
    let back = |one: &&Reverted| {
        matches!(one.result, TakenBack::Restored { .. } | TakenBack::AlreadyBack { .. })
    };
    reverted.iter().filter(back).count()
}

fn taken_back(one: &Reverted) -> ChangeResult {
    let left = |reason: String| ChangeResult::Left { reason };
    match &one.result {
        TakenBack::Restored { .. }
        | TakenBack::AlreadyBack { .. }
        | TakenBack::Moot
        | TakenBack::Ended { .. } => ChangeResult::Reverted,
        TakenBack::Gone { reason } => left(reason.clone()),
        TakenBack::Handed { run } => left(format!("run {run} has set it since")),
        TakenBack::Left { found } => {
            let found = one.change.target.shown(found);
            left(format!("somebody else has set it to {found} since"))
        }
        TakenBack::Failed { reason } => left(format!("{reason}; `trueup rollback` will try again")),
    }
}

/// The outcome that the checks of the verify stage amount to.
pub(super) fn judge(checks: &[Check]) -> Result<(Outcome, Option<String>), String> {
    let bad: Vec<String> = checks
        .iter()
        .filter(|check| check.is_bad() && !check.optional)
        .map(ToString::to_string)
        .collect();
    if !bad.is_empty() {
        return Err(bad.join("; "));
    }
    let absent: Vec<String> = checks
        .iter()
        .filter(|check| matches!(check.state, CheckState::NotApplicable { .. }))
        .map(ToString::to_string)
        .collect();
    if !checks.is_empty() && absent.len() == checks.len() {
        return Ok((Outcome::NotApplicable, Some(absent.join("; "))));
    }
    let ill: Vec<String> =
        checks.iter().filter(|check| check.is_bad()).map(ToString::to_string).collect();
    let reason: Vec<String> = absent.into_iter().chain(ill).collect();
    Ok((Outcome::Success, (!reason.is_empty()).then(|| reason.join("; "))))
}
