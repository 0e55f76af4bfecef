//! The seam between an assignment and whatever trains: one trait, one file a trainer.
//!
//! A trainer blocks, on a thread of its own. It is handed the model and the data set and gives back local parameters;
//! it never sees the network, and what becomes of its result is not its business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polder_core::policy::TrainingNeeds;
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
pub(crate) use watcher::Checkpoints;
pub use watcher::{Progress, Stage, Watcher};

/// How often a training that failed is tried again, where nobody says otherwise.
pub const RETRIES: u32 = 1;

/// What trains and evaluates.
pub trait Trainer: Send + Sync + 'static {
    /// What runs call it: `trainer.kind` in `run.toml`.
    fn kind(&self) -> &'static str;

    /// Whether these settings and this data set can be used; asked before an assignment is accepted.
    fn check(&self, settings: &Value, data: &DataSet) -> Result<(), TrainerError>;

    /// Whether it can do, with these settings, what an aggregation policy wants of local training; asked after
    /// [`check`](Self::check), and only where a policy wants something. A trainer that does not say so cannot.
    fn adapts(&self, _settings: &Value, _needs: &TrainingNeeds) -> Result<(), TrainerError> {
        Err(TrainerError::Plain { kind: self.kind() })
    }

    /// How often a training that failed is tried again here, by these settings, before the assignment fails.
    fn retries(&self, _settings: &Value) -> u32 {
        RETRIES
    }

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
    /// Checked by [`Trainer::adapts`], and all defaults if it was not asked.
    pub needs: TrainingNeeds,
    /// What is added to every gradient for `needs.correction`: a value for every parameter, in the model's order. None is all
    /// zero.
    pub linear: Option<Arc<Vec<f32>>>,
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
    /// The global model's mean loss over the training rows, if `needs` asked for it.
    pub base_loss: Option<f64>,
    /// Optimizer steps, if the trainer counts them.
    pub steps: Option<u64>,
    /// FedNova's normalizer, where the optimizer has one; `steps` for plain SGD.
    pub normalizer: Option<f64>,
    /// Where the optimizer has one for all parameters.
    pub learning_rate: Option<f64>,
}

impl Trained {
    /// A model of which no more is said than how many examples are behind it.
    #[must_use]
    pub fn plain(parameters: Parameters, examples: u64) -> Self {
        Self {
            parameters,
            examples,
            loss: None,
            accuracy: None,
            evaluation: None,
            base_loss: None,
            steps: None,
            normalizer: None,
            learning_rate: None,
        }
    }
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
    #[error(
        "the {kind} trainer cannot add what the round's aggregation policy asks for (a proximal term, a correction, or the \
         start's loss); use the embedded one, or another policy"
    )]
    Plain { kind: &'static str },
    /// Another try would end the same way.
    #[error("training failed")]
    Hopeless(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("training failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TrainerError {
    /// Whether another try may end otherwise: a GPU that was lost may be back, a file may be readable again.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Data { .. })
    }
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
