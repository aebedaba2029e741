//! What a phase kind is: four typed stages, and their erased form that the engine runs.
//!
//! A kind is written against [`Kind`], with types of its own for what it is told (`With`), finds
//! (`Observation`) and concludes (`Decision`). The engine sees [`AnyPhase`], in which the three are plain data.
//! Stages are called in order, once each per attempt; a decision that comes from the cache takes the
//! place of `decide`.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Attachment, Beforehand, Context};
use crate::change::Change;
use crate::event::{Check, PhaseName};

/// A future that can be kept in a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a stage could not be done.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PhaseError {
    /// What could not be done, in lower case and without a full stop.
    pub message: String,
    /// What would help.
    pub help: Option<String>,
    /// Why.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PhaseError {
    /// An error that is all said in its message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, source: None }
    }

    /// An error made of another one.
    #[must_use]
    pub fn because(
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { message: message.into(), help: None, source: Some(source.into()) }
    }

    /// Says what would help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message with all its causes and the help, in one line.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            let told = source.to_string();
            if !text.ends_with(&told) {
                text.push_str(": ");
                text.push_str(&told);
            }
            cause = source.source();
        }
        if let Some(help) = &self.help {
            text.push_str("; ");
            text.push_str(help);
        }
        text
    }
}

/// What is wrong with a `with`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithError {
    /// Keys from the top of `with` to what is wrong, such as `["space", "threads"]`.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl WithError {
    /// Says what would help, where that is known.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// An error at a key of `with`.
    #[must_use]
    pub fn at(key: &str, message: impl Into<String>) -> Self {
        Self { path: vec![key.to_owned()], message: message.into(), help: None }
    }

    /// Says what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A setting or resource that a phase will touch. Two phases of a plan that claim the same one are an error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim(pub String);

/// Whether there is anything for a phase to do here.
#[derive(Debug, Clone, PartialEq)]
pub enum Applicability<T> {
    /// There is; this was found.
    Yes(T),
    /// There is not.
    No {
        /// Why, and what the phase would have changed.
        reason: String,
        /// What was found all the same.
        observation: T,
    },
}

impl<T> Applicability<T> {
    /// That of a phase which sets what can be set of all that is wanted, in spite of these `obstacles`. With `required`,
    /// which is what each of the wanted things is called, all must be set.
    ///
    /// # Errors
    /// When all must be set and some can't be.
    pub fn in_spite_of(
        obstacles: &[String],
        none_applicable: bool,
        required: Option<&str>,
        observation: T,
    ) -> Result<Self, PhaseError> {
        let reason = obstacles.join("; ");
        match required {
            Some(one) if !obstacles.is_empty() => {
                let told = format!("a required {one} can't be set here: {reason}");
                Err(PhaseError::new(told).help("take `require` away to set only what can be"))
            }
            _ if none_applicable => Ok(Self::No { reason, observation }),
            _ => Ok(Self::Yes(observation)),
        }
    }
}

/// What a cached decision depends on beside `with`: facts of the host, digests of programs and files, versions.
pub type Dependencies = BTreeMap<String, Value>;

/// A kind of phase, with types of its own.
pub trait Kind: Sized + Send + Sync + 'static {
    /// What `uses` says.
    const NAME: &'static str;
    /// One sentence for the list of kinds.
    const ABOUT: &'static str;
    /// Raised when decisions of an earlier version no longer hold.
    const REVISION: u32;
    /// True when decisions are expensive and remembered.
    const CACHED: bool;
    /// True when a phase whose `cache` the pipeline gives is remembered all the same: its work is then done in
    /// `decide`, which sees it by [`Context::remembered`], instead of in `apply`.
    const PROBES: bool = false;
    /// True when what a phase did outlasts the run, so that one that is resumed need not do it again.
    const LASTS: bool = false;
    /// True when its phases do no work of their own beyond waiting for others, such as a process: they then need no
    /// thread of their own, and must never block one.
    const ONLY_WAITS: bool = false;
    /// True when its phases may be told more in a file, see [`attachment`](Self::attachment).
    const ATTACHES: bool = false;
    /// What it is told. Serialized, it is part of the cache key and of reports: of secrets it has the markers.
    type With: DeserializeOwned + Serialize + JsonSchema + Send + Sync;
    /// What it finds.
    type Observation: Serialize + Send + Sync;
    /// What it concludes: plain data, cacheable.
    type Decision: Serialize + DeserializeOwned + Send + Sync;

    /// What is wrong with `with` beyond its types.
    fn check(with: &Self::With) -> Vec<WithError> {
        let _ = with;
        Vec::new()
    }

    /// What it will touch.
    fn claims(with: &Self::With) -> Vec<Claim> {
        let _ = with;
        Vec::new()
    }

    /// The file in which it is told more, where its name is known; relative paths start at `dir`. Read before anything
    /// runs, so that what is wrong with it is told with everything else.
    #[must_use]
    fn attachment(known: &Beforehand, dir: &Path) -> Option<Attachment> {
        let _ = (known, dir);
        None
    }

    /// Looks at the host; writes nothing.
    fn observe(
        with: &Self::With,
        cx: &Context,
    ) -> impl Future<Output = Result<Applicability<Self::Observation>, PhaseError>> + Send;

    /// What the decision depends on beside `with`.
    ///
    /// # Errors
    /// When that can't be told; the decision is then neither looked up nor remembered.
    fn depends_on(
        with: &Self::With,
        observation: &Self::Observation,
        cx: &Context,
    ) -> Result<Dependencies, PhaseError> {
        let _ = (with, observation, cx);
        Ok(Dependencies::new())
    }

    /// Concludes what should be: measures, searches. Changes nothing that outlives it; and of a kind that is not
    /// [`CACHED`](Self::CACHED), which may decide for a preview, it also measures nothing unless it is
    /// [`remembered`](Context::remembered).
    fn decide(
        with: &Self::With,
        observation: &Self::Observation,
        cx: &Context,
    ) -> impl Future<Output = Result<Self::Decision, PhaseError>> + Send;

    /// The decision in a few words, with what it gained where that was measured.
    fn tell(with: &Self::With, decision: &Self::Decision) -> String;

    /// The changes by which `phase` leads from what is to what should be. Where its gate is known to be against them,
    /// they are not made, and [`apply`](Self::apply) and [`verify`](Self::verify) are left out.
    fn diff(
        phase: &PhaseName,
        observation: &Self::Observation,
        decision: &Self::Decision,
    ) -> Vec<Change> {
        let _ = (phase, observation, decision);
        Vec::new()
    }

    /// Makes it so as far as that is more than [`diff`](Self::diff), which has been applied before. Answers what
    /// is visible downstream beside the fields of the decision.
    fn apply(
        with: &Self::With,
        observation: &Self::Observation,
        decision: &Self::Decision,
        cx: &Context,
    ) -> impl Future<Output = Result<serde_json::Map<String, Value>, PhaseError>> + Send {
        let _ = (with, observation, decision, cx);
        async { Ok(serde_json::Map::new()) }
    }

    /// Looks whether it is so.
    fn verify(
        with: &Self::With,
        observation: &Self::Observation,
        decision: &Self::Decision,
        cx: &Context,
    ) -> impl Future<Output = Result<Vec<Check>, PhaseError>> + Send;
}

/// A kind, erased.
pub trait AnyKind: Send + Sync {
    /// What `uses` says.
    fn name(&self) -> &'static str;
    /// One sentence.
    fn about(&self) -> &'static str;
    /// Of its decisions.
    fn revision(&self) -> u32;
    /// True when its decisions are remembered.
    fn cached(&self) -> bool;
    /// True when they are where the pipeline says so.
    fn probes(&self) -> bool;
    /// True when what its phases did outlasts the run.
    fn lasts(&self) -> bool;
    /// True when its phases do no work of their own.
    fn only_waits(&self) -> bool;
    /// True when its phases may be told more in a file.
    fn attaches(&self) -> bool;
    /// That file.
    fn attachment(&self, known: &Beforehand, dir: &Path) -> Option<Attachment>;
    /// JSON Schema of its `with`.
    fn with_schema(&self) -> Schema;
    /// The first thing in `with` that is not of its type.
    fn mistyped(&self, with: &Value) -> Option<WithError>;
    /// What a phase that is told `with` will touch.
    ///
    /// # Errors
    /// All that is wrong with `with`.
    fn claims(&self, with: &Value) -> Result<Vec<Claim>, Vec<WithError>>;
    /// A phase of this kind that is told `with`.
    ///
    /// # Errors
    /// All that is wrong with `with`.
    fn bind(&self, with: &Value) -> Result<Box<dyn AnyPhase>, Vec<WithError>>;
}

/// A phase ready to run, in which everything typed is plain data.
pub trait AnyPhase: Send + Sync {
    /// `with` in canonical form, secrets hidden.
    fn with(&self) -> &Value;
    /// The first stage.
    fn observe<'a>(
        &'a mut self,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<Applicability<Value>, PhaseError>>;
    /// What a cached decision depends on; after `observe`.
    ///
    /// # Errors
    /// When that can't be told.
    fn depends_on(&self, cx: &Context) -> Result<Dependencies, PhaseError>;
    /// The second stage.
    fn decide<'a>(&'a mut self, cx: &'a Context) -> BoxFuture<'a, Result<Value, PhaseError>>;
    /// In place of the second stage: a decision from the cache.
    ///
    /// # Errors
    /// When it is not a decision of this kind.
    fn recall(&mut self, decision: &Value) -> Result<(), serde_json::Error>;
    /// The decision in a few words; after a decision.
    ///
    /// # Errors
    /// When there is no decision.
    fn tell(&self) -> Result<String, PhaseError>;
    /// The changes to make; after a decision.
    ///
    /// # Errors
    /// When there is no decision.
    fn diff(&self, phase: &PhaseName) -> Result<Vec<Change>, PhaseError>;
    /// The rest of the third stage.
    fn apply<'a>(
        &'a mut self,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<serde_json::Map<String, Value>, PhaseError>>;
    /// The fourth stage.
    fn verify<'a>(&'a mut self, cx: &'a Context) -> BoxFuture<'a, Result<Vec<Check>, PhaseError>>;
}
