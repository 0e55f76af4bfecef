//! Events of one round are passed to it; what it asks for becomes effects; a closed round turns its run's page.

use std::collections::BTreeSet;

use super::policies::check_fit;
use super::{Effects, Federation, Refusal};
use crate::digest::Digest;
use crate::effect::{AggregationInput, AggregationTask, Assignment, Effect};
use crate::id::{AssignmentId, RoundNumber, RunId, WorkerName};
use crate::policy::{AggregationTraits, PolicyChoice, UpdateSummary};
use crate::round::{Phase, Round, RoundEffect, RoundEvent, RoundRefusal, Seat, Task};
use crate::run::{Run, RunStatus, Turn};
use crate::spec::RunSpec;
use crate::time::Timestamp;
use crate::worker::Worker;

impl Federation {
    pub(super) fn run_submitted(
        &mut self,
        id: RunId,
        spec: RunSpec,
        traits: AggregationTraits,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if self.runs.contains_key(&id) {
            return Err(Refusal::RunExists { run: id });
        }
        spec.check()?;
        check_fit(&spec.aggregation, &traits, &spec.cohort)?;
        let text = format!("{id} submitted: {} rounds on `{}`", spec.rounds, spec.dataset);
        effects.announce(Some(&id), None, None, "run-submitted", text);
        self.runs.insert(id.clone(), Run::submit(id.clone(), spec, traits, effects.now));
        self.queue.push(id);
        Ok(())
    }

    pub(super) fn run_stopped(&mut self, id: &RunId, reason: String, effects: &mut Effects) -> Result<(), Refusal> {
        self.running(id)?;
        let cancelled = format!("the run was stopped: {reason}");
        self.pass_on_without_turning(id, RoundEvent::Cancelled { reason: cancelled }, effects)?;
        if let Some(run) = self.runs.get_mut(id) {
            let turn = run.stop(effects.now, reason.clone());
            self.let_go(id, turn, effects);
        }
        effects.announce(Some(id), None, None, "run-stopped", format!("{id} stopped: {reason}"));
        Ok(())
    }

    /// Whether an update (or evaluation) for `assignment` would be taken now.
    pub fn admit(&self, assignment: &AssignmentId, task: Task) -> Result<&Round, Refusal> {
        let run = self.runs.get(&assignment.run).ok_or_else(|| Refusal::UnknownRun { run: assignment.run.clone() })?;
        let round = run.round(assignment.round).ok_or_else(|| no_round(run, assignment.round))?;
        let (round, _) = run.seat(round.number, &assignment.worker).ok_or_else(|| not_in_cohort(assignment))?;
        round.admit(&assignment.worker, task)?;
        Ok(round)
    }

    /// The update that counts for `assignment`, if one does.
    #[must_use]
    pub fn reported(&self, assignment: &AssignmentId) -> Option<Digest> {
        self.runs.get(&assignment.run)?.seat(assignment.round, &assignment.worker)?.1.update()
    }

    /// Whether `worker` is at work on what `digest` names: its model, or the control variate that goes with it.
    #[must_use]
    pub fn starts_from(&self, worker: &WorkerName, digest: &Digest) -> bool {
        let names = |round: &&Round| {
            round.base.digest == *digest || round.control_variate.is_some_and(|tensor| tensor.digest == *digest)
        };
        let origins = self.runs.values().filter_map(|run| {
            let round = run.round.as_ref()?;
            let seat = round.seats.get(worker).filter(|seat| seat.is_active())?;
            run.round(round.origin(seat))
        });
        origins.into_iter().any(|round| names(&round))
    }

    /// Whether updates of this round may still be wanted, or may still come: its files stay in the spool.
    #[must_use]
    pub fn holds_spool(&self, run: &RunId, round: RoundNumber) -> bool {
        let Some(run) = self.runs.get(run) else { return false };
        run.unreleased.contains(&round) || run.round.as_ref().is_some_and(|open| open.number == round)
    }

    /// How long the worker has been at `assignment`, in milliseconds.
    pub(super) fn latency(&self, now: Timestamp, assignment: &AssignmentId) -> Option<u64> {
        let (_, seat) = self.runs.get(&assignment.run)?.seat(assignment.round, &assignment.worker)?;
        Some(now.ms_since(seat.assigned_at))
    }

    pub(super) fn measure(&mut self, worker: &WorkerName, latency_ms: Option<u64>) {
        if let Some(ms) = latency_ms {
            self.workers.change(worker, |worker| worker.measure(ms));
        }
    }

    pub(super) fn seat_event(
        &mut self,
        assignment: AssignmentId,
        event: impl FnOnce(WorkerName) -> RoundEvent,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let AssignmentId { run: id, round: number, worker } = &assignment;
        let run = self.running(id)?;
        let Some((round, _)) = run.seat(*number, worker) else {
            self.open_round(id, *number)?;
            return Err(not_in_cohort(&assignment));
        };
        if !round.is_open() {
            return Err(Refusal::RoundClosed { run: id.clone(), round: *number, phase: round.phase.name() });
        }
        self.pass(id, event(worker.clone()), effects)
    }

    pub(super) fn round_event(
        &mut self,
        run: &RunId,
        number: RoundNumber,
        event: RoundEvent,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.open_round(run, number)?;
        self.pass(run, event, effects)
    }

    pub(super) fn running(&self, id: &RunId) -> Result<&Run, Refusal> {
        let run = self.runs.get(id).ok_or_else(|| Refusal::UnknownRun { run: id.clone() })?;
        match run.status {
            RunStatus::Running => Ok(run),
            _ => Err(Refusal::RunEnded { run: id.clone(), status: run.status.name() }),
        }
    }

    fn open_round(&self, id: &RunId, number: RoundNumber) -> Result<(), Refusal> {
        let run = self.running(id)?;
        match run.round(number) {
            None => Err(no_round(run, number)),
            Some(round) if !round.is_open() => {
                Err(Refusal::RoundClosed { run: id.clone(), round: number, phase: round.phase.name() })
            }
            Some(_) => Ok(()),
        }
    }

    /// Passes an event that must fit; one that does not any more says nothing new.
    pub(super) fn pass_on(&mut self, id: &RunId, event: RoundEvent, effects: &mut Effects) {
        let _ = self.pass(id, event, effects);
    }

    pub(super) fn pass(&mut self, id: &RunId, event: RoundEvent, effects: &mut Effects) -> Result<(), Refusal> {
        let result = self.pass_on_without_turning(id, event, effects);
        self.turn_page(id, effects);
        result
    }

    pub(super) fn pass_on_without_turning(
        &mut self,
        id: &RunId,
        event: RoundEvent,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(run) = self.runs.get_mut(id) else { return Err(Refusal::UnknownRun { run: id.clone() }) };
        let terms = run.terms();
        let Some(round) = &mut run.round else {
            return Err(Refusal::RunEnded { run: id.clone(), status: run.status.name() });
        };
        let number = round.number;
        let asked = round.apply(effects.now, &terms, event)?;
        for effect in asked {
            self.translate(id, number, effect, effects);
        }
        Ok(())
    }

    fn translate(&mut self, id: &RunId, round: RoundNumber, effect: RoundEffect, effects: &mut Effects) {
        match effect {
            RoundEffect::Assign { worker } => {
                self.workers.change(&worker, |worker| worker.rounds_assigned += 1);
                self.send_assignment(id, &worker, effects);
            }
            RoundEffect::Cancel { worker, reason } => {
                let open = self.runs.get(id).and_then(|run| run.round.as_ref());
                let origin = open.and_then(|open| Some(open.origin(open.seats.get(&worker)?)));
                let assignment = AssignmentId { run: id.clone(), round: origin.unwrap_or(round), worker };
                effects.push(Effect::CancelAssignment { assignment, reason });
            }
            RoundEffect::Aggregate => self.aggregate(id, effects),
            RoundEffect::AskPrevious { kind, reason } => self.go_back(id, kind, reason, effects),
            RoundEffect::Announce { worker, kind, text } => {
                effects.announce(Some(id), Some(round), worker.as_ref(), kind, text);
            }
        }
    }

    pub(super) fn send_assignment(&self, id: &RunId, worker: &WorkerName, effects: &mut Effects) {
        let Some(run) = self.runs.get(id) else { return };
        let Some(open) = &run.round else { return };
        let Some(seat) = open.seats.get(worker) else { return };
        // Who was carried over is asked what it was asked at first.
        let Some((round, deadline)) = run.round(open.origin(seat)).zip(open.deadline_of(seat)) else { return };
        effects.push(Effect::SendAssignment(Box::new(Assignment {
            id: AssignmentId { run: id.clone(), round: round.number, worker: worker.clone() },
            task: round.task,
            model: round.base.digest,
            model_bytes: round.base.bytes,
            model_version: round.base.version,
            dataset: run.spec.dataset.clone(),
            trainer: run.spec.trainer.clone(),
            holdout: run.spec.evaluation.map_or(0.0, |evaluation| evaluation.holdout),
            holdout_seed: seed(run.spec.seed, &[b"holdout", worker.as_str().as_bytes()]),
            seed: seed(run.spec.seed, &[&round.number.to_le_bytes(), worker.as_str().as_bytes()]),
            gpu: seat.gpu,
            deadline,
            cohort: u32::try_from(round.seats.len()).unwrap_or(u32::MAX),
            quorum: run.terms().quorum,
            aggregation: match &round.aggregation {
                PolicyChoice::Pinned(policy) => policy.clone(),
                PolicyChoice::Builtin => run.aggregation.clone(),
            },
            training: round.traits.training,
            control_variate: round.control_variate,
        })));
    }

    fn aggregate(&self, id: &RunId, effects: &mut Effects) {
        let Some(run) = self.runs.get(id) else { return };
        let Some(round) = &run.round else { return };
        let inputs = round.seats.iter().filter_map(|(worker, seat)| {
            let receipt = seat.receipt()?;
            Some(AggregationInput {
                worker: worker.clone(),
                round: round.origin(seat),
                update: receipt.update,
                summary: UpdateSummary {
                    examples: receipt.examples,
                    loss: receipt.loss,
                    base_loss: receipt.base_loss,
                    staleness: round.staleness(seat),
                    steps: receipt.steps,
                    normalizer: receipt.normalizer,
                    learning_rate: receipt.learning_rate,
                },
            })
        });
        effects.push(Effect::Aggregate(Box::new(AggregationTask {
            run: id.clone(),
            round: round.number,
            policy: round.aggregation.clone(),
            model: round.base.digest,
            parameters: run.spec.model.parameters,
            seed: seed(run.spec.seed, &[b"aggregation", &round.number.to_le_bytes()]),
            population: self.population(run),
            inputs: inputs.collect(),
            kept: run.kept_for(&round.aggregation, &round.traits),
        })));
    }

    /// Enrolled workers that offered the run's data set and trainer when they last connected.
    fn population(&self, run: &Run) -> u32 {
        let offers = |worker: &&Worker| worker.offers(&run.spec.dataset, &run.spec.trainer.kind);
        u32::try_from(self.workers.values().filter(offers).count()).unwrap_or(u32::MAX)
    }

    pub(super) fn resume_aggregations(&mut self, effects: &mut Effects) {
        for (id, run) in &self.runs {
            if run.round.as_ref().is_some_and(|round| matches!(round.phase, Phase::Aggregation { .. })) {
                self.aggregate(id, effects);
            }
        }
    }

    /// Files a closed round, and says what became of the run.
    fn turn_page(&mut self, id: &RunId, effects: &mut Effects) {
        let Some(run) = self.runs.get_mut(id) else { return };
        let Some(closed) = &run.round else { return };
        if closed.is_open() {
            return;
        }
        let Some(mut turn) = run.turn_page(effects.now) else { return };
        let has_carried = run.round.as_ref().is_some_and(|round| !round.seats.is_empty());
        for (assignment, reason) in std::mem::take(&mut turn.cancelled) {
            effects.push(Effect::CancelAssignment { assignment, reason });
        }
        let ended = turn.ended.clone();
        self.let_go(id, turn, effects);
        if let Some(status) = ended {
            let reason = status.ended().map_or("", |(_, reason)| reason);
            let kind = format!("run-{}", status.name());
            effects.announce(Some(id), None, None, &kind, format!("{id} {}: {reason}", status.name()));
        }
        if has_carried {
            // Enough may have come in already, while the round before was being aggregated.
            let _ = self.pass_on_without_turning(id, RoundEvent::TimePassed, effects);
        }
    }

    /// The round is archived; updates, models and tensors that nobody needs any more are let go.
    fn let_go(&mut self, id: &RunId, turn: Turn, effects: &mut Effects) {
        if let Some(round) = turn.filed {
            effects.push(Effect::ArchiveRound { run: id.clone(), round });
        }
        for round in turn.released {
            effects.push(Effect::ReleaseSpool { run: id.clone(), round });
        }
        let mut digests = turn.unneeded;
        digests.sort_unstable();
        digests.dedup();
        if !digests.is_empty() {
            // Other runs may have started from it, or come to the same model.
            let wanted: BTreeSet<Digest> = self.blobs().filter(|blob| digests.binary_search(blob).is_ok()).collect();
            digests.retain(|digest| !wanted.contains(digest));
        }
        if !digests.is_empty() {
            effects.push(Effect::RemoveBlobs { run: id.clone(), digests });
        }
    }

    pub(super) fn wake_rounds(&mut self, effects: &mut Effects) {
        let now = effects.now;
        let is_due = |run: &&Run| run.round.as_ref().is_some_and(|round| round.is_due(now));
        let late: Vec<RunId> = self.runs_in_order().filter(is_due).map(|run| run.id.clone()).collect();
        for id in late {
            self.pass_on(&id, RoundEvent::TimePassed, effects);
        }
    }

    pub(super) fn open_runs_with(&self, worker: &WorkerName, which: impl Fn(&Seat) -> bool) -> Vec<RunId> {
        let has = |run: &&Run| run.round.as_ref().and_then(|round| round.seats.get(worker)).is_some_and(&which);
        self.runs_in_order().filter(has).map(|run| run.id.clone()).collect()
    }

    pub(super) fn why_unwanted(&self, assignment: &AssignmentId) -> String {
        match self.admit(assignment, Task::Train) {
            Ok(_) => "it was given to another worker".into(),
            Err(refusal) => refusal.to_string(),
        }
    }
}

/// Why a round cannot be looked at: it never was, or it is over for so long that the run has forgotten it.
fn no_round(run: &Run, round: RoundNumber) -> Refusal {
    if run.has_forgotten(round) {
        Refusal::RoundClosed { run: run.id.clone(), round, phase: "over long ago" }
    } else {
        Refusal::UnknownRound { run: run.id.clone(), round }
    }
}

fn not_in_cohort(assignment: &AssignmentId) -> Refusal {
    RoundRefusal::NotInCohort { worker: assignment.worker.clone() }.into()
}

/// A seed of its own for every purpose, from the run's: FNV-1a over the parts, finished with SplitMix64.
pub(super) fn seed(run: u64, parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ run;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let mut mixed = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
