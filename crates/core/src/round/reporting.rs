//! Reporting: updates arrive. Quorum, deadline and stragglers are decided here; nothing waits without a bound.

use super::{Evaluation, Outcome, Phase, Round, RoundEffect, RoundRefusal, SeatState, Task, Terms, UpdateReceipt};
use crate::id::WorkerName;
use crate::time::Timestamp;

impl Round {
    pub(super) fn takes_updates(&self) -> bool {
        // During selection only those report that were carried over: nobody else has a seat.
        matches!(self.phase, Phase::Selection(_) | Phase::Configuration { .. } | Phase::Reporting { .. })
    }

    /// Whether an update of `worker` would be taken now; asked before the first byte is read, and again with the receipt.
    pub fn admit(&self, worker: &WorkerName, task: Task) -> Result<(), RoundRefusal> {
        let round = self.number;
        let seat = self.seats.get(worker).ok_or_else(|| RoundRefusal::NotInCohort { worker: worker.clone() })?;
        if seat.has_reported() || seat.update().is_some() {
            return Err(RoundRefusal::AlreadyReported { worker: worker.clone(), round });
        }
        if !self.takes_updates() && !self.can_hold(seat) {
            return Err(RoundRefusal::Closed { round, phase: self.phase.name() });
        }
        if self.task != task {
            let wanted = match self.task {
                Task::Train => "updates",
                Task::Evaluate => "evaluations",
            };
            return Err(RoundRefusal::WrongTask { round, wanted });
        }
        match &seat.state {
            SeatState::Declined { .. } | SeatState::Failed { .. } | SeatState::Straggled | SeatState::CarriedOver => {
                Err(RoundRefusal::SeatGivenUp { worker: worker.clone(), round, state: seat.state.name() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn report(
        &mut self,
        _now: Timestamp,
        worker: WorkerName,
        receipt: UpdateReceipt,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        self.admit(&worker, Task::Train)?;
        let loss = receipt.loss.map_or_else(String::new, |loss| format!(", loss {loss:.4}"));
        let text = format!("{worker} sent its update: {} examples{loss}, {} bytes", receipt.examples, receipt.bytes);
        let counts_now = self.takes_updates();
        let state = if counts_now { SeatState::Reported { receipt } } else { SeatState::Held { receipt } };
        self.seats.set_state(&worker, state);
        effects.push(RoundEffect::Announce { worker: Some(worker), kind: "update-received", text });
        Ok(())
    }

    pub(super) fn evaluate(
        &mut self,
        _now: Timestamp,
        worker: WorkerName,
        evaluation: Evaluation,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        self.admit(&worker, Task::Evaluate)?;
        let Evaluation { examples, loss, accuracy } = evaluation;
        let text = format!("{worker} evaluated: accuracy {accuracy:.4}, loss {loss:.4} on {examples} examples");
        self.seats.set_state(&worker, SeatState::Evaluated { evaluation });
        effects.push(RoundEffect::Announce { worker: Some(worker), kind: "evaluation-received", text });
        Ok(())
    }

    /// Closes the round to updates if enough are in, if no more will come, or if it is time.
    pub(super) fn close_reporting(&mut self, now: Timestamp, terms: &Terms, effects: &mut Vec<RoundEffect>) {
        let is_settled = match &self.phase {
            Phase::Selection(selection) => selection.window_is_over(now, terms),
            Phase::Configuration { .. } | Phase::Reporting { .. } => true,
            Phase::Aggregation { .. } | Phase::Closed(_) => return,
        };
        let (reported, active, quorum) = (self.reported(), self.active(), terms.quorum);
        let is_late = self.deadline.is_some_and(|deadline| now >= deadline);
        let reason = if reported >= terms.size {
            format!("{reported} of {} wanted updates are in", terms.size)
        } else if is_settled && active == 0 && reported >= quorum {
            format!("{reported} updates are in, quorum is {quorum}, and no more will come")
        } else if is_late && reported >= quorum {
            format!("the deadline came with {reported} updates, quorum is {quorum}")
        } else if is_late {
            let reason = format!("the deadline came with {reported} of {quorum} updates that a quorum needs");
            return self.abandon(reason, effects);
        } else {
            return;
        };
        if self.staleness_max == 0 {
            self.cancel_active("the round closed without it", effects);
        }
        self.note(reason.clone());
        match self.task {
            Task::Train => self.start_aggregation(now, reason, effects),
            Task::Evaluate => self.finish_evaluation(effects),
        }
    }

    fn finish_evaluation(&mut self, effects: &mut Vec<RoundEffect>) {
        let Some(evaluation) = self.evaluation() else {
            return self.abandon("no worker has held-out rows".into(), effects);
        };
        let text = format!(
            "model version {}: accuracy {:.4}, loss {:.4} on {} held-out examples",
            self.base.version, evaluation.accuracy, evaluation.loss, evaluation.examples
        );
        effects.push(RoundEffect::Announce { worker: None, kind: "model-evaluated", text });
        self.phase = Phase::Closed(Outcome::Evaluated { evaluation });
    }

    /// How the round's base model does on everything held out that reported; who was carried over tried an older one.
    #[must_use]
    pub fn evaluation(&self) -> Option<Evaluation> {
        let own = self.seats.values().filter(|seat| seat.carried.is_none());
        Evaluation::combine(own.filter_map(super::Seat::evaluation))
    }

    pub(super) fn cancel_active(&mut self, reason: &str, effects: &mut Vec<RoundEffect>) {
        let active = self.seats.iter().filter(|(_, seat)| seat.is_active());
        let active: Vec<WorkerName> = active.map(|(worker, _)| worker.clone()).collect();
        for worker in active {
            self.seats.set_state(&worker, SeatState::Straggled);
            effects.push(RoundEffect::Cancel { worker, reason: reason.into() });
        }
    }

    pub(super) fn reporting_waits_for(&self, terms: &Terms) -> String {
        let (reported, active, lost) = (self.reported(), self.active(), self.lost());
        let what = match self.task {
            Task::Train => "updates",
            Task::Evaluate => "evaluations",
        };
        let mut text = format!("{reported}/{} {what} in (quorum {}), {active} workers at it", terms.size, terms.quorum);
        if lost > 0 {
            text.push_str(&format!(", {lost} lost that may return"));
        }
        if reported + active < terms.quorum {
            text.push_str(", too few for a quorum: waiting for a worker to return or stand in");
        }
        text
    }
}
