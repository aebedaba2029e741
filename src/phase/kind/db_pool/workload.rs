//! The work that pools are compared by: reads and writes of a table that is there for nothing else.

use sqlx::AssertSqlSafe;

use crate::database::Database;
use crate::measure::load::{CallError, Client, Workload};
use crate::phase::Scratch;
use crate::with_pool;

/// Rows of the table.
const ROWS: i64 = 10_000;

/// Of ten operations so many read a row by its key; the others update one.
const READS_OF_TEN: u32 = 8;

/// What a server says of itself.
pub(super) struct Server {
    pub(super) version: String,
    pub(super) max_connections: Option<u32>,
    pub(super) taken_connections: Option<u32>,
}

/// Asks a server what it is and how many connections it has; an embedded engine has none.
pub(super) async fn server(database: &Database) -> Result<Option<Server>, sqlx::Error> {
    match database {
        Database::Sqlite(_) => Ok(None),
        Database::Postgres(pool) => {
            let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(pool).await?;
            let (all, kept, used): (i32, i32, i64) = sqlx::query_as(
                "SELECT current_setting('max_connections')::int, \
                 current_setting('superuser_reserved_connections')::int, \
                 (SELECT count(*) FROM pg_stat_activity \
                  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())",
            )
            .fetch_one(pool)
            .await?;
            let taken = u32::try_from(i64::from(kept) + used).unwrap_or(u32::MAX);
            Ok(Some(Server {
                version,
                max_connections: u32::try_from(all).ok(),
                taken_connections: Some(taken),
            }))
        }
    }
}

/// Takes `count` connections at once and has each answer; answers how many did.
pub(super) async fn hold_all(database: &Database, count: u32) -> Result<u32, sqlx::Error> {
    with_pool!(database, pool => {
        let mut held = Vec::new();
        for _ in 0..count {
            let mut connection = pool.acquire().await?;
            sqlx::query("SELECT 1").execute(&mut *connection).await?;
            held.push(connection);
        }
        Ok(u32::try_from(held.len()).unwrap_or(u32::MAX))
    })
}

/// Makes and fills the table, after dropping what earlier runs have left.
pub(super) async fn prepare(database: &Database, table: &Scratch) -> Result<(), sqlx::Error> {
    table.sweep(database).await?;
    let name = table.name();
    let create = format!("CREATE TABLE {name} (id BIGINT PRIMARY KEY, value BIGINT NOT NULL)");
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {ROWS}) \
         INSERT INTO {name} (id, value) SELECT i, 0 FROM n"
    );
    for statement in [create, fill] {
        with_pool!(database, pool => sqlx::query(AssertSqlSafe(statement)).execute(pool).await.map(drop))?;
    }
    Ok(())
}

/// Reads and updates of random rows through one shared pool.
pub(super) struct Mix {
    pool: Database,
    read: String,
    update: String,
}

impl Mix {
    pub(super) fn new(pool: Database, table: &Scratch) -> Self {
        let name = table.name();
        Self {
            pool,
            read: format!("SELECT value FROM {name} WHERE id = $1"),
            update: format!("UPDATE {name} SET value = value + 1 WHERE id = $1"),
        }
    }
}

/// A client of the shared pool: every operation takes a connection from it and gives it back.
pub(super) struct User {
    pool: Database,
    read: String,
    update: String,
}

impl Workload for Mix {
    type Client = User;

    async fn connect(&self, _client: usize) -> Result<User, CallError> {
        Ok(User { pool: self.pool.clone(), read: self.read.clone(), update: self.update.clone() })
    }
}

impl Client for User {
    async fn call(&mut self) -> Result<u64, CallError> {
        let row = rand::random_range(0..ROWS);
        let reads = rand::random_range(0..10) < READS_OF_TEN;
        let answered = with_pool!(&self.pool, pool => {
            if reads {
                sqlx::query_scalar::<_, i64>(AssertSqlSafe(self.read.clone())).bind(row).fetch_one(pool).await.map(drop)
            } else {
                sqlx::query(AssertSqlSafe(self.update.clone())).bind(row).execute(pool).await.map(drop)
            }
        });
        answered.map(|()| 1).map_err(|error| CallError::Failed(error.to_string()))
    }
}
