//! What must be true of everything that ever happened, not only of the present: kept beside the coordinator, from what
//! its journal holds, and never read by it.

use std::collections::{BTreeMap, BTreeSet};

use polder_core::effect::AggregationTask;
use polder_core::invariants::Violation;
use polder_core::policy::{PlacementQuestion, PolicyChoice, PolicyRef};
use polder_core::round::{Kept, Outcome, Phase, Round, SeatState};
use polder_core::spec::CohortSpec;
use polder_core::{AssignmentId, Digest, Effect, Event, Federation, RoundNumber, RunId, Timestamp, WorkerName};

use crate::digests::model_digest;

/// Questions about one round within a second of virtual time, above which a policy is asked in a tight loop.
const QUESTIONS_A_SECOND_MAX: usize = 40;

#[derive(Debug, Default)]
pub(crate) struct History {
    /// Everything that anybody was ever asked to do.
    assigned: BTreeSet<AssignmentId>,
    /// Updates that the journal says were taken.
    accepted: BTreeMap<AssignmentId, Digest>,
    /// Updates that counted in buffered rounds.
    counted: BTreeSet<AssignmentId>,
    /// Updates whose workers were told that they count.
    acknowledged: BTreeMap<AssignmentId, Digest>,
    /// Seats that their workers gave up.
    given_up: BTreeSet<AssignmentId>,
    closed: BTreeMap<RunId, Vec<Round>>,
    /// Who is aggregating a run's open round, and what its policies have kept.
    aggregating: BTreeMap<RunId, PolicyChoice>,
    kept: BTreeMap<RunId, (PolicyRef, Kept)>,
    questions: BTreeMap<(RunId, RoundNumber), Vec<u64>>,
    /// From when on every round that opens must commit.
    pub(crate) settled: Option<Timestamp>,
}

type Checked = Result<(), Violation>;

fn violated(invariant: &'static str, found: String) -> Checked {
    Err(Violation { invariant, found })
}

/// A worker that is back has, or is sent, everything that is still wanted of it.
fn returned(worker: &WorkerName, holding: &[AssignmentId], effects: &[Effect], federation: &Federation) -> Checked {
    let sent = |id: &AssignmentId| effects.iter().any(|e| matches!(e, Effect::SendAssignment(sent) if sent.id == *id));
    for run in federation.runs.values() {
        let Some(round) = &run.round else { continue };
        let Some(seat) = round.seats.get(worker) else { continue };
        let id = AssignmentId { run: run.id.clone(), round: round.origin(seat), worker: worker.clone() };
        if seat.is_active() && !holding.contains(&id) && !sent(&id) {
            return violated("a worker that returns gets what it lost", format!("{id} was not sent again"));
        }
    }
    Ok(())
}

/// An update may close its round to others, but comes to no round that was closed before.
fn in_time(now: Timestamp, assignment: &AssignmentId, federation: &Federation) -> Checked {
    let run = federation.runs.get(&assignment.run);
    let Some((round, seat)) = run.and_then(|run| run.seat(assignment.round, &assignment.worker)) else {
        return violated("every counted update came from the cohort", format!("{assignment} has no seat"));
    };
    match &round.phase {
        Phase::Selection(_) if seat.carried.is_some() => Ok(()),
        Phase::Configuration { .. } | Phase::Reporting { .. } => Ok(()),
        // It came with the deadline, and they were too few even so.
        Phase::Closed(Outcome::Abandoned { .. }) if round.deadline.is_some_and(|deadline| deadline <= now) => Ok(()),
        Phase::Aggregation { since } if *since == now || matches!(seat.state, SeatState::Held { .. }) => Ok(()),
        _ => violated("a closed round takes no update", format!("{assignment} came too late")),
    }
}

fn candidates_are_free(ask: &PlacementQuestion) -> Checked {
    for candidate in ask.demands.iter().flat_map(|demand| &demand.candidates) {
        if !ask.workers.iter().any(|worker| worker.name == *candidate && worker.slots_free > 0) {
            return violated("a candidate is here and has a free slot", format!("{candidate} has not"));
        }
    }
    Ok(())
}

impl History {
    /// An event was applied; it may still be lost. What must be true of the present is looked at here.
    pub(crate) fn applied(
        &self,
        now: Timestamp,
        event: &Event,
        effects: &[Effect],
        federation: &Federation,
    ) -> Checked {
        if let Some(violation) = polder_core::invariants::check(federation).into_iter().next() {
            return Err(violation);
        }
        if let Some(wake) = federation.next_wake().filter(|wake| *wake <= now) {
            return violated(
                "time alone never keeps the coordinator busy",
                format!("it wants to be woken at {wake:?}"),
            );
        }
        for run in federation.runs.values() {
            let Some(round) = &run.round else { continue };
            let is_counting = matches!(round.phase, Phase::Configuration { .. } | Phase::Reporting { .. });
            if is_counting && round.deadline.is_none_or(|deadline| deadline <= now) {
                let found = format!("round {} of {} is open after {:?}", round.number, run.id, round.deadline);
                return violated("every round ends by its deadline", found);
            }
        }
        match event {
            Event::WorkerConnected { worker, holding, .. } => returned(worker, holding, effects, federation),
            Event::UpdateReceived { assignment, .. } => in_time(now, assignment, federation),
            _ => Ok(()),
        }
    }

    /// An event is in the journal: it has happened for good.
    pub(crate) fn journaled(&mut self, now: Timestamp, event: &Event, effects: &[Effect]) -> Checked {
        if let Event::Aggregated { run, receipt, .. } = event
            && effects.iter().any(|effect| matches!(effect, Effect::Announce(n) if n.kind == "round-committed"))
            && let Some(PolicyChoice::Pinned(policy)) = self.aggregating.get(run)
        {
            self.kept.insert(run.clone(), (policy.clone(), receipt.kept.clone()));
        }
        for effect in effects {
            match effect {
                Effect::Aggregate(task) => self.finds_what_it_kept(task)?,
                Effect::SendAssignment(assignment) => {
                    self.assigned.insert(assignment.id.clone());
                }
                Effect::AskPlacement { ask, .. } => {
                    candidates_are_free(ask)?;
                    for demand in &ask.demands {
                        self.asked(now, demand.run.clone(), demand.round)?;
                    }
                }
                _ => {}
            }
        }
        if let Event::AssignmentDeclined { assignment, .. } | Event::AssignmentFailed { assignment, .. } = event {
            self.given_up.insert(assignment.clone());
        }
        let Event::UpdateReceived { assignment, receipt } = event else { return Ok(()) };
        if self.given_up.contains(assignment) {
            return violated("a seat that was given up takes no update", format!("{assignment} was given up"));
        }
        if !self.assigned.contains(assignment) {
            return violated("every counted update came from the cohort", format!("{assignment} was never asked for"));
        }
        if self.accepted.insert(assignment.clone(), receipt.update).is_some() {
            return violated("no update counts twice", format!("{assignment} counted before"));
        }
        Ok(())
    }

    /// A policy finds what it, or another version of it, kept when it last committed a round of the run.
    fn finds_what_it_kept(&mut self, task: &AggregationTask) -> Checked {
        let AggregationTask { run, round, policy, .. } = task;
        self.aggregating.insert(run.clone(), policy.clone());
        let expected = match (policy, self.kept.get(run)) {
            (PolicyChoice::Pinned(policy), Some((by, kept))) if policy.name == by.name => kept.clone(),
            _ => Kept::default(),
        };
        if task.kept != expected {
            let found = format!("round {round} of {run}, {policy}: {:?}, not {expected:?}", task.kept);
            return violated("a policy finds what it kept", found);
        }
        Ok(())
    }

    fn asked(&mut self, now: Timestamp, run: RunId, round: RoundNumber) -> Checked {
        let asked = self.questions.entry((run.clone(), round)).or_default();
        asked.retain(|at| now.0 - at < 1_000);
        asked.push(now.0);
        if asked.len() > QUESTIONS_A_SECOND_MAX {
            let found = format!("round {round} of {run}: {} questions within a second", asked.len());
            return violated("no policy is asked in a tight loop", found);
        }
        Ok(())
    }

    /// A batch is in the journal: closed rounds stay as they were, and new ones add up.
    pub(crate) fn rounds_closed(&mut self, federation: &Federation) -> Checked {
        for (id, run) in &federation.runs {
            let known = self.closed.get(id).map_or(0, Vec::len);
            // The run forgets old rounds; what it remembers goes on without a gap where ours ends.
            let forgotten = run.history.forgotten().rounds as usize;
            let ours = self.closed.get(id).into_iter().flatten().skip(forgotten);
            if run.history.closed() as usize >= known
                && forgotten <= known
                && ours.eq(run.history.iter().take(known - forgotten))
            {
                let new = &run.history[known - forgotten..];
                for round in new {
                    self.adds_up(id, round, &run.spec.cohort)?;
                    self.is_no_loss(id, round, run.status.name() == "stopped")?;
                }
                self.closed.entry(id.clone()).or_default().extend_from_slice(new);
            } else {
                return violated("a closed round never changes", format!("{id} has another history"));
            }
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
        let is_late = self.settled.is_some_and(|settled| round.opened_at >= settled);
        match round.outcome() {
            Some(Outcome::Abandoned { reason }) if is_late && !was_stopped => {
                let found = format!("round {} of {run} was abandoned: {reason}", round.number);
                violated("rounds commit once faults have stopped", found)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn updates(&self, run: &RunId, round: RoundNumber) -> Vec<(&WorkerName, &Digest)> {
        let of_round = self.accepted.iter().filter(|(id, _)| id.run == *run && id.round == round);
        of_round.map(|(id, update)| (&id.worker, update)).collect()
    }

    /// A worker was told that its update counts.
    pub(crate) fn acknowledged(&mut self, assignment: &AssignmentId, update: Digest) -> Checked {
        if self.accepted.get(assignment) != Some(&update) {
            let found = format!("{assignment} was acknowledged and is not in the journal");
            return violated("an acknowledged update is in the journal", found);
        }
        self.acknowledged.insert(assignment.clone(), update);
        Ok(())
    }

    /// The coordinator is up again: it knows all that it ever acknowledged.
    pub(crate) fn restarted(&mut self, federation: &Federation) -> Checked {
        for (assignment, update) in &self.acknowledged {
            if federation.reported(assignment) != Some(*update) {
                return violated("nothing acknowledged is lost", format!("{assignment} is gone"));
            }
        }
        self.rounds_closed(federation)
    }
}
