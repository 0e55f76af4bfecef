//! A batch in SQLite.

use super::{Batch, Place, rows, storable};
use crate::store::database::{Lane, Sqlite};
use crate::store::{StoreError, Term};

/// All rows of a batch are bound as JSON arrays: a batch of any size is then one message to the thread that has the
/// database, with statements that were prepared once. Gives a row if the term still holds.
const APPEND: &str = "BEGIN IMMEDIATE; \
    INSERT INTO journal (seq, at_ms, epoch, kind, event) \
        SELECT $2 + key, value ->> 0, $1, value ->> 1, value ->> 2 FROM json_each($4) \
        WHERE $1 = (SELECT epoch FROM lease); \
    INSERT INTO log (seq, at_ms, run, round, worker, kind, text) \
        SELECT $3 + key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
        FROM json_each($5) WHERE $1 = (SELECT epoch FROM lease); \
    INSERT INTO round (run, round, record) \
        SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($6) WHERE $1 = (SELECT epoch FROM lease) \
        ON CONFLICT (run, round) DO UPDATE SET record = excluded.record; \
    SELECT epoch FROM lease WHERE epoch = $1; \
    COMMIT";

/// Whether it was written; not if the term is over.
pub(super) async fn append(database: &Sqlite, term: Term, place: Place, batch: Batch<'_>) -> Result<bool, StoreError> {
    let entries = batch.entries.iter().map(|entry| (storable(entry.at_ms), &entry.kind, &entry.event_json));
    let lines = batch.lines.iter().map(|l| (storable(l.at_ms), &l.run, l.round, &l.worker, &l.kind, &l.text));
    let rounds = batch.rounds.iter().map(|round| (&round.run, round.round, &round.round_json));
    let mut lane = database.lane(Lane::Writer, "written").await?;
    let query = sqlx::query(APPEND)
        .bind(term.stored())
        .bind(place.next_seq)
        .bind(place.next_line)
        .bind(rows(entries))
        .bind(rows(lines))
        .bind(rows(rounds));
    let held = database.bounded(Lane::Writer, "written", query.fetch_all(lane.connection())).await?;
    lane.settle();
    Ok(!held.is_empty())
}
