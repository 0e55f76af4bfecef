//! What is kept and for how long: the journal, the log, archived rounds by rules that the operator states; blobs for as long
//! as anything refers to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use polder_core::{Digest, RunId};

use crate::driver::{blocking, chain};
use crate::handle::{CoordinatorHandle, HandleError};
use crate::store::{Blobs, Prune, Store, Term};

/// Blobs that nothing refers to are looked for at the start, and then this often.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Younger ones stay: somebody may be about to refer to them. A model is uploaded before its run is submitted.
const SWEEP_AFTER: Duration = Duration::from_secs(3600);

/// How much of the past is kept, and when the disk counts as full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Housekeeping {
    /// Entries of the journal that stay though a snapshot covers them.
    pub journal_entries: u64,
    /// Lines of the log.
    pub log_lines: u64,
    /// Archived rounds of each run.
    pub rounds_per_run: u64,
    /// Free bytes below which nothing new is taken on; none leaves it to [`crate::disk`].
    pub disk_reserve_bytes: Option<u64>,
    /// Entries from one snapshot to the next; none leaves it to the driver.
    pub snapshot_every: Option<u64>,
}

impl Default for Housekeeping {
    fn default() -> Self {
        Self {
            journal_entries: 100_000,
            log_lines: 1_000_000,
            rounds_per_run: 10_000,
            disk_reserve_bytes: None,
            snapshot_every: None,
        }
    }
}

impl Housekeeping {
    /// What may go once a snapshot covers the journal up to `seq`.
    pub(crate) fn prune(&self, seq: u64) -> Prune {
        Prune {
            journal_before_seq: (seq + 1).saturating_sub(self.journal_entries),
            log_keep_lines: self.log_lines,
            rounds_keep_per_run: self.rounds_per_run,
        }
    }
}

/// Who is about to refer to a blob, and which are being removed: neither may come between the other's look and deed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<Claimed>>);

#[derive(Debug, Default)]
struct Claimed {
    wanted: BTreeMap<Digest, u32>,
    leaving: BTreeSet<Digest>,
}

/// The blob stays for as long as this does.
#[must_use]
pub(crate) struct Claim {
    claims: Claims,
    digest: Digest,
}

impl Claims {
    /// Keeps the blob from being removed; none if it is on its way out.
    pub(crate) fn claim(&self, digest: Digest) -> Option<Claim> {
        let mut claimed = self.lock();
        if claimed.leaving.contains(&digest) {
            return None;
        }
        *claimed.wanted.entry(digest).or_insert(0) += 1;
        Some(Claim { claims: self.clone(), digest })
    }

    fn take_leave(&self, digests: &mut Vec<Digest>) -> Leaving {
        let mut claimed = self.lock();
        digests.retain(|digest| !claimed.wanted.contains_key(digest) && claimed.leaving.insert(*digest));
        Leaving { claims: self.clone(), digests: digests.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Claimed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.claims.lock();
        if let Some(count) = claimed.wanted.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                claimed.wanted.remove(&self.digest);
            }
        }
    }
}

/// Blobs that are being removed, until this is dropped.
struct Leaving {
    claims: Claims,
    digests: Vec<Digest>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut claimed = self.claims.lock();
        for digest in &self.digests {
            claimed.leaving.remove(digest);
        }
    }
}

/// Removes blobs that nothing refers to.
#[derive(Clone)]
pub(crate) struct Remover {
    store: Arc<Store>,
    term: Term,
    handle: CoordinatorHandle,
}

impl Remover {
    pub(crate) fn new(store: Arc<Store>, term: Term, handle: CoordinatorHandle) -> Self {
        Self { store, term, handle }
    }

    /// Removes those of `digests` that nothing refers to by now; says how many. What cannot be removed, a later sweep finds.
    pub(crate) async fn remove(&self, mut digests: Vec<Digest>) -> Result<u64, HandleError> {
        let leaving = self.handle.claims().take_leave(&mut digests);
        let unreferred = self.handle.ask(move |federation| {
            let wanted: BTreeSet<Digest> = federation.blobs().filter(|blob| digests.contains(blob)).collect();
            digests.retain(|digest| !wanted.contains(digest));
            digests
        });
        let mut removed = 0;
        for digest in unreferred.await? {
            // The next leader's runs may refer to it, and its store is ours.
            match self.store.still_leads(self.term).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "blobs stay for now: whether this coordinator leads is not known"
                    );
                    break;
                }
            }
            match self.store.blobs().remove(&digest).await {
                Ok(()) => removed += 1,
                Err(error) => tracing::warn!(%digest, error = chain(&error), "a blob could not be removed"),
            }
        }
        drop(leaving);
        Ok(removed)
    }

    /// For models and state tensors of `run` that it let go.
    pub(crate) async fn let_go(&self, run: RunId, digests: Vec<Digest>) {
        match self.remove(digests).await {
            Ok(removed) => tracing::debug!(%run, removed, "blobs were removed that nothing refers to any more"),
            // It is found when the coordinator is back.
            Err(error) => tracing::debug!(%run, error = chain(&error), "blobs stay for now"),
        }
    }

    /// Looks for what a crash left behind, now and then again, for ever.
    pub(crate) async fn sweep_for_ever(self) {
        let mut seen = BTreeSet::new();
        loop {
            match self.sweep(&mut seen).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "blobs were removed that nothing refers to"),
                Err(error) => tracing::warn!(error, "blobs that nothing refers to could not be looked for"),
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    /// Removes what was here at the sweep before, or was written long ago, and nothing refers to.
    async fn sweep(&self, seen: &mut BTreeSet<Digest>) -> Result<u64, String> {
        let all = self.store.blobs().list().await.map_err(|error| chain(&error))?;
        let (blobs, before) = (self.store.blobs().clone(), std::mem::take(seen));
        seen.extend(&all);
        let is_due = move |digest: &Digest| before.contains(digest) || is_old(&blobs, digest);
        let old = blocking(move || all.into_iter().filter(is_due).collect()).await;
        self.remove(old).await.map_err(|error| chain(&error))
    }
}

/// Whether the blob's file was written long ago. Of one that is in the object store alone that is not known.
fn is_old(blobs: &Blobs, digest: &Digest) -> bool {
    let written = std::fs::metadata(blobs.path(digest)).and_then(|file| file.modified());
    written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age >= SWEEP_AFTER))
}

#[cfg(test)]
mod tests {
    use polder_core::Federation;
    use polder_core::digest::Algorithm;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::driver::Standing;
    use crate::handle::Request;
    use crate::store::{Member, StoreConfig};

    fn digest(number: u8) -> Digest {
        Digest::blake3([number; 32])
    }

    #[test]
    fn what_is_claimed_does_not_leave_and_what_leaves_is_not_claimed() {
        let claims = Claims::default();
        let (first, second) = (claims.claim(digest(1)).unwrap(), claims.claim(digest(1)).unwrap());
        drop(first);
        let mut leaving = vec![digest(1), digest(2)];
        let leave = claims.take_leave(&mut leaving);
        assert_eq!(leaving, [digest(2)]);
        assert!(claims.claim(digest(2)).is_none());
        // Who comes second leaves it to the first.
        let mut again = vec![digest(2)];
        drop(claims.take_leave(&mut again));
        assert!(again.is_empty() && claims.claim(digest(2)).is_none());
        drop(leave);
        assert!(claims.claim(digest(2)).is_some());
        drop(second);
        let mut free = vec![digest(1)];
        drop(claims.take_leave(&mut free));
        assert_eq!(free, [digest(1)]);
    }

    /// Answers questions about an empty federation.
    fn handle() -> CoordinatorHandle {
        let (inbox, mut requests) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                if let Request::Query(query) = request {
                    query(&Federation::new());
                }
            }
        });
        CoordinatorHandle::new(inbox, watch::channel(0).1, watch::channel(Standing::default()).1)
    }

    #[tokio::test]
    async fn who_leads_no_longer_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&StoreConfig::local(dir.path())).await.unwrap());
        let me = Member { id: "me".into(), endpoint: "e:1".into(), peer: "p:1".into(), version: "0".into() };
        let lead = async || store.try_lead(&me, Duration::from_secs(60)).await.unwrap().unwrap();
        let (before, now) = (lead().await, lead().await);
        let model = store.blobs().put(Algorithm::Blake3, "model".into()).await.unwrap();
        let stale = Remover::new(store.clone(), before, handle());
        assert_eq!(stale.remove(vec![model]).await.unwrap(), 0);
        assert!(store.blobs().holds(&model).await.unwrap());
        let leading = Remover::new(store.clone(), now, handle());
        assert_eq!(leading.remove(vec![model]).await.unwrap(), 1);
        assert!(!store.blobs().holds(&model).await.unwrap());
    }

    #[test]
    fn the_newest_entries_stay_however_far_a_snapshot_reaches() {
        let rules = Housekeeping { journal_entries: 100, log_lines: 7, rounds_per_run: 9, ..Housekeeping::default() };
        let all = Prune { journal_before_seq: 0, log_keep_lines: 7, rounds_keep_per_run: 9 };
        assert_eq!(rules.prune(40), all);
        assert_eq!(rules.prune(1_000), Prune { journal_before_seq: 901, ..all });
    }
}
