//! Carries out what the core asks for. Each answer comes back as an event; doing an effect twice is harmless.

mod failure;

use std::sync::Arc;
use std::time::Duration;

use polder_core::effect::{AggregationTask, Assignment, Effect, Notice};
use polder_core::id::QuestionId;
use polder_core::policy::{AggregationQuestion, PlacementQuestion, PolicyChoice, PolicyKind, TensorShape};
use polder_core::round::{AggregateReceipt, Kept, Phase};
use polder_core::{AssignmentId, Digest, Event, RoundNumber, RunId};
use polder_proto::{convert, v1};
use polder_tensor::Layout;

use self::failure::{AggregationFailure, PASSING_PAUSE, PAUSES};
use super::details::Said;
use super::standing::{Stop, room};
use crate::aggregation::{Job, PolicyCall, aggregate, statistics};
use crate::config::now;
use crate::handle::{CoordinatorHandle, HandleError};
use crate::layouts::Layouts;
use crate::meter::{self, Step};
use crate::policies::Policies;
use crate::retention::Remover;
use crate::sessions::Sessions;
use crate::spool::{Spool, SpooledUpdate};
use crate::store::Store;

#[derive(Clone)]
pub(crate) struct Performer {
    store: Arc<Store>,
    spool: Spool,
    policies: Policies,
    sessions: Sessions,
    layouts: Layouts,
    /// Where answers go; there once the driver has recovered.
    handle: Option<CoordinatorHandle>,
    remover: Option<Remover>,
}

impl Performer {
    pub(crate) fn new(
        store: Arc<Store>,
        spool: Spool,
        policies: Policies,
        sessions: Sessions,
        layouts: Layouts,
    ) -> Self {
        Self { store, spool, policies, sessions, layouts, handle: None, remover: None }
    }

    pub(super) fn attach(&mut self, handle: CoordinatorHandle, remover: Remover) {
        self.handle = Some(handle);
        self.remover = Some(remover);
    }

    pub(super) fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Sets `effect` going; never waits.
    pub(super) fn perform(&self, effect: Effect) {
        match effect {
            Effect::AskPlacement { question, policy, ask } => self.place(question, policy, ask),
            Effect::SendAssignment(assignment) => self.assign(&assignment),
            Effect::CancelAssignment { assignment, reason } => self.cancel(&assignment, reason),
            Effect::Aggregate(task) => self.aggregate(*task),
            Effect::ReleaseSpool { run, round } => self.release(run, round),
            // The driver archived it with the event that closed it.
            Effect::ArchiveRound { .. } => {}
            Effect::RemoveBlobs { run, digests } => self.let_go(run, digests),
            Effect::Announce(notice) => announce(&notice),
        }
    }

    fn answer(&self, event: Event) {
        if let Some(handle) = self.handle.clone() {
            tokio::spawn(async move { handle.tell(event).await });
        }
    }

    fn place(&self, question: QuestionId, policy: PolicyChoice, mut ask: PlacementQuestion) {
        for worker in &mut ask.workers {
            worker.load = self.sessions.load(&worker.name);
        }
        let performer = self.clone();
        tokio::spawn(async move {
            let runs: Vec<RunId> = ask.demands.iter().map(|demand| demand.run.clone()).collect();
            performer.room(&runs).await;
            let _said = performer.say_asked(runs, &policy);
            let policies = performer.policies.clone();
            // In a task of its own, so that even a panic is an answer: a question without one would hold up all runs.
            let taking = meter::taking(Step::Placement);
            let answer = tokio::spawn(async move { policies.place(policy, ask).await }).await;
            drop(taking);
            let event = match answer {
                Ok(Ok((policy, answer))) => Event::PlacementAnswered { question, policy, answer },
                Ok(Err(error)) => Event::PlacementFailed { question, reason: chain(&error) },
                Err(error) => Event::PlacementFailed { question, reason: chain(&error) },
            };
            performer.answer(event);
        });
    }

    fn assign(&self, assignment: &Assignment) {
        let message = v1::coordinator_message::Message::Assignment(convert::assignment_to_wire(assignment, now()));
        self.sessions.send(&assignment.id.worker, message);
    }

    fn cancel(&self, assignment: &AssignmentId, reason: String) {
        let message = v1::coordinator_message::Message::Cancel(v1::Cancel {
            assignment: Some(convert::assignment_id_to_wire(assignment)),
            reason,
        });
        self.sessions.send(&assignment.worker, message);
    }

    fn aggregate(&self, task: AggregationTask) {
        let performer = self.clone();
        tokio::spawn(async move {
            let (run, round) = (task.run.clone(), task.round);
            let worker = performer.clone();
            let event = match tokio::spawn(async move { worker.aggregate_or_again(task).await }).await {
                Ok(Ok(Some(receipt))) => Event::Aggregated { run, round, receipt },
                Ok(Ok(None)) => return,
                Ok(Err(failure)) => failed(run, round, &failure),
                Err(error) => Event::AggregationFailed { run, round, reason: chain(&error) },
            };
            performer.answer(event);
        });
    }

    /// Tries again what failed here and not in the policy: a few times, or for as long as it is wanted where it will pass by
    /// itself. None once nobody wants it any more.
    async fn aggregate_or_again(&self, task: AggregationTask) -> Result<Option<AggregateReceipt>, AggregationFailure> {
        let mut pauses = PAUSES.iter();
        let mut waits_since = None;
        loop {
            let said = self.say_aggregating(&task);
            let failure = match self.try_aggregate(task.clone()).await {
                Ok(receipt) => return Ok(Some(receipt)),
                Err(failure) if failure.is_policys_fault() || failure.is_final() => return Err(failure),
                Err(failure) => failure,
            };
            drop(said);
            let is_passing = failure.is_passing();
            let Some(pause) = (if is_passing { Some(&PASSING_PAUSE) } else { pauses.next() }) else {
                return Err(failure);
            };
            let (run, round, error) = (&task.run, task.round, chain(&failure));
            tracing::warn!(%run, round, error, "the round could not be aggregated; trying again in {pause:?}");
            let since = *waits_since.get_or_insert_with(now);
            let bound = if is_passing { "for as long as it takes" } else { "a few times" };
            let text = format!("since {since} it is tried again every few seconds, {bound}, as {error}");
            let _said = self.say(vec![task.run.clone()], &text);
            tokio::time::sleep(*pause).await;
            if !self.still_wants(&task).await {
                return Ok(None);
            }
        }
    }

    /// Whether the round is still to be aggregated by this coordinator.
    async fn still_wants(&self, task: &AggregationTask) -> bool {
        let Some(handle) = &self.handle else { return false };
        let (run, number) = (task.run.clone(), task.round);
        let is_aggregating = handle.ask(move |federation| {
            let round = federation.runs.get(&run).and_then(|run| run.round.as_ref());
            round.is_some_and(|round| round.number == number && matches!(round.phase, Phase::Aggregation { .. }))
        });
        match is_aggregating.await {
            Ok(is_aggregating) => is_aggregating,
            // The disk that the journal waits for may be the one that this waits for.
            Err(HandleError::Stalled { .. }) => true,
            Err(_) => false,
        }
    }

    /// Waits until the disk has room for the updates that an answer brings.
    async fn room(&self, runs: &[RunId]) {
        let Some(handle) = &self.handle else { return };
        let full = handle.standing().borrow().full.clone();
        if let Some(Stop { since, reason }) = full {
            let text = format!("since {since} it waits for room, for as long as it takes: {reason}");
            let _said = self.say(runs.to_vec(), &text);
            room(handle.standing()).await;
        }
    }

    /// Tells who looks at `runs` that a policy is at it, and how long that may take.
    fn say_asked(&self, runs: Vec<RunId>, policy: &PolicyChoice) -> Option<Said> {
        let PolicyChoice::Pinned(pinned) = policy else { return None };
        let host = self.policies.host();
        if host.remembered(pinned.digest).is_some() {
            return None;
        }
        let limit = Duration::from_millis(host.limits().compile_ms_max);
        self.say(runs, &format!("its policy is compiled first, within {} s", limit.as_secs_f64()))
    }

    /// The same of an aggregation, with how long the policy may be at it once it is compiled.
    fn say_aggregating(&self, task: &AggregationTask) -> Option<Said> {
        let runs = vec![task.run.clone()];
        self.say_asked(runs.clone(), &task.policy).or_else(|| {
            let limit = Duration::from_millis(self.policies.host().limits().round_ms_max);
            self.say(runs, &format!("its policy may compute for {} s, all threads together", limit.as_secs_f64()))
        })
    }

    fn say(&self, runs: Vec<RunId>, text: &str) -> Option<Said> {
        self.handle.as_ref().map(|handle| handle.details().say(runs, text))
    }

    fn let_go(&self, run: RunId, digests: Vec<Digest>) {
        let Some(remover) = self.remover.clone() else { return };
        tokio::spawn(async move { remover.let_go(run, digests).await });
    }

    async fn try_aggregate(&self, task: AggregationTask) -> Result<AggregateReceipt, AggregationFailure> {
        let (policy, parameters) = self.policies.resolve(&task.policy, PolicyKind::Aggregation).await?;
        let layout = self.layouts.of(&task.model).await?;
        let performer = self.clone();
        blocking(move || {
            let host = performer.policies.host();
            let updates = performer.spooled(&task)?;
            let taking = meter::taking(Step::Weigh);
            let traits = host.describe(&policy, &parameters)?;
            let question = AggregationQuestion {
                round: task.round,
                seed: task.seed,
                parameters: task.parameters,
                tensors: tensors(&layout),
                population: task.population,
                updates: task.inputs.iter().map(|input| input.summary.clone()).collect(),
                statistics: statistics(&layout, &updates, traits.statistics)?,
                state: task.kept.state.clone(),
            };
            let plan = host.weigh(&policy, &parameters, &question)?;
            drop(taking);
            let (round, seed) = (task.round, task.seed);
            let stored = aggregate(&Job {
                blobs: performer.store.blobs(),
                base: task.model,
                layout: &layout,
                updates: &updates,
                traits: &traits,
                plan: &plan,
                kept: &task.kept.tensors,
                policy: PolicyCall { host, policy: &policy, parameters: &parameters, round, seed },
            })?;
            Ok(AggregateReceipt {
                model: stored.digest,
                bytes: stored.bytes,
                policy: policy.digest(),
                weights: plan.weights,
                reason: plan.reason,
                notes: plan.notes,
                kept: Kept { tensors: stored.state, state: plan.state },
            })
        })
        .await
    }

    /// The round's updates, in the one order in which they are summed.
    fn spooled(&self, task: &AggregationTask) -> Result<Vec<SpooledUpdate>, AggregationFailure> {
        let find = |input: &polder_core::effect::AggregationInput| {
            let assignment = AssignmentId { run: task.run.clone(), round: input.round, worker: input.worker.clone() };
            let found = self.spool.find(&assignment, &input.update)?;
            found.ok_or(AggregationFailure::Missing { assignment })
        };
        task.inputs.iter().map(find).collect()
    }

    fn release(&self, run: RunId, round: RoundNumber) {
        let spool = self.spool.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = spool.remove(&run, round) {
                tracing::warn!(%run, round, error = chain(&error), "the round's updates could not be removed");
            }
        });
    }
}

/// What an aggregation that came to nothing says, of whom.
fn failed(run: RunId, round: RoundNumber, failure: &AggregationFailure) -> Event {
    let reason = chain(failure);
    if failure.is_policys_fault() {
        return Event::AggregationFailed { run, round, reason };
    }
    if let Some(assignment) = failure.lost() {
        tracing::error!(%assignment, reason, "an update was lost after it was taken");
        return Event::UpdateLost { assignment: assignment.clone(), reason };
    }
    let reason = format!("the coordinator could not aggregate: {reason}");
    tracing::error!(%run, round, "{reason}");
    Event::AggregationImpossible { run, round, reason }
}

/// The model's tensors, as policies are told of them.
fn tensors(layout: &Layout) -> Vec<TensorShape> {
    let shape = |sizes: &[usize]| sizes.iter().map(|size| *size as u64).collect();
    layout.specs().iter().map(|spec| TensorShape { name: spec.name.clone(), shape: shape(&spec.shape) }).collect()
}

fn announce(notice: &Notice) {
    let Notice { run, round, worker, kind, text, .. } = notice;
    let show = |value: Option<String>| value.map(tracing::field::display);
    tracing::info!(
        run = show(run.as_ref().map(ToString::to_string)),
        round = round,
        worker = show(worker.as_ref().map(ToString::to_string)),
        kind,
        "{text}"
    );
}

/// An error and its causes, in one line; a cause whose words the line already has says nothing new.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !line.contains(&words) {
            line = format!("{line}: {words}");
        }
        cause = error.source();
    }
    line
}

/// Runs blocking work off the async threads; a panic in it is passed on.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
