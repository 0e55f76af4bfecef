//! From an assignment to an update: fetch, train, and try again what failed for a reason that may pass.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polder_core::Digest;
use polder_core::effect::Assignment;
use polder_core::round::Task;
use polder_tensor::Parameters;
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::produce::{Product, Work};
use super::work::{Job, WorkError};
use crate::channel::chain;
use crate::correction::Correction;
use crate::model::{self, ModelError};
use crate::trainer::{Checkpoints, Progress, Stage, TrainerError, Watcher, on_thread};

/// How often a worker may end while it trains one assignment, with no checkpoint in between.
const DEATHS_MAX: u32 = 3;
/// How long a trainer that was told to stop because it hangs gets to do so, at most.
const GRACE: Duration = Duration::from_secs(5);

/// Trains, as often as the trainer's settings allow. Each try goes on from the last checkpoint.
pub(super) async fn train(shared: &Arc<Shared>, job: &Job) -> Result<Product, WorkError> {
    let times = job.place.begun();
    if times >= DEATHS_MAX {
        return Err(WorkError::Deadly { times });
    }
    let trainer = &job.assignment.trainer;
    let retries = shared.equipment.trainers.get(&trainer.kind).map_or(0, |known| known.retries(&trainer.settings));
    let mut tries = 0;
    loop {
        let mut last = None;
        let error = match attempt(shared, job, &mut last).await {
            Ok(product) => return Ok(product),
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(error),
        };
        tries += 1;
        let mut said = chain(&error);
        if let Some(last) = last {
            said.push_str(&format!("; it was last at {last}"));
        }
        if tries > retries {
            if tries > 1 {
                said.push_str(&format!("; it was tried {tries} times"));
            }
            return Err(WorkError::GaveUp { said });
        }
        tracing::warn!("try {tries} failed and another follows: {said}");
    }
}

/// One try; `last` is how far it came.
async fn attempt(shared: &Arc<Shared>, job: &Job, last: &mut Option<Progress>) -> Result<Product, WorkError> {
    let assignment = &job.assignment;
    // The semaphore is never closed; if it were, the worker would be stopping.
    let slot = shared.slots.clone().acquire_owned().await.map_err(|_| TrainerError::Cancelled)?;
    let slot = Slot::of(slot);
    // Whoever gives up on this try, its thread hears of it.
    let cancel = job.cancel.child_token();
    let _stop = cancel.clone().drop_guard();
    let checkpoints = Checkpoints::new(job.place.clone(), shared.equipment.checkpoint_every, shared.stopping.clone());
    let watcher = shared.watcher(&assignment.id, &cancel).with_checkpoints(checkpoints);
    let model = model(shared, assignment, &watcher).await?;
    let (trainer, data) = match (
        shared.equipment.trainers.get(&assignment.trainer.kind),
        shared.equipment.datasets.get(&assignment.dataset),
    ) {
        (Some(trainer), Some(data)) => (trainer.clone(), data.clone()),
        // Both were there when the assignment was accepted, and neither ever goes.
        _ => return Err(TrainerError::NoFiles { name: assignment.dataset.clone() }.into()),
    };
    let correction = correction(shared, assignment, &model, &watcher).await?;
    let turn = match correction {
        Some(_) => Some(shared.equipment.corrections.turn(&assignment.id.run).await),
        None => None,
    };
    let work = Work {
        shared: shared.clone(),
        assignment: assignment.clone(),
        place: job.place.clone(),
        trainer,
        data,
        model,
        correction: correction.zip(turn),
        watcher: watcher.clone(),
        slot: slot.guard(),
    };
    let result = watched(shared, work, &watcher, &slot).await;
    *last = watcher.last();
    result
}

/// Does the work on a thread, and gives the thread up if it falls silent: its slot is free again then.
async fn watched(shared: &Arc<Shared>, work: Work, watcher: &Watcher, slot: &Slot) -> Result<Product, WorkError> {
    let span = tracing::Span::current();
    let (silence, shares_output) = (shared.equipment.trainer_silence, shared.equipment.shares_trainer_output);
    let cancel = watcher.cancellation();
    watcher.lives();
    let working = on_thread(shares_output, move || span.in_scope(|| work.produce()));
    tokio::pin!(working);
    tokio::select! {
        biased;
        done = &mut working => return done?,
        () = watcher.fell_silent(silence) => cancel.cancel(),
    }
    if tokio::time::timeout(GRACE.min(silence), working).await.is_err() {
        slot.free();
        shared.leave_behind();
    }
    Err(WorkError::Hangs { silent_s: silence.as_secs() })
}

/// A slot that is taken until the trainer's thread has ended, even if nobody waits for it any more; or until it is given up.
#[derive(Clone, Debug)]
pub(super) struct Slot(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

/// Frees a slot when it is dropped.
pub(super) struct SlotGuard(Slot);

impl Slot {
    fn of(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    fn guard(&self) -> SlotGuard {
        SlotGuard(self.clone())
    }

    fn free(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.0.free();
    }
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
