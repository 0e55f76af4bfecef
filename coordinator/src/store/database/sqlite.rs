//! SQLite, in the store's directory. The directory's lock keeps all others out.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::Lane;
use crate::store::StoreError;
use crate::store::lease::Alone;

#[derive(Debug)]
pub(in crate::store) struct Sqlite {
    place: String,
    writer: Mutex<Connected>,
    reader: Mutex<Connected>,
    pub(in crate::store) alone: Alone,
}

#[derive(Debug)]
struct Connected {
    connection: SqliteConnection,
    /// Whether what was last asked may have left a transaction open.
    unsettled: bool,
}

impl Sqlite {
    pub(super) async fn open(dir: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(dir.join("journal.sqlite"))
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let writer = options.clone().create_if_missing(true).connect().await.map_err(fault("opened"))?;
        let reader = options.read_only(true).connect().await.map_err(fault("opened for reading"))?;
        let [writer, reader] =
            [writer, reader].map(|connection| Mutex::new(Connected { connection, unsettled: false }));
        Ok(Self { place: dir.display().to_string(), writer, reader, alone: Alone::default() })
    }

    /// Opens what another process may be writing to.
    pub(super) async fn attach(dir: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(dir.join("journal.sqlite"))
            .pragma("query_only", "ON")
            .disable_statement_logging();
        let connect = || async { options.clone().connect().await.map_err(fault("opened for reading")) };
        let [writer, reader] = [connect().await?, connect().await?]
            .map(|connection| Mutex::new(Connected { connection, unsettled: false }));
        Ok(Self { place: dir.display().to_string(), writer, reader, alone: Alone::default() })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(in crate::store) async fn lane(&self, lane: Lane, _action: &'static str) -> Result<SqliteLane<'_>, StoreError> {
        let held = if lane == Lane::Reader { &self.reader } else { &self.writer };
        let mut held = held.lock().await;
        if held.unsettled {
            // Fails when no transaction is open, which is as good.
            let _ = sqlx::query("ROLLBACK").execute(&mut held.connection).await;
        }
        held.unsettled = true;
        Ok(SqliteLane(held))
    }

    /// A disk needs no time limit: it answers, or the machine is at its end.
    pub(in crate::store) async fn bounded<T>(
        &self,
        _lane: Lane,
        action: &'static str,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        work.await.map_err(fault(action))
    }
}

pub(in crate::store) struct SqliteLane<'a>(MutexGuard<'a, Connected>);

impl SqliteLane<'_> {
    pub(in crate::store) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.0.connection
    }

    /// What was asked is done; nothing is left open.
    pub(in crate::store) fn settle(mut self) {
        self.0.unsettled = false;
    }
}

/// `SQLITE_FULL`, and what SQLite says when the index of its write-ahead log cannot grow.
const FULL: [&str; 2] = ["13", "4874"];

/// Somebody else, with another program, has the database to himself.
const BUSY: [&str; 2] = ["5", "517"];
/// How long that is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

fn fault(action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| {
        let says = |codes: &[&str]| {
            source.as_database_error().and_then(DatabaseError::code).is_some_and(|code| codes.contains(&&*code))
        };
        if says(&FULL) {
            StoreError::Full { what: format!("the journal could not be {action}"), source: source.into() }
        } else if says(&BUSY) {
            StoreError::DatabaseSilent { database: "journal.sqlite".into(), action, seconds: BUSY_TIMEOUT.as_secs() }
        } else {
            StoreError::Database { action, source }
        }
    }
}
