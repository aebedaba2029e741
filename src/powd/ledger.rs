//! The durable record of accepted proofs: what makes each count only once, across requests, restarts and processes.
//!
//! One table, its name configurable:
//! ```text
//! id            32 bytes, primary key       8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4
//! format        text                        challenge
//! accepted_at   bigint, Unix milliseconds   1796083200123
//! ```
//! A batch is one `INSERT .. ON CONFLICT DO NOTHING RETURNING id`, which is a transaction of its own: what it returns
//! is new and, once it has returned, durable. The ids of a batch are sorted, so that two processes never wait for
//! each other in a circle. Knows nothing of how a proof is checked.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _, SqlStr};

use super::proof::{ProofId, Verified};
use crate::database::{Database, DatabaseError, DatabaseUrl, Engine, PoolSize};
use crate::with_pool;

/// Longest time that the database may take over one statement, the wait for a connection included.
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);

/// Bytes of a packed row of a batch: the id, then the format's name filled up with spaces.
const PACKED: usize = 32 + 16;

/// Keeps two processes that start together from making the table at the same time (PostgreSQL).
const CREATE_LOCK: i64 = 0x706f_7764;

/// The name of a ledger's table: a lower-case identifier of at most 51 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName(String);

/// A text that can't be the name of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` can't name a ledger's table; write a lower-case letter or `_`, then up to 50 lower-case letters, digits or `_`"
)]
pub struct ParseTableError(String);

impl Default for TableName {
    fn default() -> Self {
        Self("powd_proofs".to_owned())
    }
}

impl FromStr for TableName {
    type Err = ParseTableError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_');
        let goes_on = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        // SQLite keeps names that start with `sqlite_` for itself.
        if starts && goes_on && text.len() <= 51 && !text.starts_with("sqlite_") {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseTableError(text.to_owned()))
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the ledger could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database can't be opened.
    #[error("could not open the ledger")]
    Open(#[from] DatabaseError),
    /// The server answers a commit before it is durable.
    #[error(
        "could not open the ledger: `synchronous_commit` is off, so commits are answered before they are durable; \
         turn it on, or add `options[synchronous_commit]=on` to the URL's parameters"
    )]
    NotDurable,
    /// The database refused a statement.
    #[error("could not {action} the ledger `{table}`")]
    Statement {
        /// What was attempted.
        action: &'static str,
        /// Of which table.
        table: TableName,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The database took too long; whether it did it is not known.
    #[error("could not {action} the ledger `{table}` within {} s", STATEMENT_LIMIT.as_secs())]
    TimedOut {
        /// What was attempted.
        action: &'static str,
        /// Of which table.
        table: TableName,
    },
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The format's name.
    pub format: String,
    /// When it was accepted, in Unix milliseconds.
    pub accepted_at: i64,
}

/// How many connections a ledger holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Open, idle ones included.
    pub open: u32,
    /// Open and not in use.
    pub idle: u32,
}

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    database: Database,
    table: TableName,
    writers: usize,
    insert: SqlStr,
    select: SqlStr,
}

impl Ledger {
    /// Opens the ledger, and makes its table where there is none.
    ///
    /// # Errors
    /// When the database can't be opened, or holds a table of that name that is no ledger.
    pub async fn open(
        url: &DatabaseUrl,
        size: PoolSize,
        table: TableName,
    ) -> Result<Self, LedgerError> {
        let database = Database::open(url, size).await?;
        let (insert, writers) = match database.engine() {
            // One statement for a batch of any size: it reads the rows out of one packed parameter. At 256 rows a
            // batch took 6.5 ms, with an insert per row 21 ms, with a list of VALUES (a statement for each length)
            // 7.5 ms; at 1024 rows 16, 70 and 28 ms. SQLite has one writer.
            Engine::Sqlite => {
                let insert = format!(
                    "WITH RECURSIVE batch(place) AS \
                     (SELECT 0 UNION ALL SELECT place + 1 FROM batch WHERE (place + 2) * {PACKED} <= length($1)) \
                     INSERT INTO \"{table}\" (id, format, accepted_at) \
                     SELECT substr($1, place * {PACKED} + 1, 32), \
                            rtrim(CAST(substr($1, place * {PACKED} + 33, 16) AS TEXT)), $2 \
                     FROM batch WHERE true ON CONFLICT DO NOTHING RETURNING id"
                );
                (insert, 1)
            }
            Engine::Postgres => {
                let insert = format!(
                    "INSERT INTO \"{table}\" (id, format, accepted_at) \
                     SELECT id, format, $3 FROM unnest($1::bytea[], $2::text[]) AS batch(id, format) \
                     ON CONFLICT DO NOTHING RETURNING id"
                );
                (insert, size.max as usize)
            }
        };
        let select = format!("SELECT format, accepted_at FROM \"{table}\" WHERE id = $1");
        let ledger = Self {
            database,
            table,
            writers: writers.max(1),
            insert: sql(insert),
            select: sql(select),
        };
        ledger.check_durability().await?;
        ledger.create().await?;
        ledger.probe().await?;
        Ok(ledger)
    }

    /// An SQLite file is opened so that its commits are durable; a PostgreSQL server is set up by somebody else.
    async fn check_durability(&self) -> Result<(), LedgerError> {
        let Database::Postgres(pool) = &self.database else { return Ok(()) };
        let settings = "SELECT current_setting('synchronous_commit') = 'off', current_setting('fsync') = 'off'";
        let settings = sqlx::query_as::<_, (bool, bool)>(settings).fetch_one(pool);
        let (answers_early, never_syncs) = self.run("check", settings).await?;
        if never_syncs {
            tracing::warn!(
                "the server's `fsync` is off: a power failure loses proofs that were acknowledged"
            );
        }
        if answers_early { Err(LedgerError::NotDurable) } else { Ok(()) }
    }

    async fn create(&self) -> Result<(), LedgerError> {
        let table = &self.table;
        match &self.database {
            Database::Sqlite(pool) => {
                // Without a row id there is one tree to write to instead of two.
                let create = format!(
                    "CREATE TABLE IF NOT EXISTS \"{table}\" (id BLOB PRIMARY KEY, format TEXT NOT NULL, \
                     accepted_at INTEGER NOT NULL) STRICT, WITHOUT ROWID"
                );
                self.run("create", sqlx::query(sql(create)).execute(pool)).await.map(drop)
            }
            Database::Postgres(pool) => {
                let create = format!(
                    "CREATE TABLE IF NOT EXISTS \"{table}\" (id BYTEA PRIMARY KEY, format TEXT NOT NULL, \
                     accepted_at BIGINT NOT NULL)"
                );
                let create = async {
                    let mut transaction = pool.begin().await?;
                    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CREATE_LOCK);
                    lock.execute(&mut *transaction).await?;
                    sqlx::query(sql(create)).execute(&mut *transaction).await?;
                    transaction.commit().await
                };
                self.run("create", create).await
            }
        }
    }

    /// Records a batch, in one transaction, and answers for each of its proofs whether it is new: durable now, and
    /// never recorded before, neither earlier nor earlier in the batch.
    ///
    /// # Errors
    /// When the database refuses or takes too long. None of the batch may then be taken for recorded.
    pub async fn record(
        &self,
        batch: &[Verified],
        at: Timestamp,
    ) -> Result<Vec<bool>, LedgerError> {
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.sort_unstable_by_key(|place| (batch[*place].id, *place));
        order.dedup_by_key(|place| batch[*place].id);
        let recorded = self.insert(batch, &order, at.as_millisecond()).await?;
        let mut is_new = vec![false; batch.len()];
        for place in order {
            is_new[place] = recorded.contains(&batch[place].id);
        }
        Ok(is_new)
    }

    /// Inserts the rows of `batch` at the places of `order`, and answers the ids of those that were not there.
    async fn insert(
        &self,
        batch: &[Verified],
        order: &[usize],
        at: i64,
    ) -> Result<HashSet<ProofId>, LedgerError> {
        let rows = order.iter().map(|place| &batch[*place]);
        match &self.database {
            _ if order.is_empty() => Ok(HashSet::new()),
            Database::Sqlite(pool) => {
                let mut packed = Vec::with_capacity(order.len() * PACKED);
                for row in rows {
                    packed.extend_from_slice(&row.id.0);
                    packed.extend_from_slice(row.format.name().as_bytes());
                    packed.resize(packed.len().next_multiple_of(PACKED), b' ');
                }
                let insert = sqlx::query(self.insert.clone()).bind(packed).bind(at);
                let returned = self.run("write", insert.fetch_all(pool)).await?;
                self.ids(returned.iter().map(|row| row.try_get(0)))
            }
            Database::Postgres(pool) => {
                let (ids, names): (Vec<&[u8]>, Vec<&str>) =
                    rows.map(|row| (row.id.0.as_slice(), row.format.name())).unzip();
                let insert = sqlx::query(self.insert.clone()).bind(ids).bind(names).bind(at);
                let returned = self.run("write", insert.fetch_all(pool)).await?;
                self.ids(returned.iter().map(|row| row.try_get(0)))
            }
        }
    }

    /// What is recorded of a proof.
    ///
    /// # Errors
    /// When the database refuses or takes too long.
    pub async fn find(&self, id: ProofId) -> Result<Option<Record>, LedgerError> {
        let id = id.0.as_slice();
        with_pool!(&self.database, pool => {
            let select = sqlx::query_as::<_, (String, i64)>(self.select.clone()).bind(id);
            let found = self.run("read", select.fetch_optional(pool)).await?;
            Ok(found.map(|(format, accepted_at)| Record { format, accepted_at }))
        })
    }

    /// Whether a proof is recorded.
    ///
    /// # Errors
    /// When the database refuses or takes too long.
    pub async fn contains(&self, id: ProofId) -> Result<bool, LedgerError> {
        Ok(self.find(id).await?.is_some())
    }

    /// How many proofs are recorded.
    ///
    /// # Errors
    /// When the database refuses or takes too long.
    pub async fn count(&self) -> Result<u64, LedgerError> {
        let count = format!("SELECT count(*) FROM \"{}\"", self.table);
        let count = with_pool!(&self.database, pool => {
            self.run("count", sqlx::query_scalar::<_, i64>(sql(count)).fetch_one(pool)).await?
        });
        Ok(count as u64)
    }

    /// Reads the table, to see that it can be and has the columns of a ledger.
    ///
    /// # Errors
    /// When the database refuses or takes too long.
    pub async fn probe(&self) -> Result<(), LedgerError> {
        let probe = format!("SELECT id, format, accepted_at FROM \"{}\" LIMIT 1", self.table);
        with_pool!(&self.database, pool => {
            self.run("read", sqlx::query(sql(probe)).fetch_optional(pool)).await.map(drop)
        })
    }

    /// Removes the table and all that is recorded in it.
    ///
    /// # Errors
    /// When the database refuses or takes too long.
    pub async fn drop_table(&self) -> Result<(), LedgerError> {
        let drop_table = format!("DROP TABLE IF EXISTS \"{}\"", self.table);
        with_pool!(&self.database, pool => {
            self.run("remove", sqlx::query(sql(drop_table)).execute(pool)).await.map(drop)
        })
    }

    /// Closes all connections and waits until they are.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// How many batches it is worth writing at the same time: one for SQLite, which has one writer; for PostgreSQL
    /// as many as there are connections.
    #[must_use]
    pub fn writers(&self) -> usize {
        self.writers
    }

    /// How many connections it holds now.
    #[must_use]
    pub fn connections(&self) -> Connections {
        with_pool!(&self.database, pool => Connections { open: pool.size(), idle: pool.num_idle() as u32 })
    }

    fn ids<'r>(
        &self,
        returned: impl Iterator<Item = Result<&'r [u8], sqlx::Error>>,
    ) -> Result<HashSet<ProofId>, LedgerError> {
        let ids = returned.map(|id| {
            id?.try_into().map(ProofId).map_err(|wrong| sqlx::Error::Decode(Box::new(wrong)))
        });
        ids.collect::<Result<_, _>>().map_err(|source| self.refused("write", source))
    }

    fn refused(&self, action: &'static str, source: sqlx::Error) -> LedgerError {
        LedgerError::Statement { action, table: self.table.clone(), source }
    }

    async fn run<T>(
        &self,
        action: &'static str,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, LedgerError> {
        match tokio::time::timeout(STATEMENT_LIMIT, statement).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(source)) => Err(self.refused(action, source)),
            Err(_) => Err(LedgerError::TimedOut { action, table: self.table.clone() }),
        }
    }
}

/// The table's name is the only part of a statement that varies, and is an identifier by its type.
fn sql(statement: String) -> SqlStr {
    AssertSqlSafe(statement).into_sql_str()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::powd::proof::Format;

    fn verified(number: u8, format: Format) -> Verified {
        Verified { id: ProofId([number; 32]), format }
    }

    fn url(dir: &tempfile::TempDir) -> DatabaseUrl {
        format!("sqlite://{}", dir.path().join("ledger.db").display()).parse().unwrap()
    }

    async fn open(dir: &tempfile::TempDir) -> Ledger {
        Ledger::open(&url(dir), PoolSize::exactly(2), TableName::default()).await.unwrap()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_table_is_named_by_a_plain_identifier() {
        for name in ["powd_proofs", "_", "a1", &"a".repeat(51)] {
            assert_eq!(name.parse::<TableName>().unwrap().to_string(), name);
        }
        for name in ["", "1a", "A", "a-b", "a\"b", "a b", "ä", "sqlite_x", &"a".repeat(52)] {
            let error = name.parse::<TableName>().unwrap_err();
            assert!(error.to_string().contains("lower-case"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_record_keeps_the_format_and_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = open(&dir).await;
        let batch = [verified(2, Format::Bitcoin), verified(1, Format::Challenge)];
        let at = Timestamp::from_millisecond(1_796_083_200_123).unwrap();
        assert_eq!(ledger.record(&batch, at).await.unwrap(), [true, true]);
        for Verified { id, format } in batch {
            let found = ledger.find(id).await.unwrap().unwrap();
            assert_eq!(
                found,
                Record { format: format.name().to_owned(), accepted_at: 1_796_083_200_123 }
            );
        }
        assert!(!ledger.contains(ProofId([3; 32])).await.unwrap());
        assert_eq!(ledger.record(&[], at).await.unwrap(), [false; 0]);
    }

    #[tokio::test]
    async fn a_table_of_that_name_that_is_no_ledger_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&url(&dir), PoolSize::exactly(1)).await.unwrap();
        let Database::Sqlite(pool) = &database else { panic!("SQLite") };
        sqlx::query("CREATE TABLE powd_proofs (x)").execute(pool).await.unwrap();
        let error =
            Ledger::open(&url(&dir), PoolSize::exactly(1), TableName::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "could not read the ledger `powd_proofs`");
        assert!(std::error::Error::source(&error).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn each_id_is_new_exactly_once_in_whatever_batches_it_comes(
            batches in proptest::collection::vec(proptest::collection::vec(0_u8..40, 0..30), 1..8),
        ) {
            runtime().block_on(async {
                let dir = tempfile::tempdir().unwrap();
                let ledger = open(&dir).await;
                let mut seen = HashSet::new();
                for batch in batches {
                    let batch: Vec<Verified> = batch.iter().map(|n| verified(*n, Format::Challenge)).collect();
                    let wanted: Vec<bool> = batch.iter().map(|v| seen.insert(v.id)).collect();
                    assert_eq!(ledger.record(&batch, Timestamp::UNIX_EPOCH).await.unwrap(), wanted);
                }
                assert_eq!(ledger.count().await.unwrap(), seen.len() as u64);
            });
        }
    }
}
