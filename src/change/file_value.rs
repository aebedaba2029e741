//! What a value of a configuration file says: the text that it has, or that there is none. Reads no file.
//!
//! A value is the text of the file, or one of these, which no file may have for its text:
//! ```text
//! absent                             there is no such file
//! absent with /etc/systemd/x.d       nor the folder, nor those below it
//! other: 2 lines, 8 bytes, 204fcc15  what somebody else has put there: told, and kept nowhere
//! ```

use std::borrow::Cow;

pub(super) const ABSENT: &str = "absent";
pub(super) const WITH: &str = "absent with ";
pub(super) const OTHER: &str = "other: ";

/// What a value says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    Text(&'a str),
    /// There is no file, and the highest folder that is not there either.
    Absent(Option<&'a str>),
    /// There is something that is not kept, in a few words.
    Other(&'a str),
}

/// What a value says.
pub(super) fn content(value: &str) -> Content<'_> {
    if value == ABSENT {
        return Content::Absent(None);
    }
    if value.contains('\n') {
        return Content::Text(value);
    }
    match (value.strip_prefix(WITH), value.strip_prefix(OTHER)) {
        (Some(folder), _) => Content::Absent(Some(folder)),
        (_, Some(told)) => Content::Other(told),
        (None, None) => Content::Text(value),
    }
}

/// A value that is somebody else's, as it may be written down: their text may be for few to read, and is of no use.
pub(super) fn other(value: &str) -> String {
    match content(value) {
        Content::Text(text) => format!("{OTHER}{}", told_of(text)),
        Content::Absent(_) | Content::Other(_) => value.to_owned(),
    }
}

/// Whether two values are the same file, or both none.
pub(super) fn same(one: &str, other: &str) -> bool {
    match (content(one), content(other)) {
        (Content::Absent(_), Content::Absent(_)) => true,
        (one, other) => one == other,
    }
}

/// A value in a few words.
pub(super) fn shown(value: &str) -> Cow<'_, str> {
    match content(value) {
        Content::Text(text) => told_of(text).into(),
        Content::Absent(_) => ABSENT.into(),
        Content::Other(told) => told.into(),
    }
}

/// How much a text is, and a digest of it.
fn told_of(text: &str) -> String {
    let digest = &blake3::hash(text.as_bytes()).to_hex()[..8];
    let (lines, bytes) = (text.lines().count(), text.len());
    let s = if lines == 1 { "" } else { "s" };
    format!("{lines} line{s}, {bytes} bytes, {digest}")
}
