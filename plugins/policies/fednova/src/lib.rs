//! FedNova: updates are divided by how many local steps are in them, so that who trains longer does not pull the model to its own
//! minimum.
//!
//! J. Wang, Q. Liu, H. Liang, G. Joshi, H. V. Poor: *Tackling the Objective Inconsistency Problem in Heterogeneous Federated
//! Optimization*, NeurIPS 2020, equations 6 and 8 and section 4: with the shares of examples `p_i` and the L1 norm `|a_i|` of
//! how local gradients add up, `x = x + τ_eff Σ p_i Δ_i / |a_i|`, where `τ_eff = Σ p_i |a_i|`. `|a_i|` is the number of local steps for
//! plain SGD; a worker whose optimizer has none (Adam) cannot take part.

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, Traits};
use polder_policy_sdk::{Error, export_aggregation, figure, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct FedNova;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Whether an update counts by its training examples (the paper's way) or all count the same; `true`.
    weighted: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { weighted: true }
    }
}

impl Aggregation for FedNova {
    type Parameters = Parameters;

    fn describe(_: Parameters) -> Result<Traits, Error> {
        Ok(Traits::sums())
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        let shares = weights::shares(&question.updates, parameters.weighted)?;
        let mut normalizers = Vec::with_capacity(shares.len());
        for (index, update) in question.updates.iter().enumerate() {
            let normalizer = update.normalizer.filter(|&normalizer| normalizer > 0.0);
            normalizers.push(weights::reported(normalizer, index, "normalizer (train with SGD)")?);
        }
        let effective: f64 = shares.iter().zip(&normalizers).map(|(share, normalizer)| share * normalizer).sum();
        let weights = shares.iter().zip(&normalizers);
        let weights = weights.map(|(share, normalizer)| (share * effective / normalizer) as f32).collect();
        let notes = normalizers.iter().map(|&normalizer| format!("{} local steps", figure(normalizer))).collect();
        let reason = format!(
            "{}, each by its local steps; {} effective steps",
            weights::mean_in_words(&question.updates, parameters.weighted),
            figure(effective)
        );
        Ok(Plan::new(weights, reason).with_notes(notes))
    }
}

export_aggregation!(FedNova);
