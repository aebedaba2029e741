//! `trueup cache explain`: hit or miss now, what has changed since an earlier decision, and what has drifted.
//!
//! The phase is foreseen as `trueup plan` does it, with a cache that keeps the question it is asked: so what is
//! explained is what a run would look up, and nothing is worked out a second time.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::args::{ExplainArgs, PipelineArgs, StateArgs};
use super::cache::age;
use super::exit::{ExitCode, Failure};
use super::run::looking_context;
use super::{terminal, wire};
use crate::cache::{Asked, CacheDirectory, Difference, Entry, Key, Lookup, Manifest, MissReason};
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::engine::{Foreseen, Forethought, Memory, preview};
use crate::event::{DecisionSource, Event, RunId, read_log};
use crate::pipeline::read;

/// What is known of a phase and the cache.
#[derive(Debug, Serialize)]
struct Explanation {
    phase: String,
    kind: String,
    answer: Answer,
    /// Why it is no hit.
    why: Option<String>,
    /// The key of the decision that is wanted.
    key: Option<Key>,
    /// The decision that it was compared with.
    against: Option<Against>,
    /// What differs from that.
    changed: Vec<Difference>,
    /// Settings that are not as decided.
    drift: Vec<Drift>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Hit,
    Miss,
    /// The cache is not asked.
    NotAsked,
}

#[derive(Debug, Serialize)]
struct Against {
    key: Key,
    phase: String,
    run: String,
    host: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    age_seconds: u64,
}

#[derive(Debug, Serialize)]
struct Drift {
    setting: String,
    is: String,
    decided: String,
}

pub(super) fn explain(options: &ExplainArgs, state: &StateArgs) -> Result<ExitCode, Failure> {
    let only = vec![known_phase(options)?];
    let pipeline = PipelineArgs { only, from: Vec::new(), ..options.pipeline.clone() };
    let (plan, facts) = wire::plan(&pipeline)?;
    let plan = Arc::new(plan);
    let clock = Clock::system();
    let cache = CacheDirectory::new(state.cache_dir.clone(), clock.clone()).read_only().listening();
    let context = looking_context(&pipeline, state, facts, wire::secrets(&plan)?)?;
    let memory = Memory::Use(cache.clone());
    let previews = wire::runtime()?.block_on(preview(&plan, &memory, &context));
    let asked = cache.asked().into_iter().find(|asked| asked.phase == options.phase);
    let foreseen = previews.into_iter().find(|one| one.phase.as_str() == options.phase);
    let (kind, what) = foreseen.map(|one| (one.uses, one.what)).ok_or_else(|| no_phase(options))?;
    let earlier = match &options.against {
        Some(run) => {
            Some(of_run(&state.results, run, &options.phase, |key| cache.named(&kind, key))?)
        }
        None => asked.as_ref().and_then(|asked| match &asked.answer {
            Lookup::Hit { entry, .. } => cache.named(&kind, &entry.key),
            Lookup::Miss(_) => cache.latest(&kind, &options.phase, asked.manifest.host()),
        }),
    };
    let explanation = explanation((&options.phase, kind), asked.as_ref(), what, (earlier, &clock));
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &explanation)?;
        writeln!(out)?;
    } else {
        tell(&mut out, &explanation)?;
    }
    Ok(ExitCode::Success)
}

/// The name of the phase, if the pipeline has it.
fn known_phase(options: &ExplainArgs) -> Result<String, Failure> {
    let pipeline = read(&options.pipeline.pipeline)?;
    if pipeline.position(&options.phase).is_some() {
        return Ok(options.phase.clone());
    }
    let names = pipeline.phases.iter().map(|phase| phase.name.value.as_str());
    let help = did_you_mean(&options.phase, names);
    Err(Failure::from(no_phase(options).maybe_help(help)).exit(ExitCode::Invalid))
}

fn no_phase(options: &ExplainArgs) -> Diagnostic {
    let told = format!("{} has no phase `{}`", options.pipeline.pipeline.display(), options.phase);
    Diagnostic::error("plan::unknown_phase", told)
}

/// The decision that a phase used or made in a run.
fn of_run(
    results: &Path,
    run: &str,
    phase: &str,
    named: impl FnOnce(&Key) -> Option<(Entry, Manifest)>,
) -> Result<(Entry, Manifest), Failure> {
    let id: RunId = run
        .parse()
        .map_err(|error| Failure::because("report::run", &error).exit(ExitCode::Invalid))?;
    let log = results.join("runs").join(id.as_str()).join("events.jsonl");
    let records = read_log(&log).map_err(|error| {
        Failure::because("report::run", &error).help("`trueup report list` shows the runs")
    })?;
    let source = records.into_iter().rev().find_map(|record| match record.event {
        Event::Decided { phase: decided, source, .. } if decided.as_str() == phase => Some(source),
        _ => None,
    });
    let none = |told: String, help: &str| {
        Failure::from(Diagnostic::error("cache::against", told).help(help))
    };
    let key = match source {
        Some(DecisionSource::Cache { key, .. } | DecisionSource::Run { key: Some(key), .. }) => key,
        Some(DecisionSource::Run { key: None, .. }) => {
            let told = format!("the decision of `{phase}` in run {run} was not remembered");
            return Err(none(told, "compare with a run that had a cache to write to"));
        }
        None => {
            let told = format!("`{phase}` decided nothing in run {run}");
            return Err(none(told, "compare with a run in which it did; `trueup report list`"));
        }
    };
    key.parse().ok().and_then(|key| named(&key)).ok_or_else(|| {
        let told = format!("the decision of `{phase}` in run {run}, {key}, is not in the cache");
        none(told, "it was pruned, or the run had another --cache-dir; `trueup cache ls`")
    })
}

fn explanation(
    (phase, kind): (&str, String),
    asked: Option<&Asked>,
    what: Foreseen,
    (earlier, clock): (Option<(Entry, Manifest)>, &Clock),
) -> Explanation {
    let (foreseen, drifted) = match what {
        Foreseen::Skipped { why } => (Some(format!("skipped: {why}")), Vec::new()),
        Foreseen::NotApplicable { why } => (Some(format!("not applicable: {why}")), Vec::new()),
        Foreseen::Blocked { why } => (Some(format!("would be blocked: {why}")), Vec::new()),
        Foreseen::Fails { why } => (Some(format!("would fail: {why}")), Vec::new()),
        Foreseen::Runs { decision, changes } => {
            let why = match decision {
                Forethought::Known { .. } | Forethought::Later { .. } => {
                    Some("it decides anew in every run".to_owned())
                }
                Forethought::Cached { .. } => None,
                Forethought::ToBeMeasured { why, .. } => Some(why),
            };
            (why, changes)
        }
    };
    let (answer, why) = match asked.map(|asked| &asked.answer) {
        None => (Answer::NotAsked, foreseen),
        Some(Lookup::Hit { .. }) => (Answer::Hit, foreseen),
        // Told whole below, part by part.
        Some(Lookup::Miss(MissReason::Changed(_))) => {
            (Answer::Miss, Some("what it depends on has changed".to_owned()))
        }
        Some(Lookup::Miss(reason)) => (Answer::Miss, Some(reason.to_string())),
    };
    let changed = match (&asked, &earlier) {
        (Some(asked), Some((_, manifest))) => asked.manifest.differences(manifest),
        _ => Vec::new(),
    };
    let against = earlier.map(|(entry, _)| Against {
        age_seconds: age(clock, entry.created_at).as_secs(),
        key: entry.key,
        phase: entry.phase,
        run: entry.run,
        host: entry.host,
        created_at: entry.created_at,
        expires_at: entry.expires_at,
    });
    let drift = drifted.into_iter().map(|change| Drift {
        setting: change.target.path().to_owned(),
        is: change.from,
        decided: change.to,
    });
    Explanation {
        phase: phase.to_owned(),
        kind,
        answer,
        why,
        key: asked.map(|asked| asked.manifest.key()),
        against,
        changed,
        drift: drift.collect(),
    }
}

fn tell(out: &mut impl Write, told: &Explanation) -> std::io::Result<()> {
    let answer = match told.answer {
        Answer::Hit => "hit",
        Answer::Miss => "miss",
        Answer::NotAsked => "the cache is not asked",
    };
    let why = told.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    terminal::tell(out, 0, &format!("{} ({}): {answer}{why}", told.phase, told.kind))?;
    if let Some(key) = &told.key {
        writeln!(out, "  key {key}")?;
    }
    if let Some(against) = &told.against {
        let age = humantime::format_duration(std::time::Duration::from_secs(against.age_seconds));
        let (run, until) = (&against.run, against.expires_at.strftime("%Y-%m-%d %H:%M:%SZ"));
        writeln!(out, "  compared with")?;
        writeln!(out, "      {}", against.key)?;
        let of = format!("of run {run}, {age} old, which holds until {until}");
        terminal::tell(out, 6, &of)?;
        if told.changed.is_empty() && told.key.is_some() {
            writeln!(out, "  nothing that it depends on differs")?;
        }
    }
    for Difference { part, from, to } in &told.changed {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        terminal::tell(out, 2, &format!("{part}: {} -> {}", text(from), text(to)))?;
    }
    for Drift { setting, is, decided } in &told.drift {
        let is = format!("{setting}: is {is}, decided {decided}; the next run applies it again");
        terminal::tell(out, 2, &is)?;
    }
    Ok(())
}
