//! Settings of a PostgreSQL server, as `ALTER SYSTEM` keeps them in `postgresql.auto.conf`.
//!
//! What is observed, written and taken back is what that file says, or that it says nothing: this outlasts a start of
//! the server, and nothing else does. After a write the server is told to read its files again, unless it is not to be.
//! What it then makes of the setting is another question, which is asked by the phase; many settings wait for a restart.
//! A value is written as a literal, and never by a shell. Knows nothing of journals: whoever writes has written the intent.
//!
//! A value is one of these:
//! ```text
//! not set          the file does not have the setting
//! '64MB'           it has it so; a quote within is doubled
//! ```

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use super::host::WriteError;
use crate::database::server::{Logins, PATIENCE, Server, ServerError, Session, in_time};
use crate::database::statement;
use crate::fault;
use crate::host::patience::{Answer, within};
use crate::host::setting::Observed;

const NOT_SET: &str = "not set";

/// A setting of a server. Two are the same when cluster, address and name are, whoever asks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSetting {
    /// How the server is reached, without a password.
    pub server: Server,
    /// The identifier of its cluster; absent where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The name of the setting, in lower case.
    pub name: String,
    /// Whether the server is told to read its files again after a write.
    pub reload: bool,
}

impl DatabaseSetting {
    fn identity(&self) -> (&str, Option<&str>, &str) {
        (self.server.authority(), self.cluster.as_deref(), &self.name)
    }

    /// How people call it.
    pub(super) fn told(&self) -> String {
        format!("{} in postgresql.auto.conf of {}", self.name, self.server.address())
    }

    pub(super) fn same(&self, one: &str, other: &str) -> bool {
        match (text_of(one), text_of(other)) {
            (Some(one), Some(other)) => statement::same(&self.name, &one, &other),
            _ => one == other,
        }
    }

    /// The statement that gives the file a value.
    ///
    /// # Errors
    /// When none can.
    pub(super) fn statement(&self, value: &str) -> Result<String, String> {
        if let Some(reason) = statement::forbidden(&self.name) {
            return Err(reason);
        }
        match text_of(value) {
            Some(text) => statement::set(&self.name, &text),
            None if value == NOT_SET => Ok(statement::reset(&self.name)),
            None => Err(format!("`{value}` is no value of a database setting")),
        }
    }
}

impl PartialEq for DatabaseSetting {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for DatabaseSetting {}

impl PartialOrd for DatabaseSetting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DatabaseSetting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl Hash for DatabaseSetting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// The value for what the file says of a setting; nothing stands for a setting that it does not have.
#[must_use]
pub fn value_of(text: Option<&str>) -> String {
    text.map_or_else(|| NOT_SET.to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}

/// What the file says, where it says something.
fn text_of(value: &str) -> Option<String> {
    Some(value.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'"))
}

/// A value without its quotes.
pub(super) fn shown(value: &str) -> Cow<'_, str> {
    match text_of(value) {
        Some(text) if !text.is_empty() => text.into(),
        _ => value.into(),
    }
}

/// Settings of the servers that this process can reach.
#[derive(Debug)]
pub(super) struct DatabaseSettings {
    logins: Logins,
    patience: Duration,
}

impl DatabaseSettings {
    pub(super) fn by(logins: Logins) -> Self {
        Self { logins, patience: PATIENCE }
    }

    pub(super) fn observe(&self, setting: &DatabaseSetting) -> Observed {
        match self.look(setting) {
            Ok(value) => Observed::Value(value),
            Err(error) => Observed::Unreadable(error.to_string()),
        }
    }

    fn look(&self, setting: &DatabaseSetting) -> Result<String, ServerError> {
        let name = setting.name.clone();
        self.ask(setting, async move |session: &mut Session| {
            let text = written(session, &name).await?;
            Ok(value_of(text.as_deref()))
        })
    }

    /// Why `value` can't be written, or what is there could not be given back.
    pub(super) fn obstacle(&self, setting: &DatabaseSetting, value: &str) -> Option<String> {
        let found = match self.look(setting) {
            Ok(found) => found,
            Err(error) => return Some(error.to_string()),
        };
        let back = setting.statement(&found);
        let back =
            back.map_err(|reason| format!("what is there could not be given back: {reason}"));
        setting.statement(value).and(back).err()
    }

    pub(super) fn write(&self, setting: &DatabaseSetting, value: &str) -> Result<(), WriteError> {
        let refused = |reason: String| {
            let value = shown(value).into_owned();
            WriteError::Database { setting: setting.told(), value, reason }
        };
        let statement = setting.statement(value).map_err(refused)?;
        let reload = setting.reload;
        let written = self.ask(setting, async move |session: &mut Session| {
            pass()?;
            session.execute(statement).await?;
            pass()?;
            if reload {
                session.reload().await?;
            }
            pass()
        });
        written.map_err(|error| match error {
            ServerError::Late(_) => WriteError::Late(format!("{}: {error}", setting.told())),
            error => refused(error.to_string()),
        })
    }

    /// Whether what the file says now waits for a restart of the server.
    pub(super) fn waits(&self, setting: &DatabaseSetting) -> Option<String> {
        let name = setting.name.clone();
        let asked = self.ask(setting, async move |session: &mut Session| {
            let asked = "SELECT pending_restart FROM pg_settings WHERE lower(name) = $1";
            let row = sqlx::query_scalar(asked).bind(name);
            Ok(row.fetch_optional(&mut session.connection).await?)
        });
        let waits = matches!(asked, Ok(Some(true)));
        waits.then(|| format!("{} is in force only after a restart of the server", setting.told()))
    }

    /// Has the server read a file that was written, by a process that was killed before it could say so.
    pub(super) fn tidy(&self, setting: &DatabaseSetting) -> Result<(), WriteError> {
        if !setting.reload {
            return Ok(());
        }
        let told = self.ask(setting, async |session: &mut Session| session.reload().await);
        let failed = |error: ServerError| WriteError::Database {
            setting: setting.told(),
            value: "what the file says".to_owned(),
            reason: error.to_string(),
        };
        told.map_err(failed)
    }

    /// Asks the server of a setting, on a thread of its own: this one may be busy with what is to be waited for.
    fn ask<T, W>(&self, setting: &DatabaseSetting, work: W) -> Result<T, ServerError>
    where
        T: Send + 'static,
        W: AsyncFnOnce(&mut Session) -> Result<T, ServerError> + Send + 'static,
    {
        let (setting, logins, patience) = (setting.clone(), self.logins.clone(), self.patience);
        let call = move || -> Result<T, ServerError> {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| ServerError::Refused(error.to_string()))?;
            let asked = runtime.block_on(in_time(patience, async {
                let cluster = setting.cluster.as_deref();
                let session = Session::to(&setting.server, cluster, &logins).await;
                let mut session = session.map_err(with_remedy)?;
                let answer = work(&mut session).await;
                session.close().await;
                answer
            }));
            // A name that is still looked up is not waited for.
            runtime.shutdown_background();
            asked
        };
        match within(2 * patience, call) {
            Answer::Told(answer) => answer,
            Answer::Late(_) => Err(ServerError::Late(2 * patience)),
            Answer::NotAsked(error) => Err(ServerError::Refused(error.to_string())),
        }
    }
}

/// Whoever comes back to a server may have to say how it is reached.
fn with_remedy(error: ServerError) -> ServerError {
    match error {
        ServerError::Unreachable { .. } => ServerError::Refused(format!(
            "{error}; is it running? The password is that of PGPASSWORD, ~/.pgpass, or TRUEUP_DATABASE_URL where that \
             names this server"
        )),
        other => other,
    }
}

fn pass() -> Result<(), ServerError> {
    fault::pass().map_err(|error| ServerError::Refused(error.to_string()))
}

/// What `postgresql.auto.conf` says of a setting. It is the last file that the server reads.
async fn written(session: &mut Session, name: &str) -> Result<Option<String>, ServerError> {
    let found: Result<Option<Option<String>>, sqlx::Error> = sqlx::query_scalar(
        "SELECT setting FROM pg_file_settings \
         WHERE lower(name) = $1 AND sourcefile LIKE '%/postgresql.auto.conf' \
         ORDER BY seqno DESC LIMIT 1",
    )
    .bind(name)
    .fetch_optional(&mut session.connection)
    .await;
    Ok(found?.map(Option::unwrap_or_default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(url: &str, name: &str) -> DatabaseSetting {
        let server = Server::of(&url.parse().unwrap()).unwrap();
        DatabaseSetting {
            server,
            cluster: Some("7".to_owned()),
            name: name.to_owned(),
            reload: true,
        }
    }

    #[test]
    fn a_value_says_what_the_file_says_or_that_it_says_nothing() {
        let setting = setting("postgres://a@b:1/c", "x");
        for (text, value, statement) in [
            (None, "not set", r#"ALTER SYSTEM RESET "x""#),
            (Some("not set"), "'not set'", r#"ALTER SYSTEM SET "x" = 'not set'"#),
            (Some("it's"), "'it''s'", r#"ALTER SYSTEM SET "x" = 'it''s'"#),
            (Some(""), "''", r#"ALTER SYSTEM SET "x" = ''"#),
        ] {
            assert_eq!(value_of(text), value);
            assert_eq!(text_of(value).as_deref(), text);
            assert_eq!(setting.statement(value).unwrap(), statement);
        }
        assert_eq!(shown("'64MB'"), "64MB");
        assert_eq!(shown("''"), "''");
        assert!(setting.statement("64MB").unwrap_err().contains("is no value"));
        assert!(setting.same("'1024kB'", "'1MB'") && !setting.same("not set", "'not set'"));
    }

    #[test]
    fn a_server_that_does_not_answer_is_not_waited_for_and_one_that_is_not_there_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let setting = setting(&format!("postgres://a@127.0.0.1:{port}/c?sslmode=disable"), "x");
        let patience = Duration::from_millis(50);
        let servers = DatabaseSettings { patience, ..DatabaseSettings::by(Logins::default()) };
        let told = servers.obstacle(&setting, "'1'").unwrap();
        assert!(told.contains("has not answered within 50ms"), "{told}");
        let Err(WriteError::Late(told)) = servers.write(&setting, "'1'") else { panic!() };
        assert!(told.contains("may still do what it was asked"), "{told}");
        drop(listener);
        let servers = DatabaseSettings::by(Logins::default());
        let Observed::Unreadable(told) = servers.observe(&setting) else { panic!() };
        assert!(
            told.contains(&format!("could not reach the database server 127.0.0.1:{port} as a")),
            "{told}"
        );
        let WriteError::Database { .. } = servers.write(&setting, "'1'").unwrap_err() else {
            panic!()
        };
    }

    #[test]
    fn a_setting_is_the_same_whoever_asks_but_not_of_another_cluster() {
        let one = setting("postgres://a:pw@b:1/c", "x");
        assert_eq!(one, setting("postgres://other@b:1/d", "x"));
        assert_ne!(one, setting("postgres://a@b:2/c", "x"));
        assert_ne!(one, setting("postgres://a@b:1/c", "y"));
        assert_ne!(one, DatabaseSetting { cluster: Some("8".to_owned()), ..one.clone() });
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(
            text,
            r#"{"server":"postgres://a@b:1/c","cluster":"7","name":"x","reload":true}"#
        );
        let back: DatabaseSetting = serde_json::from_str(&text).unwrap();
        assert_eq!((&back, back.reload), (&one, true));
    }
}
