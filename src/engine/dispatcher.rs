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
    Ended {
        /// Position in the plan.
        phase: usize,
        /// How.
        outcome: Outcome,
        /// Why.
        reason: Option<String>,
        /// Since its start.
        seconds: f64,
        /// What others can see of it.
        outputs: Value,
    },
    /// Start nothing more.
    Stop,
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
            Input::Ended { phase, outcome, reason, seconds, outputs } => {
                self.running -= 1;
                for resource in &self.plan.spec(phase).exclusive {
                    self.held.remove(resource);
                }
                self.end(phase, outcome, reason, seconds, outputs);
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
        OverallStatus::of(self.states.iter().enumerate().map(|(position, state)| match state {
            State::Ended(outcome) => (*outcome, self.plan.spec(position).optional),
            State::Waiting { .. } | State::Ready | State::Running => (Outcome::Cancelled, false),
        }))
    }

    fn begin(&mut self) {
        let order = self.plan.order.clone();
        for position in order {
            let no_needs = self.states[position] == State::Waiting { missing: 0 };
            if no_needs && self.plan.phases[position].selected {
                self.states[position] = State::Ready;
                self.ready.insert(self.rank[position]);
            } else if no_needs {
                self.end(
                    position,
                    Outcome::Skipped,
                    Some(NOT_SELECTED.to_owned()),
                    0.0,
                    Value::Null,
                );
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
    fn end(
        &mut self,
        position: usize,
        outcome: Outcome,
        reason: Option<String>,
        seconds: f64,
        outputs: Value,
    ) {
        let mut ending = vec![(position, outcome, reason, seconds, outputs)];
        while let Some((position, outcome, reason, seconds, outputs)) = ending.pop() {
            self.states[position] = State::Ended(outcome);
            self.open -= 1;
            self.events.push(Event::PhaseEnded {
                phase: self.plan.name(position).clone(),
                outcome,
                reason,
                seconds,
                outputs: outputs.clone(),
            });
            if outcome.is_good() {
                self.outputs.insert(position, outputs);
            }
            let dependents = self.plan.phases[position].dependents.clone();
            for dependent in dependents {
                let State::Waiting { missing } = &mut self.states[dependent] else { continue };
                if outcome.is_good() {
                    *missing -= 1;
                    if *missing > 0 {
                        continue;
                    }
                    if self.plan.phases[dependent].selected && !self.stopping {
                        self.states[dependent] = State::Ready;
                        self.ready.insert(self.rank[dependent]);
                        continue;
                    }
                    // What it needs may end well after the stop; there is then nobody left to start it.
                    let (next, why) = if self.plan.phases[dependent].selected {
                        (Outcome::Cancelled, STOPPED)
                    } else {
                        (Outcome::Skipped, NOT_SELECTED)
                    };
                    ending.push((dependent, next, Some(why.to_owned()), 0.0, Value::Null));
                } else {
                    let (next, why) = self.consequence(position, outcome);
                    // Marked now, so that a second bad need does not end it twice.
                    self.states[dependent] = State::Running;
                    ending.push((dependent, next, Some(why), 0.0, Value::Null));
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
        let ready: Vec<usize> = std::mem::take(&mut self.ready).into_iter().collect();
        for rank in ready {
            let why = Some(STOPPED.to_owned());
            self.end(self.plan.order[rank], Outcome::Cancelled, why, 0.0, Value::Null);
        }
    }
}
