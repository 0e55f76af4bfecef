//! The journal and the log, in SQLite.
//!
//! One connection writes, another reads; both live behind a lock each. The log rides in the journal's transactions, so
//! that nobody is ever told of something that did not happen.

use std::path::Path;

use futures_util::TryStreamExt;
use polder_core::{RoundNumber, RunId, WorkerName};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr, SqliteConnection};
use tokio::sync::Mutex;

use super::StoreError;

/// The version of this program, which a directory remembers.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Forward only: a file here is never changed once it was released, only followed by another.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "journal", include_str!("../../migrations/0001_journal.sql"))];

/// All rows of a batch are bound as two JSON arrays: a batch of any size is then one message to the thread that has
/// the database, with statements that were prepared once.
const APPEND: &str = "BEGIN IMMEDIATE; \
    INSERT INTO journal (seq, at_ms, kind, event) \
        SELECT ?1 + key, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2); \
    INSERT INTO log (at_ms, run, round, worker, kind, text) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?3); \
    COMMIT";

/// One event as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What sort of event it is, for people who look into the database.
    pub kind: String,
    pub event_json: String,
}

/// A [`JournalEntry`] with its number; the first one is 1 and there are no gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub seq: u64,
    pub entry: JournalEntry,
}

/// A notice for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    pub run: Option<RunId>,
    pub round: Option<RoundNumber>,
    pub worker: Option<WorkerName>,
    pub kind: String,
    pub text: String,
}

/// A [`LogLine`] with its number; numbers rise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub seq: u64,
    pub line: LogLine,
}

#[derive(Debug)]
pub(super) struct Journal {
    writer: Mutex<Writer>,
    reader: Mutex<SqliteConnection>,
}

#[derive(Debug)]
struct Writer {
    connection: SqliteConnection,
    /// The number of the next entry; unknown after a batch that failed or was cancelled.
    next_seq: Option<i64>,
}

impl Journal {
    pub(super) async fn open(dir: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(dir.join("journal.sqlite"))
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let mut connection = options.clone().create_if_missing(true).connect().await.map_err(database("opened"))?;
        refuse_newer(&mut connection, dir).await?;
        migrate(&mut connection).await?;
        let reader = options.read_only(true).connect().await.map_err(database("opened for reading"))?;
        Ok(Self { writer: Mutex::new(Writer { connection, next_seq: None }), reader: Mutex::new(reader) })
    }

    pub(super) async fn append(&self, entries: &[JournalEntry], lines: &[LogLine]) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        let next_seq = writer.next_seq().await?;
        if entries.is_empty() && lines.is_empty() {
            return Ok((next_seq - 1).cast_unsigned());
        }
        // Until the commit is known to have worked, the connection may be inside the transaction.
        writer.next_seq = None;
        sqlx::query(APPEND)
            .bind(next_seq)
            .bind(rows(entries.iter().map(|entry| (storable(entry.at_ms), &entry.kind, &entry.event_json))))
            .bind(rows(lines.iter().map(|l| (storable(l.at_ms), &l.run, l.round, &l.worker, &l.kind, &l.text))))
            .execute(&mut writer.connection)
            .await
            .map_err(database("written"))?;
        let after = next_seq + entries.len().cast_signed() as i64;
        writer.next_seq = Some(after);
        Ok((after - 1).cast_unsigned())
    }

    pub(super) async fn replay<E: From<StoreError>>(
        &self,
        from_seq: u64,
        mut each: impl FnMut(Recorded) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = self.reader.lock().await;
        let mut expected = from_seq.max(1);
        let mut stored = sqlx::query_as::<_, (i64, i64, String, String)>(
            "SELECT seq, at_ms, kind, event FROM journal WHERE seq >= ? ORDER BY seq",
        )
        .bind(expected.cast_signed())
        .fetch(&mut *reader);
        while let Some((seq, at_ms, kind, event_json)) = stored.try_next().await.map_err(database("read"))? {
            let seq = seq.cast_unsigned();
            if seq != expected {
                return Err(StoreError::JournalHole { expected, found: seq }.into());
            }
            expected += 1;
            each(Recorded { seq, entry: JournalEntry { at_ms: at_ms.cast_unsigned(), kind, event_json } })?;
        }
        Ok(())
    }

    pub(super) async fn log_lines(
        &self,
        run: Option<&RunId>,
        after_seq: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let query = match run {
            Some(run) => sqlx::query_as::<_, LogRow>(
                "SELECT seq, at_ms, run, round, worker, kind, text FROM log \
                 WHERE seq > ? AND run = ? ORDER BY seq LIMIT ?",
            )
            .bind(after_seq.cast_signed())
            .bind(run.as_str()),
            None => sqlx::query_as::<_, LogRow>(
                "SELECT seq, at_ms, run, round, worker, kind, text FROM log WHERE seq > ? ORDER BY seq LIMIT ?",
            )
            .bind(after_seq.cast_signed()),
        };
        let mut reader = self.reader.lock().await;
        let found = query.bind(limit).fetch_all(&mut *reader).await.map_err(database("read"))?;
        found.into_iter().map(log_entry).collect()
    }
}

impl Writer {
    /// The number of the next entry, after ending whatever a failed batch has left open.
    async fn next_seq(&mut self) -> Result<i64, StoreError> {
        if let Some(next_seq) = self.next_seq {
            return Ok(next_seq);
        }
        // Fails when no transaction is open, which is as good.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        let next_seq: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) + 1 FROM journal")
            .fetch_one(&mut self.connection)
            .await
            .map_err(database("read"))?;
        self.next_seq = Some(next_seq);
        Ok(next_seq)
    }
}

type LogRow = (i64, i64, Option<String>, Option<RoundNumber>, Option<String>, String, String);

fn log_entry((seq, at_ms, run, round, worker, kind, text): LogRow) -> Result<LogEntry, StoreError> {
    let seq = seq.cast_unsigned();
    let corrupt = |error: polder_core::id::NameError| StoreError::CorruptLog { seq, what: error.to_string() };
    let run = run.map(RunId::new).transpose().map_err(corrupt)?;
    let worker = worker.map(WorkerName::new).transpose().map_err(corrupt)?;
    Ok(LogEntry { seq, line: LogLine { at_ms: at_ms.cast_unsigned(), run, round, worker, kind, text } })
}

/// SQLite's integers have a sign; an instant that far away is as good as the last one.
fn storable(at_ms: u64) -> i64 {
    i64::try_from(at_ms).unwrap_or(i64::MAX)
}

/// One JSON array of the given rows.
fn rows(rows: impl Iterator<Item = impl serde::Serialize>) -> String {
    let rows: Vec<_> = rows.collect();
    // Texts and numbers always have a JSON form.
    serde_json::to_string(&rows).unwrap_or_default()
}

/// Asked before anything is changed, so that the newer version can still use the directory afterwards.
async fn refuse_newer(connection: &mut SqliteConnection, dir: &Path) -> Result<(), StoreError> {
    let has_history: bool =
        sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await
            .map_err(database("opened"))?;
    if !has_history {
        return Ok(());
    }
    let format: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(database("opened"))?;
    let newest = MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or(0);
    if format <= newest {
        return Ok(());
    }
    let written_by: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'written_by'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(database("opened"))?;
    let written_by = written_by.unwrap_or_else(|| "of a later version".into());
    Err(StoreError::Newer { dir: dir.to_path_buf(), written_by, format, ours: OURS, newest })
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.to_vec()).run(&mut *connection).await.map_err(StoreError::Migrate)?;
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES ('written_by', ?) ON CONFLICT DO UPDATE SET value = excluded.value",
    )
    .bind(OURS)
    .execute(connection)
    .await
    .map_err(database("opened"))?;
    Ok(())
}

fn database(action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { action, source }
}
