//! What the YAML says: read, checked and typed, with the place of everything in its file.
//!
//! [`read`] gives a [`Pipeline`] or everything that is wrong with its files, at once; [`draft`] gives both as far as
//! they are known, for whoever finds more. Expressions are parsed and their references known, but not evaluated. Knows
//! the words of the language, not what any kind of phase does with its `with`, nor the host.

mod check;
mod comparison;
mod cycle;
mod expression;
mod extend;
mod matrix;
mod model;
mod names;
mod parse;
mod place;
mod policy;
mod reference;
mod render;
mod room;
pub mod schema;
mod scope;
mod sealed;
mod secret;
mod shape;
mod spelling;
#[cfg(test)]
mod tests;
mod token;
mod tree;
mod undefined;

pub use check::is_known;
pub use cycle::order;
pub use expression::{Trouble, doubt_condition, evaluate_condition};
pub use model::{
    CachePolicy, CacheScope, Choice, Condition, Defaults, Gate, GateObjective, Need, PhaseSpec,
    Pipeline, Retry, Spot, Variable,
};
pub use parse::{Draft, draft, draft_text, read, read_text};
pub use place::{Extent, Sources};
pub use reference::{Mention, Reference, mentions};
pub use render::{Rendered, render, render_alone};
pub use room::Room;
pub use scope::{Frame, Scope};
pub use secret::secrets;
pub use tree::{Node, Tree, parse_scalar, parse_yaml};
