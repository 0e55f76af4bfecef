//! Federated averaging: the new model is the mean of the workers' models, weighted by their training examples.
//!
//! H. B. McMahan, E. Moore, D. Ramage, S. Hampson, B. Agüera y Arcas: *Communication-Efficient Learning of Deep Networks from
//! Decentralized Data*, AISTATS 2017, Algorithm 1: `w_{t+1} = Σ_k (n_k / n) w_{t+1}^k` with `n = Σ_k n_k`. Updates here are
//! differences from `w_t`, and the shares sum to 1, so `w_t + Σ_k (n_k / n) (w_{t+1}^k - w_t)` is the same model.

use polder_policy_sdk::aggregation::{Aggregation, Plan, Question, Traits};
use polder_policy_sdk::{Error, export_aggregation, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct FedAvg;

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

impl Aggregation for FedAvg {
    type Parameters = Parameters;

    fn describe(_: Parameters) -> Result<Traits, Error> {
        Ok(Traits::sums())
    }

    fn weigh(question: Question, parameters: Parameters) -> Result<Plan, Error> {
        weights::mean(&question.updates, parameters.weighted)
    }
}

export_aggregation!(FedAvg);

#[cfg(test)]
mod tests {
    use super::*;
    use polder_policy_sdk::aggregation::Update;

    fn weigh(examples: &[u64], weighted: bool) -> Result<Vec<f32>, Error> {
        let updates = examples.iter().map(|&examples| Update::new(examples)).collect();
        FedAvg::weigh(Question::new(updates), Parameters { weighted }).map(|plan| plan.weights)
    }

    #[test]
    fn weights_are_shares_of_the_examples() {
        assert_eq!(weigh(&[100, 300], true), Ok(vec![0.25, 0.75]));
        assert_eq!(weigh(&[0, 300], true), Ok(vec![0.0, 1.0]));
        assert_eq!(weigh(&[u64::MAX, u64::MAX], true), Ok(vec![0.5, 0.5]));
    }

    #[test]
    fn unweighted_counts_all_the_same() {
        assert_eq!(weigh(&[0, 1, 2, 3], false), Ok(vec![0.25; 4]));
    }

    #[test]
    fn nothing_to_weigh_is_said() {
        assert!(matches!(weigh(&[0, 0], true), Err(Error::Question(_))));
        assert!(matches!(weigh(&[], true), Err(Error::Question(_))));
        assert!(matches!(weigh(&[], false), Err(Error::Question(_))));
    }
}
