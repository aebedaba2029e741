//! `db_settings`: settings of a PostgreSQL server, by ALTER SYSTEM.
//!
//! What this user may set is written through the journal, and then looked at as a session that begins now sees it: what
//! waits for a restart, and what counts more than ALTER SYSTEM, is told and not taken for done. Nothing is measured: the
//! values are those that the pipeline names, and whether they help is for a gate to say.

mod found;
mod with;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::found::{Server, Standing};
use self::with::Wanted;
pub use self::with::With;
use crate::change::database_setting::value_of;
use crate::change::{Change, DatabaseSetting, Target};
use crate::database::parameter::Parameter;
use crate::database::server::{self, PATIENCE, Session, in_time};
use crate::database::{DatabaseUrl, Engine};
use crate::event::{Check, CheckState, PhaseName};
use crate::phase::{Applicability, Claim, Context, Kind, PhaseError, WithError};

/// Sets settings of a database server.
#[derive(Debug)]
pub struct DbSettings;

/// What it finds.
#[derive(Debug, Serialize)]
pub struct Observation {
    engine: &'static str,
    version: String,
    settings: Vec<Found>,
    /// The server, and the identifier of its cluster.
    #[serde(skip)]
    server: Option<(server::Server, Option<String>)>,
    #[serde(skip)]
    reload: bool,
}

/// A setting as it was found.
#[derive(Debug, Serialize)]
struct Found {
    name: String,
    wanted: String,
    /// What sessions begin with.
    in_force: String,
    /// What the file of ALTER SYSTEM says, where this user may know.
    written: Option<String>,
    /// Why it can't be set here; none when it can, or is as wanted.
    obstacle: Option<String>,
    /// Whether the file is to be written.
    #[serde(skip)]
    due: bool,
}

impl Found {
    /// Why it is not set, and what would have been changed.
    fn told(&self) -> Option<String> {
        let (now, wanted) = (&self.in_force, &self.wanted);
        let obstacle = self.obstacle.as_ref()?;
        Some(format!("{obstacle} (would change {now} to {wanted})"))
    }
}

/// What it concludes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decision {
    /// The values by name.
    settings: BTreeMap<String, String>,
}

impl Kind for DbSettings {
    const NAME: &'static str = "db_settings";
    const ABOUT: &'static str = "sets settings of a PostgreSQL server by ALTER SYSTEM, reversibly";
    const REVISION: u32 = 1;
    const CACHED: bool = false;
    type With = With;
    type Observation = Observation;
    type Decision = Decision;

    fn check(with: &With) -> Vec<WithError> {
        with.wanted().1
    }

    fn claims(with: &With) -> Vec<Claim> {
        let (wanted, _) = with.wanted();
        let address = with.url.address();
        wanted.iter().map(|one| Claim(format!("{} of {address}", one.name))).collect()
    }

    async fn observe(with: &With, cx: &Context) -> Result<Applicability<Observation>, PhaseError> {
        let url = cx.database(&with.url)?;
        let mut observation = Observation {
            engine: url.engine().name(),
            version: String::new(),
            settings: Vec::new(),
            server: None,
            reload: with.reload,
        };
        let Some(server) = server::Server::of(&url) else {
            let reason = format!(
                "{} has no server whose settings could be altered: they are for PostgreSQL",
                Engine::Sqlite.name()
            );
            return Ok(Applicability::No { reason, observation });
        };
        without_secrets(&server, cx)?;
        let (wanted, _) = with.wanted();
        let (found, cluster) = ask(&url, &wanted, with.reload).await?;
        let mistakes: Vec<String> = wanted.iter().filter_map(|one| found.mistake(one)).collect();
        if !mistakes.is_empty() {
            return Err(PhaseError::new(mistakes.join("; ")));
        }
        if cx.gated {
            judgeable(&wanted, &found, with.reload)?;
        }
        cx.run.logins.remember(&url);
        observation.settings =
            wanted.iter().filter_map(|one| look(one, &found, with.reload)).collect();
        observation.server = Some((server, cluster));
        observation.version.clone_from(&found.told_version);
        if with.reload
            && !found.unloaded.is_empty()
            && observation.settings.iter().any(|found| found.due)
        {
            cx.note(format!(
                "the server will load its files, and so bring into force what others have written there: {}",
                found.unloaded.join(", ")
            ));
        }
        let told = |one: &Found| Some(format!("{}: {}", one.name, one.told()?));
        let obstacles: Vec<String> = observation.settings.iter().filter_map(told).collect();
        let none_applicable = obstacles.len() == observation.settings.len();
        let required = with.require.then_some("setting");
        Applicability::in_spite_of(&obstacles, none_applicable, required, observation)
    }

    async fn decide(with: &With, _: &Observation, _: &Context) -> Result<Decision, PhaseError> {
        let (wanted, _) = with.wanted();
        Ok(Decision { settings: wanted.into_iter().map(|one| (one.name, one.value)).collect() })
    }

    fn tell(_: &With, decision: &Decision) -> String {
        let told = decision.settings.iter().map(|(name, value)| format!("{name}={value}"));
        told.collect::<Vec<_>>().join(" ")
    }

    fn diff(phase: &PhaseName, observation: &Observation, _: &Decision) -> Vec<Change> {
        let Some((server, cluster)) = &observation.server else { return Vec::new() };
        let due = observation.settings.iter().filter(|found| found.due);
        due.filter_map(|found| {
            Some(Change {
                phase: phase.to_string(),
                target: Target::Database(DatabaseSetting {
                    server: server.clone(),
                    cluster: cluster.clone(),
                    name: found.name.clone(),
                    reload: observation.reload,
                }),
                from: found.written.clone()?,
                to: value_of(Some(&found.wanted)),
            })
        })
        .collect()
    }

    async fn apply(
        with: &With,
        observation: &Observation,
        _: &Decision,
        cx: &Context,
    ) -> Result<Map<String, Value>, PhaseError> {
        let (wanted, found) = again(with, observation, cx).await?;
        let waits = |one: &&Wanted| matches!(found.standing(one, with.reload), Standing::Waits(_));
        let waiting: Vec<&str> = wanted.iter().filter(waits).map(|one| &*one.name).collect();
        Ok(Map::from_iter([("waiting".to_owned(), json!(waiting))]))
    }

    async fn verify(
        with: &With,
        observation: &Observation,
        _: &Decision,
        cx: &Context,
    ) -> Result<Vec<Check>, PhaseError> {
        let (wanted, server) = again(with, observation, cx).await?;
        let mut checks = Vec::new();
        for found in &observation.settings {
            if let Some(reason) = found.told() {
                checks.push(Check::new(&found.name, CheckState::NotApplicable { reason }));
            }
        }
        for one in &wanted {
            checks.extend(check(one, &server, with.reload));
        }
        Ok(checks)
    }
}

/// The name of the server stands in the journal.
fn without_secrets(server: &server::Server, cx: &Context) -> Result<(), PhaseError> {
    let mut hidden = server.url().to_owned();
    cx.run.secrets.hide(&mut hidden);
    if hidden == server.url() {
        return Ok(());
    }
    let told = "a secret would stand in the journal with the name of the server";
    Err(PhaseError::new(told).help("let only the password be a secret"))
}

/// Asks a server about settings; answers the identifier of its cluster as well.
async fn ask(
    url: &DatabaseUrl,
    wanted: &[Wanted],
    reload: bool,
) -> Result<(Server, Option<String>), PhaseError> {
    let asked = in_time(PATIENCE, async {
        let mut session = Session::open(url).await?;
        let found = Server::ask(&mut session, wanted, reload).await;
        let cluster = session.cluster.clone();
        session.close().await;
        Ok((found?, cluster))
    });
    asked.await.map_err(|error| match error {
        server::ServerError::Unreachable { .. } => PhaseError::new(error.to_string())
            .help("check `url`, and that the server runs and lets this user in"),
        error => PhaseError::because("could not ask the database server", error),
    })
}

/// Asks again about what can be set.
async fn again(
    with: &With,
    observation: &Observation,
    cx: &Context,
) -> Result<(Vec<Wanted>, Server), PhaseError> {
    let (mut wanted, _) = with.wanted();
    wanted.retain(|one| {
        let of_it = observation.settings.iter().find(|found| found.name == one.name);
        of_it.is_some_and(|found| found.obstacle.is_none())
    });
    let (server, _) = ask(&cx.database(&with.url)?, &wanted, with.reload).await?;
    Ok((wanted, server))
}

/// Refuses what a gate can't measure with and without: what a reload does not bring into force in every session.
fn judgeable(wanted: &[Wanted], found: &Server, reload: bool) -> Result<(), PhaseError> {
    let reason = |one: &Wanted| {
        let parameter = found.parameters.get(&one.name)?;
        if parameter.needs_restart() {
            Some(format!("{} is in force only after a restart of the server", one.name))
        } else if parameter.needs_new_sessions() {
            Some(format!("{} is in force only in sessions that begin after it was set", one.name))
        } else if !reload {
            Some(format!("{} is not in force before the server reads its files", one.name))
        } else {
            None
        }
    };
    let reasons: Vec<String> = wanted.iter().filter_map(reason).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let told = format!("a gate can't measure with and without: {}", reasons.join("; "));
    Err(PhaseError::new(told).help("set it in a phase without a gate, and with `reload`"))
}

fn look(wanted: &Wanted, server: &Server, reload: bool) -> Option<Found> {
    let parameter = server.parameters.get(&wanted.name)?;
    let obstacle = server.obstacle(wanted, reload);
    Some(Found {
        name: wanted.name.clone(),
        wanted: wanted.value.clone(),
        in_force: parameter.shown(),
        written: server.written(&wanted.name),
        due: obstacle.is_none() && !server.has(wanted, reload),
        obstacle,
    })
}

/// What is to be said of a setting that can be set.
fn check(wanted: &Wanted, server: &Server, reload: bool) -> Vec<Check> {
    let Wanted { name, value } = wanted;
    let seen = server.parameters.get(name).map(Parameter::shown).unwrap_or_default();
    match server.standing(wanted, reload) {
        Standing::InForce => vec![Check::matched(name, seen, value)],
        Standing::Waits(reason) | Standing::Unknown(reason) => vec![
            Check::matched(format!("{name} in postgresql.auto.conf"), value, value),
            Check::new(name, CheckState::NotApplicable { reason }),
        ],
        Standing::Not(source) => {
            let wanted = value.clone();
            vec![Check::new(name, CheckState::Mismatch { seen, wanted, source })]
        }
    }
}
