use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::*;
use crate::tuner::space::ParameterValue;

/// The throughput at the parameters that a function looks up by name.
type Truth = fn(&dyn Fn(&str) -> f64) -> f64;

/// A service whose throughput is a known function of its parameters.
struct Surface {
    space: serde_json::Value,
    truth: Truth,
    optimum: f64,
}

/// Gunther's law with the throughput of one, contention and coherency.
fn law(size: f64, one: f64, contention: f64, coherency: f64) -> f64 {
    one * size / (1.0 + contention * (size - 1.0) + coherency * size * (size - 1.0))
}

/// A pool and a batch size whose product has to fit a budget of memory: a curved ridge.
fn pool2() -> Surface {
    fn truth(of: &dyn Fn(&str) -> f64) -> f64 {
        let (pool, batch) = (of("pool"), of("batch"));
        let in_flight = pool * batch / 4000.0;
        law(pool, 800.0, 0.03, 0.0035) * (batch / (batch + 45.0)) / (1.0 + in_flight.powi(2))
    }
    let space =
        json!({ "pool": { "int": [1, 50] }, "batch": { "int": [1, 1000], "scale": "log" } });
    Surface { space, truth, optimum: 3454.324 }
}

/// Threads, batch size and queue depth, each saturating and all in each other's way.
fn svc3() -> Surface {
    fn truth(of: &dyn Fn(&str) -> f64) -> f64 {
        let (threads, batch, queue) = (of("threads"), of("batch"), of("queue"));
        let cache = 1.0 / (1.0 + (threads * batch / 15_000.0).powf(1.6));
        let memory = 1.0 / (1.0 + (queue * batch / 150_000.0).powf(1.3));
        let amortised = batch / (batch + 120.0);
        let fed = queue / (queue + 2.0 * threads);
        law(threads, 700.0, 0.04, 0.002) * amortised * cache * fed * memory
    }
    let space = json!({
        "threads": { "int": [1, 64] },
        "batch": { "int": [1, 4096], "scale": "log" },
        "queue": { "int": [1, 1024], "scale": "log" },
    });
    Surface { space, truth, optimum: 2319.616 }
}

impl Surface {
    fn of(&self, point: &Point) -> f64 {
        (self.truth)(&|name| point.get(name).and_then(ParameterValue::as_f64).unwrap())
    }

    fn search(&self, trials: u32, seed: u64) -> Search {
        let space: Space = serde_json::from_value(self.space.clone()).unwrap();
        let incumbent = space.centre();
        start(space, incumbent, trials, seed)
    }

    /// The share of the optimum that the recommendation gives away after a search under noise.
    fn regret(&self, trials: u32, noise: f64, seed: u64) -> f64 {
        let mut search = self.search(trials, seed);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x5eed);
        drive(&mut search, |point| {
            measured(self.of(point) * (1.0 + noise * normal(&mut random)).max(0.0))
        });
        1.0 - self.of(&search.best().unwrap().point) / self.optimum
    }
}

fn start(space: Space, incumbent: Point, trials: u32, seed: u64) -> Search {
    let budget = Budget { trials, time: Duration::from_mins(1) };
    let objective = serde_json::from_value(json!({ "maximize": "rate" })).unwrap();
    let solver = SolverKind::NelderMead;
    Search::new(Setup { space, objective, solver, incumbent, budget, seed }).unwrap()
}

/// By Box and Muller.
fn normal(random: &mut Xoshiro256PlusPlus) -> f64 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn measured(objective: f64) -> TrialOutcome {
    TrialOutcome::Measured { objective, metrics: BTreeMap::new() }
}

fn drive(search: &mut Search, mut measure: impl FnMut(&Point) -> TrialOutcome) -> StopReason {
    loop {
        match search.next(Duration::ZERO) {
            Next::Measure { point, .. } => {
                search.record(measure(&point), 1.0).unwrap();
            }
            Next::Done(reason) => return reason,
        }
    }
}

fn regrets(surface: &Surface) -> (f64, f64) {
    let mut found: Vec<f64> = (0..30).map(|seed| surface.regret(30, 0.05, seed)).collect();
    found.sort_by(f64::total_cmp);
    (f64::midpoint(found[14], found[15]), found[26])
}

#[test]
fn thirty_noisy_trials_come_near_the_optimum_of_a_pool_and_of_a_service() {
    for (name, surface, median_bound) in [("pool2", pool2(), 0.02), ("svc3", svc3(), 0.04)] {
        let (median, tail) = regrets(&surface);
        println!(
            "{name}: median regret {:.1}% (90th percentile {:.1}%)",
            median * 100.0,
            tail * 100.0
        );
        assert!(median <= median_bound, "{name}: {median}");
    }
}

fn small(yaml: serde_json::Value, at: serde_json::Value, trials: u32) -> Search {
    start(serde_json::from_value(yaml).unwrap(), serde_json::from_value(at).unwrap(), trials, 1)
}

fn x_of(point: &Point) -> f64 {
    point.get("x").and_then(ParameterValue::as_f64).unwrap()
}

#[test]
fn trial_0_is_the_incumbent_and_its_outcome_is_awaited() {
    let mut search = small(json!({ "x": { "int": [1, 100] } }), json!({ "x": 7 }), 10);
    let first = search.next(Duration::ZERO);
    let Next::Measure { point, role } = &first else { panic!("{first:?}") };
    assert_eq!((point.to_string().as_str(), *role), ("x=7", Role::Incumbent));
    assert_eq!(search.next(Duration::ZERO), first);
    assert_eq!(search.record(measured(1.0), 2.0).unwrap().number, 0);
    assert!(matches!(search.record(measured(1.0), 2.0), Err(SearchError::NothingAsked)));
    assert_ne!(search.next(Duration::ZERO), first);
}

#[test]
fn no_search_point_is_measured_twice_and_the_rest_of_the_budget_goes_to_the_best() {
    let mut search = small(json!({ "x": { "int": [1, 30] } }), json!({ "x": 15 }), 200);
    let reason = drive(&mut search, |point| measured(100.0 - (x_of(point) - 20.0).powi(2)));
    assert!(matches!(reason, StopReason::Converged | StopReason::Exhausted), "{reason:?}");
    let mut searched: Vec<String> = (search.trials().iter())
        .filter(|trial| trial.role != Role::Repeat)
        .map(|trial| trial.point.to_string())
        .collect();
    let all = searched.len();
    searched.sort();
    searched.dedup();
    assert_eq!(searched.len(), all);
    let best = search.best().unwrap();
    assert_eq!((best.point.to_string().as_str(), best.trials), ("x=20", MEASUREMENTS_EACH));
}

#[test]
fn a_small_space_is_exhausted_and_a_fixed_one_is_its_incumbent() {
    let mut search = small(json!({ "x": { "int": [1, 3] } }), json!({ "x": 1 }), 50);
    assert_eq!(drive(&mut search, |point| measured(x_of(point))), StopReason::Exhausted);
    assert_eq!(search.best().unwrap().point.to_string(), "x=3");
    assert_eq!(search.trials().len(), 3 * MEASUREMENTS_EACH);
    let mut search = small(json!({ "x": { "int": [4, 4] } }), json!({ "x": 4 }), 50);
    assert_eq!(drive(&mut search, |point| measured(x_of(point))), StopReason::Exhausted);
    assert_eq!(search.trials().len(), MEASUREMENTS_EACH);
}

#[test]
fn the_budget_ends_a_search_by_trials_or_by_time() {
    let space = json!({ "x": { "int": [1, 1000] } });
    let mut search = small(space.clone(), json!({ "x": 500 }), 4);
    assert_eq!(drive(&mut search, |point| measured(x_of(point))), StopReason::Trials);
    assert_eq!(search.trials().len(), 4);
    let mut search = small(space, json!({ "x": 500 }), 4);
    assert_eq!(search.next(Duration::from_mins(1)), Next::Done(StopReason::Time));
}

#[test]
fn a_lucky_sample_does_not_win_over_a_better_mean() {
    let mut search = small(json!({ "x": { "int": [1, 2] } }), json!({ "x": 1 }), 6);
    // The worse one shines once, and never again.
    let mut shown = 0;
    drive(&mut search, |point| {
        if x_of(point) < 1.5 {
            shown += 1;
            return measured(if shown == 1 { 120.0 } else { 80.0 });
        }
        measured(100.0)
    });
    let best = search.best().unwrap();
    assert_eq!((best.point.to_string().as_str(), best.trials), ("x=2", 3));
    assert!((best.mean - 100.0).abs() < 1e-9);
}

#[test]
fn what_fails_or_leaves_its_bounds_is_never_recommended() {
    let mut search = small(json!({ "x": { "int": [1, 100] } }), json!({ "x": 10 }), 40);
    drive(&mut search, |point| {
        let x = x_of(point);
        if x > 80.0 {
            return TrialOutcome::Failed { reason: "timed out".to_owned() };
        }
        if x > 60.0 {
            let violated = vec!["p99_ms < 50".to_owned()];
            let excess = (x - 60.0) / 60.0;
            return TrialOutcome::Infeasible {
                objective: x,
                metrics: BTreeMap::new(),
                violated,
                excess,
            };
        }
        measured(x)
    });
    let best = search.best().unwrap();
    assert!((50.0..=60.0).contains(&best.mean), "{best:?}");
    let mut hopeless = small(json!({ "x": { "int": [1, 100] } }), json!({ "x": 10 }), 40);
    let reason = drive(&mut hopeless, |_| measured(f64::INFINITY));
    assert!(matches!(reason, StopReason::Trials | StopReason::Converged));
    assert_eq!(hopeless.best(), None);
    assert!(matches!(&hopeless.trials()[0].outcome, TrialOutcome::Failed { .. }));
}

#[test]
fn an_interrupted_search_goes_on_as_if_it_had_not_been() {
    let surface = svc3();
    let measure = |point: &Point| measured(surface.of(point));
    let mut whole = surface.search(25, 3);
    drive(&mut whole, measure);
    let kept: Vec<Trial> = whole.trials()[..11].to_vec();
    // As from a log: through JSON, in any order.
    let mut read: Vec<Trial> = serde_json::from_value(serde_json::to_value(kept).unwrap()).unwrap();
    read.reverse();
    let mut resumed = surface.search(25, 3);
    resumed.resume(read).unwrap();
    drive(&mut resumed, measure);
    assert_eq!(resumed.trials(), whole.trials());
}

#[test]
fn the_trials_of_another_study_are_refused() {
    let space = json!({ "x": { "int": [1, 100] } });
    let trial = |number, at: serde_json::Value| Trial {
        number,
        role: Role::Search,
        point: serde_json::from_value(at).unwrap(),
        seconds: 1.0,
        outcome: measured(1.0),
    };
    for (kept, part) in [
        (vec![trial(0, json!({ "x": 11 }))], "another incumbent"),
        (vec![trial(1, json!({ "x": 10 }))], "missing"),
        (vec![trial(0, json!({ "x": 10 })), trial(1, json!({ "x": 200 }))], "trial 1 does not fit"),
    ] {
        let mut search = small(space.clone(), json!({ "x": 10 }), 10);
        let error = search.resume(kept).unwrap_err().to_string();
        assert!(error.contains(part) && search.trials().is_empty(), "{error}");
    }
    let outside = serde_json::from_value(json!({ "x": 0 })).unwrap();
    let objective = serde_json::from_value(json!({ "maximize": "rate" })).unwrap();
    let budget = Budget { trials: 1, time: Duration::from_mins(1) };
    let solver = SolverKind::NelderMead;
    let space = serde_json::from_value(space).unwrap();
    let setup = Setup { space, objective, solver, incumbent: outside, budget, seed: 1 };
    assert!(matches!(Search::new(setup), Err(SearchError::Incumbent(_))));
}
