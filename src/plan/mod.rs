//! A pipeline bound to kinds and host: what will run, after what, claiming what. Synchronous.
//!
//! [`bind`] answers a [`Plan`] in which every name is known, every `with` that can be is checked by its
//! kind, and no two phases claim one setting; or everything that is wrong, at once. Runs nothing, and reads only the
//! files in which kinds are told more.

mod bind;
mod critical;
mod graph;
mod schema;
mod secret;
mod select;
mod spelling;
#[cfg(test)]
mod tests;
mod with;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value};

pub use bind::{Binding, bind, bind_draft};
pub use critical::Critical;
pub use graph::Graph;
pub use schema::schema;
pub use select::Selection;

use crate::diagnostic::{Diagnostic, Source};
use crate::event::{PhaseName, PhaseSummary, PipelineSummary};
use crate::phase::{AnyKind, WithError, in_plain_words};
use crate::pipeline::{
    Condition, PhaseSpec, Pipeline, Reference, Rendered, Room, Scope, Spot, evaluate_condition,
    render_alone,
};
use crate::secret::Source as SecretSource;

/// What will run.
pub struct Plan {
    /// As it was read.
    pub pipeline: Pipeline,
    /// One for each phase of the pipeline, in its order.
    pub phases: Vec<PlannedPhase>,
    /// What expressions can see before any phase has ended.
    pub scope: Scope,
    /// Positions of the phases, each after those it needs.
    pub order: Vec<usize>,
    /// The files beside the pipeline in which the selected phases are told more.
    pub attached: Vec<Arc<Source>>,
    /// The secrets that the selected phases use.
    pub secrets: Vec<Spot<SecretSource>>,
    /// Seconds that each phase took in an earlier run, by position; empty when nothing is known.
    pub expected: Vec<Option<f64>>,
}

/// A phase with its kind and its neighbours.
pub struct PlannedPhase {
    /// The code behind `uses`.
    pub kind: Arc<dyn AnyKind>,
    /// Positions of what must have ended well first: named in `needs`, or used in an expression.
    pub needs: Vec<usize>,
    /// Positions of what waits for it.
    pub dependents: Vec<usize>,
    /// False when it was left out on the command line.
    pub selected: bool,
}

impl Plan {
    /// The phase at a position, as it was read.
    #[must_use]
    pub fn spec(&self, position: usize) -> &PhaseSpec {
        &self.pipeline.phases[position]
    }

    /// Whether what a phase decides is looked up and remembered: because its kind is expensive, or because the
    /// pipeline says so of a kind that can.
    #[must_use]
    pub fn remembers(&self, position: usize) -> bool {
        let kind = &self.phases[position].kind;
        let cache = &self.spec(position).cache;
        kind.cached() || (kind.probes() && cache.given && cache.on)
    }

    /// Whether what a phase does outlasts the run, other than as a remembered decision.
    #[must_use]
    pub fn outlasts(&self, position: usize) -> bool {
        self.phases[position].kind.lasts() && !self.remembers(position)
    }

    /// The name of the phase at a position.
    #[must_use]
    pub fn name(&self, position: usize) -> &PhaseName {
        &self.pipeline.phases[position].name.value
    }

    /// The phases that one needs, all the way up, nearest first.
    #[must_use]
    pub fn upstream(&self, position: usize) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        let mut seen = vec![false; self.phases.len()];
        let mut queue = VecDeque::from(self.phases[position].needs.clone());
        while let Some(at) = queue.pop_front() {
            if !std::mem::replace(&mut seen[at], true) {
                found.push(at);
                queue.extend(self.phases[at].needs.iter().copied());
            }
        }
        found
    }

    /// `with` of a phase, with every expression evaluated in `scope`.
    ///
    /// # Errors
    /// Every expression that can't be evaluated.
    pub fn render_with(&self, position: usize, scope: &Scope) -> Result<Value, Vec<Diagnostic>> {
        let mut room = Room::of_a_phase();
        let with = &self.spec(position).with;
        let Rendered { value, spelled } =
            render_alone(with, scope, &self.pipeline.sources, &mut room)?;
        Ok(match spelled {
            None => value,
            Some(spelled) => {
                spelling::fit(&self.phases[position].kind.with_schema(), value, spelled)
            }
        })
    }

    /// What its kind says of the `with` of a phase whose values have become known, in one line: each thing with its
    /// place, its key and what would be right.
    #[must_use]
    pub fn told_of_with(&self, position: usize, wrong: &[WithError]) -> String {
        let with = &self.spec(position).with;
        let told = wrong.iter().map(|error| {
            let place = self.pipeline.place(with.span_of(&error.path));
            let steps = error.path.iter().map(String::as_str);
            let key: Vec<&str> = std::iter::once("with").chain(steps).collect();
            let help = error.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{place}: `{}`: {}{help}", key.join("."), in_plain_words(&error.message))
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// Why the condition of a phase leaves it out, if it does.
    ///
    /// # Errors
    /// When it has no value in `scope`: where, why, and what would be right.
    pub fn left_out(&self, position: usize, scope: &Scope) -> Result<Option<String>, String> {
        match &self.spec(position).when {
            None | Some(Condition::Literal(true)) => Ok(None),
            Some(Condition::Literal(false)) => Ok(Some("`when` is false".to_owned())),
            Some(Condition::Expression(Spot { value, span })) => {
                match evaluate_condition(value, &scope.frame()) {
                    Ok(true) => Ok(None),
                    Ok(false) => Ok(Some(format!("`{value}` is false"))),
                    Err(trouble) => {
                        Err(trouble.at(&self.pipeline.sources, *span, value).in_a_line())
                    }
                }
            }
        }
    }

    /// What the expressions of a phase can see, given the outputs of phases by their positions. Nothing at all for a
    /// phase without expressions.
    #[must_use]
    pub fn scope_of<'a>(
        &self,
        position: usize,
        outputs: impl Fn(usize) -> Option<&'a Value>,
    ) -> Scope {
        let spec = self.spec(position);
        if spec.mentions.is_empty() {
            return Scope::default();
        }
        let mut phases = Map::new();
        for name in spec.mentions.iter().filter_map(|mention| match &mention.reference {
            Reference::Phase { name, .. } => Some(name.as_str()),
            _ => None,
        }) {
            if !phases.contains_key(name) {
                phases.extend(self.visible(name, &outputs).map(|seen| (name.to_owned(), seen)));
            }
        }
        self.scope.seeing(phases, &spec.matrix)
    }

    /// What an expression sees as `phases.NAME`: the outputs of the phase, or, where `matrix` has made several of it,
    /// those of each by what stands in its brackets. Nothing of a phase that has no outputs.
    fn visible<'a>(
        &self,
        name: &str,
        outputs: &impl Fn(usize) -> Option<&'a Value>,
    ) -> Option<Value> {
        let mut group = Map::new();
        for position in self.pipeline.positions(name) {
            let outputs = outputs(position);
            match self.name(position).member() {
                None => return outputs.cloned(),
                Some(member) => group.extend(
                    outputs
                        .filter(|outputs| !outputs.is_null())
                        .map(|outputs| (member.to_owned(), outputs.clone())),
                ),
            }
        }
        Some(Value::Object(group))
    }

    /// The files that the pipeline is made of and those in which its phases are told more, each with its digest
    /// (BLAKE3).
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, String> {
        let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
        self.sources().map(|source| (source.name.clone(), digest(&source.text))).collect()
    }

    /// The same, as they were read.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.pipeline.sources.all().iter().chain(&self.attached)
    }

    /// The pipeline for reports.
    #[must_use]
    pub fn summary(&self) -> PipelineSummary {
        let mut hasher = blake3::Hasher::new();
        for source in self.sources() {
            hasher.update(source.text.as_bytes());
        }
        PipelineSummary {
            name: self.pipeline.name.clone(),
            file: self.pipeline.path.display().to_string(),
            digest: hasher.finalize().to_hex().to_string(),
        }
    }

    /// The phases for reports, in the order of the file.
    #[must_use]
    pub fn phase_summaries(&self) -> Vec<PhaseSummary> {
        (0..self.phases.len())
            .map(|position| PhaseSummary {
                name: self.name(position).clone(),
                uses: self.spec(position).uses.value.clone(),
                needs: self.phases[position]
                    .needs
                    .iter()
                    .map(|need| self.name(*need).clone())
                    .collect(),
                optional: self.spec(position).optional,
            })
            .collect()
    }
}
