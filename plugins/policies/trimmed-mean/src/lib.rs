//! Trimmed mean: parameter by parameter, the mean without the smallest and the largest updates.
//!
//! D. Yin, Y. Chen, K. Ramchandran, P. Bartlett: *Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates*, ICML
//! 2018, definition 2 and Algorithm 1, option II: of K updates the `beta` K smallest and the `beta` K largest, rounded down, are left out at
//! every parameter. All count the same, whatever examples they claim.

use polder_policy_sdk::aggregation::{Aggregation, Chunk, Plan, Question, Traits};
use polder_policy_sdk::{Error, columns, export_aggregation, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct TrimmedMean;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The share that is left out at either end, at least 0 and below 0.5; `0.2`.
    beta: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { beta: 0.2 }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require((0.0..0.5).contains(&self.beta), "beta", self.beta, "at least 0 and below 0.5")
    }

    /// How many are left out at either end. One always stays, as `beta` is below one half.
    fn cut(&self, count: usize) -> usize {
        (self.beta * count as f64) as usize
    }
}

impl Aggregation for TrimmedMean {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::columns())
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let count = question.updates.len();
        let mut plan = weights::mean(&question.updates, false)?;
        plan.reason =
            format!("the mean of {count} updates without the {0} smallest and {0} largest", parameters.cut(count));
        Ok(plan)
    }

    fn combine(_: Chunk, rows: Vec<Vec<f32>>, _: Vec<f32>, parameters: Parameters) -> Result<Vec<f32>, Error> {
        parameters.check()?;
        columns::trimmed_mean(&rows, parameters.cut(rows.len()))
    }
}

export_aggregation!(TrimmedMean);
