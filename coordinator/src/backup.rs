//! Backups: everything that a federation would need to go on elsewhere, in a directory of plain files.
//!
//! | path | holds |
//! | --- | --- |
//! | `manifest.json` | every other file with its size and BLAKE3; written last |
//! | `journal.jsonl` | the database as of one instant, a row a line, the same for SQLite and PostgreSQL |
//! | `blobs/<algorithm>/<hex>` | what the journal refers to |
//! | `spool/<run>/<round>/<worker>~<hex>.update` | finished updates of rounds that are not over |
//! | `ca/` | the certificate authority, where it lies in the coordinator's directory |
//!
//! A backup may be taken beside a coordinator at work: the database is read in one transaction, everything else is named by
//! digest and never changes. Every file is checked when it is copied, in either direction.

use std::io;
use std::path::{Path, PathBuf};

use polder_core::{AssignmentId, Digest};

mod copy;
mod manifest;
mod restore;
mod take;

pub use manifest::{Entry, Manifest};
pub use restore::restore;
pub use take::take;

use crate::spool::SpoolError;
use crate::store::StoreError;

const MANIFEST: &str = "manifest.json";
const JOURNAL: &str = "journal.jsonl";

/// Why there is no backup, or nothing restored from one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("`{}` is there already and not empty; give another directory", dir.display())]
    NotEmpty { dir: PathBuf },
    #[error("`{}` is no coordinator's directory: there is no journal in it", dir.display())]
    NoCoordinator { dir: PathBuf },
    #[error("`{}` is no backup, or an unfinished one: it has no `manifest.json`", dir.display())]
    NoBackup { dir: PathBuf },
    #[error("`{}` cannot be read", path.display())]
    Manifest { path: PathBuf, source: serde_json::Error },
    #[error(
        "the backup `{}` was made by polder {written_by} (format {format}); this version reads format {}; use the newer \
         version",
        dir.display(),
        manifest::FORMAT
    )]
    Newer { dir: PathBuf, written_by: String, format: u32 },
    #[error("`{path}` is missing in the backup")]
    Missing { path: String },
    #[error("`{path}` is corrupt in the backup: it has {bytes} bytes and the digest {found}, not {expected}")]
    Corrupt { path: String, bytes: u64, expected: Digest, found: Digest },
    #[error("the manifest names `{path}`, which is no file of a backup")]
    Strange { path: String },
    #[error("blob {digest} is referred to, but is nowhere intact; send it again, or take an earlier backup")]
    BlobGone { digest: Digest },
    #[error("the update of {assignment} counts, but is nowhere intact; wait for its round to end, and try again")]
    UpdateGone { assignment: AssignmentId },
    #[error("the journal cannot be read to its end: {what}")]
    Journal { what: String },
    #[error(transparent)]
    Authority(#[from] polder_security::AuthorityError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("could not {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl BackupError {
    fn io<'path>(action: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> Self + use<'path> {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}

/// What a backup holds, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The last entry of the journal that it has.
    pub journal_seq: u64,
    pub blobs: usize,
    pub updates: usize,
    pub bytes: u64,
}

/// Reads every file of the backup in `dir` and checks it against the manifest; gives what is wrong with it, nothing if it
/// is good. Blocks.
pub fn verify(dir: &Path) -> Result<(Summary, Vec<BackupError>), BackupError> {
    let manifest = Manifest::read(dir)?;
    let mut faults = Vec::new();
    for file in &manifest.files {
        match file.check(dir) {
            Err(error @ (BackupError::Missing { .. } | BackupError::Corrupt { .. })) => faults.push(error),
            checked => checked?,
        }
    }
    Ok((manifest.summary(), faults))
}
