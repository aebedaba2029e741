//! One setting as PostgreSQL describes it in `pg_settings`: what it takes, and what a text means to it.
//!
//! `64MB`, `65536kB` and, where the unit is kB, `65536` are one value; so are `on` and `true` of a switch. Asks nobody.

use super::statement::{Measures, UNITS, number};

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameter {
    /// Its name, as the server writes it.
    pub name: String,
    /// What sessions begin with, in its unit.
    pub value: String,
    /// What a number without a unit counts.
    pub unit: Option<String>,
    /// `bool`, `enum`, `integer`, `real` or `string`.
    pub kind: String,
    /// What it takes to change it: `internal`, `postmaster`, `sighup`, `superuser-backend`, `backend`, `superuser`, `user`.
    pub context: String,
    /// The least number that it takes.
    pub min: Option<String>,
    /// The largest.
    pub max: Option<String>,
    /// The words that it takes.
    pub words: Vec<String>,
    /// Where its present value comes from.
    pub source: String,
    /// Whether the file has another value, for which the server would have to be started anew.
    pub pending_restart: bool,
}

/// What a text means.
#[derive(Debug, PartialEq)]
enum Meaning {
    Switch(bool),
    Number(f64),
    Word(String),
    Text(String),
}

impl Parameter {
    /// Why it can't be set to `value`: what it takes. Nothing where it can, as far as that can be known beforehand.
    #[must_use]
    pub fn refuses(&self, value: &str) -> Option<String> {
        let told = |what: String| {
            Some(format!("could not set {} to `{value}`: it takes {what}", self.name))
        };
        let (meaning, bounds) = (
            self.meaning(value),
            (self.bound(self.min.as_deref()), self.bound(self.max.as_deref())),
        );
        match (meaning, bounds) {
            (None, _) => told(self.takes()),
            (Some(Meaning::Number(number)), (Some(min), Some(max)))
                if number < min || number > max =>
            {
                told(self.takes())
            }
            (Some(Meaning::Word(word)), _) => {
                let known = self.words.iter().any(|one| one.eq_ignore_ascii_case(&word));
                if known { None } else { told(self.takes()) }
            }
            _ => None,
        }
    }

    /// What it takes, in words.
    fn takes(&self) -> String {
        match &*self.kind {
            "bool" => "on or off".to_owned(),
            "enum" => format!("one of {}", self.words.join(", ")),
            kind => {
                let what = if kind == "integer" { "a whole number" } else { "a number" };
                let range = match (&self.min, &self.max) {
                    (Some(min), Some(max)) => {
                        format!(" from {} to {}", self.with_unit(min), self.with_unit(max))
                    }
                    _ => String::new(),
                };
                match self.measured() {
                    Some((Measures::Memory, _)) => format!("a size{range}, as B, kB, MB, GB or TB"),
                    Some((Measures::Time, _)) => {
                        format!("a time{range}, as us, ms, s, min, h or d")
                    }
                    None => format!("{what}{range}"),
                }
            }
        }
    }

    /// Whether two texts mean the same.
    #[must_use]
    pub fn same(&self, one: &str, other: &str) -> bool {
        if one == other || super::statement::same(&self.name.to_ascii_lowercase(), one, other) {
            return true;
        }
        match (self.meaning(one), self.meaning(other)) {
            (Some(Meaning::Number(one)), Some(Meaning::Number(other))) => {
                (one - other).abs() <= 4.0 * f64::EPSILON * one.abs().max(other.abs())
            }
            (Some(one), Some(other)) => one == other,
            _ => false,
        }
    }

    /// What sessions begin with, in the largest unit that leaves a whole number.
    #[must_use]
    pub fn shown(&self) -> String {
        self.with_unit(&self.value)
    }

    /// Whether only a start of the server brings another value into force.
    #[must_use]
    pub fn needs_restart(&self) -> bool {
        self.context == "postmaster"
    }

    /// Whether sessions that have begun keep the value that they began with.
    #[must_use]
    pub fn needs_new_sessions(&self) -> bool {
        matches!(&*self.context, "backend" | "superuser-backend")
    }

    /// A number of the server in the largest unit that leaves a whole number; any other text as it is.
    fn with_unit(&self, text: &str) -> String {
        let (Some((measures, factor)), Ok(value)) = (self.measured(), text.parse::<f64>()) else {
            return text.to_owned();
        };
        // What is not above 0 is no quantity: -1 turns off.
        let all = value * factor;
        let fits = |(_, of, size): &&(&str, Measures, f64)| *of == measures && all % size == 0.0;
        match UNITS.iter().find(fits) {
            Some((name, _, size)) if value > 0.0 => format!("{}{name}", all / size),
            _ => text.to_owned(),
        }
    }

    /// What its unit measures, and how many bytes or microseconds one of it is.
    fn measured(&self) -> Option<(Measures, f64)> {
        let unit = self.unit.as_deref()?;
        let (count, name) = number(unit).unwrap_or((1.0, unit));
        let (_, measures, factor) = UNITS.iter().find(|(known, ..)| *known == name)?;
        Some((*measures, count * factor))
    }

    fn bound(&self, text: Option<&str>) -> Option<f64> {
        match self.meaning(text?) {
            Some(Meaning::Number(value)) => Some(value),
            _ => None,
        }
    }

    fn meaning(&self, text: &str) -> Option<Meaning> {
        match &*self.kind {
            "bool" => switch(text.trim()).map(Meaning::Switch),
            "enum" => Some(Meaning::Word(text.trim().to_ascii_lowercase())),
            "integer" => self.count(text).map(f64::round_ties_even).map(Meaning::Number),
            "real" => self.count(text).map(Meaning::Number),
            _ => Some(Meaning::Text(text.to_owned())),
        }
    }

    /// A number in its unit.
    fn count(&self, text: &str) -> Option<f64> {
        let (value, unit) = number(text)?;
        if unit.is_empty() {
            return Some(value);
        }
        let (_, measures, factor) = UNITS.iter().find(|(name, ..)| *name == unit)?;
        let (own, size) = self.measured()?;
        (own == *measures).then_some(value * factor / size)
    }
}

/// As PostgreSQL reads a switch: any beginning of the words that is not ambiguous.
fn switch(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if text == "1" || begins("true", 1) || begins("yes", 1) || begins("on", 2) {
        Some(true)
    } else if text == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(kind: &str, unit: Option<&str>, (min, max): (&str, &str)) -> Parameter {
        Parameter {
            name: "x".to_owned(),
            kind: kind.to_owned(),
            unit: unit.map(str::to_owned),
            min: (!min.is_empty()).then(|| min.to_owned()),
            max: (!max.is_empty()).then(|| max.to_owned()),
            words: vec!["on".to_owned(), "remote_write".to_owned()],
            ..Parameter::default()
        }
    }

    #[test]
    fn texts_that_mean_the_same_are_the_same_value() {
        let memory = parameter("integer", Some("kB"), ("64", "2147483647"));
        let pages = parameter("integer", Some("8kB"), ("16", "1073741823"));
        let time = parameter("integer", Some("ms"), ("-1", "2147483647"));
        let cost = parameter("real", None, ("0", "1.79769e+308"));
        let switch = parameter("bool", None, ("", ""));
        let word = parameter("enum", None, ("", ""));
        let text = parameter("string", None, ("", ""));
        for (of, one, other) in [
            (&memory, "64MB", "65536"),
            (&memory, "64MB", "65536kB"),
            (&pages, "128MB", "16384"),
            (&pages, "1.5GB", "1536MB"),
            (&time, "1min", "60000"),
            (&cost, "1.1", "1.10"),
            (&cost, "1e1", "10"),
            (&switch, "on", "TRUE"),
            (&switch, "of", "0"),
            (&word, "Remote_Write", "remote_write"),
            (&text, "a", "a"),
        ] {
            assert!(of.same(one, other), "{one} {other}");
        }
        for (of, one, other) in [
            (&memory, "64MB", "64"),
            (&time, "1s", "1"),
            (&cost, "1.1", "1.2"),
            (&switch, "on", "off"),
            (&switch, "o", "o2"),
            (&text, "on", "true"),
        ] {
            assert!(!of.same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_it_does_not_take_is_told_with_what_it_takes() {
        let memory = parameter("integer", Some("kB"), ("64", "2147483647"));
        let time = parameter("integer", Some("ms"), ("-1", "2147483647"));
        let count = parameter("integer", None, ("0", "10"));
        let cost = parameter("real", None, ("0", "1"));
        let switch = parameter("bool", None, ("", ""));
        let word = parameter("enum", None, ("", ""));
        for (of, value, takes) in [
            (&memory, "63kB", "a size from 64kB to 2147483647kB, as B, kB, MB, GB or TB"),
            (&memory, "64 apples", "a size from"),
            (&memory, "1s", "a size from"),
            (&time, "-2", "a time from -1 to"),
            (&count, "11", "a whole number from 0 to 10"),
            (&count, "1MB", "a whole number from 0 to 10"),
            (&cost, "x", "a number from 0 to 1"),
            (&switch, "o", "on or off"),
            (&word, "local", "one of on, remote_write"),
        ] {
            let told = of.refuses(value).unwrap_or_default();
            assert!(
                told.starts_with(&format!("could not set x to `{value}`: it takes {takes}")),
                "{told}"
            );
        }
        for (of, value) in
            [(&memory, "64kB"), (&time, "-1"), (&count, "10.4"), (&cost, "0.5"), (&word, "ON")]
        {
            assert_eq!(of.refuses(value), None, "{value}");
        }
    }

    #[test]
    fn a_number_of_the_server_is_shown_with_the_largest_unit_that_fits() {
        for (unit, value, shown) in [
            (Some("8kB"), "16384", "128MB"),
            (Some("kB"), "4096", "4MB"),
            (Some("kB"), "4097", "4097kB"),
            (Some("ms"), "-1", "-1"),
            (Some("s"), "300", "5min"),
            (None, "4", "4"),
            (None, "on", "on"),
        ] {
            let of = Parameter { value: value.to_owned(), ..parameter("integer", unit, ("", "")) };
            assert_eq!(of.shown(), shown);
        }
    }
}
