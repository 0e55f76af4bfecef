//! Rounds that are over: they stay as they were, add up, and lose nothing.

use polder_core::invariants::Violation;
use polder_core::round::{Outcome, Round};
use polder_core::spec::CohortSpec;
use polder_core::{AssignmentId, Digest, RoundNumber, RunId, WorkerName};

use super::{Checked, History, violated};
use crate::digests::model_digest;
use crate::report::{Counted, Counts, RunReport};

impl History {
    /// A batch is in the journal: closed rounds stay as they were, and new ones add up.
    pub(super) fn rounds_closed(&mut self, now: u64) -> Checked {
        let mut new: Vec<(RunId, Round, CohortSpec, bool)> = Vec::new();
        for (id, run) in &self.federation.runs {
            let mut known = 0;
            for (number, round) in self.closed.range((id.clone(), 0)..=(id.clone(), RoundNumber::MAX)) {
                known += 1;
                let remembered = run.round(number.1);
                if remembered.is_some_and(|again| again != round) {
                    return violated("a closed round never changes", format!("round {} of {id}", number.1));
                }
            }
            let forgotten = run.history.forgotten().rounds;
            if let Some(lost) = (1..=forgotten).find(|number| !self.archived.contains(&(id.clone(), *number))) {
                return violated("a round is filed before it is forgotten", format!("round {lost} of {id}"));
            }
            let is_new = |round: &&Round| !self.closed.contains_key(&(id.clone(), round.number));
            let fresh: Vec<Round> = run.history.iter().filter(is_new).cloned().collect();
            if fresh.len() + known != run.history.closed() as usize {
                return violated("a closed round never changes", format!("{id} has another history"));
            }
            let was_stopped = run.status.name() == "stopped";
            new.extend(fresh.into_iter().map(|round| (id.clone(), round, run.spec.cohort, was_stopped)));
            if let Some(open) = &run.round {
                self.opened_ms.entry((id.clone(), open.number)).or_insert(now);
            }
        }
        for (id, round, cohort, was_stopped) in new {
            self.adds_up(&id, &round, &cohort)?;
            self.is_no_loss(&id, &round, was_stopped)?;
            self.closed.insert((id, round.number), round);
        }
        Ok(())
    }

    /// The committed model is what the updates in the journal give, and they are a quorum.
    fn adds_up(&mut self, run: &RunId, round: &Round, cohort: &CohortSpec) -> Checked {
        let Some(receipt) = round.committed() else { return Ok(()) };
        let quorum = cohort.quorum;
        let updates = if cohort.staleness_max == 0 {
            self.updates(run, round.number).into_iter().map(|(worker, update)| (worker.clone(), *update)).collect()
        } else {
            self.buffered(run, round, cohort.staleness_max)?
        };
        if (updates.len() as u64) < u64::from(quorum) {
            let found = format!("round {} of {run} committed with {} of {quorum}", round.number, updates.len());
            return violated("a commit had quorum", found);
        }
        let expected = model_digest(&round.base.digest, updates.iter().map(|(worker, update)| (worker, update)));
        if receipt.model != expected || receipt.weights.len() != updates.len() {
            let found = format!("round {} of {run} committed {:?}, not {expected:?}", round.number, receipt.model);
            return violated("a committed model is made of exactly the updates that were taken", found);
        }
        Ok(())
    }

    /// The updates of a buffered round: each was taken, for a seat that was asked, counts once and is not too stale.
    fn buffered(
        &mut self,
        run: &RunId,
        round: &Round,
        staleness_max: u32,
    ) -> Result<Vec<(WorkerName, Digest)>, Violation> {
        let mut updates = Vec::new();
        for (worker, seat) in &round.seats {
            let Some(receipt) = seat.receipt() else { continue };
            let id = AssignmentId { run: run.clone(), round: round.origin(seat), worker: worker.clone() };
            let problem = if self.accepted.get(&id) != Some(&receipt.update) {
                Some("was never taken")
            } else if round.staleness(seat) > staleness_max {
                Some("is too stale")
            } else if !self.counted.insert(id.clone()) {
                Some("counted before")
            } else {
                None
            };
            if let Some(problem) = problem {
                let found = format!("round {}: the update of {id} {problem}", round.number);
                return Err(Violation { invariant: "a buffered round counts what was taken, once, in time", found });
            }
            updates.push((worker.clone(), receipt.update));
        }
        Ok(updates)
    }

    fn is_no_loss(&self, run: &RunId, round: &Round, was_stopped: bool) -> Checked {
        let opened = self.opened_ms.get(&(run.clone(), round.number));
        let is_late = self.settled_ms.zip(opened).is_some_and(|(settled, opened)| *opened >= settled);
        match round.outcome() {
            Some(Outcome::Abandoned { reason }) if is_late && !was_stopped => {
                let found = format!("round {} of {run} was abandoned: {reason}", round.number);
                violated("rounds commit once faults have stopped", found)
            }
            _ => Ok(()),
        }
    }

    fn updates(&self, run: &RunId, round: RoundNumber) -> Vec<(&WorkerName, &Digest)> {
        let of_round = self.accepted.iter().filter(|(id, _)| id.run == *run && id.round == round);
        of_round.map(|(id, update)| (&id.worker, update)).collect()
    }

    /// What became of each run.
    pub(crate) fn reports(&self) -> Vec<RunReport> {
        let runs = self.federation.runs.values().map(|run| {
            let rounds = self.closed.range((run.id.clone(), 0)..=(run.id.clone(), RoundNumber::MAX));
            let commits = rounds.filter(|(_, round)| round.committed().is_some()).map(|((_, number), round)| {
                let seats = round.seats.iter().filter(|(_, seat)| seat.receipt().is_some());
                let counted = seats.filter_map(|(worker, seat)| {
                    let origin = self.closed.get(&(run.id.clone(), round.origin(seat)))?;
                    Some(Counted { worker: worker.clone(), round: origin.number, base: origin.base.digest })
                });
                (*number, counted.collect())
            });
            RunReport {
                run: run.id.clone(),
                status: run.status.name(),
                first_model: run.spec.model.digest,
                model: run.model.digest,
                commits: commits.collect(),
                was_lied_to: self.lied_to.contains(&run.id),
            }
        });
        runs.collect()
    }

    pub(crate) fn count(&self, counts: &mut Counts) {
        for round in self.closed.values() {
            counts.rounds_committed += u64::from(round.committed().is_some());
            counts.rounds_abandoned += u64::from(round.phase.name() == "abandoned");
            let is_carried = |seat: &&polder_core::round::Seat| seat.carried.is_some() && seat.receipt().is_some();
            counts.carried += round.seats.values().filter(is_carried).count() as u64;
        }
    }
}
