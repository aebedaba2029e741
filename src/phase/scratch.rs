//! Tables that exist only while something is measured.
//!
//! Their names start with a mark of the host and of where the run keeps its results. So the next run there knows and
//! drops what a killed one has left, and nobody else's: the lock of the results folder keeps two runs there from
//! meeting, and hosts that share a database have different marks.

use sqlx::AssertSqlSafe;

use super::Context;
use crate::database::{Database, Engine};
use crate::with_pool;

/// Names for the tables of one purpose in one run.
#[derive(Debug, Clone)]
pub struct Scratch {
    family: String,
    name: String,
}

impl Scratch {
    /// Tables for `purpose`, a short lower-case word, in the run of `cx`.
    #[must_use]
    pub fn new(purpose: &str, cx: &Context) -> Self {
        let run = &cx.run;
        let place =
            std::path::absolute(&run.results_dir).unwrap_or_else(|_| run.results_dir.clone());
        let mut hasher = blake3::Hasher::new();
        for name in [&run.facts.machine, &run.facts.hostname].into_iter().flatten() {
            hasher.update(name.value.as_bytes()).update(b"\n");
        }
        let mark = hasher.update(place.as_os_str().as_encoded_bytes()).finalize().to_hex();
        let family = format!("trueup_{purpose}_{}_", &mark[..8]);
        let suffix: String = run.run.as_str().chars().filter(char::is_ascii_alphanumeric).collect();
        Self { name: format!("{family}{}", suffix.to_ascii_lowercase()), family }
    }

    /// The name of the table.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Drops every table of this purpose that was left by a run in the same place.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sweep(&self, database: &Database) -> Result<(), sqlx::Error> {
        let list = match database.engine() {
            Engine::Sqlite => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, $1) = $2"
            }
            Engine::Postgres => {
                "SELECT tablename::text FROM pg_tables \
                 WHERE schemaname = current_schema() AND substr(tablename, 1, $1) = $2"
            }
        };
        let length = i32::try_from(self.family.len()).unwrap_or(i32::MAX);
        let left: Vec<String> = with_pool!(database, pool => {
            sqlx::query_scalar(list).bind(length).bind(&self.family).fetch_all(pool).await
        })?;
        for name in left {
            drop_table(database, &name).await?;
        }
        Ok(())
    }

    /// Drops the table, if it is there.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn drop(&self, database: &Database) -> Result<(), sqlx::Error> {
        drop_table(database, &self.name).await
    }
}

async fn drop_table(database: &Database, name: &str) -> Result<(), sqlx::Error> {
    let statement = format!("DROP TABLE IF EXISTS {name}");
    with_pool!(database, pool => sqlx::query(AssertSqlSafe(statement)).execute(pool).await.map(drop))
}
