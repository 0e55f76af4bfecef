//! Parts of the pipeline by themselves, so that the benchmark can tell what each costs.

use super::job::{Checked, Job};
use super::stretch::{self, Scratch};
use super::{AggregationError, Sizes, walk};

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Reads what [`aggregate`](super::aggregate()) reads, in the same pieces, into the same buffers, on the same threads, and
    /// looks at every byte.
    Read,
    /// Reads, sums and adds: all but the digests and the file.
    Sum,
}

/// Does part of what [`aggregate`](super::aggregate()) does with a job of `sums` without a step; nothing comes of it but a number
/// that depends on every value, so that no compiler leaves anything out.
pub(crate) fn perform(job: &Job<'_>, part: Part) -> Result<f32, AggregationError> {
    let (job, sizes) = (Checked::new(job)?, Sizes::default());
    let axis = sizes.axis(&job);
    let scratch = || Scratch::new(&job, &axis);
    let seen = walk::each(&axis, scratch, |scratch, stretch, _| stretch::partial(&job, scratch, stretch, part))?;
    Ok(seen.into_iter().sum())
}
