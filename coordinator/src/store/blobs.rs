//! Files named by the digest of their bytes: models and policies.
//!
//! A name appears only when all of its bytes are on disk: they are written under a temporary name, synced, renamed,
//! and the directory is synced. Whole reads are checked against the name.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{ObjectStore, ObjectStoreExt};
use polder_core::Digest;
use polder_core::digest::Algorithm;
use sha2::Digest as _;
use tempfile::NamedTempFile;

use super::{StoreError, sync_dir};

/// Below this, hashing with several threads costs more than it brings.
const PARALLEL_HASH_BYTES: usize = 1 << 20;

/// The blobs of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    files: LocalFileSystem,
    dir: Arc<Path>,
    incoming: Arc<Path>,
}

impl Blobs {
    /// Opens the blobs of the store in `store_dir` and removes what a killed coordinator had half written.
    pub(super) fn open(store_dir: &Path) -> Result<Self, StoreError> {
        let dir = store_dir.join("blobs");
        let incoming = store_dir.join("incoming");
        let algorithms = [Algorithm::Blake3, Algorithm::Sha256].map(|algorithm| dir.join(folder(algorithm)));
        for dir in algorithms.iter().chain([&incoming]) {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("create", dir))?;
        }
        // `object_store` puts a `#` into its temporary names, and into no others.
        for dir in &algorithms {
            remove_files(dir, |name| name.contains('#'))?;
        }
        remove_files(&incoming, |_| true)?;
        for dir in [store_dir, &dir] {
            sync_dir(dir).map_err(StoreError::io("sync", dir))?;
        }
        let files = LocalFileSystem::new_with_prefix(&dir).map_err(list_error)?.with_fsync(true);
        Ok(Self { files, dir: dir.into(), incoming: incoming.into() })
    }

    /// Stores `bytes` durably and gives their name. Storing the same bytes again mends a damaged blob.
    pub async fn put(&self, algorithm: Algorithm, bytes: Bytes) -> Result<Digest, StoreError> {
        let (digest, bytes) = digest_of(algorithm, bytes).await?;
        let failed = |source| StoreError::Blob { digest, action: "stored", source: Box::new(source) };
        self.files.put(&location(&digest), bytes.into()).await.map_err(failed)?;
        Ok(digest)
    }

    /// Reads a whole blob and checks it against its name.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        let stored = self.files.get(&location(digest)).await.map_err(read_error(*digest))?;
        let bytes = stored.bytes().await.map_err(read_error(*digest))?;
        let (found, bytes) = digest_of(digest.algorithm, bytes).await?;
        if found == *digest { Ok(bytes) } else { Err(StoreError::BlobCorrupt { digest: *digest, found }) }
    }

    /// Reads part of a blob, unchecked: who puts the parts together checks the whole. A range that ends beyond the
    /// blob is cut there; one that starts beyond it is an error.
    pub async fn get_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.files.get_range(&location(digest), range).await.map_err(read_error(*digest))
    }

    /// Size of a blob in bytes; `None` when there is no such blob.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        match self.files.head(&location(digest)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(read_error(*digest)(error)),
        }
    }

    /// The names of all blobs, in order. Files with other names are passed over.
    pub async fn list(&self) -> Result<Vec<Digest>, StoreError> {
        let stored: Vec<_> = self.files.list(None).try_collect().await.map_err(list_error)?;
        let digest = |location: &Location| location.as_ref().replacen('/', ":", 1).parse().ok();
        let mut digests: Vec<Digest> = stored.iter().filter_map(|meta| digest(&meta.location)).collect();
        digests.sort_unstable();
        Ok(digests)
    }

    /// Where the blob lies, or would lie, for those who read it in place.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(folder(digest.algorithm)).join(digest.hex())
    }

    /// Starts a BLAKE3 blob that is written piece by piece, by blocking code. It takes memory for no more than a piece.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        let file = NamedTempFile::new_in(&self.incoming).map_err(StoreError::io("create a file in", &self.incoming))?;
        Ok(BlobWriter { blobs: self.clone(), file, hasher: blake3::Hasher::new(), bytes: 0 })
    }

    /// Starts a BLAKE3 blob of `bytes` bytes that is written in parts, in any order, by blocking code.
    pub(crate) fn placed_writer(&self, bytes: u64) -> Result<PlacedWriter, StoreError> {
        let file = NamedTempFile::new_in(&self.incoming).map_err(StoreError::io("create a file in", &self.incoming))?;
        file.as_file().set_len(bytes).map_err(StoreError::io("write", file.path()))?;
        Ok(PlacedWriter { blobs: self.clone(), file })
    }
}

/// A blob on its way. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    file: NamedTempFile,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl BlobWriter {
    /// Appends `piece`; hashes it on all threads of the current rayon pool if it is large.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        hash_into(&mut self.hasher, piece);
        self.file.write_all(piece).map_err(StoreError::io("write", self.file.path()))?;
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// Puts the blob under its name, durably; gives that and its size in bytes.
    pub fn finish(self) -> Result<(Digest, u64), StoreError> {
        let Self { blobs, file, hasher, bytes } = self;
        let digest = Digest::blake3(*hasher.finalize().as_bytes());
        PlacedWriter { blobs, file }.sync()?.persist(&digest)?;
        Ok((digest, bytes))
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
    /// Gives it its name, durably.
    pub(crate) fn persist(self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blobs.path(digest);
        self.file.persist(&path).map_err(|error| StoreError::io("create", &path)(error.error))?;
        let dir = path.parent().unwrap_or(&self.blobs.dir);
        sync_dir(dir).map_err(StoreError::io("sync", dir))
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

/// Hashes off the async threads, and hands the bytes back.
async fn digest_of(algorithm: Algorithm, bytes: Bytes) -> Result<(Digest, Bytes), StoreError> {
    let hash = move || {
        let digest = match algorithm {
            Algorithm::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                hash_into(&mut hasher, &bytes);
                Digest::blake3(*hasher.finalize().as_bytes())
            }
            Algorithm::Sha256 => Digest::sha256(sha2::Sha256::digest(&bytes).into()),
        };
        (digest, bytes)
    };
    tokio::task::spawn_blocking(hash).await.map_err(|_| StoreError::Stopping)
}

fn folder(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Blake3 => "blake3",
        Algorithm::Sha256 => "sha256",
    }
}

fn location(digest: &Digest) -> Location {
    Location::from_iter([folder(digest.algorithm), &digest.hex()])
}

fn read_error(digest: Digest) -> impl Fn(object_store::Error) -> StoreError {
    move |error| match error {
        object_store::Error::NotFound { .. } => StoreError::BlobMissing { digest },
        error => StoreError::Blob { digest, action: "read", source: Box::new(error) },
    }
}

fn list_error(error: object_store::Error) -> StoreError {
    StoreError::BlobList(Box::new(error))
}

fn remove_files(dir: &Path, mut leftover: impl FnMut(&str) -> bool) -> Result<(), StoreError> {
    let list = |dir: &Path| -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    for path in list(dir).map_err(StoreError::io("list", dir))? {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        if leftover(&name) {
            tracing::info!(path = %path.display(), "removing a blob that was not written to its end");
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}
