//! SCAFFOLD: control variates take the drift out of local training.
//!
//! S. P. Karimireddy, S. Kale, M. Mohri, S. J. Reddi, S. U. Stich, A. T. Suresh: *SCAFFOLD: Stochastic Controlled Averaging for
//! Federated Learning*, ICML 2020, Algorithm 1 with option II. With the updates `Δy_i = y_i - x` of the workers in `S`, of N in
//! all, after `K_i` local steps at the rate `η_i`:
//!
//! ```text
//! x = x + server_learning_rate * 1/|S| Σ Δy_i
//! c = c + |S|/N * 1/|S| Σ Δc_i     with Δc_i = -c - Δy_i / (K_i η_i)
//! ```
//!
//! Workers add `c - c_i` to every gradient and keep `c_i`. State tensor: `c`. The mean is plain, as in the paper.

use polder_policy_sdk::aggregation::{Aggregation, Chunk, Correction, Part, Plan, Question, Stepped, Traits};
use polder_policy_sdk::{Error, elementwise, export_aggregation, figure, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct Scaffold;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How far the model follows the mean update (the paper's global learning rate), above 0; `1`.
    server_learning_rate: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { server_learning_rate: 1.0 }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require(self.server_learning_rate > 0.0, "server_learning_rate", self.server_learning_rate, "above 0")
    }
}

impl Aggregation for Scaffold {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::sums().with_step(1).with_correction(Correction::ControlVariates(0)))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let count = question.updates.len();
        // who left since may have sent an update all the same
        let population = (question.population as usize).max(count);
        let mut of_c = Vec::with_capacity(count);
        for (index, update) in question.updates.iter().enumerate() {
            let steps = weights::reported(update.steps.filter(|&steps| steps > 0), index, "local steps")?;
            let rate = update.learning_rate.filter(|&rate| rate > 0.0);
            let rate = weights::reported(rate, index, "local learning rate")?;
            of_c.push((1.0 / (population as f64 * steps as f64 * rate)) as f32);
        }
        let taking_part = count as f64 / population as f64;
        let plan = weights::mean(&question.updates, false)?;
        let reason = format!("{}; {} of all workers renew the control variate", plan.reason, figure(taking_part));
        let memo = (taking_part as f32).to_le_bytes().to_vec();
        Ok(Plan::new(plan.weights, reason).with_extra(of_c).with_memo(memo))
    }

    fn step(chunk: Chunk, mut part: Part, parameters: Parameters) -> Result<Stepped, Error> {
        let taking_part: [u8; 4] =
            chunk.memo.try_into().map_err(|_| Error::Question("the memo is not the plan's".into()))?;
        let taking_part = f32::from_le_bytes(taking_part);
        let extra = std::mem::take(&mut part.extra).pop().unwrap_or_default();
        elementwise::renew(&mut part, &extra, 1.0 - taking_part, -1.0)?;
        elementwise::follow(&mut part, parameters.server_learning_rate as f32);
        Ok(part.stepped())
    }
}

export_aggregation!(Scaffold);
