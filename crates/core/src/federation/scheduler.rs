//! The scheduler: which rounds want workers, which workers could serve them, and one placement question at a time.
//!
//! Rounds are taken in the order in which their runs were submitted. A question is about all rounds that wait for the
//! same policy with the same parameters; while it is under way nothing else is asked, so two answers never compete for
//! one slot. An answer is checked against the federation as it is *now*: what the policy got wrong fails the policy; what
//! merely changed since the question (a worker left) is dropped, and the rest counts if it is still enough.

use std::collections::BTreeMap;

use super::question::OpenQuestion;
use super::{Effects, Federation, Refusal};
use crate::digest::Digest;
use crate::effect::Effect;
use crate::id::{QuestionId, RoundNumber, RunId, WorkerName};
use crate::policy::{Demand, Placed, PlacementAnswer, PlacementQuestion, PolicyChoice, WorkerSnapshot, tidy_reason};
use crate::round::{Phase, Round, RoundEvent, Seat, SeatState};
use crate::run::Run;
use crate::worker::Worker;

impl Federation {
    pub(super) fn schedule(&mut self, effects: &mut Effects) {
        // A round that is given up while we look sets workers free and opens the next one: look again. This ends, as a
        // new round is never given up before it has a cohort.
        while self.question.is_none() && self.look(effects) {}
    }

    /// Asks for the rounds that wait for one policy, if it is time; says whether a round was given up meanwhile.
    fn look(&mut self, effects: &mut Effects) -> bool {
        let wanting: Vec<RunId> = self
            .runs_in_order()
            .filter(|run| run.round.as_ref().is_some_and(|round| round.open_seats(&run.terms()).is_some()))
            .map(|run| run.id.clone())
            .collect();
        // Most events come while no round wants anybody, and what follows looks at every seat.
        if wanting.is_empty() {
            return false;
        }
        let rounds_over = |federation: &Self| -> u64 {
            wanting.iter().filter_map(|id| federation.runs.get(id)).map(|run| u64::from(run.history.closed())).sum()
        };
        let over_before = rounds_over(self);
        let taken = self.slots_taken();
        let mut ready: Vec<(PolicyChoice, Demand)> = Vec::new();
        for id in &wanting {
            if let Some(demand) = self.look_for_candidates(id, &taken, effects) {
                let Some(round) = self.runs.get(id).and_then(|run| run.round.as_ref()) else { continue };
                ready.push((round.placement.clone(), demand));
            }
        }
        if rounds_over(self) > over_before {
            return true;
        }
        if let Some((policy, _)) = ready.first().cloned() {
            let demands = ready.into_iter().filter(|(other, _)| *other == policy).map(|(_, demand)| demand).collect();
            self.ask(policy, demands, &taken, effects);
        }
        false
    }

    /// Slots in use by worker, over all runs.
    #[must_use]
    pub fn slots_taken(&self) -> BTreeMap<WorkerName, u32> {
        let mut taken = BTreeMap::new();
        let open = self.runs.values().filter_map(|run| run.round.as_ref());
        for (worker, _) in open.flat_map(|round| &round.seats).filter(|(_, seat)| seat.is_active()) {
            *taken.entry(worker.clone()).or_insert(0) += 1;
        }
        taken
    }

    /// The round's demand if it is time to ask for it; otherwise the round is told what it waits for.
    fn look_for_candidates(
        &mut self,
        id: &RunId,
        taken: &BTreeMap<WorkerName, u32>,
        effects: &mut Effects,
    ) -> Option<Demand> {
        let is_quiet = self.runs.get_mut(id)?.round.as_mut()?.is_quiet(effects.now);
        if is_quiet {
            return None;
        }
        let run = self.runs.get(id)?;
        let round = run.round.as_ref()?;
        let terms = run.terms();
        let (seats, seats_min) = round.open_seats(&terms)?;
        let candidates = if round.may_replace(&terms) { self.candidates(run, round, taken) } else { Vec::new() };
        let found = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let Phase::Selection(selection) = &round.phase else {
            return self.look_for_stand_ins(id, seats, candidates, effects);
        };
        let is_ready = found >= seats || (found >= seats_min && selection.window_is_over(effects.now, &terms));
        if is_ready {
            return Some(Demand { run: id.clone(), round: round.number, seats, seats_min, candidates });
        }
        let reason = self.why_waiting(run, found, (seats, seats_min));
        self.pass_on(id, RoundEvent::Waited { candidates: found, reason }, effects);
        None
    }

    /// The round has a cohort, but too few of it are left: for a quorum, or for as many updates as it wants.
    fn look_for_stand_ins(
        &mut self,
        id: &RunId,
        missing: u32,
        candidates: Vec<WorkerName>,
        effects: &mut Effects,
    ) -> Option<Demand> {
        let run = self.runs.get(id)?;
        let round = run.round.as_ref()?;
        let terms = run.terms();
        let short = round.missing_for_quorum(&terms);
        if short == 0 && !round.has_time_for_standbys(effects.now, &terms) {
            return None;
        }
        if !candidates.is_empty() {
            return Some(Demand { run: id.clone(), round: round.number, seats: missing, seats_min: 1, candidates });
        }
        // Workers that are busy or away just now may stand in later; the deadline bounds the wait for them.
        let later = if round.may_replace(&terms) { self.may_stand_in(run, round).count() } else { 0 };
        let later = u32::try_from(later).unwrap_or(u32::MAX);
        if round.lost().saturating_add(later) < short {
            let gave_up = round.seats.iter().filter_map(|(worker, seat)| match &seat.state {
                SeatState::Declined { reason } | SeatState::Failed { reason } => Some(format!("{worker}: {reason}")),
                _ => None,
            });
            let why = gave_up.collect::<Vec<_>>().join("; ");
            let reason = format!("a quorum can no longer come together ({why})");
            self.pass_on(id, RoundEvent::Stranded { reason }, effects);
        }
        None
    }

    /// Workers outside the cohort that offer what the run needs and are expected to work on.
    fn may_stand_in<'a>(&'a self, run: &'a Run, round: &'a Round) -> impl Iterator<Item = &'a Worker> {
        self.workers.values().filter(|worker| {
            worker.is_expected()
                && !worker.is_draining
                && worker.offers(&run.spec.dataset, &run.spec.trainer.kind)
                && round.seats.get(&worker.name).is_none_or(Seat::is_spent)
        })
    }

    fn candidates(&self, run: &Run, round: &Round, taken: &BTreeMap<WorkerName, u32>) -> Vec<WorkerName> {
        let is_free =
            |worker: &&Worker| worker.is_connected() && taken.get(&worker.name).copied().unwrap_or(0) < worker.slots();
        self.may_stand_in(run, round).filter(is_free).map(|worker| worker.name.clone()).collect()
    }

    fn why_waiting(&self, run: &Run, found: u32, (seats, seats_min): (u32, u32)) -> String {
        let (data, kind) = (&run.spec.dataset, &run.spec.trainer.kind);
        let connected = self.workers.values().filter(|worker| worker.is_connected());
        let (mut here, mut offering, mut draining) = (0_u32, 0_u32, 0_u32);
        for worker in connected {
            here += 1;
            offering += u32::from(worker.offers(data, kind));
            draining += u32::from(worker.offers(data, kind) && worker.is_draining);
        }
        let wanted = if found < seats_min { seats_min } else { seats };
        let mut reason = format!("{wanted} free workers with data set `{data}` and trainer `{kind}`: {found} are free");
        reason.push_str(&format!(", {offering} offer it, {here} are connected"));
        if draining > 0 {
            reason.push_str(&format!(", {draining} are draining"));
        }
        reason
    }

    fn ask(
        &mut self,
        policy: PolicyChoice,
        demands: Vec<Demand>,
        taken: &BTreeMap<WorkerName, u32>,
        effects: &mut Effects,
    ) {
        self.questions_asked += 1;
        let question = self.questions_asked;
        let workers = self.workers.values().filter(|worker| worker.is_connected() && !worker.is_draining);
        let workers = workers.map(|worker| WorkerSnapshot {
            name: worker.name.clone(),
            region: worker.region.clone(),
            slots: worker.slots(),
            slots_free: worker.slots().saturating_sub(taken.get(&worker.name).copied().unwrap_or(0)),
            rounds_assigned: worker.rounds_assigned,
            latency_ms: worker.latency_ms,
            load: crate::policy::WorkerLoad::default(),
        });
        let state = match &policy {
            PolicyChoice::Pinned(policy) => self.placement_state.get(&policy.digest).cloned().unwrap_or_default(),
            PolicyChoice::Builtin => Vec::new(),
        };
        let first = demands.first().and_then(|demand| Some((self.runs.get(&demand.run)?.spec.seed, demand.round)));
        let seed = first.map_or(0, |(run, round)| super::runs::seed(run, &[b"placement", &round.to_le_bytes()]));
        let ask = PlacementQuestion { seed, workers: workers.collect(), demands, state };
        for demand in &ask.demands {
            self.pass_on(&demand.run, RoundEvent::PlacementAsked, effects);
        }
        let slots_free = ask.workers.iter().map(|worker| (worker.name.clone(), worker.slots_free)).collect();
        let demands = ask.demands.clone();
        self.question = Some(OpenQuestion { id: question, policy: policy.clone(), demands, slots_free });
        effects.push(Effect::AskPlacement { question, policy, ask });
    }

    fn take_question(&mut self, id: QuestionId) -> Result<OpenQuestion, Refusal> {
        self.question.take_if(|question| question.id == id).ok_or(Refusal::StaleQuestion { question: id })
    }

    pub(super) fn placement_failed(
        &mut self,
        id: QuestionId,
        reason: &str,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let question = self.take_question(id)?;
        self.fail_policy(&question, &tidy_reason(reason), effects);
        Ok(())
    }

    fn fail_policy(&mut self, question: &OpenQuestion, reason: &str, effects: &mut Effects) {
        for (run, _) in self.still_asking(question) {
            self.pass_on(&run, RoundEvent::PlacementFailed { reason: reason.into() }, effects);
        }
    }

    /// The question's rounds that still want what they wanted.
    fn still_asking(&self, question: &OpenQuestion) -> Vec<(RunId, RoundNumber)> {
        let wants = |demand: &&Demand| {
            self.runs.get(&demand.run).is_some_and(|run| {
                let round = run.round.as_ref().filter(|round| round.number == demand.round);
                round.is_some_and(|round| round.open_seats(&run.terms()).is_some())
            })
        };
        question.demands.iter().filter(wants).map(|demand| (demand.run.clone(), demand.round)).collect()
    }

    pub(super) fn placement_answered(
        &mut self,
        id: QuestionId,
        policy: Digest,
        answer: PlacementAnswer,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let question = self.take_question(id)?;
        if let Err(problem) = question.check(&answer) {
            self.fail_policy(&question, &problem, effects);
            return Ok(());
        }
        if let PolicyChoice::Pinned(_) = question.policy {
            self.placement_state.insert(policy, answer.state);
            self.forget_placement_states();
        }
        let asked = self.still_asking(&question);
        for (run, number) in asked {
            let chosen: Vec<&Placed> = answer.assignments.iter().filter(|placed| placed.run == run).collect();
            let declined = answer.declined.iter().find(|declined| declined.run == run);
            let declined = declined.map_or("it gave no reason", |declined| declined.reason.as_str());
            self.place(&run, number, (&question.policy, policy), &chosen, declined, effects);
        }
        Ok(())
    }

    fn place(
        &mut self,
        id: &RunId,
        number: RoundNumber,
        (policy, by): (&PolicyChoice, Digest),
        chosen: &[&Placed],
        declined: &str,
        effects: &mut Effects,
    ) {
        let Some(run) = self.runs.get(id) else { return };
        let Some((seats, seats_min)) = run.round.as_ref().and_then(|round| round.open_seats(&run.terms())) else {
            return;
        };
        let taken = self.slots_taken();
        let still_here = |placed: &&&Placed| {
            let worker = self.workers.get(&placed.worker);
            worker.is_some_and(|worker| {
                worker.is_connected()
                    && !worker.is_draining
                    && taken.get(&worker.name).copied().unwrap_or(0) < worker.slots()
            })
        };
        let here: Vec<&&Placed> = chosen.iter().filter(still_here).collect();
        let event = if here.len() as u64 >= u64::from(seats_min) {
            let reason = format!("chosen by {policy} for round {number}");
            let seat = |placed: &&Placed| (placed.worker.clone(), Seat::new(placed.gpu, tidy_reason(&placed.reason)));
            // Fewer may be wanted than were asked for: a lost worker may have returned meanwhile.
            let wanted = usize::try_from(seats).unwrap_or(usize::MAX);
            RoundEvent::Placed { chosen: here.into_iter().take(wanted).map(seat).collect(), by, reason }
        } else if here.len() == chosen.len() {
            RoundEvent::PlacementDeclined { reason: tidy_reason(declined) }
        } else {
            // Workers left between question and answer: the next look asks anew with those that are here.
            return;
        };
        if let (RoundEvent::Placed { .. }, PolicyChoice::Pinned(policy)) = (&event, policy)
            && let Some(run) = self.runs.get_mut(id)
        {
            run.placed(policy);
        }
        self.pass_on(id, event, effects);
    }
}
