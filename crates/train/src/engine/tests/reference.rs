//! Training written out by hand in f64, slow and plain, to hold the fast one against.

use polder_tensor::Parameters;

use crate::architecture::{Architecture, KERNEL, Layer};
use crate::config::{Optimizer, TrainConfig};
use crate::dataset::DataSet;

pub(super) struct Reference {
    architecture: Architecture,
    config: TrainConfig,
    pub(super) values: Vec<f64>,
    start: Vec<f64>,
    /// Velocity, or Adam's first moment.
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

/// Of one layer: what went in, and where its parameters begin.
struct Trace {
    layer: Layer,
    input: Vec<f64>,
    offset: usize,
}

impl Reference {
    pub(super) fn new(architecture: &Architecture, start: &Parameters, config: &TrainConfig) -> Self {
        let values: Vec<f64> = start.values().iter().map(|value| f64::from(*value)).collect();
        let zeros = vec![0.0; values.len()];
        let (start, first, second) = (values.clone(), zeros.clone(), zeros);
        Self { architecture: architecture.clone(), config: config.clone(), values, start, first, second, steps: 0 }
    }

    pub(super) fn loss(&self, data: &DataSet) -> f64 {
        let total: f64 = rows(data).map(|(row, label)| cross_entropy(&self.forward(&row).1, label)).sum();
        total / data.examples() as f64
    }

    /// Slope of the loss along one parameter, by a central difference.
    pub(super) fn slope(&mut self, data: &DataSet, place: usize) -> f64 {
        const H: f64 = 1e-5;
        let value = self.values[place];
        let mut loss_at = |shift: f64| {
            self.values[place] = value + shift;
            self.loss(data)
        };
        let slope = (loss_at(H) - loss_at(-H)) / (2.0 * H);
        self.values[place] = value;
        slope
    }

    /// One step over all of `data`; the loss before it. Dense layers only.
    pub(super) fn step(&mut self, data: &DataSet) -> f64 {
        let loss = self.loss(data);
        let mut gradient = vec![0.0; self.values.len()];
        for (row, label) in rows(data) {
            let (trace, logits) = self.forward(&row);
            let largest = logits.iter().copied().fold(f64::MIN, f64::max);
            let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            let mut slope: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp() / total).collect();
            slope[label] -= 1.0;
            slope.iter_mut().for_each(|slope| *slope /= data.examples() as f64);
            self.backward(&trace, slope, &mut gradient);
        }
        for (place, slope) in gradient.iter_mut().enumerate() {
            *slope += self.config.proximal_mu * (self.values[place] - self.start[place]);
        }
        self.apply(&gradient);
        loss
    }

    fn apply(&mut self, gradient: &[f64]) {
        self.steps += 1;
        let rate = self.config.learning_rate;
        for (place, slope) in gradient.iter().enumerate() {
            match self.config.optimizer {
                Optimizer::Sgd { momentum, weight_decay } => {
                    self.first[place] = momentum * self.first[place] + slope + weight_decay * self.values[place];
                    self.values[place] -= rate * self.first[place];
                }
                Optimizer::Adam { betas: [beta1, beta2], eps } => {
                    self.first[place] = beta1 * self.first[place] + (1.0 - beta1) * slope;
                    self.second[place] = beta2 * self.second[place] + (1.0 - beta2) * slope * slope;
                    let first = self.first[place] / (1.0 - beta1.powi(self.steps));
                    let second = self.second[place] / (1.0 - beta2.powi(self.steps));
                    self.values[place] -= rate * first / (second.sqrt() + eps);
                }
            }
        }
    }

    fn backward(&self, trace: &[Trace], mut slope: Vec<f64>, gradient: &mut [f64]) {
        for Trace { layer, input, offset } in trace.iter().rev() {
            slope = match layer {
                Layer::Dense { inputs, outputs } => {
                    let mut below = vec![0.0; *inputs];
                    for (output, slope) in slope.iter().enumerate() {
                        for place in 0..*inputs {
                            gradient[offset + output * inputs + place] += slope * input[place];
                            below[place] += slope * self.values[offset + output * inputs + place];
                        }
                        gradient[offset + outputs * inputs + output] += slope;
                    }
                    below
                }
                Layer::Relu => slope.iter().zip(input).map(|(slope, x)| if *x > 0.0 { *slope } else { 0.0 }).collect(),
                other => panic!("no slopes by hand for {other:?}"),
            };
        }
    }

    fn forward(&self, row: &[f64]) -> (Vec<Trace>, Vec<f64>) {
        let [mut channels, mut height, mut width] = self.architecture.image().unwrap_or([1, 1, row.len()]);
        let (mut x, mut trace, mut offset) = (row.to_vec(), Vec::new(), 0);
        for layer in self.architecture.layers() {
            let output = match layer {
                Layer::Dense { inputs, outputs } => self.dense(&x, offset, inputs, outputs),
                Layer::Convolution { inputs, outputs } => {
                    channels = outputs;
                    self.convolution(&x, offset, [inputs, outputs, height, width])
                }
                Layer::Relu => x.iter().map(|value| value.max(0.0)).collect(),
                Layer::MaxPool => {
                    let pooled = pool(&x, channels, height, width);
                    (height, width) = (height / 2, width / 2);
                    pooled
                }
                Layer::Flatten => x.clone(),
            };
            let begins = offset;
            offset += match layer {
                Layer::Dense { inputs, outputs } => outputs * (inputs + 1),
                Layer::Convolution { inputs, outputs } => outputs * (inputs * KERNEL * KERNEL + 1),
                _ => 0,
            };
            trace.push(Trace { layer, input: std::mem::replace(&mut x, output), offset: begins });
        }
        (trace, x)
    }

    fn dense(&self, x: &[f64], offset: usize, inputs: usize, outputs: usize) -> Vec<f64> {
        let (weights, biases) = self.values[offset..].split_at(inputs * outputs);
        let product = |row: &[f64]| row.iter().zip(x).map(|(weight, x)| weight * x).sum::<f64>();
        weights.chunks_exact(inputs).zip(biases).map(|(row, bias)| product(row) + bias).collect()
    }

    /// A cross-correlation with zeros around the image, as `Conv2d` with "same" padding computes it.
    fn convolution(&self, x: &[f64], offset: usize, [inputs, outputs, height, width]: [usize; 4]) -> Vec<f64> {
        let (weights, biases) = self.values[offset..].split_at(inputs * outputs * KERNEL * KERNEL);
        let pixel = |channel: usize, row: usize, column: usize| {
            let inside = |at: usize, size: usize| at.checked_sub(KERNEL / 2).filter(|at| *at < size);
            match (inside(row, height), inside(column, width)) {
                (Some(row), Some(column)) => x[(channel * height + row) * width + column],
                _ => 0.0,
            }
        };
        let mut result = Vec::with_capacity(outputs * height * width);
        for output in 0..outputs {
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
                let mut sum = biases[output];
                for input in 0..inputs {
                    for place in 0..KERNEL * KERNEL {
                        let weight = weights[(output * inputs + input) * KERNEL * KERNEL + place];
                        sum += weight * pixel(input, row + place / KERNEL, column + place % KERNEL);
                    }
                }
                result.push(sum);
            }
        }
        result
    }
}

fn pool(x: &[f64], channels: usize, height: usize, width: usize) -> Vec<f64> {
    let at = |channel: usize, row: usize, column: usize| x[(channel * height + row) * width + column];
    let mut result = Vec::new();
    for channel in 0..channels {
        for (row, column) in (0..height / 2).flat_map(|row| (0..width / 2).map(move |column| (2 * row, 2 * column))) {
            let window = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(down, right)| at(channel, row + down, column + right));
            result.push(window.into_iter().fold(f64::MIN, f64::max));
        }
    }
    result
}

fn cross_entropy(logits: &[f64], label: usize) -> f64 {
    let largest = logits.iter().copied().fold(f64::MIN, f64::max);
    logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln() - (logits[label] - largest)
}

fn rows(data: &DataSet) -> impl Iterator<Item = (Vec<f64>, usize)> + '_ {
    let rows = data.features().chunks_exact(data.feature_count());
    rows.zip(data.labels()).map(|(row, label)| (row.iter().map(|value| f64::from(*value)).collect(), *label as usize))
}
