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

/// The term that goes on, and the numbers of the next entry and the next line.
const PLACE: &str = "SELECT epoch, (SELECT coalesce(max(seq), 0) + 1 FROM \
    (SELECT max(seq) AS seq FROM journal UNION ALL SELECT max(seq) FROM snapshot) AS newest), \
    (SELECT coalesce(max(seq), 0) + 1 FROM log) FROM lease WHERE id = 1";

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
    /// Where a term's next batch goes; not known after one that failed or was cancelled.
    next: Option<(Term, Place)>,
    /// How far the journal went when it was last known.
    confirmed: Option<(Term, Place)>,
    /// Where a batch went of which nobody knows whether it is there.
    unknown: Option<Place>,
}

impl Journal {
    pub(super) async fn append(&self, database: &Database, term: Term, batch: Batch<'_>) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut attempts = 0;
        loop {
            let place = writer.place(database, term).await?;
            if batch.is_empty() {
                return Ok(place.last_seq());
            }
            if let Some(after) = writer.written_before(database, place, batch).await? {
                return Ok(writer.confirm(term, after));
            }
            attempts += 1;
            // Until it is known to have worked, nobody knows.
            writer.next = None;
            let written = match database {
                Database::Sqlite(database) => sqlite::append(database, term, place, batch).await,
                Database::Postgres(database) => postgres::append(database, term, place, batch).await,
            };
            let error = match written {
                Ok(true) => return Ok(writer.confirm(term, place.after(batch))),
                // The next look tells why, unless this is the last.
                Ok(false) if attempts < ATTEMPTS_MAX => continue,
                Ok(false) => return Err(StoreError::Fenced { epoch: term.epoch }),
                Err(error) => error,
            };
            let has_no_answer = matches!(error, StoreError::DatabaseAway { .. } | StoreError::DatabaseSilent { .. });
            if has_no_answer {
                writer.unknown = Some(place);
            }
            let may_work = matches!(error, StoreError::DatabaseAway { .. }) || error.is_collision();
            if attempts == ATTEMPTS_MAX || !may_work {
                return Err(error);
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
    /// Where the next batch of `term` goes.
    async fn place(&mut self, database: &Database, term: Term) -> Result<Place, StoreError> {
        if let Some((of, place)) = self.next
            && of == term
        {
            return Ok(place);
        }
        let (epoch, next_seq, next_line): (i64, i64, i64) = on_lane!(database, Lane::Writer, "read", |connection| {
            sqlx::query_as(PLACE).fetch_one(connection).await
        })?;
        if epoch != term.stored() {
            return Err(StoreError::Fenced { epoch: term.epoch });
        }
        let place = Place { next_seq, next_line };
        if let Some((of, confirmed)) = self.confirmed
            && of == term
            && next_seq < confirmed.next_seq
        {
            return Err(StoreError::JournalLost { confirmed: confirmed.last_seq(), found: place.last_seq() });
        }
        self.next = Some((term, place));
        Ok(place)
    }

    /// Where the next batch goes if this one is there already: an earlier call had written it and not heard of it. Nobody
    /// else writes in this term, so it is there if what it says is where it went.
    async fn written_before(
        &mut self,
        database: &Database,
        place: Place,
        batch: Batch<'_>,
    ) -> Result<Option<Place>, StoreError> {
        // Not there yet: it may still come, and would be found in our way.
        let Some(start) = self.unknown.filter(|start| *start != place) else { return Ok(None) };
        let is_there = start.after(batch) == place && batch.is_at(database, start).await?;
        self.unknown = None;
        Ok(is_there.then_some(place))
    }

    fn confirm(&mut self, term: Term, after: Place) -> u64 {
        (self.next, self.confirmed, self.unknown) = (Some((term, after)), Some((term, after)), None);
        after.last_seq()
    }
}

impl Batch<'_> {
    /// Whether the rows from `start` on say what this batch does.
    async fn is_at(&self, database: &Database, start: Place) -> Result<bool, StoreError> {
        let entries: Vec<(i64, String, String)> = on_lane!(database, Lane::Writer, "read", |connection| {
            sqlx::query_as("SELECT at_ms, kind, event FROM journal WHERE seq >= $1 ORDER BY seq")
                .bind(start.next_seq)
                .fetch_all(connection)
                .await
        })?;
        let lines: Vec<(i64, String, String)> = on_lane!(database, Lane::Writer, "read", |connection| {
            sqlx::query_as("SELECT at_ms, kind, text FROM log WHERE seq >= $1 ORDER BY seq")
                .bind(start.next_line)
                .fetch_all(connection)
                .await
        })?;
        let mine = self.entries.iter().map(|entry| (storable(entry.at_ms), &entry.kind, &entry.event_json));
        let told = self.lines.iter().map(|line| (storable(line.at_ms), &line.kind, &line.text));
        Ok(same(mine, &entries) && same(told, &lines))
    }
}

fn same<'a>(rows: impl Iterator<Item = (i64, &'a String, &'a String)>, stored: &[(i64, String, String)]) -> bool {
    let plain = |text: &str| text.replace('\0', "\u{fffd}");
    rows.map(|(at_ms, kind, text)| (at_ms, plain(kind), plain(text)))
        .eq(stored.iter().map(|(at_ms, kind, text)| (*at_ms, plain(kind), plain(text))))
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
