//! Federated averaging with momentum on the server.
//!
//! T.-M. H. Hsu, H. Qi, M. Brown: *Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification*,
//! 2019, section 4.3, FedAvgM: `v = server_momentum v + Δ`, `w = w + server_learning_rate v` with the mean update `Δ`. The learning rate is
//! Flower's addition. State tensor: `v`.

use polder_policy_sdk::aggregation::{Aggregation, Chunk, Part, Plan, Question, Stepped, Traits};
use polder_policy_sdk::{Error, elementwise, export_aggregation, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct FedAvgM;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How far the server follows the momentum, above 0; `1`.
    server_learning_rate: f64,
    /// How much of it lasts from round to round, at least 0 and below 1; `0.9`, the paper's (Flower's `0` is FedAvg).
    server_momentum: f64,
    /// Whether an update counts by its training examples (as in the paper) or all count the same; `true`.
    weighted: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { server_learning_rate: 1.0, server_momentum: 0.9, weighted: true }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require(self.server_learning_rate > 0.0, "server_learning_rate", self.server_learning_rate, "above 0")?;
        let is_share = (0.0..1.0).contains(&self.server_momentum);
        require(is_share, "server_momentum", self.server_momentum, "at least 0 and below 1")
    }
}

impl Aggregation for FedAvgM {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::sums().with_step(1))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let mut plan = weights::mean(&question.updates, parameters.weighted)?;
        plan.reason += ", then a step with momentum";
        Ok(plan)
    }

    fn step(_: Chunk, mut part: Part, parameters: Parameters) -> Result<Stepped, Error> {
        let (rate, momentum) = (parameters.server_learning_rate as f32, parameters.server_momentum as f32);
        elementwise::descend(&mut part, rate, momentum, false)?;
        Ok(part.stepped())
    }
}

export_aggregation!(FedAvgM);
