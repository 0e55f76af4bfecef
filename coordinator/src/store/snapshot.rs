//! The whole state after some entry, so that a start replays only what came later. The last two are kept, and each is
//! checked when it is read: a damaged one is passed over.

use bytes::Bytes;

use super::database::{Lane, on_lane};
use super::{Store, StoreError, Term};

/// How many are kept, in one statement with their number.
const KEEP_TWO: &str = "DELETE FROM snapshot WHERE seq < (SELECT min(seq) FROM (SELECT seq FROM snapshot ORDER BY seq DESC LIMIT 2) AS kept)";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry that it covers.
    pub seq: u64,
    /// Milliseconds since the Unix epoch, of that entry.
    pub at_ms: u64,
    /// Which version of the rules made it.
    pub rules: u32,
    pub state: Bytes,
}

impl Store {
    /// The newest snapshot that is intact.
    pub async fn latest_snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        let seqs: Vec<i64> = on_lane!(&self.database, Lane::Reader, "read", |connection| {
            sqlx::query_scalar("SELECT seq FROM snapshot ORDER BY seq DESC").fetch_all(connection).await
        })?;
        for seq in seqs {
            if let Some(snapshot) = self.intact_snapshot(seq).await? {
                return Ok(Some(snapshot));
            }
        }
        Ok(None)
    }

    async fn intact_snapshot(&self, seq: i64) -> Result<Option<Snapshot>, StoreError> {
        let found: Option<(i64, i64, Vec<u8>, Vec<u8>)> =
            on_lane!(&self.database, Lane::Reader, "read", |connection| {
                sqlx::query_as("SELECT at_ms, rules, digest, state FROM snapshot WHERE seq = $1")
                    .bind(seq)
                    .fetch_optional(connection)
                    .await
            })?;
        let Some((at_ms, rules, digest, state)) = found else { return Ok(None) };
        let seq = seq.cast_unsigned();
        let snapshot = Snapshot {
            seq,
            at_ms: at_ms.cast_unsigned(),
            rules: u32::try_from(rules).unwrap_or(u32::MAX),
            state: state.into(),
        };
        let is_intact = digest == snapshot.digest();
        if !is_intact {
            tracing::error!(seq, "the journal's snapshot is damaged and passed over for an older one");
        }
        Ok(is_intact.then_some(snapshot))
    }

    /// Keeps `snapshot` and the one before it; older ones go.
    pub async fn write_snapshot(&self, term: Term, snapshot: &Snapshot) -> Result<(), StoreError> {
        let written = on_lane!(&self.database, Lane::Upkeep, "written", |connection| {
            sqlx::query(
                "INSERT INTO snapshot (seq, at_ms, rules, digest, state) \
                 SELECT $2, $3, $4, $5, $6 FROM lease WHERE epoch = $1 \
                 ON CONFLICT (seq) DO UPDATE SET digest = excluded.digest, state = excluded.state, rules = excluded.rules",
            )
            .bind(term.stored())
            .bind(snapshot.seq.cast_signed())
            .bind(snapshot.at_ms.cast_signed())
            .bind(i64::from(snapshot.rules))
            .bind(snapshot.digest())
            .bind(&snapshot.state[..])
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
        })?;
        if written == 0 {
            return Err(StoreError::Fenced { epoch: term.epoch });
        }
        on_lane!(&self.database, Lane::Upkeep, "pruned", |connection| {
            sqlx::query(KEEP_TWO).execute(connection).await.map(|_| ())
        })
    }
}

impl Snapshot {
    /// Over everything that it says.
    pub(super) fn digest(&self) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seq.to_le_bytes()).update(&self.at_ms.to_le_bytes()).update(&self.rules.to_le_bytes());
        hasher.update(&self.state);
        hasher.finalize().as_bytes().to_vec()
    }
}
