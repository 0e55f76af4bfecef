//! What a crash left in the spool: updates of rounds that are over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use polder_core::{Federation, RoundNumber, RunId};

use super::effects::{blocking, chain};
use crate::handle::{CoordinatorHandle, HandleError};
use crate::spool::{Spool, SpoolError};
use crate::store::{Store, StoreError, Term};

/// Pauses between attempts to sweep an object store that is away; they double.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(600);

type Rounds = BTreeSet<(RunId, RoundNumber)>;

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Handle(#[from] HandleError),
}

/// Sweeps this coordinator's own directory, before anybody can send it anything.
pub(super) async fn sweep_here(spool: &Spool, federation: &Federation) {
    let mut over = spool.rounds_here();
    over.retain(|(run, round)| !federation.holds_spool(run, *round));
    let spool = spool.clone();
    blocking(move || {
        for (run, round) in over {
            if let Err(error) = spool.remove_here(&run, round) {
                tracing::warn!(%run, round, error = chain(&error), "what a crash left could not be removed");
            }
        }
    })
    .await;
}

/// Sweeps the object store, which others who led, or lead by now, put updates into as well.
///
/// In this order: what is there, what of it the federation does not want, whether we still lead. Nobody else led before the
/// last answer, so the federation knew of every round whose update was found, and a round that is over does not come back.
pub(super) struct SharedSweep {
    pub(super) spool: Spool,
    pub(super) store: Arc<Store>,
    pub(super) term: Term,
    pub(super) handle: CoordinatorHandle,
}

impl SharedSweep {
    /// Tries until it worked.
    pub(super) async fn run(self) {
        let mut pause = PAUSE_MIN;
        while let Err(error) = self.sweep().await {
            tracing::warn!(
                error = chain(&error),
                "what a crash left in the object store stays for now; trying again in {pause:?}"
            );
            tokio::time::sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    async fn sweep(&self) -> Result<(), SweepError> {
        let spool = self.spool.clone();
        let found = blocking(move || spool.rounds_stored()).await?;
        for (run, round) in self.over(found).await? {
            // Again for each, as removing one may take its time.
            let is_over = !self.over(Rounds::from([(run.clone(), round)])).await?.is_empty();
            if !self.store.still_leads(self.term).await? {
                return Ok(());
            }
            if is_over {
                let spool = self.spool.clone();
                blocking(move || spool.remove(&run, round)).await?;
            }
        }
        Ok(())
    }

    async fn over(&self, mut rounds: Rounds) -> Result<Rounds, HandleError> {
        let asked = self.handle.ask(move |federation| {
            rounds.retain(|(run, round)| !federation.holds_spool(run, *round));
            rounds
        });
        asked.await
    }
}

#[cfg(test)]
mod tests;
