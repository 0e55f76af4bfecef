//! Between this directory and the object store.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use object_store::path::Path as Key;
use polder_core::Digest;

use super::{Blobs, OBJECTS, digest_in, key, local_digests};
use crate::store::intact::{Hashing, Intact, Look};
use crate::store::objects::{ObjectStoreUrl, Objects};
use crate::store::{StoreConfig, StoreError, sync_dir};

/// Names the object store that has everything of a directory's.
const MARKER: &str = "objects";

impl Blobs {
    /// Brings a blob that is not here from the object store to `path`; whether it is there. The caller has the file's turn.
    pub(super) fn fetch(&self, digest: &Digest, path: &Path) -> Result<bool, StoreError> {
        let Some(objects) = &self.objects else { return Ok(false) };
        let key = key(digest);
        let Some(bytes) = objects.size(&key)? else { return Ok(false) };
        let mut file = self.placed_writer(bytes)?;
        let mut hashing = Hashing::new(digest.algorithm);
        objects.read(&key, bytes, |piece| {
            hashing.take(piece);
            file.append(piece)
        })?;
        let found = hashing.finish();
        if found != *digest {
            let (address, key) = (objects.address().to_owned(), key.to_string());
            return Err(StoreError::ObjectCorrupt { address, key, found });
        }
        file.sync()?.name(digest)?;
        tracing::info!(%digest, bytes, path = %path.display(), "fetched a blob from the object store");
        Ok(true)
    }

    /// Whether the blob is to be had, intact, by whoever leads next as well: one that only lies here goes to the object
    /// store, which may have lost it, or somebody else removed it there.
    pub async fn ensure_shared(&self, digest: &Digest) -> Result<bool, StoreError> {
        if !self.holds(digest).await? {
            return Ok(false);
        }
        let digest = *digest;
        self.off_thread(move |blobs| {
            let Some(objects) = &blobs.objects else { return Ok(true) };
            let path = blobs.local(&digest)?;
            let file = File::open(&path).map_err(StoreError::io("open", &path))?;
            let bytes = file.metadata().map_err(StoreError::io("look at", &path))?.len();
            if objects.size(&key(&digest))? != Some(bytes) {
                objects.put_file(&key(&digest), &file, bytes)?;
                tracing::warn!(%digest, "a blob that the object store had not was copied to it");
            }
            Ok(true)
        })
        .await
    }

    /// The blobs of a store that another process may be using: for reading only.
    pub(crate) fn attach(config: &StoreConfig) -> Result<Self, StoreError> {
        let url = config.blobs.as_deref().map(str::parse::<ObjectStoreUrl>).transpose()?;
        let objects = url.map(|url| Objects::open(&url)).transpose()?;
        let dir = &config.dir;
        if let (None, Some(address)) = (&objects, marked(dir)?) {
            return Err(StoreError::BlobsElsewhere { dir: dir.clone(), address });
        }
        let (files, incoming) = (dir.join("blobs"), dir.join("incoming"));
        let intact = Intact::new(dir.join("quarantine"));
        Ok(Self { dir: files.into(), incoming: incoming.into(), intact, objects })
    }

    /// Writes a blob's bytes to `out`, from here if they are intact, else from the object store; whether it was there. On
    /// an error part of it may have been written.
    pub(crate) fn copy_to(&self, digest: &Digest, out: &mut impl Write) -> Result<bool, StoreError> {
        let path = self.path(digest);
        if let Look::Intact { .. } = self.intact.look(&path, digest).map_err(StoreError::io("read", &path))? {
            let copied = File::open(&path).and_then(|mut file| io::copy(&mut file, out));
            return copied.map(|_| true).map_err(StoreError::io("copy", &path));
        }
        let Some(objects) = &self.objects else { return Ok(false) };
        let key = key(digest);
        let Some(bytes) = objects.size(&key)? else { return Ok(false) };
        let mut hashing = Hashing::new(digest.algorithm);
        objects.read(&key, bytes, |piece| {
            hashing.take(piece);
            out.write_all(piece).map_err(StoreError::io("copy", &path))
        })?;
        let found = hashing.finish();
        if found == *digest {
            return Ok(true);
        }
        Err(StoreError::ObjectCorrupt { address: objects.address().to_owned(), key: key.to_string(), found })
    }

    /// Copies to the object store what lay here before there was one, once for each object store.
    pub(super) fn adopt(&self, store_dir: &Path) -> Result<(), StoreError> {
        let marker = store_dir.join(MARKER);
        match (&self.objects, marked(store_dir)?) {
            (None, None) => Ok(()),
            (None, Some(address)) => Err(StoreError::BlobsElsewhere { dir: store_dir.to_path_buf(), address }),
            (Some(objects), Some(address)) if address == objects.address() => Ok(()),
            (Some(objects), _) => {
                self.copy_all(objects)?;
                mark(store_dir, &marker, objects.address()).map_err(StoreError::io("write", &marker))
            }
        }
    }

    fn copy_all(&self, objects: &Objects) -> Result<(), StoreError> {
        let stored = objects.list(&Key::from(OBJECTS))?;
        let stored: BTreeSet<Digest> = stored.iter().filter_map(|(key, _)| digest_in(key)).collect();
        for digest in local_digests(&self.dir)?.into_iter().filter(|digest| !stored.contains(digest)) {
            let path = self.path(&digest);
            match self.intact.look(&path, &digest).map_err(StoreError::io("read", &path))? {
                Look::Intact { bytes } => {
                    let file = File::open(&path).map_err(StoreError::io("open", &path))?;
                    objects.put_file(&key(&digest), &file, bytes)?;
                }
                Look::Absent => {}
                Look::Corrupt { found } => {
                    tracing::error!(%digest, %found, "a blob is corrupt and was not copied to the object store");
                }
            }
        }
        Ok(())
    }
}

/// The object store that has everything of this directory's.
fn marked(store_dir: &Path) -> Result<Option<String>, StoreError> {
    let marker = store_dir.join(MARKER);
    match fs::read_to_string(&marker) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some(read.map_err(StoreError::io("read", &marker))?.trim().to_owned())),
    }
}

fn mark(store_dir: &Path, marker: &Path, address: &str) -> io::Result<()> {
    let staged = store_dir.join("incoming").join(MARKER);
    fs::write(&staged, format!("{address}\n"))?;
    File::open(&staged)?.sync_all()?;
    fs::rename(&staged, marker)?;
    sync_dir(store_dir)
}

#[cfg(test)]
mod tests {
    use polder_core::digest::Algorithm;

    use crate::store::{Store, StoreConfig};

    #[tokio::test]
    async fn a_blob_that_the_object_store_lost_is_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        let blobs = Some(format!("file://{}", shared.display()));
        let store = Store::open(&StoreConfig { blobs, ..StoreConfig::local(dir.path().join("c")) }).await.unwrap();
        let model = store.blobs().put(Algorithm::Blake3, "model".into()).await.unwrap();
        let object = shared.join("blobs/blake3").join(model.hex());
        std::fs::remove_file(&object).unwrap();
        assert!(store.blobs().ensure_shared(&model).await.unwrap());
        assert_eq!(std::fs::read(&object).unwrap(), b"model");

        store.blobs().remove(&model).await.unwrap();
        assert!(!store.blobs().ensure_shared(&model).await.unwrap());
        assert!(!object.exists());
    }
}
