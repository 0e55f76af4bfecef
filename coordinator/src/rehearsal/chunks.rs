//! `combine` and `step` on what lies in memory, cut as the pipeline cuts it, in the sandbox and natively.

use polder_policy::{ChunkJob, Chunks, PolicyHost, Span};
use polder_tensor::reference::{Adam, Network, Width};
use rayon::prelude::*;

use super::{Choice, RehearsalError, values};
use crate::aggregation::{CHUNK_BYTES, STRETCH_BYTES};

const STRETCH: usize = STRETCH_BYTES as usize / 4;
const CHUNK: usize = CHUNK_BYTES as usize / 4;

/// The updates of a model of one tensor, to be combined.
pub struct Columns {
    rows: Vec<Vec<f32>>,
    aggregate: Vec<f32>,
}

impl Columns {
    #[must_use]
    pub fn new(updates: usize, parameters: usize) -> Self {
        Self { rows: (0..updates).map(|row| values(row, parameters)).collect(), aggregate: vec![0.0; parameters] }
    }

    #[must_use]
    pub fn aggregate(&self) -> &[f32] {
        &self.aggregate
    }

    /// By the policy's `combine`.
    pub fn combine(&mut self, host: &PolicyHost, choice: &Choice) -> Result<(), RehearsalError> {
        let (job, weights) = (chunk_job(choice), vec![1.0; self.rows.len()]);
        let (budget, rows) = (host.round_budget(), &self.rows);
        self.aggregate.par_chunks_mut(STRETCH).enumerate().try_for_each(|(stretch, aggregate)| {
            let mut chunks = host.chunks_within(&choice.policy, &job, &budget)?;
            for (at, aggregate) in aggregate.chunks_mut(CHUNK).enumerate() {
                let start = stretch * STRETCH + at * CHUNK;
                let rows: Vec<&[f32]> = rows.iter().map(|row| &row[start..start + aggregate.len()]).collect();
                chunks.combine(span(start), &rows, &weights, aggregate)?;
            }
            Ok(())
        })
    }

    /// By a native network.
    pub fn combine_natively(&mut self, network: &Network, width: Width) {
        let rows = &self.rows;
        self.aggregate.par_chunks_mut(STRETCH).enumerate().for_each(|(stretch, aggregate)| {
            for (at, aggregate) in aggregate.chunks_mut(CHUNK).enumerate() {
                let start = stretch * STRETCH + at * CHUNK;
                let rows: Vec<&[f32]> = rows.iter().map(|row| &row[start..start + aggregate.len()]).collect();
                network.average(&rows, aggregate, width);
            }
        });
    }
}

/// A model of one tensor, its aggregate and two state tensors, for the steps of Adam.
pub struct Steps {
    model: Vec<f32>,
    aggregate: Vec<f32>,
    moments: [Vec<f32>; 2],
}

impl Steps {
    #[must_use]
    pub fn new(parameters: usize) -> Self {
        let zeros = || vec![0.0; parameters];
        Self { model: values(0, parameters), aggregate: values(1, parameters), moments: [zeros(), zeros()] }
    }

    #[must_use]
    pub fn model(&self) -> &[f32] {
        &self.model
    }

    /// By the policy's `step`.
    pub fn step(&mut self, host: &PolicyHost, choice: &Choice) -> Result<(), RehearsalError> {
        let (job, budget) = (chunk_job(choice), host.round_budget());
        self.stretches().enumerate().try_for_each(|(stretch, (((model, aggregate), first), second))| {
            let mut chunks: Chunks<'_> = host.chunks_within(&choice.policy, &job, &budget)?;
            let parts = model.chunks_mut(CHUNK).zip(aggregate.chunks(CHUNK));
            let moments = first.chunks_mut(CHUNK).zip(second.chunks_mut(CHUNK));
            for (at, ((model, aggregate), (first, second))) in parts.zip(moments).enumerate() {
                chunks.step(span(stretch * STRETCH + at * CHUNK), model, aggregate, &[], &mut [first, second])?;
            }
            Ok(())
        })
    }

    /// Natively, in place.
    pub fn step_natively(&mut self, adam: &Adam, width: Width) {
        self.stretches().for_each(|(((model, aggregate), first), second)| {
            adam.step(model, aggregate, first, second, width);
        });
    }

    #[allow(clippy::type_complexity)]
    fn stretches(&mut self) -> impl IndexedParallelIterator<Item = (((&mut [f32], &[f32]), &mut [f32]), &mut [f32])> {
        let [first, second] = &mut self.moments;
        let parts = self.model.par_chunks_mut(STRETCH).zip(self.aggregate.par_chunks(STRETCH));
        parts.zip(first.par_chunks_mut(STRETCH)).zip(second.par_chunks_mut(STRETCH))
    }
}

fn chunk_job(choice: &Choice) -> ChunkJob {
    ChunkJob { round: 1, seed: 1, memo: Vec::new(), parameters: choice.parameters.clone() }
}

fn span(start: usize) -> Span {
    Span { tensor: 0, offset: start as u64 }
}
