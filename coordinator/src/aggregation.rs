//! From spooled updates to the next model, computed where the files are.
//!
//! All files of a round (the model, the updates, the state tensors, and what comes out) have the same header and the same
//! length, so the pipeline walks them by their bytes: in *stretches*, which threads take one after the other, and through
//! a stretch in *tiles*, which fit the caches; a policy gets them in *chunks*. All begin at multiples of a power of two,
//! which makes each stretch a subtree of the file's BLAKE3 tree: whoever has a tile hashes it, writes it at its place, and nobody waits for anybody.
//! Memory is a few tiles a thread, however many updates there are and however large the model is.
//!
//! | module | holds |
//! | --- | --- |
//! | [`job`] | what is to be computed, checked |
//! | [`statistics`](self::statistics()) | norms and inner products of whole updates, which come first |
//! | `stretch` | a stretch from its first tile to its last: sums or `combine`, then `step` |
//! | `walk` | threads and stretches |
//! | `source`, `outputs`, `tree` | files that are read, files that are written, their digests |
//!
//! The result has the same bits however many threads there are and in whatever order updates arrived: sums run over the
//! updates in the job's order, each parameter by itself; statistics add fixed pieces in their order; and a policy's
//! instance sees one stretch from its start to its end, whoever runs it.

use polder_core::Digest;
use polder_core::round::StateTensor;

mod error;
mod job;
mod outputs;
pub(crate) mod partial;
mod room;
mod source;
mod statistics;
mod stretch;
mod tree;
mod walk;

pub use error::AggregationError;
pub use job::{Job, PolicyCall};
pub use statistics::statistics;

use job::Checked;
use outputs::Outputs;
use stretch::Scratch;
use walk::Axis;

use crate::meter::{self, Step};

/// A fresh instance of the policy walks this much of the file, 512 Ki parameters. Part of what a policy's answers depend
/// on if it does not keep to the contract and remembers things, so it is the same on every machine.
pub(crate) const STRETCH_BYTES: u64 = 2 << 20;
/// The same where no policy is called: then it is only what a thread takes at a time.
const SUM_STRETCH_BYTES: u64 = 1 << 20;
/// What is read and written at a time; less costs more in system calls.
const TILE_BYTES: u64 = 256 << 10;
/// The least, whatever the number of updates: one chunk of BLAKE3.
const TILE_BYTES_MIN: u64 = 1 << 10;
/// The most that a policy gets at a time, 16 Ki parameters; with more, its instance's memory leaves the caches.
pub(crate) const CHUNK_BYTES: u64 = 64 << 10;
/// Updates that a thread reads before it adds them up.
const GROUP: usize = 4;
/// What a thread holds of all updates together, where `combine` must see them at once.
const ROWS_BYTES_MAX: u64 = 8 << 20;

/// The next model and the policy's state tensors, as they were stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregated {
    pub digest: Digest,
    /// Size of the file.
    pub bytes: u64,
    /// As many as the policy's traits say, in their order.
    pub state: Vec<StateTensor>,
}

/// Makes the next model out of the current one and the updates, and stores it durably, with the policy's state tensors.
///
/// Sums in the order of the updates, which the caller fixes; an update that counts for nothing is not even read. The
/// model and the state tensors are checked against their digests on the way; the updates were checked when they arrived.
/// Nothing is stored if anything fails. Blocks, and uses the rayon pool it is called in.
///
/// # Errors
/// [`AggregationError::is_policys_fault`] tells a policy's failures from those of this machine.
pub fn aggregate(job: &Job<'_>) -> Result<Aggregated, AggregationError> {
    aggregate_by(job, &Sizes::default())
}

/// How the axis is cut. Nothing here changes a bit of the result of a policy that keeps to the contract.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    stretch_bytes: u64,
    sum_stretch_bytes: u64,
    tile_bytes: u64,
    chunk_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            stretch_bytes: STRETCH_BYTES,
            sum_stretch_bytes: SUM_STRETCH_BYTES,
            tile_bytes: TILE_BYTES,
            chunk_bytes: CHUNK_BYTES,
        }
    }
}

impl Sizes {
    fn axis(&self, job: &Checked<'_>) -> Axis {
        let stretch_bytes = if job.calls_policy() { self.stretch_bytes } else { self.sum_stretch_bytes };
        let tile_bytes = bounded_tile(job.rows() as u64).min(self.tile_bytes);
        let chunk_bytes = self.chunk_bytes.min(tile_bytes);
        Axis { file_bytes: job.layout.file_bytes(), stretch_bytes, tile_bytes, chunk_bytes }
    }
}

/// The longest tile of which a thread may hold `rows`.
fn bounded_tile(rows: u64) -> u64 {
    let most = (ROWS_BYTES_MAX / rows.max(1)).clamp(TILE_BYTES_MIN, TILE_BYTES);
    1 << most.ilog2()
}

fn aggregate_by(job: &Job<'_>, sizes: &Sizes) -> Result<Aggregated, AggregationError> {
    let job = Checked::new(job)?;
    let axis = sizes.axis(&job);
    let outputs = Outputs::open(&job)?;
    let scratch = || Scratch::new(&job, &axis);
    let summing = meter::taking(Step::Sum);
    let hashes =
        walk::each(&axis, scratch, |scratch, stretch, end| stretch::aggregate(&job, &outputs, scratch, stretch, end))?;
    drop(summing);
    let _storing = meter::taking(Step::Store);
    outputs.finish(&job, &hashes)
}

#[cfg(test)]
mod tests;
