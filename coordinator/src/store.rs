//! Everything a coordinator must not lose: the journal, the log for people, and the blobs (models, policies).
//!
//! One directory holds it all and one coordinator holds the directory:
//!
//! | path | holds |
//! | --- | --- |
//! | `lock` | locked while a coordinator lives, by the kernel, so a killed one leaves nothing behind |
//! | `journal.sqlite` | [`journal`]: what happened, in order |
//! | `blobs/<algorithm>/<hex>` | [`blobs`]: files by the digest of their bytes |
//! | `incoming/` | blobs being written; emptied at start |

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use polder_core::{Digest, RunId};

pub mod blobs;
pub mod journal;

pub(crate) use blobs::PlacedWriter;
pub use blobs::{BlobWriter, Blobs};
pub use journal::{JournalEntry, LogEntry, LogLine, Recorded};

use journal::Journal;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`{}` is in use by another coordinator; stop that one first, or give another directory", dir.display())]
    InUse { dir: PathBuf },
    #[error(
        "`{}` was written by polder {written_by} (format {format}); this is polder {ours}, which reads up to format \
         {newest}; start the newer version, or give another directory",
        dir.display()
    )]
    Newer { dir: PathBuf, written_by: String, format: i64, ours: &'static str, newest: i64 },
    #[error("could not {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the journal could not be {action}")]
    Database { action: &'static str, source: sqlx::Error },
    #[error("the journal could not be brought to this version's format")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("journal entry {expected} is missing (the next one is {found}); restore the directory from a backup")]
    JournalHole { expected: u64, found: u64 },
    #[error("log line {seq} cannot be read: {what}")]
    CorruptLog { seq: u64, what: String },
    #[error("there is no blob {digest}")]
    BlobMissing { digest: Digest },
    #[error("blob {digest} is corrupt: its bytes have the digest {found}; restore it from a backup")]
    BlobCorrupt { digest: Digest, found: Digest },
    #[error("blob {digest} could not be {action}")]
    Blob { digest: Digest, action: &'static str, source: Box<object_store::Error> },
    #[error("the blobs could not be listed")]
    BlobList(#[source] Box<object_store::Error>),
    #[error("a task of the store was ended before it was done, because the coordinator is stopping")]
    Stopping,
}

impl StoreError {
    pub(crate) fn io<'path>(action: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> Self + use<'path> {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}

/// A coordinator's durable state. There is at most one for a directory, on the whole machine.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    journal: Journal,
    blobs: Blobs,
    /// Held for its lock.
    _lock: File,
}

impl Store {
    /// Opens the store in `dir`, which is created (for this user alone) if it is not there.
    ///
    /// Refuses a directory that another coordinator has open and one that a newer version has written; what an
    /// older version has written is brought to this version's format. Half-written blobs are removed.
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        let lock = lock(dir)?;
        let journal = Journal::open(dir).await?;
        let blobs = Blobs::open(dir)?;
        Ok(Self { dir: dir.to_path_buf(), journal, blobs, _lock: lock })
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Adds `entries` and `lines` in one transaction that is on disk when this returns: all of them or, with an
    /// error, none. Gives the number of the last entry in the journal.
    ///
    /// A caller that is cancelled meanwhile does not know which of the two it was.
    pub async fn append(&self, entries: &[JournalEntry], lines: &[LogLine]) -> Result<u64, StoreError> {
        self.journal.append(entries, lines).await
    }

    /// Hands every entry from number `from_seq` (the first is 1) on to `each`, in order. Stops at its first error.
    pub async fn replay<E: From<StoreError>>(
        &self,
        from_seq: u64,
        each: impl FnMut(Recorded) -> Result<(), E>,
    ) -> Result<(), E> {
        self.journal.replay(from_seq, each).await
    }

    /// At most `limit` log lines after number `after_seq`, oldest first: of one run, or of everything.
    pub async fn log_lines(
        &self,
        run: Option<&RunId>,
        after_seq: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.journal.log_lines(run, after_seq, limit).await
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("create", dir))?;
    // A directory that was there before may be open to others; what will lie in it is not for them.
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(StoreError::io("close to others", dir))?;
    let path = dir.join("lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(StoreError::Io { action: "lock", path, source }),
    }
}

/// Makes the names in `dir` durable, after a file in it was created, renamed or removed.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
