//! From gradients to parameters: burn's optimizers, tensor by tensor.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{Adam, AdamConfig, Sgd, SgdConfig, SimpleOptimizer};
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Recorder, RecorderError};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::config::{Optimizer, TrainConfig};

/// An optimizer and its state for every tensor of the model.
pub(super) struct Stepper<B: Backend> {
    learning_rate: f64,
    rule: Rule<B>,
    proximal: Option<Proximal<B>>,
    /// Added to every gradient, tensor by tensor.
    linear: Option<Vec<Tensor<B, 1>>>,
}

enum Rule<B: Backend> {
    Sgd(Sgd<B>, States<Sgd<B>, B>),
    Adam(Adam, States<Adam, B>),
}

/// One state a tensor, none before the first step.
type States<O, B> = Vec<Option<<O as SimpleOptimizer<B>>::State<1>>>;

/// FedProx (Li et al. 2020, equation 2) adds μ/2 · ‖w − w₀‖² to the loss, so μ · (w − w₀) to the gradient.
struct Proximal<B: Backend> {
    mu: f64,
    /// w₀: the tensors that the round started from.
    start: Vec<Tensor<B, 1>>,
}

impl<B: Backend> Stepper<B> {
    /// With the proximal weight `mu`, which need not be the configuration's.
    pub(super) fn new(
        config: &TrainConfig,
        mu: f64,
        start: &[Tensor<B, 1>],
        linear: Option<Vec<Tensor<B, 1>>>,
    ) -> Self {
        let rule = match &config.optimizer {
            Optimizer::Sgd { momentum, weight_decay } => {
                let momentum = MomentumConfig { momentum: *momentum, dampening: 0.0, nesterov: false };
                let decay = WeightDecayConfig::new(*weight_decay as f32);
                let sgd = SgdConfig::new()
                    .with_momentum((momentum.momentum > 0.0).then_some(momentum))
                    .with_weight_decay((*weight_decay > 0.0).then_some(decay));
                Rule::Sgd(sgd.build(), start.iter().map(|_| None).collect())
            }
            Optimizer::Adam { betas, eps } => {
                let adam = AdamConfig::new()
                    .with_beta_1(betas[0] as f32)
                    .with_beta_2(betas[1] as f32)
                    .with_epsilon(*eps as f32);
                Rule::Adam(adam.build(), start.iter().map(|_| None).collect())
            }
        };
        let proximal = (mu > 0.0).then(|| Proximal { mu, start: start.to_vec() });
        Self { learning_rate: config.learning_rate, rule, proximal, linear }
    }

    /// The optimizer's state, to be [`restore`](Self::restore)d.
    pub(super) fn state(&self) -> Result<Vec<u8>, RecorderError> {
        let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
        match &self.rule {
            Rule::Sgd(_, states) => Recorder::<B>::record(&recorder, states.clone(), ()),
            Rule::Adam(_, states) => Recorder::<B>::record(&recorder, states.clone(), ()),
        }
    }

    /// Puts a state of the same optimizer and the same tensors in place; on an error nothing has changed.
    pub(super) fn restore(&mut self, state: &[u8], device: &B::Device) -> Result<(), RecorderError> {
        let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
        let fits = |found, expected| {
            let other = || RecorderError::Unknown("it is the state of another optimizer".into());
            if found == expected { Ok(()) } else { Err(other()) }
        };
        match &mut self.rule {
            Rule::Sgd(_, states) => {
                let found: States<Sgd<B>, B> = Recorder::<B>::load(&recorder, state.to_vec(), device)?;
                fits(found.len(), states.len())?;
                *states = found;
            }
            Rule::Adam(_, states) => {
                let found: States<Adam, B> = Recorder::<B>::load(&recorder, state.to_vec(), device)?;
                fits(found.len(), states.len())?;
                *states = found;
            }
        }
        Ok(())
    }

    /// The tensor at `index` after a step along `gradient`.
    pub(super) fn step(&mut self, index: usize, tensor: Tensor<B, 1>, mut gradient: Tensor<B, 1>) -> Tensor<B, 1> {
        if let Some(Proximal { mu, start }) = &self.proximal {
            gradient = gradient + (tensor.clone() - start[index].clone()).mul_scalar(*mu);
        }
        if let Some(linear) = &self.linear {
            gradient = gradient + linear[index].clone();
        }
        match &mut self.rule {
            Rule::Sgd(sgd, states) => advance(sgd, &mut states[index], self.learning_rate, tensor, gradient),
            Rule::Adam(adam, states) => advance(adam, &mut states[index], self.learning_rate, tensor, gradient),
        }
    }
}

fn advance<B: Backend, O: SimpleOptimizer<B>>(
    optimizer: &O,
    state: &mut Option<O::State<1>>,
    learning_rate: f64,
    tensor: Tensor<B, 1>,
    gradient: Tensor<B, 1>,
) -> Tensor<B, 1> {
    let (tensor, next) = optimizer.step(learning_rate, tensor, gradient, state.take());
    *state = next;
    tensor
}
