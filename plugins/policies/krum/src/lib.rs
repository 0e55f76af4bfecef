//! Krum: of all updates the one that is nearest to its neighbours.
//!
//! P. Blanchard, E. M. El Mhamdi, R. Guerraoui, J. Stainer: *Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent*,
//! NIPS 2017, section 4: an update's score is the sum of its squared distances to the n - f - 2 updates nearest to it, of n with up to
//! f malicious, and the lowest score wins; of equal ones the first. It takes n of at least 2 f + 3.

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, StatisticsWanted, Traits};
use polder_policy_sdk::geometry::{self, Products};
use polder_policy_sdk::{Error, export_aggregation, figure};
use serde::Deserialize;

/// The policy; see the crate.
pub struct Krum;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Parameters {
    /// The paper's f: how many updates may be malicious; `0`.
    num_malicious_clients: u32,
}

impl Aggregation for Krum {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        let updates_min = geometry::krum_updates_min(parameters.num_malicious_clients)?;
        Ok(Traits::geometry(StatisticsWanted::PRODUCTS).with_updates_min(updates_min))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        let malicious = parameters.num_malicious_clients;
        let products = Products::of(&question)?;
        let count = products.count();
        geometry::require_updates(count, geometry::krum_updates_min(malicious)?)?;
        let members: Vec<usize> = (0..count).collect();
        let scores = geometry::krum_scores(products, &members, malicious as usize);
        let best = geometry::smallest(&scores).ok_or_else(|| Error::Question("there is no update".into()))?;
        let weights = members.iter().map(|&member| if member == best { 1.0 } else { 0.0 }).collect();
        let fate = |member| if member == best { "taken" } else { "left out" };
        let notes =
            members.iter().map(|&member| format!("score {}, {}", figure(scores[member]), fate(member))).collect();
        let reason = format!("update {best} of {count}, with the lowest score, {}", figure(scores[best]));
        Ok(Plan::new(weights, reason).with_notes(notes))
    }
}

export_aggregation!(Krum);
