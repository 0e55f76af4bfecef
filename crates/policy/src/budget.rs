//! The time of a round's chunks, over all threads that walk them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::PolicyError;

/// The time that all chunks of one round together have in their policy. Clones share it. Threads that use up its end at once overrun it by
/// at most what was left when they began.
#[derive(Clone, Debug)]
pub struct RoundBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit_ms: u64,
    spent_micros: AtomicU64,
}

impl RoundBudget {
    pub(crate) fn new(limit_ms: u64) -> Self {
        Self { shared: Arc::new(Shared { limit_ms, spent_micros: AtomicU64::new(0) }) }
    }

    /// What the policy has used of it so far, in microseconds.
    #[must_use]
    pub fn spent_micros(&self) -> u64 {
        self.shared.spent_micros.load(Ordering::Relaxed)
    }

    fn left_micros(&self) -> u64 {
        self.shared.limit_ms.saturating_mul(1000).saturating_sub(self.spent_micros())
    }

    /// Starts the clock for one call.
    pub(crate) fn spend(&self) -> Result<Spending, PolicyError> {
        if self.left_micros() == 0 {
            return Err(PolicyError::RoundTimedOut { limit_ms: self.shared.limit_ms });
        }
        Ok(Spending { budget: self.clone(), started: Instant::now() })
    }
}

/// One call's use of the budget, counted when it is dropped.
pub(crate) struct Spending {
    budget: RoundBudget,
    started: Instant,
}

impl Spending {
    pub(crate) fn left_ms(&self) -> u64 {
        self.budget.left_micros().div_ceil(1000)
    }

    pub(crate) fn limit_ms(&self) -> u64 {
        self.budget.shared.limit_ms
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        // at least one, so that however short its calls a policy cannot go on for ever
        self.budget.shared.spent_micros.fetch_add(micros.max(1), Ordering::Relaxed);
    }
}
