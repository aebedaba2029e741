//! Files that a command writes where the user says: never over what is trueup's own, nor over the pipeline.

use std::path::{Path, PathBuf};

use super::args::StateArgs;
use super::exit::{ExitCode, Failure};
use crate::diagnostic::Diagnostic;
use crate::pipeline::Pipeline;

/// What trueup keeps in its results folder.
const OWN: [&str; 7] =
    ["runs", "journal", "order", "lock", "latest.json", "durations.json", "trueup.db"];

/// Refuses a file that is one of the pipeline, or belongs to what trueup keeps.
pub(super) fn refuse_own(
    path: &Path,
    pipeline: &Pipeline,
    state: &StateArgs,
) -> Result<(), Failure> {
    let place = resolved(path);
    let mut sources = pipeline.sources.all().iter().map(|source| Path::new(&source.name));
    let what = if sources.any(|source| resolved(source) == place) {
        "a file of the pipeline"
    } else if is_kept(&place, state) {
        "one of the files that trueup keeps"
    } else {
        return Ok(());
    };
    let told = format!("{} is {what}, and would be replaced", path.display());
    let found = Diagnostic::error("cli::output", told).help("name another file");
    Err(Failure::from(found).exit(ExitCode::Invalid))
}

fn is_kept(place: &Path, state: &StateArgs) -> bool {
    if place.starts_with(resolved(&state.cache_dir)) {
        return true;
    }
    let Ok(inside) = place.strip_prefix(resolved(&state.results)) else { return false };
    let first = inside.iter().next().unwrap_or_default().to_string_lossy();
    // An embedded database has files beside it.
    OWN.contains(&&*first) || first.starts_with("trueup.db-")
}

/// Where a path leads, links followed as far as there is anything.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(place) = path.canonicalize() {
        return place;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(name) = path.file_name() else { return path.to_owned() };
    match folder {
        Some(folder) => resolved(folder).join(name),
        None => std::env::current_dir().unwrap_or_default().join(name),
    }
}
