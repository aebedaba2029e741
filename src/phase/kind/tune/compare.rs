//! The fresh comparison of the best point with the incumbent.

use serde_json::json;

use super::{With, metrics};
use crate::measure::compare::{Acceptance, Comparison, Pairs, Variant, plan_order, verdict};
use crate::measure::model::Measurement;
use crate::phase::{Context, Parameters, PhaseError, Service};
use crate::tuner::objective::Goal;

/// Starts the bootstrap; fixed, so that a comparison can be worked out again from its samples.
const SEED: u64 = 1;

/// Measures `variants`, the incumbent and the challenger, in interleaved pairs and answers the verdict.
pub(super) async fn compare(
    with: &With,
    service: &dyn Service,
    variants: &[Parameters; 2],
    cx: &Context,
) -> Result<Comparison, PhaseError> {
    let order = plan_order(with.accept.pairs);
    let mut measured = Vec::with_capacity(order.len());
    for (done, variant) in order.iter().enumerate() {
        cx.go_on()?;
        cx.progress(done as u64, order.len() as u64, "compares the best with the incumbent");
        let parameters = &variants[usize::from(*variant == Variant::B)];
        let metrics = metrics(with, service, parameters.clone(), cx).await?;
        let value = metrics.get(&with.objective.metric).copied().ok_or_else(|| {
            let known: Vec<&str> = metrics.keys().map(String::as_str).collect();
            PhaseError::new(format!("the load has no metric `{}`", with.objective.metric))
                .help(format!("it has {}", known.join(", ")))
        })?;
        // A ratio above 1 shall mean better, whichever way the goal goes.
        measured.push(if with.objective.goal == Goal::Maximize { value } else { 1.0 / value });
    }
    let pairs = Pairs::of_order(&order, &measured);
    let acceptance = Acceptance {
        min_gain: with.accept.min_gain,
        confidence: with.accept.confidence,
        seed: SEED,
    };
    let comparison = verdict(&pairs, acceptance, &pairs.null_ratios());
    let mut measurement = Measurement::once("gain", comparison.ratio, "ratio")
        .with_detail("incumbent", json!(pairs.a))
        .with_detail("challenger", json!(pairs.b))
        .compared(&comparison);
    measurement.samples = pairs.log_ratios().iter().map(|ratio| ratio.exp()).collect();
    cx.measured(measurement);
    Ok(comparison)
}
