//! `trueup host`.

use std::io::Write as _;

use serde_json::Value;

use super::args::HostArgs;
use super::exit::{ExitCode, Failure};
use super::wire;
use crate::host::Facts;
use crate::shown;

pub(super) fn host(options: &HostArgs) -> Result<ExitCode, Failure> {
    let facts = Facts::read(&wire::sysroot(&options.sysroot)?);
    let mut out = std::io::stdout().lock();
    let value = serde_json::to_value(&facts)?;
    if options.json {
        serde_json::to_writer_pretty(&mut out, &value)?;
        writeln!(out)?;
        return Ok(ExitCode::Success);
    }
    let mut lines = Vec::new();
    walk("", &value, &mut lines);
    let width = lines.iter().map(|(name, _, _)| name.len()).max().unwrap_or(0);
    for (name, shown, source) in lines {
        let from = if source.is_empty() { String::new() } else { format!("   ({source})") };
        writeln!(out, "{name:width$}  {}", shown::in_line(&format!("{shown}{from}")))?;
    }
    Ok(ExitCode::Success)
}

/// Every figure with its source, as lines of name, value and source.
fn walk(name: &str, value: &Value, lines: &mut Vec<(String, String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            match (fields.get("value"), fields.get("source").and_then(Value::as_str)) {
                (Some(inner), Some(source)) if fields.len() == 2 => {
                    lines.push((name.to_owned(), plain(inner), source.to_owned()));
                }
                _ => {
                    for (key, field) in fields {
                        let path =
                            if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                        walk(&path, field, lines);
                    }
                }
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{name}[{index}]"), item, lines);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        plain_value => lines.push((name.to_owned(), plain(plain_value), String::new())),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| format!("{key} {}", plain(field)))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}
