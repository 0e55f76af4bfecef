//! From a backup to a directory in which a coordinator can start, and to its database and object store.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use tokio::runtime::Handle;

use super::copy::Staging;
use super::{BackupError, Entry, JOURNAL, Manifest, Summary};
use crate::spool::Spool;
use crate::store::dump::{Row, load};
use crate::store::{Blobs, StoreConfig, StoreError};

/// Restores the backup in `from` to what `to` names: a directory that is empty or not there, a database that holds nothing,
/// an object store. The directory appears under its name only when all is well.
pub async fn restore(from: &Path, to: &StoreConfig) -> Result<Summary, BackupError> {
    let (from, to) = (from.to_path_buf(), to.clone());
    let work = move || restore_here(&from, &to);
    tokio::task::spawn_blocking(work).await.map_err(|_| BackupError::Store(StoreError::Stopping))?
}

fn restore_here(from: &Path, to: &StoreConfig) -> Result<Summary, BackupError> {
    let manifest = Manifest::read(from)?;
    let staging = Staging::for_dir(&to.dir)?;
    let journal = manifest.files.iter().find(|file| file.path == JOURNAL);
    let journal = journal.ok_or_else(|| BackupError::Missing { path: JOURNAL.into() })?;
    for file in manifest.files.iter().filter(|file| file.path != JOURNAL) {
        copy(&staging, from, file)?;
    }
    // Opening them copies what is here to the object store.
    let staged = StoreConfig { dir: staging.path().to_path_buf(), ..to.clone() };
    let blobs = Handle::current().block_on(Blobs::open(&staged.dir, staged.blobs.as_deref()))?;
    Spool::open(&staged.dir.join("spool"), blobs.objects().cloned())?;
    // Last, as a database cannot be taken back like a directory.
    journal.check(from)?;
    let path = from.join(JOURNAL);
    let file = File::open(&path).map_err(BackupError::io("open", &path))?;
    let rows = BufReader::new(file).lines().map(|line| -> Result<Row, StoreError> {
        let line = line.map_err(StoreError::io("read", &path))?;
        serde_json::from_str(&line).map_err(|error| StoreError::Backup { what: format!("`{JOURNAL}`: {error}") })
    });
    Handle::current().block_on(load(&staged, rows))?;
    staging.finish()?;
    Ok(manifest.summary())
}

/// Copies a file of the backup and checks it on its way.
fn copy(staging: &Staging, from: &Path, file: &Entry) -> Result<(), BackupError> {
    let path = from.join(&file.path);
    let source = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BackupError::Missing { path: file.path.clone() });
        }
        source => source.map_err(BackupError::io("open", &path))?,
    };
    let copied = staging
        .write(&file.path, |out| io::copy(&mut &source, out).map(|_| ()).map_err(BackupError::io("copy", &path)))?;
    if copied == *file {
        return Ok(());
    }
    let Entry { path, bytes, digest: found } = copied;
    Err(BackupError::Corrupt { path, bytes, expected: file.digest, found })
}
