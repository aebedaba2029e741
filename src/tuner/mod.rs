//! Tuning: a search space, an objective, trials, and solvers that propose the next one.
//!
//! [`search::Search`] drives a [`solver::Solver`] over a [`space::Space`] within a budget and answers what
//! to measure next; whoever owns it measures and records. Every trial can be kept through [`trial::TrialLog`],
//! and a search resumes from what was kept. Pure but for the solvers' own threads: nothing here measures,
//! touches the host or knows what a parameter means.

pub mod objective;
pub mod search;
pub mod solver;
pub mod space;
pub mod trial;
