//! A kind of phase with nothing to do, for whoever looks at the engine alone: its tests, and the benches.
//!
//! One file for all of them, included by path: it knows the crate by its name, as a bench does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trueup::event::Check;
use trueup::phase::{Applicability, Context, Kind, PhaseError};

/// The kind.
pub struct Idle;

/// What it is told, finds and decides.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Nothing {}

impl Kind for Idle {
    const NAME: &'static str = "idle";
    const ABOUT: &'static str = "does nothing";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    type With = Nothing;
    type Observation = Nothing;
    type Decision = Nothing;

    async fn observe(_: &Nothing, _: &Context) -> Result<Applicability<Nothing>, PhaseError> {
        Ok(Applicability::Yes(Nothing {}))
    }

    async fn decide(_: &Nothing, _: &Nothing, _: &Context) -> Result<Nothing, PhaseError> {
        Ok(Nothing {})
    }

    fn tell(_: &Nothing, _: &Nothing) -> String {
        String::new()
    }

    async fn verify(
        _: &Nothing,
        _: &Nothing,
        _: &Nothing,
        _: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        Ok(Vec::new())
    }
}
