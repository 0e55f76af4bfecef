//! The training loop, on whichever backend.

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use polder_tensor::Parameters;

use super::batch::{Batch, Score};
use super::model::{cross_entropy, logits, upload};
use super::step::Stepper;
use super::{Control, Job, Progress, TrainError};
use crate::architecture::Architecture;
use crate::checkpoint::{Checkpoint, Keeper, Position};
use crate::dataset::DataSet;
use crate::rng::{Purpose, rng, shuffled};

pub(super) type CpuInner = Flex;
pub(super) type Cpu = Autodiff<CpuInner>;
#[cfg(feature = "cuda")]
pub(super) type GpuInner = burn::backend::Cuda;
#[cfg(feature = "cuda")]
pub(super) type Gpu = Autodiff<GpuInner>;

/// Examples that are evaluated at once: enough to keep a device busy, few enough for any memory.
const EVALUATION_BATCH: usize = 256;

pub(super) struct Outcome {
    pub(super) values: Vec<f32>,
    pub(super) steps: u64,
    pub(super) loss: f64,
    pub(super) accuracy: f64,
}

/// What accompanies training: where it begins, and who follows it.
pub(super) struct Course<'a> {
    pub(super) from: Option<Checkpoint>,
    pub(super) base_loss: Option<f64>,
    pub(super) progress: &'a mut dyn FnMut(Progress) -> Control,
    pub(super) keeper: &'a mut dyn Keeper,
}

/// A model in training: its tensors, and how they move.
struct Training<B: AutodiffBackend> {
    tensors: Vec<Tensor<B, 1>>,
    stepper: Stepper<B::InnerBackend>,
}

pub(super) fn train<B: AutodiffBackend>(
    job: &Job<'_>,
    device: &B::Device,
    course: Course<'_>,
) -> Result<Outcome, TrainError> {
    let Course { from, base_loss, progress, keeper } = course;
    let mut training = Training::<B>::begin(job, device);
    let mut at = Position::default();
    if let Some(from) = from.filter(|from| training.resume(job, from, device)) {
        at = from.at;
    }
    let mut order = rng(job.seed, Purpose::BatchOrder);
    let (epochs, batch_size) = (job.config.epochs, job.config.batch_size);
    let mut score = Score::from_parts((at.loss_sum_bits, at.correct, at.scored));

    for epoch in 1..=epochs {
        // Drawn for every epoch, so that each finds the generator as it would have without an interruption.
        let examples = shuffled(job.data.examples(), &mut order);
        if epoch < at.epoch {
            continue;
        }
        let taken = if epoch == at.epoch { at.batch } else { 0 };
        if taken == 0 {
            score = Score::default();
        }
        let batches = examples.len().div_ceil(batch_size);
        for (batch, indices) in (1..).zip(examples.chunks(batch_size)).skip(taken) {
            let batch_score = training.step(job.architecture, Batch::gather(job.data, indices, device));
            let loss = batch_score.loss();
            if !loss.is_finite() {
                return Err(TrainError::Diverged { epoch, batch, loss });
            }
            score.add(batch_score);
            at = Position { epoch, batch, steps: at.steps + 1, ..at };
            if keeper.is_due() {
                let (loss_sum_bits, correct, scored) = score.parts();
                let base_loss_bits = base_loss.map(f64::to_bits);
                let examples = job.data.examples();
                let now = Position { examples, loss_sum_bits, correct, scored, base_loss_bits, ..at };
                training.checkpoint(job, now).into_iter().for_each(|checkpoint| keeper.keep(checkpoint));
            }
            if progress(Progress { epoch, epochs, batch, batches, loss }) == Control::Stop {
                return Err(TrainError::Cancelled { epoch, batch });
            }
        }
    }

    let values = training.values();
    if values.iter().any(|value| !value.is_finite()) {
        // The last step went too far, with no batch after it to show.
        return Err(TrainError::Diverged { epoch: at.epoch, batch: at.batch, loss: f64::INFINITY });
    }
    Ok(Outcome { values, steps: at.steps, loss: score.loss(), accuracy: score.accuracy() })
}

impl<B: AutodiffBackend> Training<B> {
    fn begin(job: &Job<'_>, device: &B::Device) -> Self {
        let (layout, start) = (job.start.layout(), job.start.values());
        let tensors = upload::<B::InnerBackend>(layout, start, device);
        let linear = job.additions.linear.map(|linear| upload(layout, linear, device));
        let stepper = Stepper::new(job.config, job.additions.proximal_mu(job.config), &tensors, linear);
        Self { tensors: tensors.into_iter().map(tracked).collect(), stepper }
    }

    /// Goes to where `from` was made; says whether it could. If not, nothing has changed.
    fn resume(&mut self, job: &Job<'_>, from: &Checkpoint, device: &B::Device) -> bool {
        if let Err(error) = self.stepper.restore(&from.optimizer, device) {
            tracing::warn!("a checkpoint cannot be used and training starts anew: {error}");
            return false;
        }
        let tensors = upload::<B::InnerBackend>(job.start.layout(), from.parameters.values(), device);
        self.tensors = tensors.into_iter().map(tracked).collect();
        true
    }

    /// Training as it stands; none if it cannot be written down, which must not end it.
    fn checkpoint(&self, job: &Job<'_>, at: Position) -> Option<Checkpoint> {
        let optimizer = match self.stepper.state() {
            Ok(optimizer) => optimizer,
            Err(error) => {
                tracing::warn!("no checkpoint could be made of the optimizer: {error}");
                return None;
            }
        };
        let values = self.tensors.iter().flat_map(|tensor| values(tensor.clone().inner())).collect();
        let parameters = Parameters::new(job.start.layout().clone(), values).ok()?;
        Some(Checkpoint { at, parameters, optimizer })
    }

    /// One step; scores the batch as the model was before it.
    fn step(&mut self, architecture: &Architecture, batch: Batch<B>) -> Score {
        let logits = logits(architecture, &self.tensors, batch.features);
        let gradients = cross_entropy(logits.clone(), batch.targets).backward();
        for (index, tensor) in self.tensors.iter_mut().enumerate() {
            if let Some(gradient) = tensor.grad(&gradients) {
                *tensor = tracked(self.stepper.step(index, tensor.clone().inner(), gradient));
            }
        }
        Score::of(&values(logits.inner()), &batch.labels)
    }

    fn values(self) -> Vec<f32> {
        self.tensors.into_iter().flat_map(|tensor| values(tensor.inner())).collect()
    }
}

pub(super) fn evaluate<B: Backend>(
    architecture: &Architecture,
    parameters: &Parameters,
    data: &DataSet,
    device: &B::Device,
) -> Score {
    let tensors = upload::<B>(parameters.layout(), parameters.values(), device);
    let mut score = Score::default();
    let examples: Vec<usize> = (0..data.examples()).collect();
    for indices in examples.chunks(EVALUATION_BATCH) {
        let batch = Batch::gather(data, indices, device);
        let answers = logits(architecture, &tensors, batch.features);
        score.add(Score::of(&values(answers), &batch.labels));
    }
    score
}

/// A leaf of the next backward pass.
fn tracked<B: AutodiffBackend>(tensor: Tensor<B::InnerBackend, 1>) -> Tensor<B, 1> {
    Tensor::from_inner(tensor).require_grad()
}

/// A tensor's values in row-major order. Backends here compute in f32, so this neither fails nor converts.
fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    let data = tensor.into_data();
    data.into_vec().unwrap_or_default()
}
