//! How much the expressions of a pipeline may make of it: a list that is used twice in a list that is used twice is
//! thirty lines, and a billion values.
//!
//! Whoever renders takes room for each value before it is made. Knows no file and no phase.

use minijinja::value::ValueKind;
use serde_json::{Map, Value};

/// Most values of all variables, and of what one phase is told.
pub(super) const MOST_VALUES: usize = 1_000_000;

/// Most bytes of their texts.
pub(super) const MOST_BYTES: usize = 32 << 20;

/// Most values that all phases are told, as far as that is known before they run.
const MOST_TOLD: usize = 4_000_000;

/// Most bytes of their texts.
const MOST_TOLD_BYTES: usize = 1 << 30;

/// Most levels of lists and maps in each other.
pub(super) const DEEPEST: usize = 64;

/// What may still be made.
#[derive(Debug)]
pub struct Room {
    what: &'static str,
    most: (usize, usize),
    left: (usize, usize),
}

/// Why something was not made.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no room for it.
    Beyond(String),
    /// It is no plain data.
    NotPlain(String),
}

impl From<minijinja::Error> for Refusal {
    fn from(error: minijinja::Error) -> Self {
        Self::NotPlain(error.to_string())
    }
}

impl Room {
    fn new(what: &'static str, values: usize, bytes: usize) -> Self {
        Self { what, most: (values, bytes), left: (values, bytes) }
    }

    /// For all variables of a pipeline.
    #[must_use]
    pub fn of_variables() -> Self {
        Self::new("the variables come", MOST_VALUES, MOST_BYTES)
    }

    /// For what one phase is told.
    #[must_use]
    pub fn of_a_phase() -> Self {
        Self::new("what the phase is told comes", MOST_VALUES, MOST_BYTES)
    }

    /// For what all phases are told.
    #[must_use]
    pub fn of_all_phases() -> Self {
        Self::new("what all phases are told comes", MOST_TOLD, MOST_TOLD_BYTES)
    }

    /// Takes room for as much as has been taken of another.
    ///
    /// # Errors
    /// What is said when there is none.
    pub fn take_as_much(&mut self, other: &Self) -> Result<(), String> {
        self.take(other.most.0 - other.left.0, other.most.1 - other.left.1).map_err(|refusal| {
            match refusal {
                Refusal::Beyond(told) | Refusal::NotPlain(told) => told,
            }
        })
    }

    /// Takes room for so many values, and bytes of texts.
    pub(super) fn take(&mut self, values: usize, bytes: usize) -> Result<(), Refusal> {
        let Self { what, most, left } = self;
        let too_many = match (left.0.checked_sub(values), left.1.checked_sub(bytes)) {
            (Some(values), Some(bytes)) => {
                *left = (values, bytes);
                return Ok(());
            }
            (None, _) => format!("{} values", most.0),
            (_, None) => format!("{} MiB of text", most.1 >> 20),
        };
        *left = (0, 0);
        Err(Refusal::Beyond(format!("{what} to more than {too_many}")))
    }

    /// A value of the engine of expressions as plain data, which stands `depth` levels deep.
    pub(super) fn plain(
        &mut self,
        value: &minijinja::Value,
        depth: usize,
    ) -> Result<Value, Refusal> {
        within_depth(depth)?;
        self.take(1, value.as_str().map_or(0, str::len))?;
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                value.try_iter()?.map(|item| self.plain(&item, depth + 1)).collect()
            }
            ValueKind::Map => {
                let mut map = Map::new();
                for key in value.try_iter()? {
                    let name = match key.kind() {
                        ValueKind::String | ValueKind::Number | ValueKind::Bool => key.to_string(),
                        other => {
                            let told = format!("a key of a map can't be a {other}");
                            return Err(Refusal::NotPlain(told));
                        }
                    };
                    self.take(0, name.len())?;
                    map.insert(name, self.plain(&value.get_item(&key)?, depth + 1)?);
                }
                Ok(Value::Object(map))
            }
            _ => serde_json::to_value(value).map_err(|error| Refusal::NotPlain(error.to_string())),
        }
    }
}

/// Refuses what stands too deep.
pub(super) fn within_depth(depth: usize) -> Result<(), Refusal> {
    if depth <= DEEPEST {
        return Ok(());
    }
    let told = format!("lists and maps stand more than {DEEPEST} levels deep in each other");
    Err(Refusal::Beyond(told))
}
