//! FedBuff: rounds close when enough updates are there, and late ones count in a later round, the less the older they are.
//!
//! J. Nguyen, K. Malik, H. Zhan, A. Yousefpour, M. Rabbat, M. Malek, D. Huba: *Federated Learning with Buffered Asynchronous Aggregation*,
//! AISTATS 2022, Algorithm 1 with the staleness weight of section 5: `w = w + server_learning_rate * 1/K Σ s(τ_k) Δ_k` over the K updates in
//! the buffer, with `s(τ) = 1 / (1 + τ)^staleness_exponent` for an update that is τ model versions behind. The buffer is the
//! round: its size is the cohort's quorum, and `staleness_max` of the run says how old an update may get.

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, Traits};
use polder_policy_sdk::{Error, export_aggregation, figure, require};
use serde::Deserialize;

/// The policy; see the crate.
pub struct FedBuff;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How far the model follows the buffer's mean, above 0; `1`.
    server_learning_rate: f64,
    /// How fast updates lose weight with their age, at least 0 (0: never); `0.5`, the paper's `1/sqrt(1 + τ)`.
    staleness_exponent: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { server_learning_rate: 1.0, staleness_exponent: 0.5 }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        require(self.server_learning_rate > 0.0, "server_learning_rate", self.server_learning_rate, "above 0")?;
        require(self.staleness_exponent >= 0.0, "staleness_exponent", self.staleness_exponent, "at least 0")
    }
}

impl Aggregation for FedBuff {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        parameters.check()?;
        Ok(Traits::sums())
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        parameters.check()?;
        let count = question.updates.len();
        let shares = question
            .updates
            .iter()
            .map(|update| (1.0 + f64::from(update.staleness)).powf(-parameters.staleness_exponent));
        let shares: Vec<f64> = shares.collect();
        let rate = parameters.server_learning_rate / count as f64;
        let weights = shares.iter().map(|share| (rate * share) as f32).collect();
        let note = |(index, share): (usize, &f64)| match question.updates[index].staleness {
            0 => String::new(),
            staleness => format!("{staleness} versions behind, counts {}", figure(*share)),
        };
        let notes = shares.iter().enumerate().map(note).collect();
        let stale = question.updates.iter().filter(|update| update.staleness > 0).count();
        let oldest = question.updates.iter().map(|update| update.staleness).max().unwrap_or(0);
        let reason = format!("{count} buffered updates, {stale} of them stale, by up to {oldest} versions");
        Ok(Plan::new(weights, reason).with_notes(notes))
    }
}

export_aggregation!(FedBuff);
