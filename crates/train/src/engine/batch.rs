//! A batch of examples on its way to the device, and the score of a model's answers to it.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

use crate::dataset::DataSet;

pub(super) struct Batch<B: Backend> {
    /// `[examples, features]`
    pub(super) features: Tensor<B, 2>,
    /// `[examples, 1]`, the places that a loss gathers.
    pub(super) targets: Tensor<B, 2, Int>,
    pub(super) labels: Vec<u32>,
}

impl<B: Backend> Batch<B> {
    /// The examples at `indices`, which all exist.
    pub(super) fn gather(data: &DataSet, indices: &[usize], device: &B::Device) -> Self {
        let (mut features, mut labels) = (Vec::new(), Vec::new());
        data.gather(indices, &mut features, &mut labels);
        let targets: Vec<i32> = labels.iter().map(|label| i32::try_from(*label).unwrap_or(i32::MAX)).collect();
        Self {
            features: Tensor::from_data(TensorData::new(features, [indices.len(), data.feature_count()]), device),
            targets: Tensor::from_data(TensorData::new(targets, [indices.len(), 1]), device),
            labels,
        }
    }
}

/// Sums over the examples scored so far. Kept in f64, so that a mean does not depend on how many there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Score {
    loss_sum: f64,
    correct: usize,
    examples: usize,
}

impl Score {
    /// Scores the answers to one batch: `logits` is `[labels, classes]` row by row.
    pub(super) fn of(logits: &[f32], labels: &[u32]) -> Self {
        let classes = logits.len() / labels.len().max(1);
        let mut score = Self { examples: labels.len(), ..Self::default() };
        for (row, label) in logits.chunks_exact(classes.max(1)).zip(labels) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let label = *label as usize;
            let own = row.get(label).copied().unwrap_or(f32::NAN);
            let sum: f64 = row.iter().map(|logit| f64::from(logit - largest).exp()).sum();
            score.loss_sum += sum.ln() - f64::from(own - largest);
            // With two equal largest logits the first counts, as with `argmax`.
            score.correct += usize::from(row.iter().position(|logit| *logit == largest) == Some(label));
        }
        score
    }

    /// Its parts, to be kept: the loss by its bits, so that nothing rounds it.
    pub(super) fn parts(&self) -> (u64, usize, usize) {
        (self.loss_sum.to_bits(), self.correct, self.examples)
    }

    pub(super) fn from_parts((loss_sum_bits, correct, examples): (u64, usize, usize)) -> Self {
        Self { loss_sum: f64::from_bits(loss_sum_bits), correct, examples }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.correct += other.correct;
        self.examples += other.examples;
    }

    pub(super) fn loss(&self) -> f64 {
        self.loss_sum / self.examples as f64
    }

    pub(super) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples as f64
    }
}
