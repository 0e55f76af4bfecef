//! Who is here: workers come, go and drain; tokens are made and used once.

use super::{Effects, Federation, Refusal, TOKEN_REMEMBERED_MS};
use crate::effect::Effect;
use crate::enrolment::{Applicant, EnrolmentRefusal, Grant, Redemption, Token};
use crate::id::{AssignmentId, TokenId, WorkerName};
use crate::round::RoundEvent;
use crate::time::Timestamp;
use crate::worker::{Capacity, Presence, Worker};

impl Federation {
    pub(super) fn coordinator_started(&mut self, grace_ms: u64, effects: &mut Effects) {
        let since = effects.now;
        let return_by = since.plus_ms(grace_ms);
        let expected = self.workers.values().filter(|worker| worker.is_expected());
        let expected: Vec<WorkerName> = expected.map(|worker| worker.name.clone()).collect();
        for name in expected {
            let reason = "the coordinator restarted".into();
            self.workers.change(&name, |worker| worker.presence = Presence::Away { since, return_by, reason });
        }
        // A question or an aggregation under way died with the process: both are asked again.
        self.question = None;
        self.resume_aggregations(effects);
    }

    pub(super) fn token_created(
        &mut self,
        now: Timestamp,
        id: TokenId,
        secret_hash: String,
        grant: Grant,
        expires_at: Timestamp,
    ) -> Result<(), Refusal> {
        if self.tokens.contains_key(&id) {
            return Err(Refusal::TokenExists { token: id });
        }
        self.tokens.retain(|_, token| now < token.expires_at.plus_ms(TOKEN_REMEMBERED_MS));
        let token = Token { id: id.clone(), secret_hash, grant, created_at: now, expires_at, redeemed: None };
        self.tokens.insert(id, token);
        Ok(())
    }

    pub(super) fn token_redeemed(
        &mut self,
        id: TokenId,
        applicant: &Applicant,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let token = self.tokens.get_mut(&id).ok_or(EnrolmentRefusal::UnknownToken)?;
        token.admit(effects.now, applicant)?;
        let by = match (&token.grant, &applicant.worker) {
            (Grant::Worker { region }, Some((name, _))) => {
                if let Some(known) = self.workers.get(name)
                    && known.region != *region
                {
                    let taken = EnrolmentRefusal::NameTaken { worker: name.clone(), region: known.region.clone() };
                    return Err(taken.into());
                }
                // A new key would take a working worker's place; the same key only asks again for its answer.
                let is_new = token.redeemed.is_none();
                if is_new && self.workers.get(name).is_some_and(Worker::is_expected) {
                    return Err(EnrolmentRefusal::NameInUse { worker: name.clone() }.into());
                }
                let text = format!("{name} enrolled for region {region}");
                effects.announce(None, None, Some(name), "worker-enrolled", text);
                self.workers.enrol(Worker::new(name.clone(), region.clone()));
                name.to_string()
            }
            (Grant::Operator { name }, _) => name.clone(),
            (Grant::Worker { region }, None) => {
                return Err(EnrolmentRefusal::NotForOperators { region: region.clone() }.into());
            }
        };
        let key_hash = applicant.key_hash.clone();
        token.redeemed.get_or_insert(Redemption { at: effects.now, by, key_hash });
        Ok(())
    }

    pub(super) fn worker_connected(
        &mut self,
        name: WorkerName,
        session: u64,
        capacity: Capacity,
        holding: &[AssignmentId],
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if let Err(problem) = capacity.check() {
            return Err(Refusal::Capacity { worker: name, problem });
        }
        let Some(worker) = self.workers.get(&name) else {
            return Err(Refusal::UnknownWorker { worker: name });
        };
        // Sessions are numbered as they open; one that was overtaken on its way here is over already.
        if matches!(worker.presence, Presence::Connected { session: newer, .. } if newer > session) {
            return Err(Refusal::StaleSession { worker: name });
        }
        let text = format!("{name} of {} connected", worker.region);
        self.workers.change(&name, |worker| {
            worker.presence = Presence::Connected { session, since: effects.now };
            worker.capacity = Some(capacity);
        });
        effects.announce(None, None, Some(&name), "worker-connected", text);
        self.resume_assignments(&name, holding, effects);
        Ok(())
    }

    pub(super) fn worker_disconnected(
        &mut self,
        name: WorkerName,
        session: u64,
        grace_ms: u64,
        reason: String,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(worker) = self.workers.get(&name) else {
            return Err(Refusal::UnknownWorker { worker: name });
        };
        if !matches!(worker.presence, Presence::Connected { session: current, .. } if current == session) {
            return Err(Refusal::StaleSession { worker: name });
        }
        effects.announce(None, None, Some(&name), "worker-disconnected", format!("{name} disconnected: {reason}"));
        let since = effects.now;
        let return_by = since.plus_ms(grace_ms);
        self.workers.change(&name, |worker| worker.presence = Presence::Away { since, return_by, reason });
        Ok(())
    }

    pub(super) fn worker_drained(
        &mut self,
        name: WorkerName,
        is_draining: bool,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if self.workers.change(&name, |worker| worker.is_draining = is_draining).is_none() {
            return Err(Refusal::UnknownWorker { worker: name });
        }
        let text = if is_draining { "is draining: it gets no new assignments" } else { "takes assignments again" };
        effects.announce(None, None, Some(&name), "worker-drained", format!("{name} {text}"));
        Ok(())
    }

    /// Gives up on workers that were away for too long, and tells every round that time has passed.
    pub(super) fn pass_time(&mut self, effects: &mut Effects) {
        let now = effects.now;
        let mut gone = Vec::new();
        for name in self.workers.overdue(now) {
            let lost = self.workers.change(&name, |worker| worker.give_up(now)).flatten();
            gone.extend(lost.map(|reason| (name, reason)));
        }
        for (worker, reason) in gone {
            self.lose_seats(&worker, &reason, effects);
        }
        self.wake_rounds(effects);
    }

    fn lose_seats(&mut self, worker: &WorkerName, reason: &str, effects: &mut Effects) {
        for run in self.open_runs_with(worker, crate::round::Seat::is_active) {
            let event = RoundEvent::Lost { worker: worker.clone(), reason: reason.into() };
            self.pass_on(&run, event, effects);
        }
    }

    /// A worker is here (again): it goes on with what is still wanted of it, and is told what is not. If it came back
    /// with fewer slots, what it holds goes first, then the runs in the order of submission; the rest is given up.
    fn resume_assignments(&mut self, worker: &WorkerName, holding: &[AssignmentId], effects: &mut Effects) {
        for run in self.open_runs_with(worker, |seat| matches!(seat.state, crate::round::SeatState::Lost { .. })) {
            self.pass_on(&run, RoundEvent::Returned { worker: worker.clone() }, effects);
        }
        let mut wanted: Vec<AssignmentId> = self
            .open_runs_with(worker, crate::round::Seat::is_active)
            .into_iter()
            .filter_map(|run| {
                let open = self.runs.get(&run)?.round.as_ref()?;
                let round = open.origin(open.seats.get(worker)?);
                Some(AssignmentId { run, round, worker: worker.clone() })
            })
            .collect();
        wanted.sort_by_key(|assignment| !holding.contains(assignment));
        let slots = self.workers.get(worker).map_or(0, Worker::slots);
        let too_many = wanted.split_off(wanted.len().min(usize::try_from(slots).unwrap_or(usize::MAX)));
        for AssignmentId { run, .. } in too_many {
            let reason = format!("it came back with {slots} slots, too few for this");
            self.pass_on(&run, RoundEvent::Failed { worker: worker.clone(), reason }, effects);
        }
        for assignment in &wanted {
            if holding.contains(assignment) {
                self.pass_on(&assignment.run, RoundEvent::Accepted { worker: worker.clone() }, effects);
            } else {
                self.send_assignment(&assignment.run, worker, effects);
            }
        }
        for assignment in holding.iter().filter(|held| !wanted.contains(held)) {
            let reason = self.why_unwanted(assignment);
            effects.push(Effect::CancelAssignment { assignment: assignment.clone(), reason });
        }
    }
}
