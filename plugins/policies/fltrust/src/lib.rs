//! Cosine weighting in the manner of FLTrust: an update counts by how far it points where the trusted direction does, at that
//! direction's length.
//!
//! X. Cao, M. Fang, J. Liu, N. Z. Gong: *FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping*, NDSS 2021, Algorithm 2
//! and equations 2 to 4. There the direction `g_0` is an update that the server trained on root data of its own. Polder's
//! coordinator has no data, so **here `g_0` is the geometric median of the updates**: what the paper proves with root data does not
//! hold, and most workers must be honest. With `TS_i = max(0, cos(g_i, g_0))`:
//!
//! ```text
//! g = Σ TS_i (|g_0| / |g_i|) g_i / Σ TS_i
//! ```

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, StatisticsWanted, Traits};
use polder_policy_sdk::geometry::{self, Products, Weiszfeld};
use polder_policy_sdk::{Error, export_aggregation, figure, require, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct FlTrust;

/// What a run may set, all of it for the geometric median.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Most iterations, 1 to 10,000; `100`. (The paper stops after 3, as each costs it a round of messages; here none does.)
    maxiter: u32,
    /// Distances count as at least this, above 0; `0.00001`.
    eps: f64,
    /// The search ends once an iteration moves by less than this share of the median distance, at least 0; `0.000001`.
    tolerance: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { maxiter: 100, eps: 1e-5, tolerance: 1e-6 }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require((1..=10_000).contains(&self.maxiter), "maxiter", self.maxiter.into(), "from 1 to 10,000")?;
        require(self.eps > 0.0, "eps", self.eps, "above 0")?;
        require(self.tolerance >= 0.0, "tolerance", self.tolerance, "at least 0")
    }
}

impl Aggregation for FlTrust {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::geometry(StatisticsWanted::PRODUCTS))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let products = Products::of(&question)?;
        let count = products.count();
        let shares = weights::shares(&question.updates, false)?;
        if (0..count).all(|index| products.norm(index) == 0.0) {
            return Ok(Plan::new(shares.iter().map(|&share| share as f32).collect(), "all updates are zero"));
        }
        let search = Weiszfeld { maxiter: parameters.maxiter, eps: parameters.eps, tolerance: parameters.tolerance };
        let (direction, _) = geometry::geometric_median(products, &shares, search);
        let trust: Vec<f64> = (0..count).map(|index| direction.cosine(index).max(0.0)).collect();
        let whole: f64 = trust.iter().sum();
        if whole <= 0.0 {
            return Err(Error::Question("the updates have no direction in common".into()));
        }
        let weight = |index: usize| match products.norm(index) {
            0.0 => 0.0,
            norm => (trust[index] / whole * direction.norm() / norm) as f32,
        };
        let weights: Vec<f32> = (0..count).map(weight).collect();
        let notes = trust.iter().map(|&trust| format!("trust {}", figure(trust))).collect();
        let trusted = trust.iter().filter(|&&trust| trust > 0.0).count();
        let reason = format!(
            "{trusted} of {count} updates by their cosine to the geometric median, at its norm, {}",
            figure(direction.norm())
        );
        Ok(Plan::new(weights, reason).with_notes(notes))
    }
}

export_aggregation!(FlTrust);
