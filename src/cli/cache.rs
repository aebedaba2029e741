//! `trueup cache ls`, `prune` and `clear`; `explain` has a file of its own.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::args::{CacheArgs, CacheCommand, PruneArgs};
use super::exit::{ExitCode, Failure};
use super::explain::explain;
use super::terminal;
use crate::cache::{CacheDirectory, CacheError, Listed, Listing, Pruned, Pruning};
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::engine::GATE;
use crate::phase::standard;
use crate::unit::Bytes;

pub(super) fn cache(options: &CacheArgs) -> Result<ExitCode, Failure> {
    let folder = &options.state.cache_dir;
    let clock = Clock::system();
    let cache = CacheDirectory::new(folder.clone(), clock.clone());
    let mut out = std::io::stdout().lock();
    match &options.command {
        CacheCommand::Ls { json } => {
            let listing = cache.list().map_err(|error| failed(&error))?;
            if *json {
                serde_json::to_writer_pretty(&mut out, &as_json(&listing, &clock))?;
                writeln!(out)?;
            } else {
                list(&mut out, &listing, folder, &clock)?;
            }
        }
        CacheCommand::Explain(explained) => return explain(explained, &options.state),
        CacheCommand::Prune(pruning) => prune(&mut out, &cache, pruning)?,
        CacheCommand::Clear { kind } => {
            if let Some(kind) = kind {
                known_kind(kind, &cache)?;
            }
            let removed = cache.clear(kind.as_deref()).map_err(|error| failed(&error))?;
            writeln!(out, "forgot {removed} {}", decisions(removed))?;
        }
    }
    Ok(ExitCode::Success)
}

/// Whether there is such a kind of phase, or decisions of one that there was.
fn known_kind(kind: &str, cache: &CacheDirectory) -> Result<(), Failure> {
    let registry = standard();
    let mut known: Vec<&str> = registry.iter().map(|kind| kind.name()).chain([GATE]).collect();
    let listing = cache.list().map_err(|error| failed(&error))?;
    known.extend(listing.entries.iter().map(|listed| listed.kind.as_str()));
    if known.contains(&kind) {
        return Ok(());
    }
    known.sort_unstable();
    known.dedup();
    let told = format!("there is no kind of phase `{kind}`");
    let found = Diagnostic::error("cache::kind", told).maybe_help(did_you_mean(kind, known));
    Err(Failure::from(found).exit(ExitCode::Invalid))
}

fn failed(error: &CacheError) -> Failure {
    Failure::because("cache::directory", error)
}

fn decisions(count: usize) -> &'static str {
    if count == 1 { "decision" } else { "decisions" }
}

/// How old something is, to the second.
pub(super) fn age(clock: &Clock, since: jiff::Timestamp) -> Duration {
    let age = Duration::try_from(clock.now().duration_since(since)).unwrap_or_default();
    Duration::from_secs(age.as_secs())
}

fn list(
    out: &mut impl Write,
    listing: &Listing,
    folder: &Path,
    clock: &Clock,
) -> std::io::Result<()> {
    for Listed { kind, entry, bytes, expired } in &listing.entries {
        let until = if *expired { "expired" } else { "until" };
        let key = &entry.key.to_string()[..12];
        let expires = entry.expires_at.strftime("%Y-%m-%d %H:%MZ");
        let old = humantime::format_duration(age(clock, entry.created_at)).to_string();
        terminal::tell(out, 0, &format!("{key}  {kind}, phase {}, {old} old", entry.phase))?;
        let (bytes, scope, run) = (Bytes(*bytes), entry.scope_word(), &entry.run);
        let rest = format!("{until} {expires}, {bytes}, scope {scope}, run {run}");
        terminal::tell(out, 4, &rest)?;
    }
    let count = listing.entries.len();
    if count == 0 {
        writeln!(out, "nothing is remembered in {}", folder.display())?;
    } else {
        let bytes = listing.entries.iter().map(|listed| listed.bytes).sum();
        writeln!(out, "{count} {}, {}", decisions(count), Bytes(bytes))?;
    }
    for (path, lines) in &listing.distrusted {
        let which = if *lines == 1 { "1 line is" } else { &format!("{lines} lines are") };
        let path = path.display();
        let told = format!(
            "{path}: {which} not trusted and not used; `trueup cache prune` sets such lines aside"
        );
        terminal::tell(out, 0, &told)?;
    }
    Ok(())
}

fn as_json(listing: &Listing, clock: &Clock) -> serde_json::Value {
    let entries: Vec<_> = listing
        .entries
        .iter()
        .map(|Listed { kind, entry, bytes, expired }| {
            json!({
                "kind": kind,
                "phase": entry.phase,
                "key": entry.key,
                "run": entry.run,
                "scope": entry.scope_word(),
                "host": entry.host,
                "created_at": entry.created_at,
                "expires_at": entry.expires_at,
                "expired": expired,
                "age_seconds": age(clock, entry.created_at).as_secs(),
                "bytes": bytes,
                "decision": entry.decision,
            })
        })
        .collect();
    let distrusted: Vec<_> = listing
        .distrusted
        .iter()
        .map(|(path, lines)| json!({ "log": path, "lines": lines }))
        .collect();
    json!({ "entries": entries, "distrusted": distrusted })
}

fn prune(out: &mut impl Write, cache: &CacheDirectory, asked: &PruneArgs) -> Result<(), Failure> {
    let pruning = Pruning {
        older_than: asked.older_than.map(|span| span.0),
        max_size: asked.max_size.map(|size| size.0),
        expired: asked.expired || (asked.older_than.is_none() && asked.max_size.is_none()),
    };
    let pruned = cache.prune(pruning).map_err(|error| failed(&error))?;
    let mut all = 0;
    for (kind, one) in &pruned {
        let Pruned { expired, old, oversize, superseded, set_aside, .. } = *one;
        all += expired + old + oversize;
        let counts = [
            (expired, "expired"),
            (old, "older than asked for"),
            (oversize, "for the size"),
            (superseded, "superseded"),
            (set_aside, "not trusted and set aside"),
        ];
        let told: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, why)| format!("{count} {why}"))
            .collect();
        let told = if told.is_empty() { "nothing".to_owned() } else { told.join(", ") };
        let (before, now) = (Bytes(one.bytes_before), Bytes(one.bytes_now));
        let kept = one.kept;
        terminal::tell(out, 0, &format!("{kind}: removed {told}; kept {kept}, {before} -> {now}"))?;
    }
    writeln!(out, "forgot {all} {}", decisions(all))?;
    Ok(())
}
