//! Training and evaluation: what goes in and comes out. How it is done with burn stays below.

use std::sync::Arc;

use polder_tensor::{Parameters, ParametersError};

use crate::additions::{Additions, AdditionsError, check_needs, normalizer};
use crate::architecture::{Architecture, ArchitectureError};
use crate::checkpoint::{Keeper, Nobody};
use crate::config::{ConfigError, Optimizer, TrainConfig};
use crate::dataset::DataSet;
use crate::device::Device;

mod batch;
mod model;
mod run;
mod step;

/// Where local training stands, after a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// From 1 to `epochs`.
    pub epoch: u32,
    pub epochs: u32,
    /// From 1 to `batches`, in this epoch.
    pub batch: usize,
    pub batches: usize,
    /// Mean cross-entropy of this batch before its step, in nats.
    pub loss: f64,
}

/// The answer to [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Continue,
    /// Ends training with [`TrainError::Cancelled`].
    Stop,
}

/// What training made of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    pub parameters: Parameters,
    /// Examples of the data set, each seen once an epoch.
    pub examples: usize,
    /// Optimizer steps taken.
    pub steps: u64,
    /// Mean cross-entropy over the last epoch in nats, each batch before its step; without the proximal term.
    pub loss: f64,
    /// Share of examples told right in the last epoch, each batch before its step.
    pub accuracy: f64,
    /// Mean cross-entropy of the start over all of the data set, if that was asked for.
    pub base_loss: Option<f64>,
    /// See [`normalizer`].
    pub normalizer: Option<f64>,
    /// None for Adam, which has one for every parameter.
    pub learning_rate: Option<f64>,
}

/// What to train, on what, and how.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub architecture: &'a Architecture,
    pub start: &'a Parameters,
    pub data: &'a DataSet,
    pub config: &'a TrainConfig,
    pub additions: Additions<'a>,
    /// Decides the order of the examples.
    pub seed: u64,
}

/// How well a model does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    pub examples: usize,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Share of examples whose largest logit is that of their label.
    pub accuracy: f64,
}

/// Why a model was not trained or evaluated.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Additions(#[from] AdditionsError),
    #[error("the parameters do not belong to this model: {difference}")]
    Layout { difference: String },
    #[error("the model takes {expected} features, but the data set has {found}")]
    Features { expected: usize, found: usize },
    #[error("the model tells {model} classes apart, but the data set has {found}")]
    Classes { model: usize, found: usize },
    #[error("training was cancelled in epoch {epoch}, after batch {batch}")]
    Cancelled { epoch: u32, batch: usize },
    #[error("training diverged in epoch {epoch}, batch {batch} (loss {loss}); a lower `learning_rate` may help")]
    Diverged { epoch: u32, batch: usize, loss: f64 },
    #[error("the model's loss on this data set is {loss}, which is no finite number")]
    NotFinite { loss: f64 },
    #[error("{device} cannot be used: {why}")]
    Device { device: String, why: String },
    #[error("the trained values do not fit the model")]
    Parameters(#[from] ParametersError),
}

/// Trains on the CPU, with nothing added; see [`train_on`].
pub fn train(
    architecture: &Architecture,
    start: &Parameters,
    data: &DataSet,
    config: &TrainConfig,
    seed: u64,
    progress: &mut dyn FnMut(Progress) -> Control,
) -> Result<Trained, TrainError> {
    let job = Job { architecture, start, data, config, additions: Additions::default(), seed };
    train_on(Device::Cpu, &job, progress)
}

/// Trains a model from `start` on all of `data` and blocks until it is done; `progress` is asked after every batch.
///
/// Each epoch takes the examples in a new order drawn from `seed`, in batches of `config.batch_size`; the last batch
/// may be smaller. On the CPU one thread does all the work, and the same arguments give the same bits on the same kind
/// of processor.
pub fn train_on(
    device: Device,
    job: &Job<'_>,
    progress: &mut dyn FnMut(Progress) -> Control,
) -> Result<Trained, TrainError> {
    train_resumably(device, job, progress, &mut Nobody)
}

/// The same, with checkpoints: goes on from the one that `keeper` has, and gives it new ones when it says so. On the CPU the
/// result has the bits of a training that was never interrupted.
pub fn train_resumably(
    device: Device,
    job: &Job<'_>,
    progress: &mut dyn FnMut(Progress) -> Control,
    keeper: &mut dyn Keeper,
) -> Result<Trained, TrainError> {
    let Job { architecture, start, data, config, additions, .. } = *job;
    check(architecture, start, data)?;
    config.check_for(architecture)?;
    check_needs(config, &additions.needs)?;
    additions.check_length(start.values().len())?;
    let from = keeper.resume().filter(|checkpoint| checkpoint.fits(job));
    let base_loss = match from.as_ref().and_then(|from| from.at.base_loss_bits) {
        Some(bits) => Some(f64::from_bits(bits)),
        None if additions.needs.base_loss => Some(evaluate_on(device, architecture, start, data)?.loss),
        None => None,
    };
    let course = run::Course { from, base_loss, progress, keeper };
    let outcome = match device {
        Device::Cpu => run::train::<run::Cpu>(job, &Default::default(), course)?,
        #[cfg(feature = "cuda")]
        Device::Cuda { index } => crate::device::cuda::guarded(device, || {
            run::train::<run::Gpu>(job, &crate::device::cuda::burn_device(index), course)
        })?,
        #[cfg(not(feature = "cuda"))]
        Device::Cuda { .. } => return Err(device.not_built()),
    };
    Ok(Trained {
        parameters: Parameters::new(Arc::clone(start.layout()), outcome.values)?,
        examples: data.examples(),
        steps: outcome.steps,
        loss: outcome.loss,
        accuracy: outcome.accuracy,
        base_loss,
        normalizer: normalizer(config, additions.proximal_mu(config), outcome.steps),
        learning_rate: matches!(config.optimizer, Optimizer::Sgd { .. }).then_some(config.learning_rate),
    })
}

/// Evaluates on the CPU; see [`evaluate_on`].
pub fn evaluate(
    architecture: &Architecture,
    parameters: &Parameters,
    data: &DataSet,
) -> Result<Evaluation, TrainError> {
    evaluate_on(Device::Cpu, architecture, parameters, data)
}

/// Asks a model about every example of `data` and compares its answers with the labels.
pub fn evaluate_on(
    device: Device,
    architecture: &Architecture,
    parameters: &Parameters,
    data: &DataSet,
) -> Result<Evaluation, TrainError> {
    check(architecture, parameters, data)?;
    let score = match device {
        Device::Cpu => run::evaluate::<run::CpuInner>(architecture, parameters, data, &Default::default()),
        #[cfg(feature = "cuda")]
        Device::Cuda { index } => crate::device::cuda::guarded(device, || {
            Ok(run::evaluate::<run::GpuInner>(architecture, parameters, data, &crate::device::cuda::burn_device(index)))
        })?,
        #[cfg(not(feature = "cuda"))]
        Device::Cuda { .. } => return Err(device.not_built()),
    };
    let (loss, accuracy) = (score.loss(), score.accuracy());
    if loss.is_finite() {
        Ok(Evaluation { examples: data.examples(), loss, accuracy })
    } else {
        Err(TrainError::NotFinite { loss })
    }
}

/// That model, parameters and data belong together. What is below relies on it.
fn check(architecture: &Architecture, parameters: &Parameters, data: &DataSet) -> Result<(), TrainError> {
    let layout = architecture.layout()?;
    if let Some(difference) = layout.difference(parameters.layout()) {
        return Err(TrainError::Layout { difference });
    }
    if data.feature_count() != architecture.inputs() {
        return Err(TrainError::Features { expected: architecture.inputs(), found: data.feature_count() });
    }
    if data.classes() > architecture.classes() {
        return Err(TrainError::Classes { model: architecture.classes(), found: data.classes() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
