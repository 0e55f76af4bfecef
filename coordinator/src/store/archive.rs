//! What has left memory, and what leaves the database: closed rounds, old entries, old lines.

use polder_core::{RoundNumber, RunId};

use super::database::{Lane, on_lane};
use super::{Store, StoreError, Term};

/// Rows that are deleted at a time: writers wait for no more than that.
const STRETCH: i64 = 5000;

/// Never what the older of the two snapshots needs, whoever asks: a start may have to begin there. Oldest first, so
/// that no hole appears.
const PRUNE_JOURNAL: &str = "DELETE FROM journal WHERE seq < $2 AND seq <= (SELECT min(seq) FROM snapshot) \
    AND seq < (SELECT min(seq) FROM journal) + $3 AND $1 = (SELECT epoch FROM lease)";

const PRUNE_LOG: &str = "DELETE FROM log WHERE seq <= (SELECT max(seq) FROM log) - $2 \
    AND seq < (SELECT min(seq) FROM log) + $3 AND $1 = (SELECT epoch FROM lease)";

const PRUNE_ROUNDS: &str = "DELETE FROM round WHERE (run, round) IN (SELECT run, round FROM round AS old \
    WHERE round <= (SELECT max(round) FROM round AS newest WHERE newest.run = old.run) - $2 LIMIT $3) \
    AND $1 = (SELECT epoch FROM lease)";

/// What may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Entries with smaller numbers may, as far as the older of the two snapshots covers them.
    pub journal_before_seq: u64,
    /// The newest lines stay; at least one does.
    pub log_keep_lines: u64,
    /// The newest archived rounds of each run stay.
    pub rounds_keep_per_run: u64,
}

/// How many rows went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub entries: u64,
    pub lines: u64,
    pub rounds: u64,
}

impl Store {
    /// A round that is over, as it was given to [`append`](Self::append).
    pub async fn archived_round(&self, run: &RunId, round: RoundNumber) -> Result<Option<String>, StoreError> {
        on_lane!(&self.database, Lane::Reader, "read", |connection| {
            sqlx::query_scalar("SELECT record FROM round WHERE run = $1 AND round = $2")
                .bind(run.as_str())
                .bind(i64::from(round))
                .fetch_optional(connection)
                .await
        })
    }

    /// Deletes what may go, a stretch at a time; appends get their turn in between.
    pub async fn prune(&self, term: Term, prune: &Prune) -> Result<Pruned, StoreError> {
        let entries = self.prune_rows(term, PRUNE_JOURNAL, prune.journal_before_seq).await?;
        let lines = self.prune_rows(term, PRUNE_LOG, prune.log_keep_lines.max(1)).await?;
        let rounds = self.prune_rows(term, PRUNE_ROUNDS, prune.rounds_keep_per_run).await?;
        Ok(Pruned { entries, lines, rounds })
    }

    async fn prune_rows(&self, term: Term, statement: &'static str, bound: u64) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let (holds, went) = on_lane!(&self.database, Lane::Upkeep, "pruned", |connection| {
                let done = sqlx::query(statement)
                    .bind(term.stored())
                    .bind(i64::try_from(bound).unwrap_or(i64::MAX))
                    .bind(STRETCH)
                    .execute(&mut *connection)
                    .await?;
                let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM lease").fetch_one(connection).await?;
                Ok((epoch == term.stored(), done.rows_affected()))
            })?;
            if !holds {
                return Err(StoreError::Fenced { epoch: term.epoch });
            }
            gone += went;
            if went == 0 {
                return Ok(gone);
            }
        }
    }
}
