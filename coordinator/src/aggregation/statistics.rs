//! Norms and inner products of whole updates, in float64.
//!
//! Blocks of a fixed number of parameters, counted from the first, are computed by whichever thread comes and added in
//! their order; within a block, [`kernels::products`] fixes the pattern. So the bits depend on nothing but the updates.

use polder_core::policy::{Statistics, StatisticsWanted};
use polder_tensor::{Layout, kernels};
use rayon::prelude::*;

use super::room::Room;
use super::source::{Source, make_room_for_files};
use super::{AggregationError, ROWS_BYTES_MAX};
use crate::spool::SpooledUpdate;

/// Parameters whose products are summed by themselves: 256 KiB of each update.
const BLOCK: usize = 64 * kernels::PANEL;
/// Parameters of each update that a thread holds; fewer where there are many updates, but whole panels.
const TILE: usize = 16 * kernels::PANEL;
/// Blocks computed before they are added, for each thread of the pool.
const BLOCKS_PER_THREAD: usize = 4;

/// What a policy wants to know of whole updates, in their order; lists that it does not want stay empty. `layout` is that
/// of the model. Blocks, and uses the rayon pool it is called in.
///
/// # Errors
/// [`AggregationError::Read`] and [`AggregationError::Shape`].
pub fn statistics(
    layout: &Layout,
    updates: &[SpooledUpdate],
    wanted: StatisticsWanted,
) -> Result<Statistics, AggregationError> {
    statistics_by(layout, updates, wanted, TILE)
}

pub(super) fn statistics_by(
    layout: &Layout,
    updates: &[SpooledUpdate],
    wanted: StatisticsWanted,
    tile: usize,
) -> Result<Statistics, AggregationError> {
    if !wanted.norms && !wanted.products {
        return Ok(Statistics::default());
    }
    make_room_for_files(updates.len());
    let sources = updates.iter().map(|update| Source::open(&update.path, layout)).collect::<Result<Vec<_>, _>>()?;
    let parameters = usize::try_from(layout.parameter_count()).unwrap_or(usize::MAX);
    let sums = Sums { sources, parameters, products: wanted.products, tile }.of_all()?;

    let count = updates.len();
    let square = |at: usize| if wanted.products { sums[at * count + at] } else { sums[at] };
    let norms = if wanted.norms { (0..count).map(|at| square(at).sqrt()).collect() } else { Vec::new() };
    let products = if wanted.products { mirrored(sums, count) } else { Vec::new() };
    Ok(Statistics { norms, products })
}

/// Copies what is above the diagonal below it.
fn mirrored(mut products: Vec<f64>, count: usize) -> Vec<f64> {
    for row in 1..count {
        for column in 0..row {
            products[row * count + column] = products[column * count + row];
        }
    }
    products
}

struct Sums {
    sources: Vec<Source>,
    parameters: usize,
    /// All pairs, or only the squares.
    products: bool,
    tile: usize,
}

impl Sums {
    fn len(&self) -> usize {
        let count = self.sources.len();
        if self.products { count * count } else { count }
    }

    /// As many rows as are in memory at once: all of them if every pair is wanted.
    fn rows(&self) -> usize {
        if self.products { self.sources.len() } else { 1 }
    }

    fn tile(&self) -> usize {
        let most = usize::try_from(ROWS_BYTES_MAX).unwrap_or(usize::MAX) / (4 * self.rows().max(1));
        let panels = most.min(self.tile).min(BLOCK) / kernels::PANEL;
        panels.max(1) * kernels::PANEL
    }

    fn of_all(&self) -> Result<Vec<f64>, AggregationError> {
        let starts: Vec<usize> = (0..self.parameters).step_by(BLOCK).collect();
        let mut all = vec![0.0; self.len()];
        let room = || Room::new(self.rows(), self.tile().min(self.parameters));
        let wave = rayon::current_num_threads() * BLOCKS_PER_THREAD;
        for starts in starts.chunks(wave) {
            let blocks: Vec<Vec<f64>> = match starts {
                // Waking another thread would cost more than the work.
                [only] => vec![self.of_block(*only, &mut room())?],
                _ => starts
                    .par_iter()
                    .map_init(room, |room, start| self.of_block(*start, room))
                    .collect::<Result<_, _>>()?,
            };
            for block in blocks {
                all.iter_mut().zip(block).for_each(|(sum, block)| *sum += block);
            }
        }
        Ok(all)
    }

    fn of_block(&self, start: usize, room: &mut Room) -> Result<Vec<f64>, AggregationError> {
        let mut sums = vec![0.0; self.len()];
        let end = (start + BLOCK).min(self.parameters);
        for start in (start..end).step_by(self.tile()) {
            let length = self.tile().min(end - start);
            for (at, sources) in self.sources.chunks(self.rows()).enumerate() {
                for (source, row) in sources.iter().zip(room.rows_mut(length)) {
                    source.read(start, row)?;
                }
                let rows: Vec<&[f32]> = room.rows(length).take(sources.len()).collect();
                if self.products {
                    kernels::add_products(&rows, &mut sums);
                } else {
                    kernels::add_norms(&rows, &mut sums[at..=at]);
                }
            }
        }
        Ok(sums)
    }
}
