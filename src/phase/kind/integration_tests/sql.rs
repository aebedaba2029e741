//! A check in a database.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::state;
use super::suite::SqlCheck;
use crate::database::{Database, PoolSize};
use crate::event::CheckState;
use crate::phase::{Context, PhaseError};
use crate::with_pool;

/// How long a query may take.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn check(wanted: &SqlCheck, cx: &Context) -> Result<CheckState, PhaseError> {
    let database = Database::open(&cx.database(&wanted.url)?, PoolSize::exactly(1))
        .await
        .map_err(|error| PhaseError::because("could not reach the database", error))?;
    // The query is the suite's own text: whoever writes the suite may ask what they like.
    let query = AssertSqlSafe(wanted.query.clone());
    let asked = with_pool!(&database, pool => {
        tokio::time::timeout(LIMIT, sqlx::query_scalar::<_, i64>(query).fetch_one(pool)).await
    });
    database.close().await;
    let seen = asked
        .map_err(|_| {
            PhaseError::new(format!("no answer within {}", humantime::format_duration(LIMIT)))
        })?
        .map_err(|error| PhaseError::because("could not run the query", error))?;
    Ok(state(
        seen == wanted.equals,
        seen.to_string(),
        wanted.equals.to_string(),
        wanted.query.clone(),
    ))
}
