//! RFA, robust federated aggregation: the geometric median of the updates, the point with the smallest sum of distances to them.
//!
//! K. Pillutla, S. M. Kakade, Z. Harchaoui: *Robust Aggregation for Federated Learning*, IEEE Transactions on Signal Processing 2022,
//! Algorithm 2, the smoothed Weiszfeld algorithm from the mean. The point is a weighted mean of the updates, so that weights and
//! the updates' inner products are all it needs.

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, StatisticsWanted, Traits};
use polder_policy_sdk::geometry::{self, Products, Weiszfeld};
use polder_policy_sdk::{Error, export_aggregation, figure, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct Rfa;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Most iterations, 1 to 10,000; `100`. (The paper stops after 3, as each costs it a round of messages; here none does.)
    maxiter: u32,
    /// Distances count as at least this, above 0; `0.00001`.
    eps: f64,
    /// The search ends once an iteration moves by less than this share of the median distance, at least 0; `0.000001`.
    tolerance: f64,
    /// Whether an update's distance counts by its training examples (the paper's way) or all count the same; `true`. What examples a
    /// worker claims is not checked: where workers may lie, count all the same.
    weighted: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { maxiter: 100, eps: 1e-5, tolerance: 1e-6, weighted: true }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require((1..=10_000).contains(&self.maxiter), "maxiter", self.maxiter.into(), "from 1 to 10,000")?;
        require(self.eps > 0.0, "eps", self.eps, "above 0")?;
        require(self.tolerance >= 0.0, "tolerance", self.tolerance, "at least 0")
    }
}

impl Aggregation for Rfa {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::geometry(StatisticsWanted::PRODUCTS))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let products = Products::of(&question)?;
        let shares = weights::shares(&question.updates, parameters.weighted)?;
        let search = Weiszfeld { maxiter: parameters.maxiter, eps: parameters.eps, tolerance: parameters.tolerance };
        let (median, iterations) = geometry::geometric_median(products, &shares, search);
        let weights = median.coefficients().iter().map(|&share| share as f32).collect();
        let far = |index| format!("{} from the median", figure(median.distance(index)));
        let notes = (0..shares.len()).map(far).collect();
        let reason = format!("the geometric median of {} updates, after {iterations} iterations", shares.len());
        Ok(Plan::new(weights, reason).with_notes(notes))
    }
}

export_aggregation!(Rfa);
