//! What a round's aggregation policy adds to local training: a proximal term, a vector on every gradient.
//!
//! With the local loss F, the base model w₀ and the linear term b, a step follows the gradient
//! `∇F(w) + μ · (w − w₀) + b`. FedProx (Li et al. 2020, equation 2) sets μ. SCAFFOLD (Karimireddy et al. 2020, algorithm 1, line
//! 10) sets b = c − c_i. FedDyn (Acar et al. 2021, algorithm 1) sets b = −h_i and adds its α to μ.

use polder_core::policy::{Correction, TrainingNeeds};

use crate::config::{Optimizer, PROXIMAL_MU_MAX, TrainConfig};

/// What a round adds. The default adds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Additions<'a> {
    pub needs: TrainingNeeds,
    /// b: a value for every parameter, in the order in which updates hold them; none is all zero.
    pub linear: Option<&'a [f32]>,
}

/// Why a trainer set up like this cannot do what the round's aggregation policy needs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdditionsError {
    #[error("the aggregation policy asks for a `{key}` of {value}; allowed is 0 to {PROXIMAL_MU_MAX}")]
    OutOfRange { key: &'static str, value: f64 },
    #[error(
        "SCAFFOLD's control variates cannot be had with {found}: they are mean gradients, found from how far plain SGD came; \
         set `train.optimizer = {{ kind = \"sgd\" }}` without momentum in the run, or choose another aggregation policy"
    )]
    NotPlainSgd { found: &'static str },
    #[error(
        "SCAFFOLD's control variates cannot be had with a proximal term: its pull would be taken for a gradient of the \
         region's loss; set `train.proximal_mu = 0` in the run"
    )]
    Proximal,
    #[error("the correction has {found} values, but the model has {expected}")]
    Length { found: usize, expected: usize },
    #[error("the correction holds a value that is no finite number")]
    NotFinite,
}

impl Additions<'_> {
    /// μ: the proximal term's weight with everything that asks for one.
    #[must_use]
    pub fn proximal_mu(&self, config: &TrainConfig) -> f64 {
        let alpha = match self.needs.correction {
            Some(Correction::DynamicRegularizer { alpha }) => alpha,
            _ => 0.0,
        };
        self.needs.proximal_mu.unwrap_or(config.proximal_mu) + alpha
    }

    pub(crate) fn check_length(&self, expected: usize) -> Result<(), AdditionsError> {
        match self.linear {
            Some(linear) if linear.len() != expected => Err(AdditionsError::Length { found: linear.len(), expected }),
            Some(linear) if linear.iter().any(|value| !value.is_finite()) => Err(AdditionsError::NotFinite),
            _ => Ok(()),
        }
    }
}

/// Whether training by `config` can do what `needs` says.
///
/// SCAFFOLD's option II takes `(x − y) / (steps · learning rate)` for the mean of the gradients on the way. That holds for plain
/// SGD only: momentum and Adam move by something else, and a proximal term adds its own pull to each gradient. An L2 penalty
/// (`weight_decay`) is a part of the local loss and does no harm. FedProx and FedDyn change the loss, not how it is descended:
/// any optimizer will do.
pub fn check_needs(config: &TrainConfig, needs: &TrainingNeeds) -> Result<(), AdditionsError> {
    in_range("proximal-mu", needs.proximal_mu.unwrap_or(0.0))?;
    match needs.correction {
        None => Ok(()),
        Some(Correction::DynamicRegularizer { alpha }) => in_range("dynamic-regularizer", alpha),
        Some(Correction::ControlVariates { .. }) => match config.optimizer {
            Optimizer::Adam { .. } => Err(AdditionsError::NotPlainSgd { found: "Adam" }),
            Optimizer::Sgd { momentum, .. } if momentum > 0.0 => Err(AdditionsError::NotPlainSgd { found: "momentum" }),
            Optimizer::Sgd { .. } if needs.proximal_mu.unwrap_or(config.proximal_mu) > 0.0 => {
                Err(AdditionsError::Proximal)
            }
            Optimizer::Sgd { .. } => Ok(()),
        },
    }
}

fn in_range(key: &'static str, value: f64) -> Result<(), AdditionsError> {
    let fits = (0.0..=PROXIMAL_MU_MAX).contains(&value);
    if fits { Ok(()) } else { Err(AdditionsError::OutOfRange { key, value }) }
}

/// ‖a‖₁ of FedNova (Wang et al. 2020, section 4.1): how often the update holds a gradient, in units of the learning rate, after
/// `steps` steps with the proximal weight `mu`. None where the paper has no such vector: Adam, and momentum together with a
/// proximal term.
///
/// | local solver | a | ‖a‖₁ |
/// | --- | --- | --- |
/// | SGD | 1, …, 1 | τ |
/// | SGD with momentum ρ | (1 − ρ^τ, …, 1 − ρ) / (1 − ρ) | (τ − ρ (1 − ρ^τ) / (1 − ρ)) / (1 − ρ) |
/// | SGD with a proximal term, α = η μ | (1 − α)^(τ − 1), …, 1 − α, 1 | (1 − (1 − α)^τ) / α |
///
/// The gradient is that of the local loss with its L2 penalty, if it has one. Beyond α = 1 a step overshoots the base model
/// and a's signs alternate; there is no number then either.
#[must_use]
pub fn normalizer(config: &TrainConfig, mu: f64, steps: u64) -> Option<f64> {
    let Optimizer::Sgd { momentum, .. } = config.optimizer else { return None };
    match (momentum > 0.0, mu > 0.0) {
        (false, false) => Some(steps as f64),
        (true, false) => Some(momentum_sum(momentum, steps)),
        (false, true) => proximal_sum(config.learning_rate * mu, steps),
        (true, true) => None,
    }
}

/// Step by step: how often the first gradient is in the velocity is 1, ρ + 1, ρ² + ρ + 1, … The closed form loses its digits
/// where ρ is near 1.
fn momentum_sum(momentum: f64, steps: u64) -> f64 {
    let (mut velocity, mut sum) = (0.0, 0.0);
    for _ in 0..steps {
        velocity = momentum * velocity + 1.0;
        sum += velocity;
    }
    sum
}

fn proximal_sum(alpha: f64, steps: u64) -> Option<f64> {
    match alpha {
        alpha if alpha < 1.0 => Some(-(steps as f64 * (-alpha).ln_1p()).exp_m1() / alpha),
        alpha if alpha > 1.0 => None,
        _ => Some(f64::from(u8::from(steps > 0))),
    }
}

#[cfg(test)]
mod tests;
