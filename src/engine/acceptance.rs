//! The gate of a phase: what it has changed on the host is measured with and without, and kept only if it helps.
//!
//! After apply and verify the changes are led back and forth through the journal, in pairs A B B A .., and the objective
//! is measured in each state. Every way out leaves one of the two states: the new one, looked at again, or the former
//! one. The verdict is a decision and remembered as such. See "The gate" in docs/design.md. When it is looked at the
//! pairs is the business of `looks`, what is measured that of `objective`, what is remembered that of `verdict`.

mod looks;
mod objective;
mod verdict;

use std::time::Duration;

pub use verdict::GATE;
pub(super) use verdict::{Question, Remembered};

use super::stages::{Done, Memory, Shared, blocking, judge, record, take_back};
use crate::cache::MissReason;
use crate::change::{Applier, Change, Side, State, Toggle};
use crate::event::{ChangeResult, DecisionSource, Event, GateEnd, GateReport, Outcome};
use crate::measure::compare::{Comparison, Pairs, Variant, Verdict, plan_order};
use crate::phase::{AnyPhase, Context, PhaseError};
use crate::pipeline::{Gate, PhaseSpec};
use crate::unit::Span;

/// Puts what a phase has changed to the test of its gate, if it has one; the error is the reason, told whole.
pub(super) async fn accept(
    spec: &PhaseSpec,
    phase: &mut dyn AnyPhase,
    shared: &Shared,
    cx: &Context,
    done: Done,
) -> Result<Done, String> {
    match &spec.gate {
        // In a box of its own: phases without a gate must not carry its state.
        Some(gate) if done.outcome == Outcome::Success => {
            Box::pin(put_to_the_test(&gate.value, spec, Applied { phase, shared, cx }, done)).await
        }
        _ => Ok(done),
    }
}

/// Why the changes of a phase are not even made: its gate is known to be against them.
pub(super) async fn known_against(
    spec: &PhaseSpec,
    phase: &dyn AnyPhase,
    shared: &Shared,
    cx: &Context,
) -> Result<Option<String>, PhaseError> {
    let (Some(gate), Memory::Use(cache)) = (&spec.gate, &shared.memory) else { return Ok(None) };
    let changes = phase.diff(&cx.phase)?;
    if !spec.cache.on || changes.is_empty() {
        return Ok(None);
    }
    let question = Question { gate: &gate.value, policy: &spec.cache, changes: &changes };
    let manifest = Box::pin(question.manifest(cx)).await?;
    // What is not known, or not to be trusted, is asked and told of when the changes are in place.
    let report = match question.recall(cache, &manifest, cx) {
        Ok(remembered) => remembered.report(),
        Err(_) => return Ok(None),
    };
    if report.comparison.verdict == Verdict::Helps {
        return Ok(None);
    }
    let reason = report.reason();
    cx.tell(Event::Gated { phase: cx.phase.clone(), gate: Box::new(report) });
    Ok(Some(reason))
}

/// A phase that has applied its changes and found them in place.
struct Applied<'a> {
    phase: &'a mut dyn AnyPhase,
    shared: &'a Shared,
    cx: &'a Context,
}

async fn put_to_the_test(
    gate: &Gate,
    spec: &PhaseSpec,
    applied: Applied<'_>,
    done: Done,
) -> Result<Done, String> {
    let Applied { phase, shared, cx } = applied;
    let Some(toggle) = Toggle::of(&shared.applier, cx.phase.as_str()) else {
        cx.note("its gate had nothing to accept: nothing on the host had to be changed");
        return Ok(done);
    };
    let changes: Vec<Change> = toggle.changes().cloned().collect();
    let mut test = Test { gate, toggle, cx };
    let verdict = async {
        let report = remembered_or_measured(&mut test, spec, &changes, shared).await?;
        cx.tell(Event::Gated { phase: cx.phase.clone(), gate: Box::new(report.clone()) });
        let helps = report.comparison.verdict == Verdict::Helps;
        test.lead(if helps { Side::New } else { Side::Former }).await?;
        Ok(report)
    };
    let verdict = verdict.await;
    if let Ok(report) = &verdict
        && report.comparison.verdict == Verdict::Helps
    {
        return keep(phase, cx, done).await;
    }
    tell_what_is_back(&shared.applier, &changes, cx);
    match verdict {
        Ok(report) => {
            Ok(Done { outcome: Outcome::Reverted, reason: Some(report.reason()), ..done })
        }
        // An end and no error: another attempt would set once more what somebody else has just set otherwise.
        Err(Stop::Disturbed(told)) => {
            take_back(&shared.applier, cx).await;
            let reason =
                format!("{told}; the gate stopped, and what was still its own was taken back");
            Ok(Done::without_work(Outcome::Failed, reason))
        }
        Err(Stop::Failed(error)) => Err(error.told()),
    }
}

/// The host was led back to the new state: the phase looks once more whether it is as wanted.
async fn keep(phase: &mut dyn AnyPhase, cx: &Context, done: Done) -> Result<Done, String> {
    let checks = phase.verify(cx).await.map_err(|error| error.told())?;
    judge(&checks).map(|_| done)
}

/// Why a gate came to no verdict.
enum Stop {
    /// Somebody else has set one of the settings in between, or the host refused one.
    Disturbed(String),
    /// It could not be measured, or was told to stop.
    Failed(PhaseError),
}

impl From<PhaseError> for Stop {
    fn from(error: PhaseError) -> Self {
        Self::Failed(error)
    }
}

/// Takes the verdict from the cache, or measures and remembers it.
async fn remembered_or_measured(
    test: &mut Test<'_>,
    spec: &PhaseSpec,
    changes: &[Change],
    shared: &Shared,
) -> Result<GateReport, Stop> {
    let cx = test.cx;
    let question = Question { gate: test.gate, policy: &spec.cache, changes };
    let manifest = question.manifest(cx).await?;
    let cache = match &shared.memory {
        Memory::Use(cache) | Memory::Refresh(cache) if spec.cache.on => Some(cache),
        _ => None,
    };
    let miss = match (&shared.memory, cache) {
        (Memory::Use(_), Some(cache)) => match question.recall(cache, &manifest, cx) {
            Ok(remembered) => return Ok(remembered.report()),
            Err(miss) => Some(miss),
        },
        (_, Some(_)) => Some(MissReason::Refresh),
        (_, None) => None,
    };
    if let Some(reason @ MissReason::Untrusted { .. }) = &miss {
        cx.note(reason.to_string());
    }
    let mut report = test.measure().await?;
    let mut key = None;
    if let Some(cache) = cache {
        if question.manifest(cx).await.is_ok_and(|now| now == manifest) {
            key = question.remember(cache, &manifest, &report, cx);
        } else {
            cx.note(
                "what the verdict depends on changed while it was measured: it is not remembered",
            );
        }
    }
    report.source = DecisionSource::Run { key, miss: miss.map(|reason| reason.to_string()) };
    Ok(report)
}

/// A gate at work.
struct Test<'a> {
    gate: &'a Gate,
    toggle: Toggle,
    cx: &'a Context,
}

impl Test<'_> {
    /// Leads the host to a state, or looks whether it is still there.
    async fn lead(&mut self, side: Side) -> Result<(), Stop> {
        let toggle = self.toggle.clone();
        let led = blocking(move || toggle.to(side)).await?;
        self.toggle = led.map_err(|disturbed| Stop::Disturbed(disturbed.to_string()))?;
        Ok(())
    }

    /// Measures pairs until the verdict is clear, the time is over, or there are enough of them.
    async fn measure(&mut self) -> Result<GateReport, Stop> {
        let clock = &self.cx.run.clock;
        let started = clock.instant();
        let (mut raw, mut looks) = (Vec::new(), Vec::new());
        let mut comparison = looks::look(&Pairs::default(), self.gate);
        let mut slowest_pair = Duration::ZERO;
        let order = plan_order(looks::MOST_PAIRS);
        let mut ended = GateEnd::Pairs;
        for pair in order.chunks(2) {
            let pair_started = clock.instant();
            let left = self.gate.budget.saturating_sub(pair_started - started);
            if left.is_zero() || left < slowest_pair {
                ended = GateEnd::Budget;
                break;
            }
            let Some(values) = self.pair(pair, left).await? else {
                ended = GateEnd::Budget;
                break;
            };
            raw.extend(values);
            let now = clock.instant();
            slowest_pair = slowest_pair.max(now - pair_started);
            let pairs = raw.len() / 2;
            if looks::is_due(pairs) {
                comparison = self.look(&order, &raw);
                looks.push(pairs);
                if looks::is_clear(&comparison, self.gate) {
                    ended = GateEnd::Clear;
                    break;
                }
            }
            self.progress(now - started, pairs, &comparison);
        }
        let pairs = raw.len() / 2;
        if pairs > 0 && looks.last() != Some(&pairs) {
            comparison = self.look(&order, &raw);
            looks.push(pairs);
        }
        let seconds = (clock.instant() - started).as_secs_f64();
        Ok(self.report(Measured { order: &order, raw, looks, comparison, ended, seconds }))
    }

    /// One pair in its order; nothing when the time was over before.
    async fn pair(&mut self, order: &[Variant], left: Duration) -> Result<Option<Vec<f64>>, Stop> {
        let started = self.cx.run.clock.instant();
        let mut values = Vec::with_capacity(order.len());
        for variant in order {
            self.cx.go_on()?;
            self.lead(if *variant == Variant::B { Side::New } else { Side::Former }).await?;
            let left = left.saturating_sub(self.cx.run.clock.instant() - started);
            match self.value(left).await? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(values))
    }

    /// One measurement; nothing when it was not done in the time left, which ends it.
    async fn value(&self, left: Duration) -> Result<Option<f64>, PhaseError> {
        let stop = self.cx.cancel.child_token();
        let cx = self.cx.with_cancel(stop.clone());
        let measuring = objective::measure(&self.gate.objective, &cx);
        tokio::pin!(measuring);
        tokio::select! {
            value = &mut measuring => return value.map(Some),
            () = tokio::time::sleep(left) => {}
        }
        stop.cancel();
        // What it says of having been stopped is not of interest; that it has stopped is.
        let _ = measuring.await;
        self.cx.go_on()?;
        Ok(None)
    }

    fn look(&self, order: &[Variant], raw: &[f64]) -> Comparison {
        // A ratio above 1 shall mean better, whichever way that is.
        let minimize = self.gate.objective.minimize();
        let better: Vec<f64> =
            raw.iter().map(|value| if minimize { 1.0 / value } else { *value }).collect();
        looks::look(&Pairs::of_order(order, &better), self.gate)
    }

    fn progress(&self, spent: Duration, pairs: usize, comparison: &Comparison) {
        let note = if comparison.pairs == 0 {
            format!("gate: {pairs} pairs")
        } else {
            format!("gate: {pairs} pairs, {:+.1}%", (comparison.ratio - 1.0) * 100.0)
        };
        self.cx.progress(spent.as_secs(), self.gate.budget.as_secs(), note);
    }

    fn report(&self, measured: Measured<'_>) -> GateReport {
        let Measured { order, raw, looks, comparison, ended, seconds } = measured;
        let Pairs { a, b } = Pairs::of_order(order, &raw);
        let gate = self.gate;
        GateReport {
            objective: gate.objective.to_string(),
            unit: objective::unit(&gate.objective).to_owned(),
            minimize: gate.objective.minimize(),
            min_gain: gate.min_gain,
            confidence: gate.confidence,
            look_confidence: looks::confidence(gate.confidence),
            budget: Span(gate.budget),
            former: a,
            new: b,
            looks,
            comparison,
            ended,
            seconds,
            source: DecisionSource::Run { key: None, miss: None },
        }
    }
}

/// What a gate has measured, in the order in which it did.
struct Measured<'a> {
    order: &'a [Variant],
    raw: Vec<f64>,
    looks: Vec<usize>,
    comparison: Comparison,
    ended: GateEnd,
    seconds: f64,
}

/// Tells of the changes that are no longer in place since they were led back and forth; each step by itself is in the
/// journal only.
fn tell_what_is_back(applier: &Applier, changes: &[Change], cx: &Context) {
    let entries = applier.changes();
    for change in changes {
        let latest = entries.iter().rfind(|entry| entry.change == *change);
        let result = match latest.map(|entry| &entry.state) {
            Some(State::Reverted { .. }) => ChangeResult::Reverted,
            Some(State::Left { found }) => {
                let reason = format!("somebody else has set it to {found} since");
                ChangeResult::Left { reason }
            }
            _ => continue,
        };
        cx.tell(Event::Changed { phase: cx.phase.clone(), change: record(change, result) });
    }
}
