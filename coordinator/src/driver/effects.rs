//! Carries out what the core asks for. Each answer comes back as an event; doing an effect twice is harmless.

mod failure;

use std::sync::Arc;

use polder_core::effect::{AggregationTask, Assignment, Effect, Notice};
use polder_core::id::QuestionId;
use polder_core::policy::{AggregationQuestion, PlacementQuestion, PolicyChoice, PolicyKind, TensorShape};
use polder_core::round::{AggregateReceipt, Kept};
use polder_core::{AssignmentId, Event, Federation, RoundNumber, RunId};
use polder_proto::{convert, v1};
use polder_tensor::Layout;

use self::failure::{AggregationFailure, PAUSES};
use crate::aggregation::{Job, PolicyCall, aggregate, statistics};
use crate::config::now;
use crate::handle::CoordinatorHandle;
use crate::layouts::Layouts;
use crate::meter::{self, Step};
use crate::policies::Policies;
use crate::sessions::Sessions;
use crate::spool::{Spool, SpoolError, SpooledUpdate};
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
}

impl Performer {
    pub(crate) fn new(
        store: Arc<Store>,
        spool: Spool,
        policies: Policies,
        sessions: Sessions,
        layouts: Layouts,
    ) -> Self {
        Self { store, spool, policies, sessions, layouts, handle: None }
    }

    pub(super) fn attach(&mut self, handle: CoordinatorHandle) {
        self.handle = Some(handle);
    }

    /// Removes what a crash left in the spool: files of rounds that are over.
    pub(super) fn sweep(&self, federation: &Federation) -> Result<(), SpoolError> {
        let is_wanted = |assignment: &AssignmentId| federation.holds_spool(&assignment.run, assignment.round);
        for held in self.spool.list()?.into_iter().filter(|held| !is_wanted(&held.assignment)) {
            self.spool.discard(&held.assignment)?;
        }
        Ok(())
    }

    /// Sets `effect` going; never waits.
    pub(super) fn perform(&self, effect: Effect) {
        match effect {
            Effect::AskPlacement { question, policy, ask } => self.place(question, policy, ask),
            Effect::SendAssignment(assignment) => self.assign(&assignment),
            Effect::CancelAssignment { assignment, reason } => self.cancel(&assignment, reason),
            Effect::Aggregate(task) => self.aggregate(*task),
            Effect::ReleaseSpool { run, round } => self.release(run, round),
            // The driver files rounds with the event that closed them.
            Effect::ArchiveRound { .. } => {}
            Effect::RemoveBlobs { .. } => {}
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
                Ok(Ok(receipt)) => Event::Aggregated { run, round, receipt },
                Ok(Err(failure)) if failure.is_policys_fault() => {
                    Event::AggregationFailed { run, round, reason: chain(&failure) }
                }
                Ok(Err(failure)) => {
                    let reason = format!("the coordinator could not aggregate: {}", chain(&failure));
                    tracing::error!(%run, round, "{reason}");
                    Event::AggregationImpossible { run, round, reason }
                }
                Err(error) => Event::AggregationFailed { run, round, reason: chain(&error) },
            };
            performer.answer(event);
        });
    }

    /// Tries again what failed here and not in the policy.
    async fn aggregate_or_again(&self, task: AggregationTask) -> Result<AggregateReceipt, AggregationFailure> {
        for pause in PAUSES {
            match self.try_aggregate(task.clone()).await {
                Err(failure) if !failure.is_policys_fault() => {
                    let (run, round, error) = (&task.run, task.round, chain(&failure));
                    tracing::warn!(%run, round, error, "the round could not be aggregated; trying again in {pause:?}");
                    tokio::time::sleep(pause).await;
                }
                done => return done,
            }
        }
        self.try_aggregate(task).await
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
