//! One parameter as an axis: a numbered row of allowed values along 0..=1.

use std::time::Duration;

use crate::unit::Span;

use super::point::ParameterValue;

/// Steps of a float's axis.
const FLOAT_STEPS: u64 = 1000;
/// Significant digits of a float's value, so that it reads well; finer than the lattice.
const FLOAT_DIGITS: i32 = 6;
/// Steps of a duration's range, unless they would be shorter than [`LEAST_STEP_NANOS`].
const DURATION_STEPS: u64 = 100;
/// 10 us: what is shorter is below the timers of the services that are tuned.
const LEAST_STEP_NANOS: u64 = 10_000;

/// A row of allowed values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Axis {
    Int { low: i64, high: i64, log: bool },
    Float { low: f64, high: f64, log: bool },
    Duration { low: u64, high: u64, steps: u64 },
    Category(Vec<String>),
    Bool(Vec<bool>),
}

impl Axis {
    /// Bounds in nanoseconds; the last step ends at the upper one and may be shorter.
    pub(super) fn duration(low: Duration, high: Duration) -> Self {
        let (low, high) = (low.as_nanos() as u64, high.as_nanos() as u64);
        let range = high - low;
        let steps = if range / DURATION_STEPS >= LEAST_STEP_NANOS {
            DURATION_STEPS
        } else {
            range.div_ceil(LEAST_STEP_NANOS)
        };
        Self::Duration { low, high, steps }
    }

    /// How many values there are, at least one.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Int { low, high, .. } => high.abs_diff(*low) + 1,
            Self::Float { low, high, .. } => {
                if low < high {
                    FLOAT_STEPS + 1
                } else {
                    1
                }
            }
            Self::Duration { steps, .. } => steps + 1,
            Self::Category(names) => names.len() as u64,
            Self::Bool(values) => values.len() as u64,
        }
    }

    /// The value of a number below [`count`](Self::count); a higher one counts as the last.
    pub(super) fn value(&self, index: u64) -> ParameterValue {
        let index = index.min(self.count() - 1);
        match self {
            Self::Int { low, .. } => ParameterValue::Int(low.saturating_add_unsigned(index)),
            Self::Float { low, high, log } => {
                let at = index as f64 / FLOAT_STEPS as f64;
                let value = along(*low, *high, *log, at);
                // Rounding must not leave the range, and its ends are exact.
                let value = match index {
                    0 => *low,
                    FLOAT_STEPS => *high,
                    _ => rounded(value).clamp(*low, *high),
                };
                ParameterValue::Float(value)
            }
            Self::Duration { low, high, steps } => {
                let nanos = low + duration_offset(*low, *high, *steps, index);
                ParameterValue::Duration(Duration::from_nanos(nanos))
            }
            Self::Category(names) => ParameterValue::Category(names[index as usize].clone()),
            Self::Bool(values) => ParameterValue::Bool(values[index as usize]),
        }
    }

    /// Where the value of a number lies along 0..=1.
    pub(super) fn unit(&self, index: u64) -> f64 {
        let last = self.count() - 1;
        let index = index.min(last);
        if last == 0 {
            return 0.5;
        }
        match self {
            Self::Int { low, high, log } => {
                place(*low as f64, *high as f64, *log, (low.saturating_add_unsigned(index)) as f64)
            }
            Self::Duration { low, high, steps } => {
                duration_offset(*low, *high, *steps, index) as f64 / (high - low) as f64
            }
            Self::Float { .. } => index as f64 / last as f64,
            Self::Category(_) | Self::Bool(_) => (index as f64 + 0.5) / (last + 1) as f64,
        }
    }

    /// The number of the value nearest to a place in 0..=1.
    pub(super) fn index_at(&self, at: f64) -> u64 {
        let last = self.count() - 1;
        let index = match self {
            Self::Int { low, high, log } => {
                let value = along(*low as f64, *high as f64, *log, at).round() as i64;
                value.clamp(*low, *high).abs_diff(*low)
            }
            Self::Duration { low, high, steps } => duration_index(*low, *high, *steps, at),
            Self::Float { .. } => (at * last as f64).round() as u64,
            Self::Category(_) | Self::Bool(_) => (at * (last + 1) as f64).floor() as u64,
        };
        index.min(last)
    }

    /// A value in this axis' own type with the number of the nearest allowed one, or what is wrong with it.
    pub(super) fn adopt(&self, value: &ParameterValue) -> Result<(u64, ParameterValue), String> {
        match self {
            Self::Int { low, high, .. } => {
                let whole = value.as_i64().ok_or_else(|| misfit(value, "a whole number"))?;
                in_range(&whole, low, high)?;
                Ok((whole.abs_diff(*low), ParameterValue::Int(whole)))
            }
            Self::Float { low, high, log } => {
                let number = value.as_f64().ok_or_else(|| misfit(value, "a number"))?;
                in_range(&number, low, high)?;
                Ok((self.index_at(place(*low, *high, *log, number)), ParameterValue::Float(number)))
            }
            Self::Duration { low, high, steps } => {
                let wanted = "a duration such as `250us`";
                let span = value.as_duration().ok_or_else(|| misfit(value, wanted))?;
                let (from, to) = (Duration::from_nanos(*low), Duration::from_nanos(*high));
                in_range(&Span(span), &Span(from), &Span(to))?;
                let range = (high - low).max(1) as f64;
                let at = (span.as_nanos() as u64 - low) as f64 / range;
                Ok((duration_index(*low, *high, *steps, at), ParameterValue::Duration(span)))
            }
            Self::Category(names) => {
                let text = value.as_str().ok_or_else(|| misfit(value, "one of its categories"))?;
                let index = names.iter().position(|name| name == text).ok_or_else(|| {
                    let known = crate::diagnostic::one_of(names.iter().map(String::as_str));
                    format!("has no category `{text}`: {known}")
                })?;
                Ok((index as u64, ParameterValue::Category(text.to_owned())))
            }
            Self::Bool(values) => {
                let ParameterValue::Bool(flag) = value else {
                    return Err(misfit(value, "`true` or `false`"));
                };
                let index = values
                    .iter()
                    .position(|known| known == flag)
                    .ok_or_else(|| format!("may not be {flag}: list it, as in `[false, true]`"))?;
                Ok((index as u64, ParameterValue::Bool(*flag)))
            }
        }
    }
}

fn misfit(value: &ParameterValue, wanted: &str) -> String {
    format!("is `{value}`, which is not {wanted}")
}

fn in_range<T: PartialOrd + std::fmt::Display>(value: &T, low: &T, high: &T) -> Result<(), String> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(format!("is {value}, outside {low} to {high}: widen the range or choose a value within it"))
}

/// The value at a place in 0..=1 between two bounds.
fn along(low: f64, high: f64, log: bool, at: f64) -> f64 {
    if log { (low.ln() + (high.ln() - low.ln()) * at).exp() } else { low + (high - low) * at }
}

/// The place in 0..=1 of a value between two bounds that differ.
fn place(low: f64, high: f64, log: bool, value: f64) -> f64 {
    let at = if log {
        (value.ln() - low.ln()) / (high.ln() - low.ln())
    } else {
        (value - low) / (high - low)
    };
    if at.is_finite() { at.clamp(0.0, 1.0) } else { 0.5 }
}

fn duration_offset(low: u64, high: u64, steps: u64, index: u64) -> u64 {
    let range = high - low;
    if steps == DURATION_STEPS && range / DURATION_STEPS >= LEAST_STEP_NANOS {
        (u128::from(range) * u128::from(index) / u128::from(DURATION_STEPS)) as u64
    } else {
        (index * LEAST_STEP_NANOS).min(range)
    }
}

fn duration_index(low: u64, high: u64, steps: u64, at: f64) -> u64 {
    let range = high - low;
    let step = if steps == DURATION_STEPS && range / DURATION_STEPS >= LEAST_STEP_NANOS {
        range as f64 / DURATION_STEPS as f64
    } else {
        LEAST_STEP_NANOS as f64
    };
    let below = ((at * range as f64 / step).floor() as u64).min(steps);
    let above = (below + 1).min(steps);
    let offset = |index| duration_offset(low, high, steps, index) as f64;
    // The last step may be shorter than the others, so the nearer neighbour is looked for, not computed.
    let wanted = at * range as f64;
    if (offset(above) - wanted).abs() < (offset(below) - wanted).abs() { above } else { below }
}

fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powi(FLOAT_DIGITS - 1 - value.abs().log10().floor() as i32);
    let found = (value * scale).round() / scale;
    if found.is_finite() { found } else { value }
}
