//! The journal and the log. The log and closed rounds ride in the journal's transactions, so that nobody is ever told of
//! something that did not happen.
//!
//! An entry is written once, whatever happens to the answer: numbers are given here, the database takes each once, and a
//! writer that does not know what became of a batch looks before it tries again.

use polder_core::{RoundNumber, RunId, WorkerName};
use tokio::sync::Mutex;

mod postgres;
mod sqlite;

use super::database::{Database, Lane, on_lane};
use super::{StoreError, Term};

/// Rows that are read at a time.
const PAGE: i64 = 256;
/// Times that one batch is tried before the caller is told.
const ATTEMPTS_MAX: u32 = 3;

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

/// A round that is over, on its way out of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedRound {
    pub run: RunId,
    pub round: RoundNumber,
    pub round_json: String,
}

/// What is written together.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) entries: &'a [JournalEntry],
    pub(super) lines: &'a [LogLine],
    pub(super) rounds: &'a [ArchivedRound],
}

impl Batch<'_> {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lines.is_empty() && self.rounds.is_empty()
    }

    /// Tells one batch from another.
    fn fingerprint(&self) -> blake3::Hash {
        let entries = self.entries.iter().map(|entry| (entry.at_ms, &entry.kind, &entry.event_json));
        let lines = self.lines.iter().map(|l| (l.at_ms, &l.run, l.round, &l.worker, &l.kind, &l.text));
        let rounds = self.rounds.iter().map(|round| (&round.run, round.round, &round.round_json));
        blake3::hash([rows(entries), rows(lines), rows(rounds)].join("\n").as_bytes())
    }
}

/// The numbers of the next entry and the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    next_seq: i64,
    next_line: i64,
}

impl Place {
    fn after(self, batch: Batch<'_>) -> Self {
        let next_seq = self.next_seq + batch.entries.len().cast_signed() as i64;
        Self { next_seq, next_line: self.next_line + batch.lines.len().cast_signed() as i64 }
    }

    fn last_seq(self) -> u64 {
        (self.next_seq - 1).cast_unsigned()
    }
}

/// The writer's side of the journal.
#[derive(Debug, Default)]
pub(super) struct Journal {
    writer: Mutex<Writer>,
}

#[derive(Debug, Default)]
struct Writer {
    /// Where a term's next batch goes; unknown after one that failed or was cancelled.
    next: Option<(Term, Place)>,
    /// A batch of which nobody knows whether it is there, and where the next would go if it is.
    unknown: Option<(blake3::Hash, Place)>,
}

/// What is to be done about a batch.
enum Next {
    Write(Place),
    /// It was there already: an earlier call had written it and not heard of it.
    Written(Place),
}

impl Journal {
    pub(super) async fn append(&self, database: &Database, term: Term, batch: Batch<'_>) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut attempts = 0;
        loop {
            let place = match writer.look(database, term, batch).await? {
                Next::Write(place) if batch.is_empty() => return Ok(place.last_seq()),
                Next::Write(place) => place,
                Next::Written(place) => return Ok(place.last_seq()),
            };
            attempts += 1;
            // Until it is known to have worked, nobody knows.
            writer.next = None;
            let written = match database {
                Database::Sqlite(database) => sqlite::append(database, term, place, batch).await,
                Database::Postgres(database) => postgres::append(database, term, place, batch).await,
            };
            let after = place.after(batch);
            match written {
                Ok(true) => {
                    writer.next = Some((term, after));
                    return Ok(after.last_seq());
                }
                Ok(false) => return Err(StoreError::Fenced { epoch: term.epoch }),
                Err(error) => {
                    writer.unknown = Some((batch.fingerprint(), after));
                    let may_work = matches!(error, StoreError::DatabaseAway { .. }) || error.is_collision();
                    if attempts == ATTEMPTS_MAX || !may_work {
                        return Err(error);
                    }
                }
            }
        }
    }

    pub(super) async fn replay<E: From<StoreError>>(
        &self,
        database: &Database,
        from_seq: u64,
        mut each: impl FnMut(Recorded) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut expected = from_seq.max(1);
        loop {
            let page = page(database, expected).await?;
            let is_last = page.len() < PAGE as usize;
            for (seq, at_ms, kind, event_json) in page {
                let seq = seq.cast_unsigned();
                if seq != expected {
                    return Err(StoreError::JournalHole { expected, found: seq }.into());
                }
                expected += 1;
                each(Recorded { seq, entry: JournalEntry { at_ms: at_ms.cast_unsigned(), kind, event_json } })?;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

async fn page(database: &Database, from_seq: u64) -> Result<Vec<(i64, i64, String, String)>, StoreError> {
    on_lane!(database, Lane::Reader, "read", |connection| {
        sqlx::query_as("SELECT seq, at_ms, kind, event FROM journal WHERE seq >= $1 ORDER BY seq LIMIT $2")
            .bind(from_seq.cast_signed())
            .bind(PAGE)
            .fetch_all(connection)
            .await
    })
}

impl Writer {
    /// Finds out where `batch` goes, and whether it is there already.
    async fn look(&mut self, database: &Database, term: Term, batch: Batch<'_>) -> Result<Next, StoreError> {
        if let Some((of, place)) = self.next
            && of == term
        {
            return Ok(Next::Write(place));
        }
        let (epoch, next_seq, next_line): (i64, i64, i64) = on_lane!(database, Lane::Writer, "read", |connection| {
            sqlx::query_as(
                "SELECT epoch, (SELECT coalesce(max(seq), 0) + 1 FROM \
                 (SELECT max(seq) AS seq FROM journal UNION ALL SELECT max(seq) FROM snapshot) AS newest), \
                 (SELECT coalesce(max(seq), 0) + 1 FROM log) FROM lease WHERE id = 1",
            )
            .fetch_one(connection)
            .await
        })?;
        if epoch != term.stored() {
            return Err(StoreError::Fenced { epoch: term.epoch });
        }
        // Nobody else writes in this term: if the numbers went on as that batch would have them, it is there.
        let found = Place { next_seq, next_line };
        let unknown = self.unknown.take();
        self.next = Some((term, found));
        let is_there = unknown.is_some_and(|(of, after)| after == found && of == batch.fingerprint());
        Ok(if is_there && !(batch.entries.is_empty() && batch.lines.is_empty()) {
            Next::Written(found)
        } else {
            Next::Write(found)
        })
    }
}

/// At most `limit` log lines after number `after_seq`, oldest first.
pub(super) async fn log_lines(
    database: &Database,
    run: Option<&RunId>,
    after_seq: u64,
    limit: u32,
) -> Result<Vec<LogEntry>, StoreError> {
    let query = match run {
        Some(_) => {
            "SELECT seq, at_ms, run, round, worker, kind, text FROM log WHERE seq > $1 AND run = $3 ORDER BY seq LIMIT $2"
        }
        None => {
            "SELECT seq, at_ms, run, round, worker, kind, text FROM log \
             WHERE seq > $1 AND $3 IS NULL ORDER BY seq LIMIT $2"
        }
    };
    let found: Vec<LogRow> = on_lane!(database, Lane::Reader, "read", |connection| {
        sqlx::query_as(query)
            .bind(after_seq.cast_signed())
            .bind(i64::from(limit))
            .bind(run.map(RunId::as_str))
            .fetch_all(connection)
            .await
    })?;
    found.into_iter().map(log_entry).collect()
}

type LogRow = (i64, i64, Option<String>, Option<i64>, Option<String>, String, String);

fn log_entry((seq, at_ms, run, round, worker, kind, text): LogRow) -> Result<LogEntry, StoreError> {
    let seq = seq.cast_unsigned();
    let corrupt = |error: polder_core::id::NameError| StoreError::CorruptLog { seq, what: error.to_string() };
    let run = run.map(RunId::new).transpose().map_err(corrupt)?;
    let worker = worker.map(WorkerName::new).transpose().map_err(corrupt)?;
    let round = round
        .map(RoundNumber::try_from)
        .transpose()
        .map_err(|_| StoreError::CorruptLog { seq, what: "its round has no such number".into() })?;
    Ok(LogEntry { seq, line: LogLine { at_ms: at_ms.cast_unsigned(), run, round, worker, kind, text } })
}

/// The databases' integers have a sign; an instant that far away is as good as the last one.
fn storable(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// One JSON array of the given rows.
fn rows(rows: impl Iterator<Item = impl serde::Serialize>) -> String {
    let rows: Vec<_> = rows.collect();
    // Texts and numbers always have a JSON form.
    serde_json::to_string(&rows).unwrap_or_default()
}
