//! What is to be computed.

use std::sync::Arc;

use polder_core::policy::{AggregationPlan, AggregationShape, AggregationTraits};
use polder_core::round::StateTensor;
use polder_core::{Digest, RoundNumber};
use polder_policy::{ChunkJob, Chunks, Policy, PolicyHost, RoundBudget};
use polder_tensor::Layout;

use super::source::{Source, make_room_for_files};
use super::{AggregationError, GROUP};
use crate::spool::SpooledUpdate;
use crate::store::{Blobs, StoreError};

/// One round's aggregation, after `weigh`.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Where the model and the state tensors are, and where the new ones go.
    pub blobs: &'a Blobs,
    /// The current model.
    pub base: Digest,
    /// Its shape, and that of every other file.
    pub layout: &'a Arc<Layout>,
    /// In the order in which they are summed.
    pub updates: &'a [SpooledUpdate],
    /// What the policy is under its parameters.
    pub traits: &'a AggregationTraits,
    /// The policy's answer to `weigh`.
    pub plan: &'a AggregationPlan,
    /// The policy's state tensors from its last round; none before its first, when they are all zero.
    pub kept: &'a [StateTensor],
    pub policy: PolicyCall<'a>,
}

/// Who is asked about chunks, and as what.
#[derive(Clone, Copy, Debug)]
pub struct PolicyCall<'a> {
    pub host: &'a PolicyHost,
    pub policy: &'a Policy,
    /// The run's JSON object for the policy, as text.
    pub parameters: &'a str,
    pub round: RoundNumber,
    pub seed: u64,
}

/// A job whose numbers fit each other, with its files open.
pub(super) struct Checked<'a> {
    pub(super) blobs: &'a Blobs,
    pub(super) layout: &'a Arc<Layout>,
    /// The updates that count, in order, with their weights.
    pub(super) updates: Vec<Source>,
    pub(super) weights: Vec<f32>,
    /// The weighted sums beside the aggregate; one weight for each of `updates`.
    pub(super) extra: Vec<Vec<f32>>,
    /// The model, then the state tensors.
    pub(super) carried: Vec<Carried>,
    pub(super) is_columns: bool,
    pub(super) has_step: bool,
    call: PolicyCall<'a>,
    chunks: ChunkJob,
    budget: RoundBudget,
}

/// A file that becomes another one.
pub(super) struct Carried {
    pub(super) what: &'static str,
    /// None while it is all zero.
    pub(super) from: Option<(Source, Digest)>,
}

impl<'a> Checked<'a> {
    pub(super) fn new(job: &Job<'a>) -> Result<Self, AggregationError> {
        check_weights(job)?;
        // A weight of 0 leaves an update out, unless one of the other sums wants it.
        let counts =
            |at: usize| job.plan.weights[at] != 0.0 || job.plan.extra_weights.iter().any(|weights| weights[at] != 0.0);
        let counted: Vec<usize> = (0..job.updates.len()).filter(|at| counts(*at)).collect();
        let of_counted = |weights: &[f32]| counted.iter().map(|at| weights[*at]).collect::<Vec<_>>();
        make_room_for_files(counted.len());
        let open = |at: &usize| Source::open(&job.updates[*at].path, job.layout);
        let PolicyCall { host, parameters, round, seed, .. } = job.policy;
        Ok(Self {
            blobs: job.blobs,
            layout: job.layout,
            updates: counted.iter().map(open).collect::<Result<_, _>>()?,
            weights: of_counted(&job.plan.weights),
            extra: job.plan.extra_weights.iter().map(|weights| of_counted(weights)).collect(),
            carried: carried(job)?,
            is_columns: job.traits.shape == AggregationShape::Columns,
            has_step: job.traits.has_step,
            call: job.policy,
            chunks: ChunkJob { round, seed, memo: job.plan.memo.clone(), parameters: parameters.to_owned() },
            budget: host.round_budget(),
        })
    }

    /// Whether there is anything to ask the policy about chunks.
    pub(super) fn calls_policy(&self) -> bool {
        self.is_columns || self.has_step
    }

    /// How many updates are in memory at once.
    pub(super) fn rows(&self) -> usize {
        if self.is_columns { self.updates.len() } else { self.updates.len().min(GROUP) }
    }

    /// A fresh instance, which shares the round's time with the others.
    pub(super) fn instance(&self) -> Result<Chunks<'_>, AggregationError> {
        let PolicyCall { host, policy, .. } = self.call;
        host.chunks_within(policy, &self.chunks, &self.budget).map_err(AggregationError::Start)
    }
}

fn check_weights(job: &Job<'_>) -> Result<(), AggregationError> {
    let (updates, plan) = (job.updates, job.plan);
    for weights in std::iter::once(&plan.weights).chain(&plan.extra_weights) {
        if weights.len() != updates.len() {
            return Err(AggregationError::WeightCount { updates: updates.len(), weights: weights.len() });
        }
    }
    let is_good = |weight: f32| weight.is_finite() && weight >= 0.0;
    if let Some((update, weight)) = updates.iter().zip(&plan.weights).find(|(_, weight)| !is_good(**weight)) {
        return Err(AggregationError::Weight { assignment: update.assignment.clone(), weight: *weight });
    }
    let mut extra = plan.extra_weights.iter().flat_map(|weights| updates.iter().zip(weights));
    if let Some((update, weight)) = extra.find(|(_, weight)| !weight.is_finite()) {
        return Err(AggregationError::ExtraWeight { assignment: update.assignment.clone(), weight: *weight });
    }
    if plan.weights.iter().all(|weight| *weight == 0.0) { Err(AggregationError::NothingWeighed) } else { Ok(()) }
}

fn carried(job: &Job<'_>) -> Result<Vec<Carried>, AggregationError> {
    let (expected, found) = (job.traits.state_tensors, job.kept.len());
    if found != 0 && found != expected as usize {
        return Err(AggregationError::StateCount { expected, found });
    }
    let open = |what: &'static str, digest: Digest| {
        let path = job.blobs.local(&digest).map_err(|error| match error {
            StoreError::BlobCorrupt { digest, found, .. } => AggregationError::Corrupt { what, digest, found },
            error => error.into(),
        })?;
        Ok::<_, AggregationError>(Carried { what, from: Some((Source::open(&path, job.layout)?, digest)) })
    };
    let mut carried = vec![open("model", job.base)?];
    for at in 0..expected as usize {
        let what = "state tensor";
        carried.push(job.kept.get(at).map_or(Ok(Carried { what, from: None }), |kept| open(what, kept.digest))?);
    }
    Ok(carried)
}
