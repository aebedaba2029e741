//! The search space: named parameters in declared order, each an axis with a lattice of allowed values.
//!
//! As YAML:
//! ```yaml
//! threads:     { int: [1, 64] }
//! batch_size:  { int: [1, 4096], scale: log }
//! backoff:     { float: [0.01, 100.0], scale: log }
//! linger:      { duration: [0ms, 5ms] }
//! hash:        { category: [sha2, ring] }
//! compress:    { bool: [false, true] }
//! ```
//! Solvers see a unit cube of the parameters that can vary at all; measurements see a [`Point`]. Between
//! them lies the lattice, on which a point that is seen again is the same point: whole numbers; durations in
//! steps of a hundredth of their range or 10 us, whichever is larger; floats in steps of a thousandth of
//! their axis; categories and booleans one by one. Integers of a wide range (high >= 16 low, low >= 1) lie
//! on a log axis even when declared linear: on surfaces like those of services a linear axis nearly doubled
//! the regret of a search by Gaussian processes.

mod axis;
mod declaration;
mod point;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use axis::Axis;

pub use declaration::{Declaration, Scale};
pub use point::{ParameterValue, Point};

/// Named parameters in declared order.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, PartialEq)]
struct Parameter {
    name: String,
    declaration: Declaration,
    axis: Axis,
}

/// Where a point lies on the lattice: the number of its value on each parameter's axis.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell(Vec<u64>);

/// What is wrong with one parameter, or with a point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{parameter}`: {problem}")]
pub struct SpaceError {
    /// The parameter.
    pub parameter: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Everything that is wrong with a space or a point, at once; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceErrors(pub Vec<SpaceError>);

impl fmt::Display for SpaceErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for SpaceErrors {}

impl Space {
    /// A space of the parameters declared.
    ///
    /// # Errors
    /// Names every parameter whose declaration makes no sense, and those that are declared twice.
    pub fn new(
        declared: impl IntoIterator<Item = (String, Declaration)>,
    ) -> Result<Self, SpaceErrors> {
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut errors = Vec::new();
        for (name, declaration) in declared {
            let refuse = |problem: String| SpaceError { parameter: name.clone(), problem };
            if name.trim().is_empty() {
                errors.push(refuse("has no name: give it one".to_owned()));
            }
            if parameters.iter().any(|other| other.name == name) {
                errors.push(refuse("is declared twice: keep one".to_owned()));
            }
            match declaration.axis() {
                Ok(axis) => parameters.push(Parameter { name, declaration, axis }),
                Err(problem) => errors.push(refuse(problem)),
            }
        }
        if parameters.is_empty() && errors.is_empty() {
            let problem = "a space has at least one: write for example `threads: { int: [1, 8] }`";
            errors.push(SpaceError { parameter: "(none)".to_owned(), problem: problem.to_owned() });
        }
        if errors.is_empty() { Ok(Self { parameters }) } else { Err(SpaceErrors(errors)) }
    }

    /// The names of the parameters, in declared order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|parameter| parameter.name.as_str())
    }

    /// How many parameters can vary: the dimension of the unit cube.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.free().count()
    }

    /// How many points the lattice has; `u64::MAX` when that is not enough to count them.
    #[must_use]
    pub fn lattice_points(&self) -> u64 {
        let counts = self.parameters.iter().map(|parameter| parameter.axis.count());
        counts.fold(1, u64::saturating_mul)
    }

    /// The point in the middle of every axis.
    #[must_use]
    pub fn centre(&self) -> Point {
        self.point(&self.cell_at(&vec![0.5; self.dimension()]))
    }

    /// The cell nearest to a position in the unit cube. What lies outside is brought to its edge; a missing
    /// coordinate or one that is not a number counts as the middle.
    #[must_use]
    pub fn cell_at(&self, unit: &[f64]) -> Cell {
        let mut coordinates = unit.iter().copied();
        let cells = self.parameters.iter().map(|parameter| {
            if parameter.axis.count() == 1 {
                return 0;
            }
            let at = coordinates.next().filter(|at| !at.is_nan()).unwrap_or(0.5);
            parameter.axis.index_at(at.clamp(0.0, 1.0))
        });
        Cell(cells.collect())
    }

    /// The position of a cell in the unit cube, one coordinate for each parameter that can vary.
    #[must_use]
    pub fn unit(&self, cell: &Cell) -> Vec<f64> {
        let all = self.parameters.iter().zip(&cell.0);
        all.filter(|(parameter, _)| parameter.axis.count() > 1)
            .map(|(parameter, index)| parameter.axis.unit(*index))
            .collect()
    }

    /// The values of a cell.
    #[must_use]
    pub fn point(&self, cell: &Cell) -> Point {
        let all = self.parameters.iter().zip(&cell.0);
        all.map(|(parameter, index)| (parameter.name.clone(), parameter.axis.value(*index)))
            .collect()
    }

    /// The cell nearest to a point, and the point in the types of this space: a duration read back from
    /// JSON as a text becomes one again.
    ///
    /// # Errors
    /// Names every parameter that is missing, unknown, of another kind, or out of its range.
    pub fn adopt(&self, point: &Point) -> Result<(Cell, Point), SpaceErrors> {
        let mut errors = Vec::new();
        let (mut cell, mut adopted) = (Vec::new(), Vec::new());
        for Parameter { name, axis, .. } in &self.parameters {
            let found = point
                .get(name)
                .ok_or_else(|| "has no value: give it one".to_owned())
                .and_then(|value| axis.adopt(value));
            match found {
                Ok((index, value)) => {
                    cell.push(index);
                    adopted.push((name.clone(), value));
                }
                Err(problem) => errors.push(SpaceError { parameter: name.clone(), problem }),
            }
        }
        for (name, _) in point.iter() {
            if !self.names().any(|known| known == name) {
                let problem = crate::diagnostic::did_you_mean(name, self.names())
                    .map_or_else(String::new, |help| format!(": {help}"));
                let problem = format!("is not in the space{problem}");
                errors.push(SpaceError { parameter: name.to_owned(), problem });
            }
        }
        if errors.is_empty() {
            Ok((Cell(cell), adopted.into_iter().collect()))
        } else {
            Err(SpaceErrors(errors))
        }
    }

    fn free(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| parameter.axis.count() > 1)
    }
}

impl Serialize for Space {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let declared = self.parameters.iter().map(|one| (&one.name, &one.declaration));
        serializer.collect_map(declared)
    }
}

impl<'de> Deserialize<'de> for Space {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parameters;
        impl<'de> de::Visitor<'de> for Parameters {
            type Value = Space;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of parameters such as `threads: { int: [1, 8] }`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Space, A::Error> {
                let mut declared = Vec::new();
                let mut errors = Vec::new();
                // Through a plain value, so that an error of one names it and does not hide the next.
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    match Declaration::deserialize(value) {
                        Ok(declaration) => declared.push((name, declaration)),
                        Err(error) => {
                            let problem = format!("{error}: write for example `{{ int: [1, 8] }}`");
                            errors.push(SpaceError { parameter: name, problem });
                        }
                    }
                }
                if errors.is_empty() {
                    return Space::new(declared).map_err(de::Error::custom);
                }
                if let Err(more) = Space::new(declared) {
                    errors.extend(more.0.into_iter().filter(|error| error.parameter != "(none)"));
                }
                Err(de::Error::custom(SpaceErrors(errors)))
            }
        }
        deserializer.deserialize_map(Parameters)
    }
}

impl JsonSchema for Space {
    fn schema_name() -> Cow<'static, str> {
        "Space".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let expression = serde_json::json!({ "type": "string", "pattern": r"\{\{" });
        let bounds = |kind: &str, about: &str| {
            serde_json::json!({
                "type": "array", "minItems": 2, "maxItems": 2, "description": about,
                "items": { "anyOf": [{ "type": kind }, expression] },
            })
        };
        let form = |key: &str, value: serde_json::Value, scaled: bool| {
            let mut properties = serde_json::Map::from_iter([(key.to_owned(), value)]);
            if scaled {
                let scale = serde_json::json!({
                    "enum": ["linear", "log"],
                    "description": "how the axis is divided; log needs a low above 0",
                });
                properties.insert("scale".to_owned(), scale);
            }
            serde_json::json!({
                "type": "object", "properties": properties, "required": [key],
                "additionalProperties": false,
            })
        };
        let choices = |item: &str, about: &str| {
            serde_json::json!({
                "type": "array", "minItems": 1, "uniqueItems": true, "description": about,
                "items": { "type": item },
            })
        };
        json_schema!({
            "type": "object",
            "description": "the parameters that are searched, by name",
            "minProperties": 1,
            "additionalProperties": { "oneOf": [
                form("int", bounds("integer", "the least and the greatest whole number"), true),
                form("float", bounds("number", "the least and the greatest number"), true),
                form("duration", bounds("string", "the shortest and the longest, such as 0ms and 5ms"), false),
                form("category", choices("string", "the values to choose from"), false),
                form("bool", choices("boolean", "the values to choose from: [false, true]"), false),
            ]},
        })
    }
}

#[cfg(test)]
mod tests;
