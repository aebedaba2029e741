//! Orders everything: which phase starts when, and every event of the run.
//!
//! Synchronous: [`Dispatcher::handle`] takes an input, makes every state transition that follows from it, and
//! answers what is to be done and what is to be recorded. Knows no task, clock or file.
//!
//! ```text
//!   waiting --all needs ended well--> ready --resources and a job free--> running --> ended
//!      |                                |                                    (one outcome, once)
//!      +--a need ended badly: BLOCKED   +--stop: CANCELLED
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::event::{Event, Outcome, OverallStatus};
use crate::plan::Plan;

const NOT_SELECTED: &str = "not selected";
const STOPPED: &str = "the run was told to stop";

/// Where a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Phases it needs have not ended: `missing` of them.
    Waiting { missing: usize },
    /// All it needs has ended well; it waits for a job or a resource.
    Ready,
    /// It was told to start and has not ended.
    Running,
    /// It has ended. Never left.
    Ended(Outcome),
}

/// What the dispatcher is told.
#[derive(Debug)]
pub enum Input {
    /// Start the run.
    Begin,
    /// Something happened inside a running phase.
    Happened(Event),
    /// A running phase ended.
    Ended(End),
    /// Start nothing more.
    Stop,
}

/// The end of a phase.
#[derive(Debug)]
pub struct End {
    /// Position in the plan.
    pub phase: usize,
    /// How.
    pub outcome: Outcome,
    /// Why, unless it simply succeeded.
    pub reason: Option<String>,
    /// Since its start.
    pub seconds: f64,
    /// What others can see of it.
    pub outputs: Value,
    /// True when something optional in it is not as wanted.
    pub partial: bool,
}

impl End {
    /// The end of a phase that was never started.
    fn unstarted(phase: usize, outcome: Outcome, reason: String) -> Self {
        Self {
            phase,
            outcome,
            reason: Some(reason),
            seconds: 0.0,
            outputs: Value::Null,
            partial: false,
        }
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the phase at this position.
    Start(usize),
    /// Every phase has ended.
    Finish,
}

/// Orders everything.
pub struct Dispatcher {
    plan: Arc<Plan>,
    states: Vec<State>,
    /// Ready phases in the order of the plan.
    ready: BTreeSet<usize>,
    /// Rank of each phase in the order of the plan.
    rank: Vec<usize>,
    /// Resources held by running phases.
    held: BTreeSet<String>,
    running: usize,
    open: usize,
    jobs: usize,
    stopping: bool,
    /// True when something optional inside a phase is not as wanted.
    partial: bool,
    finished: bool,
    outputs: BTreeMap<usize, Value>,
    events: Vec<Event>,
    actions: Vec<Action>,
}

impl Dispatcher {
    /// A dispatcher of a plan of which at most `jobs` phases run at a time.
    #[must_use]
    pub fn new(plan: Arc<Plan>, jobs: usize) -> Self {
        let mut rank = vec![0; plan.phases.len()];
        for (place, position) in plan.order.iter().enumerate() {
            rank[*position] = place;
        }
        Self {
            states: plan
                .phases
                .iter()
                .map(|phase| State::Waiting { missing: phase.needs.len() })
                .collect(),
            ready: BTreeSet::new(),
            rank,
            held: BTreeSet::new(),
            running: 0,
            open: plan.phases.len(),
            jobs: jobs.max(1),
            stopping: false,
            partial: false,
            finished: false,
            outputs: BTreeMap::new(),
            events: Vec::new(),
            actions: Vec::new(),
            plan,
        }
    }

    /// Takes an input; answers what to do and what to record, both in order.
    pub fn handle(&mut self, input: Input) -> (Vec<Action>, Vec<Event>) {
        match input {
            Input::Begin => self.begin(),
            Input::Happened(event) => self.events.push(event),
            Input::Ended(end) => {
                self.running -= 1;
                for resource in &self.plan.spec(end.phase).exclusive {
                    self.held.remove(resource);
                }
                self.end(end);
            }
            Input::Stop => self.stop(),
        }
        self.start_what_can();
        if self.open == 0 && !std::mem::replace(&mut self.finished, true) {
            self.actions.push(Action::Finish);
        }
        (std::mem::take(&mut self.actions), std::mem::take(&mut self.events))
    }

    /// What the phases that have ended well made visible, by position.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<usize, Value> {
        &self.outputs
    }

    /// The status of the run when every phase has ended.
    #[must_use]
    pub fn status(&self) -> OverallStatus {
        let ends = self.states.iter().enumerate().map(|(position, state)| match state {
            State::Ended(outcome) => (*outcome, self.plan.spec(position).optional),
            State::Waiting { .. } | State::Ready | State::Running => (Outcome::Cancelled, false),
        });
        match OverallStatus::of(ends) {
            OverallStatus::Success if self.partial => OverallStatus::PartialSuccess,
            status => status,
        }
    }

    fn begin(&mut self) {
        let order = self.plan.order.clone();
        for position in order {
            let no_needs = self.states[position] == State::Waiting { missing: 0 };
            if no_needs && self.plan.phases[position].selected {
                self.states[position] = State::Ready;
                self.ready.insert(self.rank[position]);
            } else if no_needs {
                self.end(End::unstarted(position, Outcome::Skipped, NOT_SELECTED.to_owned()));
            }
        }
    }

    fn start_what_can(&mut self) {
        let ranks: Vec<usize> = self.ready.iter().copied().collect();
        for rank in ranks {
            if self.running == self.jobs || self.stopping {
                return;
            }
            let position = self.plan.order[rank];
            let resources = &self.plan.spec(position).exclusive;
            if resources.iter().any(|resource| self.held.contains(resource)) {
                continue;
            }
            self.held.extend(resources.iter().cloned());
            self.ready.remove(&rank);
            self.states[position] = State::Running;
            self.running += 1;
            self.actions.push(Action::Start(position));
        }
    }

    /// The one transition into [`State::Ended`]; carries on to the dependents.
    fn end(&mut self, first: End) {
        let mut ending = vec![first];
        while let Some(end) = ending.pop() {
            let End { phase: position, outcome, reason, seconds, outputs, partial } = end;
            self.partial |= partial;
            self.states[position] = State::Ended(outcome);
            self.open -= 1;
            let phase = self.plan.name(position).clone();
            let visible = outputs.clone();
            self.events.push(Event::PhaseEnded {
                phase,
                outcome,
                reason,
                seconds,
                outputs: visible,
            });
            if outcome.is_good() {
                self.outputs.insert(position, outputs);
            }
            let dependents = self.plan.phases[position].dependents.clone();
            for dependent in dependents {
                let State::Waiting { missing } = &mut self.states[dependent] else { continue };
                if !outcome.is_good() {
                    let (next, why) = self.consequence(position, outcome);
                    // Marked now, so that a second bad need does not end it twice.
                    self.states[dependent] = State::Running;
                    ending.push(End::unstarted(dependent, next, why));
                } else if *missing > 1 {
                    *missing -= 1;
                } else if !self.plan.phases[dependent].selected {
                    ending.push(End::unstarted(
                        dependent,
                        Outcome::Skipped,
                        NOT_SELECTED.to_owned(),
                    ));
                } else if self.stopping {
                    // What it needs has ended well after the stop; there is nobody left to start it.
                    ending.push(End::unstarted(dependent, Outcome::Cancelled, STOPPED.to_owned()));
                } else {
                    self.states[dependent] = State::Ready;
                    self.ready.insert(self.rank[dependent]);
                }
            }
        }
    }

    /// How a phase ends because one it needs ended badly.
    fn consequence(&self, need: usize, outcome: Outcome) -> (Outcome, String) {
        if outcome == Outcome::Cancelled {
            (Outcome::Cancelled, STOPPED.to_owned())
        } else {
            (
                Outcome::Blocked,
                format!("it needs `{}`, which ended as {outcome}", self.plan.name(need)),
            )
        }
    }

    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        for rank in std::mem::take(&mut self.ready) {
            let position = self.plan.order[rank];
            self.end(End::unstarted(position, Outcome::Cancelled, STOPPED.to_owned()));
        }
    }
}
