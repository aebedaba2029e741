//! Decisions, remembered: what was concluded, under exactly which conditions, on which host and by which run.
//!
//! ```text
//! cache/
//!   db_pool.log     the decisions of a kind, one a line, appended to
//!   db_pool.bad     lines that could not be trusted, set aside when the log was made smaller
//!   lock            held while one of them is written
//! ```
//! A line has four columns, with a tab after each but the last; here they are under each other:
//! ```text
//! digest     9d07..c1    64 hex digits
//! key        3f6c..e1    64 hex digits
//! entry      [2,1795521600000,86400000,"host","3f2a90c1d2e4b5a6","pool","20261124T001120Z-1a5926",{"pool_size":7},47]
//!            version, when (ms since 1970), for how long (ms), scope, host, phase, run, decision, bytes of the manifest
//! manifest   {"depends.kernel":"6.1","host":"3f2a90c1d2e4b5a6",..}
//! ```
//! A reader finds the key of every line without reading the rest. The key is the digest of the manifest, which is why
//! the manifest needs no other. The digest in front is BLAKE3 of the bytes of the entry, keyed with the key: the
//! entry belongs to this key and to no other. The entry says how long its manifest is, so a line that was cut off is
//! never whole. `cut -f3 cache/db_pool.log | jq .[7]` shows the decisions.
//!
//! - Of several lines with one key the last that can be trusted counts.
//! - A line that is corrupt, cut off, of another version or from the future is a miss; so is one of another host,
//!   unless its scope is `class`. It is never trusted and never fatal, and hides no other.
//! - Lines are appended in batches under a lock, each batch with one wait for the disk. A kill loses what was not
//!   [flushed](CacheDirectory::flush), and at most leaves a torn line.
//!
//! Why it is not a file for each decision: "The cache" in docs/design.md. The cache holds decisions, not effects, and
//! knows no kind of phase.

mod directory;
mod entry;
mod inputs;
mod line;
mod log;
mod manifest;
mod prune;
#[cfg(test)]
mod tests;

pub use directory::{Asked, CacheDirectory, CacheError, Lookup, MissReason};
pub use entry::{Entry, Origin};
pub use inputs::{InputError, digest_inputs};
pub use manifest::{Difference, Key, Manifest};
pub use prune::{Listed, Listing, Pruned, Pruning};
