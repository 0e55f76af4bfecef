//! From spooled updates to the next model: `model + Σ weight_k · update_k`, computed where the files are.
//!
//! The pipeline walks the parameter axis in blocks. All threads of the rayon pool share a block, each taking chunks of
//! it and reading the updates' part of a chunk a few updates at a time, into buffers that stay in its cache. While
//! one block is summed, the block before it is hashed and written. So memory does not grow with the number of updates
//! or the size of the model, and as every parameter is summed by itself, in the order of the updates, neither
//! threads nor chunks can change a bit of the result.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polder_core::{AssignmentId, Digest};
use polder_tensor::{Layout, NotFinite, finite};

use crate::spool::SpooledUpdate;
use crate::store::blobs::hash_into;
use crate::store::{BlobWriter, Blobs, StoreError};

mod block;
mod source;

use block::{Block, Scratch};
use source::Source;

/// Parameters that a thread sums at a time: 128 KiB of each update.
const CHUNK_PARAMETERS: usize = 32 << 10;
/// Chunks of a block, for each thread of the pool.
const CHUNKS_PER_THREAD: usize = 8;
/// Parameters of a block however many threads there are; the four buffers of two blocks then have 64 MiB.
const BLOCK_PARAMETERS_MAX: usize = 4 << 20;

/// Why a round's updates did not become a model.
#[derive(Debug, thiserror::Error)]
pub enum AggregationError {
    #[error("there are {updates} updates, but {weights} weights")]
    WeightCount { updates: usize, weights: usize },
    #[error("the weight of the update from {assignment} is {weight}; weights are finite and not negative")]
    Weight { assignment: AssignmentId, weight: f32 },
    #[error("no update has a weight above zero")]
    NothingWeighed,
    #[error("the sum is too large for a float32: {0}; lower the learning rate or the weights")]
    Overflow(NotFinite),
    #[error("model {digest} is corrupt: its bytes have the digest {found}; restore it from a backup")]
    ModelCorrupt { digest: Digest, found: Digest },
    #[error("`{}` does not have the shape of the model it belongs to", path.display())]
    Shape { path: PathBuf },
    #[error("could not read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The next model, as it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregated {
    pub digest: Digest,
    /// Size of the file.
    pub bytes: u64,
}

/// Adds the weighted `updates` to the model `base` and stores the result durably among `blobs`.
///
/// Sums in the order of `updates`, which the caller fixes; an update of weight 0 is not even read. `base` is checked
/// against its digest on the way; the updates were checked when they arrived. Blocks, and uses the rayon pool it is
/// called in.
pub fn aggregate(
    blobs: &Blobs,
    base: &Digest,
    layout: &Arc<Layout>,
    updates: &[SpooledUpdate],
    weights: &[f32],
) -> Result<Aggregated, AggregationError> {
    aggregate_in_chunks(blobs, base, layout, updates, weights, CHUNK_PARAMETERS)
}

fn aggregate_in_chunks(
    blobs: &Blobs,
    base: &Digest,
    layout: &Arc<Layout>,
    updates: &[SpooledUpdate],
    weights: &[f32],
    chunk: usize,
) -> Result<Aggregated, AggregationError> {
    let (updates, weights) = weighed(updates, weights)?;
    let model = Source::open(&blobs.path(base), layout)?;
    let updates = updates.iter().map(|path| Source::open(path, layout)).collect::<Result<Vec<_>, _>>()?;
    let sum = Sum { model, updates, weights, layout, chunk, scratch: Scratch::for_pool() };

    let mut sink = Sink::open(blobs, layout)?;
    let [mut ready, mut next] = [0, 1].map(|_| Block::with_room(sum.block_parameters()));
    if sum.parameters() <= chunk {
        // Too small to share: waking other threads would cost more than the sum.
        sum.fill(&mut ready, 0)?;
        sink.take(&ready)?;
        return sink.finish(base);
    }
    for start in (0..sum.parameters()).step_by(sum.block_parameters()) {
        let (read, written) = rayon::join(|| sum.fill(&mut next, start), || sink.take(&ready));
        read?;
        written?;
        std::mem::swap(&mut ready, &mut next);
    }
    sink.take(&ready)?;
    sink.finish(base)
}

/// The files that count, with their weights.
fn weighed<'update>(
    updates: &'update [SpooledUpdate],
    weights: &[f32],
) -> Result<(Vec<&'update Path>, Vec<f32>), AggregationError> {
    if updates.len() != weights.len() {
        return Err(AggregationError::WeightCount { updates: updates.len(), weights: weights.len() });
    }
    let both = || updates.iter().zip(weights);
    if let Some((update, weight)) = both().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0)) {
        return Err(AggregationError::Weight { assignment: update.assignment.clone(), weight: *weight });
    }
    let (paths, weights): (Vec<_>, Vec<_>) =
        both().filter(|(_, weight)| **weight > 0.0).map(|(update, weight)| (update.path.as_path(), *weight)).unzip();
    if paths.is_empty() { Err(AggregationError::NothingWeighed) } else { Ok((paths, weights)) }
}

/// What is being computed.
struct Sum<'layout> {
    model: Source,
    updates: Vec<Source>,
    weights: Vec<f32>,
    layout: &'layout Layout,
    /// Parameters in a chunk.
    chunk: usize,
    scratch: Scratch,
}

impl Sum<'_> {
    fn parameters(&self) -> usize {
        // A layout counts its parameters in memory first.
        usize::try_from(self.layout.parameter_count()).unwrap_or(usize::MAX)
    }

    fn block_parameters(&self) -> usize {
        let shared = self.chunk.saturating_mul(CHUNKS_PER_THREAD * rayon::current_num_threads());
        shared.min(BLOCK_PARAMETERS_MAX).min(self.parameters())
    }
}

/// Where finished blocks go, in order: into the hashes of the old and the new model, and into the new file.
struct Sink {
    writer: BlobWriter,
    base: blake3::Hasher,
    layout: Arc<Layout>,
    /// First parameter of the block to come.
    start: usize,
}

impl Sink {
    fn open(blobs: &Blobs, layout: &Arc<Layout>) -> Result<Self, AggregationError> {
        let mut writer = blobs.writer()?;
        writer.write(layout.header())?;
        let mut base = blake3::Hasher::new();
        base.update(layout.header());
        Ok(Self { writer, base, layout: Arc::clone(layout), start: 0 })
    }

    fn take(&mut self, block: &Block) -> Result<(), AggregationError> {
        if let Some(within) = finite::first_non_finite(block.sum()) {
            return Err(AggregationError::Overflow(self.layout.not_finite(self.start + within)));
        }
        hash_into(&mut self.base, bytemuck::cast_slice(block.model()));
        self.writer.write(bytemuck::cast_slice(block.sum()))?;
        self.start += block.sum().len();
        Ok(())
    }

    fn finish(self, base: &Digest) -> Result<Aggregated, AggregationError> {
        let found = Digest::blake3(*self.base.finalize().as_bytes());
        if found != *base {
            return Err(AggregationError::ModelCorrupt { digest: *base, found });
        }
        let (digest, bytes) = self.writer.finish()?;
        Ok(Aggregated { digest, bytes })
    }
}

#[cfg(test)]
mod tests;
