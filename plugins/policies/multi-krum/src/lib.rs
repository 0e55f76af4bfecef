//! Multi-Krum: the plain mean of the updates that are nearest to their neighbours.
//!
//! P. Blanchard, E. M. El Mhamdi, R. Guerraoui, J. Stainer: *Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent*,
//! NIPS 2017, sections 4 and 5: an update's score is the sum of its squared distances to the n - f - 2 updates nearest to it, of n
//! with up to f malicious, and the m lowest scores are averaged; of equal ones the first. It takes n of at least 2 f + 3. All
//! that are kept count the same, whatever examples they claim (Flower weights them by examples).

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, StatisticsWanted, Traits};
use polder_policy_sdk::geometry::{self, Products};
use polder_policy_sdk::{Error, export_aggregation, figure};
use serde::Deserialize;

/// The policy; see the crate.
pub struct MultiKrum;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Parameters {
    /// The paper's f: how many updates may be malicious; `0`.
    num_malicious_clients: u32,
    /// The paper's m: how many updates are averaged; `0` stands for all but `num_malicious_clients`. A round with fewer updates is
    /// refused.
    num_clients_to_keep: u32,
}

impl Parameters {
    fn updates_min(&self) -> Result<u32, Error> {
        Ok(geometry::krum_updates_min(self.num_malicious_clients)?.max(self.num_clients_to_keep))
    }
}

impl Aggregation for MultiKrum {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        Ok(Traits::geometry(StatisticsWanted::PRODUCTS).with_updates_min(parameters.updates_min()?))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        let malicious = parameters.num_malicious_clients as usize;
        let products = Products::of(&question)?;
        let count = products.count();
        geometry::require_updates(count, parameters.updates_min()?)?;
        let keep = match parameters.num_clients_to_keep as usize {
            0 => count - malicious,
            keep => keep,
        };
        let members: Vec<usize> = (0..count).collect();
        let scores = geometry::krum_scores(products, &members, malicious);
        let mut ranked = members.clone();
        ranked.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let mut weights = vec![0.0; count];
        for &member in &ranked[..keep] {
            weights[member] = (1.0 / keep as f64) as f32;
        }
        let fate = |member: usize| if weights[member] > 0.0 { "kept" } else { "left out" };
        let notes =
            members.iter().map(|&member| format!("score {}, {}", figure(scores[member]), fate(member))).collect();
        let reason = format!(
            "the mean of the {keep} of {count} updates with the lowest scores, up to {}",
            figure(scores[ranked[keep - 1]])
        );
        Ok(Plan::new(weights, reason).with_notes(notes))
    }
}

export_aggregation!(MultiKrum);
