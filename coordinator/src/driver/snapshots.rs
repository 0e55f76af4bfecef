//! Snapshots: the whole federation after some entry, so that a start replays only what came later. They are made beside
//! the loop, from a clone; afterwards what they make superfluous is pruned, by the rules of [`Housekeeping`].

use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use polder_core::federation::RULES;
use polder_core::{Federation, Timestamp, invariants};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::effects::{blocking, chain};
use super::standing::Standing;
use crate::CoordinatorError;
use crate::retention::Housekeeping;
use crate::store::{Snapshot, Store, StoreError, Term};

/// A snapshot is due after so many entries, or so many bytes of them.
const ENTRIES_MAX: u64 = 10_000;
const BYTES_MAX: u64 = 64 << 20;
/// Largest state that is read back. What would be larger has no bound of ours any more.
const STATE_BYTES_MAX: u64 = 8 << 30;

/// Makes snapshots, one at a time.
pub(super) struct Snapshots {
    store: Arc<Store>,
    term: Term,
    housekeeping: Housekeeping,
    standing: watch::Sender<Standing>,
    /// What the journal has taken since the last snapshot was begun.
    entries: u64,
    bytes: u64,
    under_way: Option<AbortOnDropHandle<()>>,
}

impl Snapshots {
    pub(super) fn new(
        store: Arc<Store>,
        term: Term,
        housekeeping: Housekeeping,
        standing: watch::Sender<Standing>,
    ) -> Self {
        Self { store, term, housekeeping, standing, entries: 0, bytes: 0, under_way: None }
    }

    /// The journal took these.
    pub(super) fn count(&mut self, entries: u64, bytes: u64) {
        self.entries += entries;
        self.bytes += bytes;
    }

    /// Begins a snapshot if it is time and none is under way. `federation` is what the journal has, up to `seq`.
    pub(super) fn begin_if_due(&mut self, federation: &Federation, at: Timestamp, seq: u64) {
        let every = self.housekeeping.snapshot_every.unwrap_or(ENTRIES_MAX);
        let is_due = self.entries >= every || self.bytes >= BYTES_MAX;
        let is_busy = self.under_way.as_ref().is_some_and(|task| !task.is_finished());
        if !is_due || is_busy {
            return;
        }
        (self.entries, self.bytes) = (0, 0);
        let (store, term, housekeeping) = (self.store.clone(), self.term, self.housekeeping);
        let (standing, federation) = (self.standing.clone(), federation.clone());
        self.under_way = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let made = blocking(move || (check(&federation, &standing), take(&federation, at, seq), standing)).await;
            let ((), taken, standing) = made;
            // The journal has it all: one that cannot be written now is made later, with what comes until then.
            if let Err(error) = file(&store, term, &housekeeping, taken, &standing).await {
                tracing::warn!(
                    seq,
                    error = chain(&error),
                    "a snapshot could not be made, or what it covers not pruned"
                );
            }
        })));
    }

    /// At an orderly end: what a start would have to replay is little.
    pub(super) async fn finish(mut self, federation: Federation, at: Timestamp, seq: u64) {
        if let Some(under_way) = self.under_way.take() {
            // Its own failure is in the log.
            let _ = under_way.await;
        }
        if self.entries == 0 {
            return;
        }
        let taken = blocking(move || take(&federation, at, seq)).await;
        if let Err(error) = file(&self.store, self.term, &self.housekeeping, taken, &self.standing).await {
            tracing::warn!(seq, error = chain(&error), "no snapshot could be made at the end; a start takes longer");
        }
    }
}

/// Why a snapshot came to nothing.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error("the state cannot be written")]
    Encode(#[from] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The same predicates that the simulation checks; here a violation is counted, and rounds go on.
pub(super) fn check(federation: &Federation, standing: &watch::Sender<Standing>) {
    report(&invariants::check(federation), standing);
}

pub(super) fn report(violations: &[invariants::Violation], standing: &watch::Sender<Standing>) {
    for violation in violations {
        tracing::error!(invariant = violation.invariant, found = violation.found, "invariant violated");
    }
    if !violations.is_empty() {
        standing.send_modify(|standing| standing.violations += violations.len() as u64);
    }
}

fn take(federation: &Federation, at: Timestamp, seq: u64) -> Result<Snapshot, SnapshotError> {
    Ok(Snapshot { seq, at_ms: at.0, rules: RULES, state: encode(federation)?.into() })
}

async fn file(
    store: &Store,
    term: Term,
    housekeeping: &Housekeeping,
    taken: Result<Snapshot, SnapshotError>,
    standing: &watch::Sender<Standing>,
) -> Result<(), SnapshotError> {
    let snapshot = taken?;
    store.write_snapshot(term, &snapshot).await?;
    let (seq, bytes) = (snapshot.seq, snapshot.state.len());
    standing.send_modify(|standing| standing.snapshot_seq = seq);
    let pruned = store.prune(term, &housekeeping.prune(seq)).await?;
    let (entries, lines, rounds) = (pruned.entries, pruned.lines, pruned.rounds);
    tracing::info!(seq, bytes, entries, lines, rounds, "snapshot made; what is older than the rules say was pruned");
    Ok(())
}

pub(super) fn encode(federation: &Federation) -> Result<Vec<u8>, serde_json::Error> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let mut buffered = std::io::BufWriter::with_capacity(64 * 1024, &mut encoder);
    serde_json::to_writer(&mut buffered, federation)?;
    buffered.flush().map_err(serde_json::Error::io)?;
    drop(buffered);
    encoder.finish().map_err(serde_json::Error::io)
}

pub(crate) fn decode(state: &[u8]) -> Result<Federation, serde_json::Error> {
    serde_json::from_reader(std::io::BufReader::new(DeflateDecoder::new(state).take(STATE_BYTES_MAX)))
}

/// What the newest snapshot holds: the federation, as of which instant and after which entry. Without one it is empty, and
/// the journal begins at its first entry.
pub(super) async fn restore(store: &Store) -> Result<(Federation, Timestamp, u64), CoordinatorError> {
    let Some(Snapshot { seq, at_ms, rules, state }) = store.latest_snapshot().await? else {
        return Ok((Federation::new(), Timestamp(0), 0));
    };
    if rules > RULES {
        return Err(CoordinatorError::SnapshotNewer { seq, rules, ours: RULES });
    }
    let decoded = blocking(move || decode(&state)).await;
    let federation = decoded.map_err(|source| CoordinatorError::Snapshot { seq, source })?;
    Ok((federation, Timestamp(at_ms), seq))
}
