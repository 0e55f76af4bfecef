//! FedProx: local training is drawn back to the model it started from; the updates are averaged as in FedAvg.
//!
//! T. Li, A. K. Sahu, M. Zaheer, M. Sanjabi, A. Talwalkar, V. Smith: *Federated Optimization in Heterogeneous Networks*, MLSys 2020,
//! Algorithm 2: each worker minimises `F_k(w) + proximal_mu / 2 * |w - w_t|²`.

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, Traits};
use polder_policy_sdk::{Error, export_aggregation, figure, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct FedProx;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How strongly training is drawn back, at least 0 (0 is FedAvg); `0.01`. The paper tries 0.001, 0.01, 0.1 and 1.
    proximal_mu: f64,
    /// Whether an update counts by its training examples (as in Flower) or all count the same (as in the paper, which draws
    /// workers by their examples instead); `true`.
    weighted: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { proximal_mu: 0.01, weighted: true }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require(self.proximal_mu >= 0.0, "proximal_mu", self.proximal_mu, "at least 0")
    }
}

impl Aggregation for FedProx {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::sums().with_proximal_mu(parameters.proximal_mu))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let mut plan = weights::mean(&question.updates, parameters.weighted)?;
        plan.reason += &format!("; proximal_mu {}", figure(parameters.proximal_mu));
        Ok(plan)
    }
}

export_aggregation!(FedProx);
