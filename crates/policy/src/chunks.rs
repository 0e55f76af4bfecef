//! Chunks of a model through an aggregation policy: `combine` and `step`.
//!
//! A chunk crosses the border of the sandbox with one copy each way (`floats`). An instance walks as many chunks as its owner likes; the
//! owner decides which, and so keeps a guest that remembers things deterministic.

use std::cell::Cell;

use polder_core::policy::PolicyKind;
use wasmtime::component::{ComponentType, Func, Lift, Lower};

use crate::ask::{Budget, Question, refused};
use crate::bindings::placement::polder::policy::types::Error as Answered;
use crate::floats::{Landed, Lent, land};
use crate::policy::Exports;
use crate::questions::{Fresh, expect, lost};
use crate::{Nonsense, Policy, PolicyError, PolicyHost, RoundBudget, Usage};

/// What the chunks of one round have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkJob {
    /// The round's number in its run, from 1.
    pub round: u32,
    pub seed: u64,
    /// The plan's.
    pub memo: Vec<u8>,
    /// The run's JSON object for the policy, as text.
    pub parameters: String,
}

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Index of its tensor among the question's.
    pub tensor: u32,
    /// Its first value within the tensor.
    pub offset: u64,
}

/// One fresh instance of an aggregation policy, which walks chunks. After an error it is of no more use.
pub struct Chunks<'a> {
    question: Question<'a>,
    combine: Func,
    step: Func,
    job: &'a ChunkJob,
    budget: RoundBudget,
}

/// The contract's `chunk`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Chunk<'a> {
    round: u32,
    seed: u64,
    tensor: u32,
    offset: u64,
    memo: &'a [u8],
}

/// The contract's `stepped`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Stepped {
    model: Landed,
    state: Vec<Landed>,
}

type Combine<'a> = (Chunk<'a>, &'a [&'a [f32]], &'a [f32], &'a str);
type Step<'a> = (Chunk<'a>, Lent<'a>, &'a [f32], &'a [&'a [f32]], &'a [Lent<'a>], &'a str);

impl PolicyHost {
    /// A fresh instance for chunks of a round, with a time budget of its own.
    ///
    /// # Errors
    /// Those of a guest that fails while it starts; [`PolicyError::WrongKind`].
    pub fn chunks<'a>(&'a self, policy: &'a Policy, job: &'a ChunkJob) -> Result<Chunks<'a>, PolicyError> {
        self.chunks_within(policy, job, &self.round_budget())
    }

    /// A fresh instance for chunks of a round that shares its time budget with others.
    ///
    /// # Errors
    /// As for [`chunks`](Self::chunks).
    pub fn chunks_within<'a>(
        &'a self,
        policy: &'a Policy,
        job: &'a ChunkJob,
        budget: &RoundBudget,
    ) -> Result<Chunks<'a>, PolicyError> {
        expect(policy, PolicyKind::Aggregation)?;
        let Fresh { mut question, instance, exports } = self.fresh(policy)?;
        let Exports::Aggregation { combine, step, .. } = exports else { return Err(lost()) };
        let mut function = |index| instance.get_func(&mut question.store, index).ok_or_else(lost);
        let (combine, step) = (function(combine)?, function(step)?);
        Ok(Chunks { combine, step, job, budget: budget.clone(), question })
    }

    /// The time that all chunks of one round have in the policy, to be shared by the instances that walk them.
    #[must_use]
    pub fn round_budget(&self) -> RoundBudget {
        RoundBudget::new(self.limits().round_ms_max)
    }
}

impl Chunks<'_> {
    /// The aggregate of a chunk: `rows` has one row an update with a weight above 0, each as long as `aggregate`, which gets the result.
    ///
    /// # Errors
    /// [`PolicyError::Question`] if the lengths of the arguments do not fit each other; every other but [`PolicyError::NotAPolicy`]. What
    /// `aggregate` then holds is not said. Results that are not finite are no error here.
    pub fn combine(
        &mut self,
        span: Span,
        rows: &[&[f32]],
        weights: &[f32],
        aggregate: &mut [f32],
    ) -> Result<(), PolicyError> {
        let expected = aggregate.len();
        same("weights", weights.len(), rows.len())?;
        rows.iter().try_for_each(|row| same("values in a row", row.len(), expected))?;
        let (combine, job) = (self.combine, self.job);
        let aggregate = Cell::from_mut(aggregate).as_slice_of_cells();
        let landed = self.call(|question| {
            let arguments: Combine<'_> = (chunk(job, span), rows, weights, &job.parameters);
            let call = combine.typed::<Combine<'_>, (Result<Landed, Answered>,)>(&question.store)?;
            land(&[aggregate], || call.call(&mut question.store, arguments))
        })?;
        length("aggregate", landed.len, expected)
    }

    /// The server optimizer's step on a chunk: `model` and each of `state` get their next values. All slices are equally long.
    ///
    /// # Errors
    /// As for [`combine`](Self::combine). What `model` and `state` then hold is not said.
    pub fn step(
        &mut self,
        span: Span,
        model: &mut [f32],
        aggregate: &[f32],
        extra: &[&[f32]],
        state: &mut [&mut [f32]],
    ) -> Result<(), PolicyError> {
        let expected = model.len();
        same("values in the aggregate", aggregate.len(), expected)?;
        extra.iter().try_for_each(|extra| same("values in an extra sum", extra.len(), expected))?;
        state.iter().try_for_each(|state| same("values in a state tensor", state.len(), expected))?;
        let (step, job) = (self.step, self.job);
        let mut places = Vec::with_capacity(1 + state.len());
        places.push(Cell::from_mut(model).as_slice_of_cells());
        places.extend(state.iter_mut().map(|state| Cell::from_mut(&mut **state).as_slice_of_cells()));
        let lent: Vec<Lent<'_>> = places.iter().map(|place| Lent(place)).collect();
        let landed = self.call(|question| {
            let arguments: Step<'_> = (chunk(job, span), lent[0], aggregate, extra, &lent[1..], &job.parameters);
            let call = step.typed::<Step<'_>, (Result<Stepped, Answered>,)>(&question.store)?;
            land(&places, || call.call(&mut question.store, arguments))
        })?;
        length("model", landed.model.len, expected)?;
        let (found, tensors) = (landed.state.len(), lent.len() - 1);
        if found != tensors {
            return Err(Nonsense::StateTensors { found, expected: tensors }.into());
        }
        landed.state.iter().try_for_each(|state| length("state", state.len, expected))
    }

    /// What the instance has taken so far, the time between calls included.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.question.usage()
    }

    /// Calls the guest within what is left of its time, and takes its failures apart.
    fn call<R>(
        &mut self,
        call: impl FnOnce(&mut Question<'_>) -> wasmtime::Result<(Result<R, Answered>,)>,
    ) -> Result<R, PolicyError> {
        let limit_ms = self.question.limits().chunk_ms_max;
        let spending = self.budget.spend()?;
        self.question.allow(match spending.left_ms() {
            left if left < limit_ms => Budget::Round { left_ms: left, limit_ms: spending.limit_ms() },
            _ => Budget::Chunk { limit_ms },
        });
        let answer = call(&mut self.question);
        drop(spending);
        let (answer,) = answer.map_err(|error| self.question.call_failed(&error))?;
        answer.map_err(|error| refused(&error))
    }
}

impl std::fmt::Debug for Chunks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks").field("job", &self.job).finish_non_exhaustive()
    }
}

fn chunk(job: &ChunkJob, span: Span) -> Chunk<'_> {
    Chunk { round: job.round, seed: job.seed, tensor: span.tensor, offset: span.offset, memo: &job.memo }
}

/// Arguments are ours: a difference is the caller's mistake.
fn same(what: &str, found: usize, expected: usize) -> Result<(), PolicyError> {
    if found == expected {
        return Ok(());
    }
    Err(PolicyError::Question { reason: format!("a chunk has {found} {what} where {expected} are wanted") })
}

/// Results are the guest's.
fn length(what: &'static str, found: usize, expected: usize) -> Result<(), PolicyError> {
    if found == expected { Ok(()) } else { Err(Nonsense::ChunkLength { what, found, expected }.into()) }
}
