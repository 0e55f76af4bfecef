//! The spool's part of the object store: finished updates, for whoever leads next.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use object_store::path::Path as Key;
use polder_core::digest::Algorithm;
use polder_core::{AssignmentId, Digest};
use tempfile::NamedTempFile;

use super::index::{Index, UNFINISHED};
use super::name::{self, State};
use super::{Held, Spool, SpoolError};
use crate::store::intact::{Hashing, Intact, Look};
use crate::store::room::reserve;
use crate::store::{Objects, sync_dir};

/// Names the object store that has every finished update of this spool's.
const MARKER: &str = "objects";

impl Spool {
    /// Copies a finished update to the object store.
    pub(super) fn store(
        &self,
        assignment: &AssignmentId,
        digest: &Digest,
        file: &File,
        bytes: u64,
    ) -> Result<(), SpoolError> {
        match &self.objects {
            Some(objects) => Ok(objects.put_file(&name::key(assignment, digest), file, bytes)?),
            None => Ok(()),
        }
    }

    pub(super) fn unstore(&self, assignment: &AssignmentId, digest: &Digest) -> Result<(), SpoolError> {
        match &self.objects {
            Some(objects) => Ok(objects.delete(&name::key(assignment, digest))?),
            None => Ok(()),
        }
    }

    pub(super) fn remove_stored(&self, keys: &Key) -> Result<(), SpoolError> {
        match &self.objects {
            Some(objects) => Ok(objects.delete_all(keys)?),
            None => Ok(()),
        }
    }

    /// The finished updates that the object store has.
    pub(super) fn stored(&self) -> Result<Vec<Held>, SpoolError> {
        let Some(objects) = &self.objects else { return Ok(Vec::new()) };
        let held = |(key, bytes): &(Key, u64)| {
            let (assignment, digest) = name::assignment_of(key)?;
            Some(Held { assignment, digest, bytes: *bytes, whole: true })
        };
        Ok(objects.list(&name::all_keys())?.iter().filter_map(held).collect())
    }

    /// Brings a finished update that is not here from the object store; gives its size if it was there. The caller has the
    /// file's turn.
    pub(super) fn fetch(&self, assignment: &AssignmentId, digest: &Digest) -> Result<Option<u64>, SpoolError> {
        let Some(objects) = &self.objects else { return Ok(None) };
        let key = name::key(assignment, digest);
        let Some(bytes) = objects.size(&key)? else { return Ok(None) };
        let folder = self.make_folder(assignment)?;
        let mut file =
            NamedTempFile::with_prefix_in(UNFINISHED, &folder).map_err(SpoolError::io("create a file in", &folder))?;
        reserve(file.as_file(), bytes).map_err(SpoolError::io("make room for", file.path()))?;
        let mut hashing = Hashing::new(Algorithm::Blake3);
        objects.read(&key, bytes, |piece| {
            hashing.take(piece);
            file.write_all(piece).map_err(SpoolError::io("write", &folder))
        })?;
        let found = hashing.finish();
        if found != *digest {
            let object = format!("`{key}` in the object store {}", objects.address());
            return Err(SpoolError::ObjectCorrupt { assignment: assignment.clone(), object, found });
        }
        file.as_file().sync_data().map_err(SpoolError::io("sync", file.path()))?;
        let path = self.path(assignment, digest, State::Whole);
        file.persist(&path).map_err(|error| SpoolError::io("create", &path)(error.error))?;
        self.sync_folder(assignment)?;
        self.index().insert(assignment, *digest, State::Whole);
        self.intact.vouch(&path);
        tracing::info!(%assignment, bytes, "fetched an update from the object store");
        Ok(Some(bytes))
    }

    /// The spool of another process, as it is now: for reading only.
    pub(crate) fn attach(dir: &Path, objects: Option<Objects>) -> Result<Self, SpoolError> {
        let index = Arc::new(Mutex::new(Index::read(dir)?));
        let intact = Intact::new(dir.with_file_name("quarantine"));
        let (receiving, folders) = Default::default();
        Ok(Self { dir: dir.into(), index, receiving, folders, intact, objects })
    }

    /// The files of finished updates, and what each should hold.
    pub(crate) fn finished(&self) -> Vec<(PathBuf, Digest)> {
        let finished = self.index().all().into_iter().filter(|(.., state)| *state == State::Whole);
        finished.map(|(assignment, digest, state)| (self.path(&assignment, &digest, state), digest)).collect()
    }

    /// Writes a finished update's bytes to `out`, from here if they are intact, else from the object store; whether it was
    /// there. On an error part of it may have been written.
    pub(crate) fn copy_to(
        &self,
        assignment: &AssignmentId,
        digest: &Digest,
        out: &mut impl Write,
    ) -> Result<bool, SpoolError> {
        let path = self.path(assignment, digest, State::Whole);
        if let Look::Intact { .. } = self.intact.look(&path, digest).map_err(SpoolError::io("read", &path))? {
            let copied = File::open(&path).and_then(|mut file| io::copy(&mut file, out));
            return copied.map(|_| true).map_err(SpoolError::io("copy", &path));
        }
        let Some(objects) = &self.objects else { return Ok(false) };
        let key = name::key(assignment, digest);
        let Some(bytes) = objects.size(&key)? else { return Ok(false) };
        objects.read(&key, bytes, |piece| out.write_all(piece).map_err(SpoolError::io("copy", &path)))?;
        Ok(true)
    }

    /// Copies to the object store what was finished before there was one, once for each object store.
    pub(super) fn adopt(&self) -> Result<(), SpoolError> {
        let Some(objects) = &self.objects else { return Ok(()) };
        let marker = self.dir.join(MARKER);
        match fs::read_to_string(&marker) {
            Ok(address) if address.trim() == objects.address() => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SpoolError::io("read", &marker)(error));
            }
            _ => {}
        }
        let stored: Vec<_> = self.stored()?.into_iter().map(|held| (held.assignment, held.digest)).collect();
        let finished = self.index().all().into_iter().filter(|(.., state)| *state == State::Whole);
        for (assignment, digest, _) in finished.collect::<Vec<_>>() {
            if stored.contains(&(assignment.clone(), digest)) {
                continue;
            }
            let path = self.path(&assignment, &digest, State::Whole);
            let failed = |action| SpoolError::io(action, &path);
            if let Look::Intact { bytes } = self.intact.look(&path, &digest).map_err(failed("read"))? {
                self.store(&assignment, &digest, &File::open(&path).map_err(failed("open"))?, bytes)?;
            }
        }
        let mark = || -> io::Result<()> {
            let mut file = NamedTempFile::with_prefix_in(UNFINISHED, &self.dir)?;
            writeln!(file, "{}", objects.address())?;
            file.as_file().sync_all()?;
            file.persist(&marker)?;
            sync_dir(&self.dir)
        };
        mark().map_err(SpoolError::io("write", &marker))
    }
}
