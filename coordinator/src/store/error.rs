//! Why the store could not do what it was asked, and whether waiting helps.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use polder_core::Digest;

use super::objects::{AddressError, ObjectsError};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`{}` is in use by another coordinator; stop that one first, or give another directory", dir.display())]
    InUse { dir: PathBuf },
    #[error(
        "`{place}` was written by polder {written_by} (format {format}); this is polder {ours}, which reads up to \
         format {newest}; start the newer version, or give another directory or database"
    )]
    Newer { place: String, written_by: String, format: i64, ours: &'static str, newest: i64 },
    #[error("could not {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("no space is left: {what}; it goes on by itself once there is some")]
    Full { what: String, source: Box<dyn Error + Send + Sync> },
    #[error("the journal could not be {action}")]
    Database { action: &'static str, source: sqlx::Error },
    #[error("the database's address cannot be used: {what}; it looks like `postgres://user@host/database`")]
    DatabaseAddress { what: String },
    #[error("the database `{database}` does not let us in: {fix}")]
    DatabaseRefused { database: String, fix: &'static str, source: sqlx::Error },
    #[error("the journal could not be {action}: the database `{database}` is away; is it running and reachable?")]
    DatabaseAway { database: String, action: &'static str, source: sqlx::Error },
    #[error("the journal could not be {action}: the database `{database}` gave no answer for {seconds} s")]
    DatabaseSilent { database: String, action: &'static str, seconds: u64 },
    #[error(
        "`{place}` has the format of an earlier version ({format}; this one's is {newest}); start this version's \
         coordinator on it once"
    )]
    Older { place: String, format: i64, newest: i64 },
    #[error("the backup cannot be used: {what}")]
    Backup { what: String },
    #[error("the journal could not be brought to this version's format")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("another coordinator leads (this one's term was {epoch}): nothing was written")]
    Fenced { epoch: u64 },
    #[error(
        "the database has lost journal entries: it had confirmed {confirmed} and ends at {found} now; if a replica took over, \
         make it a synchronous one; start this coordinator again, and it goes on from what is there"
    )]
    JournalLost { confirmed: u64, found: u64 },
    #[error("journal entry {expected} is missing (the next one is {found}); restore the directory from a backup")]
    JournalHole { expected: u64, found: u64 },
    #[error("log line {seq} cannot be read: {what}")]
    CorruptLog { seq: u64, what: String },
    #[error("there is no blob {digest}")]
    BlobMissing { digest: Digest },
    #[error(
        "blob {digest} is corrupt: its bytes have the digest {found}; its file is now `{}`; store the same bytes again, \
         or restore it from a backup",
        kept.display()
    )]
    BlobCorrupt { digest: Digest, found: Digest, kept: PathBuf },
    #[error(
        "`{key}` in the object store {address} is corrupt: its bytes have the digest {found}; store the same bytes \
         again, or restore it from a backup"
    )]
    ObjectCorrupt { address: String, key: String, found: Digest },
    #[error("the blobs of `{}` are in the object store {address}; give `--blobs {address}`", dir.display())]
    BlobsElsewhere { dir: PathBuf, address: String },
    #[error(
        "the federation's object store is {kept}, not {address}; give `--blobs {kept}`; to move it, stop all coordinators and \
         copy every object, `owner` too"
    )]
    BlobsOfOthers { kept: String, address: String },
    #[error(
        "the object store {address} is another federation's ({owner}); this one ({us}) and that one would remove each \
         other's objects; give `--blobs` with another prefix, or, where that one is gone for good, remove the object `owner`"
    )]
    ObjectsOwned { address: String, owner: String, us: String },
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Objects(ObjectsError),
    #[error("a task of the store was ended before it was done, because the coordinator is stopping")]
    Stopping,
}

impl From<ObjectsError> for StoreError {
    fn from(error: ObjectsError) -> Self {
        match error.full() {
            Ok(full) => Self::Full { what: format!("could not {} `{}`", full.action, full.place), source: full.source },
            Err(error) => Self::Objects(error),
        }
    }
}

impl StoreError {
    /// Whether it is worth waiting and asking again: a full disk, a database that is away or slow. Damage, refusals and
    /// a lost lease do not pass.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Full { .. } | Self::DatabaseAway { .. } | Self::DatabaseSilent { .. } => true,
            Self::Objects(error) => error.is_passing(),
            _ => false,
        }
    }

    pub(crate) fn io<'path>(action: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> Self + use<'path> {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { what: format!("could not {action} `{}`", path.display()), source: source.into() }
            }
            _ => Self::Io { action, path: path.to_path_buf(), source },
        }
    }

    /// Whether a row was there already: another write of ours came first.
    pub(super) fn is_collision(&self) -> bool {
        let Self::Database { source: sqlx::Error::Database(said), .. } = self else { return false };
        said.is_unique_violation()
    }
}
