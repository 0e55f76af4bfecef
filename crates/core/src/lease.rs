//! Who leads: one row that all coordinators share, and what a leader may believe of itself.
//!
//! Safety rests on one rule alone: what is written carries the [`Lease::epoch`] of its writer, and [`Lease::admits`] is
//! asked in the very transaction that writes. When the lease runs out only says when another may take over; it fences
//! nobody. [`Tenure`] is for what is answered without a write: a leader that was asleep must not say no in the name of
//! a federation that has moved on.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The row. Instants are the database's own; nobody else's clock counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub holder: String,
    /// Counts the terms of leaders; a later one is greater.
    pub epoch: u64,
    pub expires_at: Timestamp,
}

impl Lease {
    /// The row after `who` asked to lead; none while another's lease holds.
    #[must_use]
    pub fn take(current: Option<&Self>, now: Timestamp, who: &str, ttl_ms: u64) -> Option<Self> {
        let epoch = match current {
            Some(held) if now < held.expires_at => return None,
            Some(ended) => ended.epoch.checked_add(1)?,
            None => 1,
        };
        Some(Self { holder: who.into(), epoch, expires_at: now.plus_ms(ttl_ms) })
    }

    /// Holds the lease for longer; false if another took it: lost for good. One that ran out and that nobody took is
    /// still its holder's.
    pub fn renew(&mut self, now: Timestamp, epoch: u64, ttl_ms: u64) -> bool {
        if self.admits(epoch) {
            self.expires_at = now.plus_ms(ttl_ms);
        }
        self.admits(epoch)
    }

    /// Lets the next one in at once; does nothing to another's lease.
    pub fn step_down(&mut self, now: Timestamp, epoch: u64) {
        if self.admits(epoch) {
            self.expires_at = self.expires_at.min(now);
        }
    }

    /// Whether a write of this epoch may happen.
    #[must_use]
    pub fn admits(&self, epoch: u64) -> bool {
        self.epoch == epoch
    }
}

/// A leader's own belief, by a clock of its own that never steps: its lease cannot have passed to another before `ttl_ms`
/// have gone by since it *began* to ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    pub epoch: u64,
    asked_at: Timestamp,
    ttl_ms: u64,
}

impl Tenure {
    #[must_use]
    pub fn new(epoch: u64, asked_at: Timestamp, ttl_ms: u64) -> Self {
        Self { epoch, asked_at, ttl_ms }
    }

    /// The lease was renewed, by a request that began at `asked_at`.
    pub fn renewed(&mut self, asked_at: Timestamp) {
        self.asked_at = self.asked_at.max(asked_at);
    }

    /// Whether nobody else can lead yet. If not, the leader must say nothing more and step down.
    #[must_use]
    pub fn is_sure(&self, now: Timestamp) -> bool {
        now < self.asked_at.plus_ms(self.ttl_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL_MS: u64 = 3_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms)
    }

    #[test]
    fn another_leads_only_when_the_lease_has_run_out() {
        let first = Lease::take(None, at(0), "a", TTL_MS).unwrap();
        assert_eq!((first.epoch, first.expires_at), (1, at(3_000)));
        assert_eq!(Lease::take(Some(&first), at(2_999), "b", TTL_MS), None);
        let second = Lease::take(Some(&first), at(3_000), "b", TTL_MS).unwrap();
        assert_eq!((second.holder.as_str(), second.epoch), ("b", 2));
        assert!(!second.admits(1) && second.admits(2));
    }

    #[test]
    fn a_lease_that_ran_out_is_renewed_if_nobody_took_it_and_never_afterwards() {
        let mut lease = Lease::take(None, at(0), "a", TTL_MS).unwrap();
        assert!(lease.renew(at(9_000), 1, TTL_MS), "nobody else wanted it");
        let mut taken = Lease::take(Some(&lease), at(12_000), "b", TTL_MS).unwrap();
        let before = taken.clone();
        assert!(!taken.renew(at(12_001), 1, TTL_MS));
        taken.step_down(at(12_001), 1);
        assert_eq!(taken, before, "who lost it changes nothing");
    }

    #[test]
    fn who_steps_down_lets_the_next_in_at_once() {
        let mut lease = Lease::take(None, at(0), "a", TTL_MS).unwrap();
        lease.step_down(at(100), 1);
        assert_eq!(Lease::take(Some(&lease), at(100), "b", TTL_MS).unwrap().epoch, 2);
    }

    #[test]
    fn a_leader_is_sure_for_less_time_than_its_lease_holds() {
        let mut tenure = Tenure::new(1, at(1_000), TTL_MS);
        assert!(tenure.is_sure(at(3_999)) && !tenure.is_sure(at(4_000)));
        tenure.renewed(at(2_500));
        tenure.renewed(at(2_000));
        assert!(tenure.is_sure(at(5_499)) && !tenure.is_sure(at(5_500)));
    }
}
