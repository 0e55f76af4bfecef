//! Federated Adam: the mean of the updates is the gradient of a server optimizer that adapts its step to every parameter.
//!
//! S. Reddi, Z. Charles, M. Zaheer, Z. Garrett, K. Rush, J. Konečný, S. Kumar, H. B. McMahan: *Adaptive Federated Optimization*,
//! ICLR 2021, Algorithm 2, FedAdam, with the mean update `Δ`:
//!
//! ```text
//! m = beta_1 m + (1 - beta_1) Δ
//! v = beta_2 v + (1 - beta_2) Δ²
//! x = x + eta m / (sqrt(v) + tau)
//! ```
//!
//! State tensors: `m` and `v`, both 0 at first, as in Flower (the paper lets `v` start at `tau²` or above). There is no bias
//! correction, as in the paper.

use polder_policy_sdk::aggregation::{Aggregation, Chunk, Part, Plan, Question, Stepped, Traits};
use polder_policy_sdk::elementwise::{self, Squares};
use polder_policy_sdk::{Error, export_aggregation, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct FedAdam;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Server learning rate, above 0; `0.1`.
    eta: f64,
    /// How much of the mean update's running mean lasts from round to round, at least 0 and below 1; `0.9`.
    beta_1: f64,
    /// How much of the gathered squares lasts from round to round, at least 0 and below 1; `0.99`.
    beta_2: f64,
    /// Keeps the step finite where squares are small; the larger, the less it adapts. Above 0; `0.001`.
    tau: f64,
    /// Whether an update counts by its training examples (as in Flower) or all count the same (as in the paper); `true`.
    weighted: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { eta: 0.1, beta_1: 0.9, beta_2: 0.99, tau: 1e-3, weighted: true }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require(self.eta > 0.0, "eta", self.eta, "above 0")?;
        require((0.0..1.0).contains(&self.beta_1), "beta_1", self.beta_1, "at least 0 and below 1")?;
        require((0.0..1.0).contains(&self.beta_2), "beta_2", self.beta_2, "at least 0 and below 1")?;
        require(self.tau as f32 > 0.0, "tau", self.tau, "above 0, and not too small for float32")
    }
}

impl Aggregation for FedAdam {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::sums().with_step(2))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let mut plan = weights::mean(&question.updates, parameters.weighted)?;
        plan.reason += ", then a step of Adam";
        Ok(plan)
    }

    fn step(_: Chunk, mut part: Part, parameters: Parameters) -> Result<Stepped, Error> {
        let squares = Squares::Adam { beta_2: parameters.beta_2 as f32 };
        elementwise::adapt(&mut part, parameters.eta as f32, parameters.beta_1 as f32, parameters.tau as f32, squares)?;
        Ok(part.stepped())
    }
}

export_aggregation!(FedAdam);
