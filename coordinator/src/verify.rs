//! Whether every blob and every finished update holds the bytes that its name promises: all of them read, nothing changed.
//! A coordinator may be at work on them.

use std::fs::File;
use std::io;
use std::path::Path;

use polder_core::Digest;

use crate::spool::{Spool, SpoolError};
use crate::store::blobs::{digest_in, local_digests};
use crate::store::intact::{Hashing, digest_of};
use crate::store::{Blobs, Objects, ObjectsError, StoreConfig, StoreError};

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("`{}` is no coordinator's directory: there are no blobs in it", dir.display())]
    NoCoordinator { dir: std::path::PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Objects(#[from] ObjectsError),
}

/// A file or object that does not hold what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its path, or its name in the object store.
    pub place: String,
    pub expected: Digest,
    pub found: Digest,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub files: u64,
    pub faults: u64,
}

/// Reads the directory of `config` and, if it names one, the object store; hands on what is corrupt. Blocks.
pub fn verify(config: &StoreConfig, each: impl FnMut(Fault)) -> Result<Checked, VerifyError> {
    let folder = config.dir.join("blobs");
    if !folder.is_dir() {
        return Err(VerifyError::NoCoordinator { dir: config.dir.clone() });
    }
    let blobs = Blobs::attach(config)?;
    let mut verifying = Verifying { checked: Checked::default(), each };
    for digest in local_digests(&folder)? {
        verifying.file(&blobs.path(&digest), digest)?;
    }
    for (path, digest) in Spool::attach(&config.dir.join("spool"), None)?.finished() {
        verifying.file(&path, digest)?;
    }
    if let Some(objects) = blobs.objects() {
        verifying.objects(objects)?;
    }
    Ok(verifying.checked)
}

struct Verifying<F> {
    checked: Checked,
    each: F,
}

impl<F: FnMut(Fault)> Verifying<F> {
    fn file(&mut self, path: &Path, expected: Digest) -> Result<(), StoreError> {
        let found = File::open(path).and_then(|mut file| digest_of(&mut file, expected.algorithm));
        match found {
            // It has gone meanwhile, as files do where a coordinator is at work.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            found => {
                self.judge(|| path.display().to_string(), expected, found.map_err(StoreError::io("read", path))?);
                Ok(())
            }
        }
    }

    fn objects(&mut self, objects: &Objects) -> Result<(), ObjectsError> {
        for (key, bytes) in objects.list_all()? {
            let in_spool = || crate::spool::digest_in(&key);
            let Some(expected) = digest_in(&key).or_else(in_spool) else { continue };
            let mut hashing = Hashing::new(expected.algorithm);
            let read = objects.read(&key, bytes, |piece| {
                hashing.take(piece);
                Ok(())
            });
            match read {
                Err(error) if ObjectsError::is_missing(&error) => {}
                read => {
                    read?;
                    self.judge(|| format!("{}/{key}", objects.address()), expected, hashing.finish());
                }
            }
        }
        Ok(())
    }

    fn judge(&mut self, place: impl FnOnce() -> String, expected: Digest, found: Digest) {
        self.checked.files += 1;
        if found != expected {
            self.checked.faults += 1;
            (self.each)(Fault { place: place(), expected, found });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use polder_core::digest::Algorithm;

    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn each_corrupt_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            blobs: Some(format!("file://{}/objects", dir.path().display())),
            ..StoreConfig::local(dir.path().join("a"))
        };
        let store = Store::open(&config).await.unwrap();
        let put = async |algorithm, bytes| store.blobs().put(algorithm, bytes).await.unwrap();
        let model = put(Algorithm::Blake3, "model".into()).await;
        let policy = put(Algorithm::Sha256, "policy".into()).await;
        let mut faults = Vec::new();
        let checked = verify(&config, |fault| faults.push(fault)).unwrap();
        assert_eq!((checked, faults.len()), (Checked { files: 4, faults: 0 }, 0));

        fs::write(store.blobs().path(&policy), "Policy").unwrap();
        fs::write(dir.path().join("objects/blobs/blake3").join(model.hex()), "modem").unwrap();
        let checked = verify(&config, |fault| faults.push(fault)).unwrap();
        assert_eq!(checked, Checked { files: 4, faults: 2 });
        assert_eq!(faults[0].place, store.blobs().path(&policy).display().to_string());
        assert_eq!(faults[1].expected, model);
        assert!(faults[1].place.starts_with("file://"), "{}", faults[1].place);
    }
}
