//! A stretch of the parameter axis, summed by all threads together.

use std::sync::{Mutex, PoisonError};

use polder_tensor::kernels;
use rayon::prelude::*;

use super::{AggregationError, Sum};

/// Updates that a thread reads before it adds them up. They and the sum fit the second-level cache.
const ROWS: usize = 8;

/// The old and the new parameters of a stretch; empty before it is first filled.
pub(super) struct Block {
    model: Vec<f32>,
    sum: Vec<f32>,
    filled: usize,
}

impl Block {
    pub(super) fn with_room(parameters: usize) -> Self {
        Self { model: vec![0.0; parameters], sum: vec![0.0; parameters], filled: 0 }
    }

    pub(super) fn model(&self) -> &[f32] {
        &self.model[..self.filled]
    }

    pub(super) fn sum(&self) -> &[f32] {
        &self.sum[..self.filled]
    }
}

/// Room for [`ROWS`] chunks, for each thread of the pool.
pub(super) struct Scratch(Vec<Mutex<Vec<f32>>>);

impl Scratch {
    pub(super) fn for_pool() -> Self {
        Self((0..rayon::current_num_threads()).map(|_| Mutex::default()).collect())
    }

    /// Lends the calling thread its room, `parameters` long, with whatever was in it.
    fn lend<R>(&self, parameters: usize, borrow: impl FnOnce(&mut [f32]) -> R) -> R {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.0.len();
        let mut room = self.0[thread].lock().unwrap_or_else(PoisonError::into_inner);
        if room.len() < parameters {
            room.resize(parameters, 0.0);
        }
        borrow(&mut room[..parameters])
    }
}

impl Sum<'_> {
    /// Fills `block` with the parameters from `start` on: as many as it has room for, or as are left.
    pub(super) fn fill(&self, block: &mut Block, start: usize) -> Result<(), AggregationError> {
        block.filled = self.block_parameters().min(self.parameters() - start);
        if block.filled <= self.chunk {
            return self.fill_chunk(start, &mut block.model[..block.filled], &mut block.sum[..block.filled]);
        }
        let model = block.model[..block.filled].par_chunks_mut(self.chunk);
        let sum = block.sum[..block.filled].par_chunks_mut(self.chunk);
        model
            .zip(sum)
            .enumerate()
            .try_for_each(|(at, (model, sum))| self.fill_chunk(start + at * self.chunk, model, sum))
    }

    fn fill_chunk(&self, start: usize, model: &mut [f32], sum: &mut [f32]) -> Result<(), AggregationError> {
        sum.fill(0.0);
        let rows = ROWS.min(self.updates.len());
        self.scratch.lend(rows * sum.len(), |room| {
            for (updates, weights) in self.updates.chunks(ROWS).zip(self.weights.chunks(ROWS)) {
                let mut rows = [&[][..]; ROWS];
                for ((update, values), row) in updates.iter().zip(room.chunks_exact_mut(sum.len())).zip(&mut rows) {
                    update.read(start, values)?;
                    *row = values;
                }
                kernels::accumulate(&rows[..updates.len()], weights, sum);
            }
            Ok::<_, AggregationError>(())
        })?;
        self.model.read(start, model)?;
        kernels::add_into(model, sum);
        Ok(())
    }
}
