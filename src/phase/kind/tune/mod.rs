//! `tune`: searches for parameters of the running service that make it better, and keeps them only if they do.
//!
//! Every trial restarts the service with the parameters and measures it under real load. The best point found must
//! then beat what was in force in a fresh, interleaved comparison: the luckiest of many noisy trials usually
//! does not.

mod compare;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::diagnostic::did_you_mean;
use crate::event::{Check, CheckState};
use crate::host::Fact;
use crate::measure::compare::{Comparison, LEAST_PAIRS, Verdict};
use crate::measure::load::LoadReport;
use crate::measure::model::Measurement;
use crate::phase::{
    Applicability, Context, Dependencies, Kind, LoadShape, Parameters, PhaseError,
    SERVICE_PARAMETERS, Service, WithError, capacity,
};
use crate::tuner::objective::Objective;
use crate::tuner::search::{Budget, Next, Search, Setup, StopReason};
use crate::tuner::solver::SolverKind;
use crate::tuner::space::{ParameterValue, Point, Space};
use crate::tuner::trial::{StudyId, Trial, TrialOutcome};
use crate::unit::{Percent, Span};

/// Starts the random part of the search; the same for every run, so that a search can be repeated.
const SEED: u64 = 20;

/// What a trial measures beside the figures of its load: the throughput once more, by the name that it has in gates, and
/// how long the service took to be ready.
const THROUGHPUT: &str = "service_throughput";
const TIME_TO_READY: &str = "time_to_ready_ms";

/// What a trial measures.
fn metric_names() -> impl Iterator<Item = &'static str> + Clone {
    [THROUGHPUT].into_iter().chain(LoadReport::METRICS).chain([TIME_TO_READY])
}

/// Tunes the service.
#[derive(Debug)]
pub struct Tune;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// What looks for better points.
    #[serde(default = "nelder_mead")]
    solver: SolverKind,
    /// How much may be tried.
    #[serde(default)]
    budget: TrialBudget,
    /// The parameters of the service and their values.
    space: Space,
    /// What is better, and what must hold.
    #[serde(default = "throughput")]
    objective: Objective,
    /// The load of each trial.
    #[serde(default)]
    load: LoadShape,
    /// When the best point is accepted.
    #[serde(default)]
    accept: Accept,
}

fn nelder_mead() -> SolverKind {
    SolverKind::NelderMead
}

fn throughput() -> Objective {
    Objective {
        goal: crate::tuner::objective::Goal::Maximize,
        metric: THROUGHPUT.to_owned(),
        subject_to: Vec::new(),
    }
}

/// How much may be tried: whichever ends first.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrialBudget {
    /// Trials, the incumbent's included.
    #[schemars(range(min = 1, max = 10_000))]
    trials: u32,
    /// Time.
    time: Span,
}

impl Default for TrialBudget {
    fn default() -> Self {
        Self { trials: 30, time: Span(Duration::from_mins(2)) }
    }
}

/// When the best point is accepted in place of the incumbent.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Accept {
    /// Interleaved pairs of measurements.
    #[schemars(range(min = 5, max = 1000))]
    pairs: usize,
    /// Least gain that is worth a change.
    min_gain: Percent,
    /// How sure it must be.
    confidence: Percent,
}

impl Default for Accept {
    fn default() -> Self {
        Self { pairs: 8, min_gain: Percent(1.0), confidence: Percent(95.0) }
    }
}

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    /// Points in the space.
    lattice_points: u64,
}

/// What it concludes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {
    /// The parameters to run with: the best ones if they are better, else those that were in force.
    parameters: Parameters,
    /// True when they differ from those that were in force.
    changed: bool,
    /// The parameters that were in force.
    incumbent: Parameters,
    /// The best parameters that the search found.
    best: Parameters,
    /// Trials made.
    trials: usize,
    /// Why the search ended.
    stopped: StopReason,
    /// The fresh comparison of the best with the incumbent; none when the incumbent was the best.
    comparison: Option<Comparison>,
}

impl Kind for Tune {
    const NAME: &'static str = "tune";
    const ABOUT: &'static str =
        "searches parameters of the service under real load, and keeps what measurably helps";
    const REVISION: u32 = 1;
    const CACHED: bool = true;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        let mut wrong = Vec::new();
        if !(1..=10_000).contains(&with.budget.trials) {
            let told = "a search makes from 1 trial, that of the incumbent, to 10000";
            wrong.push(WithError::at("budget", told).help("write `trials: 30`"));
        }
        if !(LEAST_PAIRS..=1000).contains(&with.accept.pairs) {
            let told =
                format!("fewer than {LEAST_PAIRS} pairs show nothing, and at most 1000 are made");
            wrong.push(WithError::at("accept", told).help("write `pairs: 8`"));
        }
        let objective = &with.objective;
        let asked = objective.subject_to.iter().map(|one| one.metric.as_str());
        for metric in asked.chain([objective.metric.as_str()]) {
            if !metric_names().any(|known| known == metric) {
                let told = format!("the load measures no `{metric}`");
                let near = did_you_mean(metric, metric_names());
                wrong.push(WithError::at("objective", told).maybe_help(near));
            }
        }
        for name in with.space.names().filter(|name| !SERVICE_PARAMETERS.contains(name)) {
            let told = format!("the service has no parameter `{name}` to search");
            wrong.push(
                WithError::at("space", told).maybe_help(did_you_mean(name, SERVICE_PARAMETERS)),
            );
        }
        wrong.extend(with.load.flaw().map(|told| WithError::at("load", told)));
        wrong
    }

    async fn observe(with: &With, _: &Context) -> Result<Applicability<Observation>, PhaseError> {
        Ok(Applicability::Yes(Observation { lattice_points: with.space.lattice_points() }))
    }

    fn depends_on(_: &With, _: &Observation, cx: &Context) -> Result<Dependencies, PhaseError> {
        let mut parts = cx.facts(&[
            Fact::CpuModel,
            Fact::CpuFlags,
            Fact::UsableCpus,
            Fact::Memory,
            Fact::Kernel,
        ]);
        parts.insert("program".to_owned(), cx.run.program_digest()?.into());
        let mut service = None;
        cx.upstream.each(&mut |_, outputs| {
            service = outputs.get("parameters").cloned();
            service.is_some()
        });
        let service = service.ok_or_else(|| {
            PhaseError::new("there is no service to tune")
                .help("let it need a phase that `uses: service`")
        })?;
        parts.insert("service".to_owned(), service);
        Ok(parts)
    }

    async fn decide(with: &With, _: &Observation, cx: &Context) -> Result<Decision, PhaseError> {
        let service = cx.service()?;
        let before = service.parameters();
        let incumbent = incumbent(&with.space, &before)?;
        let mut search = Search::new(Setup {
            space: with.space.clone(),
            objective: with.objective.clone(),
            solver: with.solver,
            incumbent: incumbent.clone(),
            budget: Budget { trials: with.budget.trials, time: with.budget.time.0 },
            seed: SEED,
        })
        .map_err(|error| PhaseError::because("could not start the search", error))?;
        let stopped = explore(with, &mut search, service.as_ref(), cx).await?;
        let best = search.best().map_or_else(|| incumbent.clone(), |best| best.point);
        let comparison = if best == incumbent {
            None
        } else {
            let variants = [parameters(&incumbent), parameters(&best)];
            Some(compare::compare(with, service.as_ref(), &variants, cx).await?)
        };
        let changed =
            comparison.as_ref().is_some_and(|comparison| comparison.verdict == Verdict::Helps);
        Ok(Decision {
            parameters: parameters(if changed { &best } else { &incumbent }),
            changed,
            incumbent: parameters(&incumbent),
            best: parameters(&best),
            trials: search.trials().len(),
            stopped,
            comparison,
        })
    }

    fn tell(_: &With, decision: &Decision) -> String {
        let shown = |parameters: &Parameters| -> String {
            let each = parameters.iter().map(|(name, value)| {
                format!(
                    "{name}={}",
                    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                )
            });
            each.collect::<Vec<_>>().join(" ")
        };
        let parameters = shown(&decision.parameters);
        let Some(comparison) = &decision.comparison else {
            return format!("{parameters}: kept, none of {} trials looked better", decision.trials);
        };
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        let how_sure = if comparison.high.is_finite() && comparison.low > 0.0 {
            let (low, high) = (percent(comparison.low), percent(comparison.high));
            format!("interval {low:+.1}% to {high:+.1}%, {} pairs", comparison.pairs)
        } else {
            format!("{} pairs are too few for an interval", comparison.pairs)
        };
        let gain = format!("{:+.1}% ({how_sure})", percent(comparison.ratio));
        match comparison.verdict {
            Verdict::Helps => format!("{parameters}: {gain} over {}", shown(&decision.incumbent)),
            Verdict::Harms => format!(
                "{parameters}: kept, the best of {} trials measured {gain}",
                decision.trials
            ),
            Verdict::Inconclusive => {
                format!(
                    "{parameters}: kept, the best of {} trials was not shown to be better: {gain}",
                    decision.trials
                )
            }
        }
    }

    async fn apply(
        _: &With,
        _: &Observation,
        decision: &Decision,
        cx: &Context,
    ) -> Result<Map<String, Value>, PhaseError> {
        let service = cx.service()?;
        if !told(&service.parameters(), &decision.parameters) {
            let ready = service.restart(decision.parameters.clone()).await?;
            cx.measured(Measurement::once("time_to_ready_tuned", ready.seconds, "s"));
        }
        Ok(Map::new())
    }

    async fn verify(
        _: &With,
        _: &Observation,
        decision: &Decision,
        cx: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let parameters = cx.service()?.parameters();
        Ok(decision
            .parameters
            .iter()
            .map(|(name, wanted)| {
                let seen = parameters.get(name).unwrap_or(&Value::Null);
                if seen == wanted {
                    return Check::matched(name, seen.to_string(), wanted.to_string());
                }
                let source = "what the service was started with".to_owned();
                let (seen, wanted) = (seen.to_string(), wanted.to_string());
                Check::new(name, CheckState::Mismatch { seen, wanted, source })
            })
            .collect())
    }
}

/// The point that the service runs with now.
fn incumbent(space: &Space, service: &Parameters) -> Result<Point, PhaseError> {
    let values = space.names().map(|name| {
        let value = service.get(name).ok_or_else(|| {
            let known: Vec<&str> = service.keys().map(String::as_str).collect();
            PhaseError::new(format!("the service has no parameter `{name}`"))
                .help(format!("it has {}", known.join(", ")))
        })?;
        let value: ParameterValue = serde_json::from_value(value.clone()).map_err(|error| {
            PhaseError::because(format!("`{name}` of the service is not a value to search"), error)
        })?;
        Ok((name.to_owned(), value))
    });
    let point: Point = values.collect::<Result<Vec<_>, PhaseError>>()?.into_iter().collect();
    let (_, adopted) = space.adopt(&point).map_err(|error| {
        PhaseError::because("the service's present parameters are outside of the space", error)
            .help("widen the space, or start the service inside of it")
    })?;
    Ok(adopted)
}

fn parameters(point: &Point) -> Parameters {
    point.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// Whether a service runs with these parameters.
fn told(service: &Parameters, wanted: &Parameters) -> bool {
    wanted.iter().all(|(name, value)| service.get(name) == Some(value))
}

/// Makes trials until the search ends; each is stored as it ends.
async fn explore(
    with: &With,
    search: &mut Search,
    service: &dyn Service,
    cx: &Context,
) -> Result<StopReason, PhaseError> {
    let study = StudyId(format!("{}/{}", cx.run.run, cx.phase));
    let started = cx.run.clock.instant();
    loop {
        cx.go_on()?;
        let point = match search.next(cx.run.clock.instant() - started) {
            Next::Done(reason) => return Ok(reason),
            Next::Measure { point, .. } => point,
        };
        let trial_started = cx.run.clock.instant();
        let note = search.best().map_or_else(
            || "the incumbent".to_owned(),
            |best| format!("best so far {:.0}", best.mean),
        );
        cx.progress(search.trials().len() as u64, u64::from(with.budget.trials), note);
        let outcome = evaluate(with, service, parameters(&point), cx).await;
        // A trial that was cut off says nothing of its point.
        cx.go_on()?;
        let seconds = (cx.run.clock.instant() - trial_started).as_secs_f64();
        let trial: &Trial = search
            .record(outcome, seconds)
            .map_err(|error| PhaseError::because("could not record a trial", error))?;
        cx.run
            .trials
            .record(&study, trial)
            .await
            .map_err(|error| PhaseError::because("could not store a trial", error))?;
        cx.trial_ended(trial.clone());
        if let (0, TrialOutcome::Failed { reason }) = (trial.number, &trial.outcome) {
            return Err(PhaseError::new(format!(
                "the service could not be measured as it is: {reason}"
            )));
        }
    }
}

async fn evaluate(
    with: &With,
    service: &dyn Service,
    parameters: Parameters,
    cx: &Context,
) -> TrialOutcome {
    match metrics(with, service, parameters, cx).await {
        Ok(metrics) => TrialOutcome::of_metrics(&with.objective, metrics),
        Err(error) => TrialOutcome::Failed { reason: error.told() },
    }
}

/// Restarts the service with `parameters` and measures it under load.
async fn metrics(
    with: &With,
    service: &dyn Service,
    parameters: Parameters,
    cx: &Context,
) -> Result<BTreeMap<String, f64>, PhaseError> {
    let ready = service.restart(parameters).await?;
    let report = capacity(ready.address, with.load, cx).await?;
    let mut metrics = report.metrics();
    metrics.insert(THROUGHPUT.to_owned(), report.throughput);
    metrics.insert(TIME_TO_READY.to_owned(), ready.seconds * 1000.0);
    Ok(metrics)
}
