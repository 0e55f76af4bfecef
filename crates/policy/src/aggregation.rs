//! The aggregation world: the core's question in the guest's types, and the guest's answers checked and back. Chunks of tensors go
//! another way, through `chunks`.

use polder_core::policy::{
    AggregationPlan, AggregationQuestion, AggregationShape, AggregationTraits, Correction, EXTRA_WEIGHTS_MAX,
    MEMO_BYTES_MAX, STATE_BYTES_MAX, STATE_TENSORS_MAX, STRENGTH_MAX, StatisticsWanted, TrainingNeeds, UpdateSummary,
    tidy_reason,
};

use crate::ask::reason;
use crate::bindings::aggregation::exports::polder::policy::aggregator;
use crate::{ImpossibleTraits, Nonsense, PolicyError};

/// The question as the guest reads it, with the statistics it wanted and no others.
///
/// # Errors
/// [`PolicyError::Question`] if there are fewer updates than the policy can work with, or what it wanted is not there.
pub(crate) fn to_guest(
    question: &AggregationQuestion,
    traits: &AggregationTraits,
) -> Result<aggregator::Question, PolicyError> {
    let (updates, least) = (question.updates.len(), traits.updates_min);
    if updates < least as usize {
        let reason = format!("the policy works with {least} updates or more, and there are {updates}");
        return Err(PolicyError::Question { reason });
    }
    let tensors = question.tensors.iter();
    Ok(aggregator::Question {
        round: question.round,
        seed: question.seed,
        model_parameters: question.parameters,
        tensors: tensors
            .map(|tensor| aggregator::Tensor { name: tensor.name.clone(), shape: tensor.shape.clone() })
            .collect(),
        population: question.population,
        updates: question.updates.iter().map(update_to_guest).collect(),
        statistics: statistics_to_guest(question, traits.statistics)?,
        state: question.state.clone(),
    })
}

fn update_to_guest(update: &UpdateSummary) -> aggregator::Update {
    // the contract promises finite numbers; a trainer that diverged reports others
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    aggregator::Update {
        examples: update.examples,
        loss: finite(update.loss),
        base_loss: finite(update.base_loss),
        staleness: update.staleness,
        steps: update.steps,
        normalizer: finite(update.normalizer),
        learning_rate: finite(update.learning_rate),
    }
}

fn statistics_to_guest(
    question: &AggregationQuestion,
    wanted: StatisticsWanted,
) -> Result<aggregator::Statistics, PolicyError> {
    let (given, updates) = (&question.statistics, question.updates.len());
    Ok(aggregator::Statistics {
        norms: statistic(wanted.norms, &given.norms, updates, "norms")?,
        products: statistic(wanted.products, &given.products, updates * updates, "inner products")?,
    })
}

fn statistic(is_wanted: bool, values: &[f64], count: usize, what: &str) -> Result<Vec<f64>, PolicyError> {
    if !is_wanted {
        return Ok(Vec::new());
    }
    let found = values.len();
    if found != count {
        return Err(PolicyError::Question { reason: format!("it holds {found} {what} where {count} are wanted") });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => {
            Err(PolicyError::Question { reason: format!("number {index} of the {what} is {}", values[index]) })
        }
        None => Ok(values.into()),
    }
}

/// What the policy says of itself, in the core's types.
///
/// # Errors
/// [`ImpossibleTraits`] if that contradicts the contract or itself.
pub(crate) fn traits_from_guest(traits: &aggregator::Traits) -> Result<AggregationTraits, ImpossibleTraits> {
    let shape = match traits.shape {
        aggregator::Shape::Sums => AggregationShape::Sums,
        aggregator::Shape::Columns => AggregationShape::Columns,
        aggregator::Shape::Geometry => AggregationShape::Geometry,
    };
    let statistics = StatisticsWanted {
        norms: traits.statistics.contains(aggregator::StatisticsWanted::NORMS),
        products: traits.statistics.contains(aggregator::StatisticsWanted::PRODUCTS),
    };
    if shape == AggregationShape::Sums && statistics != StatisticsWanted::default() {
        return Err(ImpossibleTraits::StatisticsForSums);
    }
    if traits.updates_min == 0 {
        return Err(ImpossibleTraits::NoUpdates);
    }
    if traits.state_tensors > STATE_TENSORS_MAX {
        return Err(ImpossibleTraits::StateTensors { count: traits.state_tensors });
    }
    if traits.state_tensors > 0 && !traits.has_step {
        return Err(ImpossibleTraits::StateWithoutStep);
    }
    Ok(AggregationTraits {
        shape,
        statistics,
        updates_min: traits.updates_min,
        has_step: traits.has_step,
        state_tensors: traits.state_tensors,
        training: training_from_guest(&traits.training, traits.state_tensors)?,
    })
}

fn training_from_guest(training: &aggregator::Training, count: u32) -> Result<TrainingNeeds, ImpossibleTraits> {
    if let Some(value) = training.proximal_mu.filter(|mu| !(0.0..=STRENGTH_MAX).contains(mu)) {
        return Err(ImpossibleTraits::ProximalMu { value });
    }
    let correction = match training.correction {
        None => None,
        Some(aggregator::Correction::ControlVariates(index)) if index >= count => {
            return Err(ImpossibleTraits::ControlVariates { index, count });
        }
        Some(aggregator::Correction::ControlVariates(state_tensor)) => {
            Some(Correction::ControlVariates { state_tensor })
        }
        Some(aggregator::Correction::DynamicRegularizer(value)) if !(value > 0.0 && value <= STRENGTH_MAX) => {
            return Err(ImpossibleTraits::Alpha { value });
        }
        Some(aggregator::Correction::DynamicRegularizer(alpha)) => Some(Correction::DynamicRegularizer { alpha }),
    };
    Ok(TrainingNeeds { proximal_mu: training.proximal_mu, correction, base_loss: training.base_loss })
}

/// The plan in the core's types.
///
/// # Errors
/// [`Nonsense`] unless there is one weight an update, each finite and not negative, and one above 0; and everything else is within
/// its bounds.
pub(crate) fn plan_from_guest(
    question: &AggregationQuestion,
    traits: &AggregationTraits,
    plan: aggregator::Plan,
) -> Result<AggregationPlan, Nonsense> {
    let updates = question.updates.len();
    let weights = weights(plan.weights, updates)?;
    if !plan.extra_weights.is_empty() && !traits.has_step {
        return Err(Nonsense::ExtraSumsWithoutStep);
    }
    extra_weights(&plan.extra_weights, updates)?;
    if plan.memo.len() > MEMO_BYTES_MAX {
        return Err(Nonsense::Memo { bytes: plan.memo.len() });
    }
    if plan.state.len() > STATE_BYTES_MAX {
        return Err(Nonsense::State { bytes: plan.state.len() });
    }
    let found = plan.notes.len();
    if found != 0 && found != updates {
        return Err(Nonsense::NoteCount { found, updates });
    }
    Ok(AggregationPlan {
        weights,
        extra_weights: plan.extra_weights,
        memo: plan.memo,
        state: plan.state,
        notes: plan.notes.iter().map(|note| tidy_reason(note)).collect(),
        reason: reason(&plan.reason),
    })
}

fn weights(mut weights: Vec<f32>, updates: usize) -> Result<Vec<f32>, Nonsense> {
    let found = weights.len();
    if found != updates {
        return Err(Nonsense::WeightCount { found, updates });
    }
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
    Ok(weights)
}

fn extra_weights(lists: &[Vec<f32>], updates: usize) -> Result<(), Nonsense> {
    if lists.len() > EXTRA_WEIGHTS_MAX {
        return Err(Nonsense::ExtraSums { count: lists.len() });
    }
    for (list, weights) in lists.iter().enumerate() {
        if weights.len() != updates {
            return Err(Nonsense::ExtraWeightCount { list, found: weights.len(), updates });
        }
        if let Some(index) = weights.iter().position(|weight| !weight.is_finite()) {
            return Err(Nonsense::ExtraWeight { list, index, weight: weights[index] });
        }
    }
    Ok(())
}
