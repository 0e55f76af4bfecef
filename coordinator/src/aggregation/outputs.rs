//! The files that come out, written by all threads at once.

use blake3::hazmat::ChainingValue;
use polder_core::Digest;
use polder_core::round::StateTensor;

use super::job::Checked;
use super::tree;
use super::{Aggregated, AggregationError};
use crate::store::PlacedWriter;

/// What one stretch adds to the digests of the files that were read and of those that are written: one value for each of
/// the job's carried files, the model first.
pub(super) struct StretchHashes {
    /// None where nothing was read: the state is all zero.
    pub(super) from: Vec<Option<ChainingValue>>,
    pub(super) to: Vec<ChainingValue>,
}

/// The next model and the state tensors, on their way. Dropped unfinished, they leave nothing behind.
pub(super) struct Outputs(Vec<PlacedWriter>);

impl Outputs {
    pub(super) fn open(job: &Checked<'_>) -> Result<Self, AggregationError> {
        let bytes = job.layout.file_bytes();
        Ok(Self(job.carried.iter().map(|_| job.blobs.placed_writer(bytes)).collect::<Result<_, _>>()?))
    }

    /// Writes a tile of the file with this number, header included, to its place.
    pub(super) fn write(&self, file: usize, offset: u64, words: &[f32]) -> Result<(), AggregationError> {
        Ok(self.0[file].write_at(bytemuck::cast_slice(words), offset)?)
    }

    /// Checks what was read against its digests, then stores what was written under its own, durably.
    pub(super) fn finish(self, job: &Checked<'_>, hashes: &[StretchHashes]) -> Result<Aggregated, AggregationError> {
        for (file, carried) in job.carried.iter().enumerate() {
            let Some((_, digest)) = carried.from else { continue };
            let found = tree::digest(&hashes.iter().filter_map(|hashes| hashes.from[file]).collect::<Vec<_>>());
            if found != digest {
                // The next try looks at the file first, puts it aside and gets another one, if there is one.
                job.blobs.doubt(&digest);
                return Err(AggregationError::Corrupt { what: carried.what, digest, found });
            }
        }
        let bytes = job.layout.file_bytes();
        let mut stored = Vec::with_capacity(self.0.len());
        for (file, writer) in self.0.into_iter().enumerate() {
            let digest: Digest = tree::digest(&hashes.iter().map(|hashes| hashes.to[file]).collect::<Vec<_>>());
            stored.push((writer.sync()?, digest));
        }
        // Only when all of them are on disk does one of them get its name.
        let digests = stored
            .into_iter()
            .map(|(synced, digest)| synced.persist(&digest).map(|()| digest))
            .collect::<Result<Vec<_>, _>>()?;
        let state = digests[1..].iter().map(|digest| StateTensor { digest: *digest, bytes }).collect();
        Ok(Aggregated { digest: digests[0], bytes, state })
    }
}
