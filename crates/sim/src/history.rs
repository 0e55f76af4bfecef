//! What must be true of everything that ever happened, not only of the present: kept beside the coordinators, from what
//! the journal holds, and never read by them.

mod rounds;

use std::collections::{BTreeMap, BTreeSet};

use polder_core::effect::AggregationTask;
use polder_core::enrolment::{Applicant, Grant};
use polder_core::invariants::Violation;
use polder_core::policy::{PlacementQuestion, PolicyChoice, PolicyRef};
use polder_core::round::{Kept, Outcome, Phase, Round, SeatState, Task};
use polder_core::{
    AssignmentId, Digest, Effect, Event, Federation, Region, RoundNumber, RunId, Timestamp, TokenId, WorkerName,
};

use crate::digests::update_digest;
use crate::message::Who;

/// Questions about one round within a second of virtual time, above which a policy is asked in a tight loop.
const QUESTIONS_A_SECOND_MAX: usize = 40;

#[derive(Debug, Default)]
pub(crate) struct History {
    /// What the journal says, entry by entry; every leader must arrive at the same.
    pub(crate) federation: Federation,
    /// Who wrote each entry.
    epochs: Vec<u64>,
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
    closed: BTreeMap<(RunId, RoundNumber), Round>,
    archived: BTreeSet<(RunId, RoundNumber)>,
    /// When rounds opened, in the world's milliseconds.
    opened_ms: BTreeMap<(RunId, RoundNumber), u64>,
    /// Who is aggregating a run's open round, and what its policies have kept.
    aggregating: BTreeMap<RunId, PolicyChoice>,
    kept: BTreeMap<RunId, (PolicyRef, Kept)>,
    questions: BTreeMap<(RunId, RoundNumber), Vec<u64>>,
    tokens: BTreeMap<TokenId, (Grant, Timestamp)>,
    redeemed: BTreeMap<TokenId, Applicant>,
    /// Workers that a token let in since somebody last asked.
    pub(crate) newcomers: Vec<(WorkerName, Region)>,
    /// Runs in which an update counted that its worker never trained.
    lied_to: BTreeSet<RunId>,
    /// From when on every round that opens must commit, in the world's milliseconds.
    pub(crate) settled_ms: Option<u64>,
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
fn in_time(now: Timestamp, assignment: &AssignmentId, effects: &[Effect], federation: &Federation) -> Checked {
    let run = federation.runs.get(&assignment.run);
    let Some((round, seat)) = run.and_then(|run| run.seat(assignment.round, &assignment.worker)) else {
        return violated("every counted update came from the cohort", format!("{assignment} has no seat"));
    };
    let is_abandoned_by_this = |notice: &polder_core::effect::Notice| {
        notice.kind == "round-abandoned" && notice.run.as_ref() == Some(&assignment.run)
    };
    match &round.phase {
        Phase::Selection(_) if seat.carried.is_some() => Ok(()),
        Phase::Configuration { .. } | Phase::Reporting { .. } => Ok(()),
        // It came with the deadline, and they were too few even so.
        Phase::Closed(Outcome::Abandoned { .. }) if round.deadline.is_some_and(|deadline| deadline <= now) => Ok(()),
        // It came with the loss of others, after a time in which nothing could be written.
        Phase::Closed(Outcome::Abandoned { .. })
            if effects.iter().any(|e| matches!(e, Effect::Announce(notice) if is_abandoned_by_this(notice))) =>
        {
            Ok(())
        }
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
            Event::UpdateReceived { assignment, .. } => in_time(now, assignment, effects, federation),
            _ => Ok(()),
        }
    }

    /// A batch is in the journal: it has happened for good. Says what each of its events asks for.
    pub(crate) fn journaled(
        &mut self,
        now: u64,
        epoch: u64,
        entries: &[(Timestamp, String)],
    ) -> Result<Vec<Vec<Effect>>, Violation> {
        if self.epochs.last().is_some_and(|last| *last > epoch) {
            let found = format!("epoch {epoch} wrote after epoch {:?}", self.epochs.last());
            return Err(Violation { invariant: "the journal is one line of history", found });
        }
        let mut effects = Vec::new();
        for (at, text) in entries {
            let invariant = "every journal entry is accepted again";
            let event: Event =
                serde_json::from_str(text).map_err(|error| Violation { invariant, found: error.to_string() })?;
            let asked = self.federation.apply(*at, event.clone());
            let asked = asked.map_err(|refusal| Violation { invariant, found: refusal.to_string() })?;
            self.epochs.push(epoch);
            self.entered(*at, &event, &asked)?;
            effects.push(asked);
        }
        self.rounds_closed(now)?;
        Ok(effects)
    }

    /// What is done now was written by whoever does it.
    pub(crate) fn wrote(&self, epoch: u64, from: usize, to: usize) -> Checked {
        match self.epochs.get(from..to) {
            Some(written) if written.iter().all(|by| *by == epoch) => Ok(()),
            _ => violated(
                "nothing is done that the journal does not hold",
                format!("epoch {epoch} acts on entries {from} to {to}"),
            ),
        }
    }

    fn entered(&mut self, now: Timestamp, event: &Event, effects: &[Effect]) -> Checked {
        self.tokens_let_in_one(now, event)?;
        if let Event::Aggregated { run, receipt, .. } = event
            && effects.iter().any(|effect| matches!(effect, Effect::Announce(n) if n.kind == "round-committed"))
            && let Some(PolicyChoice::Pinned(policy)) = self.aggregating.get(run)
        {
            self.kept.insert(run.clone(), (policy.clone(), receipt.kept.clone()));
        }
        for effect in effects {
            match effect {
                Effect::Aggregate(task) => self.finds_what_it_kept(task)?,
                Effect::ArchiveRound { run, round } => {
                    self.archived.insert((run.clone(), *round));
                }
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
        let round = self.federation.runs.get(&assignment.run).and_then(|run| run.round(assignment.round));
        let honest = round.map(|round| update_digest(&assignment.worker, round.number, &round.base.digest));
        if honest != Some(receipt.update) {
            self.lied_to.insert(assignment.run.clone());
        }
        Ok(())
    }

    /// A token lets in one, once, in time, for what it is for.
    fn tokens_let_in_one(&mut self, now: Timestamp, event: &Event) -> Checked {
        match event {
            Event::TokenCreated { token, grant, expires_at, .. } => {
                self.tokens.insert(token.clone(), (grant.clone(), *expires_at));
            }
            Event::TokenRedeemed { token, applicant } => {
                let wrong = |found: String| violated("a token lets in one, in time, for what it is for", found);
                let Some((grant, expires_at)) = self.tokens.get(token) else {
                    return wrong(format!("{token} was never made"));
                };
                if now >= *expires_at {
                    return wrong(format!("{token} had expired"));
                }
                let before = self.redeemed.entry(token.clone()).or_insert_with(|| applicant.clone());
                let name = |applicant: &Applicant| applicant.worker.as_ref().map(|(name, _)| name.clone());
                if before.key_hash != applicant.key_hash || name(before) != name(applicant) {
                    return wrong(format!("{token} let in {before:?}, and then {applicant:?}"));
                }
                match (grant, &applicant.worker) {
                    (Grant::Worker { region }, Some((name, claimed))) => {
                        if claimed.as_ref().is_some_and(|claimed| claimed != region) {
                            return wrong(format!("{token} is for {region}, not {claimed:?}"));
                        }
                        self.newcomers.push((name.clone(), region.clone()));
                    }
                    (Grant::Operator { .. }, None) => {}
                    _ => return wrong(format!("{token} is for {grant:?}")),
                }
            }
            _ => {}
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

    /// A worker was told that its update counts.
    pub(crate) fn acknowledged(&mut self, assignment: &AssignmentId, update: Digest) -> Checked {
        if self.accepted.get(assignment) != Some(&update) {
            let found = format!("{assignment} was acknowledged and is not in the journal");
            return violated("an acknowledged update is in the journal", found);
        }
        self.acknowledged.insert(assignment.clone(), update);
        Ok(())
    }

    /// A worker was told that its report does not count, and throws it away: it had better be true.
    pub(crate) fn refused(&self, who: Who, assignment: &AssignmentId, task: Task, code: &str) -> Checked {
        if code != "bad_report" && self.federation.admit(assignment, task).is_ok() {
            let found = format!("coordinator-{who} refused {assignment} ({code}), which is wanted");
            return violated("nobody speaks for a federation that has moved on", found);
        }
        Ok(())
    }

    /// Somebody leads: it is where the journal is, and knows all that was ever acknowledged.
    pub(crate) fn recovered(&mut self, federation: &Federation) -> Checked {
        if *federation != self.federation {
            let found = format!("after {} entries", self.epochs.len());
            return violated("the journal gives the same federation again", found);
        }
        for (assignment, update) in &self.acknowledged {
            let is_known = federation.reported(assignment) == Some(*update);
            let run = federation.runs.get(&assignment.run);
            if !is_known && !run.is_some_and(|run| run.has_forgotten(assignment.round)) {
                return violated("nothing acknowledged is lost", format!("{assignment} is gone"));
            }
        }
        Ok(())
    }

    /// In the end every update that was acknowledged is in the spool or in a committed round, unless its round was
    /// abandoned or its run stopped.
    pub(crate) fn nothing_is_lost(&self, is_spooled: impl Fn(&(AssignmentId, Digest)) -> bool) -> Checked {
        for (assignment, update) in &self.acknowledged {
            let of_run = self.closed.range((assignment.run.clone(), assignment.round)..);
            let mut rounds = of_run.take_while(|((run, _), _)| *run == assignment.run).map(|(_, round)| round);
            let counted = rounds.clone().any(|round| {
                let seat = round.seats.get(&assignment.worker);
                let is_it = |seat: &&polder_core::round::Seat| round.origin(seat) == assignment.round;
                let update_of = seat.filter(is_it).and_then(polder_core::round::Seat::update);
                round.committed().is_some() && update_of == Some(*update)
            });
            let was_given_up = rounds.any(|round| matches!(round.outcome(), Some(Outcome::Abandoned { .. })));
            if !counted && !was_given_up && !is_spooled(&(assignment.clone(), *update)) {
                return violated("nothing acknowledged is lost", format!("{assignment} is in no round"));
            }
        }
        Ok(())
    }
}
