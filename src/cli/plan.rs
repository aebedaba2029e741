//! `trueup plan`, and the plan that `trueup run --plan` holds a run to.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::args::{PipelineArgs, PlanArgs, RunArgs, StateArgs};
use super::exit::{ExitCode, Failure};
use super::run::{Bound, looking_context};
use super::trust::Doubted;
use super::{output, terminal, trust, wire};
use crate::cache::CacheDirectory;
use crate::change::Change;
use crate::clock::Clock;
use crate::database::redact;
use crate::diagnostic::Diagnostic;
use crate::engine::{
    Difference, Foreseen, ForeseenVerdict, Forethought, Memory, PlanFile, PlanOptions, Preview,
    cut_off, has_password, preview,
};
use crate::event::OverallStatus;
use crate::report::wrap;
use crate::shown;

/// Most differences of a stale plan that are told one by one.
const MOST_TOLD: usize = 20;

/// Columns for names of phases; what is longer pushes aside what stands beside it.
const NAMES: usize = 32;

pub(super) fn plan(options: &PlanArgs) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    if options.output.is_some() {
        refuse_passwords(&options.pipeline.set)?;
    }
    let cache = CacheDirectory::new(options.state.cache_dir.clone(), Clock::system());
    let memory = Memory::Use(cache.read_only());
    let Made { file, bound } = make(&options.pipeline, &options.state, &memory)?;
    trust::warn(&bound.plan);
    if let Some(path) = &options.output {
        output::refuse_own(path, &bound.plan.pipeline, &options.state)?;
        file.write(path).map_err(|error| Failure::because("plan::file", &error))?;
    }
    if options.json {
        serde_json::to_writer_pretty(&mut out, &file)?;
        writeln!(out)?;
    } else {
        out.write_all(shown(&file, options.output.as_deref(), terminal::width()).as_bytes())?;
    }
    Ok(code(&file, options.detailed_exitcode))
}

/// The code of the run that was foreseen. Where it is asked for, changes to make are told rather than that something
/// optional would end badly, and never rather than that the run would fail.
fn code(file: &PlanFile, detailed: bool) -> ExitCode {
    match file.status() {
        OverallStatus::Failed => ExitCode::Failed,
        _ if detailed && file.changes > 0 => ExitCode::Drift,
        status => ExitCode::of(status, None),
    }
}

/// `trueup run --dry-run`.
pub(super) fn dry_run(options: &RunArgs, memory: &Memory) -> Result<ExitCode, Failure> {
    let Made { file, bound } = make(&options.pipeline, &options.state, memory)?;
    trust::warn(&bound.plan);
    let mut out = std::io::stdout().lock();
    out.write_all(shown(&file, None, terminal::width()).as_bytes())?;
    Ok(code(&file, false))
}

/// The plan that a file holds a run to, made anew; refused when anything is not as it was planned. To be asked under the
/// lock of the run, or something might change between the comparison and the run.
pub(super) fn held(path: &Path, options: &RunArgs, sysroot: &Path) -> Result<Bound, Failure> {
    let planned = PlanFile::read(path)
        .map_err(|error| Failure::because("plan::file", &error).exit(ExitCode::Invalid))?;
    let PlanOptions { set, only, from, skip, .. } = planned.options.clone();
    let pipeline = planned.pipeline.path.clone();
    let sysroot = sysroot.to_owned();
    let asked = PipelineArgs { pipeline: Some(pipeline), only, from, skip, set, sysroot };
    let state = &options.state;
    let cache = CacheDirectory::new(state.cache_dir.clone(), Clock::system());
    let Made { file, mut bound } = make(&asked, state, &Memory::Use(cache.read_only()))?;
    bound.doubts =
        trust::weigh(&bound.plan, Some(path), (state, Doubted::of(options.trust.trust_pipeline)))?;
    let found = planned.differences(&file);
    if found.is_empty() { Ok(bound) } else { Err(stale(path, &found, &file.cut_off)) }
}

fn stale(path: &Path, found: &[Difference], cut_off: &[String]) -> Failure {
    let things = if found.len() == 1 { "thing is" } else { "things are" };
    let told = format!(
        "the plan {} is stale: {} {things} not as planned; nothing was done",
        path.display(),
        found.len()
    );
    let first = if cut_off.is_empty() { "" } else { "first `trueup rollback`; then " };
    let help = format!(
        "{first}make a new one with `trueup plan -o FILE`, and look at it before you run it"
    );
    let mut told = Diagnostic::error("plan::stale", told).help(help);
    told.causes = found.iter().take(MOST_TOLD).map(ToString::to_string).collect();
    if found.len() > MOST_TOLD {
        told.causes.push(format!("and {} more", found.len() - MOST_TOLD));
    }
    Failure::from(told).exit(ExitCode::Drift)
}

/// A plan keeps what is set on the command line as it was typed, so a password must come another way.
fn refuse_passwords(set: &[(String, String)]) -> Result<(), Failure> {
    let Some((name, _)) = set.iter().find(|(_, value)| has_password(value)) else { return Ok(()) };
    let told = format!("--set {name} has a password in it, and would stand in the plan's file");
    let found = Diagnostic::error("plan::password", told)
        .help("give it by the environment: `{{ env.NAME }}` in the pipeline");
    Err(Failure::from(found).exit(ExitCode::Invalid))
}

struct Made {
    bound: Bound,
    file: PlanFile,
}

fn make(pipeline: &PipelineArgs, state: &StateArgs, memory: &Memory) -> Result<Made, Failure> {
    let (plan, facts) = wire::plan(pipeline)?;
    let (plan, clock) = (wire::expecting(plan, &state.results), Clock::system());
    let now = clock.now();
    let secrets = wire::secrets(&plan)?;
    let context = looking_context(pipeline, state, facts.clone(), secrets.clone())?;
    let previews = wire::runtime()?.block_on(preview(&plan, memory, &context));
    let set = pipeline.set.iter().map(|(name, value)| (name.clone(), redact(value)));
    let options = PlanOptions {
        set: set.collect(),
        only: pipeline.only.clone(),
        from: pipeline.from.clone(),
        skip: pipeline.skip.clone(),
        sysroot: pipeline.sysroot.clone(),
    };
    let mut file = PlanFile::new(&plan, options, &facts, previews, now);
    for value in file.variables.values_mut() {
        secrets.hide_in(value);
    }
    file.cut_off = cut_off(&state.results.join("journal"));
    Ok(Made { bound: Bound { plan, facts, secrets, doubts: Vec::new() }, file })
}

/// A plan as text of at most `width` columns where words allow it.
fn shown(file: &PlanFile, written: Option<&Path>, width: usize) -> String {
    let count = file.phases.len();
    let noun = if count == 1 { "phase" } else { "phases" };
    let head = format!("{} ({}): {count} {noun}", file.pipeline.name, file.pipeline.path.display());
    let mut text = format!("{}\n\n", shown::in_line(&head));
    let names = file.phases.iter().map(|one| one.phase.as_str().len()).max().unwrap_or(0);
    let names = names.min(NAMES);
    for one in &file.phases {
        let _ = writeln!(text, "  {:names$}  {}", one.phase, headline(&one.what));
        for told in told(one) {
            for line in wrap(&told, width.saturating_sub(6)) {
                let _ = writeln!(text, "      {line}");
            }
        }
        for change in one.what.changes() {
            show_change(&mut text, change, width);
        }
        for told in told_of_gate(one) {
            for line in wrap(&told, width.saturating_sub(6)) {
                let _ = writeln!(text, "      {line}");
            }
        }
    }
    text.push('\n');
    for run in &file.cut_off {
        let told = format!(
            "run {run} has not ended: unless it is still at work, what it changed is taken back first, and \
             what is said here may then be otherwise; `trueup rollback` does it now"
        );
        for line in wrap(&told, width) {
            let _ = writeln!(text, "{line}");
        }
    }
    for line in wrap(&ending(file), width) {
        let _ = writeln!(text, "{line}");
    }
    if let Some(path) = written {
        let path = path.display();
        let told = format!("written to {path}; to do exactly this: trueup run --plan {path}");
        let _ = writeln!(text, "{}", shown::in_line(&told));
    }
    text
}

fn headline(what: &Foreseen) -> String {
    match what.decision() {
        Some(Forethought::Cached { age_seconds, .. }) => {
            format!("{}, {} old", what.word(), age(*age_seconds))
        }
        _ => what.word().to_owned(),
    }
}

/// To the second.
fn age(seconds: f64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(seconds as u64))
}

/// The beginning of a key: enough to find it.
fn short(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}

/// What it takes to keep the changes of a phase, or what was found about that.
fn told_of_gate(one: &Preview) -> Vec<String> {
    let mut lines = Vec::new();
    match one.what.verdict() {
        Some(verdict @ ForeseenVerdict::Cached { told, key, age_seconds, run, .. }) => {
            let stays = |change: &Change| {
                let Change { target, from, to, .. } = change;
                let (name, from, to) = (target.name(), target.shown(from), target.shown(to));
                format!("{name} stays {from}: {to} was not shown to help")
            };
            lines.extend(one.what.not_kept().iter().map(stays));
            lines.push(format!("{}, measured {} ago: {told}", verdict.word(), age(*age_seconds)));
            lines.push(format!("verdict {}, measured by run {run}", short(key)));
        }
        Some(ForeseenVerdict::ToBeMeasured { why, .. }) => {
            lines.extend(one.gate.iter().map(|gate| format!("kept only if {gate}")));
            lines.push(format!("verdict to be measured: {why}"));
        }
        None => lines.extend(one.gate.iter().map(|gate| format!("kept only if {gate}"))),
    }
    lines
}

/// What is said of a phase beside its headline.
fn told(one: &Preview) -> Vec<String> {
    match &one.what {
        Foreseen::Skipped { why }
        | Foreseen::NotApplicable { why }
        | Foreseen::Blocked { why }
        | Foreseen::Fails { why } => vec![why.clone()],
        Foreseen::Runs { decision, .. } => match decision {
            Forethought::Known { told, .. } => vec![told.clone()],
            Forethought::Cached { told, key, run, .. } => {
                vec![told.clone(), format!("key {}, measured by run {run}", short(key))]
            }
            Forethought::ToBeMeasured { why, .. } | Forethought::Later { why } => vec![why.clone()],
        },
    }
    .into_iter()
    .filter(|told| !told.is_empty())
    .collect()
}

/// A change on one line, or its values on the next where that is too narrow.
fn show_change(text: &mut String, change: &Change, width: usize) {
    let line = change.describe();
    let line = shown::in_line(&line);
    if line.chars().count() + 6 <= width {
        let _ = writeln!(text, "      {line}");
    } else {
        let Change { target, from, to, .. } = change;
        let values = format!("{} -> {}", target.shown(from), target.shown(to));
        let (name, values) = (target.name(), shown::in_line(&values));
        let _ = writeln!(text, "      {}:\n        {values}", shown::in_line(&name));
    }
}

fn ending(file: &PlanFile) -> String {
    let counted = |count: usize, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    };
    let changes = counted(
        file.changes,
        "change of the host known beforehand",
        "changes of the host known beforehand",
    );
    let mut told = vec![changes];
    let mut tell = |count: usize, one: &str, many: &str| {
        if count > 0 {
            told.push(counted(count, one, many));
        }
    };
    tell(file.to_be_measured, "decision to be measured", "decisions to be measured");
    tell(file.gates_to_be_measured, "gate to be measured", "gates to be measured");
    tell(file.end_badly, "phase would end badly", "phases would end badly");
    format!("{}; nothing was touched", told.join(", "))
}
