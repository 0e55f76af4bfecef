//! The past: the newest snapshot, and the journal's entries after it, applied one by one.

use polder_core::{Effect, Event, Federation, Timestamp};

use super::snapshots;
use crate::CoordinatorError;
use crate::store::{ArchivedRound, Recorded, Store};

/// What the journal gives.
pub(super) struct Past {
    pub(super) federation: Federation,
    /// The instant of the last entry.
    pub(super) clock: Timestamp,
    /// The number of the last entry.
    pub(super) seq: u64,
    /// Entries that were applied, and the bytes of them.
    pub(super) replayed: u64,
    pub(super) bytes: u64,
    pub(super) snapshot_seq: u64,
    /// Rounds that closed meanwhile. They were archived with those entries, unless a version wrote them that knew no archive.
    pub(super) closed: Vec<ArchivedRound>,
}

impl Past {
    pub(super) async fn read(store: &Store) -> Result<Self, CoordinatorError> {
        let (federation, clock, seq) = snapshots::restore(store).await?;
        let mut past = Self { federation, clock, seq, replayed: 0, bytes: 0, snapshot_seq: seq, closed: Vec::new() };
        store.replay(seq + 1, |recorded| past.apply(recorded)).await?;
        Ok(past)
    }

    fn apply(&mut self, recorded: Recorded) -> Result<(), CoordinatorError> {
        let Recorded { seq, entry } = recorded;
        let event: Event =
            serde_json::from_str(&entry.event_json).map_err(|source| CoordinatorError::JournalEntry { seq, source })?;
        self.clock = Timestamp(entry.at_ms);
        let effects = self
            .federation
            .apply(self.clock, event)
            .map_err(|refusal| CoordinatorError::JournalRefused { seq, source: Box::new(refusal) })?;
        // Nothing of it is done again but what is harmless twice: what is outstanding, the federation knows.
        self.closed.extend(archived(&self.federation, &effects));
        self.seq = seq;
        self.replayed += 1;
        self.bytes += entry.event_json.len() as u64;
        Ok(())
    }
}

/// The rounds that `effects` ask to be archived.
pub(super) fn archived(federation: &Federation, effects: &[Effect]) -> Vec<ArchivedRound> {
    let rounds = effects.iter().filter_map(|effect| match effect {
        Effect::ArchiveRound { run, round } => Some((run, *round)),
        _ => None,
    });
    let record = rounds.filter_map(|(run, number)| {
        let round = federation.runs.get(run)?.round(number)?;
        match serde_json::to_string(round) {
            Ok(round_json) => Some(ArchivedRound { run: run.clone(), round: number, round_json }),
            Err(error) => {
                // Rounds all can, as they come from entries of the journal.
                tracing::error!(%run, round = number, %error, "a round cannot be written and is not archived");
                None
            }
        }
    });
    record.collect()
}
