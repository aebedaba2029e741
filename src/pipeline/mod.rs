//! What the YAML says: read, checked and typed, with the place of everything in its file.
//!
//! [`read`] gives a [`Pipeline`] or everything that is wrong with the file, at once. Expressions are parsed and
//! their references known, but not evaluated. Knows the words of the language, not what any kind of phase
//! does with its `with`, nor the host.

mod check;
mod expression;
mod model;
mod parse;
pub mod schema;
mod secret;
#[cfg(test)]
mod tests;
mod tree;

pub use check::needs;
pub use expression::{Reference, Scope, evaluate_condition, references, render};
pub use model::{
    CachePolicy, CacheScope, Condition, Defaults, Gate, GateObjective, PhaseSpec, Pipeline, Retry,
    Spot,
};
pub use parse::{read, read_text};
pub use secret::secrets;
pub use tree::{Node, Tree, parse_scalar, parse_yaml};
