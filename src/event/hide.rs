//! The net below everything that is recorded: no value of a secret in any text of an event, whoever put it there.

use serde_json::Value;

use super::{ChangeRecord, ChangeResult, Check, CheckState, DecisionSource, Event};
use crate::secret::Secrets;
use crate::tuner::trial::TrialOutcome;

impl Event {
    /// Puts markers in place of the values of secrets. Costs nothing where there are none.
    pub fn hide(&mut self, secrets: &Secrets) {
        if secrets.is_empty() {
            return;
        }
        match self {
            Self::RunStarted { host, .. } => secrets.hide_in(host),
            Self::Recovered(run) => run.changes.values_mut().for_each(|told| secrets.hide(told)),
            Self::Observed { observation, .. } => secrets.hide_in(observation),
            Self::Decided { source, decision, told, .. } => {
                hide_in_source(source, secrets);
                secrets.hide_in(decision);
                secrets.hide(told);
            }
            Self::Changed { change, .. } => hide_in_change(change, secrets),
            Self::Measured { measurement, .. } => {
                secrets.hide(&mut measurement.name);
                let mut detail = Value::Object(std::mem::take(&mut measurement.detail));
                secrets.hide_in(&mut detail);
                if let Value::Object(detail) = detail {
                    measurement.detail = detail;
                }
            }
            Self::TrialEnded { trial, .. } => match &mut trial.outcome {
                TrialOutcome::Failed { reason } => secrets.hide(reason),
                TrialOutcome::Infeasible { violated, .. } => {
                    for told in violated {
                        secrets.hide(told);
                    }
                }
                TrialOutcome::Measured { .. } => {}
            },
            Self::Checked { check, .. } => hide_in_check(check, secrets),
            Self::Gated { gate, .. } => {
                secrets.hide(&mut gate.objective);
                hide_in_source(&mut gate.source, secrets);
            }
            Self::Noted { text, .. } => secrets.hide(text),
            Self::PhaseRetried { reason, .. } => secrets.hide(reason),
            Self::PhaseEnded { reason, outputs, .. } => {
                if let Some(reason) = reason {
                    secrets.hide(reason);
                }
                secrets.hide_in(outputs);
            }
            Self::PhaseStarted { .. }
            | Self::StageStarted { .. }
            | Self::StageEnded { .. }
            | Self::RunEnded { .. } => {}
        }
    }
}

fn hide_in_source(source: &mut DecisionSource, secrets: &Secrets) {
    if let DecisionSource::Run { miss: Some(miss), .. } = source {
        secrets.hide(miss);
    }
}

fn hide_in_change(change: &mut ChangeRecord, secrets: &Secrets) {
    for text in [&mut change.target, &mut change.from, &mut change.to] {
        secrets.hide(text);
    }
    match &mut change.result {
        ChangeResult::Clamped { got: text }
        | ChangeResult::Refused { reason: text }
        | ChangeResult::Left { reason: text } => secrets.hide(text),
        ChangeResult::Applied | ChangeResult::Reverted => {}
    }
}

fn hide_in_check(check: &mut Check, secrets: &Secrets) {
    secrets.hide(&mut check.name);
    match &mut check.state {
        CheckState::Match { seen, wanted } => {
            secrets.hide(seen);
            secrets.hide(wanted);
        }
        CheckState::Mismatch { seen, wanted, source } => {
            secrets.hide(seen);
            secrets.hide(wanted);
            secrets.hide(source);
        }
        CheckState::NotApplicable { reason } | CheckState::Unreadable { reason } => {
            secrets.hide(reason);
        }
    }
}
