//! Owns the tasks: starts units when the dispatcher says so and feeds it what comes back.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::dispatcher::{Action, Dispatcher, End, Input};
use super::recorder::Recorder;
use super::stages::{Shared, take_back};
use super::unit::{Ended, Unit};
use crate::event::{Event, Outcome, OverallStatus, PhaseName};
use crate::phase::{Context, RunContext};
use crate::plan::Plan;
use crate::shutdown::Shutdown;

/// What the executor works with.
pub(super) struct Executor {
    pub(super) plan: Arc<Plan>,
    pub(super) run: Arc<RunContext>,
    pub(super) shared: Arc<Shared>,
    pub(super) shutdown: Shutdown,
    pub(super) jobs: usize,
}

impl Executor {
    /// Runs every phase of the plan; answers when each has ended.
    pub(super) async fn execute(&self, recorder: &mut Recorder) -> OverallStatus {
        let mut dispatcher = Dispatcher::new(Arc::clone(&self.plan), self.jobs);
        let (sender, mut events) = unbounded_channel::<Event>();
        let mut units: JoinSet<(usize, Ended)> = JoinSet::new();
        let mut positions = std::collections::HashMap::new();
        let mut stopped = false;
        let mut next = Some(Input::Begin);
        loop {
            if let Some(input) = next.take() {
                let (actions, happened) = dispatcher.handle(input);
                if !recorder.record_all(happened) {
                    // Without its record a run can't go on; what is half done is taken back.
                    self.shutdown.cancel.cancel();
                }
                for action in actions {
                    match action {
                        Action::Finish => return dispatcher.status(),
                        Action::Start(position) => {
                            let cx = self.context(position, &dispatcher, &sender);
                            let scope = self.plan.scope_of(position, dispatcher.outputs());
                            let shared = Arc::clone(&self.shared);
                            let unit =
                                Unit::new(Arc::clone(&self.plan), position, cx, scope, shared);
                            let task = units.spawn(async move { (position, unit.run().await) });
                            positions.insert(task.id(), position);
                        }
                    }
                }
            }
            next = tokio::select! {
                biased;
                () = self.shutdown.cancel.cancelled(), if !stopped => {
                    stopped = true;
                    Some(Input::Stop)
                }
                Some(event) = events.recv() => Some(Input::Happened(event)),
                Some(joined) = units.join_next_with_id() => {
                    let (position, ended) = match joined {
                        Ok((_, end)) => end,
                        Err(error) => {
                            let position = positions.get(&error.id()).copied().unwrap_or_default();
                            let cx = self.context(position, &dispatcher, &sender);
                            take_back(&self.shared.applier, &cx).await;
                            (position, panicked(&error))
                        }
                    };
                    drain(&mut events, &mut dispatcher, recorder);
                    let Ended { outcome, reason, seconds, outputs, partial } = ended;
                    Some(Input::Ended(End { phase: position, outcome, reason, seconds, outputs, partial }))
                }
            };
        }
    }

    fn context(
        &self,
        position: usize,
        dispatcher: &Dispatcher,
        events: &UnboundedSender<Event>,
    ) -> Context {
        let upstream: Vec<(PhaseName, Value)> = self
            .plan
            .upstream(position)
            .into_iter()
            .map(|need| {
                let outputs = dispatcher.outputs().get(&need).cloned();
                (self.plan.name(need).clone(), outputs.unwrap_or(Value::Null))
            })
            .collect();
        let name = self.plan.name(position).clone();
        let cancel = self.shutdown.cancel.child_token();
        Context::new(name, Arc::clone(&self.run), upstream.into(), cancel, events.clone())
    }
}

/// What a unit had told before it ended comes before its end.
fn drain(
    events: &mut UnboundedReceiver<Event>,
    dispatcher: &mut Dispatcher,
    recorder: &mut Recorder,
) {
    while let Ok(event) = events.try_recv() {
        let (_, happened) = dispatcher.handle(Input::Happened(event));
        recorder.record_all(happened);
    }
}

fn panicked(error: &tokio::task::JoinError) -> Ended {
    Ended {
        outcome: Outcome::Failed,
        reason: Some(format!("a defect in trueup ended the phase: {error}")),
        seconds: 0.0,
        outputs: Value::Null,
        partial: false,
    }
}
