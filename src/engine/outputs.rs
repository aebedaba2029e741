//! What phases that have ended well made visible: written once by the dispatcher, read by the phases below them.
//!
//! Knows positions, no names. A phase reads only what phases upstream of it wrote before it was started.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::event::{Data, PhaseName};
use crate::phase::Upstream;
use crate::plan::Plan;

/// One place for each phase of a plan.
#[derive(Debug)]
pub struct Outputs(Vec<OnceLock<Data>>);

impl Outputs {
    /// Places for so many phases.
    #[must_use]
    pub fn new(phases: usize) -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(phases).collect())
    }

    /// What the phase at a position made visible; none when it has not ended well.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<&Value> {
        self.0.get(position)?.get().map(|outputs| &**outputs)
    }

    /// A phase ends once, so this is called once for each.
    pub(super) fn set(&self, position: usize, outputs: Data) {
        let _ = self.0[position].set(outputs);
    }
}

/// What one phase sees of those above it.
pub(super) struct Above {
    pub(super) plan: Arc<Plan>,
    pub(super) position: usize,
    pub(super) outputs: Arc<Outputs>,
}

impl Upstream for Above {
    fn each(&self, visit: &mut dyn FnMut(&PhaseName, &Value) -> bool) {
        for need in self.plan.upstream(self.position) {
            let outputs = self.outputs.get(need).unwrap_or(&Value::Null);
            if visit(self.plan.name(need), outputs) {
                return;
            }
        }
    }
}
