//! A trainer that trains nothing: it gives back changed arrays, for measuring everything around training.

use std::sync::Arc;
use std::time::Duration;

use polder_core::round::{Evaluation, Task};
use polder_tensor::Parameters;
use serde::Deserialize;
use serde_json::Value;

use super::{Outcome, Progress, Stage, TrainRequest, Trained, Trainer, TrainerError, Watcher};
use crate::datasets::DataSet;

/// Needs no more of its data set than the name. Every value moves by the same small amount, which the seed decides, as if by one
/// step of plain SGD at a learning rate of 1; it can add nothing to that. An evaluation finds one example, loss 0 and
/// accuracy 0.
#[derive(Clone, Copy, Debug)]
pub struct Synthetic;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How long to pretend to work, at most an hour.
    delay_ms: u64,
}

const DELAY_MS_MAX: u64 = 3_600_000;

impl Settings {
    fn read(settings: &Value) -> Result<Self, TrainerError> {
        let settings = Self::deserialize(settings).map_err(|error| TrainerError::Settings(error.into()))?;
        if settings.delay_ms > DELAY_MS_MAX {
            let problem = format!("`delay_ms` is {}; allowed is 0 to {DELAY_MS_MAX}", settings.delay_ms);
            return Err(TrainerError::Settings(problem.into()));
        }
        Ok(settings)
    }
}

impl Trainer for Synthetic {
    fn kind(&self) -> &'static str {
        "synthetic"
    }

    fn check(&self, settings: &Value, _: &DataSet) -> Result<(), TrainerError> {
        Settings::read(settings).map(|_| ())
    }

    fn run(&self, request: &TrainRequest, watcher: &Watcher) -> Result<Outcome, TrainerError> {
        let settings = Settings::read(&request.settings)?;
        let stage = match request.task {
            Task::Train => Stage::Training,
            Task::Evaluate => Stage::Evaluating,
        };
        watcher.report(Progress::of(stage, 0.0));
        if settings.delay_ms > 0 {
            watcher.wait(Duration::from_millis(settings.delay_ms))?;
        }
        if request.task == Task::Evaluate {
            return Ok(Outcome::Evaluated(Evaluation { examples: 1, loss: 0.0, accuracy: 0.0 }));
        }
        // 1000 different steps, all of them far from rounding away.
        let step = ((request.seed % 1000) as f32 + 1.0) * 1e-6;
        let values = request.model.values().iter().map(|value| value + step).collect();
        let parameters = Parameters::new(Arc::clone(request.model.layout()), values);
        let parameters = parameters.map_err(|error| TrainerError::Failed(error.into()))?;
        let trained = Trained::plain(parameters, 1);
        // One step of plain SGD along a gradient of the same size.
        Ok(Outcome::Trained(Trained { steps: Some(1), normalizer: Some(1.0), learning_rate: Some(1.0), ..trained }))
    }
}
