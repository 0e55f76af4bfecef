//! {{name}}: an aggregation policy. The mean of the updates, weighted by their training examples.

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, Traits};
use polder_policy_sdk::{Error, export_aggregation};
use serde::Deserialize;

pub struct Policy;

/// What a run may set. A field here is a parameter of the policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Aggregation for Policy {
    type Parameters = Parameters;

    /// Called when a run is submitted: what the policy must see. Refuse parameters that are out of range here.
    fn describe(_: Parameters) -> Result<Traits, Error> {
        Ok(Traits::sums())
    }

    /// Called once a round: how much each update counts.
    fn weigh(question: Question, _: Parameters) -> Result<Plan, Error> {
        let total: f64 = question.updates.iter().map(|update| update.examples as f64).sum();
        if total == 0.0 {
            return Err(Error::Question("no update reports a training example".into()));
        }
        let weights = question.updates.iter().map(|update| (update.examples as f64 / total) as f32).collect();
        let count = question.updates.len();
        Ok(Plan::new(weights, format!("the mean of {count} updates, weighted by their {total} training examples")))
    }
}

export_aggregation!(Policy);

#[cfg(test)]
mod tests {
    use polder_policy_sdk::aggregation::Update;

    use super::*;

    fn weigh(examples: &[u64]) -> Result<Plan, Error> {
        let updates = examples.iter().map(|&examples| Update::new(examples)).collect();
        Policy::weigh(Question::new(updates), Parameters {})
    }

    #[test]
    fn weights_are_shares_of_the_examples() {
        assert_eq!(weigh(&[100, 300]).unwrap().weights, [0.25, 0.75]);
    }

    #[test]
    fn nothing_to_weigh_is_said() {
        assert!(matches!(weigh(&[0, 0]), Err(Error::Question(_))));
    }
}
