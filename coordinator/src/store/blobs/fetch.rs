//! Between this directory and the object store.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use object_store::path::Path as Key;
use polder_core::Digest;

use super::{Blobs, OBJECTS, digest_in, key, local_digests};
use crate::store::intact::{Hashing, Look};
use crate::store::objects::Objects;
use crate::store::{StoreError, sync_dir};

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

    /// Copies to the object store what lay here before there was one, once for each object store.
    pub(super) fn adopt(&self, store_dir: &Path) -> Result<(), StoreError> {
        let marker = store_dir.join(MARKER);
        let marked = match fs::read_to_string(&marker) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(StoreError::io("read", &marker))?.trim().to_owned()),
        };
        match (&self.objects, marked) {
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

fn mark(store_dir: &Path, marker: &Path, address: &str) -> io::Result<()> {
    let staged = store_dir.join("incoming").join(MARKER);
    fs::write(&staged, format!("{address}\n"))?;
    File::open(&staged)?.sync_all()?;
    fs::rename(&staged, marker)?;
    sync_dir(store_dir)
}
