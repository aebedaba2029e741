//! Solvers behind one small ask/tell trait: each proposes positions in the unit cube and learns their costs.
//!
//! A solver knows neither parameters nor lattice, noise or budget; [`super::search`] clamps, snaps,
//! deduplicates and stops. Costs are such that less is better.

mod nelder_mead;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use nelder_mead::NelderMead;

/// Proposes where to measure next.
pub trait Solver: Send {
    /// Its name, as written in a pipeline.
    fn name(&self) -> &'static str;

    /// Where to measure next, each coordinate in 0..=1; nothing when it has no more proposals. Asked again
    /// before it was told, it answers the same.
    fn ask(&mut self) -> Option<Vec<f64>>;

    /// The cost at a position; nothing for a trial that failed. Positions that were never asked for may be
    /// told too; a solver that can't use them ignores them.
    fn tell(&mut self, at: &[f64], cost: Option<f64>);
}

/// Which solver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SolverKind {
    /// The simplex of Nelder and Mead (1965), by argmin.
    NelderMead,
}

/// A solver that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("could not start the solver {name}")]
pub struct SolverError {
    /// Its name.
    pub name: &'static str,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

impl SolverKind {
    /// Starts it at a position of at least one coordinate, each in 0..=1. The same seed makes the same
    /// proposals for the same costs.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(self, at: &[f64], seed: u64) -> Result<Box<dyn Solver>, SolverError> {
        match self {
            Self::NelderMead => match NelderMead::start(at, seed) {
                Ok(solver) => Ok(Box::new(solver)),
                Err(source) => Err(SolverError { name: nelder_mead::NAME, source }),
            },
        }
    }
}
