//! Carrying out one assignment.

use std::sync::Arc;

use polder_core::Digest;
use polder_core::effect::Assignment;
use polder_core::round::Task;
use polder_tensor::Parameters;
use tokio_util::sync::CancellationToken;

use super::produce::{Made, Product, Work};
use super::upload::Delivered;
use super::{Ended, Shared, deadline, upload};
use crate::channel::chain;
use crate::correction::{Correction, NoSteps};
use crate::model::{self, ModelError};
use crate::outbound;
use crate::release::Withheld;
use crate::trainer::{Fallen, Progress, Stage, TrainerError, Watcher, on_thread};

/// Why an assignment came to nothing; the words go to the coordinator.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error("cannot get the model")]
    Model(#[from] ModelError),
    #[error("cannot get SCAFFOLD's control variate, which is sent like a model")]
    ControlVariate(#[source] ModelError),
    #[error("SCAFFOLD's control variate is of another model: {difference}")]
    OtherVariate { difference: String },
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    #[error(transparent)]
    Fallen(#[from] Fallen),
    #[error("the trainer gave back something else than it was asked for")]
    OtherTask,
    #[error("the trainer gave back another model: {difference}")]
    OtherModel { difference: String },
    #[error("the trainer gave back a value that is no finite number")]
    NotFinite(#[from] polder_tensor::NotFinite),
    #[error("the trainer's metrics cannot be true: {problem}")]
    Metrics { problem: String },
    #[error(transparent)]
    NoSteps(#[from] NoSteps),
    #[error(transparent)]
    Withheld(#[from] Withheld),
    #[error("the coordinator refused the update: {said}")]
    Refused { said: String },
}

/// Does it, until it is done, cancelled or too late.
pub(super) async fn carry_out(shared: &Arc<Shared>, assignment: &Assignment, cancel: &CancellationToken) -> Ended {
    let id = &assignment.id;
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ended::Done,
        () = tokio::time::sleep_until(deadline(assignment)) => {
            tracing::warn!("the round's deadline has passed; the assignment is dropped");
            return Ended::Done;
        }
        result = attempt(shared, assignment, cancel) => result,
    };
    match result {
        Ok(ended) => ended,
        Err(WorkError::Trainer(TrainerError::Cancelled)) => Ended::Done,
        Err(WorkError::Withheld(withheld)) => {
            tracing::warn!("nothing of the update leaves: {withheld}");
            Ended::Report(outbound::declined(id, &withheld.to_string()))
        }
        Err(error) => {
            let reason = chain(&error);
            tracing::warn!("assignment failed: {reason}");
            Ended::Report(outbound::failed(id, &reason))
        }
    }
}

async fn attempt(
    shared: &Arc<Shared>,
    assignment: &Assignment,
    cancel: &CancellationToken,
) -> Result<Ended, WorkError> {
    let watcher = shared.watcher(&assignment.id, cancel);
    match train(shared, assignment, &watcher).await? {
        Product::Evaluation(evaluation) => {
            tracing::info!(loss = evaluation.loss, accuracy = evaluation.accuracy, "evaluated");
            Ok(Ended::Report(outbound::evaluation(&assignment.id, &evaluation)))
        }
        Product::Update(made) => {
            deliver(shared, assignment, *made, &watcher).await?;
            Ok(Ended::Done)
        }
    }
}

/// Hands the update over. What the region keeps for its next round changes if, and only if, the coordinator has it; until then
/// nobody reads it.
async fn deliver(
    shared: &Arc<Shared>,
    assignment: &Assignment,
    made: Made,
    watcher: &Watcher,
) -> Result<(), WorkError> {
    let Made { update, change, model } = made;
    let link = shared.equipment.link.clone();
    let Some(change) = change else {
        return upload::deliver(link, &assignment.id, &update, watcher).await.map(drop);
    };
    let turn = shared.equipment.corrections.turn(&assignment.id.run).await;
    if upload::deliver(link, &assignment.id, &update, watcher).await? == Delivered::Acknowledged {
        // Goes on to its end, even if nobody waits for it any more.
        let changed = tokio::task::spawn_blocking(move || change.make(&turn, &model, update.values())).await;
        if let Ok(Err(error)) = changed {
            tracing::error!("what the next round's correction follows from cannot be kept: {error}");
        }
    }
    Ok(())
}

/// Waits for a slot, fetches, trains, and makes an update of it. The slot stays taken until the trainer's thread has
/// ended, even if nobody waits for it any more.
async fn train(shared: &Arc<Shared>, assignment: &Assignment, watcher: &Watcher) -> Result<Product, WorkError> {
    // The semaphore is never closed; if it were, the worker would be stopping.
    let slot = shared.slots.clone().acquire_owned().await.map_err(|_| TrainerError::Cancelled)?;
    let model = model(shared, assignment, watcher).await?;
    let (trainer, data) = match (
        shared.equipment.trainers.get(&assignment.trainer.kind),
        shared.equipment.datasets.get(&assignment.dataset),
    ) {
        (Some(trainer), Some(data)) => (trainer.clone(), data.clone()),
        // Both were there when the assignment was accepted, and neither ever goes.
        _ => return Err(TrainerError::NoFiles { name: assignment.dataset.clone() }.into()),
    };
    let correction = correction(shared, assignment, &model, watcher).await?;
    let turn = match correction {
        Some(_) => Some(shared.equipment.corrections.turn(&assignment.id.run).await),
        None => None,
    };
    let work = Work {
        shared: shared.clone(),
        assignment: assignment.clone(),
        trainer,
        data,
        model,
        correction: correction.zip(turn),
        watcher: watcher.clone(),
        slot,
    };
    let span = tracing::Span::current();
    on_thread(move || span.in_scope(|| work.produce())).await?
}

async fn model(shared: &Shared, assignment: &Assignment, watcher: &Watcher) -> Result<Arc<Parameters>, WorkError> {
    if let Some(model) = shared.models.get(&assignment.model) {
        return Ok(model);
    }
    let fetched = Arc::new(fetch(shared, assignment.model, assignment.model_bytes, watcher).await?);
    shared.models.keep(assignment.model, &fetched);
    Ok(fetched)
}

/// What is to be added to every gradient, with SCAFFOLD's c if there is one; that is another each round and not kept.
async fn correction(
    shared: &Shared,
    assignment: &Assignment,
    model: &Parameters,
    watcher: &Watcher,
) -> Result<Option<Correction>, WorkError> {
    if assignment.task == Task::Evaluate || assignment.training.correction.is_none() {
        return Ok(None);
    }
    let Some(variate) = &assignment.control_variate else { return Ok(Correction::of(assignment, None)) };
    let fetched = fetch(shared, variate.digest, variate.bytes, watcher).await.map_err(WorkError::ControlVariate)?;
    match model.layout().difference(fetched.layout()) {
        Some(difference) => Err(WorkError::OtherVariate { difference }),
        None => Ok(Correction::of(assignment, Some(Arc::new(fetched)))),
    }
}

async fn fetch(shared: &Shared, digest: Digest, bytes: u64, watcher: &Watcher) -> Result<Parameters, ModelError> {
    watcher.report(Progress::of(Stage::Fetching, 0.0));
    let progress = |fraction| watcher.report(Progress::of(Stage::Fetching, fraction));
    model::fetch(&mut shared.equipment.link.clone(), digest, bytes, progress).await
}
