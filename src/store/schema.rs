//! The tables, version by version.
//!
//! `trueup_schema` holds the version that the tables are at. Versions are only ever added.

use sqlx::AssertSqlSafe;

use crate::database::{Database, DatabaseError};

/// Keeps two processes from migrating at the same time (PostgreSQL; SQLite has one writer anyhow).
const MIGRATION_LOCK: i64 = 0x7472_7565;

/// Statements that lead from each version to the next.
const VERSIONS: [&[&str]; 1] = [&["CREATE TABLE trueup_trials (
       host TEXT NOT NULL,
       study TEXT NOT NULL,
       number INTEGER NOT NULL,
       stored_at BIGINT NOT NULL,
       trial TEXT NOT NULL,
       PRIMARY KEY (host, study, number))"]];

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be opened.
    #[error(transparent)]
    Open(#[from] DatabaseError),
    /// A statement failed.
    #[error("could not {action} in the store")]
    Statement {
        /// What was attempted.
        action: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The tables were made by a later version of trueup.
    #[error("the store is at version {found}, and this trueup knows versions up to {}", VERSIONS.len())]
    Newer {
        /// The version found.
        found: i32,
    },
    /// A row that this version can't read.
    #[error("could not read a stored trial")]
    Row(#[from] serde_json::Error),
}

/// Brings the tables to the latest version, in one transaction.
pub(super) async fn migrate(database: &Database) -> Result<(), StoreError> {
    let failed = |source| StoreError::Statement { action: "make the tables", source };
    match database {
        Database::Sqlite(pool) => {
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
            let found = version(&mut transaction).await.map_err(failed)?;
            for statement in pending(found)? {
                sqlx::query(AssertSqlSafe(statement))
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
            }
            transaction.commit().await.map_err(failed)
        }
        Database::Postgres(pool) => {
            let mut transaction = pool.begin().await.map_err(failed)?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(MIGRATION_LOCK)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            sqlx::query("CREATE TABLE IF NOT EXISTS trueup_schema (version INTEGER NOT NULL)")
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            let found: Option<i32> = sqlx::query_scalar("SELECT max(version) FROM trueup_schema")
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
            for statement in pending(found.unwrap_or(0))? {
                sqlx::query(AssertSqlSafe(statement))
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
            }
            transaction.commit().await.map_err(failed)
        }
    }
}

async fn version(connection: &mut sqlx::SqliteConnection) -> Result<i32, sqlx::Error> {
    sqlx::query("CREATE TABLE IF NOT EXISTS trueup_schema (version INTEGER NOT NULL)")
        .execute(&mut *connection)
        .await?;
    let found: Option<i32> =
        sqlx::query_scalar("SELECT max(version) FROM trueup_schema").fetch_one(connection).await?;
    Ok(found.unwrap_or(0))
}

/// The statements that are still to be run on tables of version `found`.
fn pending(found: i32) -> Result<Vec<String>, StoreError> {
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    if done > VERSIONS.len() {
        return Err(StoreError::Newer { found });
    }
    let mut statements: Vec<String> = VERSIONS[done..]
        .iter()
        .flat_map(|version| version.iter().map(|one| (*one).to_owned()))
        .collect();
    if done < VERSIONS.len() {
        statements.push("DELETE FROM trueup_schema".to_owned());
        statements.push(format!("INSERT INTO trueup_schema (version) VALUES ({})", VERSIONS.len()));
    }
    Ok(statements)
}
