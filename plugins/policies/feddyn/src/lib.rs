//! FedDyn: a regularizer that changes with the rounds brings local minima in line with the global one.
//!
//! D. A. E. Acar, Y. Zhao, R. M. Navarro, M. Mattina, P. N. Whatmough, V. Saligrama: *Federated Learning Based on Dynamic
//! Regularization*, ICLR 2021, Algorithm 1. With the updates `Δ_k` of the workers in `P`, of m in all:
//!
//! ```text
//! h = h - alpha * 1/m Σ Δ_k
//! θ = θ + 1/|P| Σ Δ_k - h / alpha
//! ```
//!
//! Workers minimise `L_k(θ) - <g_k, θ> + alpha/2 |θ - θ_t|²` and keep `g_k`. State tensor: `h`. The mean is plain, as in the paper.

use polder_policy_sdk::aggregation::{Aggregation, Chunk, Correction, Part, Plan, Question, Stepped, Traits};
use polder_policy_sdk::{Error, elementwise, export_aggregation, figure, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct FedDyn;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Strength of the regularizer, above 0; `0.01`. The paper uses 0.01 and 0.1 most.
    alpha: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { alpha: 0.01 }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require(self.alpha as f32 > 0.0, "alpha", self.alpha, "above 0, and not too small for float32")
    }
}

impl Aggregation for FedDyn {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::sums().with_step(1).with_correction(Correction::DynamicRegularizer(parameters.alpha)))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let count = question.updates.len();
        // who left since may have sent an update all the same
        let population = (question.population as usize).max(count);
        let plan = weights::mean(&question.updates, false)?;
        let reason = format!(
            "{} of {population} workers, with the regularizer's history; alpha {}",
            plan.reason,
            figure(parameters.alpha)
        );
        let taking_part = (count as f64 / population as f64) as f32;
        Ok(Plan::new(plan.weights, reason).with_memo(taking_part.to_le_bytes().to_vec()))
    }

    fn step(chunk: Chunk, mut part: Part, parameters: Parameters) -> Result<Stepped, Error> {
        let taking_part: [u8; 4] =
            chunk.memo.try_into().map_err(|_| Error::Question("the memo is not the plan's".into()))?;
        // 1/m Σ Δ_k is the aggregate times |P|/m
        let fresh = parameters.alpha as f32 * f32::from_le_bytes(taking_part);
        let inverse = (1.0 / parameters.alpha) as f32;
        elementwise::for_each_block(&mut part, |model, aggregate, [h]| {
            for i in 0..elementwise::BLOCK {
                h[i] -= fresh * aggregate[i];
                model[i] += aggregate[i] - inverse * h[i];
            }
        })?;
        Ok(part.stepped())
    }
}

export_aggregation!(FedDyn);
