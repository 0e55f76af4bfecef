//! Federated median: the middle of all updates, parameter by parameter.
//!
//! D. Yin, Y. Chen, K. Ramchandran, P. Bartlett: *Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates*, ICML
//! 2018, definition 1 and Algorithm 1, option I. Of an even number of updates it is the mean of the two in the middle. All count the
//! same, whatever examples they claim.

use polder_policy_sdk::aggregation::{Aggregation, Chunk, Plan, Question, Traits};
use polder_policy_sdk::{Error, columns, export_aggregation, weights};
use serde::Deserialize;

/// The policy; see the crate.
pub struct FedMedian;

/// What a run may set: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {}

impl Aggregation for FedMedian {
    type Parameters = Parameters;

    fn describe(_: Parameters) -> Result<Traits, Error> {
        Ok(Traits::columns())
    }

    fn weigh(question: Question, _: Parameters) -> Result<Plan, Error> {
        let mut plan = weights::mean(&question.updates, false)?;
        plan.reason = format!("the median of {} updates", question.updates.len());
        Ok(plan)
    }

    fn combine(_: Chunk, rows: Vec<Vec<f32>>, _: Vec<f32>, _: Parameters) -> Result<Vec<f32>, Error> {
        columns::median(&rows)
    }
}

export_aggregation!(FedMedian);
