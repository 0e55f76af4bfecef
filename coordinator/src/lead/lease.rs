//! The lease while it is held: renewed again and again, and lost when it cannot be.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use polder_core::Timestamp;
use polder_core::lease::Tenure;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::driver::{chain, millis};
use crate::store::{Store, Term};

/// For how long a lease holds without being renewed: the longest that a killed leader is missed.
pub(crate) const TTL: Duration = Duration::from_secs(3);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long to wait after a renewal that failed.
const AGAIN: Duration = Duration::from_millis(200);

/// The right to lead. It is given up with [`Lease::step_down`], and runs out by itself where that is not done.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Arc<Store>,
    term: Term,
    lost: CancellationToken,
    _renewing: AbortOnDropHandle<()>,
}

impl Lease {
    /// Renews `term`, which was asked for at `asked_at` ([`clock`]), from now on.
    pub(crate) fn hold(store: Arc<Store>, term: Term, asked_at: Timestamp) -> Self {
        let lost = CancellationToken::new();
        let tenure = Tenure::new(term.epoch, asked_at, millis(TTL));
        let renewing = {
            let (store, lost) = (store.clone(), lost.clone());
            tokio::spawn(async move {
                renew(&store, term, tenure).await;
                lost.cancel();
            })
        };
        Self { store, term, lost, _renewing: AbortOnDropHandle::new(renewing) }
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// Returns once another may lead.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Lets the next one in at once. Nothing is written under this lease any more.
    pub(crate) async fn step_down(self) {
        let Self { store, term, _renewing, .. } = self;
        drop(_renewing);
        // It would run out by itself, so this need not work, and must not hold up an orderly stop.
        match tokio::time::timeout(TTL, store.step_down(term)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "the lease could not be given up; it runs out"),
            Err(_) => tracing::warn!("the database did not take the lease back within {TTL:?}; it runs out"),
        }
    }
}

/// Renews until that is over.
async fn renew(store: &Store, term: Term, mut tenure: Tenure) {
    let mut wait = RENEWAL;
    loop {
        tokio::time::sleep(wait).await;
        let asked_at = clock();
        if !tenure.is_sure(asked_at) {
            return tracing::warn!(epoch = term.epoch, "the lease was not renewed for {TTL:?}");
        }
        wait = match tokio::time::timeout(RENEWAL, store.renew(term, TTL)).await {
            Ok(Ok(true)) => {
                tenure.renewed(asked_at);
                RENEWAL
            }
            Ok(Ok(false)) => return tracing::warn!(epoch = term.epoch, "another coordinator leads"),
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "the lease could not be renewed; trying again");
                AGAIN
            }
            Err(_) => {
                tracing::warn!("the database did not renew the lease within {RENEWAL:?}; trying again");
                AGAIN
            }
        };
    }
}

/// Time as a lease is measured: it never steps, whatever is done to the wall clock or read from the journal.
pub(crate) fn clock() -> Timestamp {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    Timestamp(millis(BEGAN.elapsed()))
}
