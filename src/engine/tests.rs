//! Properties of the dispatcher over random graphs of phases, random ends and a stop at any moment.

#[path = "../../tests/kinds/idle.rs"]
mod idle;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use self::idle::Idle;
use super::{Action, Dispatcher, End, Input};
use crate::event::{Event, Outcome, OverallStatus};
use crate::phase::Registry;
use crate::pipeline::read_text;
use crate::plan::{Binding, Plan, Selection, bind};

fn plan_of(yaml: String, skip: Vec<String>) -> Arc<Plan> {
    let pipeline = read_text(Path::new("random.yaml"), yaml).unwrap();
    let registry = Registry::default().with::<Idle>();
    let selection = Selection { skip, ..Selection::default() };
    let binding = Binding {
        registry: &registry,
        host: json!({}),
        env: Map::new(),
        set: Vec::new(),
        selection,
    };
    Arc::new(bind(pipeline, binding).unwrap())
}

/// How a phase ends when it runs, and what it is.
#[derive(Debug, Clone)]
struct Drawn {
    needs: u16,
    end: Outcome,
    optional: bool,
    resources: u8,
    left_out: bool,
    /// Its place in the file.
    place: u32,
}

const ENDS: [Outcome; 7] = [
    Outcome::Success,
    Outcome::Success,
    Outcome::Reverted,
    Outcome::NotApplicable,
    Outcome::Skipped,
    Outcome::Failed,
    Outcome::TimedOut,
];

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let one = (
        any::<u16>(),
        any::<u16>(),
        0..ENDS.len(),
        prop::bool::weighted(0.2),
        prop_oneof![3 => Just(0_u8), 2 => 0..8_u8],
        prop::bool::weighted(0.1),
        any::<u32>(),
    );
    let one = one.prop_map(|(some, of, end, optional, resources, left_out, place)| Drawn {
        // The conjunction of two makes needs sparse enough that phases run side by side.
        needs: some & of,
        end: ENDS[end],
        optional,
        resources,
        left_out,
        place,
    });
    prop::collection::vec(one, 1..=12)
}

/// The YAML of a drawn graph: phase `i` may need any phase before it, and stands anywhere in the file.
fn yaml(drawn: &[Drawn]) -> String {
    let mut places: Vec<usize> = (0..drawn.len()).collect();
    places.sort_by_key(|index| drawn[*index].place);
    let mut text = String::from("version: 1\nphases:\n");
    for index in places {
        let phase = &drawn[index];
        let list = |names: Vec<String>| names.join(", ");
        let needs = (0..index).filter(|need| phase.needs >> need & 1 == 1);
        let resources = (0..3).filter(|bit| phase.resources >> bit & 1 == 1);
        let _ = writeln!(
            text,
            "  p{index}: {{ uses: idle, optional: {}, needs: [{}], exclusive: [{}] }}",
            phase.optional,
            list(needs.map(|need| format!("p{need}")).collect()),
            list(resources.map(|bit| format!("r{bit}")).collect()),
        );
    }
    text
}

/// What the outcomes must be when nobody stops the run.
fn expected(drawn: &[Drawn]) -> Vec<Outcome> {
    let mut ends: Vec<Outcome> = Vec::new();
    for (index, phase) in drawn.iter().enumerate() {
        let blocked = (0..index).any(|need| phase.needs >> need & 1 == 1 && !ends[need].is_good());
        ends.push(match (blocked, phase.left_out) {
            (true, _) => Outcome::Blocked,
            (false, true) => Outcome::Skipped,
            (false, false) => phase.end,
        });
    }
    ends
}

/// Follows a dispatcher from outside and asserts after every input what must always hold.
struct Witness<'a> {
    plan: Arc<Plan>,
    drawn: &'a [Drawn],
    jobs: usize,
    running: BTreeSet<usize>,
    started: BTreeSet<usize>,
    ended: BTreeMap<usize, Outcome>,
    stopped: bool,
    finished: bool,
}

impl Witness<'_> {
    /// Index of drawing of a phase.
    fn index(&self, position: usize) -> usize {
        self.plan.name(position).as_str()[1..].parse().unwrap()
    }

    fn position(&self, name: &str) -> usize {
        self.plan.pipeline.position(name).unwrap()
    }

    fn saw(&mut self, (actions, events): (Vec<Action>, Vec<Event>)) -> Result<(), TestCaseError> {
        prop_assert!(!self.finished, "something happened after the end");
        for event in events {
            let Event::PhaseEnded { phase, outcome, .. } = event else { continue };
            let position = self.position(phase.as_str());
            self.running.remove(&position);
            let before = self.ended.insert(position, outcome);
            prop_assert!(before.is_none(), "{phase} ended twice");
        }
        for action in actions {
            match action {
                Action::Start(position) => self.start(position)?,
                Action::Finish => {
                    prop_assert!(!self.finished, "the run finished twice");
                    self.finished = true;
                }
            }
        }
        let all_ended = self.ended.len() == self.plan.phases.len();
        prop_assert_eq!(self.finished, all_ended, "finished must mean that every phase has ended");
        prop_assert!(self.finished || !self.running.is_empty(), "nothing runs and nothing will");
        self.nothing_waits_without_reason()
    }

    fn start(&mut self, position: usize) -> Result<(), TestCaseError> {
        let name = self.plan.name(position).as_str();
        prop_assert!(!self.stopped, "{name} started after the stop");
        prop_assert!(self.started.insert(position), "{name} started twice");
        prop_assert!(!self.ended.contains_key(&position), "{name} started after its end");
        prop_assert!(self.plan.phases[position].selected, "{name} was not selected");
        prop_assert!(self.needs_ended_well(position), "{name} started before what it needs");
        for other in &self.running {
            prop_assert!(!self.share(position, *other), "{name} shares a resource");
        }
        self.running.insert(position);
        prop_assert!(self.running.len() <= self.jobs, "more than {} run", self.jobs);
        Ok(())
    }

    fn needs_ended_well(&self, position: usize) -> bool {
        let good = |need: &usize| self.ended.get(need).is_some_and(|end| end.is_good());
        self.plan.phases[position].needs.iter().all(good)
    }

    fn share(&self, one: usize, other: usize) -> bool {
        let resources = |position| self.drawn[self.index(position)].resources;
        resources(one) & resources(other) != 0
    }

    fn nothing_waits_without_reason(&self) -> Result<(), TestCaseError> {
        if self.stopped || self.running.len() == self.jobs {
            return Ok(());
        }
        for position in 0..self.plan.phases.len() {
            let waits = !self.started.contains(&position) && !self.ended.contains_key(&position);
            let held = self.running.iter().any(|other| self.share(position, *other));
            let idle = waits && !held && self.needs_ended_well(position);
            prop_assert!(!idle, "{} could start and does not", self.plan.name(position));
        }
        Ok(())
    }
}

fn ended(position: usize, outcome: Outcome) -> Input {
    let outputs = if outcome.is_good() { json!({ "of": position }) } else { Value::Null };
    let outputs = outputs.into();
    Input::Ended(End { seconds: 0.1, outputs, ..End::bare(position, outcome, None) })
}

/// Plays a run: which of the running phases ends next comes from `choices`, and the stop after so many ends.
fn play(
    drawn: &[Drawn],
    jobs: usize,
    choices: &[usize],
    stop_after: Option<usize>,
    obeys: bool,
) -> Result<(Vec<Outcome>, Dispatcher), TestCaseError> {
    let left_out = drawn.iter().enumerate().filter(|(_, phase)| phase.left_out);
    let plan = plan_of(yaml(drawn), left_out.map(|(index, _)| format!("p{index}")).collect());
    let mut dispatcher = Dispatcher::new(Arc::clone(&plan), jobs);
    let mut witness = Witness {
        plan,
        drawn,
        jobs,
        running: BTreeSet::new(),
        started: BTreeSet::new(),
        ended: BTreeMap::new(),
        stopped: false,
        finished: false,
    };
    witness.saw(dispatcher.handle(Input::Begin))?;
    for step in 0.. {
        if witness.finished {
            break;
        }
        if stop_after == Some(step) {
            witness.stopped = true;
            witness.saw(dispatcher.handle(Input::Stop))?;
            if witness.finished {
                break;
            }
        }
        let choice = choices[step % choices.len()] % witness.running.len();
        let position = *witness.running.iter().nth(choice).unwrap();
        // A phase that was told to stop may all the same have come to its own end in that moment.
        let cancelled = witness.stopped && obeys;
        let outcome =
            if cancelled { Outcome::Cancelled } else { drawn[witness.index(position)].end };
        witness.saw(dispatcher.handle(ended(position, outcome)))?;
    }
    let outputs = dispatcher.outputs();
    let seen: BTreeSet<usize> =
        (0..drawn.len()).filter(|position| outputs.get(*position).is_some()).collect();
    let good: BTreeSet<usize> =
        witness.ended.iter().filter(|(_, end)| end.is_good()).map(|(at, _)| *at).collect();
    prop_assert_eq!(seen, good, "outputs are visible of exactly what ended well");
    let ends = (0..drawn.len())
        .map(|index| witness.ended[&witness.position(&format!("p{index}"))])
        .collect();
    Ok((ends, dispatcher))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_finishes_in_order_and_a_failure_blocks_exactly_its_dependents(
        drawn in drawn(),
        jobs in 1..5_usize,
        choices in prop::collection::vec(any::<usize>(), 1..20),
    ) {
        let (ends, dispatcher) = play(&drawn, jobs, &choices, None, true)?;
        let wanted = expected(&drawn);
        prop_assert_eq!(&ends, &wanted);
        let status = OverallStatus::of(wanted.into_iter().zip(drawn.iter().map(|one| one.optional)));
        prop_assert_eq!(dispatcher.status(), status);
    }

    #[test]
    fn a_stop_at_any_moment_ends_the_run_and_starts_nothing_more(
        drawn in drawn(),
        jobs in 1..5_usize,
        choices in prop::collection::vec(any::<usize>(), 1..20),
        stop_after in 0..8_usize,
        obeys in any::<bool>(),
    ) {
        let (ends, dispatcher) = play(&drawn, jobs, &choices, Some(stop_after), obeys)?;
        if ends.contains(&Outcome::Cancelled) {
            prop_assert_eq!(dispatcher.status(), OverallStatus::Cancelled);
        } else {
            prop_assert_eq!(ends, expected(&drawn), "a stop that came too late changes nothing");
        }
    }
}

#[test]
fn phases_start_in_the_order_of_the_file_when_nothing_else_decides() {
    let text =
        "version: 1\nphases:\n  c: { uses: idle }\n  a: { uses: idle }\n  b: { uses: idle }\n";
    let plan = plan_of(text.to_owned(), Vec::new());
    let mut dispatcher = Dispatcher::new(Arc::clone(&plan), 1);
    let mut order = Vec::new();
    let (mut actions, _) = dispatcher.handle(Input::Begin);
    while let [Action::Start(position)] = actions[..] {
        order.push(plan.name(position).to_string());
        actions = dispatcher.handle(ended(position, Outcome::Success)).0;
    }
    assert_eq!(order, ["c", "a", "b"]);
    assert_eq!(actions, [Action::Finish]);
}

#[test]
fn a_blocked_phase_says_what_it_needed_and_how_that_ended() {
    let text = "version: 1\nphases:\n  a: { uses: idle }\n  b: { uses: idle, needs: a }\n";
    let mut dispatcher = Dispatcher::new(plan_of(text.to_owned(), Vec::new()), 4);
    dispatcher.handle(Input::Begin);
    let (_, events) = dispatcher.handle(ended(0, Outcome::TimedOut));
    let reasons: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::PhaseEnded { phase, outcome, reason, .. } => {
                (phase.to_string(), *outcome, reason.clone())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let why = "it needs `a`, which ended as TIMED_OUT".to_owned();
    assert_eq!(
        reasons,
        [("a".to_owned(), Outcome::TimedOut, None), ("b".to_owned(), Outcome::Blocked, Some(why)),]
    );
}
