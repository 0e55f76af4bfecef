//! Everything that a database holds, row by row and the same for each kind of database: what a backup is made of. It is read
//! in one transaction, beside whoever writes.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::database::{Database, Lane, on_lane};
use super::owner::is_of_place;
use super::{Snapshot, StoreConfig, StoreError};

/// Rows read at a time.
const PAGE: i64 = 256;

const ROUNDS: &str = "SELECT run, round, record FROM round WHERE run > $1 OR (run = $1 AND round > $2) \
    ORDER BY run, round LIMIT $3";

const IS_EMPTY: &str = "SELECT (SELECT count(*) FROM journal) + (SELECT count(*) FROM snapshot) + \
    (SELECT count(*) FROM round) + (SELECT count(*) FROM shared) = 0";

/// A row, as a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "row", rename_all = "snake_case")]
pub(crate) enum Row {
    /// The whole state after entry `seq`.
    Snapshot { seq: i64, at_ms: i64, rules: u32, state: String },
    /// What happened.
    Entry { seq: i64, at_ms: i64, kind: String, event: String },
    /// What people were told.
    Line {
        seq: i64,
        at_ms: i64,
        run: Option<String>,
        round: Option<i64>,
        worker: Option<String>,
        kind: String,
        text: String,
    },
    /// A round that has left memory.
    Round { run: String, round: i64, record: String },
    /// What coordinators have in common.
    Shared { key: String, value: String },
}

impl Row {
    /// None of a damaged one: a start passes it over, too.
    fn snapshot((seq, at_ms, rules, digest, state): SnapshotRow) -> Option<Self> {
        let rules = u32::try_from(rules).unwrap_or(u32::MAX);
        let encoded = BASE64.encode(&state);
        let (at, after) = (at_ms.cast_unsigned(), seq.cast_unsigned());
        let is_intact = Snapshot { seq: after, at_ms: at, rules, state: state.into() }.digest() == digest;
        is_intact.then_some(Self::Snapshot { seq, at_ms, rules, state: encoded })
    }

    fn entry((seq, at_ms, kind, event): (i64, i64, String, String)) -> Option<Self> {
        Some(Self::Entry { seq, at_ms, kind, event })
    }

    fn line((seq, at_ms, run, round, worker, kind, text): LineRow) -> Option<Self> {
        Some(Self::Line { seq, at_ms, run, round, worker, kind, text })
    }

    fn round((run, round, record): (String, i64, String)) -> Option<Self> {
        Some(Self::Round { run, round, record })
    }

    /// None of where the federation is: it will be elsewhere.
    fn shared((key, value): (String, Vec<u8>)) -> Option<Self> {
        let is_of_federation = !is_of_place(&key);
        is_of_federation.then(|| Self::of_shared(key, &value))
    }

    pub(crate) fn of_shared(key: impl Into<String>, value: &[u8]) -> Self {
        Self::Shared { key: key.into(), value: BASE64.encode(value) }
    }
}

type SnapshotRow = (i64, i64, i64, Vec<u8>, Vec<u8>);
type LineRow = (i64, i64, Option<String>, Option<i64>, Option<String>, String, String);

/// The bytes that a row carries as text.
pub(crate) fn bytes_of(text: &str) -> Result<Vec<u8>, StoreError> {
    BASE64.decode(text.as_bytes()).map_err(|error| StoreError::Backup { what: error.to_string() })
}

/// Hands every row to `each`, as of one instant: snapshots, entries, lines, rounds, then what is shared, each in order.
/// Changes nothing, and minds nobody who has the database open.
pub(crate) async fn dump(
    config: &StoreConfig,
    mut each: impl FnMut(Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let database = Database::attach(config).await?;
    let begin = match &database {
        Database::Sqlite(_) => "BEGIN",
        Database::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    };
    // An error of `each` is not one of the database.
    let mut outcome = Ok(());
    on_lane!(&database, Lane::Setup, "read", |connection| {
        sqlx::query(begin).execute(&mut *connection).await?;
        // Pages by the last key seen; what a table has is the same in all of them.
        macro_rules! pages {
            ($sql:literal, $row:path, $from:expr, $key:expr) => {{
                let mut after = $from;
                loop {
                    let page = sqlx::query_as($sql).bind(after.clone()).bind(PAGE).fetch_all(&mut *connection).await?;
                    let Some(last) = page.last().filter(|_| outcome.is_ok()).map($key) else { break };
                    after = last;
                    outcome = page.into_iter().filter_map($row).try_for_each(&mut each);
                }
            }};
        }
        pages!(
            "SELECT seq, at_ms, rules, digest, state FROM snapshot WHERE seq > $1 ORDER BY seq LIMIT $2",
            Row::snapshot,
            0_i64,
            |row: &SnapshotRow| row.0
        );
        pages!(
            "SELECT seq, at_ms, kind, event FROM journal WHERE seq > $1 ORDER BY seq LIMIT $2",
            Row::entry,
            0_i64,
            |row: &(i64, i64, String, String)| row.0
        );
        pages!(
            "SELECT seq, at_ms, run, round, worker, kind, text FROM log WHERE seq > $1 ORDER BY seq LIMIT $2",
            Row::line,
            0_i64,
            |row: &LineRow| row.0
        );
        let mut after = (String::new(), 0_i64);
        loop {
            let page: Vec<(String, i64, String)> = sqlx::query_as(ROUNDS)
                .bind(after.0.clone())
                .bind(after.1)
                .bind(PAGE)
                .fetch_all(&mut *connection)
                .await?;
            let Some(last) = page.last().filter(|_| outcome.is_ok()) else { break };
            after = (last.0.clone(), last.1);
            outcome = page.into_iter().filter_map(Row::round).try_for_each(&mut each);
        }
        pages!(
            "SELECT key, value FROM shared WHERE key > $1 ORDER BY key LIMIT $2",
            Row::shared,
            String::new(),
            |row: &(String, Vec<u8>)| row.0.clone()
        );
        sqlx::query("COMMIT").execute(&mut *connection).await.map(|_| ())
    })?;
    outcome
}

/// Fills a database that holds nothing, in one transaction: all rows or, with an error, none.
pub(crate) async fn load(
    config: &StoreConfig,
    rows: impl IntoIterator<Item = Result<Row, StoreError>>,
) -> Result<(), StoreError> {
    let database = Database::open(config).await?;
    let mut outcome = Ok(());
    on_lane!(&database, Lane::Setup, "written", |connection| {
        sqlx::query("BEGIN").execute(&mut *connection).await?;
        let is_empty: bool = sqlx::query_scalar(IS_EMPTY).fetch_one(&mut *connection).await?;
        if !is_empty {
            outcome = Err(StoreError::Backup { what: "the database it is to go to is not empty".into() });
        }
        for row in rows.into_iter().take_while(|_| is_empty) {
            let row = match row.and_then(Decoded::of) {
                Ok(row) => row,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            };
            let Decoded { row, bytes, digest } = row;
            let query = match row {
                Row::Snapshot { seq, at_ms, rules, .. } => {
                    sqlx::query("INSERT INTO snapshot (seq, at_ms, rules, digest, state) VALUES ($1, $2, $3, $4, $5)")
                        .bind(seq)
                        .bind(at_ms)
                        .bind(i64::from(rules))
                        .bind(digest)
                        .bind(bytes)
                }
                Row::Entry { seq, at_ms, kind, event } => {
                    sqlx::query("INSERT INTO journal (seq, at_ms, epoch, kind, event) VALUES ($1, $2, 0, $3, $4)")
                        .bind(seq)
                        .bind(at_ms)
                        .bind(kind)
                        .bind(event)
                }
                Row::Line { seq, at_ms, run, round, worker, kind, text } => sqlx::query(
                    "INSERT INTO log (seq, at_ms, run, round, worker, kind, text) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(seq)
                .bind(at_ms)
                .bind(run)
                .bind(round)
                .bind(worker)
                .bind(kind)
                .bind(text),
                Row::Round { run, round, record } => {
                    sqlx::query("INSERT INTO round (run, round, record) VALUES ($1, $2, $3)")
                        .bind(run)
                        .bind(round)
                        .bind(record)
                }
                Row::Shared { key, .. } => {
                    sqlx::query("INSERT INTO shared (key, value) VALUES ($1, $2)").bind(key).bind(bytes)
                }
            };
            query.execute(&mut *connection).await?;
        }
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        sqlx::query(end).execute(&mut *connection).await.map(|_| ())
    })?;
    outcome
}

/// A row, with the bytes that it carries as text.
struct Decoded {
    row: Row,
    bytes: Vec<u8>,
    /// Of a snapshot.
    digest: Vec<u8>,
}

impl Decoded {
    fn of(row: Row) -> Result<Self, StoreError> {
        let bytes = match &row {
            Row::Snapshot { state: text, .. } | Row::Shared { value: text, .. } => bytes_of(text)?,
            Row::Entry { .. } | Row::Line { .. } | Row::Round { .. } => Vec::new(),
        };
        let digest = match &row {
            Row::Snapshot { seq, at_ms, rules, .. } => {
                let (seq, at_ms) = (seq.cast_unsigned(), at_ms.cast_unsigned());
                Snapshot { seq, at_ms, rules: *rules, state: bytes.clone().into() }.digest()
            }
            _ => Vec::new(),
        };
        Ok(Self { row, bytes, digest })
    }
}
