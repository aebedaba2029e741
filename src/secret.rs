//! Values that nobody may see: where they are read from, the marker that travels in their place, and the two ways
//! between value and marker.
//!
//! ```text
//! { secret: env, name: DB_PASSWORD }    a value of the environment   ⟦secret env DB_PASSWORD⟧
//! postgres://app:⟦secret env DB_PASSWORD⟧@db/app                     what is planned, recorded and told
//! postgres://app:hunter2@db/app                                      what the database is given, and nobody else
//! ```
//!
//! The brackets are U+27E6 and U+27E7, which nobody types by accident. Only a marker of a [`Source`] that was declared
//! is ever replaced by a value: a text from elsewhere can't make this program read a file. Knows nothing of pipelines,
//! nor of what the values are for.

use std::borrow::Cow;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use crate::disk;

const OPEN: &str = "⟦secret ";
const CLOSE: char = '⟧';

/// Largest secret, in bytes.
const LIMIT: u64 = 64 << 10;

/// Shortest value that is looked for in what is recorded, in bytes: shorter ones stand everywhere by chance.
pub const SHORTEST: usize = 4;

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A variable of the environment.
    Env(String),
    /// A file.
    File(PathBuf),
    /// A credential that systemd has handed to the service: a file in `$CREDENTIALS_DIRECTORY`.
    SystemdCredential(String),
}

/// The ways in which a source is named.
pub const WAYS: [&str; 3] = ["env", "file", "systemd-credential"];

/// A source that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No such way.
    #[error("secrets can't be read from `{0}`")]
    Way(String),
    /// A name or path that can't be.
    #[error("`{0}` can't be the {1} of a secret")]
    Name(String, &'static str),
}

impl Source {
    /// The source that is read in a way from a name, or from a path.
    ///
    /// # Errors
    /// When there is no such way, or the name can't be one.
    pub fn new(way: &str, name: &str) -> Result<Self, SourceError> {
        let plain = !name.is_empty()
            && !name.contains(|c: char| c.is_control() || matches!(c, '⟦' | CLOSE | '"' | '\\'));
        let refuse = |what| Err(SourceError::Name(name.to_owned(), what));
        match way {
            "env" if plain && !name.contains('=') => Ok(Self::Env(name.to_owned())),
            "env" => refuse("variable"),
            "file" if plain => Ok(Self::File(name.into())),
            "file" => refuse("path"),
            "systemd-credential" if plain && !name.contains('/') && !name.starts_with('.') => {
                Ok(Self::SystemdCredential(name.to_owned()))
            }
            "systemd-credential" => refuse("name"),
            _ => Err(SourceError::Way(way.to_owned())),
        }
    }

    /// The marker that stands for its value.
    #[must_use]
    pub fn marker(&self) -> String {
        format!("{OPEN}{self}{CLOSE}")
    }

    /// Its value, read below `dir` where its path is relative.
    fn read(&self, dir: &Path, env: &Environment) -> Result<String, String> {
        let value = match self {
            Self::Env(name) => env(name).ok_or("it is not in the environment")?,
            Self::File(path) => read_file(&dir.join(path))?,
            Self::SystemdCredential(name) => {
                let folder = env("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    "CREDENTIALS_DIRECTORY is not in the environment: systemd sets it for a unit \
                     with LoadCredential= or SetCredential="
                        .to_owned()
                })?;
                read_file(&Path::new(&folder).join(name))?
            }
        };
        if value.is_empty() { Err("it is empty".to_owned()) } else { Ok(value) }
    }
}

/// Without the marker's brackets: `env DB_PASSWORD`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::SystemdCredential(name) => write!(f, "systemd-credential {name}"),
        }
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (way, name) = text.split_once(' ').unwrap_or((text, ""));
        Self::new(way, name)
    }
}

/// The line end that editors put at the end of a file is no part of the value.
fn read_file(path: &Path) -> Result<String, String> {
    let mut text = disk::read_text(path, LIMIT).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// A text that has a marker in it: the part before, the marker, the part after.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find(OPEN)?;
    let end = start + text[start..].find(CLOSE)? + CLOSE.len_utf8();
    Some((&text[..start], &text[start..end], &text[end..]))
}

/// A text from elsewhere, in which no marker is one: it is taken apart, so that it can't ask for a value further on.
#[must_use]
pub fn taken_apart(text: String) -> String {
    if text.contains(OPEN) { text.replace(OPEN, "⟦ secret ") } else { text }
}

/// Whether a secret would stand in a text: any marker, declared or not.
#[must_use]
pub fn stands_in(text: &str) -> bool {
    split(text).is_some()
}

/// Whether a text is one marker and nothing else.
#[must_use]
pub fn is_marker(text: &str) -> bool {
    matches!(split(text), Some(("", _, "")))
}

/// The text with each marker replaced by what `with` makes of it.
pub fn replace_markers(text: &str, mut with: impl FnMut(&str) -> String) -> Cow<'_, str> {
    let mut rest = text;
    let mut made = String::new();
    while let Some((before, marker, after)) = split(rest) {
        made.push_str(before);
        made.push_str(&with(marker));
        rest = after;
    }
    if made.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    made.push_str(rest);
    Cow::Owned(made)
}

/// How the environment is asked for a variable.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What should be known of a secret that could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It can't be looked for in what is recorded.
    Short,
    /// Everybody on this host may read its file.
    Open,
}

/// What came of reading the secrets that were declared.
#[derive(Debug, Default)]
pub struct Reading {
    /// Those that could be read.
    pub secrets: Secrets,
    /// Those that could not, each with the reason.
    pub missing: Vec<(Source, String)>,
    /// What should be known of those that could be read.
    pub doubts: Vec<(Source, Doubt)>,
}

/// The values of the secrets that were declared. Clones share them; none is ever printed.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Known>);

#[derive(Default)]
struct Known {
    /// Marker and value.
    values: Vec<(String, String)>,
    /// Each text by which a value may be known, with its marker; the longest first.
    forms: Vec<(String, String)>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.values.iter().map(|(marker, _)| marker)).finish()
    }
}

impl Secrets {
    /// Reads the secrets of `sources`. Relative paths start at `dir`.
    pub fn read(
        sources: impl IntoIterator<Item = Source>,
        dir: &Path,
        env: &Environment<'_>,
    ) -> Reading {
        let mut reading = Reading::default();
        let mut values: Vec<(String, String)> = Vec::new();
        for source in sources {
            let marker = source.marker();
            if values.iter().any(|(known, _)| *known == marker) {
                continue;
            }
            match source.read(dir, env) {
                Ok(value) => {
                    reading.doubts.extend(doubts(&source, dir, &value));
                    values.push((marker, value));
                }
                Err(reason) => reading.missing.push((source, reason)),
            }
        }
        reading.secrets = Self::of(values);
        reading
    }

    /// Of markers and values.
    fn of(values: Vec<(String, String)>) -> Self {
        let mut forms = Vec::new();
        for (marker, value) in &values {
            for form in forms_of(value).into_iter().filter(|form| form.len() >= SHORTEST) {
                if !forms.iter().any(|(known, _)| *known == form) {
                    forms.push((form, marker.clone()));
                }
            }
        }
        forms.sort_by_key(|(form, _)| std::cmp::Reverse(form.len()));
        Self(Arc::new(Known { values, forms }))
    }

    /// True when there is nothing to reveal or to hide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values.is_empty()
    }

    /// The text with values in place of their markers. A marker that was not declared stays as it is.
    #[must_use]
    pub fn reveal<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.reveal_as(text, str::to_owned)
    }

    /// The URL with values in place of their markers: escaped where they are a part of it, as they are where they
    /// are all of it.
    #[must_use]
    pub fn reveal_in_url<'a>(&self, url: &'a str) -> Cow<'a, str> {
        if is_marker(url) { self.reveal(url) } else { self.reveal_as(url, percent_encoded) }
    }

    fn reveal_as<'a>(&self, text: &'a str, written: impl Fn(&str) -> String) -> Cow<'a, str> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        replace_markers(text, |marker| {
            let known = self.0.values.iter().find(|(known, _)| known == marker);
            known.map_or_else(|| marker.to_owned(), |(_, value)| written(value))
        })
    }

    /// Puts markers in place of values, however they are written: as they are, as in JSON, as in a URL. Markers that
    /// stand there already stay whole.
    pub fn hide(&self, text: &mut String) {
        if !self.0.forms.iter().any(|(form, _)| text.contains(form.as_str())) {
            return;
        }
        let mut hidden = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((start, marker)) = self.next_marker(rest) {
            self.hide_plain(&rest[..start], &mut hidden);
            hidden.push_str(marker);
            rest = &rest[start + marker.len()..];
        }
        self.hide_plain(rest, &mut hidden);
        *text = hidden;
    }

    /// The first declared marker in a text.
    fn next_marker(&self, text: &str) -> Option<(usize, &str)> {
        text.match_indices(OPEN).find_map(|(start, _)| {
            let declared = self.0.values.iter().map(|(marker, _)| marker.as_str());
            declared
                .into_iter()
                .find(|marker| text[start..].starts_with(marker))
                .map(|marker| (start, marker))
        })
    }

    fn hide_plain(&self, mut text: &str, hidden: &mut String) {
        // The longest come first, and of those that begin at one place the first is taken.
        while let Some((start, form, marker)) = self
            .0
            .forms
            .iter()
            .filter_map(|(form, marker)| text.find(form.as_str()).map(|at| (at, form, marker)))
            .min_by_key(|(start, _, _)| *start)
        {
            hidden.push_str(&text[..start]);
            hidden.push_str(marker);
            text = &text[start + form.len()..];
        }
        hidden.push_str(text);
    }

    /// [`hide`](Self::hide) in every text of a value; a number that is a value becomes its marker.
    pub fn hide_in(&self, value: &mut Value) {
        if self.0.forms.is_empty() {
            return;
        }
        self.each_text(value, &|text| self.hide(text));
    }

    /// Every text of a value, the keys of maps among them; a number that is a value of ours becomes its marker.
    fn each_text(&self, value: &mut Value, change: &impl Fn(&mut String)) {
        match value {
            Value::String(text) => change(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.each_text(item, change)),
            Value::Object(entries) => {
                let former = std::mem::take(entries);
                entries.extend(former.into_iter().map(|(mut key, mut value)| {
                    change(&mut key);
                    self.each_text(&mut value, change);
                    (key, value)
                }));
            }
            Value::Number(number) => {
                let written = number.to_string();
                if let Some((_, marker)) = self.0.forms.iter().find(|(form, _)| *form == written) {
                    *value = Value::from(marker.as_str());
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// What a program has written, made fit to travel: a marker in it is not ours and is taken apart, so that it can't
    /// ask for a value further on; then values are hidden.
    pub fn receive(&self, text: &mut String) {
        if self.is_empty() {
            return;
        }
        *text = taken_apart(std::mem::take(text));
        self.hide(text);
    }

    /// [`receive`](Self::receive) in every text of a value.
    pub fn receive_in(&self, value: &mut Value) {
        if self.is_empty() {
            return;
        }
        self.each_text(value, &|text| self.receive(text));
    }

    /// Cuts the beginning of a value off the end of a text: what a limit may have left of it.
    pub fn cut_end(&self, text: &mut String) {
        for (form, _) in &self.0.forms {
            let partial = (1..form.len()).rev().filter(|at| form.is_char_boundary(*at));
            if let Some(at) = partial.into_iter().find(|at| text.ends_with(&form[..*at])) {
                text.truncate(text.len() - at);
            }
        }
    }

    /// Cuts the end of a value off the beginning of a text.
    pub fn cut_start(&self, text: &mut String) {
        for (form, _) in &self.0.forms {
            let partial = (1..form.len()).filter(|at| form.is_char_boundary(*at));
            if let Some(at) = partial.into_iter().find(|at| text.starts_with(&form[*at..])) {
                text.drain(..form.len() - at);
            }
        }
    }
}

fn doubts(source: &Source, dir: &Path, value: &str) -> Vec<(Source, Doubt)> {
    let mut found = Vec::new();
    if value.len() < SHORTEST {
        found.push((source.clone(), Doubt::Short));
    }
    if let Source::File(path) = source {
        let mode = std::fs::metadata(dir.join(path)).map(|file| file.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o004 != 0) && nix::unistd::geteuid().is_root() {
            found.push((source.clone(), Doubt::Open));
        }
    }
    found
}

/// The texts by which a value may be known. Of one of several lines, each line as well: texts are told by line.
fn forms_of(value: &str) -> Vec<String> {
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= 2 * SHORTEST);
    let mut forms = Vec::new();
    for plain in std::iter::once(value).chain(lines) {
        let quoted = Value::from(plain).to_string();
        let escaped = &quoted[1..quoted.len() - 1];
        // Twice: JSON in a text of a JSON record.
        let twice = Value::from(escaped).to_string();
        forms.extend([
            plain.to_owned(),
            escaped.to_owned(),
            twice[1..twice.len() - 1].to_owned(),
            percent_encoded(plain),
        ]);
    }
    forms
}

/// As a part of a URL (RFC 3986): all but unreserved characters escaped.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            encoded.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secrets(pairs: &[(&str, &str)]) -> Secrets {
        let pairs = pairs.iter().map(|(name, value)| (marker(name), (*value).to_owned()));
        Secrets::of(pairs.collect())
    }

    fn marker(name: &str) -> String {
        Source::Env(name.to_owned()).marker()
    }

    fn hidden(secrets: &Secrets, text: &str) -> String {
        let mut text = text.to_owned();
        secrets.hide(&mut text);
        text
    }

    #[test]
    fn a_marker_stands_for_its_value_and_only_a_declared_one_is_revealed() {
        let known = secrets(&[("PW", "hunter2")]);
        let text = format!("a {} b {}", marker("PW"), marker("OTHER"));
        assert_eq!(known.reveal(&text), format!("a hunter2 b {}", marker("OTHER")));
        assert_eq!(Secrets::default().reveal(&text), text);
        assert!(stands_in(&text) && !is_marker(&text) && is_marker(&marker("PW")));
        let source: Source = "systemd-credential db".parse().unwrap();
        assert_eq!(source, Source::SystemdCredential("db".to_owned()));
    }

    #[test]
    fn a_value_in_a_url_is_escaped_and_one_that_is_the_url_is_not() {
        let known = secrets(&[("PW", "p@ss/w:rd?"), ("URL", "postgres://me:x@db/app")]);
        let url = format!("postgres://me:{}@db/app", marker("PW"));
        assert_eq!(known.reveal_in_url(&url), "postgres://me:p%40ss%2Fw%3Ard%3F@db/app");
        assert_eq!(known.reveal_in_url(&marker("URL")), "postgres://me:x@db/app");
    }

    #[test]
    fn values_are_hidden_however_they_are_written() {
        let known = secrets(&[("PW", "qu\"o\\te/1"), ("LONG", "abcdefgh"), ("PART", "cdef")]);
        let (pw, long, part) = (marker("PW"), marker("LONG"), marker("PART"));
        for (given, wanted) in [
            ("nothing".to_owned(), "nothing".to_owned()),
            ("qu\"o\\te/1".to_owned(), pw.clone()),
            (json!({ "a": "qu\"o\\te/1" }).to_string(), format!("{{\"a\":\"{pw}\"}}")),
            ("x=qu%22o%5Cte%2F1&y".to_owned(), format!("x={pw}&y")),
            ("abcdefgh cdef xcdefx".to_owned(), format!("{long} {part} x{part}x")),
        ] {
            assert_eq!(hidden(&known, &given), wanted);
        }
    }

    #[test]
    fn a_value_that_stands_in_a_marker_leaves_the_marker_whole() {
        let known = secrets(&[("secret", "secret"), ("PW", "env PW")]);
        let text = format!("{} secret {}", marker("PW"), marker("secret"));
        let wanted = format!("{} {} {}", marker("PW"), marker("secret"), marker("secret"));
        assert_eq!(hidden(&known, &text), wanted);
        assert_eq!(hidden(&known, &wanted), wanted);
    }

    #[test]
    fn lines_of_a_long_value_are_hidden_one_by_one_and_short_values_are_not_looked_for() {
        let known = secrets(&[("KEY", "first line\nsecond line\n"), ("PIN", "123")]);
        assert_eq!(hidden(&known, "first line | second line 123"), {
            format!("{0} | {0} 123", marker("KEY"))
        });
    }

    #[test]
    fn a_marker_that_a_program_writes_asks_for_nothing() {
        let known = secrets(&[("PW", "hunter2")]);
        let mut text = format!("give me {} and hunter2", marker("PW"));
        known.receive(&mut text);
        assert_eq!(known.reveal(&text).matches("hunter2").count(), 1, "its own: {text}");
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn what_a_limit_left_of_a_value_is_cut_off() {
        let known = secrets(&[("PW", "hunter2")]);
        let (mut head, mut tail) = ("it is hunt".to_owned(), "er2 it was".to_owned());
        known.cut_end(&mut head);
        known.cut_start(&mut tail);
        assert_eq!((head.as_str(), tail.as_str()), ("it is ", " it was"));
    }

    #[test]
    fn secrets_are_read_from_where_they_are_and_what_is_missing_says_where_it_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        disk::replace(&dir.path().join("pw"), b"from a file\r\n").unwrap();
        disk::replace(&dir.path().join("empty"), b"\n").unwrap();
        let folder = dir.path().display().to_string();
        let env = |name: &str| match name {
            "PW" => Some("from env".to_owned()),
            "CREDENTIALS_DIRECTORY" => Some(folder.clone()),
            _ => None,
        };
        let sources = ["env PW", "file pw", "systemd-credential pw", "env PW"];
        let missing = ["env NONE", "file none", "systemd-credential none", "file empty"];
        let sources = sources.iter().chain(&missing).map(|text| text.parse().unwrap());
        let read = Secrets::read(sources, dir.path(), &env);
        let of = |text: &str| format!("⟦secret {text}⟧");
        assert_eq!(read.secrets.reveal(&of("env PW")), "from env");
        assert_eq!(read.secrets.reveal(&of("file pw")), "from a file");
        assert_eq!(read.secrets.reveal(&of("systemd-credential pw")), "from a file");
        let told: Vec<&str> = read.missing.iter().map(|(_, reason)| reason.as_str()).collect();
        assert_eq!(told[0], "it is not in the environment");
        assert!(told[1].contains("none") && told[2].contains(&folder), "{told:?}");
        assert_eq!(told[3], "it is empty");
        assert!(!format!("{:?}", read.secrets).contains("from"));
    }

    #[test]
    fn names_that_can_not_be_are_refused() {
        for text in [
            "",
            "env",
            "env A=B",
            "file ",
            "systemd-credential ../x",
            "systemd-credential a/b",
            "vault x",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
        assert!(Source::new("file", "/a⟧").is_err());
    }
}
