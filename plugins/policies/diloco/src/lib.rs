//! DiLoCo: workers take many local steps, and their mean update is the gradient of an outer optimizer with Nesterov's momentum.
//!
//! A. Douillard, Q. Feng, A. A. Rusu, R. Chhaparia, Y. Donchev, A. Kuncoro, M. Ranzato, A. Szlam, J. Shen: *DiLoCo: Distributed
//! Low-Communication Training of Language Models*, 2023, Algorithm 1, with the plain mean update `Δ` (the paper's outer gradient
//! is `-Δ`) and Nesterov's momentum as PyTorch's SGD has it: `m = outer_momentum m + Δ`,
//! `θ = θ + outer_learning_rate (Δ + outer_momentum m)`. State tensor: `m`.

use polder_policy_sdk::aggregation::{Aggregation, Chunk, Part, Plan, Question, Stepped, Traits};
use polder_policy_sdk::{Error, elementwise, export_aggregation, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct DiLoCo;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How far the outer optimizer goes, above 0; `0.7`.
    outer_learning_rate: f64,
    /// How much of its momentum lasts from round to round, at least 0 and below 1; `0.9`.
    outer_momentum: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { outer_learning_rate: 0.7, outer_momentum: 0.9 }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require(self.outer_learning_rate > 0.0, "outer_learning_rate", self.outer_learning_rate, "above 0")?;
        let is_share = (0.0..1.0).contains(&self.outer_momentum);
        require(is_share, "outer_momentum", self.outer_momentum, "at least 0 and below 1")
    }
}

impl Aggregation for DiLoCo {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::sums().with_step(1))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let mut plan = weights::mean(&question.updates, false)?;
        plan.reason += ", then an outer step with Nesterov's momentum";
        Ok(plan)
    }

    fn step(_: Chunk, mut part: Part, parameters: Parameters) -> Result<Stepped, Error> {
        let (rate, momentum) = (parameters.outer_learning_rate as f32, parameters.outer_momentum as f32);
        elementwise::descend(&mut part, rate, momentum, true)?;
        Ok(part.stepped())
    }
}

export_aggregation!(DiLoCo);
