//! The net below everything that is recorded: no value of a secret in any text of an event, and no password of a URL in
//! what is told of it, whoever put it there.

use serde_json::Value;

use super::{ChangeRecord, ChangeResult, Check, CheckState, DecisionSource, Event};
use crate::secret::Secrets;
use crate::shown;
use crate::tuner::trial::TrialOutcome;

impl Event {
    /// Hides the passwords of URLs in the words of an event, and puts markers in place of the values of secrets.
    pub fn hide(&mut self, secrets: &Secrets) {
        self.each_word(&mut shown::hide_passwords);
        if secrets.is_empty() {
            return;
        }
        self.each_word(&mut |text| secrets.hide(text));
        match self {
            Self::RunStarted { host, .. } => secrets.hide_in(host),
            Self::Observed { observation: data, .. }
            | Self::Decided { decision: data, .. }
            | Self::PhaseEnded { outputs: data, .. } => data.change(|data| secrets.hide_in(data)),
            Self::Measured { measurement, .. } => {
                let mut detail = Value::Object(std::mem::take(&mut measurement.detail));
                secrets.hide_in(&mut detail);
                if let Value::Object(detail) = detail {
                    measurement.detail = detail;
                }
            }
            _ => {}
        }
    }

    /// Calls `each` with every text that is words and not data.
    fn each_word(&mut self, each: &mut dyn FnMut(&mut String)) {
        match self {
            Self::Recovered(run) => run.changes.values_mut().for_each(each),
            Self::Decided { source, told, .. } => {
                each_of_source(source, each);
                each(told);
            }
            Self::Changed { change, .. } => each_of_change(change, each),
            Self::Measured { measurement, .. } => each(&mut measurement.name),
            Self::TrialEnded { trial, .. } => match &mut trial.outcome {
                TrialOutcome::Failed { reason } => each(reason),
                TrialOutcome::Infeasible { violated, .. } => violated.iter_mut().for_each(each),
                TrialOutcome::Measured { .. } => {}
            },
            Self::Checked { check, .. } => each_of_check(check, each),
            Self::Gated { gate, .. } => {
                each(&mut gate.objective);
                each_of_source(&mut gate.source, each);
            }
            Self::Noted { text, .. } => each(text),
            Self::PhaseRetried { reason, .. } => each(reason),
            Self::PhaseEnded { reason, .. } => reason.iter_mut().for_each(each),
            Self::RunStarted { .. }
            | Self::Observed { .. }
            | Self::PhaseStarted { .. }
            | Self::StageStarted { .. }
            | Self::StageEnded { .. }
            | Self::RunEnded { .. } => {}
        }
    }
}

fn each_of_source(source: &mut DecisionSource, each: &mut dyn FnMut(&mut String)) {
    if let DecisionSource::Run { miss: Some(miss), .. } = source {
        each(miss);
    }
}

fn each_of_change(change: &mut ChangeRecord, each: &mut dyn FnMut(&mut String)) {
    for text in [&mut change.target, &mut change.from, &mut change.to] {
        each(text);
    }
    match &mut change.result {
        ChangeResult::Clamped { got: text }
        | ChangeResult::Refused { reason: text }
        | ChangeResult::Left { reason: text } => each(text),
        ChangeResult::Applied | ChangeResult::Reverted => {}
    }
}

fn each_of_check(check: &mut Check, each: &mut dyn FnMut(&mut String)) {
    each(&mut check.name);
    match &mut check.state {
        CheckState::Match { seen, wanted } => [seen, wanted].into_iter().for_each(each),
        CheckState::Mismatch { seen, wanted, source } => {
            [seen, wanted, source].into_iter().for_each(each);
        }
        CheckState::NotApplicable { reason } | CheckState::Unreadable { reason } => each(reason),
    }
}
