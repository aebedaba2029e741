//! What is said of an event in one line, if anything; the same words with and without a terminal.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::event::{ChangeResult, DecisionSource, Event, PhaseName};
use crate::report::text::ordinal;
use crate::shown;

/// Who speaks when it is the run itself.
const RUN: &str = "trueup";

/// Tells of events as they come.
#[derive(Debug, Default)]
pub(super) struct Teller {
    /// Which attempt a phase is at that is not at its first.
    attempts: HashMap<PhaseName, u32>,
}

impl Teller {
    /// A line about an event that a person would want to see as it happens: phase, and text. Whatever a program has said
    /// in it, it is one line.
    pub(super) fn line<'e>(&mut self, event: &'e Event) -> Option<(&'e str, Cow<'e, str>)> {
        if let Event::PhaseStarted { phase, attempt: attempt @ 2.. } = event {
            self.attempts.insert(phase.clone(), *attempt);
        }
        let (who, text) = said(event)?;
        let text = match shown::in_line(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(made) => Cow::Owned(made),
        };
        match event {
            Event::PhaseEnded { phase, .. } if !self.attempts.is_empty() => {
                let late = self.attempts.remove(phase);
                let late = late.map_or(String::new(), |at| format!(" ({} attempt)", ordinal(at)));
                Some((who, format!("{text}{late}").into()))
            }
            _ => Some((who, text)),
        }
    }
}

fn said(event: &Event) -> Option<(&str, Cow<'_, str>)> {
    fn of(phase: &PhaseName, text: String) -> (&str, Cow<'_, str>) {
        (phase.as_str(), text.into())
    }
    let said = match event {
        Event::RunStarted { run, pipeline, .. } => {
            (RUN, format!("run {run} of {} ({})", pipeline.name, pipeline.file).into())
        }
        Event::Recovered(run) => {
            let what = if run.changes.is_empty() {
                "it had changed nothing".to_owned()
            } else {
                let each: Vec<String> =
                    run.changes.iter().map(|(target, done)| format!("{target}: {done}")).collect();
                each.join("; ")
            };
            let cut_off = &run.cut_off;
            (RUN, format!("found run {cut_off} cut off and took it back: {what}").into())
        }
        Event::Decided { phase, source, told, .. } => {
            let from = match source {
                DecisionSource::Cache { age_seconds: Some(seconds), .. } => {
                    format!("from the cache, {} old", age(*seconds))
                }
                DecisionSource::Cache { measured_by, .. } => format!("of run {measured_by}"),
                DecisionSource::Run { miss: Some(miss), .. } => format!("measured: {miss}"),
                DecisionSource::Run { miss: None, .. } => String::new(),
            };
            if from.is_empty() {
                return Some((phase.as_str(), told.into()));
            }
            of(phase, format!("{told} ({from})"))
        }
        Event::Changed { phase, change } => {
            let (target, from, to) = (&change.target, &change.from, &change.to);
            of(
                phase,
                match &change.result {
                    ChangeResult::Applied => format!("{target}: {from} -> {to}"),
                    ChangeResult::Clamped { got } => {
                        format!("{target}: {from} -> {to}, but it reads {got}")
                    }
                    ChangeResult::Refused { reason } => format!("{target}: not changed: {reason}"),
                    ChangeResult::Reverted => format!("{target}: taken back to {from}"),
                    ChangeResult::Left { reason } => format!("{target}: not taken back: {reason}"),
                },
            )
        }
        Event::Gated { phase, gate } => {
            let from = match &gate.source {
                DecisionSource::Cache { age_seconds: Some(seconds), .. } => {
                    format!("from the cache, {} old", age(*seconds))
                }
                DecisionSource::Cache { measured_by, .. } => format!("of run {measured_by}"),
                DecisionSource::Run { .. } => format!("{:.1} s", gate.seconds),
            };
            of(phase, format!("gate: {} ({from})", gate.told()))
        }
        Event::Noted { phase, text } => {
            (phase.as_ref().map_or(RUN, PhaseName::as_str), text.into())
        }
        Event::PhaseRetried { phase, attempt, reason, .. } => {
            of(phase, format!("attempt {attempt} failed, trying again: {reason}"))
        }
        Event::PhaseEnded { phase, outcome, reason, seconds, .. } => {
            let why = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
            of(phase, format!("{outcome} in {seconds:.1} s{why}"))
        }
        Event::PhaseStarted { .. }
        | Event::StageStarted { .. }
        | Event::StageEnded { .. }
        | Event::Observed { .. }
        | Event::Measured { .. }
        | Event::TrialEnded { .. }
        | Event::Checked { .. }
        | Event::RunEnded { .. } => return None,
    };
    Some(said)
}

/// An age in the largest two units.
pub(super) fn age(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min", whole / 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}
