//! The seam between an assignment and whatever trains: one trait, one file a trainer.
//!
//! A trainer blocks, on a thread of its own. It is handed the model and the data set and gives back local parameters;
//! it never sees the network, and what becomes of its result is not its business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polder_core::round::{Evaluation, Task};
use polder_tensor::Parameters;
use serde_json::Value;

use crate::datasets::DataSet;

mod embedded;
mod synthetic;
mod thread;
mod watcher;

pub use embedded::Embedded;
pub use synthetic::Synthetic;
pub(crate) use thread::{Fallen, on_thread};
pub use watcher::{Progress, Stage, Watcher};

/// What trains and evaluates.
pub trait Trainer: Send + Sync + 'static {
    /// What runs call it: `trainer.kind` in `run.toml`.
    fn kind(&self) -> &'static str;

    /// Whether these settings and this data set can be used; asked before an assignment is accepted.
    fn check(&self, settings: &Value, data: &DataSet) -> Result<(), TrainerError>;

    /// Does what is asked and blocks until it is done. Must ask `watcher` often enough to stop within a second of being
    /// cancelled, and may panic: that fails the assignment and nothing else.
    fn run(&self, request: &TrainRequest, watcher: &Watcher) -> Result<Outcome, TrainerError>;
}

/// What a trainer is asked for.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    pub task: Task,
    /// The global model.
    pub model: Arc<Parameters>,
    pub data: DataSet,
    /// Checked by [`Trainer::check`].
    pub settings: Value,
    /// Share of rows kept from training, at least 0 and below 1; which rows, `holdout_seed` says.
    pub holdout: f64,
    pub holdout_seed: u64,
    pub seed: u64,
    /// The GPU to use, as NVML counts them; none leaves it to the trainer.
    pub gpu: Option<u32>,
}

/// What a trainer made of it.
#[derive(Clone, Debug)]
pub enum Outcome {
    Trained(Trained),
    Evaluated(Evaluation),
}

/// A trained model and what is to be said of it.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Local parameters, in the global model's layout.
    pub parameters: Parameters,
    /// Training examples behind them; at least 1.
    pub examples: u64,
    /// Mean training loss of the last epoch.
    pub loss: Option<f64>,
    /// Training accuracy of the last epoch, 0 to 1.
    pub accuracy: Option<f64>,
    /// How the global model did on the held-out rows before training.
    pub evaluation: Option<Evaluation>,
}

/// Why a trainer gave no result. What is said here goes to the coordinator: it must not quote data.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    #[error("the trainer was told to stop")]
    Cancelled,
    #[error("the trainer's settings cannot be used")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("data set `{name}` has no files on this worker; only the synthetic trainer works without")]
    NoFiles { name: String },
    #[error("data set `{name}` cannot be read any more; the worker's log says why")]
    Data { name: String },
    #[error("no rows are held out here; set `evaluation.holdout` in the run above 0")]
    NothingHeldOut,
    #[error("training failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The trainers of a worker, by kind.
#[derive(Clone, Default)]
pub struct Trainers(BTreeMap<&'static str, Arc<dyn Trainer>>);

impl Trainers {
    /// Those that come with the program.
    #[must_use]
    pub fn builtin() -> Self {
        Self::default().with(Embedded::probe()).with(Synthetic)
    }

    /// One more, in place of one of the same kind.
    #[must_use]
    pub fn with(mut self, trainer: impl Trainer) -> Self {
        self.0.insert(trainer.kind(), Arc::new(trainer));
        self
    }

    #[must_use]
    pub fn get(&self, kind: &str) -> Option<&Arc<dyn Trainer>> {
        self.0.get(kind)
    }

    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}

impl std::fmt::Debug for Trainers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Lets something through at most so often.
#[derive(Debug)]
struct Throttle {
    every: Duration,
    last: Option<Instant>,
}

impl Throttle {
    fn new(every: Duration) -> Self {
        Self { every, last: None }
    }

    fn lets_through(&mut self, now: Instant) -> bool {
        let is_due = self.last.is_none_or(|last| now.duration_since(last) >= self.every);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}
