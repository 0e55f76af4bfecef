//! What happens on the trainer's thread: training, then everything that is done to an update before it may leave.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polder_core::effect::Assignment;
use polder_core::policy::TrainingNeeds;
use polder_core::round::{Evaluation, Task};
use polder_tensor::{Layout, Parameters};

use super::train::SlotGuard;
use super::update::{Update, subtract};
use super::work::WorkError;
use super::{Equipment, Shared};
use crate::correction::{Change, Correction, Turn};
use crate::datasets::DataSet;
use crate::kept::{KeptUpdate, Place};
use crate::trainer::{Outcome, TrainRequest, Trained, Trainer, Watcher};

/// What took longer than this to train is dear: it is on disk before a byte of it is sent.
const DEAR: Duration = Duration::from_secs(1);

/// Everything that it takes.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) assignment: Assignment,
    pub(super) place: Arc<Place>,
    pub(super) trainer: Arc<dyn Trainer>,
    pub(super) data: DataSet,
    pub(super) model: Arc<Parameters>,
    /// What the policy wants added to every gradient, and the right to read it.
    pub(super) correction: Option<(Correction, Turn)>,
    pub(super) watcher: Watcher,
    /// Taken until the thread has ended.
    pub(super) slot: SlotGuard,
}

/// What came out of training.
pub(super) enum Product {
    Update(Box<Made>),
    Evaluation(Evaluation),
}

/// An update, ready to leave.
pub(super) struct Made {
    pub(super) update: Update,
    /// What changes here once it counts.
    pub(super) change: Option<Change>,
    pub(super) layout: Arc<Layout>,
    /// It took long to make, or could not be made again: the release policy decides once.
    pub(super) is_dear: bool,
    /// It is on disk already.
    pub(super) is_kept: bool,
}

impl Made {
    /// What an earlier worker made.
    pub(super) fn earlier(kept: KeptUpdate) -> Self {
        let KeptUpdate { assignment, receipt, parameters, change, .. } = kept;
        let layout = parameters.layout().clone();
        let update = Update::earlier(&assignment.id, parameters, receipt);
        Self { update, change, layout, is_dear: true, is_kept: true }
    }
}

impl Work {
    pub(super) fn produce(mut self) -> Result<Product, WorkError> {
        let began = Instant::now();
        let begun = self.place.begin();
        let (correction, linear) = match self.correction.take() {
            Some((correction, turn)) => {
                let linear = correction.linear(&turn, &self.model);
                (Some(correction), linear)
            }
            None => (None, None),
        };
        let outcome = self.trainer.run(&self.request(linear), &self.watcher);
        drop(begun);
        let outcome = outcome?;
        let product = match (self.assignment.task, outcome) {
            (Task::Train, Outcome::Trained(trained)) => {
                Product::Update(Box::new(self.make(trained, correction, began)?))
            }
            (Task::Evaluate, Outcome::Evaluated(evaluation)) => {
                evaluation.check().map_err(|problem| WorkError::Metrics { problem })?;
                Product::Evaluation(evaluation)
            }
            _ => return Err(WorkError::OtherTask),
        };
        drop(self.slot);
        Ok(product)
    }

    fn request(&self, linear: Option<Vec<f32>>) -> TrainRequest {
        let assignment = &self.assignment;
        let is_training = assignment.task == Task::Train;
        TrainRequest {
            task: assignment.task,
            model: self.model.clone(),
            data: self.data.clone(),
            settings: assignment.trainer.settings.clone(),
            holdout: assignment.holdout,
            holdout_seed: assignment.holdout_seed,
            seed: assignment.seed,
            needs: if is_training { assignment.training } else { TrainingNeeds::default() },
            linear: linear.map(Arc::new),
            gpu: assignment.gpu,
        }
    }

    /// Makes an update of a trained model: the difference, as far as the region's release policy lets it out.
    fn make(&self, mut trained: Trained, correction: Option<Correction>, began: Instant) -> Result<Made, WorkError> {
        let Trained { examples, loss, accuracy, steps, learning_rate, .. } = trained;
        let change = correction.map(|correction| correction.change(steps, learning_rate)).transpose()?;
        subtract(&mut trained.parameters, &self.model)?;
        let Equipment { release, region, .. } = &self.shared.equipment;
        let released = release.release(&self.assignment, region, &mut trained)?;
        let update = Update::of(&self.assignment.id, trained, &released)?;
        tracing::info!(examples, loss, accuracy, bytes = update.bytes(), "trained");
        let is_dear = released.is_settled() || began.elapsed() >= DEAR;
        Ok(Made { update, change, layout: self.model.layout().clone(), is_dear, is_kept: false })
    }
}
