//! Owns the tasks: starts units when the dispatcher says so and feeds it what comes back.
//!
//! A unit is first polled where it was started: one that has nothing to wait for, such as a decision from the cache
//! that is already in force, ends without a task of its own. Only what waits becomes a task: among the workers, where it
//! has work to do, and beside the executor where it only waits for others. Handing every command to another thread and
//! back would cost more than starting it.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{Id, JoinError, JoinSet, coop::unconstrained};
use tokio_util::sync::ReusableBoxFuture;

use super::dispatcher::{Action, Dispatcher, End, Input};
use super::outputs::Above;
use super::recorder::Recorder;
use super::stages::{Shared, take_back};
use super::unit::Unit;
use crate::event::{Event, Outcome, OverallStatus};
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
    /// Where phases run that have work of their own to do.
    pub(super) workers: Handle,
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A run on its way.
struct Live {
    dispatcher: Dispatcher,
    sender: UnboundedSender<Event>,
    events: UnboundedReceiver<Event>,
    units: JoinSet<End>,
    positions: HashMap<Id, usize>,
    /// The room of a unit that ended where it was started, for the next: each is some KiB.
    spare: Option<ReusableBoxFuture<'static, End>>,
    /// What the dispatcher is still to be told.
    inputs: VecDeque<Input>,
}

impl Live {
    /// What units have told until now comes before what is decided now: a start before a stop, and all before an end.
    fn drain(&mut self) -> Vec<Event> {
        let mut happened = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            happened.extend(self.dispatcher.handle(Input::Happened(event)).1);
        }
        happened
    }

    /// What a unit tells goes through the dispatcher, and from there to the record, at once: nothing may overtake it.
    fn tell(&mut self, event: Event, recorder: &mut Recorder) {
        let (_, happened) = self.dispatcher.handle(Input::Happened(event));
        recorder.record_all(happened);
    }
}

impl Executor {
    /// Runs every phase of the plan; answers when each has ended.
    pub(super) async fn execute(&self, recorder: &mut Recorder) -> OverallStatus {
        let (sender, events) = unbounded_channel();
        let mut live = Live {
            dispatcher: Dispatcher::new(Arc::clone(&self.plan), self.jobs),
            sender,
            events,
            units: JoinSet::new(),
            positions: HashMap::new(),
            spare: None,
            inputs: VecDeque::from([Input::Begin]),
        };
        let (mut stopped, mut abandoned) = (false, false);
        // Decisions are written while phases run, one batch after the other. Once that fails it is left to the end of
        // the run, which tells of it.
        let (mut writing, mut writes) = (None, true);
        loop {
            if !stopped && self.shutdown.cancel.is_cancelled() {
                stopped = true;
                live.inputs.push_front(Input::Stop);
            }
            if !abandoned && self.shutdown.abandon.is_cancelled() {
                abandoned = true;
                live.inputs.push_front(Input::Abandon);
            }
            let Some(input) = live.inputs.pop_front() else {
                let behind = writes && (writing.is_some() || self.shared.memory.is_behind());
                tokio::select! {
                    biased;
                    () = self.shutdown.cancel.cancelled(), if !stopped => {}
                    () = self.shutdown.abandon.cancelled(), if !abandoned => {}
                    goes_on = recorder.settle() => if !goes_on {
                        // Without its record a run can't go on; what is half done is taken back.
                        self.shutdown.cancel.cancel();
                    },
                    Some(event) = live.events.recv() => live.tell(event, recorder),
                    Some(joined) = live.units.join_next_with_id() => {
                        let end = self.joined(joined, &mut live).await;
                        live.inputs.push_back(Input::Ended(end));
                    }
                    written = self.write_decisions(&mut writing), if behind => {
                        (writing, writes) = (None, written);
                    }
                }
                continue;
            };
            let mut happened = live.drain();
            let ends_for_good =
                matches!(&input, Input::Ended(end) if self.plan.outlasts(end.phase));
            let (actions, followed) = live.dispatcher.handle(input);
            happened.extend(followed);
            recorder.record_all(happened);
            if ends_for_good {
                // Should the run be killed now, it need not be done again.
                recorder.flush();
            }
            for action in actions {
                match action {
                    Action::Finish => return live.dispatcher.status(),
                    Action::Start(position) => self.start(position, &mut live).await,
                }
            }
        }
    }

    /// Writes the decisions that are remembered by now; false when that fails. May be dropped and called again.
    async fn write_decisions(&self, writing: &mut Option<Work<bool>>) -> bool {
        let shared = Arc::clone(&self.shared);
        let work = writing
            .get_or_insert_with(|| Box::pin(async move { shared.memory.flush().await.is_ok() }));
        work.await
    }

    /// Starts a phase, which may already end in this.
    async fn start(&self, position: usize, live: &mut Live) {
        let cx = self.context(position, live);
        let outputs = Arc::clone(live.dispatcher.outputs());
        let unit =
            Unit::new(Arc::clone(&self.plan), position, cx, outputs, Arc::clone(&self.shared));
        let mut work = match live.spare.take() {
            Some(mut spare) => {
                spare.set(unit.run());
                spare
            }
            None => ReusableBoxFuture::new(unit.run()),
        };
        let only_waits = self.plan.phases[position].kind.only_waits();
        let first = poll_fn(|task| {
            // What it opens belongs to those who will go on with it.
            let _at_home = (!only_waits).then(|| self.workers.enter());
            let poll = || pin!(unconstrained(work.get_pin())).poll(task);
            Poll::Ready(catch_unwind(AssertUnwindSafe(poll)))
        });
        match first.await {
            Ok(Poll::Ready(end)) => {
                live.spare = Some(work);
                live.inputs.push_back(Input::Ended(end));
            }
            Ok(Poll::Pending) => {
                let task = if only_waits {
                    live.units.spawn(work)
                } else {
                    live.units.spawn_on(work, &self.workers)
                };
                live.positions.insert(task.id(), position);
            }
            Err(panic) => {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
                let end = self.defect(position, words.unwrap_or("it panicked"), live).await;
                live.inputs.push_back(Input::Ended(end));
            }
        }
    }

    /// The end of a unit that was a task.
    async fn joined(&self, joined: Result<(Id, End), JoinError>, live: &mut Live) -> End {
        match joined {
            Ok((id, end)) => {
                live.positions.remove(&id);
                end
            }
            Err(error) => {
                let position = live.positions.remove(&error.id()).unwrap_or_default();
                self.defect(position, &error.to_string(), live).await
            }
        }
    }

    /// The end of a unit that panicked; what it had changed is taken back.
    async fn defect(&self, position: usize, told: &str, live: &Live) -> End {
        take_back(&self.shared.applier, &self.context(position, live)).await;
        let reason = format!("a defect in trueup ended the phase: {told}");
        End::bare(position, Outcome::Failed, Some(reason))
    }

    fn context(&self, position: usize, live: &Live) -> Context {
        let above = Above {
            plan: Arc::clone(&self.plan),
            position,
            outputs: Arc::clone(live.dispatcher.outputs()),
        };
        // What cleans up after a run that was told to stop is not stopped with it.
        let always = self.plan.spec(position).always;
        let stop = if always { &self.shutdown.abandon } else { &self.shutdown.cancel };
        let name = self.plan.name(position).clone();
        let run = Arc::clone(&self.run);
        Context::new(name, run, Arc::new(above), stop.clone(), live.sender.clone())
            .remembering(self.plan.remembers(position))
            .gating(self.plan.spec(position).gate.is_some())
    }
}
