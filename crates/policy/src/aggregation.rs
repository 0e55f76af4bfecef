//! The aggregation world: the core's question in the guest's types, and the guest's answer checked and back.

use polder_core::policy::{AggregationPlan, AggregationQuestion, AggregationShape};

use crate::Nonsense;
use crate::ask::reason;
use crate::bindings::aggregation::exports::polder::policy::aggregator;

/// The question as the guest reads it.
pub(crate) fn to_guest(question: &AggregationQuestion) -> aggregator::Question {
    let updates = question.updates.iter().map(|update| aggregator::Update {
        examples: update.examples,
        // the contract promises finite numbers; a trainer that diverged reports others
        loss: update.loss.filter(|loss| loss.is_finite()),
        staleness: update.staleness,
    });
    aggregator::Question {
        round: question.round,
        seed: question.seed,
        model_parameters: question.parameters,
        updates: updates.collect(),
    }
}

pub(crate) fn shape_from_guest(traits: &aggregator::Traits) -> AggregationShape {
    match traits.shape {
        aggregator::Shape::Sums => AggregationShape::Sums,
    }
}

/// The plan in the core's types.
///
/// # Errors
/// [`Nonsense`] unless there is one weight an update, each finite and not negative, and one above 0.
pub(crate) fn from_guest(question: &AggregationQuestion, plan: aggregator::Plan) -> Result<AggregationPlan, Nonsense> {
    let (found, updates) = (plan.weights.len(), question.updates.len());
    if found != updates {
        return Err(Nonsense::WeightCount { found, updates });
    }
    let mut weights = plan.weights;
    for (index, weight) in weights.iter_mut().enumerate() {
        if !weight.is_finite() || *weight < 0.0 {
            return Err(Nonsense::Weight { index, weight: *weight });
        }
        // -0 is not negative; as 0 it has one spelling in the journal
        *weight += 0.0;
    }
    if weights.iter().all(|weight| *weight == 0.0) {
        return Err(Nonsense::AllZero { count: found });
    }
    Ok(AggregationPlan { weights, reason: reason(&plan.reason) })
}
