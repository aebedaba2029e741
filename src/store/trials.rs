//! Trials in the store.

use tokio::sync::OnceCell;

use super::schema::{StoreError, migrate};
use crate::clock::Clock;
use crate::database::{Database, DatabaseUrl, PoolSize};
use crate::tuner::trial::{StudyId, Trial, TrialLog, TrialLogError, TrialLogFuture};
use crate::with_pool;

/// Keeps trials; the database is opened, and made if missing, when the first one comes.
#[derive(Debug)]
pub struct TrialStore {
    url: DatabaseUrl,
    host: String,
    clock: Clock,
    database: OnceCell<Database>,
}

impl TrialStore {
    /// A store at `url` for trials of `host`.
    #[must_use]
    pub fn new(url: DatabaseUrl, host: String, clock: Clock) -> Self {
        Self { url, host, clock, database: OnceCell::new() }
    }

    async fn database(&self) -> Result<&Database, StoreError> {
        self.database
            .get_or_try_init(|| async {
                let database = Database::open(&self.url, PoolSize::exactly(1)).await?;
                migrate(&database).await?;
                Ok(database)
            })
            .await
    }

    async fn insert(&self, study: &StudyId, trial: &Trial) -> Result<(), StoreError> {
        let text = serde_json::to_string(trial)?;
        let (number, now) = (i64::from(trial.number), self.clock.now().as_millisecond());
        let statement = "INSERT INTO trueup_trials (host, study, number, stored_at, trial) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (host, study, number) DO UPDATE SET stored_at = excluded.stored_at, trial = excluded.trial";
        with_pool!(self.database().await?, pool => {
            let query = sqlx::query(statement).bind(&self.host).bind(&study.0).bind(number).bind(now).bind(text);
            query.execute(pool).await.map(drop)
        })
        .map_err(|source| StoreError::Statement { action: "record a trial", source })
    }

    async fn select(&self, study: &StudyId) -> Result<Vec<Trial>, StoreError> {
        let statement =
            "SELECT trial FROM trueup_trials WHERE host = $1 AND study = $2 ORDER BY number";
        let rows: Vec<String> = with_pool!(self.database().await?, pool => {
            sqlx::query_scalar(statement).bind(&self.host).bind(&study.0).fetch_all(pool).await
        })
        .map_err(|source| StoreError::Statement { action: "find trials", source })?;
        rows.iter().map(|row| Ok(serde_json::from_str(row)?)).collect()
    }
}

impl TrialLog for TrialStore {
    fn record<'a>(&'a self, study: &'a StudyId, trial: &'a Trial) -> TrialLogFuture<'a, ()> {
        Box::pin(async move {
            self.insert(study, trial).await.map_err(|source| TrialLogError {
                action: "record",
                study: study.clone(),
                source: source.into(),
            })
        })
    }

    fn load<'a>(&'a self, study: &'a StudyId) -> TrialLogFuture<'a, Vec<Trial>> {
        Box::pin(async move {
            self.select(study).await.map_err(|source| TrialLogError {
                action: "find",
                study: study.clone(),
                source: source.into(),
            })
        })
    }
}
