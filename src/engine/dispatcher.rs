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
//! A phase that says `always` is ready as soon as all it needs has ended in any way, and a stop does not keep it
//! from starting; only an [`Input::Abandon`] does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::outputs::Outputs;
use crate::event::{Data, Event, Outcome, OverallStatus, StageSeconds};
use crate::plan::Plan;

/// Ways are measured in so many seconds: what they differ by in less is chance, and nobody gains by it.
const GRAIN: f64 = 0.01;

const NOT_SELECTED: &str = "not selected";
const STOPPED: &str = "the run was told to stop";

/// Where a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Phases it needs have not ended: `missing` of them.
    Waiting { missing: u32 },
    /// All it needs has ended as it must; it waits for a job or a resource.
    Ready,
    /// It was told to start and has not ended.
    Running,
    /// It has ended. Never left.
    Ended(Outcome),
}

/// What may still be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pace {
    /// Everything.
    Going,
    /// What always runs.
    Stopping,
    /// Nothing.
    Abandoned,
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
    /// Start nothing more but what always runs.
    Stop,
    /// Start nothing more at all.
    Abandon,
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
    /// Seconds by stage.
    pub stages: StageSeconds,
    /// What others can see of it.
    pub outputs: Data,
    /// Digest of all it was told, where its end outlasts the run.
    pub told: Option<String>,
    /// True when something optional in it is not as wanted.
    pub partial: bool,
}

impl End {
    /// The end of a phase that has nothing to show for it.
    #[must_use]
    pub fn bare(phase: usize, outcome: Outcome, reason: Option<String>) -> Self {
        Self {
            phase,
            outcome,
            reason,
            seconds: 0.0,
            stages: StageSeconds::default(),
            outputs: Data::default(),
            told: None,
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
    /// Ranks of phases that may start when a job is free.
    ready: BTreeSet<u32>,
    /// Ranks of ready phases that wait for a resource, each under one that was held when they were looked at.
    parked: BTreeMap<String, BTreeSet<u32>>,
    /// Position by rank: the phase with the longest way to the end first.
    order: Vec<u32>,
    /// Rank by position.
    rank: Vec<u32>,
    /// Resources held by running phases.
    held: BTreeSet<String>,
    running: usize,
    open: usize,
    jobs: usize,
    pace: Pace,
    /// True when something optional inside a phase is not as wanted.
    partial: bool,
    finished: bool,
    outputs: Arc<Outputs>,
    events: Vec<Event>,
    actions: Vec<Action>,
}

impl Dispatcher {
    /// A dispatcher of a plan of which at most `jobs` phases run at a time.
    #[must_use]
    pub fn new(plan: Arc<Plan>, jobs: usize) -> Self {
        let order = by_length_of_way(&plan);
        let mut rank = vec![0; order.len()];
        for (place, position) in (0_u32..).zip(&order) {
            rank[*position as usize] = place;
        }
        let missing = |phase: &crate::plan::PlannedPhase| phase.needs.len() as u32;
        Self {
            states: plan
                .phases
                .iter()
                .map(|phase| State::Waiting { missing: missing(phase) })
                .collect(),
            ready: BTreeSet::new(),
            parked: BTreeMap::new(),
            order,
            rank,
            held: BTreeSet::new(),
            running: 0,
            open: plan.phases.len(),
            jobs: jobs.max(1),
            pace: Pace::Going,
            partial: false,
            finished: false,
            outputs: Arc::new(Outputs::new(plan.phases.len())),
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
                self.release(end.phase);
                self.end(end);
            }
            Input::Stop => self.stop(Pace::Stopping),
            Input::Abandon => self.stop(Pace::Abandoned),
        }
        self.start_what_can();
        if self.open == 0 && !std::mem::replace(&mut self.finished, true) {
            self.actions.push(Action::Finish);
        }
        (std::mem::take(&mut self.actions), std::mem::take(&mut self.events))
    }

    /// What the phases that have ended well made visible.
    #[must_use]
    pub fn outputs(&self) -> &Arc<Outputs> {
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
        let plan = Arc::clone(&self.plan);
        for position in plan.order.iter().copied() {
            if self.states[position] == (State::Waiting { missing: 0 })
                && let Some(unstarted) = self.all_needs_ended(position)
            {
                self.end(unstarted);
            }
        }
    }

    fn start_what_can(&mut self) {
        let plan = Arc::clone(&self.plan);
        while self.running < self.jobs {
            let Some(rank) = self.ready.pop_first() else { return };
            let position = self.order[rank as usize] as usize;
            let resources = &plan.spec(position).exclusive;
            if let Some(busy) = resources.iter().find(|resource| self.held.contains(*resource)) {
                self.parked.entry(busy.clone()).or_default().insert(rank);
                // The free ones among its resources are for the next that waits for them.
                plan.spec(position).exclusive.iter().for_each(|resource| self.look_again(resource));
                continue;
            }
            self.held.extend(resources.iter().cloned());
            self.states[position] = State::Running;
            self.running += 1;
            self.actions.push(Action::Start(position));
        }
    }

    /// Gives back what a phase held.
    fn release(&mut self, position: usize) {
        let plan = Arc::clone(&self.plan);
        for resource in &plan.spec(position).exclusive {
            self.held.remove(resource);
            self.look_again(resource);
        }
    }

    /// The first phase that waits for a resource may start, if the resource is free.
    fn look_again(&mut self, resource: &str) {
        if !self.held.contains(resource)
            && let Some(rank) = self.parked.get_mut(resource).and_then(BTreeSet::pop_first)
        {
            self.ready.insert(rank);
        }
    }

    /// The one transition into [`State::Ended`]; carries on to the dependents.
    fn end(&mut self, first: End) {
        let plan = Arc::clone(&self.plan);
        let mut ending = vec![first];
        while let Some(end) = ending.pop() {
            let End { phase: position, outcome, reason, seconds, stages, outputs, told, partial } =
                end;
            self.partial |= partial;
            self.states[position] = State::Ended(outcome);
            self.open -= 1;
            if outcome.is_good() {
                self.outputs.set(position, outputs.clone());
            }
            let phase = plan.name(position).clone();
            let ended =
                Event::PhaseEnded { phase, outcome, reason, seconds, stages, outputs, told };
            self.events.push(ended);
            for dependent in plan.phases[position].dependents.iter().copied() {
                let State::Waiting { missing } = &mut self.states[dependent] else { continue };
                *missing -= 1;
                let all_ended = *missing == 0;
                if !outcome.is_good() && !plan.spec(dependent).always {
                    // Marked now, so that a second bad need does not end it twice.
                    self.states[dependent] = State::Running;
                    let (next, why) = self.consequence(position, outcome);
                    ending.push(End::bare(dependent, next, Some(why)));
                } else if all_ended {
                    ending.extend(self.all_needs_ended(dependent));
                }
            }
        }
    }

    /// All that a waiting phase needs has ended as it must: it is ready, or ends unstarted.
    fn all_needs_ended(&mut self, position: usize) -> Option<End> {
        let end = |outcome, why: &str| Some(End::bare(position, outcome, Some(why.to_owned())));
        // While its end is on the way it must not be found waiting.
        self.states[position] = State::Running;
        if !self.plan.phases[position].selected {
            return end(Outcome::Skipped, NOT_SELECTED);
        }
        if !self.may_start(position) {
            // What it needs has ended after the stop; there is nobody left to start it.
            return end(Outcome::Cancelled, STOPPED);
        }
        self.states[position] = State::Ready;
        self.ready.insert(self.rank[position]);
        None
    }

    /// True when no stop keeps the phase from starting.
    fn may_start(&self, position: usize) -> bool {
        match self.pace {
            Pace::Going => true,
            Pace::Stopping => self.plan.spec(position).always,
            Pace::Abandoned => false,
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

    /// Ready phases end unstarted, but for those that always run while the run is not abandoned.
    fn stop(&mut self, pace: Pace) {
        self.pace = self.pace.max(pace);
        let parked = std::mem::take(&mut self.parked).into_values().flatten();
        let ready: BTreeSet<u32> =
            std::mem::take(&mut self.ready).into_iter().chain(parked).collect();
        for rank in ready {
            let position = self.order[rank as usize] as usize;
            if self.may_start(position) {
                self.ready.insert(rank);
            } else {
                self.end(End::bare(position, Outcome::Cancelled, Some(STOPPED.to_owned())));
            }
        }
    }
}

/// Positions in the order in which phases start when several could: the longest way to the end first, otherwise the
/// order of the plan. In that order thousands of short phases are also found in memory one after another.
fn by_length_of_way(plan: &Plan) -> Vec<u32> {
    let way = plan.critical().remaining;
    let grains = |position: u32| (way[position as usize] / GRAIN).floor();
    let mut order: Vec<u32> = plan.order.iter().map(|position| *position as u32).collect();
    order.sort_by(|one, other| grains(*other).total_cmp(&grains(*one)));
    order
}
