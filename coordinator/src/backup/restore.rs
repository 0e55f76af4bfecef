//! From a backup to a directory in which a coordinator can start, and to its database and object store.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use tokio::runtime::Handle;

use super::copy::Staging;
use super::{BackupError, Entry, JOURNAL, Manifest, Summary};
use crate::spool::Spool;
use crate::store::dump::{Row, load};
use crate::store::objects::Owner;
use crate::store::owner::of_place;
use crate::store::{Blobs, Objects, StoreConfig, StoreError};

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
    let staged = StoreConfig { dir: staging.path().to_path_buf(), ..to.clone() };
    let objects = Handle::current().block_on(Blobs::connect(&staged))?;
    let owner = objects.as_ref().map(|objects| take_over(objects, to)).transpose()?;
    let filled = fill(from, journal, &staged, objects.clone(), owner.as_ref()).and_then(|()| staging.finish());
    if let (Err(_), Some(objects)) = (&filled, &objects) {
        // Whoever tries again is another federation.
        let _ = objects.disown();
    }
    filled.map(|()| manifest.summary())
}

/// What is restored is a federation of its own: the one that the backup is of may go on, with its own objects.
fn take_over(objects: &Objects, to: &StoreConfig) -> Result<Owner, StoreError> {
    let us = Owner::new(&to.dir.display().to_string());
    us.expect(objects.owner()?.as_ref(), objects)?;
    us.expect(Some(&objects.claim(&us)?), objects)?;
    Ok(us)
}

/// Fills the object store and then, as it cannot be taken back like a directory, the database.
fn fill(
    from: &Path,
    journal: &Entry,
    staged: &StoreConfig,
    objects: Option<Objects>,
    owner: Option<&Owner>,
) -> Result<(), BackupError> {
    let of_place = match (&objects, owner) {
        (Some(objects), Some(owner)) => of_place(owner, objects.address()).to_vec(),
        _ => Vec::new(),
    };
    // Opening them copies what is here to the object store.
    Handle::current().block_on(Blobs::open(&staged.dir, objects.clone()))?;
    Spool::open(&staged.dir.join("spool"), objects)?;
    journal.check(from)?;
    let path = from.join(JOURNAL);
    let file = File::open(&path).map_err(BackupError::io("open", &path))?;
    let rows = BufReader::new(file).lines().map(|line| -> Result<Row, StoreError> {
        let line = line.map_err(StoreError::io("read", &path))?;
        serde_json::from_str(&line).map_err(|error| StoreError::Backup { what: format!("`{JOURNAL}`: {error}") })
    });
    let of_place = of_place.into_iter().map(|(key, value)| Ok(Row::of_shared(key, value.as_bytes())));
    Ok(Handle::current().block_on(load(staged, rows.chain(of_place)))?)
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
