//! A batch in PostgreSQL.

use std::borrow::Cow;

use polder_core::{RunId, WorkerName};

use super::{Batch, Place, storable};
use crate::store::database::{Lane, Postgres};
use crate::store::{StoreError, Term};

/// One statement, hence one round trip and one transaction. It holds the lease's row until it is committed: the next term
/// begins after it, or has begun before it, and then it finds no row and writes nothing; nor does it leave a hole behind a
/// replica that took over and had lost entries. Gives a row if it wrote.
const APPEND: &str = "WITH term AS MATERIALIZED (SELECT epoch FROM lease WHERE id = 1 AND epoch = $1 \
        AND $2 = 1 + greatest(0, (SELECT max(seq) FROM journal), (SELECT max(seq) FROM snapshot)) FOR KEY SHARE), \
    journaled AS (INSERT INTO journal (seq, at_ms, epoch, kind, event) \
        SELECT $2 + n - 1, at_ms, epoch, kind, event \
        FROM term, unnest($4::bigint[], $5::text[], $6::text[]) WITH ORDINALITY AS given (at_ms, kind, event, n)), \
    logged AS (INSERT INTO log (seq, at_ms, run, round, worker, kind, text) \
        SELECT $3 + n - 1, at_ms, run, round, worker, kind, text \
        FROM term, unnest($7::bigint[], $8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[]) \
            WITH ORDINALITY AS given (at_ms, run, round, worker, kind, text, n)), \
    archived AS (INSERT INTO round (run, round, record) \
        SELECT DISTINCT ON (run, round) run, round, record \
        FROM term, unnest($13::text[], $14::bigint[], $15::text[]) WITH ORDINALITY AS given (run, round, record, n) \
        ORDER BY run, round, n DESC \
        ON CONFLICT (run, round) DO UPDATE SET record = excluded.record) \
    SELECT epoch FROM term";

/// Whether it was written; not if the term is over, or the journal ends elsewhere.
pub(super) async fn append(
    database: &Postgres,
    term: Term,
    place: Place,
    Batch { entries, lines, rounds }: Batch<'_>,
) -> Result<bool, StoreError> {
    let query = sqlx::query(APPEND)
        .bind(term.stored())
        .bind(place.next_seq)
        .bind(place.next_line)
        .bind(column(entries, |entry| storable(entry.at_ms)))
        .bind(column(entries, |entry| text(&entry.kind)))
        .bind(column(entries, |entry| text(&entry.event_json)))
        .bind(column(lines, |line| storable(line.at_ms)))
        .bind(column(lines, |line| line.run.as_ref().map(RunId::as_str)))
        .bind(column(lines, |line| line.round.map(i64::from)))
        .bind(column(lines, |line| line.worker.as_ref().map(WorkerName::as_str)))
        .bind(column(lines, |line| text(&line.kind)))
        .bind(column(lines, |line| text(&line.text)))
        .bind(column(rounds, |round| round.run.as_str()))
        .bind(column(rounds, |round| i64::from(round.round)))
        .bind(column(rounds, |round| text(&round.round_json)));
    let mut lane = database.lane(Lane::Writer, "written").await?;
    let held = database.bounded(Lane::Writer, "written", query.fetch_optional(lane.connection())).await?;
    lane.settle();
    Ok(held.is_some())
}

fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// PostgreSQL keeps no NUL in a text.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}
