//! Carrying out one assignment.

use std::sync::Arc;
use std::time::Duration;

use polder_core::effect::Assignment;
use tokio_util::sync::CancellationToken;

use super::admission::deadline;
use super::produce::{Made, Product};
use super::upload::Delivered;
use super::{Ended, Shared, train, upload};
use crate::channel::chain;
use crate::correction::NoSteps;
use crate::kept::Place;
use crate::model::ModelError;
use crate::outbound;
use crate::release::Withheld;
use crate::trainer::{Fallen, TrainerError, Watcher};

/// An update that was made at little cost is kept on disk only if sending it takes longer than this.
const QUICK: Duration = Duration::from_secs(1);
/// How long the coordinator may take to say whether it has an update that it wants no more.
const ASK_TAKEN: Duration = Duration::from_secs(5);

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
    #[error("the trainer hangs: it said nothing for {silent_s} s")]
    Hangs { silent_s: u64 },
    #[error(
        "the worker ended {times} times while it trained this, which it does not try again; if it ran out of memory, give it more, or \
         use smaller batches"
    )]
    Deadly { times: u32 },
    #[error("{said}")]
    GaveUp { said: String },
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

impl WorkError {
    /// Whether another try may end otherwise.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Trainer(error) => error.may_pass(),
            Self::Fallen(_) | Self::Hangs { .. } => true,
            _ => false,
        }
    }
}

/// What is to be done, and where what must outlive the worker is kept.
pub(super) struct Job {
    pub(super) assignment: Assignment,
    pub(super) place: Arc<Place>,
    pub(super) cancel: CancellationToken,
}

/// Does it, until it is done, cancelled or too late. Nothing needs to be trained if an earlier worker has `made` the update.
pub(super) async fn carry_out(shared: &Arc<Shared>, job: &Job, made: Option<Made>) -> Ended {
    let id = &job.assignment.id;
    match attempt(shared, job, made).await {
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

/// The end of `work`, unless it is cancelled or the round's deadline passes before.
async fn in_time<T>(job: &Job, work: impl Future<Output = Result<T, WorkError>>) -> Result<T, WorkError> {
    tokio::select! {
        biased;
        () = job.cancel.cancelled() => Err(TrainerError::Cancelled.into()),
        () = tokio::time::sleep_until(deadline(&job.assignment)) => {
            tracing::warn!("the round's deadline has passed; the assignment is dropped");
            Err(TrainerError::Cancelled.into())
        }
        result = work => result,
    }
}

async fn attempt(shared: &Arc<Shared>, job: &Job, made: Option<Made>) -> Result<Ended, WorkError> {
    let product = match made {
        Some(made) => Product::Update(Box::new(made)),
        None => in_time(job, train::train(shared, job)).await?,
    };
    match product {
        Product::Evaluation(evaluation) => {
            tracing::info!(loss = evaluation.loss, accuracy = evaluation.accuracy, "evaluated");
            Ok(Ended::Report(outbound::evaluation(&job.assignment.id, &evaluation)))
        }
        Product::Update(made) => {
            deliver(shared, job, Arc::from(made)).await?;
            Ok(Ended::Done)
        }
    }
}

/// Hands the update over. What the region keeps for its next round changes if, and only if, the coordinator has it; until then
/// nobody reads it.
async fn deliver(shared: &Arc<Shared>, job: &Job, made: Arc<Made>) -> Result<(), WorkError> {
    let turn = match made.change {
        Some(_) => {
            Some(in_time(job, async { Ok(shared.equipment.corrections.turn(&job.assignment.id.run).await) }).await?)
        }
        None => None,
    };
    let sent = in_time(job, send(shared, job, &made)).await;
    if shared.stopping.is_cancelled() && sent.is_err() && !made.is_kept {
        keep(shared, job, &made).await;
    }
    let (Some(change), Some(turn)) = (made.change.clone(), turn) else { return sent.map(drop) };
    let delivered = match sent {
        // The last word of the upload may have been lost, and the cancellation be due to the update having arrived.
        Err(WorkError::Trainer(TrainerError::Cancelled)) if !shared.stopping.is_cancelled() => {
            was_taken(shared, job, &made).await
        }
        sent => sent?,
    };
    if delivered == Delivered::Acknowledged {
        // Goes on to its end, even if nobody waits for it any more.
        let changed = tokio::task::spawn_blocking(move || change.make(&turn, &made.layout, made.update.values())).await;
        if let Ok(Err(error)) = changed {
            tracing::error!("what the next round's correction follows from cannot be kept: {error}");
        }
    }
    Ok(())
}

/// Uploads the update; what was dear is kept on disk first, the rest when it takes long.
async fn send(shared: &Arc<Shared>, job: &Job, made: &Arc<Made>) -> Result<Delivered, WorkError> {
    if made.is_dear && !made.is_kept {
        keep(shared, job, made).await;
    }
    let watcher = shared.watcher(&job.assignment.id, &job.cancel);
    let upload = upload::deliver(shared.equipment.link.clone(), &job.assignment.id, &made.update, &watcher);
    tokio::pin!(upload);
    let keep_late = async {
        tokio::time::sleep(QUICK).await;
        keep(shared, job, made).await;
    };
    tokio::select! {
        biased;
        delivered = &mut upload => delivered,
        () = keep_late, if !made.is_dear && !made.is_kept => upload.await,
    }
}

/// Puts the update on disk. One that cannot be kept is sent all the same.
async fn keep(shared: &Arc<Shared>, job: &Job, made: &Arc<Made>) {
    let (shared, place, made) = (shared.clone(), job.place.clone(), made.clone());
    let kept = tokio::task::spawn_blocking(move || {
        place.keep_update(&made.update.sent(shared.equipment.release.mark(), made.change.as_ref()))
    });
    match kept.await {
        Ok(Ok(())) => tracing::debug!("the update is kept until it was received"),
        Ok(Err(error)) => tracing::warn!("the update cannot be kept on disk, only in memory: {error}"),
        Err(_) => {}
    }
}

/// Whether the coordinator has an update that it wants no more.
async fn was_taken(shared: &Arc<Shared>, job: &Job, made: &Made) -> Delivered {
    let asked = upload::was_taken(shared.equipment.link.clone(), &job.assignment.id, &made.update);
    match tokio::time::timeout(ASK_TAKEN, asked).await {
        Ok(true) => Delivered::Acknowledged,
        Ok(false) | Err(_) => Delivered::Unwanted,
    }
}

impl Shared {
    pub(super) fn watcher(&self, id: &polder_core::AssignmentId, cancel: &CancellationToken) -> Watcher {
        Watcher::new(id, cancel.clone(), self.equipment.progress.clone())
    }
}
