//! Everything a coordinator must not lose: the journal, the log for people, and the blobs (models, policies).
//!
//! One directory holds it all and one coordinator holds the directory; coordinators that share a database keep there what
//! is not files.
//!
//! | path | holds |
//! | --- | --- |
//! | `lock` | locked while a coordinator lives, by the kernel, so a killed one leaves nothing behind |
//! | `journal.sqlite` | [`journal`], [`snapshot`], [`archive`]: what happened, in order; or in PostgreSQL |
//! | `blobs/<algorithm>/<hex>` | [`blobs`]: files by the digest of their bytes |
//! | `incoming/` | blobs being written; emptied at start |
//! | `quarantine/` | corrupt files, put aside for people; the last few |
//! | `objects` | the address of the object store that has everything of this directory's, if there is one ([`objects`]) |

use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use polder_core::RunId;

pub mod archive;
pub mod blobs;
mod database;
pub(crate) mod dump;
mod error;
pub(crate) mod intact;
pub mod journal;
pub mod lease;
pub mod objects;
pub(crate) mod owner;
pub(crate) mod room;
mod shared;
pub mod snapshot;

pub use archive::{Prune, Pruned};
pub(crate) use blobs::PlacedWriter;
pub use blobs::{BlobWriter, Blobs};
pub use error::StoreError;
pub use journal::{ArchivedRound, JournalEntry, LogEntry, LogLine, Recorded};
pub use lease::{Leader, Member, MemberSeen, Term};
pub use objects::{ObjectStoreUrl, Objects, ObjectsError};
pub use snapshot::Snapshot;

use database::Database;
use journal::{Batch, Journal};

/// Where a store lies.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Local files; everything, where nothing else is named.
    pub dir: PathBuf,
    /// The address of a PostgreSQL database that coordinators share; else it is SQLite in the directory.
    pub database: Option<String>,
    /// The address of an object store that coordinators share.
    pub blobs: Option<String>,
}

impl StoreConfig {
    /// Everything in `dir`.
    pub fn local(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), database: None, blobs: None }
    }
}

impl fmt::Debug for StoreConfig {
    /// Without the addresses: they may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = |address: &Option<String>| address.is_some();
        let (database, blobs) = (given(&self.database), given(&self.blobs));
        f.debug_struct("StoreConfig")
            .field("dir", &self.dir)
            .field("database", &database)
            .field("blobs", &blobs)
            .finish()
    }
}

/// A coordinator's durable state. There is at most one for a directory, on the whole machine.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    database: Database,
    journal: Journal,
    blobs: Blobs,
    /// Held for its lock.
    _lock: File,
}

impl Store {
    /// Opens the store in its directory, which is created (for this user alone) if it is not there, and its database.
    ///
    /// Refuses a directory that another coordinator has open, an object store that is another federation's, and a directory
    /// or database that a newer version has written; what an older version has written is brought to this version's
    /// format. Half-written blobs are removed.
    pub async fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let dir = &config.dir;
        let lock = lock(dir)?;
        let database = Database::open(config).await?;
        let objects = Blobs::connect(config).await?;
        owner::own(&database, config, objects.as_ref()).await?;
        let blobs = Blobs::open(dir, objects).await?;
        Ok(Self { dir: dir.clone(), database, journal: Journal::default(), blobs, _lock: lock })
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// `sqlite` or `postgres`.
    #[must_use]
    pub fn database_kind(&self) -> &'static str {
        match self.database {
            Database::Sqlite(_) => "sqlite",
            Database::Postgres(_) => "postgres",
        }
    }

    /// Adds `entries`, `lines` and `rounds` in one transaction that is on disk when this returns: all of them or, with
    /// an error, none. Gives the number of the last entry in the journal.
    ///
    /// With [an error that passes](StoreError::is_passing) it may be that they are there all the same: call again with
    /// the same, until it works or fails for good; they are never written twice. A caller that is cancelled does not
    /// know which of the two it was. A term that is over writes nothing.
    pub async fn append(
        &self,
        term: Term,
        entries: &[JournalEntry],
        lines: &[LogLine],
        rounds: &[ArchivedRound],
    ) -> Result<u64, StoreError> {
        self.journal.append(&self.database, term, Batch { entries, lines, rounds }).await
    }

    /// Hands every entry from number `from_seq` (the first is 1) on to `each`, in order. Stops at its first error.
    pub async fn replay<E: From<StoreError>>(
        &self,
        from_seq: u64,
        each: impl FnMut(Recorded) -> Result<(), E>,
    ) -> Result<(), E> {
        self.journal.replay(&self.database, from_seq, each).await
    }

    /// At most `limit` log lines after number `after_seq`, oldest first: of one run, or of everything.
    pub async fn log_lines(
        &self,
        run: Option<&RunId>,
        after_seq: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        journal::log_lines(&self.database, run, after_seq, limit).await
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
