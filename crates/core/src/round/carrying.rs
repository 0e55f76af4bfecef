//! Buffered rounds (`FedBuff`, Nguyen et al. 2022): whoever is still at it when a training round closes goes on, and its
//! update counts in the round that is open when it arrives, unless it has become too stale. With `staleness_max` 0 a
//! round that closes cancels them instead, and nothing of this file happens.

use serde::{Deserialize, Serialize};

use super::{Phase, Round, RoundEffect, Seat, SeatState, Task};
use crate::id::{RoundNumber, WorkerName};
use crate::policy::PolicyChoice;
use crate::time::Timestamp;

/// Where a seat that outlived its round comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The round that assigned it.
    pub round: RoundNumber,
    /// The model version it started from.
    pub version: u64,
    pub deadline: Timestamp,
}

impl Round {
    /// The round that assigned `seat`: this one, unless it was carried over.
    #[must_use]
    pub fn origin(&self, seat: &Seat) -> RoundNumber {
        seat.carried.map_or(self.number, |carried| carried.round)
    }

    /// Model versions that an update of `seat` is behind in this round.
    #[must_use]
    pub fn staleness(&self, seat: &Seat) -> u32 {
        let behind = seat.carried.map_or(0, |carried| self.base.version.saturating_sub(carried.version));
        u32::try_from(behind).unwrap_or(u32::MAX)
    }

    /// When `seat` may report at the latest.
    #[must_use]
    pub fn deadline_of(&self, seat: &Seat) -> Option<Timestamp> {
        seat.carried.map(|carried| carried.deadline).or(self.deadline)
    }

    /// Whether an update that arrives during aggregation can wait for the next round.
    pub(super) fn can_hold(&self, seat: &Seat) -> bool {
        matches!(self.phase, Phase::Aggregation { .. }) && self.staleness(seat) < self.staleness_max
    }

    /// Seats whose deadlines are their own: the round's own deadline does not close them.
    fn with_own_deadline(&self, seat: &Seat) -> bool {
        let may_report = seat.is_active() || matches!(seat.state, SeatState::Lost { .. });
        may_report && (seat.carried.is_some() || self.is_past_reporting())
    }

    /// Whether those that are still at it may go on in the next round.
    fn is_past_reporting(&self) -> bool {
        matches!(self.phase, Phase::Aggregation { .. }) && self.staleness_max > 0
    }

    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        let own = self.deadline.filter(|_| self.is_past_reporting() && self.seats.has_own_open());
        own.into_iter().chain(self.seats.first_carried_deadline()).min()
    }

    /// Whether some deadline has come.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        let closes = matches!(self.phase, Phase::Configuration { .. } | Phase::Reporting { .. });
        self.deadline.filter(|_| closes).into_iter().chain(self.next_expiry()).any(|deadline| now >= deadline)
    }

    pub(super) fn expire(&mut self, now: Timestamp, effects: &mut Vec<RoundEffect>) {
        if self.next_expiry().is_none_or(|deadline| now < deadline) {
            return;
        }
        let is_over = |seat: &Seat| {
            self.with_own_deadline(seat) && self.deadline_of(seat).is_some_and(|deadline| now >= deadline)
        };
        let over: Vec<WorkerName> =
            self.seats.iter().filter(|(_, seat)| is_over(seat)).map(|(worker, _)| worker.clone()).collect();
        for worker in over {
            let was_active = self.seats.get(&worker).is_some_and(Seat::is_active);
            self.seats.set_state(&worker, SeatState::Straggled);
            if was_active {
                effects.push(RoundEffect::Cancel { worker, reason: "its deadline came".into() });
            }
        }
    }

    /// Takes over whoever is still at it in the round before this one, or has reported since that round stopped counting.
    pub(crate) fn take_over(&mut self, closed: &mut Self, now: Timestamp) {
        if self.task != Task::Train || !self.is_decided_like(closed) {
            return;
        }
        let closing = closed.deadline.unwrap_or(now);
        let own = Carried { round: closed.number, version: closed.base.version, deadline: closing };
        let mut taken = Vec::new();
        for (worker, seat) in &closed.seats {
            let carried = seat.carried.unwrap_or(own);
            let is_fresh = self.base.version.saturating_sub(carried.version) <= u64::from(closed.staleness_max);
            let state = match &seat.state {
                SeatState::Held { receipt } => SeatState::Reported { receipt: receipt.clone() },
                state if seat.is_active() && carried.deadline > now => state.clone(),
                _ => continue,
            };
            if is_fresh {
                self.seats.insert(worker.clone(), Seat { state, carried: Some(carried), ..seat.clone() });
                taken.push(worker.clone());
            }
        }
        for worker in &taken {
            closed.seats.set_state(worker, SeatState::CarriedOver);
        }
        if !taken.is_empty() {
            let taken: Vec<&str> = taken.iter().map(WorkerName::as_str).collect();
            let text = format!("carried over from round {}: {}", closed.number, taken.join(", "));
            self.reasons.push(text);
        }
    }

    /// Whether updates made for `closed` may count here: a region agreed to the policy that it was asked for, and to no other.
    fn is_decided_like(&self, closed: &Self) -> bool {
        match (&closed.aggregation, &self.aggregation) {
            (PolicyChoice::Pinned(before), PolicyChoice::Pinned(now)) => before.decides_like(now),
            _ => true,
        }
    }

    /// Ends the seats that nobody took over; says who is to be told, of which assignment, and why.
    pub(crate) fn leave_behind(&mut self, version: u64) -> Vec<(WorkerName, RoundNumber, String)> {
        let (number, base) = (self.number, self.base.version);
        let mut left = Vec::new();
        for (worker, seat) in self.seats.iter().filter(|(_, seat)| seat.is_active()) {
            let (round, from) = seat.carried.map_or((number, base), |carried| (carried.round, carried.version));
            let behind = version.saturating_sub(from);
            let reason = if behind > u64::from(self.staleness_max) {
                format!("it started from version {from}, and version {version} is {behind} ahead")
            } else {
                "the round closed without it".into()
            };
            left.push((worker.clone(), round, reason));
        }
        for (worker, _, _) in &left {
            self.seats.set_state(worker, SeatState::Straggled);
        }
        left
    }
}
