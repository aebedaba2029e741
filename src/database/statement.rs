//! The texts of `ALTER SYSTEM`: names and values as PostgreSQL takes them, so that neither can say anything else.
//!
//! A setting that is a list of names has one literal for each: PostgreSQL puts each of them in quotes by itself, and would
//! take `'a, b'` for one name. Which settings there are, and what they take, is known by the server.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Settings of which PostgreSQL quotes each element. Extensions can't have such a one.
const QUOTED_LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Of these, those whose elements are identifiers, which are in lower case unless quoted.
const IDENTIFIERS: [&str; 2] = ["search_path", "temp_tablespaces"];

/// Other lists: they stand in one literal, as they are.
const PLAIN_LISTS: [&str; 9] = [
    "createrole_self_grant",
    "datestyle",
    "debug_io_direct",
    "listen_addresses",
    "log_destination",
    "restrict_nonsystem_relation_kind",
    "synchronized_standby_slots",
    "synchronous_standby_names",
    "wal_consistency_checking",
];

/// Settings that may hold a password.
const SECRETIVE: [&str; 2] = ["primary_conninfo", "ssl_passphrase_command"];

/// The longest value: PostgreSQL's own limit for a line of its file is far above.
const LONGEST: usize = 8 << 10;

/// Why a setting can't be one that is set here; nothing when it can.
#[must_use]
pub fn forbidden(name: &str) -> Option<String> {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    if name.len() > 128 || !name.split('.').all(part) {
        return Some(format!(
            "`{name}` is not the name of a setting of PostgreSQL: they are of lower-case letters, digits, `_` and `.`"
        ));
    }
    let secretive = SECRETIVE.contains(&name);
    secretive.then(|| format!("{name} may hold a password, which would stand in the journal"))
}

/// Whether a setting is a list.
#[must_use]
pub fn is_list(name: &str) -> bool {
    is_quoted_list(name) || PLAIN_LISTS.contains(&name)
}

fn is_quoted_list(name: &str) -> bool {
    QUOTED_LISTS.contains(&name)
}

/// The text of a list of these elements, as the server would show it.
#[must_use]
pub fn list(name: &str, elements: &[String]) -> String {
    let shown = |element: &String| {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let bare = element.bytes().all(plain) && element.bytes().next().is_some_and(|b| b > b'9');
        if bare || !is_quoted_list(name) {
            element.clone()
        } else {
            format!("\"{}\"", element.replace('"', "\"\""))
        }
    };
    elements.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// The elements of the text of a list, as the server reads it; nothing when it can't be read.
fn elements(name: &str, text: &str) -> Option<Vec<String>> {
    let lower = IDENTIFIERS.contains(&name);
    let mut found = Vec::new();
    let mut rest = text.trim();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (element, after) = unquoted(quoted)?;
            found.push(element);
            rest = after.trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let element = rest[..end].trim();
            if element.is_empty() || element.contains('"') {
                return None;
            }
            found.push(if lower { element.to_ascii_lowercase() } else { element.to_owned() });
            rest = &rest[end..];
        }
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => return Some(found),
            None => return None,
        }
    }
}

/// What stands before the closing quote, and what after it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut element = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        element.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                element.push('"');
                rest = next;
            }
            None => return Some((element, after)),
        }
    }
}

/// Whether two texts are the same value of a setting, as far as that can be told without the server: of lists their
/// elements, of two quantities that both have a unit how much they are.
#[must_use]
pub fn same(name: &str, one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    if is_quoted_list(name) {
        let (one, other) = (elements(name, one), elements(name, other));
        return one.is_some() && one == other;
    }
    match (quantity(one), quantity(other)) {
        (Some(one), Some(other)) => {
            let close = |a: f64, b: f64| (a - b).abs() <= f64::EPSILON * a.abs().max(b.abs());
            one.0 == other.0 && close(one.1, other.1)
        }
        _ => false,
    }
}

/// What a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measures {
    /// Bytes.
    Memory,
    /// Microseconds.
    Time,
}

/// Units of PostgreSQL, the largest of each kind first.
pub const UNITS: [(&str, Measures, f64); 11] = [
    ("TB", Measures::Memory, 1_099_511_627_776.0),
    ("GB", Measures::Memory, 1_073_741_824.0),
    ("MB", Measures::Memory, 1_048_576.0),
    ("kB", Measures::Memory, 1024.0),
    ("B", Measures::Memory, 1.0),
    ("d", Measures::Time, 86_400_000_000.0),
    ("h", Measures::Time, 3_600_000_000.0),
    ("min", Measures::Time, 60_000_000.0),
    ("s", Measures::Time, 1_000_000.0),
    ("ms", Measures::Time, 1000.0),
    ("us", Measures::Time, 1.0),
];

/// A number, and what stands behind it.
#[must_use]
pub fn number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }
    let sign = usize::from(text.starts_with(['-', '+']));
    if let Some(hex) = text[sign..].strip_prefix("0x").or_else(|| text[sign..].strip_prefix("0X")) {
        let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        let value = i64::from_str_radix(&hex[..end], 16).ok()? as f64;
        let value = if text.starts_with('-') { -value } else { value };
        return Some((value, hex[end..].trim()));
    }
    let mut end = text.len();
    // The longest beginning that is a number: an `e` may be that of a power or of a unit.
    while end > 0 {
        let is_digit =
            text.as_bytes()[end - 1].is_ascii_digit() || text.as_bytes()[end - 1] == b'.';
        if is_digit
            && text.is_char_boundary(end)
            && let Ok(value) = text[..end].parse::<f64>()
        {
            return Some((value, text[end..].trim()));
        }
        end -= 1;
    }
    None
}

/// How much a text with a unit is, in bytes or microseconds.
fn quantity(text: &str) -> Option<(Measures, f64)> {
    let (value, unit) = number(text)?;
    let (_, measures, factor) = UNITS.iter().find(|(name, ..)| *name == unit)?;
    Some((*measures, value * factor))
}

/// The statement that writes a value into `postgresql.auto.conf`.
///
/// # Errors
/// When no statement can write that value.
pub fn set(name: &str, value: &str) -> Result<String, String> {
    if value.len() > LONGEST || value.contains(['\n', '\r', '\0']) {
        return Err(format!("a value of {name} is one line of at most {LONGEST} bytes"));
    }
    let values = if is_quoted_list(name) {
        let read = elements(name, value).filter(|all| !all.iter().any(String::is_empty));
        let read = read.ok_or_else(|| {
            format!(
                "ALTER SYSTEM can't write `{value}` for {name}: it takes names, with commas between them, none of them empty"
            )
        })?;
        read.iter().map(|element| literal(element)).collect::<Vec<_>>().join(", ")
    } else {
        literal(value).into_owned()
    };
    Ok(format!("ALTER SYSTEM SET {} = {values}", quoted(name)))
}

/// The statement that takes a setting out of `postgresql.auto.conf`.
#[must_use]
pub fn reset(name: &str) -> String {
    format!("ALTER SYSTEM RESET {}", quoted(name))
}

/// A name that is valid, in the quotes of an identifier.
fn quoted(name: &str) -> String {
    let mut text = String::new();
    for part in name.split('.') {
        let dot = if text.is_empty() { "" } else { "." };
        // Writing into a text never fails.
        let _ = write!(text, "{dot}\"{part}\"");
    }
    text
}

/// A text as a literal, whatever `standard_conforming_strings` says.
fn literal(text: &str) -> Cow<'_, str> {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\")).into()
    } else {
        format!("'{doubled}'").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_literal_and_nothing_else() {
        for (name, value, wanted) in [
            ("work_mem", "64MB", r#"ALTER SYSTEM SET "work_mem" = '64MB'"#),
            (
                "auto_explain.log_level",
                "log",
                r#"ALTER SYSTEM SET "auto_explain"."log_level" = 'log'"#,
            ),
            ("x", "'; DROP TABLE a; --", r#"ALTER SYSTEM SET "x" = '''; DROP TABLE a; --'"#),
            ("x", r"a\'b", r#"ALTER SYSTEM SET "x" = E'a\\''b'"#),
            ("listen_addresses", "a, b", r#"ALTER SYSTEM SET "listen_addresses" = 'a, b'"#),
            (
                "search_path",
                "\"$user\", Public",
                r#"ALTER SYSTEM SET "search_path" = '$user', 'public'"#,
            ),
            (
                "shared_preload_libraries",
                "A,b",
                r#"ALTER SYSTEM SET "shared_preload_libraries" = 'A', 'b'"#,
            ),
        ] {
            assert_eq!(set(name, value).unwrap(), wanted);
        }
        assert_eq!(reset("a.b"), r#"ALTER SYSTEM RESET "a"."b""#);
        for (name, value) in [
            ("x", "a\nb"),
            ("x", "a\0b"),
            ("search_path", ""),
            ("search_path", "\"\""),
            ("search_path", "a,"),
            ("search_path", "\"a"),
            ("search_path", "\"a\" b"),
        ] {
            set(name, value).unwrap_err();
        }
    }

    #[test]
    fn only_names_of_settings_that_hold_no_password_are_taken() {
        for name in ["work_mem", "auto_explain.log_min_duration", "a1"] {
            assert_eq!(forbidden(name), None);
        }
        for name in ["", ".", "a.", "Work_mem", "a b", "a;b", "a\"b", "a-b", "primary_conninfo"] {
            assert!(forbidden(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_list_is_its_elements_and_a_quantity_how_much_it_is() {
        for (name, one, other, wanted) in [
            ("work_mem", "64MB", "65536kB", true),
            ("work_mem", "1.5GB", "1536 MB", true),
            ("work_mem", "64MB", "64GB", false),
            ("work_mem", "65536", "64MB", false),
            ("statement_timeout", "1min", "60s", true),
            ("statement_timeout", "1s", "1MB", false),
            ("search_path", "a,B", "\"a\", b", true),
            ("search_path", "a, b", "b, a", false),
            ("shared_preload_libraries", "A", "a", false),
            ("x", "on", "true", false),
        ] {
            assert_eq!(same(name, one, other), wanted, "{one} {other}");
        }
        let all = ["a".to_owned(), "$user".to_owned(), "B\"".to_owned()];
        assert_eq!(list("search_path", &all), "a, \"$user\", \"B\"\"\"");
        assert_eq!(elements("search_path", &list("search_path", &all)).unwrap(), all);
        assert_eq!(list("log_destination", &all[..2]), "a, $user");
    }

    #[test]
    fn the_number_ends_where_its_unit_begins() {
        for (text, wanted) in [
            ("64MB", Some((64.0, "MB"))),
            (" 1.5 GB ", Some((1.5, "GB"))),
            ("-1", Some((-1.0, ""))),
            ("1e3", Some((1000.0, ""))),
            ("2eB", Some((2.0, "eB"))),
            ("0x10kB", Some((16.0, "kB"))),
            ("MB", None),
            ("", None),
            ("inf", None),
            ("é1", None),
        ] {
            assert_eq!(number(text), wanted, "{text}");
        }
    }
}
