//! Decisions, remembered for a day: what was concluded, under exactly which conditions, and by which run.
//!
//! ```text
//! cache/
//!   db_pool/
//!     3f6c..e1.json      one entry: schema, key, manifest, created_at, expires_at, run, decision, digest
//!     3f6c..e1.bad       an entry that could not be trusted, moved aside
//! ```
//! The key is a digest of the [`Manifest`]; the same walk over the manifest tells why a key differs from
//! another. An entry that is corrupt, cut off, from elsewhere or from the future is a miss, never
//! trusted and never fatal. The cache holds decisions, not effects, and knows no kind of phase.

mod directory;
mod entry;
mod manifest;

pub use directory::{CacheDirectory, CacheError, Listed, Lookup, MissReason};
pub use entry::{Entry, Origin};
pub use manifest::{Key, Manifest};
