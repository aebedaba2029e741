//! `trueup cache explain`: hit or miss now, what has changed since an earlier decision, and what has drifted.
//!
//! The phase is foreseen as `trueup plan` does it, with a cache that keeps the question it is asked: so what is
//! explained is what a run would look up, and nothing is worked out a second time. The verdict of a gate is a decision
//! like any other.

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
use crate::change::Change;
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::engine::{Foreseen, ForeseenVerdict, Forethought, GATE, Memory, preview};
use crate::event::{DecisionSource, Event, RunId, read_log};
use crate::pipeline::read;

/// What is known of a phase and the cache.
#[derive(Debug, Serialize)]
struct Explanation {
    phase: String,
    kind: String,
    #[serde(flatten)]
    decision: Explained,
    /// The verdict on its changes, for a phase that has a gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<Explained>,
    /// Settings that are not as decided.
    drift: Vec<Drift>,
}

/// What is known of a decision, or of a verdict.
#[derive(Debug, Serialize)]
struct Explained {
    answer: Answer,
    /// Why it is no hit.
    why: Option<String>,
    /// What a remembered verdict says.
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<String>,
    /// The key of what is wanted.
    key: Option<Key>,
    /// What it was compared with.
    against: Option<Against>,
    /// What differs from that.
    changed: Vec<Difference>,
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
    let foreseen = previews.into_iter().find(|one| one.phase.as_str() == options.phase);
    let foreseen = foreseen.ok_or_else(|| no_phase(options))?;
    let all = cache.asked();
    let asked =
        |kind: &str| all.iter().find(|asked| asked.phase == options.phase && asked.kind == kind);
    let earlier = Earlier { cache: &cache, results: &state.results, options };
    let has_gate = foreseen.gate.is_some();
    let (of_phase, of_gate) = (asked(&foreseen.uses), asked(GATE));
    let decision = if of_phase.is_none() && of_gate.is_some() {
        None
    } else {
        earlier.of(&foreseen.uses, of_phase, false)?
    };
    let verdict = match of_gate {
        // Of a run that is named, either will do.
        Some(_) => earlier.of(GATE, of_gate, decision.is_some())?,
        None => None,
    };
    let clock = &clock;
    let gate = has_gate.then(|| {
        let (why, told) = of_verdict(&foreseen.what);
        Explained { told, ..explained(of_gate, why, (verdict, clock)) }
    });
    let explanation = Explanation {
        decision: explained(of_phase, of_decision(&foreseen.what), (decision, clock)),
        gate,
        drift: drift(&foreseen.what),
        phase: options.phase.clone(),
        kind: foreseen.uses,
    };
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
    let pipeline = read(options.pipeline.path())?;
    if pipeline.position(&options.phase).is_some() {
        return Ok(options.phase.clone());
    }
    let names = pipeline.phases.iter().map(|phase| phase.name.value.as_str());
    let help = did_you_mean(&options.phase, names);
    Err(Failure::from(no_phase(options).maybe_help(help)).exit(ExitCode::Invalid))
}

fn no_phase(options: &ExplainArgs) -> Diagnostic {
    let told = format!("{} has no phase `{}`", options.pipeline.path().display(), options.phase);
    Diagnostic::error("plan::unknown_phase", told)
}

/// Where earlier decisions are looked for.
struct Earlier<'a> {
    cache: &'a CacheDirectory,
    results: &'a Path,
    options: &'a ExplainArgs,
}

impl Earlier<'_> {
    /// What is compared with what was asked for: that of the run that is named, what was found, or else the latest.
    /// Of a run that has none of it, that is an error unless it need not have any.
    fn of(
        &self,
        kind: &str,
        asked: Option<&Asked>,
        may_lack: bool,
    ) -> Result<Option<(Entry, Manifest)>, Failure> {
        if let Some(run) = &self.options.against {
            return match self.of_run(kind, run) {
                Err(_) if may_lack => Ok(None),
                other => other.map(Some),
            };
        }
        Ok(asked.and_then(|asked| match &asked.answer {
            Lookup::Hit { entry, .. } => self.cache.named(kind, &entry.key),
            Lookup::Miss(_) => self.cache.latest(kind, &self.options.phase, asked.manifest.host()),
        }))
    }

    /// The decision, or the verdict, that a phase used or made in a run.
    fn of_run(&self, kind: &str, run: &str) -> Result<(Entry, Manifest), Failure> {
        let phase = &self.options.phase;
        let id: RunId = run
            .parse()
            .map_err(|error| Failure::because("report::run", &error).exit(ExitCode::Invalid))?;
        let log = self.results.join("runs").join(id.as_str()).join("events.jsonl");
        let records = read_log(&log).map_err(|error| {
            Failure::because("report::run", &error).help("`trueup report list` shows the runs")
        })?;
        let source = records.into_iter().rev().find_map(|record| match record.event {
            Event::Decided { phase: of, source, .. } if kind != GATE && of.as_str() == phase => {
                Some(source)
            }
            Event::Gated { phase: of, gate } if kind == GATE && of.as_str() == phase => {
                Some(gate.source)
            }
            _ => None,
        });
        let none = |told: String, help: &str| {
            Failure::from(Diagnostic::error("cache::against", told).help(help))
        };
        let what = if kind == GATE { "verdict on" } else { "decision of" };
        let key = match source {
            Some(
                DecisionSource::Cache { key, .. } | DecisionSource::Run { key: Some(key), .. },
            ) => key,
            Some(DecisionSource::Run { key: None, .. }) => {
                let told = format!("the {what} `{phase}` in run {run} was not remembered");
                return Err(none(told, "compare with a run that had a cache to write to"));
            }
            None => {
                let told = format!("there was no {what} `{phase}` in run {run}");
                let help = "compare with a run in which there was one; `trueup report list`";
                return Err(none(told, help));
            }
        };
        key.parse().ok().and_then(|key| self.cache.named(kind, &key)).ok_or_else(|| {
            let told = format!("the {what} `{phase}` in run {run}, {key}, is not in the cache");
            none(told, "it was pruned, or the run had another --cache-dir; `trueup cache ls`")
        })
    }
}

/// Why the decision of a phase is not from the cache, as far as the cache does not tell.
fn of_decision(what: &Foreseen) -> Option<String> {
    match what {
        Foreseen::Skipped { why }
        | Foreseen::NotApplicable { why }
        | Foreseen::Blocked { why }
        | Foreseen::Fails { why } => Some(format!("{}: {why}", what.word())),
        Foreseen::Runs { decision, .. } => match decision {
            Forethought::Known { .. } | Forethought::Later { .. } => {
                Some("it decides anew in every run".to_owned())
            }
            Forethought::Cached { .. } => None,
            Forethought::ToBeMeasured { why, .. } => Some(why.clone()),
        },
    }
}

/// Why the verdict on its changes is not from the cache, or what it says.
fn of_verdict(what: &Foreseen) -> (Option<String>, Option<String>) {
    let why = match (what.verdict(), what.decision()) {
        (Some(verdict @ ForeseenVerdict::Cached { told, .. }), _) => {
            return (None, Some(format!("{}: {told}", verdict.word())));
        }
        (Some(ForeseenVerdict::ToBeMeasured { why, .. }), _) => why.clone(),
        (None, Some(Forethought::Known { .. } | Forethought::Cached { .. })) => {
            "nothing on the host would have to be changed".to_owned()
        }
        (None, _) => "what it would change is not known beforehand".to_owned(),
    };
    (Some(why), None)
}

fn explained(
    asked: Option<&Asked>,
    foreseen: Option<String>,
    (earlier, clock): (Option<(Entry, Manifest)>, &Clock),
) -> Explained {
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
    let key = asked.map(|asked| asked.manifest.key());
    Explained { answer, why, told: None, key, against, changed }
}

fn drift(what: &Foreseen) -> Vec<Drift> {
    let of = |Change { target, from, to, .. }: &Change| Drift {
        setting: target.name().into_owned(),
        is: target.shown(from).into_owned(),
        decided: target.shown(to).into_owned(),
    };
    what.changes().iter().map(of).collect()
}

fn tell(out: &mut impl Write, told: &Explanation) -> std::io::Result<()> {
    let Explanation { phase, kind, decision, gate, drift } = told;
    tell_one(out, &format!("{phase} ({kind})"), decision)?;
    if let Some(gate) = gate {
        tell_one(out, &format!("gate of {phase}"), gate)?;
    }
    for Drift { setting, is, decided } in drift {
        let is = format!("{setting}: is {is}, decided {decided}; the next run applies it again");
        terminal::tell(out, 2, &is)?;
    }
    Ok(())
}

fn tell_one(out: &mut impl Write, name: &str, told: &Explained) -> std::io::Result<()> {
    let answer = match told.answer {
        Answer::Hit => "hit",
        Answer::Miss => "miss",
        Answer::NotAsked => "the cache is not asked",
    };
    let why = told.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    terminal::tell(out, 0, &format!("{name}: {answer}{why}"))?;
    if let Some(told) = &told.told {
        terminal::tell(out, 2, told)?;
    }
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
    Ok(())
}
