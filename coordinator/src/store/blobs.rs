//! Files named by the digest of their bytes: models and policies.
//!
//! A name appears only when all of its bytes are on disk: they are written under a temporary name, synced, renamed,
//! and the directory is synced. Where coordinators share an [object store](Objects), they are in there before: what this
//! directory holds is then a copy that may be lost, and what is not here is fetched.
//!
//! Files are checked against their names before they are used ([`Intact`]). A corrupt one is put aside and healed from the
//! object store; without one, whoever stores the same bytes again mends it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as Key;
use polder_core::Digest;
use polder_core::digest::Algorithm;

use super::intact::{Intact, Look, digest_of};
use super::objects::{ObjectStoreUrl, Objects};
use super::{StoreConfig, StoreError, sync_dir};

mod fetch;
mod writer;

pub use writer::BlobWriter;
pub(crate) use writer::{PlacedWriter, hash_into};

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Blake3, Algorithm::Sha256];
/// What the objects' names start with.
const OBJECTS: &str = "blobs";

/// The blobs of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    dir: Arc<Path>,
    incoming: Arc<Path>,
    intact: Intact,
    objects: Option<Objects>,
}

impl Blobs {
    /// Opens the blobs of the store in `store_dir` and removes what a killed coordinator had half written. Blobs from
    /// before there was this object store are copied to it.
    pub(crate) async fn open(store_dir: &Path, objects: Option<Objects>) -> Result<Self, StoreError> {
        let dir = store_dir.to_path_buf();
        let open = move || Self::open_here(&dir, objects);
        tokio::task::spawn_blocking(open).await.map_err(|_| StoreError::Stopping)?
    }

    /// Opens the object store that `config` names, if it names one.
    pub(crate) async fn connect(config: &StoreConfig) -> Result<Option<Objects>, StoreError> {
        let Some(url) = config.blobs.as_deref().map(str::parse::<ObjectStoreUrl>).transpose()? else { return Ok(None) };
        let opened =
            tokio::task::spawn_blocking(move || Objects::open(&url)).await.map_err(|_| StoreError::Stopping)?;
        Ok(Some(opened?))
    }

    fn open_here(store_dir: &Path, objects: Option<Objects>) -> Result<Self, StoreError> {
        let dir = store_dir.join("blobs");
        let incoming = store_dir.join("incoming");
        let algorithms = ALGORITHMS.map(|algorithm| dir.join(folder(algorithm)));
        for dir in algorithms.iter().chain([&incoming]) {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("create", dir))?;
        }
        // Earlier versions wrote under temporary names with a `#` in them.
        for dir in &algorithms {
            remove_files(dir, |name| name.contains('#'))?;
        }
        remove_files(&incoming, |_| true)?;
        for dir in [store_dir, &dir] {
            sync_dir(dir).map_err(StoreError::io("sync", dir))?;
        }
        if let Some(objects) = &objects {
            objects.remove_leftovers(&[OBJECTS, crate::spool::OBJECTS]);
        }
        let intact = Intact::new(store_dir.join("quarantine"));
        let blobs = Self { dir: dir.into(), incoming: incoming.into(), intact, objects };
        blobs.adopt(store_dir)?;
        Ok(blobs)
    }

    /// The object store that holds the copies that count, if there is one.
    #[must_use]
    pub fn objects(&self) -> Option<&Objects> {
        self.objects.as_ref()
    }

    /// Stores `bytes` durably and gives their name. Storing the same bytes again mends a damaged blob.
    pub async fn put(&self, algorithm: Algorithm, bytes: Bytes) -> Result<Digest, StoreError> {
        self.off_thread(move |blobs| {
            let digest = digest_of(&mut &*bytes, algorithm).map_err(StoreError::io("hash", &blobs.dir))?;
            let mut file = blobs.temporary()?;
            file.append(&bytes)?;
            file.sync()?.persist(&digest)?;
            Ok(digest)
        })
        .await
    }

    /// Reads a whole blob and checks it against its name.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        let digest = *digest;
        self.off_thread(move |blobs| {
            let path = blobs.local(&digest)?;
            let bytes = fs::read(&path).map_err(StoreError::io("read", &path))?;
            let found = digest_of(&mut &*bytes, digest.algorithm).map_err(StoreError::io("hash", &path))?;
            if found == digest {
                return Ok(bytes.into());
            }
            blobs.doubt(&digest);
            // It has changed under our eyes: the second look decides.
            let path = blobs.local(&digest)?;
            fs::read(&path).map(Bytes::from).map_err(StoreError::io("read", &path))
        })
        .await
    }

    /// Reads part of a blob that was found whole. A range that ends beyond the blob is cut there; one that starts beyond
    /// it is an error.
    pub async fn get_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes, StoreError> {
        let digest = *digest;
        self.off_thread(move |blobs| {
            let path = blobs.local(&digest)?;
            let failed = || StoreError::io("read", &path);
            let file = File::open(&path).map_err(failed())?;
            let end = range.end.min(file.metadata().map_err(failed())?.len());
            let length = end.checked_sub(range.start).ok_or_else(|| failed()(io::ErrorKind::UnexpectedEof.into()))?;
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, range.start).map_err(failed())?;
            Ok(bytes.into())
        })
        .await
    }

    /// Size of a blob in bytes; `None` when there is no such blob.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let digest = *digest;
        self.off_thread(move |blobs| {
            let path = blobs.path(&digest);
            match fs::metadata(&path) {
                Ok(metadata) => Ok(Some(metadata.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => match &blobs.objects {
                    Some(objects) => Ok(objects.size(&key(&digest))?),
                    None => Ok(None),
                },
                Err(error) => Err(StoreError::io("look at", &path)(error)),
            }
        })
        .await
    }

    /// Whether the blob is here or in the object store, and intact. A corrupt one that cannot be healed is as good as none.
    pub async fn holds(&self, digest: &Digest) -> Result<bool, StoreError> {
        match self.ensure_local(digest).await {
            Ok(_) => Ok(true),
            Err(StoreError::BlobMissing { .. } | StoreError::BlobCorrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that the blob lies here, intact, for those who read it in place; gives where.
    pub async fn ensure_local(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let digest = *digest;
        self.off_thread(move |blobs| blobs.local(&digest)).await
    }

    /// [`ensure_local`](Self::ensure_local) for code that may block.
    pub fn local(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.path(digest);
        if self.intact.known(&path).is_some() {
            return Ok(path);
        }
        // Whoever needs the same blob waits for this one's download instead of starting another.
        let _turn = self.intact.turn(&path);
        let corrupt = match self.intact.look(&path, digest).map_err(StoreError::io("read", &path))? {
            Look::Intact { .. } => return Ok(path),
            Look::Absent => None,
            Look::Corrupt { found } => {
                let kept = self.intact.quarantine(&path).map_err(StoreError::io("put aside", &path))?;
                tracing::error!(%digest, %found, kept = %kept.display(), "a blob is corrupt; its file was put aside");
                Some(StoreError::BlobCorrupt { digest: *digest, found, kept })
            }
        };
        if self.fetch(digest, &path)? {
            if corrupt.is_some() {
                tracing::warn!(%digest, "the corrupt blob was healed from the object store");
            }
            return Ok(path);
        }
        Err(corrupt.unwrap_or(StoreError::BlobMissing { digest: *digest }))
    }

    /// Somebody read other bytes than the blob should have: it is checked again before its next use.
    pub(crate) fn doubt(&self, digest: &Digest) {
        self.intact.forget(&self.path(digest));
    }

    /// The names of all blobs, here or in the object store, in order. Files with other names are passed over.
    pub async fn list(&self) -> Result<Vec<Digest>, StoreError> {
        self.off_thread(|blobs| {
            let mut digests = local_digests(&blobs.dir)?;
            if let Some(objects) = &blobs.objects {
                let stored = objects.list(&Key::from(OBJECTS))?;
                digests.extend(stored.iter().filter_map(|(key, _)| digest_in(key)));
            }
            digests.sort_unstable();
            digests.dedup();
            Ok(digests)
        })
        .await
    }

    /// Removes a blob that nothing refers to any more, here and in the object store. Who has its file open reads on.
    pub async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let digest = *digest;
        self.off_thread(move |blobs| {
            if let Some(objects) = &blobs.objects {
                objects.delete(&key(&digest))?;
            }
            let path = blobs.path(&digest);
            let _turn = blobs.intact.turn(&path);
            blobs.intact.forget(&path);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &path)(error)),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Where the blob lies, or would lie. Whether it does, and is intact, says [`local`](Self::local).
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(folder(digest.algorithm)).join(digest.hex())
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let blobs = self.clone();
        tokio::task::spawn_blocking(move || work(&blobs)).await.map_err(|_| StoreError::Stopping)?
    }
}

fn folder(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Blake3 => "blake3",
        Algorithm::Sha256 => "sha256",
    }
}

/// What a blob is called in the object store.
pub(crate) fn key(digest: &Digest) -> Key {
    Key::from_iter([OBJECTS, folder(digest.algorithm), &digest.hex()])
}

/// The blob that an object is called after.
pub(crate) fn digest_in(key: &Key) -> Option<Digest> {
    key.as_ref().strip_prefix(OBJECTS)?.strip_prefix('/')?.replacen('/', ":", 1).parse().ok()
}

/// The blobs whose files lie below `dir`, in no order.
pub(crate) fn local_digests(dir: &Path) -> Result<Vec<Digest>, StoreError> {
    let mut digests = Vec::new();
    for algorithm in ALGORITHMS.map(folder) {
        for path in files(&dir.join(algorithm))? {
            let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            digests.extend(format!("{algorithm}:{name}").parse::<Digest>().ok());
        }
    }
    Ok(digests)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let list = || fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>();
    list().map_err(StoreError::io("list", dir))
}

fn remove_files(dir: &Path, mut leftover: impl FnMut(&str) -> bool) -> Result<(), StoreError> {
    for path in files(dir)? {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        if leftover(&name) {
            tracing::info!(path = %path.display(), "removing a blob that was not written to its end");
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}
