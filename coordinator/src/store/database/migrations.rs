//! Brings a database to this version's format. Forward only: a file is never changed once it was released, only followed
//! by another.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::{Database, Lane, on_lane};
use crate::store::StoreError;

/// The version of this program, which a database remembers.
const OURS: &str = env!("CARGO_PKG_VERSION");

const WRITTEN_BY: &str =
    "INSERT INTO meta (key, value) VALUES ('written_by', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

type Step = (i64, &'static str, &'static str);

const SQLITE: [Step; 2] = [
    (1, "journal", include_str!("../../../migrations/sqlite/0001_journal.sql")),
    (2, "leadership", include_str!("../../../migrations/sqlite/0002_leadership.sql")),
];

const POSTGRES: [Step; 1] = [(1, "store", include_str!("../../../migrations/postgres/0001_store.sql"))];

fn steps(database: &Database) -> (&'static [Step], &'static str) {
    match database {
        Database::Sqlite(_) => (&SQLITE[..], "SELECT count(*) > 0 FROM sqlite_schema WHERE name = '_sqlx_migrations'"),
        Database::Postgres(_) => (&POSTGRES[..], "SELECT to_regclass('_sqlx_migrations') IS NOT NULL"),
    }
}

/// Refuses a database that has not exactly this version's format; changes nothing.
pub(super) async fn require(database: &Database) -> Result<(), StoreError> {
    let (steps, has_history) = steps(database);
    let format = refuse_newer(database, steps, has_history).await?;
    let newest = newest(steps);
    if format == newest {
        return Ok(());
    }
    Err(StoreError::Older { place: database.place().into(), format, newest })
}

pub(super) async fn bring_up(database: &Database) -> Result<(), StoreError> {
    let (steps, has_history) = steps(database);
    refuse_newer(database, steps, has_history).await?;
    let migrations = steps.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    let done =
        on_lane!(database, Lane::Setup, "opened", |connection| Ok(migrator.run_direct(None, connection, false).await))?;
    done.map_err(StoreError::Migrate)?;
    on_lane!(database, Lane::Setup, "opened", |connection| {
        sqlx::query(WRITTEN_BY).bind(OURS).execute(connection).await.map(|_| ())
    })
}

fn newest(steps: &[Step]) -> i64 {
    steps.iter().map(|(version, ..)| *version).max().unwrap_or(0)
}

/// Gives the database's format; 0 where it has none yet. Asked before anything is changed, so that the newer version can still use the database afterwards.
async fn refuse_newer(database: &Database, steps: &[Step], has_history: &'static str) -> Result<i64, StoreError> {
    let has_history: bool = on_lane!(database, Lane::Setup, "opened", |connection| {
        sqlx::query_scalar(has_history).fetch_one(connection).await
    })?;
    if !has_history {
        return Ok(0);
    }
    let format: i64 = on_lane!(database, Lane::Setup, "opened", |connection| {
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(connection).await
    })?;
    let newest = newest(steps);
    if format <= newest {
        return Ok(format);
    }
    let written_by: Option<String> = on_lane!(database, Lane::Setup, "opened", |connection| {
        sqlx::query_scalar("SELECT value FROM meta WHERE key = 'written_by'").fetch_optional(connection).await
    })?;
    let written_by = written_by.unwrap_or_else(|| "of a later version".into());
    Err(StoreError::Newer { place: database.place().into(), written_by, format, ours: OURS, newest })
}
