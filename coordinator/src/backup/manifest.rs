//! What a backup says of itself.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path};

use polder_core::Digest;
use polder_core::digest::Algorithm;
use serde::{Deserialize, Serialize};

use super::{BackupError, MANIFEST, Summary};
use crate::store::intact::digest_of;

pub(super) const FORMAT: u32 = 1;
/// Largest manifest that is read.
const BYTES_MAX: u64 = 256 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of the program that made it.
    pub written_by: String,
    /// When, in milliseconds since the Unix epoch.
    pub taken_ms: u64,
    /// The fingerprint of the federation's authority, where it lies in the directory.
    pub federation: Option<String>,
    /// The last entry of the journal.
    pub journal_seq: u64,
    pub files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Below the backup's directory, with slashes.
    pub path: String,
    pub bytes: u64,
    /// BLAKE3.
    pub digest: Digest,
}

impl Manifest {
    pub fn read(dir: &Path) -> Result<Self, BackupError> {
        let path = dir.join(MANIFEST);
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::NoBackup { dir: dir.to_path_buf() });
            }
            metadata => metadata.map_err(BackupError::io("look at", &path))?,
        };
        if metadata.len() > BYTES_MAX {
            return Err(BackupError::io("read", &path)(io::ErrorKind::FileTooLarge.into()));
        }
        let text = fs::read(&path).map_err(BackupError::io("read", &path))?;
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|source| BackupError::Manifest { path: path.clone(), source })?;
        if manifest.format > FORMAT {
            let Self { written_by, format, .. } = manifest;
            return Err(BackupError::Newer { dir: dir.to_path_buf(), written_by, format });
        }
        manifest.files.iter().try_for_each(Entry::check_path)?;
        Ok(manifest)
    }

    pub(super) fn summary(&self) -> Summary {
        let below = |folder: &str| self.files.iter().filter(|file| file.path.starts_with(folder)).count();
        Summary {
            journal_seq: self.journal_seq,
            blobs: below("blobs/"),
            updates: below("spool/"),
            bytes: self.files.iter().map(|file| file.bytes).sum(),
        }
    }
}

impl Entry {
    /// A path leads to nowhere else.
    fn check_path(&self) -> Result<(), BackupError> {
        let plain = Path::new(&self.path).components().all(|part| matches!(part, Component::Normal(_)));
        if plain && !self.path.is_empty() && self.digest.algorithm == Algorithm::Blake3 {
            Ok(())
        } else {
            Err(BackupError::Strange { path: self.path.clone() })
        }
    }

    /// Reads the file and checks it.
    pub(super) fn check(&self, dir: &Path) -> Result<(), BackupError> {
        let path = dir.join(&self.path);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::Missing { path: self.path.clone() });
            }
            file => file.map_err(BackupError::io("open", &path))?,
        };
        let found = digest_of(&mut file, Algorithm::Blake3).map_err(BackupError::io("read", &path))?;
        let bytes = file.metadata().map_err(BackupError::io("look at", &path))?.len();
        if (found, bytes) == (self.digest, self.bytes) {
            return Ok(());
        }
        Err(BackupError::Corrupt { path: self.path.clone(), bytes, expected: self.digest, found })
    }
}
