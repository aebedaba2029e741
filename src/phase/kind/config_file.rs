//! `config_file`: a file below `/etc` that has the text which the pipeline names.
//!
//! One that is there is replaced and keeps owner, mode and attributes; one that is not is made, and gone again with its
//! folders when it is taken back. The program that reads it is not told: a `command` phase after this one may do that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::{Change, Target, at_boot, observe, obstacle};
use crate::event::{Check, CheckState, PhaseName};
use crate::host::setting::Observed;
use crate::phase::{Applicability, Claim, Context, Kind, PhaseError, WithError};
use crate::secret;

/// Sets a configuration file.
#[derive(Debug)]
pub struct ConfigFile;

/// What it is told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The file, such as `/etc/sysctl.d/90-local.conf`.
    path: String,
    /// The whole text that it shall have, which ends with a line end.
    text: String,
}

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    path: String,
    /// Its text, or that it is absent.
    #[serde(skip)]
    value: String,
    /// The same in a few words.
    found: String,
}

/// What it concludes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {
    /// The text.
    text: String,
}

impl Kind for ConfigFile {
    const NAME: &'static str = "config_file";
    const ABOUT: &'static str = "gives a file below /etc a text, reversibly";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        let mut wrong = Vec::new();
        if let Some(told) = Target::file(&with.path).forbidden() {
            let help = "write a path such as `/etc/sysctl.d/90-local.conf`, without `..`";
            wrong.push(WithError::at("path", told).help(help));
        }
        if at_boot::FILES.contains(&&*with.path) {
            let told = format!("{} holds what trueup keeps over a reboot", with.path);
            wrong.push(WithError::at("path", told).help("name another file in that folder"));
        }
        if !with.text.ends_with('\n') {
            wrong.push(
                WithError::at("text", "a text of whole lines ends with a line end")
                    .help("write it as a block, behind `text: |`"),
            );
        }
        if secret::stands_in(&with.text) {
            wrong.push(
                WithError::at("text", "a secret would stand in the journal, for others to read")
                    .help("let the program read the secret from a file of its own"),
            );
        }
        wrong
    }

    fn claims(with: &With) -> Vec<Claim> {
        vec![Claim(with.path.clone())]
    }

    async fn observe(with: &With, cx: &Context) -> Result<Applicability<Observation>, PhaseError> {
        let target = Target::file(&with.path);
        match observe(&cx.run.sysroot, &target) {
            Observed::Value(value) => {
                let is_so = target.same(&value, &with.text);
                if let (false, Some(reason)) =
                    (is_so, obstacle(&cx.run.sysroot, &target, &with.text))
                {
                    return Err(PhaseError::new(reason));
                }
                let found = target.shown(&value).into_owned();
                Ok(Applicability::Yes(Observation { path: with.path.clone(), value, found }))
            }
            Observed::Absent(reason) | Observed::Unreadable(reason) => Err(PhaseError::new(reason)),
        }
    }

    async fn decide(with: &With, _: &Observation, _: &Context) -> Result<Decision, PhaseError> {
        Ok(Decision { text: with.text.clone() })
    }

    fn tell(with: &With, decision: &Decision) -> String {
        format!("{}: {}", with.path, Target::file(&with.path).shown(&decision.text))
    }

    fn diff(phase: &PhaseName, found: &Observation, decision: &Decision) -> Vec<Change> {
        let target = Target::file(&found.path);
        if target.same(&found.value, &decision.text) {
            return Vec::new();
        }
        let (from, to) = (found.value.clone(), decision.text.clone());
        vec![Change { phase: phase.to_string(), target, from, to }]
    }

    async fn verify(
        with: &With,
        _: &Observation,
        decision: &Decision,
        cx: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let target = Target::file(&with.path);
        let wanted = target.shown(&decision.text).into_owned();
        Ok(vec![match observe(&cx.run.sysroot, &target) {
            Observed::Value(seen) if target.same(&seen, &decision.text) => {
                Check::matched(&with.path, target.shown(&seen).into_owned(), wanted)
            }
            Observed::Value(seen) => {
                let (seen, source) = (target.shown(&seen).into_owned(), with.path.clone());
                Check::new(&with.path, CheckState::Mismatch { seen, wanted, source })
            }
            Observed::Absent(reason) | Observed::Unreadable(reason) => {
                Check::new(&with.path, CheckState::Unreadable { reason })
            }
        }])
    }
}
