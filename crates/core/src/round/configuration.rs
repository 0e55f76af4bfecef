//! Configuration: assignments are out, workers answer. A region may decline, with a reason.

use super::{Phase, Round, RoundEffect, RoundRefusal, SeatState};
use crate::id::WorkerName;
use crate::time::Timestamp;

impl Round {
    pub(super) fn accept(&mut self, worker: &WorkerName) -> Result<(), RoundRefusal> {
        self.open_phase()?;
        let round = self.number;
        let seat = self.seat(worker)?;
        // An answer may come after the update did, or after the worker was given up, or twice: that belongs into no journal.
        if seat.state != SeatState::Assigned {
            return Err(RoundRefusal::NothingNew { worker: worker.clone(), round });
        }
        self.seats.set_state(worker, SeatState::Accepted);
        Ok(())
    }

    pub(super) fn decline(
        &mut self,
        worker: WorkerName,
        reason: String,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        let text = format!("{worker} declined: {reason}");
        self.give_up(worker, SeatState::Declined { reason }, "assignment-declined", text, effects)
    }

    pub(super) fn fail(
        &mut self,
        worker: WorkerName,
        reason: String,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        let text = format!("{worker} failed: {reason}");
        self.give_up(worker, SeatState::Failed { reason }, "assignment-failed", text, effects)
    }

    pub(super) fn lose(
        &mut self,
        worker: WorkerName,
        reason: String,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        let text = format!("{worker} is lost: {reason}");
        self.give_up(worker, SeatState::Lost { reason }, "worker-lost", text, effects)
    }

    fn give_up(
        &mut self,
        worker: WorkerName,
        state: SeatState,
        kind: &'static str,
        text: String,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        self.open_phase()?;
        let round = self.number;
        let seat = self.seat(&worker)?;
        if !seat.is_active() {
            return Err(RoundRefusal::SeatGivenUp { worker, round, state: seat.state.name() });
        }
        self.seats.set_state(&worker, state);
        self.note(text.clone());
        effects.push(RoundEffect::Announce { worker: Some(worker), kind, text });
        Ok(())
    }

    /// A worker that was lost is here again while the round still takes updates: it may go on.
    pub(super) fn take_back(&mut self, worker: WorkerName, effects: &mut Vec<RoundEffect>) -> Result<(), RoundRefusal> {
        self.open_phase()?;
        let takes_updates = self.takes_updates();
        let seat = self.seat(&worker)?;
        if takes_updates && matches!(seat.state, SeatState::Lost { .. }) {
            self.seats.set_state(&worker, SeatState::Assigned);
            let text = format!("{worker} returned");
            self.note(text.clone());
            effects.push(RoundEffect::Announce { worker: Some(worker), kind: "worker-returned", text });
        }
        Ok(())
    }

    pub(super) fn leave_configuration(&mut self, now: Timestamp) {
        let all_answered = self.seats.unanswered() == 0;
        if matches!(self.phase, Phase::Configuration { .. }) && all_answered {
            self.phase = Phase::Reporting { since: now };
        }
    }
}
