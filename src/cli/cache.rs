//! `trueup cache`.

use std::io::Write as _;

use super::args::{CacheArgs, CacheCommand};
use super::exit::{ExitCode, Failure};
use crate::cache::CacheDirectory;
use crate::clock::Clock;

pub(super) fn cache(options: &CacheArgs) -> Result<ExitCode, Failure> {
    let folder = options.state.cache_dir.clone();
    let cache = CacheDirectory::new(folder.clone(), Clock::system());
    let failed = |error: crate::cache::CacheError| Failure::because("cache::directory", &error);
    let mut out = std::io::stdout().lock();
    match &options.command {
        CacheCommand::Ls => {
            let entries = cache.list().map_err(failed)?;
            if entries.is_empty() {
                writeln!(out, "nothing is remembered in {}", folder.display())?;
            }
            for listed in entries {
                let entry = &listed.entry;
                let until = if listed.expired { "expired" } else { "until" };
                let (kind, key) = (&entry.kind, &entry.key.to_string()[..12]);
                let expires = entry.expires_at.strftime("%Y-%m-%d %H:%M:%SZ");
                writeln!(
                    out,
                    "{key}  {kind:<18} {:<18} {until} {expires}  of run {}",
                    entry.phase, entry.run
                )?;
            }
        }
        CacheCommand::Clear { kind } => {
            let removed = cache.clear(kind.as_deref()).map_err(failed)?;
            writeln!(out, "forgot {removed} decisions")?;
        }
    }
    Ok(ExitCode::Success)
}
