//! argmin's Nelder-Mead behind ask and tell.
//!
//! argmin calls a cost function and waits for its value; a measurement asks for a position and comes back
//! later. So argmin's executor runs on a thread of its own: its cost function sends the position and blocks
//! until the cost is told. Dropping the solver hangs up, which ends the thread.
//!
//! What argmin leaves to its caller is done here: positions outside the cube are measured at its edge, with
//! a small penalty that grows with the distance; a failed trial gets a finite cost worse than all seen,
//! because a missing one panics in argmin's start and a NaN ends it; iterations are capped. When the simplex
//! has collapsed, or used up its iterations, a fresh one is put around the best position so far.

use std::cell::{Cell, RefCell};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use argmin::core::observers::{Observe, ObserverMode};
use argmin::core::{CostFunction, Error, Executor, IterState, KV, State};
use argmin::solver::neldermead;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::Solver;

/// As written in a pipeline.
pub(super) const NAME: &str = "nelder_mead";

/// The edge of the first simplex: wide, because under noise a small one measures noise. From random starts
/// on two surfaces of services 0.2 to 0.4 differ little; 0.12 loses a third more on the harder one.
const FIRST_EDGE: f64 = 0.2;
/// The edges of later simplexes lie between these; the widest reach the neighbours on an axis of three values.
const LATER_EDGES: std::ops::Range<f64> = 0.08..0.55;
/// Iterations of one simplex per dimension.
const ITERATIONS: u64 = 15;
/// A simplex has collapsed when its costs, as shares of the first cost seen, differ by less.
const COLLAPSED: f64 = 1e-9;
/// The penalty at distance 1 outside the cube, as a share of the spread of the costs seen.
const PENALTY: f64 = 0.5;

/// argmin's Nelder-Mead, waiting to be told.
#[derive(Debug)]
pub struct NelderMead {
    asked: Receiver<Vec<f64>>,
    /// Nothing once hung up.
    answers: Option<Sender<Option<f64>>>,
    pending: Option<Vec<f64>>,
    thread: Option<JoinHandle<()>>,
}

impl NelderMead {
    /// Starts at a position of at least one coordinate.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(at: &[f64], seed: u64) -> std::io::Result<Self> {
        let (ask, asked) = channel();
        let (answers, answer) = channel();
        let centre = at.to_vec();
        let thread = std::thread::Builder::new()
            .name("nelder-mead".to_owned())
            .spawn(move || run(&centre, seed, &Bridge::new(ask, answer)))?;
        Ok(Self { asked, answers: Some(answers), pending: None, thread: Some(thread) })
    }
}

impl Solver for NelderMead {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ask(&mut self) -> Option<Vec<f64>> {
        if self.pending.is_none() {
            self.pending = self.asked.recv().ok();
        }
        self.pending.clone()
    }

    fn tell(&mut self, at: &[f64], cost: Option<f64>) {
        if self.pending.as_deref() != Some(at) {
            return;
        }
        self.pending = None;
        if let Some(answers) = &self.answers {
            // A thread that has ended shows at the next ask.
            let _ = answers.send(cost.filter(|cost| cost.is_finite()));
        }
    }
}

impl Drop for NelderMead {
    fn drop(&mut self) {
        self.answers = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's end of the conversation, and what it has learned.
struct Bridge {
    ask: Sender<Vec<f64>>,
    answer: Receiver<Option<f64>>,
    hung_up: Cell<bool>,
    seen: RefCell<Seen>,
}

/// The costs told so far, as shares of the first.
#[derive(Default)]
struct Seen {
    scale: Option<f64>,
    best: Option<(f64, Vec<f64>)>,
    worst: f64,
}

impl Bridge {
    fn new(ask: Sender<Vec<f64>>, answer: Receiver<Option<f64>>) -> Self {
        Self { ask, answer, hung_up: Cell::new(false), seen: RefCell::default() }
    }

    /// The cost of a position anywhere; nothing when the other end has hung up.
    fn cost(&self, position: &[f64]) -> Option<f64> {
        let inside: Vec<f64> = position.iter().map(|at| at.clamp(0.0, 1.0)).collect();
        let outside = position.iter().zip(&inside).map(|(at, edge)| (at - edge).powi(2));
        let distance = outside.sum::<f64>().sqrt();
        let told = self.ask.send(inside.clone()).ok().and_then(|()| self.answer.recv().ok());
        let Some(told) = told else {
            self.hung_up.set(true);
            return None;
        };
        let mut seen = self.seen.borrow_mut();
        let cost = seen.learn(told, inside);
        Some(cost + PENALTY * seen.spread() * distance)
    }

    fn best(&self) -> Option<Vec<f64>> {
        self.seen.borrow().best.as_ref().map(|(_, position)| position.clone())
    }
}

impl Seen {
    fn learn(&mut self, told: Option<f64>, position: Vec<f64>) -> f64 {
        let Some(cost) = told else { return self.worst + self.spread().max(1.0) };
        let scale = *self.scale.get_or_insert(if cost == 0.0 { 1.0 } else { cost.abs() });
        let cost = cost / scale;
        self.worst = if self.best.is_none() { cost } else { self.worst.max(cost) };
        if self.best.as_ref().is_none_or(|(best, _)| cost < *best) {
            self.best = Some((cost, position));
        }
        cost
    }

    fn spread(&self) -> f64 {
        self.best.as_ref().map_or(0.0, |(best, _)| self.worst - best)
    }
}

/// The cost function of one simplex.
struct Measured<'a> {
    bridge: &'a Bridge,
    corners: usize,
    calls: Cell<usize>,
}

impl CostFunction for Measured<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, position: &Self::Param) -> Result<f64, Error> {
        self.calls.set(self.calls.get() + 1);
        match self.bridge.cost(position) {
            Some(cost) => Ok(cost),
            // argmin's start panics on an error, so the hang-up is told with the first step after it.
            None if self.calls.get() <= self.corners => Ok(f64::MAX),
            None => Err(Error::msg("nobody measures any more")),
        }
    }
}

/// Tells the trace log what the simplex does.
struct Trace;

impl Observe<IterState<Vec<f64>, (), (), (), (), f64>> for Trace {
    fn observe_iter(
        &mut self,
        state: &IterState<Vec<f64>, (), (), (), (), f64>,
        kv: &KV,
    ) -> Result<(), Error> {
        let action = kv.get("action").map(argmin::core::KvValue::as_string);
        tracing::trace!(iteration = state.get_iter(), cost = state.get_cost(), action, "simplex");
        Ok(())
    }
}

/// One simplex after the other, until the other end hangs up.
fn run(start: &[f64], seed: u64, bridge: &Bridge) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut corners = first_simplex(start);
    while !bridge.hung_up.get() {
        let problem = Measured { bridge, corners: corners.len(), calls: Cell::new(0) };
        let Ok(method) = neldermead::NelderMead::new(corners).with_sd_tolerance(COLLAPSED) else {
            return;
        };
        let iterations = ITERATIONS * start.len() as u64;
        let ended = Executor::new(problem, method)
            .configure(|state| state.max_iters(iterations))
            .add_observer(Trace, ObserverMode::Always)
            .ctrlc(false)
            .run();
        if let Err(error) = ended
            && !bridge.hung_up.get()
        {
            tracing::warn!(%error, "the simplex ended early");
            return;
        }
        let centre = bridge.best().unwrap_or_else(|| start.to_vec());
        corners = later_simplex(&centre, &mut random);
    }
}

/// The start and, along each axis, one corner towards the farther edge of the cube.
fn first_simplex(start: &[f64]) -> Vec<Vec<f64>> {
    let corner = |axis: usize| {
        let mut corner = start.to_vec();
        corner[axis] += if start[axis] <= 0.5 { FIRST_EDGE } else { -FIRST_EDGE };
        corner
    };
    std::iter::once(start.to_vec()).chain((0..start.len()).map(corner)).collect()
}

/// The centre and, along each axis, one corner to a random side at a random distance, inside the cube.
fn later_simplex(centre: &[f64], random: &mut Xoshiro256PlusPlus) -> Vec<Vec<f64>> {
    let mut corner = |axis: usize| {
        let edge = random.random_range(LATER_EDGES);
        let up = random.random::<bool>();
        let mut corner = centre.to_vec();
        let moved = if up { corner[axis] + edge } else { corner[axis] - edge };
        corner[axis] =
            if (0.0..=1.0).contains(&moved) { moved } else { 2.0 * corner[axis] - moved };
        corner
    };
    let along: Vec<Vec<f64>> = (0..centre.len()).map(&mut corner).collect();
    std::iter::once(centre.to_vec()).chain(along).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bowl(at: &[f64]) -> f64 {
        at.iter().map(|x| (x - 0.7).powi(2)).sum::<f64>() + 1.0
    }

    fn drive(
        solver: &mut NelderMead,
        steps: usize,
        cost: impl Fn(&[f64]) -> Option<f64>,
    ) -> Vec<Vec<f64>> {
        (0..steps)
            .map_while(|_| {
                let at = solver.ask()?;
                solver.tell(&at, cost(&at));
                Some(at)
            })
            .collect()
    }

    #[test]
    fn it_finds_the_bottom_of_a_bowl_and_never_asks_outside_the_cube() {
        let mut solver = NelderMead::start(&[0.1, 0.9, 0.5], 1).unwrap();
        let asked = drive(&mut solver, 150, |at| Some(bowl(at)));
        assert_eq!(asked.len(), 150);
        assert!(asked.iter().flatten().all(|at| (0.0..=1.0).contains(at)));
        let least = asked.iter().map(|at| bowl(at)).fold(f64::MAX, f64::min);
        assert!(least < 1.0 + 1e-4, "{least}");
    }

    #[test]
    fn an_optimum_on_the_edge_of_the_cube_is_reached() {
        let mut solver = NelderMead::start(&[0.5, 0.5], 1).unwrap();
        let asked = drive(&mut solver, 80, |at| Some(at[0] + at[1]));
        let least = asked.iter().map(|at| at[0] + at[1]).fold(f64::MAX, f64::min);
        assert!(least < 0.02, "{least}");
    }

    #[test]
    fn failed_and_non_finite_trials_do_not_stop_it_not_even_all_of_them() {
        let mut solver = NelderMead::start(&[0.5, 0.5], 1).unwrap();
        let asked = drive(&mut solver, 100, |at| {
            (at[0] < 0.8).then(|| if at[1] < 0.2 { f64::NAN } else { bowl(at) })
        });
        assert_eq!(asked.len(), 100);
        let mut solver = NelderMead::start(&[0.5, 0.5], 1).unwrap();
        assert_eq!(drive(&mut solver, 100, |_| None).len(), 100);
    }

    #[test]
    fn a_collapsed_simplex_is_followed_by_a_fresh_one() {
        let mut solver = NelderMead::start(&[0.5, 0.5], 1).unwrap();
        let asked = drive(&mut solver, 40, |_| Some(7.0));
        let mut distinct = asked.clone();
        distinct.sort_by(|a, b| a.partial_cmp(b).unwrap());
        distinct.dedup();
        assert_eq!(asked.len(), 40);
        assert!(distinct.len() > 20, "{}", distinct.len());
    }

    #[test]
    fn the_same_seed_asks_the_same_and_an_unanswered_ask_is_repeated() {
        let run =
            || drive(&mut NelderMead::start(&[0.3, 0.3], 9).unwrap(), 60, |at| Some(bowl(at)));
        assert_eq!(run(), run());
        let mut solver = NelderMead::start(&[0.3, 0.3], 9).unwrap();
        let first = solver.ask();
        solver.tell(&[0.9, 0.9], Some(1.0));
        assert_eq!(solver.ask(), first);
    }

    #[test]
    fn dropping_it_at_any_moment_ends_its_thread() {
        for steps in 0..12 {
            let mut solver = NelderMead::start(&[0.5, 0.5], 1).unwrap();
            drive(&mut solver, steps, |at| Some(bowl(at)));
            // Drop joins the thread, so this would hang if it did not end.
            drop(solver);
        }
    }
}
