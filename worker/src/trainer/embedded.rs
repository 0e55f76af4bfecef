//! The trainer that comes with the program: `polder-train`'s models by name, on the CPU or a GPU.

use polder_core::policy::TrainingNeeds;
use polder_core::round::{Evaluation, Task};
use polder_train::{
    Additions, Architecture, Checkpoint, Control, Device, DeviceProbe, Job, Keeper, Split, TrainConfig, TrainError,
    check_needs, evaluate_on, train_resumably,
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

use super::{Outcome, Progress, Stage, TrainRequest, Trained, Trainer, TrainerError, Watcher};
use crate::channel::chain;
use crate::datasets::DataSet;

/// Trains where the machine allows; what that is was found out once.
#[derive(Clone, Debug)]
pub struct Embedded {
    device: Device,
}

/// What a run says: `{"model": …, "train": …}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    model: Architecture,
    #[serde(default)]
    train: TrainConfig,
}

impl Settings {
    fn read(settings: &Value) -> Result<Self, TrainerError> {
        let settings = Self::deserialize(settings).map_err(|error| TrainerError::Settings(error.into()))?;
        settings.model.check().map_err(|error| TrainerError::Settings(error.into()))?;
        settings.train.check_for(&settings.model).map_err(|error| TrainerError::Settings(error.into()))?;
        Ok(settings)
    }
}

impl Embedded {
    /// Looks for a GPU, and says in the log what it found.
    #[must_use]
    pub fn probe() -> Self {
        let probe = Device::probe();
        tracing::info!("{probe}");
        Self { device: DeviceProbe::device(&probe) }
    }

    /// Trains on `device` whatever the machine has.
    #[must_use]
    pub fn on(device: Device) -> Self {
        Self { device }
    }

    /// The GPU that placement chose, if GPUs can be used at all.
    fn device_for(&self, gpu: Option<u32>) -> Device {
        match (self.device, gpu) {
            (Device::Cuda { .. }, Some(gpu)) => Device::Cuda { index: gpu as usize },
            (device, _) => device,
        }
    }
}

impl Trainer for Embedded {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    fn check(&self, settings: &Value, data: &DataSet) -> Result<(), TrainerError> {
        let Settings { model, .. } = Settings::read(settings)?;
        let (features, classes) = data.shape().ok_or_else(|| TrainerError::NoFiles { name: data.name().into() })?;
        let misfit = if features != model.inputs() {
            TrainError::Features { expected: model.inputs(), found: features }
        } else if classes > model.classes() {
            TrainError::Classes { model: model.classes(), found: classes }
        } else {
            return Ok(());
        };
        Err(TrainerError::Settings(misfit.into()))
    }

    fn adapts(&self, settings: &Value, needs: &TrainingNeeds) -> Result<(), TrainerError> {
        let Settings { train, .. } = Settings::read(settings)?;
        check_needs(&train, needs).map_err(|error| TrainerError::Settings(error.into()))
    }

    fn retries(&self, settings: &Value) -> u32 {
        Settings::read(settings).map_or(0, |settings| settings.train.retries)
    }

    fn run(&self, request: &TrainRequest, watcher: &Watcher) -> Result<Outcome, TrainerError> {
        let Settings { model, train } = Settings::read(&request.settings)?;
        let device = self.device_for(request.gpu);
        let split = rows(request)?;
        let evaluation = split.held_out.as_ref().map(|rows| {
            watcher.report(Progress::of(Stage::Evaluating, 0.0));
            let found = evaluate_on(device, &model, &request.model, rows).map_err(failed)?;
            Ok(Evaluation { examples: found.examples as u64, loss: found.loss, accuracy: found.accuracy })
        });
        let evaluation = evaluation.transpose()?;
        if request.task == Task::Evaluate {
            return evaluation.map(Outcome::Evaluated).ok_or(TrainerError::NothingHeldOut);
        }
        let mut progress = |at: polder_train::Progress| {
            let epochs_done = f64::from(at.epoch - 1) + at.batch as f64 / at.batches as f64;
            let fraction = epochs_done / f64::from(at.epochs);
            let (epoch, epochs, loss) = (at.epoch, at.epochs, Some(at.loss));
            watcher.report(Progress { stage: Stage::Training, epoch, epochs, fraction, loss });
            if watcher.is_cancelled() { Control::Stop } else { Control::Continue }
        };
        let job = Job {
            architecture: &model,
            start: &request.model,
            data: &split.train,
            config: &train,
            additions: Additions { needs: request.needs, linear: request.linear.as_ref().map(|linear| &linear[..]) },
            seed: request.seed,
        };
        let mut keeper = Kept { watcher, model_bytes: request.model.layout().file_bytes() };
        let trained = train_resumably(device, &job, &mut progress, &mut keeper).map_err(failed)?;
        Ok(Outcome::Trained(Trained {
            parameters: trained.parameters,
            examples: trained.examples as u64,
            loss: Some(trained.loss),
            accuracy: Some(trained.accuracy),
            evaluation,
            base_loss: trained.base_loss,
            steps: Some(trained.steps),
            normalizer: trained.normalizer,
            learning_rate: trained.learning_rate,
        }))
    }
}

/// Keeps checkpoints with the assignment.
struct Kept<'a> {
    watcher: &'a Watcher,
    model_bytes: u64,
}

impl Keeper for Kept<'_> {
    fn resume(&mut self) -> Option<Checkpoint> {
        let mut file = self.watcher.checkpoint()?;
        match Checkpoint::read(&mut file, self.model_bytes) {
            Ok(checkpoint) => {
                let (epoch, batch) = checkpoint.position();
                tracing::info!(epoch, batch, "training goes on from a checkpoint");
                Some(checkpoint)
            }
            Err(error) => {
                tracing::warn!("the checkpoint is not used and training starts anew: {error}");
                None
            }
        }
    }

    fn is_due(&mut self) -> bool {
        self.watcher.is_checkpoint_due()
    }

    fn keep(&mut self, checkpoint: Checkpoint) {
        self.watcher.keep_checkpoint(|mut file| checkpoint.write(&mut file));
    }
}

fn rows(request: &TrainRequest) -> Result<Arc<Split>, TrainerError> {
    let name = request.data.name();
    let split = request.data.split(request.holdout, request.holdout_seed);
    let split = split.ok_or_else(|| TrainerError::NoFiles { name: name.into() })?;
    split.map_err(|error| {
        // A message about a file may quote a cell of it, so it stays in the region.
        tracing::error!("data set `{name}` cannot be read: {}", chain(&error));
        TrainerError::Data { name: name.into() }
    })
}

fn failed(error: TrainError) -> TrainerError {
    match error {
        TrainError::Cancelled { .. } => TrainerError::Cancelled,
        // The same arguments give the same bits; only what a device does may pass.
        error @ TrainError::Device { .. } => TrainerError::Failed(error.into()),
        error => TrainerError::Hopeless(error.into()),
    }
}

#[cfg(test)]
mod tests;
