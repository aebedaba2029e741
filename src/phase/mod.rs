//! Phases: what each kind does in its four stages.
//!
//! [`contract`](self) is all that a kind and the engine know of each other. A kind knows the contract and the
//! islands, never the engine, the plan or another kind. See "A phase has four stages" in docs/design.md.

mod attachment;
mod context;
mod contract;
mod digests;
mod erased;
pub mod kind;
mod registry;
mod scratch;
mod service;
mod verification_load;
mod word;

pub use attachment::{Attachment, Beforehand, in_plain_words, in_quotes};
pub use context::{Context, RunContext, Upstream};
pub use contract::{
    AnyKind, AnyPhase, Applicability, BoxFuture, Claim, Dependencies, Kind, PhaseError, WithError,
};
pub use digests::Digests;
pub use registry::{Registry, standard};
pub use scratch::Scratch;
pub use service::{Parameters, Ready, SERVICE_PARAMETERS, Service, Services};
pub use verification_load::{LoadError, LoadShape, VerificationLoad, capacity, setting};
pub use word::Word;
