//! Bulyan: Krum chooses updates one by one, and of the chosen the values nearest to the median are averaged, parameter by parameter.
//!
//! E. M. El Mhamdi, R. Guerraoui, S. Rouault: *The Hidden Vulnerability of Distributed Learning in Byzantium*, ICML 2018, section 4, over
//! Krum: of n updates with up to f malicious, Krum is run n - 2 f times on those that are left, each time taking one away; then
//! every parameter is the mean of the n - 4 f values nearest to the median of the chosen; of two equally near ones the smaller is
//! nearer. It takes n of at least 4 f + 3. Krum on the last few looks at the nearest one at least, as in Flower.

use polder_policy_sdk::aggregation::{Aggregation, Chunk, Plan, Question, StatisticsWanted, Traits};
use polder_policy_sdk::geometry::{self, Products};
use polder_policy_sdk::{Error, columns, export_aggregation, figure};
use serde::Deserialize;

/// The policy; see the crate.
pub struct Bulyan;

/// What a run may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Parameters {
    /// The paper's f: how many updates may be malicious; `0`.
    num_malicious_clients: u32,
}

impl Parameters {
    fn updates_min(&self) -> Result<u32, Error> {
        let malicious = self.num_malicious_clients;
        let updates = malicious.checked_mul(4).and_then(|updates| updates.checked_add(3));
        updates.ok_or_else(|| {
            Error::Parameters(format!("num_malicious_clients is {malicious}; that many are never there"))
        })
    }
}

impl Aggregation for Bulyan {
    type Parameters = Parameters;

    fn describe(parameters: Parameters) -> Result<Traits, Error> {
        let updates_min = parameters.updates_min()?;
        Ok(Traits::columns().with_statistics(StatisticsWanted::PRODUCTS).with_updates_min(updates_min))
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        let malicious = parameters.num_malicious_clients as usize;
        let products = Products::of(&question)?;
        let count = products.count();
        geometry::require_updates(count, parameters.updates_min()?)?;
        let chosen = count - 2 * malicious;
        let mut left: Vec<usize> = (0..count).collect();
        let (mut weights, mut notes) = (vec![0.0; count], vec![String::from("left out"); count]);
        for turn in 1..=chosen {
            let scores = geometry::krum_scores(products, &left, malicious);
            let Some(best) = geometry::smallest(&scores) else { break };
            let member = left.remove(best);
            weights[member] = (1.0 / chosen as f64) as f32;
            notes[member] = format!("choice {turn}, score {}", figure(scores[best]));
        }
        let kept = chosen - 2 * malicious;
        let reason =
            format!("of {chosen} updates that Krum chose of {count}, the mean of the {kept} values around the median");
        Ok(Plan::new(weights, reason).with_notes(notes))
    }

    fn combine(_: Chunk, rows: Vec<Vec<f32>>, _: Vec<f32>, parameters: Parameters) -> Result<Vec<f32>, Error> {
        let kept = rows.len().saturating_sub(2 * parameters.num_malicious_clients as usize);
        columns::mean_around_median(&rows, kept)
    }
}

export_aggregation!(Bulyan);
