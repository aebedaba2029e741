//! One line of a log: its form, and whether it can be trusted.
//!
//! The form is told in the module doc of `cache`. Does not know where lines come from or go to.

use std::borrow::Cow;
use std::io::BufRead as _;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::entry::{Entry, Origin, scope_word};
use super::{Key, Manifest};
use crate::pipeline::CacheScope;

/// Version of the entries.
const SCHEMA: u32 = 2;

/// Hex digits of a digest or a key.
const DIGITS: usize = 64;

/// `digest TAB key TAB`.
const HEAD: usize = 2 * (DIGITS + 1);

/// The entry of a line, as it stands there: a list, because names would be most of its bytes, and all of them are
/// digested and read at every look-up.
#[derive(Serialize, Deserialize)]
struct Written<'a, D>(
    /// [`SCHEMA`].
    u32,
    /// When it was decided, in milliseconds since 1970.
    i64,
    /// For how many milliseconds it holds.
    u64,
    /// The scope.
    #[serde(borrow)]
    Cow<'a, str>,
    /// The host.
    #[serde(borrow)]
    Cow<'a, str>,
    /// The phase.
    #[serde(borrow)]
    Cow<'a, str>,
    /// The run.
    #[serde(borrow)]
    Cow<'a, str>,
    /// The decision.
    D,
    /// Bytes of the manifest that follows: a line that was cut off is never whole.
    usize,
);

/// The first digits of a key, which an index can be made by.
pub(super) type Mark = u64;

const MARK_DIGITS: usize = 16;

/// The mark of a key.
pub(super) fn mark(key: &Key) -> Mark {
    key.0[..MARK_DIGITS / 2].iter().fold(0, |mark, byte| mark << 8 | Mark::from(*byte))
}

/// The mark in the head of a line; none when it has no such head.
pub(super) fn marked(line: &[u8]) -> Option<Mark> {
    let head = line.get(..HEAD)?;
    if head[DIGITS] != b'\t' || head[HEAD - 1] != b'\t' {
        return None;
    }
    head[DIGITS + 1..].iter().take(MARK_DIGITS).try_fold(0, |mark, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(mark << 4 | Mark::from(value))
    })
}

/// The digits of the key in the head of a line.
pub(super) fn key_digits(line: &[u8]) -> &[u8] {
    line.get(DIGITS + 1..HEAD - 1).unwrap_or_default()
}

/// The key in the head of a line; none when its digits are none.
pub(super) fn key(line: &[u8]) -> Option<Key> {
    Key::from_hex(key_digits(line))
}

/// The line of a decision, with its end, and the entry in it.
///
/// # Errors
/// When the decision can't be written as JSON.
pub(super) fn write(
    manifest: &Manifest,
    origin: Origin<'_>,
    decision: &Value,
    (at, ttl): (Timestamp, Duration),
) -> Result<(Key, String), serde_json::Error> {
    let key = manifest.key();
    let parts = manifest.to_json();
    let entry = serde_json::to_string(&Written(
        SCHEMA,
        at.as_millisecond(),
        u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        scope_word(manifest.scope()).into(),
        manifest.host().into(),
        origin.phase.into(),
        origin.run.into(),
        decision,
        parts.len(),
    ))?;
    let digest = digest(&key, entry.as_bytes());
    Ok((key, format!("{}\t{key}\t{entry}\t{parts}\n", digest.to_hex())))
}

/// The entry of a line under `key`, at `now`.
///
/// # Errors
/// Why it is not to be trusted.
pub(super) fn read(line: &[u8], key: &Key, now: Timestamp) -> Result<Box<Entry>, String> {
    let (entry, manifest) = halves(line);
    if *digest(key, entry).to_hex().as_bytes() != line[..DIGITS] {
        return Err("its digest does not match its content".to_owned());
    }
    let Written(schema, at, ttl, scoped, host, phase, run, decision, length) =
        serde_json::from_slice::<Written<'_, Value>>(entry)
            .map_err(|error| format!("it can't be read: {error}"))?;
    if schema != SCHEMA {
        return Err("it was written by another version".to_owned());
    }
    if manifest.len() != length {
        return Err("it was cut off".to_owned());
    }
    let created_at = Timestamp::from_millisecond(at).map_err(|_| "it has no time".to_owned())?;
    // Times are kept in milliseconds: one of this very moment is not of the future.
    if at > now.as_millisecond() {
        return Err(format!("it was written in the future, at {created_at}"));
    }
    Ok(Box::new(Entry {
        key: *key,
        phase: phase.into_owned(),
        run: run.into_owned(),
        scope: scope(&scoped).ok_or("its scope is not known")?,
        host: host.into_owned(),
        created_at,
        expires_at: end(created_at, Duration::from_millis(ttl)),
        decision,
    }))
}

/// The manifest of a line under `key`; none when it is not the one that the key names.
pub(super) fn manifest(line: &[u8], key: &Key) -> Option<Manifest> {
    Manifest::from_json(halves(line).1, key)
}

/// The phase of a line that need not be trusted yet.
pub(super) fn phase(line: &[u8]) -> Option<String> {
    let written: Written<'_, IgnoredAny> = serde_json::from_slice(halves(line).0).ok()?;
    Some(written.5.into_owned())
}

/// The entry and the manifest of a line that has a head.
fn halves(line: &[u8]) -> (&[u8], &[u8]) {
    let body = line.get(HEAD..).unwrap_or_default();
    let mut rest = body;
    match rest.skip_until(b'\t') {
        Ok(length) if body[..length].ends_with(b"\t") => (&body[..length - 1], rest),
        _ => (body, &[]),
    }
}

/// The key goes into the digest as its key, so that an entry belongs to no other.
fn digest(key: &Key, entry: &[u8]) -> blake3::Hash {
    blake3::keyed_hash(&key.0, entry)
}

/// When a decision of `now` is forgotten.
pub(super) fn end(now: Timestamp, ttl: Duration) -> Timestamp {
    now.saturating_add(ttl).unwrap_or(Timestamp::MAX)
}

fn scope(word: &str) -> Option<CacheScope> {
    match word {
        "host" => Some(CacheScope::Host),
        "class" => Some(CacheScope::Class),
        _ => None,
    }
}
