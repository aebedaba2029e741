//! The typed model of a pipeline.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::tree::Node;
use crate::diagnostic::{Place, Source};
use crate::event::PhaseName;

/// A value with its place in the pipeline's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

/// A pipeline as it was read.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub source: Arc<Source>,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Named values, which may be expressions; in order.
    pub vars: Vec<(Spot<String>, Node)>,
    /// The phases in the order of the file.
    pub phases: Vec<PhaseSpec>,
}

impl Pipeline {
    /// The place of some bytes of the file.
    #[must_use]
    pub fn place(&self, span: &Range<usize>) -> Place {
        Place { source: Arc::clone(&self.source), span: span.clone() }
    }

    /// Position of a phase by its name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.phases.iter().position(|phase| phase.name.value.as_str() == name)
    }
}

/// What phases have unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Longest time of an attempt.
    pub timeout: Duration,
    /// How often, and after what wait.
    pub retry: Retry,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(10),
            retry: Retry { attempts: 1, backoff: Duration::from_secs(1) },
        }
    }
}

/// How often a phase is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// At least 1.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each further one.
    pub backoff: Duration,
}

/// A condition, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `when: true` or `when: false`.
    Literal(bool),
    /// An expression, without its braces.
    Expression(Spot<String>),
}

/// A phase as it was read.
#[derive(Debug, Clone)]
pub struct PhaseSpec {
    /// Its name.
    pub name: Spot<PhaseName>,
    /// Its kind, known or not.
    pub uses: Spot<String>,
    /// What must have ended well first.
    pub needs: Vec<Spot<PhaseName>>,
    /// What its kind is told; may hold expressions.
    pub with: Node,
    /// Whether it runs at all.
    pub when: Option<Condition>,
    /// Longest time of an attempt.
    pub timeout: Duration,
    /// How often it is tried.
    pub retry: Retry,
    /// True when it may end badly without failing the run.
    pub optional: bool,
    /// Resources that no two running phases share.
    pub exclusive: Vec<String>,
}
