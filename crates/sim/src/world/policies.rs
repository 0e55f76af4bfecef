//! What policies answer: the least loaded workers and the mean; and everything else that a component may come up with.

use polder_core::effect::AggregationTask;
use polder_core::invariants::Violation;
use polder_core::policy::{Declined, Placed, PlacementAnswer, PlacementQuestion, PolicyChoice};
use polder_core::round::{AggregateReceipt, StateTensor};
use polder_core::{AssignmentId, Event, QuestionId, RunId, WorkerName};

use super::World;
use super::setup::name;
use crate::digests::{digest, kept_digests, model_digest};
use crate::message::{Step, Who};

/// What a policy's bytes are called in this world; only its runs' digests differ.
const POLICY: &[u8] = b"a policy";

impl World {
    pub(super) fn ask(&mut self, who: Who, question: QuestionId, policy: &PolicyChoice, ask: &PlacementQuestion) {
        let (share, fault) = match policy {
            PolicyChoice::Pinned(_) => (self.faults.placement, "placement-policy"),
            PolicyChoice::Builtin => (self.faults.builtin, "built-in-policy"),
        };
        let answer = if self.now < self.declining_until {
            self.strike("placement-policy");
            Ok(PlacementAnswer::default())
        } else if self.dice.chance(share) {
            self.strike(fault);
            self.wrong_placement(ask)
        } else {
            Ok(least_loaded(ask))
        };
        let event = match answer {
            Ok(answer) => Event::PlacementAnswered { question, policy: digest(&[POLICY]), answer },
            Err(reason) => Event::PlacementFailed { question, reason },
        };
        let ms = self.dice.between(1, 15);
        self.answered(who, ms, event);
    }

    fn answered(&mut self, who: Who, ms: u64, event: Event) {
        if let Some(epoch) = self.coordinators[who].epoch() {
            self.step(who, ms, Step::Answered { epoch, event: Box::new(event) });
        }
    }

    fn wrong_placement(&mut self, ask: &PlacementQuestion) -> Result<PlacementAnswer, String> {
        let mut answer = least_loaded(ask);
        let first = ask.demands.first().map(|demand| demand.run.clone());
        let Some(first) = first else { return Err("asked about nothing".into()) };
        let place = |run: &RunId, worker: &WorkerName| Placed {
            run: run.clone(),
            worker: worker.clone(),
            gpu: None,
            reason: "nonsense".into(),
        };
        match self.dice.index(9) {
            0 => return Err("trap: unreachable".into()),
            1 => return Err("time limit".into()),
            2 => {
                let declined =
                    ask.demands.iter().map(|demand| Declined { run: demand.run.clone(), reason: "not now".into() });
                answer = PlacementAnswer { declined: declined.collect(), ..PlacementAnswer::default() };
            }
            3 => {
                // From now on for a while: a core that asks again at once would ask very often.
                answer = PlacementAnswer::default();
                self.declining_until = self.now + self.dice.between(0, 2_500);
            }
            4 => answer.assignments.push(place(&first, &name(WorkerName::new("nobody")))),
            5 => answer.assignments.extend(answer.assignments.first().cloned()),
            6 => {
                let unasked = name(RunId::new("unasked"));
                answer.assignments.extend(ask.workers.first().map(|worker| place(&unasked, &worker.name)));
            }
            7 => {
                // Somebody free that was no candidate: it has a seat in this round, or had one.
                let candidates = &ask.demands[0].candidates;
                let mut others =
                    ask.workers.iter().filter(|worker| worker.slots_free > 0 && !candidates.contains(&worker.name));
                answer.assignments = others.next_back().map(|worker| place(&first, &worker.name)).into_iter().collect();
            }
            // Everybody, whether it was a candidate or not: too many, overcommitted, or here no more.
            _ => answer.assignments = self.workers.iter().map(|worker| place(&first, &worker.name)).collect(),
        }
        Ok(answer)
    }

    pub(super) fn aggregate(&mut self, who: Who, task: &AggregationTask) -> Result<(), Violation> {
        let (run, round) = (task.run.clone(), task.round);
        let mut ms = 0;
        // Whoever woke up late may find that the round is over, and its files gone.
        let open = self.history.federation.runs.get(&run).and_then(|run| run.round.as_ref());
        if !open.is_some_and(|open| open.number == round && open.phase.name() == "aggregation") {
            let reason = "the round is over".into();
            self.answered(who, 1, Event::AggregationImpossible { run, round, reason });
            return Ok(());
        }
        if let Some(gone) = task.kept.tensors.iter().find(|tensor| !self.models.contains(&tensor.digest)) {
            let found = format!("{run}, round {round}: {:?} is gone", gone.digest);
            return Err(Violation { invariant: "what a policy kept is stored", found });
        }
        let mut is_unreadable = self.reads_badly(task)?;
        if self.dice.chance(self.faults.blob_read) {
            self.strike("blob-read");
            is_unreadable |= self.dice.chance(0.3);
            ms += self.dice.between(200, 1_500);
        }
        let event = if is_unreadable {
            Event::AggregationImpossible { run, round, reason: "a file cannot be read".into() }
        } else {
            self.aggregated(task)
        };
        let is_slow = self.dice.chance(self.faults.slow);
        if is_slow {
            self.strike("slow");
        }
        ms += self.dice.between(1, if is_slow { 1_500 } else { 60 });
        self.answered(who, ms, event);
        Ok(())
    }

    /// Whether an update is lost; one that is damaged here is fetched again from where it is whole.
    fn reads_badly(&mut self, task: &AggregationTask) -> Result<bool, Violation> {
        let mut is_lost = false;
        for input in &task.inputs {
            let assignment = AssignmentId { run: task.run.clone(), round: input.round, worker: input.worker.clone() };
            let Some(stored) = self.spool.get_mut(&(assignment.clone(), input.update)) else {
                let found = format!("the update of {assignment} is gone");
                return Err(Violation { invariant: "what is to be aggregated is in the spool", found });
            };
            is_lost |= stored.is_lost;
            stored.is_damaged = stored.is_lost;
        }
        Ok(is_lost)
    }

    /// What the policy makes of it.
    fn aggregated(&mut self, task: &AggregationTask) -> Event {
        let (run, round) = (task.run.clone(), task.round);
        let (share, fault) = match task.policy {
            PolicyChoice::Pinned(_) => (self.faults.aggregation, "aggregation-policy"),
            PolicyChoice::Builtin => (self.faults.builtin, "built-in-policy"),
        };
        let is_wrong = self.dice.chance(share);
        if is_wrong {
            self.strike(fault);
        }
        match is_wrong.then(|| self.dice.index(5)) {
            Some(0 | 1) => Event::AggregationFailed { run, round, reason: "trap: out of memory".into() },
            wrong => {
                let mut receipt = self.mean(task);
                match wrong {
                    Some(2) => receipt.weights.push(0.0),
                    Some(3) => receipt.notes.resize(receipt.weights.len() + 1, "one too many".into()),
                    // The built-in keeps nothing, and nobody asks what it would.
                    Some(_) => receipt.kept.tensors.resize(3, StateTensor { digest: receipt.model, bytes: 400 }),
                    None => {}
                }
                Event::Aggregated { run, round, receipt }
            }
        }
    }
}

impl World {
    fn mean(&mut self, task: &AggregationTask) -> AggregateReceipt {
        let model = model_digest(&task.model, task.inputs.iter().map(|input| (&input.worker, &input.update)));
        let weights = vec![1.0 / task.inputs.len() as f32; task.inputs.len()];
        let mut receipt = AggregateReceipt::new(model, 400, digest(&[POLICY]), weights, "the mean".into());
        if let PolicyChoice::Pinned(policy) = &task.policy {
            receipt.kept = kept_digests(policy, &task.kept, &model);
        }
        self.models.insert(model);
        self.models.extend(receipt.kept.tensors.iter().map(|tensor| tensor.digest));
        receipt
    }
}

/// For each demand in turn the candidates that were chosen least so far, as far as their slots go.
fn least_loaded(ask: &PlacementQuestion) -> PlacementAnswer {
    let mut answer = PlacementAnswer::default();
    let mut workers: Vec<_> =
        ask.workers.iter().map(|worker| (worker.rounds_assigned, worker.slots_free, &worker.name)).collect();
    workers.sort_unstable();
    for demand in &ask.demands {
        let fits = |(_, free, name): &&mut (u64, u32, &WorkerName)| *free > 0 && demand.candidates.contains(name);
        let mut chosen: Vec<_> = workers.iter_mut().filter(fits).take(demand.seats as usize).collect();
        if chosen.len() < demand.seats_min as usize {
            answer.declined.push(Declined { run: demand.run.clone(), reason: "too few are free".into() });
            continue;
        }
        for (_, free, worker) in &mut chosen {
            *free -= 1;
            let placed =
                Placed { run: demand.run.clone(), worker: (*worker).clone(), gpu: None, reason: "least loaded".into() };
            answer.assignments.push(placed);
        }
    }
    answer
}
