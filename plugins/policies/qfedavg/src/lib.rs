//! q-FedAvg: workers on which the model does badly count more, so that its accuracy is spread more fairly.
//!
//! T. Li, M. Sanjabi, A. Beirami, V. Smith: *Fair Resource Allocation in Federated Learning*, ICLR 2020, Algorithm 2. With the loss
//! `F_k` of the round's model on a worker's rows, its update `u_k`, and `L` = 1 / `qffl_learning_rate`:
//!
//! ```text
//! Δw_k = -L u_k     Δ_k = F_k^q Δw_k     h_k = q F_k^(q-1) |Δw_k|² + L F_k^q
//! w = w - Σ Δ_k / Σ h_k
//! ```
//!
//! so that the weight of an update is `L F_k^q / Σ h_k`. As in Flower, 1e-10 is added to every loss. `q_param` = 0 is the plain mean.

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, StatisticsWanted, Traits};
use polder_policy_sdk::{Error, export_aggregation, figure, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct QFedAvg;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The paper's q: how much more those with a high loss count, at least 0; `0.2`.
    q_param: f64,
    /// The inverse of the paper's L, best the local learning rate; above 0; `0.1`.
    qffl_learning_rate: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { q_param: 0.2, qffl_learning_rate: 0.1 }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require(self.q_param >= 0.0, "q_param", self.q_param, "at least 0")?;
        require(self.qffl_learning_rate > 0.0, "qffl_learning_rate", self.qffl_learning_rate, "above 0")
    }
}

/// Keeps powers of a loss of 0 finite.
const LOSS_OFFSET: f64 = 1e-10;

impl Aggregation for QFedAvg {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::geometry(StatisticsWanted::NORMS).with_base_loss())
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let (q, lipschitz) = (parameters.q_param, 1.0 / parameters.qffl_learning_rate);
        let mut losses = Vec::with_capacity(question.updates.len());
        for (index, update) in question.updates.iter().enumerate() {
            let loss = weights::reported(update.base_loss, index, "loss of the model it started from")?;
            if loss < 0.0 {
                return Err(Error::Question(format!("update {index} reports a negative loss, {}", figure(loss))));
            }
            losses.push(loss + LOSS_OFFSET);
        }
        let highest = losses.iter().copied().fold(0.0, f64::max);
        // powers of shares of the highest loss, which cannot overflow; what it is divided by cancels out
        let powers: Vec<f64> = losses.iter().map(|loss| (loss / highest).powf(q)).collect();
        let step = |(index, norm): (usize, &f64)| {
            let gradient = lipschitz * norm;
            q * powers[index] / losses[index] * gradient * gradient + lipschitz * powers[index]
        };
        let whole: f64 = question.statistics.norms.iter().take(losses.len()).enumerate().map(step).sum();
        if whole.is_nan() || whole <= 0.0 {
            return Err(Error::Question("the updates' norms are missing".into()));
        }
        let weights = powers.iter().map(|power| (lipschitz * power / whole) as f32).collect();
        let notes = losses.iter().map(|&loss| format!("loss {} before training", figure(loss))).collect();
        let reason = format!(
            "{} updates by their losses to the power of {}, up to {}",
            losses.len(),
            figure(q),
            figure(highest)
        );
        Ok(Plan::new(weights, reason).with_notes(notes))
    }
}

export_aggregation!(QFedAvg);
