//! Carrying out one assignment.

use std::sync::Arc;

use polder_core::AssignmentId;
use polder_core::effect::Assignment;
use polder_tensor::Parameters;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::update::Update;
use super::{Ended, Shared, deadline, upload};
use crate::channel::chain;
use crate::model::{self, ModelError};
use crate::outbound;
use crate::trainer::{
    Fallen, Outcome, Progress, Stage, TrainRequest, Trained, Trainer, TrainerError, Watcher, on_thread,
};

/// Why an assignment came to nothing; the words go to the coordinator.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error("cannot get the model")]
    Model(#[from] ModelError),
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
        Product::Update(update) => {
            upload::deliver(shared.equipment.link.clone(), &assignment.id, &update, &watcher).await?;
            Ok(Ended::Done)
        }
    }
}

/// What came out of training, ready to leave.
enum Product {
    Update(Box<Update>),
    Evaluation(polder_core::round::Evaluation),
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
    let request = TrainRequest {
        task: assignment.task,
        model,
        data,
        settings: assignment.trainer.settings.clone(),
        holdout: assignment.holdout,
        holdout_seed: assignment.holdout_seed,
        seed: assignment.seed,
        gpu: assignment.gpu,
    };
    let (watcher, span, id) = (watcher.clone(), tracing::Span::current(), assignment.id.clone());
    let work = move || {
        let _in = span.entered();
        produce(trainer.as_ref(), &request, &watcher, &id, slot)
    };
    on_thread(work).await?
}

async fn model(shared: &Shared, assignment: &Assignment, watcher: &Watcher) -> Result<Arc<Parameters>, WorkError> {
    if let Some(model) = shared.models.get(&assignment.model) {
        return Ok(model);
    }
    watcher.report(Progress::of(Stage::Fetching, 0.0));
    let progress = |fraction| watcher.report(Progress::of(Stage::Fetching, fraction));
    let mut link = shared.equipment.link.clone();
    let fetched = model::fetch(&mut link, assignment.model, assignment.model_bytes, progress).await?;
    let fetched = Arc::new(fetched);
    shared.models.keep(assignment.model, &fetched);
    Ok(fetched)
}

/// On the trainer's thread: trains, and checks what came of it.
fn produce(
    trainer: &dyn Trainer,
    request: &TrainRequest,
    watcher: &Watcher,
    id: &AssignmentId,
    slot: OwnedSemaphorePermit,
) -> Result<Product, WorkError> {
    let outcome = trainer.run(request, watcher)?;
    let product = match (request.task, outcome) {
        (polder_core::round::Task::Train, Outcome::Trained(trained)) => {
            let Trained { examples, loss, accuracy, .. } = trained;
            let update = Update::of(id, trained, &request.model)?;
            tracing::info!(examples, loss, accuracy, bytes = update.bytes(), "trained");
            Product::Update(Box::new(update))
        }
        (polder_core::round::Task::Evaluate, Outcome::Evaluated(evaluation)) => {
            evaluation.check().map_err(|problem| WorkError::Metrics { problem })?;
            Product::Evaluation(evaluation)
        }
        _ => return Err(WorkError::OtherTask),
    };
    drop(slot);
    Ok(product)
}
