//! One phase from its start to its one outcome: condition, attempts, time limit, taking back.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::dispatcher::End;
use super::outputs::Outputs;
use super::stages::{self, Shared, Stopwatch};
use crate::event::{Event, Outcome};
use crate::phase::Context;
use crate::pipeline::{Retry, Scope};
use crate::plan::Plan;

/// How long a phase that was told to stop may clean up.
const GRACE: Duration = Duration::from_secs(10);

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
    outputs: Arc<Outputs>,
    shared: Arc<Shared>,
    stopwatch: Stopwatch,
}

impl Unit {
    pub(super) fn new(
        plan: Arc<Plan>,
        position: usize,
        cx: Context,
        outputs: Arc<Outputs>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { plan, position, cx, outputs, shared, stopwatch: Stopwatch::default() }
    }

    /// Runs the phase to its end.
    pub(super) async fn run(self) -> End {
        let started = self.cx.run.clock.instant();
        let scope = self.plan.scope_of(self.position, |need| self.outputs.get(need));
        let done = match self.plan.left_out(self.position, &scope) {
            Ok(None) => self.attempts(&scope).await,
            Ok(Some(skipped)) => Ok(stages::Done::without_work(Outcome::Skipped, skipped)),
            Err(reason) => Err(Failure { outcome: Outcome::Failed, reason }),
        };
        let stages::Done { outcome, reason, outputs, told, partial } = done
            .unwrap_or_else(|failure| stages::Done::without_work(failure.outcome, failure.reason));
        End {
            phase: self.position,
            outcome,
            reason,
            seconds: (self.cx.run.clock.instant() - started).as_secs_f64(),
            stages: self.stopwatch.take(),
            outputs,
            told,
            partial,
        }
    }

    async fn attempts(&self, scope: &Scope) -> Result<stages::Done, Failure> {
        let retry = self.plan.spec(self.position).retry;
        let mut attempt = 1;
        loop {
            self.cx.tell(Event::PhaseStarted { phase: self.cx.phase.clone(), attempt });
            self.stopwatch.take();
            let failure = match self.attempt(scope).await {
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
            let wait = wait_after(attempt, &retry, rand::random());
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
            attempt += 1;
        }
    }

    /// One attempt within its time. A phase that is told to stop gets a grace to clean up after itself.
    async fn attempt(&self, scope: &Scope) -> Result<stages::Done, Failure> {
        let stop = CancellationToken::new();
        let _told_on_every_way_out = stop.clone().drop_guard();
        let cx = self.cx.with_cancel(stop.clone());
        let timeout = self.plan.spec(self.position).timeout;
        let (clock, started) = (&self.cx.run.clock, self.cx.run.clock.instant());
        let at = stages::At { plan: &self.plan, position: self.position, scope };
        let work = stages::run(at, &self.shared, &cx, &self.stopwatch);
        tokio::pin!(work);
        let told = |ended: Result<_, String>| {
            ended.map_err(|reason| Failure { outcome: Outcome::Failed, reason })
        };
        if let Some(ended) = stages::at_once(work.as_mut()).await {
            return told(ended);
        }
        let left = timeout.saturating_sub(clock.instant() - started);
        let ended_badly = tokio::select! {
            biased;
            ended = &mut work => return told(ended),
            () = tokio::time::sleep(left) => Failure {
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

/// The wait after a failed attempt: it doubles with each, up to the longest one, and is drawn from around that, so
/// that hosts which failed together do not all come back together. `draw` is from 0 to 1.
fn wait_after(attempt: u32, retry: &Retry, draw: f64) -> Duration {
    let doubled = retry.backoff.saturating_mul(1 << (attempt - 1).min(30));
    let share = retry.jitter.0 / 100.0;
    let factor = 1.0 + share * (2.0 * draw - 1.0);
    doubled.min(retry.max_backoff).mul_f64(factor.clamp(0.0, 2.0))
}

fn cancelled() -> Failure {
    Failure { outcome: Outcome::Cancelled, reason: "the run was told to stop".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Percent;

    #[test]
    fn waits_double_up_to_the_longest_and_are_drawn_from_around_that() {
        let retry = Retry {
            attempts: 9,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(10),
            jitter: Percent(20.0),
        };
        let middle: Vec<f64> =
            (1..7).map(|attempt| wait_after(attempt, &retry, 0.5).as_secs_f64()).collect();
        assert_eq!(middle, [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]);
        assert_eq!(wait_after(2, &retry, 0.0), Duration::from_millis(1600));
        assert_eq!(wait_after(2, &retry, 1.0), Duration::from_millis(2400));
        assert_eq!(wait_after(100, &retry, 0.5), Duration::from_secs(10));
    }
}
