//! A PostgreSQL server whose settings are kept: named without a password, known again by the identifier of its cluster, and
//! never waited for without an end.
//!
//! Whoever comes back later, such as a rollback, has the name alone. The password is then that of the process
//! ([`Logins`]), or what libpq's users have for it: `PGPASSWORD` or `~/.pgpass`. Which settings there are is not known here.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use super::{DatabaseError, DatabaseUrl};
use crate::secret::percent_encoded;

/// How long a server may take for all that it is asked at one time.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a server may take to read its files again.
const RELOADING: Duration = Duration::from_secs(5);

/// How often it is looked whether it has.
const ASKED_AGAIN: Duration = Duration::from_millis(5);

/// Parameters of a URL that say how to reach a server, and hold no secret.
const KEPT: [&str; 9] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
];

/// A server, and who asks it: a URL with everything that a connection needs but a password, such as
/// `postgres://postgres@db:5432/postgres` or `postgres://postgres@%2Frun%2Fpostgresql:5432/postgres`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Server(String);

impl Server {
    /// The server of a URL; nothing for a database that has none. What the URL leaves out is what the environment says now.
    #[must_use]
    pub fn of(url: &DatabaseUrl) -> Option<Self> {
        let options = url.postgres()?;
        let socket = options.get_socket().map(|dir| dir.display().to_string());
        let host = socket.unwrap_or_else(|| options.get_host().to_owned());
        let host = match host.trim_end_matches('/') {
            host if host.starts_with('/') => percent_encoded(host),
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let user = options.get_username();
        let database = percent_encoded(options.get_database().unwrap_or(user));
        let (user, port) = (percent_encoded(user), options.get_port());
        let query = url.expose().split_once('?').map_or("", |(_, query)| query);
        let kept: Vec<&str> = query
            .split('&')
            .filter(|pair| pair.split_once('=').is_some_and(|(key, _)| KEPT.contains(&key)))
            .collect();
        let sign = if kept.is_empty() { "" } else { "?" };
        Some(Self(format!("postgres://{user}@{host}:{port}/{database}{sign}{}", kept.join("&"))))
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0
    }

    /// Where it listens, as the URL has it: two servers with one address are one, whoever asks.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        let rest = rest.split('/').next().unwrap_or_default();
        rest.rsplit_once('@').map_or(rest, |(_, host)| host)
    }

    /// Who asks it, as the URL has it.
    fn user(&self) -> &str {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        rest.split_once('@').map_or("", |(user, _)| user)
    }

    /// Where it listens, for people: `db:5432`, `/run/postgresql:5432`.
    #[must_use]
    pub fn address(&self) -> String {
        self.authority().replace("%2F", "/")
    }
}

/// The URLs, with passwords, by which this process has been told to reach servers. Clones share them; none is printed.
#[derive(Clone, Default)]
pub struct Logins(Arc<Mutex<BTreeMap<Server, DatabaseUrl>>>);

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

impl Logins {
    /// Remembers how the server of a URL is reached.
    pub fn remember(&self, url: &DatabaseUrl) {
        if let Some(server) = Server::of(url) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(server, url.clone());
        }
    }

    /// How a server is reached: as it was told to this process, else by `TRUEUP_DATABASE_URL` where that names the same,
    /// else by its name alone.
    ///
    /// # Errors
    /// When its name is no URL.
    pub fn to(&self, server: &Server) -> Result<DatabaseUrl, DatabaseError> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(server).cloned();
        let of_environment = || {
            let url: DatabaseUrl = std::env::var("TRUEUP_DATABASE_URL").ok()?.parse().ok()?;
            (Server::of(&url).as_ref() == Some(server)).then_some(url)
        };
        match told.or_else(of_environment) {
            Some(url) => Ok(url),
            None => server.0.parse(),
        }
    }
}

/// Why a server could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It can't be reached.
    #[error("could not reach the database server {address} as {user}: {reason}")]
    Unreachable {
        /// Where it should listen.
        address: String,
        /// Who asks it.
        user: String,
        /// What was said.
        reason: String,
    },
    /// Another cluster listens where the server did.
    #[error(
        "another cluster answers at {address} than the one that was changed ({found}, and not {wanted}): nothing is done there"
    )]
    Another {
        /// Where.
        address: String,
        /// The identifier of the cluster that answers.
        found: String,
        /// The one that was meant.
        wanted: String,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It has not answered.
    #[error("the server has not answered within {0:?}, and may still do what it was asked")]
    Late(Duration),
}

impl From<sqlx::Error> for ServerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Refused(words(&error))
    }
}

/// What an error says, without the words around it.
fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(told) => told.message().to_owned(),
        sqlx::Error::Io(told) => told.to_string(),
        other => other.to_string(),
    }
}

/// Waits for a server, but not for ever.
///
/// # Errors
/// When the work fails, or is not done in time.
pub async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, ServerError>>,
) -> Result<T, ServerError> {
    tokio::time::timeout(patience, work).await.unwrap_or(Err(ServerError::Late(patience)))
}

/// A connection to a server. Whoever uses it does so [`in_time`].
#[derive(Debug)]
pub struct Session {
    /// The connection.
    pub connection: PgConnection,
    /// The identifier of the cluster, where the server tells it.
    pub cluster: Option<String>,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, ServerError> {
        let unreachable = |reason: String| {
            let server = Server::of(url);
            ServerError::Unreachable {
                address: server.as_ref().map(Server::address).unwrap_or_default(),
                user: server.as_ref().map(|server| server.user().to_owned()).unwrap_or_default(),
                reason,
            }
        };
        let options = url.postgres().ok_or_else(|| unreachable("it is no server".to_owned()))?;
        let options: PgConnectOptions =
            options.application_name("trueup").disable_statement_logging();
        let mut connection = options.connect().await.map_err(|error| unreachable(words(&error)))?;
        let asked = "SELECT system_identifier::text FROM pg_control_system()";
        // Whoever may not know it can't tell one cluster from another.
        let cluster = sqlx::query_scalar(asked).fetch_one(&mut connection).await.ok();
        Ok(Self { connection, cluster })
    }

    /// Connects to a server that was known before.
    ///
    /// # Errors
    /// When it can't be reached, or another one answers in its place.
    pub async fn to(
        server: &Server,
        cluster: Option<&str>,
        logins: &Logins,
    ) -> Result<Self, ServerError> {
        let url = logins.to(server).map_err(|error| ServerError::Refused(error.to_string()))?;
        let session = Self::open(&url).await?;
        match (cluster, &session.cluster) {
            (Some(wanted), found) if found.as_deref() != Some(wanted) => {
                let found = found.as_deref().unwrap_or("one that does not tell which");
                let (found, wanted) = (found.to_owned(), wanted.to_owned());
                Err(ServerError::Another { address: server.address(), found, wanted })
            }
            _ => Ok(session),
        }
    }

    /// Executes a statement by itself, outside of a transaction.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn execute(&mut self, statement: String) -> Result<(), ServerError> {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement));
        self.connection.execute(statement).await?;
        Ok(())
    }

    /// Has the server read its files again, and waits until it has.
    ///
    /// # Errors
    /// When it refuses, or has not done so in time: it does not where one of its files has a mistake.
    pub async fn reload(&mut self) -> Result<(), ServerError> {
        let before = self.loaded().await?;
        let asked: bool =
            sqlx::query_scalar("SELECT pg_reload_conf()").fetch_one(&mut self.connection).await?;
        if !asked {
            return Err(ServerError::Refused("the server could not be told to reload".to_owned()));
        }
        // It does so when it comes to it, and tells nobody but those who ask.
        let reloaded = async {
            while self.loaded().await? == before {
                tokio::time::sleep(ASKED_AGAIN).await;
            }
            Ok(())
        };
        let told = "the server has not loaded its files again: see in pg_file_settings whether one has a mistake";
        tokio::time::timeout(RELOADING, reloaded)
            .await
            .unwrap_or_else(|_| Err(ServerError::Refused(told.to_owned())))
    }

    async fn loaded(&mut self) -> Result<String, sqlx::Error> {
        sqlx::query_scalar("SELECT pg_conf_load_time()::text").fetch_one(&mut self.connection).await
    }

    /// Says good-bye; whether the server hears it does not matter.
    pub async fn close(self) {
        let _ = self.connection.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server::of(&url.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_name_of_a_server_has_all_but_its_password() {
        for (url, name, address) in [
            ("postgres://app:hunter2@db:5433/a", "postgres://app@db:5433/a", "db:5433"),
            (
                "postgres://app@%2Frun%2Fpg:5433/a?password=hunter2&options=-c%20x%3D1",
                "postgres://app@%2Frun%2Fpg:5433/a",
                "/run/pg:5433",
            ),
            (
                "postgres:///a?host=/run/pg/&port=1&user=o%27b&sslmode=disable&sslrootcert=/ca",
                "postgres://o%27b@%2Frun%2Fpg:1/a?sslmode=disable&sslrootcert=/ca",
                "/run/pg:1",
            ),
            ("postgres://app:hunter2@[::1]:5433", "postgres://app@[::1]:5433/app", "[::1]:5433"),
        ] {
            let server = server(url);
            assert_eq!((server.url(), &*server.address()), (name, address));
            assert_eq!(self::server(server.url()), server, "it names itself");
        }
        assert_eq!(Server::of(&"sqlite://a.db".parse().unwrap()), None);
    }

    #[test]
    fn a_login_that_was_told_is_used_for_its_server_alone() {
        let logins = Logins::default();
        let told: DatabaseUrl = "postgres://app:hunter2@db:1/a".parse().unwrap();
        logins.remember(&told);
        assert_eq!(logins.to(&server("postgres://app@db:1/a")).unwrap(), told);
        let other = logins.to(&server("postgres://other@db:1/a")).unwrap();
        assert_eq!(other.expose(), "postgres://other@db:1/a");
        assert!(!format!("{logins:?}").contains("hunter2"));
        assert!(logins.to(&Server("nonsense".to_owned())).is_err());
    }
}
