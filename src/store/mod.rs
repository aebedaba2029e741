//! What is kept across runs in a database: trials as they end.
//!
//! One schema for SQLite and PostgreSQL. Migrations run by themselves when the store is first used, under a lock of
//! their own. Every row carries its host, so that a fleet can share one PostgreSQL. Knows no kind of phase.

mod schema;
mod trials;

pub use schema::StoreError;
pub use trials::TrialStore;
