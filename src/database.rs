//! A database by its URL: SQLite or PostgreSQL, opened with the options that everybody here needs.
//!
//! Both speak the same SQL as far as it is used here (`$1` parameters, `ON CONFLICT`, `RETURNING`), so one
//! statement serves both through [`with_pool!`](crate::with_pool). Knows no table. The settings of a PostgreSQL server
//! have modules of their own.

pub mod parameter;
pub mod server;
pub mod statement;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::disk;
use crate::secret::{self, Secrets};
use crate::shown;

/// Where a database is. Printing it hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    shown: String,
    engine: Engine,
}

/// Which engine a URL means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, in a file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Engine {
    /// The name people know.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Not a URL of an engine that is spoken here.
    #[error("`{0}` is not a database URL; write sqlite://PATH or postgres://USER@HOST/DATABASE")]
    Url(String),
    /// The folder of an SQLite file is not there, nor the one above it.
    #[error("there is no folder {} for the database", .0.display())]
    NoFolder(PathBuf),
    /// The folder of an SQLite file can't be made.
    #[error(transparent)]
    Folder(#[from] disk::DiskError),
    /// The engine refused or can't be reached.
    #[error("could not open the database {url}")]
    Open {
        /// Which, without its password.
        url: String,
        /// What the engine said.
        #[source]
        source: sqlx::Error,
    },
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let engine = match text.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Engine::Sqlite,
            Some("postgres" | "postgresql") => Engine::Postgres,
            _ => return Err(DatabaseError::Url(redact(text))),
        };
        let url = Self { text: text.to_owned(), shown: redact(text), engine };
        match engine {
            Engine::Sqlite => url.sqlite().map(drop),
            Engine::Postgres => PgConnectOptions::from_str(text).map(drop),
        }
        .map_err(|source| DatabaseError::Open { url: url.to_string(), source })?;
        Ok(url)
    }
}

impl DatabaseUrl {
    /// Which engine it means.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The URL as it was given, password and all; for handing on to a child by its environment only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// True when there is a log with content beside the file.
    fn has_log(&self) -> bool {
        let log = self.file().map(|file| {
            let mut name = file.as_os_str().to_owned();
            name.push("-wal");
            PathBuf::from(name)
        });
        log.and_then(|log| log.metadata().ok()).is_some_and(|log| log.len() > 0)
    }

    /// The file of an SQLite database; none for a server or a database in memory.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let file = match self.engine {
            Engine::Sqlite => self.sqlite().ok()?.get_filename().to_path_buf(),
            Engine::Postgres => return None,
        };
        (!file.to_string_lossy().contains(":memory:") && !file.starts_with("file:")).then_some(file)
    }

    /// How a server is connected to; nothing for SQLite.
    fn postgres(&self) -> Option<PgConnectOptions> {
        match self.engine {
            Engine::Sqlite => None,
            Engine::Postgres => PgConnectOptions::from_str(&self.text).ok(),
        }
    }

    fn sqlite(&self) -> Result<SqliteConnectOptions, sqlx::Error> {
        Ok(SqliteConnectOptions::from_str(&self.text)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a database is, as a pipeline tells it: the markers of secrets stand in place of their values.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedUrl(String);

impl SealedUrl {
    /// Where the server listens, as far as the URL says so without its secrets; else the URL without its password.
    #[must_use]
    pub fn address(&self) -> Cow<'_, str> {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        match authority.rsplit_once('@').map_or(authority, |(_, host)| host) {
            "" => shown::url(&self.0),
            host => host.into(),
        }
    }

    /// The URL with the values of its secrets. It shows itself as it was told.
    ///
    /// # Errors
    /// When that is no database URL; the values are not told.
    pub fn reveal(&self, secrets: &Secrets) -> Result<DatabaseUrl, DatabaseError> {
        let shown = redact(&self.0);
        match secrets.reveal_in_url(&self.0).parse::<DatabaseUrl>() {
            Ok(url) => Ok(DatabaseUrl { shown, ..url }),
            Err(_) => Err(DatabaseError::Url(shown)),
        }
    }
}

impl FromStr for SealedUrl {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Of a URL that is all secret, nothing can be told before it is read.
        if !secret::is_marker(text) {
            let filled = secret::replace_markers(text, |_| "x".to_owned());
            if let Err(error) = filled.parse::<DatabaseUrl>() {
                return Err(if secret::stands_in(text) {
                    DatabaseError::Url(redact(text))
                } else {
                    error
                });
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SealedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

/// Written without its password, so that no report or cache key ever holds one.
impl Serialize for SealedUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&redact(&self.0))
    }
}

impl<'de> Deserialize<'de> for SealedUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for SealedUrl {
    fn schema_name() -> Cow<'static, str> {
        "DatabaseUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let about = "a database: sqlite://PATH or postgres://USER@HOST/DATABASE";
        json_schema!({ "type": "string", "pattern": r"^(sqlite|postgres|postgresql):|\{\{", "description": about })
    }
}

/// A URL with `***` in place of its password; the marker of a secret stays.
#[must_use]
pub fn redact(text: &str) -> String {
    shown::url(text).into_owned()
}

/// How many connections, and how long to wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// Opened at once and kept.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// Longest wait for a free connection.
    pub acquire: Duration,
}

impl PoolSize {
    /// Exactly `count` connections.
    #[must_use]
    pub fn exactly(count: u32) -> Self {
        Self { min: count, max: count, acquire: Duration::from_secs(10) }
    }
}

/// Makes the last folder of a path. One of which the folder above is missing too is more likely a slip of the pen.
fn make_folder(dir: &Path) -> Result<(), DatabaseError> {
    let above = dir.parent().is_none_or(|above| above.as_os_str().is_empty() || above.is_dir());
    if above || dir.is_dir() {
        return Ok(disk::create_dir_all(dir)?);
    }
    Err(DatabaseError::NoFolder(dir.to_owned()))
}

/// An open pool of connections.
#[derive(Debug, Clone)]
pub enum Database {
    /// To an SQLite file.
    Sqlite(SqlitePool),
    /// To a PostgreSQL server.
    Postgres(PgPool),
}

/// Runs the same expression over either kind of pool: `with_pool!(database, pool => query.execute(pool).await)`.
#[macro_export]
macro_rules! with_pool {
    ($database:expr, $pool:ident => $body:expr) => {
        match $database {
            $crate::database::Database::Sqlite($pool) => $body,
            $crate::database::Database::Postgres($pool) => $body,
        }
    };
}

impl Database {
    /// Opens a pool; an SQLite file that is not there is made. Acknowledged commits are durable.
    ///
    /// # Errors
    /// When the engine refuses or can't be reached within the time of `size.acquire`.
    pub async fn open(url: &DatabaseUrl, size: PoolSize) -> Result<Self, DatabaseError> {
        let refused = |source| DatabaseError::Open { url: url.to_string(), source };
        match url.engine {
            Engine::Sqlite => {
                if let Some(dir) = url.file().as_deref().and_then(Path::parent) {
                    make_folder(dir)?;
                }
                let options = SqlitePoolOptions::new()
                    .min_connections(size.min)
                    .max_connections(size.max)
                    .acquire_timeout(size.acquire);
                let opened = options.connect_with(url.sqlite().map_err(refused)?).await;
                opened.map(Self::Sqlite).map_err(refused)
            }
            Engine::Postgres => {
                let options = PgPoolOptions::new()
                    .min_connections(size.min)
                    .max_connections(size.max)
                    .acquire_timeout(size.acquire);
                let connect = PgConnectOptions::from_str(&url.text).map_err(refused)?;
                let connect = connect.application_name("trueup").disable_statement_logging();
                options.connect_with(connect).await.map(Self::Postgres).map_err(refused)
            }
        }
    }

    /// Asks a database whether it is there, without changing a byte of it.
    ///
    /// # Errors
    /// When it does not answer within `patience`.
    pub async fn probe(url: &DatabaseUrl, patience: Duration) -> Result<(), DatabaseError> {
        let refused = |source| DatabaseError::Open { url: url.to_string(), source };
        let asked = async {
            match url.engine {
                Engine::Sqlite => {
                    let options = SqliteConnectOptions::from_str(&url.text)?;
                    // Not even the files beside it: an open one makes and removes those of its log. But what a
                    // killed program has left in its log belongs to the database, which without it is torn.
                    let options = if url.has_log() {
                        options.read_only(true)
                    } else {
                        options.immutable(true)
                    };
                    let mut connection = options.connect().await?;
                    sqlx::query("SELECT count(*) FROM sqlite_master")
                        .execute(&mut connection)
                        .await?;
                    connection.close().await
                }
                Engine::Postgres => {
                    let mut connection = PgConnectOptions::from_str(&url.text)?.connect().await?;
                    sqlx::query("SELECT 1").execute(&mut connection).await?;
                    connection.close().await
                }
            }
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(answered) => answered.map_err(refused),
            Err(_) => Err(refused(sqlx::Error::PoolTimedOut)),
        }
    }

    /// Closes all connections and waits until they are.
    pub async fn close(&self) {
        with_pool!(self, pool => pool.close().await);
    }

    /// Which engine is behind it.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;
    use crate::secret::Source;

    /// A database as a program leaves it that was killed: its file is torn without the log beside it.
    #[tokio::test]
    async fn a_database_whose_log_was_left_behind_answers() {
        let dir = tempfile::tempdir().unwrap();
        let (used, left) = (dir.path().join("used.db"), dir.path().join("left.db"));
        let url =
            |file: &Path| format!("sqlite://{}", file.display()).parse::<DatabaseUrl>().unwrap();
        let mut connection =
            url(&used).sqlite().unwrap().create_if_missing(true).connect().await.unwrap();
        for statement in
            ["CREATE TABLE a (n)", "PRAGMA wal_checkpoint(TRUNCATE)", "CREATE TABLE b (n)"]
        {
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        let log = |file: &Path| PathBuf::from(format!("{}-wal", file.display()));
        disk::copy(&log(&used), &log(&left)).unwrap();
        let mut content = disk::read_bounded(&used, 1 << 20).unwrap();
        content[..100].fill(0);
        disk::replace(&left, &content).unwrap();
        Database::probe(&url(&left), Duration::from_secs(10)).await.unwrap();
        disk::remove(&log(&left)).unwrap();
        Database::probe(&url(&left), Duration::from_secs(10)).await.unwrap_err();
    }

    #[test]
    fn a_printed_url_never_shows_its_password() {
        for (given, shown) in [
            ("postgres://me:secret@db/app", "postgres://me:***@db/app"),
            ("postgres://me@db/app", "postgres://me@db/app"),
            (
                "postgres:///app?host=/run&password=secret&x=1",
                "postgres:///app?host=/run&password=***&x=1",
            ),
        ] {
            let url: DatabaseUrl = given.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
        let refused = "mysql://me:secret@db/app".parse::<DatabaseUrl>().unwrap_err();
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }

    #[test]
    fn a_sealed_url_shows_its_markers_and_reveals_itself_only_to_who_knows_the_values() {
        let file = Source::File("/run/secrets/pw".into());
        let dir = tempfile::tempdir().unwrap();
        let env = |name: &str| (name == "URL").then(|| "postgres://me:hunter2@db/app".to_owned());
        let whole = Source::Env("URL".to_owned());
        let known = Secrets::read([whole.clone()], dir.path(), &env).secrets;
        for (given, shown) in [
            (whole.marker(), whole.marker()),
            (
                format!("postgres://me:{}@db/app", file.marker()),
                format!("postgres://me:{}@db/app", file.marker()),
            ),
            (
                format!("postgres://me:x{}@db/app", file.marker()),
                "postgres://me:***@db/app".to_owned(),
            ),
            ("postgres://me:pw@db/app".to_owned(), "postgres://me:***@db/app".to_owned()),
        ] {
            let url: SealedUrl = given.parse().unwrap();
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
        let revealed = whole.marker().parse::<SealedUrl>().unwrap().reveal(&known).unwrap();
        assert_eq!(revealed.expose(), "postgres://me:hunter2@db/app");
        assert_eq!(format!("{revealed} {revealed:?}"), format!("{0} {0}", whole.marker()));
        assert!(format!("mysql://{}", file.marker()).parse::<SealedUrl>().is_err());
        let unknown = whole.marker().parse::<SealedUrl>().unwrap().reveal(&Secrets::default());
        assert!(matches!(unknown, Err(DatabaseError::Url(told)) if told == whole.marker()));
    }

    #[test]
    fn the_file_of_an_sqlite_url_is_known_and_a_server_has_none() {
        let url: DatabaseUrl = "sqlite://results/trueup.db".parse().unwrap();
        assert_eq!(url.file(), Some(PathBuf::from("results/trueup.db")));
        assert_eq!("postgres://db/app".parse::<DatabaseUrl>().unwrap().file(), None);
    }
}
