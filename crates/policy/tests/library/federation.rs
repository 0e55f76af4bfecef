//! Whole rounds of a policy, as the coordinator runs them: describe, statistics, weigh, combine or sum, step.

use std::sync::LazyLock;

use polder_core::policy::{
    AggregationPlan, AggregationQuestion, AggregationShape, AggregationTraits, Statistics, TensorShape, UpdateSummary,
};
use polder_policy::{ChunkJob, Limits, Policy, PolicyError, PolicyHost, Span, builtins};

use crate::vector::{dot, norm, wide};

pub(crate) static HOST: LazyLock<PolicyHost> = LazyLock::new(|| PolicyHost::new(Limits::default(), None).unwrap());

/// The component of that name that ships.
pub(crate) fn policy(name: &str) -> Policy {
    let builtin = builtins().iter().find(|builtin| builtin.name == name);
    HOST.load(builtin.unwrap_or_else(|| panic!("no policy {name} ships")).bytes).unwrap()
}

/// What the policy says of itself under these parameters.
pub(crate) fn describe(name: &str, parameters: &str) -> Result<AggregationTraits, PolicyError> {
    HOST.describe(&policy(name), parameters)
}

/// One update: what it says of itself, and its values.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) summary: UpdateSummary,
    pub(crate) values: Vec<f32>,
}

/// Longest chunk: no multiple of anything that a kernel likes.
const CHUNK: usize = 53;

/// One run under one policy.
pub(crate) struct Federation {
    policy: Policy,
    parameters: String,
    pub(crate) traits: AggregationTraits,
    pub(crate) model: Vec<f32>,
    pub(crate) state: Vec<Vec<f32>>,
    /// Workers that have the data.
    pub(crate) population: u32,
    /// What the last plan wants back.
    kept: Vec<u8>,
    round: u32,
}

impl Federation {
    pub(crate) fn new(name: &str, parameters: &str, model: Vec<f32>) -> Self {
        let policy = policy(name);
        let traits = HOST.describe(&policy, parameters).unwrap();
        let state = vec![vec![0.0; model.len()]; traits.state_tensors as usize];
        Self { policy, parameters: parameters.into(), traits, model, state, population: 0, kept: Vec::new(), round: 0 }
    }

    /// One round: the plan, and the aggregate that went into the model.
    pub(crate) fn round(&mut self, updates: &[Sent]) -> Result<(AggregationPlan, Vec<f32>), PolicyError> {
        self.round += 1;
        let question = self.question(updates);
        let plan = HOST.weigh(&self.policy, &self.parameters, &question)?;
        let job = ChunkJob {
            round: self.round,
            seed: question.seed,
            memo: plan.memo.clone(),
            parameters: self.parameters.clone(),
        };
        let aggregate = match self.traits.shape {
            AggregationShape::Columns => self.combine(&job, &plan, updates)?,
            _ => sum(&plan.weights, updates),
        };
        let extra: Vec<Vec<f32>> = plan.extra_weights.iter().map(|weights| sum(weights, updates)).collect();
        if self.traits.has_step {
            self.step(&job, &aggregate, &extra)?;
        } else {
            self.model.iter_mut().zip(&aggregate).for_each(|(model, value)| *model += value);
        }
        self.kept.clone_from(&plan.state);
        Ok((plan, aggregate))
    }

    fn question(&self, updates: &[Sent]) -> AggregationQuestion {
        let vectors: Vec<_> = updates.iter().map(|update| wide(&update.values)).collect();
        let pairs = vectors.iter().flat_map(|left| vectors.iter().map(move |right| dot(left, right)));
        AggregationQuestion {
            round: self.round,
            seed: 7,
            parameters: self.model.len() as u64,
            tensors: self
                .tensors()
                .into_iter()
                .map(|length| TensorShape { name: format!("of {length}"), shape: vec![length as u64] })
                .collect(),
            population: self.population.max(updates.len() as u32),
            updates: updates.iter().map(|update| update.summary.clone()).collect(),
            statistics: Statistics { norms: vectors.iter().map(norm).collect(), products: pairs.collect() },
            state: self.kept.clone(),
        }
    }

    /// A third of the model and the rest.
    fn tensors(&self) -> Vec<usize> {
        let first = self.model.len() / 3;
        [first, self.model.len() - first].into_iter().filter(|&length| length > 0).collect()
    }

    /// Every chunk as (where in the model, span).
    fn chunks(&self) -> Vec<(std::ops::Range<usize>, Span)> {
        let mut chunks = Vec::new();
        let mut start = 0;
        for (tensor, length) in self.tensors().into_iter().enumerate() {
            for offset in (0..length).step_by(CHUNK) {
                let at = start + offset..start + (offset + CHUNK).min(length);
                chunks.push((at, Span { tensor: tensor as u32, offset: offset as u64 }));
            }
            start += length;
        }
        chunks
    }

    fn combine(&self, job: &ChunkJob, plan: &AggregationPlan, updates: &[Sent]) -> Result<Vec<f32>, PolicyError> {
        let counted = updates.iter().zip(&plan.weights).filter(|(_, weight)| **weight > 0.0);
        let (counted, weights): (Vec<_>, Vec<f32>) = counted.unzip();
        let mut aggregate = vec![0.0; self.model.len()];
        let mut guest = HOST.chunks(&self.policy, job)?;
        for (at, span) in self.chunks() {
            let rows: Vec<&[f32]> = counted.iter().map(|update| &update.values[at.clone()]).collect();
            guest.combine(span, &rows, &weights, &mut aggregate[at])?;
        }
        Ok(aggregate)
    }

    fn step(&mut self, job: &ChunkJob, aggregate: &[f32], extra: &[Vec<f32>]) -> Result<(), PolicyError> {
        let chunks = self.chunks();
        let mut guest = HOST.chunks(&self.policy, job)?;
        for (at, span) in chunks {
            let extra: Vec<&[f32]> = extra.iter().map(|list| &list[at.clone()]).collect();
            let mut state: Vec<&mut [f32]> = self.state.iter_mut().map(|tensor| &mut tensor[at.clone()]).collect();
            guest.step(span, &mut self.model[at.clone()], &aggregate[at], &extra, &mut state)?;
        }
        Ok(())
    }
}

/// What the host's own kernel computes, in float64.
fn sum(weights: &[f32], updates: &[Sent]) -> Vec<f32> {
    let mut sum = vec![0.0; updates[0].values.len()];
    for (weight, update) in weights.iter().zip(updates) {
        for (sum, value) in sum.iter_mut().zip(&update.values) {
            *sum += f64::from(*weight) * f64::from(*value);
        }
    }
    sum.into_iter().map(|sum| sum as f32).collect()
}
