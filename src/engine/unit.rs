//! One phase from its start to its one outcome: condition, attempts, time limit, taking back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::stages::{self, Shared};
use crate::event::{Event, Outcome};
use crate::phase::Context;
use crate::pipeline::{Condition, Scope, evaluate_condition};
use crate::plan::Plan;

/// How long a phase that was told to stop may clean up.
const GRACE: Duration = Duration::from_secs(10);

/// How a phase ended.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<String>,
    pub(super) seconds: f64,
    pub(super) outputs: Value,
    pub(super) partial: bool,
}

/// Why an attempt ended badly.
struct Failure {
    outcome: Outcome,
    reason: String,
}

/// One phase on its way.
pub(super) struct Unit {
    plan: Arc<Plan>,
    position: usize,
    cx: Context,
    scope: Scope,
    shared: Arc<Shared>,
}

impl Unit {
    pub(super) fn new(
        plan: Arc<Plan>,
        position: usize,
        cx: Context,
        scope: Scope,
        shared: Arc<Shared>,
    ) -> Self {
        Self { plan, position, cx, scope, shared }
    }

    /// Runs the phase to its end.
    pub(super) async fn run(self) -> Ended {
        let started = self.cx.run.clock.instant();
        let done = match self.condition() {
            Ok(None) => self.attempts().await,
            Ok(Some(skipped)) => Ok(stages::Done::without_work(Outcome::Skipped, skipped)),
            Err(reason) => Err(Failure { outcome: Outcome::Failed, reason }),
        };
        let stages::Done { outcome, reason, outputs, partial } = done
            .unwrap_or_else(|failure| stages::Done::without_work(failure.outcome, failure.reason));
        Ended { outcome, reason, seconds: self.seconds_since(started), outputs, partial }
    }

    fn seconds_since(&self, started: Instant) -> f64 {
        (self.cx.run.clock.instant() - started).as_secs_f64()
    }

    /// Why the phase is skipped, if its condition is false.
    fn condition(&self) -> Result<Option<String>, String> {
        match &self.plan.spec(self.position).when {
            None | Some(Condition::Literal(true)) => Ok(None),
            Some(Condition::Literal(false)) => Ok(Some("`when` is false".to_owned())),
            Some(Condition::Expression(text)) => match evaluate_condition(&text.value, &self.scope)
            {
                Ok(true) => Ok(None),
                Ok(false) => Ok(Some(format!("`{}` is false", text.value))),
                Err(error) => Err(format!("could not evaluate `when`: {error}")),
            },
        }
    }

    async fn attempts(&self) -> Result<stages::Done, Failure> {
        let retry = self.plan.spec(self.position).retry;
        let mut wait = retry.backoff;
        let mut attempt = 1;
        loop {
            self.cx.tell(Event::PhaseStarted { phase: self.cx.phase.clone(), attempt });
            let failure = match self.attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let taken_back = stages::take_back(&self.shared.applier, &self.cx).await;
            let reason = if taken_back == 0 {
                failure.reason
            } else {
                format!("{}; took back {taken_back} of its changes", failure.reason)
            };
            if failure.outcome == Outcome::Cancelled || attempt >= retry.attempts {
                return Err(Failure { outcome: failure.outcome, reason });
            }
            self.cx.tell(Event::PhaseRetried {
                phase: self.cx.phase.clone(),
                attempt,
                reason,
                wait_seconds: wait.as_secs_f64(),
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.cx.cancel.cancelled() => return Err(cancelled()),
            }
            wait *= 2;
            attempt += 1;
        }
    }

    /// One attempt within its time. A phase that is told to stop gets a grace to clean up after itself.
    async fn attempt(&self) -> Result<stages::Done, Failure> {
        let stop = CancellationToken::new();
        let _told_on_every_way_out = stop.clone().drop_guard();
        let cx = self.cx.with_cancel(stop.clone());
        let timeout = self.plan.spec(self.position).timeout;
        let work = stages::run(&self.plan, self.position, &self.scope, &self.shared, &cx);
        tokio::pin!(work);
        let ended_badly = tokio::select! {
            ended = &mut work => return ended.map_err(|reason| Failure { outcome: Outcome::Failed, reason }),
            () = tokio::time::sleep(timeout) => Failure {
                outcome: Outcome::TimedOut,
                reason: format!("not done within its timeout of {}", humantime::format_duration(timeout)),
            },
            () = self.cx.cancel.cancelled() => cancelled(),
        };
        stop.cancel();
        tokio::select! {
            // It may have been done in this very moment; it is taken back all the same.
            _ = &mut work => {}
            () = tokio::time::sleep(GRACE) => {}
            () = self.cx.run.abandon.cancelled() => {}
        }
        Err(ended_badly)
    }
}

fn cancelled() -> Failure {
    Failure { outcome: Outcome::Cancelled, reason: "the run was told to stop".to_owned() }
}
