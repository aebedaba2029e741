//! The typed model of a pipeline.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::names::Names;
use super::place::{Extent, Sources};
use super::reference::Mention;
use super::tree::Node;
use crate::diagnostic::Place;
use crate::event::PhaseName;
use crate::unit::Percent;

/// A value with its place in the pipeline's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Extent,
}

/// A pipeline as it was read.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file that was asked for.
    pub path: PathBuf,
    /// That file and those that it extends.
    pub sources: Sources,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Named values, which may be expressions; in order.
    pub vars: Vec<Variable>,
    /// The phases in the order of the file.
    pub phases: Vec<PhaseSpec>,
    /// For each phase those that it waits for: named by it, or used in its expressions.
    pub needs: Vec<Vec<Need>>,
    /// Positions of the phases, each after those it needs, otherwise in the order of the file. Not all of them where
    /// phases need each other in a circle.
    pub order: Vec<usize>,
    /// False when a part of it could not be read, so that names may be missing.
    pub(super) whole: bool,
    pub(super) names: Names,
}

impl Pipeline {
    /// The place of an extent of its files.
    #[must_use]
    pub fn place(&self, span: Extent) -> Place {
        self.sources.place(span)
    }

    /// Position of a phase by its name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.position(name)
    }

    /// Positions of the phase of this name, or of all that `matrix` made of it; nothing when the name is not known.
    #[must_use]
    pub fn positions(&self, name: &str) -> std::ops::Range<usize> {
        self.names.positions(name)
    }

    /// The value of a variable, as written.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.names.variable(name).map(|position| &self.vars[position])
    }

    /// The names that `needs` may use, in the order of the file.
    pub fn phase_names(&self) -> impl Iterator<Item = &str> {
        self.phases.iter().enumerate().flat_map(|(position, phase)| {
            let name = phase.name.value.as_str();
            let base = phase.name.value.base();
            let is_first = position == 0 || self.phases[position - 1].name.value.base() != base;
            [Some(base).filter(|_| is_first), Some(name).filter(|_| name != base)]
                .into_iter()
                .flatten()
        })
    }

    /// False when a part of it could not be read, so that what is missing may be there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }
}

/// A named value.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: Spot<String>,
    /// Its value, which may hold expressions.
    pub value: Node,
    /// What these refer to.
    pub mentions: Vec<Mention>,
}

/// That a phase waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Position of the other.
    pub phase: u32,
    /// Where that is said.
    pub span: Extent,
}

/// What phases have unless they say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Longest time of an attempt.
    pub timeout: Duration,
    /// How often, and after what wait.
    pub retry: Retry,
    /// How decisions are remembered.
    pub cache: Arc<CachePolicy>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(10),
            retry: Retry {
                attempts: 1,
                backoff: Duration::from_secs(1),
                max_backoff: Duration::from_mins(5),
                jitter: Percent(20.0),
            },
            cache: Arc::default(),
        }
    }
}

/// How often a phase is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// At least 1.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each further one.
    pub backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
    /// Each wait is drawn from this share below it to this share above it.
    pub jitter: Percent,
}

/// How the decisions of a phase are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePolicy {
    /// True when the pipeline says it of this phase, rather than by default.
    pub given: bool,
    /// False when they are neither looked up nor remembered.
    pub on: bool,
    /// How long they hold.
    pub ttl: Duration,
    /// For which hosts they hold.
    pub scope: CacheScope,
    /// Files that they depend on, as globs that start at the pipeline's folder.
    pub inputs: Vec<Spot<String>>,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            given: false,
            on: true,
            ttl: Duration::from_hours(24),
            scope: CacheScope::Host,
            inputs: Vec::new(),
        }
    }
}

/// For which hosts a decision holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// For the one that measured it.
    Host,
    /// For every host with the same facts.
    Class,
}

/// The acceptance test of what a phase changes on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// What is measured.
    pub objective: GateObjective,
    /// The least gain that is worth the change.
    pub min_gain: Percent,
    /// How sure the interval must be.
    pub confidence: Percent,
    /// The longest time that may be spent.
    pub budget: Duration,
}

impl Gate {
    /// What it takes to keep the changes, in words: `service_throughput gains more than 1% (95% sure, within 1m)`.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { objective, min_gain, confidence, budget } = self;
        let budget = humantime::format_duration(*budget);
        format!("{objective} gains more than {min_gain} ({confidence} sure, within {budget})")
    }
}

/// What a gate measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateObjective {
    /// Verifications per second of the service that a phase upstream has started; more is better.
    ServiceThroughput,
    /// The 99th percentile of its latency; less is better.
    P99,
    /// The number that a program prints.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// True when less is better.
        minimize: bool,
    },
}

impl GateObjective {
    /// True when less of it is better.
    #[must_use]
    pub fn minimize(&self) -> bool {
        match self {
            Self::ServiceThroughput => false,
            Self::P99 => true,
            Self::Command { minimize, .. } => *minimize,
        }
    }
}

impl fmt::Display for GateObjective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceThroughput => f.write_str("service_throughput"),
            Self::P99 => f.write_str("p99"),
            Self::Command { argv, .. } => write!(f, "`{}`", argv.join(" ")),
        }
    }
}

/// The value that a phase made by `matrix` has on one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The axis.
    pub axis: String,
    /// The value.
    pub value: Value,
    /// As it is spelled in the file, and stands in the name of the phase.
    pub text: String,
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
    pub with: Arc<Node>,
    /// What the expressions in `with` and `when` refer to.
    pub mentions: Arc<[Mention]>,
    /// Whether it runs at all.
    pub when: Option<Condition>,
    /// Longest time of an attempt.
    pub timeout: Duration,
    /// How often it is tried.
    pub retry: Retry,
    /// True when it may end badly without failing the run.
    pub optional: bool,
    /// True when it runs also after what it needs has ended badly, or the run was told to stop: to clean up.
    pub always: bool,
    /// How its decisions are remembered.
    pub cache: Arc<CachePolicy>,
    /// What its changes must show before they are kept.
    pub gate: Option<Box<Spot<Gate>>>,
    /// Which of the phases made from one by `matrix` it is; empty for any other phase.
    pub matrix: Vec<Choice>,
    /// Resources that no two running phases share.
    pub exclusive: Vec<String>,
}
