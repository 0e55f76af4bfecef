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
/// `SQLITE_IOERR_WRITE`: what SQLite makes of a quota that is used up, and of a disk that fails; it keeps to itself which.
const UNWRITABLE: &str = "778";

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
        } else if says(&[UNWRITABLE]) {
            let what = format!(
                "the journal could not be {action}: this user's quota is used up, or the disk fails (then the kernel's log \
                 says so)"
            );
            StoreError::Full { what, source: source.into() }
        } else if says(&BUSY) {
            StoreError::DatabaseSilent { database: "journal.sqlite".into(), action, seconds: BUSY_TIMEOUT.as_secs() }
        } else {
            StoreError::Database { action, source }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error;
    use std::fmt;

    use sqlx::error::ErrorKind;

    use super::*;

    /// What SQLite says with an extended code.
    #[derive(Debug)]
    struct Said(&'static str);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.message())
        }
    }

    impl Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &'static str {
            "disk I/O error"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn a_quota_that_is_used_up_passes_as_a_full_disk_does() {
        let fault = |code| fault("written")(sqlx::Error::Database(Box::new(Said(code))));
        for code in ["13", "4874", "778"] {
            let error = fault(code);
            assert!(matches!(error, StoreError::Full { .. }) && error.is_passing(), "{code}: {error}");
        }
        assert!(fault("778").to_string().contains("quota"));
        // `SQLITE_IOERR_FSYNC`: nobody knows what is on the disk.
        assert!(!fault("1034").is_passing());
        assert!(!fault("11").is_passing());
    }
}
