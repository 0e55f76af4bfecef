//! Received updates, durably, from the first byte of an upload to the commit of its round.
//!
//! An upload grows in a partial file and may be taken up again where it stopped, after a cut line and after a crash of
//! either side. When it is whole, good and on disk, its file gets its final name. Updates are checked while they
//! stream in: header, every value, length, digest; a file that fails a check is removed at once.
//!
//! A finished update lies at `<run>/<round>/<worker>~<hex digest>.update`, an unfinished one at `….partial`. Where
//! coordinators share an [object store](Objects), a finished one also lies there, as `spool/<run>/<round>/<worker>/<hex>`,
//! before anybody is told that it was taken: whoever leads next finds it. Everything here blocks: call it where blocking
//! is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::digest::Algorithm;
use polder_core::{AssignmentId, Digest, RoundNumber, RunId};
use polder_tensor::{Layout, UpdateCheck, UpdateFault};

use crate::store::intact::{Intact, Look};
use crate::store::objects::is_full;
use crate::store::{Objects, ObjectsError, sync_dir};

mod index;
mod name;
mod receiver;
mod rounds;
mod shared;

pub(crate) use name::{OBJECTS, digest_in};
pub use receiver::Receiver;

use index::{Index, make_folder, move_flat_files, remove_unfinished_fetches};
use name::{FileName, State};

/// How much is read at a time to check again what an earlier connection brought, in bytes.
const REREAD_BYTES: usize = 1 << 18;

/// Why the spool could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("an upload for {assignment} is already going on")]
    Busy { assignment: AssignmentId },
    #[error("another update for {assignment} is already here: {held}")]
    AlreadyHeld { assignment: AssignmentId, held: Digest },
    #[error("{offset} bytes were left out: {held} bytes of the update for {assignment} are here; go on from there")]
    WrongOffset { assignment: AssignmentId, held: u64, offset: u64 },
    #[error("the update would have {got} bytes; the model's shape gives it {expected}")]
    WrongSize { expected: u64, got: u64 },
    #[error(transparent)]
    Fault(#[from] UpdateFault),
    #[error("the update was announced as {announced}, but its bytes have the digest {found}")]
    WrongDigest { announced: Digest, found: Digest },
    #[error("what was here of the update for {assignment} was not what had been sent, and is gone; start again at 0")]
    NotAsSent { assignment: AssignmentId },
    #[error("this upload failed before; start another")]
    Broken,
    #[error("the update of {assignment} is corrupt: its bytes have the digest {found}; its file is now `{}`", kept.display())]
    Corrupt { assignment: AssignmentId, found: Digest, kept: PathBuf },
    #[error("{object} is corrupt: its bytes have the digest {found}")]
    ObjectCorrupt { assignment: AssignmentId, object: String, found: Digest },
    #[error(transparent)]
    Objects(ObjectsError),
    #[error("no space is left: could not {action} `{}`; it goes on by itself once there is some", path.display())]
    Full { action: &'static str, path: PathBuf, source: io::Error },
    #[error("could not {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl From<ObjectsError> for SpoolError {
    fn from(error: ObjectsError) -> Self {
        match error.full() {
            Ok(full) => Self::Full {
                action: full.action,
                path: full.place.into(),
                source: io::Error::new(io::ErrorKind::StorageFull, full.source),
            },
            Err(error) => Self::Objects(error),
        }
    }
}

impl SpoolError {
    fn io<'path>(action: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> Self + use<'path> {
        move |source| {
            let path = path.to_path_buf();
            if is_full(&source) { Self::Full { action, path, source } } else { Self::Io { action, path, source } }
        }
    }

    /// Whether it is worth waiting and asking again: a full disk, an object store that is away.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Objects(error) => error.is_passing(),
            _ => false,
        }
    }
}

/// An update that is whole, was found good and is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpooledUpdate {
    pub assignment: AssignmentId,
    /// BLAKE3 of the file.
    pub digest: Digest,
    pub path: PathBuf,
    pub bytes: u64,
}

/// What an upload will be, as announced before its first byte.
#[derive(Clone, Debug)]
pub struct Announced {
    pub assignment: AssignmentId,
    /// The shape of the model that the update is for.
    pub layout: Arc<Layout>,
    /// BLAKE3 of the whole file.
    pub digest: Digest,
    /// Size of the whole file.
    pub bytes: u64,
}

/// A file that the spool holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub assignment: AssignmentId,
    pub digest: Digest,
    pub bytes: u64,
    /// Whether the upload was finished, and the update found good.
    pub whole: bool,
}

/// The folders of rounds, and whether they are on disk under their names. Locked while folders are made and removed, so
/// that nobody finds half of a path.
type Folders = BTreeMap<(RunId, RoundNumber), Arc<AtomicBool>>;

/// The spool of one coordinator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: Arc<Path>,
    index: Arc<Mutex<Index>>,
    /// Assignments with an open [`Receiver`].
    receiving: Arc<Mutex<BTreeSet<AssignmentId>>>,
    folders: Arc<Mutex<Folders>>,
    intact: Intact,
    objects: Option<Objects>,
}

impl Spool {
    /// Opens the spool in the directory `dir`, which is created if it is not there. Finished updates from before there was
    /// this object store are copied to it.
    pub fn open(dir: &Path, objects: Option<Objects>) -> Result<Self, SpoolError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(SpoolError::io("create", dir))?;
        let parent = dir.parent().unwrap_or(dir);
        sync_dir(parent).map_err(SpoolError::io("sync", parent))?;
        move_flat_files(dir)?;
        remove_unfinished_fetches(dir)?;
        let index = Arc::new(Mutex::new(Index::read(dir)?));
        let intact = Intact::new(dir.with_file_name("quarantine"));
        let (receiving, folders) = Default::default();
        let spool = Self { dir: dir.into(), index, receiving, folders, intact, objects };
        spool.adopt()?;
        Ok(spool)
    }

    /// How many bytes of the update `digest` for `assignment` are here: where an upload goes on. All of them if it
    /// was finished.
    pub fn status(&self, assignment: &AssignmentId, digest: &Digest) -> Result<u64, SpoolError> {
        let bytes = |state| file_bytes(&self.path(assignment, digest, state));
        Ok(bytes(State::Whole)?.or(bytes(State::Partial)?).unwrap_or(0))
    }

    /// Takes up an upload at `offset`, which must be what [`status`](Self::status) says, or starts one at 0.
    ///
    /// Bytes that are already here are read and checked again. One upload an assignment at a time; a new digest
    /// replaces what was unfinished under another, but not an update that was finished.
    pub fn resume(&self, announced: Announced, offset: u64) -> Result<Receiver, SpoolError> {
        let expected = announced.layout.file_bytes();
        if announced.bytes != expected {
            return Err(SpoolError::WrongSize { expected, got: announced.bytes });
        }
        let turn = Turn::take(self, &announced.assignment)?;
        let whole = self.make_room(&announced)?;
        let state = if whole { State::Whole } else { State::Partial };
        let path = self.path(&announced.assignment, &announced.digest, state);
        let held = file_bytes(&path)?.unwrap_or(0);
        if offset != held {
            return Err(SpoolError::WrongOffset { assignment: announced.assignment, held, offset });
        }
        Receiver::open(self, announced, turn, path, whole)
    }

    /// The finished update `digest` for `assignment`, if it is here or in the object store; found intact, or known to be.
    ///
    /// # Errors
    /// [`SpoolError::Corrupt`] if it is not, and no other copy is there either. Its file is then out of the way: whoever
    /// still has the update may send it again.
    pub fn find(&self, assignment: &AssignmentId, digest: &Digest) -> Result<Option<SpooledUpdate>, SpoolError> {
        let path = self.path(assignment, digest, State::Whole);
        if digest.algorithm != Algorithm::Blake3 {
            return Ok(None);
        }
        let found =
            |bytes| SpooledUpdate { assignment: assignment.clone(), digest: *digest, path: path.clone(), bytes };
        if let Some(bytes) = self.intact.known(&path) {
            return Ok(Some(found(bytes)));
        }
        let _turn = self.intact.turn(&path);
        // Its upload may have been cut between its name and the disk.
        self.sync_file(assignment, &path)?;
        let corrupt = match self.intact.look(&path, digest).map_err(SpoolError::io("read", &path))? {
            Look::Intact { bytes } => return Ok(Some(found(bytes))),
            Look::Absent => None,
            Look::Corrupt { found } => Some(self.put_aside(assignment, digest, found)?),
        };
        match (self.fetch(assignment, digest)?, corrupt) {
            (Some(bytes), _) => Ok(Some(found(bytes))),
            (None, None) => Ok(None),
            (None, Some(error)) => Err(error),
        }
    }

    fn put_aside(&self, assignment: &AssignmentId, digest: &Digest, found: Digest) -> Result<SpoolError, SpoolError> {
        let path = self.path(assignment, digest, State::Whole);
        let kept = self.intact.quarantine(&path).map_err(SpoolError::io("put aside", &path))?;
        self.index().remove(assignment, digest);
        tracing::error!(%assignment, %found, kept = %kept.display(), "an update is corrupt; its file was put aside");
        Ok(SpoolError::Corrupt { assignment: assignment.clone(), found, kept })
    }

    /// Everything that is here or in the object store, in no order.
    pub fn list(&self) -> Result<Vec<Held>, SpoolError> {
        let mut held = Vec::new();
        let here = self.index().all();
        for (assignment, digest, state) in here {
            if let Some(bytes) = file_bytes(&self.path(&assignment, &digest, state))? {
                held.push(Held { assignment, digest, bytes, whole: state == State::Whole });
            }
        }
        held.extend(self.stored()?);
        held.sort_unstable_by(|a, b| (&a.assignment, a.digest).cmp(&(&b.assignment, b.digest)));
        held.dedup_by(|a, b| a.whole && b.whole && (&a.assignment, a.digest) == (&b.assignment, b.digest));
        Ok(held)
    }

    /// Removes all files of one assignment: for an update that was finished but never accepted.
    pub fn discard(&self, assignment: &AssignmentId) -> Result<(), SpoolError> {
        let files = self.index().of(assignment);
        for (digest, state) in files {
            self.drop_file(assignment, &digest, state)?;
        }
        self.remove_stored(&name::assignment_keys(assignment))
    }

    /// Says whether the announced update is already here, and removes what is unfinished of others.
    fn make_room(&self, announced: &Announced) -> Result<bool, SpoolError> {
        let assignment = &announced.assignment;
        let mut whole = false;
        let files = self.index().of(assignment);
        for (digest, state) in files {
            match state {
                State::Whole if digest == announced.digest => whole = true,
                State::Whole => return Err(SpoolError::AlreadyHeld { assignment: assignment.clone(), held: digest }),
                State::Partial if digest != announced.digest => self.drop_file(assignment, &digest, state)?,
                State::Partial => {}
            }
        }
        Ok(whole)
    }

    /// Makes the folder that a file is about to be made in.
    fn make_folder(&self, AssignmentId { run, round, .. }: &AssignmentId) -> Result<PathBuf, SpoolError> {
        let mut folders = self.folders();
        let folder = make_folder(&self.dir, run, *round)?;
        folders.entry((run.clone(), *round)).or_default();
        Ok(folder)
    }

    /// Brings the names in a round's folder to the disk, and the folder's own unless they are there.
    fn sync_folder(&self, AssignmentId { run, round, .. }: &AssignmentId) -> Result<(), SpoolError> {
        let is_on_disk = self.folders().get(&(run.clone(), *round)).cloned().unwrap_or_default();
        let of_run = self.dir.join(run.to_string());
        sync_folder(&of_run.join(round.to_string()))?;
        if !is_on_disk.load(Ordering::Acquire) {
            sync_folder(&of_run)?;
            sync_folder(&self.dir)?;
            is_on_disk.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn sync_file(&self, assignment: &AssignmentId, path: &Path) -> Result<(), SpoolError> {
        match File::open(path) {
            Ok(file) => {
                file.sync_data().map_err(SpoolError::io("sync", path))?;
                self.sync_folder(assignment)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(SpoolError::io("open", path)(error)),
        }
    }

    fn drop_file(&self, assignment: &AssignmentId, digest: &Digest, state: State) -> Result<(), SpoolError> {
        let path = self.path(assignment, digest, state);
        remove_file(&path)?;
        self.intact.forget(&path);
        self.index().remove(assignment, digest);
        Ok(())
    }

    fn path(&self, assignment: &AssignmentId, digest: &Digest, state: State) -> PathBuf {
        let AssignmentId { run, round, worker } = assignment;
        let name = FileName { worker: worker.clone(), digest: *digest, state };
        self.dir.join(run.to_string()).join(round.to_string()).join(name.to_string())
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receiving(&self) -> MutexGuard<'_, BTreeSet<AssignmentId>> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write for an assignment, which nobody else has meanwhile.
#[derive(Debug)]
struct Turn {
    spool: Spool,
    assignment: AssignmentId,
}

impl Turn {
    fn take(spool: &Spool, assignment: &AssignmentId) -> Result<Self, SpoolError> {
        if spool.receiving().insert(assignment.clone()) {
            Ok(Self { spool: spool.clone(), assignment: assignment.clone() })
        } else {
            Err(SpoolError::Busy { assignment: assignment.clone() })
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.spool.receiving().remove(&self.assignment);
    }
}

/// Feeds the file's bytes to `check`.
fn recheck(file: &mut File, path: &Path, check: &mut UpdateCheck) -> Result<(), SpoolError> {
    let mut buffer = vec![0; REREAD_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(SpoolError::io("read", path))?;
        if read == 0 {
            return Ok(());
        }
        check.feed(&buffer[..read])?;
    }
}

fn file_bytes(path: &Path) -> Result<Option<u64>, SpoolError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SpoolError::Io { action: "look at", path: path.to_path_buf(), source }),
    }
}

fn sync_folder(folder: &Path) -> Result<(), SpoolError> {
    sync_dir(folder).map_err(SpoolError::io("sync", folder))
}

/// Removes a file that may be gone already.
fn remove_file(path: &Path) -> Result<(), SpoolError> {
    absent_is_good(fs::remove_file(path)).map_err(SpoolError::io("remove", path))
}

fn absent_is_good(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests;
