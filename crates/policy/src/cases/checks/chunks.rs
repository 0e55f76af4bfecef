//! Whether `combine` and `step` are functions of their arguments.

use polder_core::policy::{AggregationShape, AggregationTraits};

use super::{Found, Trial};
use crate::cases::generated::{Figures, Numbers, aggregation};
use crate::{ChunkJob, Chunks, Span};

/// Lengths around the block sizes that kernels have, and one of the pipeline's.
const LENGTHS: [usize; 6] = [1, 63, 64, 65, 1000, 16_384];

/// A chunk's outcome: the aggregate, or the model and the state after it.
type Outcome = Vec<Vec<f32>>;

/// What a chunk goes through.
type Walk<'w> = &'w dyn Fn(&mut Chunks<'_>, Span, std::ops::Range<usize>) -> Result<Outcome, String>;

pub(super) fn check(trial: &mut Trial<'_>) {
    let traits = trial.traits();
    if traits.shape == AggregationShape::Columns {
        trial.check("combine is a function of its arguments", |trial| combine(trial, &traits));
    }
    if traits.has_step {
        trial.check("step is a function of its arguments", |trial| step(trial, &traits));
    }
}

fn combine(trial: &mut Trial<'_>, traits: &AggregationTraits) -> Found {
    let count = (traits.updates_min as usize).max(5);
    let mut numbers = Numbers(3);
    let rows: Vec<Vec<f32>> = (0..count).map(|_| numbers.floats(LENGTHS[LENGTHS.len() - 1])).collect();
    let job = job(trial, traits)?;
    let weights = vec![1.0 / count as f32; count];
    walk(trial, &job, &|chunks, span, range| {
        let rows: Vec<&[f32]> = rows.iter().map(|row| &row[range.clone()]).collect();
        let mut aggregate = vec![f32::NAN; range.len()];
        chunks.combine(span, &rows, &weights, &mut aggregate).map_err(|error| error.to_string())?;
        Ok(vec![aggregate])
    })
}

fn step(trial: &mut Trial<'_>, traits: &AggregationTraits) -> Found {
    let mut numbers = Numbers(5);
    let mut tensor = || numbers.floats(LENGTHS[LENGTHS.len() - 1]);
    let (model, aggregate) = (tensor(), tensor());
    let job = job(trial, traits)?;
    let size = (traits.updates_min as usize).max(5);
    let question = aggregation(size, Figures::Usual, traits);
    let plan = trial.host.weigh(trial.policy, trial.parameters, &question).map_err(|error| error.to_string())?;
    let extra: Vec<Vec<f32>> = plan.extra_weights.iter().map(|_| tensor()).collect();
    walk(trial, &job, &|chunks, span, range| {
        let extra: Vec<&[f32]> = extra.iter().map(|extra| &extra[range.clone()]).collect();
        let mut outcome = vec![model[range.clone()].to_vec()];
        // state is zero at first
        outcome.resize(1 + traits.state_tensors as usize, vec![0.0; range.len()]);
        let mut places = outcome.iter_mut().map(Vec::as_mut_slice);
        let model = places.next().unwrap_or_default();
        let mut state: Vec<&mut [f32]> = places.collect();
        chunks.step(span, model, &aggregate[range], &extra, &mut state).map_err(|error| error.to_string())?;
        Ok(outcome)
    })
}

/// A round whose memo is that of a real plan.
fn job(trial: &mut Trial<'_>, traits: &AggregationTraits) -> Result<ChunkJob, String> {
    let size = (traits.updates_min as usize).max(5);
    let question = aggregation(size, Figures::Usual, traits);
    let plan = trial.host.weigh(trial.policy, trial.parameters, &question).map_err(|error| error.to_string())?;
    Ok(ChunkJob { round: 1, seed: question.seed, memo: plan.memo, parameters: trial.parameters.into() })
}

/// Walks every length twice on one instance and once on a fresh one: all must agree. Then tries whether halves agree with the whole, which
/// no contract asks.
fn walk(trial: &mut Trial<'_>, job: &ChunkJob, run: Walk<'_>) -> Found {
    let (host, policy) = (trial.host, trial.policy);
    let fresh = || host.chunks(policy, job).map_err(|error| error.to_string());
    let place = |offset: usize| Span { tensor: 0, offset: offset as u64 };
    let mut used = fresh()?;
    let mut is_elementwise = true;
    for length in LENGTHS {
        let first = run(&mut used, place(0), 0..length)?;
        let mut other = fresh()?;
        if bits(&run(&mut other, place(0), 0..length)?) != bits(&first) {
            return Err(format!("on a fresh instance, a chunk of {length} values comes out differently"));
        }
        if bits(&run(&mut used, place(0), 0..length)?) != bits(&first) {
            return Err(format!("asked again, the same instance makes something else of a chunk of {length} values"));
        }
        if first.iter().flatten().any(|value| !value.is_finite()) {
            return Err(format!("of finite values it makes others, in a chunk of {length}"));
        }
        trial.uses(other.usage());
        let half = length / 2;
        if half == 0 {
            continue;
        }
        let (mut left, right) = (run(&mut other, place(0), 0..half)?, run(&mut other, place(half), half..length)?);
        left.iter_mut().zip(right).for_each(|(left, right)| left.extend(right));
        is_elementwise &= bits(&left) == bits(&first);
    }
    Ok(if is_elementwise {
        "the same on fresh and used instances, and in halves".into()
    } else {
        "the same on fresh and used instances; halves of a chunk differ from the whole, so results depend on the host's chunks".into()
    })
}

fn bits(outcome: &Outcome) -> Vec<Vec<u32>> {
    outcome.iter().map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
}
