//! A kind and its phases in their erased form: what is typed in them is plain data to the engine.
//!
//! Knows the contract, and no kind.

use std::path::Path;

use schemars::{Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contract::BoxFuture;
use super::{
    AnyKind, AnyPhase, Applicability, Attachment, Beforehand, Claim, Context, Dependencies, Kind,
    PhaseError, WithError,
};
use crate::change::Change;
use crate::event::{Check, PhaseName};

/// The erased form of kind `K`.
#[derive(Debug)]
pub(super) struct Erased<K>(pub(super) std::marker::PhantomData<fn() -> K>);

impl<K: Kind> AnyKind for Erased<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn about(&self) -> &'static str {
        K::ABOUT
    }

    fn revision(&self) -> u32 {
        K::REVISION
    }

    fn cached(&self) -> bool {
        K::CACHED
    }

    fn probes(&self) -> bool {
        K::PROBES
    }

    fn lasts(&self) -> bool {
        K::LASTS
    }

    fn only_waits(&self) -> bool {
        K::ONLY_WAITS
    }

    fn attaches(&self) -> bool {
        K::ATTACHES
    }

    fn attachment(&self, known: &Beforehand, dir: &Path) -> Option<Attachment> {
        K::attachment(known, dir)
    }

    fn with_schema(&self) -> Schema {
        schema_for!(K::With)
    }

    fn mistyped(&self, with: &Value) -> Option<WithError> {
        let typed: Result<K::With, _> = serde_path_to_error::deserialize(with);
        typed.err().map(|error| explain(&error))
    }

    fn claims(&self, with: &Value) -> Result<Vec<Claim>, Vec<WithError>> {
        Ok(K::claims(&typed::<K>(with)?))
    }

    fn bind(&self, with: &Value) -> Result<Box<dyn AnyPhase>, Vec<WithError>> {
        let typed = typed::<K>(with)?;
        let canonical = serde_json::to_value(&typed).map_err(|error| {
            vec![WithError { path: Vec::new(), message: error.to_string(), help: None }]
        })?;
        Ok(Box::new(Bound::<K> { with: typed, canonical, observation: None, decision: None }))
    }
}

/// What a phase is told, checked.
fn typed<K: Kind>(with: &Value) -> Result<K::With, Vec<WithError>> {
    // Only where something is wrong need anybody know where.
    let typed = K::With::deserialize(with).or_else(|_| serde_path_to_error::deserialize(with));
    let typed = typed.map_err(|error| vec![explain(&error)])?;
    let wrong = K::check(&typed);
    if wrong.is_empty() { Ok(typed) } else { Err(wrong) }
}

/// A serde error at its key.
fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> WithError {
    use serde_path_to_error::Segment;
    let path = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    WithError { path, message: error.inner().to_string(), help: None }
}

/// A phase of kind `K` between its stages.
struct Bound<K: Kind> {
    with: K::With,
    canonical: Value,
    observation: Option<K::Observation>,
    decision: Option<K::Decision>,
}

impl<K: Kind> Bound<K> {
    fn observation(&self) -> Result<&K::Observation, PhaseError> {
        self.observation
            .as_ref()
            .ok_or_else(|| PhaseError::new("the phase has not observed the host"))
    }

    fn both(&self) -> Result<(&K::Observation, &K::Decision), PhaseError> {
        let decision = self.decision.as_ref();
        Ok((
            self.observation()?,
            decision.ok_or_else(|| PhaseError::new("the phase has not decided"))?,
        ))
    }
}

fn plain(data: &impl Serialize) -> Result<Value, PhaseError> {
    serde_json::to_value(data)
        .map_err(|error| PhaseError::because("could not be written as JSON", error))
}

impl<K: Kind> AnyPhase for Bound<K> {
    fn with(&self) -> &Value {
        &self.canonical
    }

    fn observe<'a>(
        &'a mut self,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<Applicability<Value>, PhaseError>> {
        Box::pin(async move {
            Ok(match K::observe(&self.with, cx).await? {
                Applicability::Yes(found) => {
                    let observation = plain(&found)?;
                    self.observation = Some(found);
                    Applicability::Yes(observation)
                }
                Applicability::No { reason, observation } => {
                    Applicability::No { reason, observation: plain(&observation)? }
                }
            })
        })
    }

    fn depends_on(&self, cx: &Context) -> Result<Dependencies, PhaseError> {
        K::depends_on(&self.with, self.observation()?, cx)
    }

    fn decide<'a>(&'a mut self, cx: &'a Context) -> BoxFuture<'a, Result<Value, PhaseError>> {
        Box::pin(async move {
            let decision = K::decide(&self.with, self.observation()?, cx).await?;
            let data = plain(&decision)?;
            self.decision = Some(decision);
            Ok(data)
        })
    }

    fn recall(&mut self, decision: &Value) -> Result<(), serde_json::Error> {
        self.decision = Some(K::Decision::deserialize(decision)?);
        Ok(())
    }

    fn tell(&self) -> Result<String, PhaseError> {
        let (_, decision) = self.both()?;
        Ok(K::tell(&self.with, decision))
    }

    fn diff(&self, phase: &PhaseName) -> Result<Vec<Change>, PhaseError> {
        let (observation, decision) = self.both()?;
        Ok(K::diff(phase, observation, decision))
    }

    fn apply<'a>(
        &'a mut self,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<serde_json::Map<String, Value>, PhaseError>> {
        Box::pin(async move {
            let (observation, decision) = self.both()?;
            K::apply(&self.with, observation, decision, cx).await
        })
    }

    fn verify<'a>(&'a mut self, cx: &'a Context) -> BoxFuture<'a, Result<Vec<Check>, PhaseError>> {
        Box::pin(async move {
            let (observation, decision) = self.both()?;
            K::verify(&self.with, observation, decision, cx).await
        })
    }
}
