//! The composition root: facts, pipeline and kinds become a plan; a plan and its surroundings become a run.

use std::path::Path;

use serde_json::{Map, Value};

use super::args::PipelineArgs;
use super::exit::{ExitCode, Failure};
use crate::diagnostic::Diagnostic;
use crate::host::{Facts, Sysroot};
use crate::phase::standard;
use crate::pipeline::{draft, parse_scalar};
use crate::plan::{Binding, Plan, Selection, bind_draft};

/// The host below a prefix.
pub(super) fn sysroot(prefix: &Path) -> Result<Sysroot, Failure> {
    if prefix == Path::new("/") {
        return Ok(Sysroot::live());
    }
    if prefix.is_dir() {
        return Ok(Sysroot::at(prefix.to_owned()));
    }
    let told = format!("there is no folder {}", prefix.display());
    let found = Diagnostic::error("cli::sysroot", told)
        .help("--sysroot takes a folder that holds proc and sys");
    Err(Failure::from(found).exit(ExitCode::Invalid))
}

/// Reads and binds the pipeline that was asked for.
pub(super) fn plan(options: &PipelineArgs) -> Result<(Plan, Facts), Failure> {
    let draft = draft(&options.pipeline);
    let facts = Facts::read(&sysroot(&options.sysroot)?);
    let registry = standard();
    let plan = bind_draft(
        draft,
        Binding {
            registry: &registry,
            host: facts.expression_values(),
            env: environment(),
            set: options
                .set
                .iter()
                .map(|(name, value)| (name.clone(), parse_scalar(value)))
                .collect(),
            selection: Selection { only: options.only.clone(), skip: options.skip.clone() },
        },
    )?;
    Ok((plan, facts))
}

/// The environment variables that are text.
fn environment() -> Map<String, Value> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            Some((name.into_string().ok()?, Value::String(value.into_string().ok()?)))
        })
        .collect()
}

/// The runtime of a command.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::because("cli::runtime", &error))
}
