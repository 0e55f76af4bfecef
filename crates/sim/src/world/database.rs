//! The database that all coordinators share: a lease, one journal, snapshots. What it does it does at one instant.

use polder_core::Timestamp;
use polder_core::invariants::Violation;
use polder_core::lease::Lease;

use crate::message::Append;

/// Snapshots that are kept: the newest, and one to fall back on.
const SNAPSHOTS_KEPT: usize = 2;

#[derive(Default)]
pub(super) struct Database {
    pub(super) lease: Option<Lease>,
    /// Instants and events, as JSON.
    pub(super) journal: Vec<(Timestamp, String)>,
    pub(super) snapshots: Vec<Snapshot>,
    /// Until when nobody can write, in the world's milliseconds.
    pub(super) full_until: u64,
}

/// A federation as JSON, after the entry of this number.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) seq: usize,
    pub(super) state: String,
}

/// What came of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    New,
    /// An earlier attempt got through, and its answer did not.
    Already,
    Fenced,
}

impl Database {
    /// Appends all entries or none, if their writer leads; the same entries at the same place are written once.
    pub(super) fn append(&mut self, append: &Append) -> Result<Written, Violation> {
        let Append { epoch, after, entries, .. } = append;
        if !self.lease.as_ref().is_some_and(|lease| lease.admits(*epoch)) {
            return Ok(Written::Fenced);
        }
        if self.journal.len() == *after {
            self.journal.extend_from_slice(entries);
            return Ok(Written::New);
        }
        if self.journal.get(*after..).is_some_and(|written| written == entries.as_slice()) {
            return Ok(Written::Already);
        }
        let found = format!("epoch {epoch} writes after entry {after}; there are {}", self.journal.len());
        Err(Violation { invariant: "the journal is one line of history", found })
    }

    /// Keeps a snapshot if its writer leads.
    pub(super) fn keep_snapshot(&mut self, epoch: u64, snapshot: Snapshot) {
        let leads = self.lease.as_ref().is_some_and(|lease| lease.admits(epoch));
        if leads && self.snapshots.last().is_none_or(|last| last.seq < snapshot.seq) {
            self.snapshots.push(snapshot);
            let too_many = self.snapshots.len().saturating_sub(SNAPSHOTS_KEPT);
            self.snapshots.drain(..too_many);
        }
    }

    pub(super) fn is_full(&self, now: u64) -> bool {
        now < self.full_until
    }
}
