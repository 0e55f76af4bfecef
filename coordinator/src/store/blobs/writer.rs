//! Blobs on their way in: written under a temporary name, which nobody looks at.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;

use polder_core::Digest;
use tempfile::NamedTempFile;

use super::{Blobs, key};
use crate::store::room::reserve;
use crate::store::{StoreError, sync_dir};

/// Below this, hashing with several threads costs more than it brings.
const PARALLEL_HASH_BYTES: usize = 1 << 20;

impl Blobs {
    /// Starts a BLAKE3 blob that is written piece by piece, by blocking code. It takes memory for no more than a piece.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        Ok(BlobWriter { file: self.temporary()?, hasher: blake3::Hasher::new(), bytes: 0 })
    }

    /// Starts a BLAKE3 blob of `bytes` bytes that is written in parts, in any order, by blocking code. Room for it is found
    /// before anything is written.
    pub(crate) fn placed_writer(&self, bytes: u64) -> Result<PlacedWriter, StoreError> {
        let writer = self.temporary()?;
        let file = writer.file.as_file();
        reserve(file, bytes)
            .and_then(|()| file.set_len(bytes))
            .map_err(StoreError::io("make room for", writer.file.path()))?;
        Ok(writer)
    }

    pub(super) fn temporary(&self) -> Result<PlacedWriter, StoreError> {
        let file = NamedTempFile::new_in(&self.incoming).map_err(StoreError::io("create a file in", &self.incoming))?;
        Ok(PlacedWriter { blobs: self.clone(), file })
    }
}

/// A blob on its way. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    file: PlacedWriter,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl BlobWriter {
    /// Appends `piece`; hashes it on all threads of the current rayon pool if it is large.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        hash_into(&mut self.hasher, piece);
        self.file.append(piece)?;
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// Puts the blob under its name, durably; gives that and its size in bytes.
    pub fn finish(self) -> Result<(Digest, u64), StoreError> {
        let digest = Digest::blake3(*self.hasher.finalize().as_bytes());
        self.file.sync()?.persist(&digest)?;
        Ok((digest, self.bytes))
    }
}

/// A blob whose parts are written at their places, by several threads at once; they know its digest themselves. Dropped
/// unfinished, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct PlacedWriter {
    blobs: Blobs,
    file: NamedTempFile,
}

impl PlacedWriter {
    pub(crate) fn write_at(&self, part: &[u8], offset: u64) -> Result<(), StoreError> {
        self.file.as_file().write_all_at(part, offset).map_err(StoreError::io("write", self.file.path()))
    }

    pub(super) fn append(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(piece).map_err(StoreError::io("write", self.file.path()))
    }

    /// Brings what was written to the disk.
    pub(crate) fn sync(self) -> Result<SyncedBlob, StoreError> {
        let Self { blobs, file } = self;
        file.as_file().sync_data().map_err(StoreError::io("sync", file.path()))?;
        Ok(SyncedBlob { blobs, file })
    }
}

/// A blob that is on disk, and has no name yet.
#[derive(Debug)]
pub(crate) struct SyncedBlob {
    blobs: Blobs,
    file: NamedTempFile,
}

impl SyncedBlob {
    /// Gives it its name, durably: in the object store first, so that what lies here lies there.
    pub(crate) fn persist(self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blobs.path(digest);
        if let Some(objects) = &self.blobs.objects {
            let file = self.file.as_file();
            let bytes = file.metadata().map_err(StoreError::io("look at", self.file.path()))?.len();
            objects.put_file(&key(digest), file, bytes)?;
        }
        let blobs = self.blobs.clone();
        let _turn = blobs.intact.turn(&path);
        self.name(digest)
    }

    /// Gives it its name here only; the caller has the file's turn.
    pub(super) fn name(self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blobs.path(digest);
        let dir = path.parent().unwrap_or(&self.blobs.dir);
        self.file.persist(&path).map_err(|error| StoreError::io("create", &path)(error.error))?;
        sync_dir(dir).map_err(StoreError::io("sync", dir)).inspect_err(|_| {
            // Nobody may come to rely on a name that a crash can take away.
            let _ = fs::remove_file(&path);
        })?;
        self.blobs.intact.vouch(&path);
        Ok(())
    }
}

/// Feeds `piece` to `hasher`, on all threads of the current rayon pool if that pays.
pub(crate) fn hash_into(hasher: &mut blake3::Hasher, piece: &[u8]) {
    if piece.len() < PARALLEL_HASH_BYTES {
        hasher.update(piece);
    } else {
        hasher.update_rayon(piece);
    }
}
