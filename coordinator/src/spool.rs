//! Received updates, durably, from the first byte of an upload to the commit of its round.
//!
//! An upload grows in a partial file and may be taken up again where it stopped, after a cut line and after a crash of
//! either side. When it is whole, good and on disk, its file gets its final name. Updates are checked while they
//! stream in: header, every value, length, digest; a file that fails a check is removed at once.
//!
//! Files are called `<run>~<round>~<worker>~<hex digest>.partial` or `.update`; no name can contain a `~`. Everything
//! here blocks: call it where blocking is allowed.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::{AssignmentId, Digest, RoundNumber, RunId};
use polder_tensor::{Layout, UpdateCheck, UpdateFault};

use crate::store::sync_dir;

mod name;
mod receiver;

pub use receiver::Receiver;

use name::{FileName, State, assignment_prefix, round_prefix};

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
    #[error("this upload failed before; start another")]
    Broken,
    #[error("could not {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl SpoolError {
    fn io<'path>(action: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> Self + use<'path> {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
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

/// The spool of one coordinator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: Arc<Path>,
    /// Assignments with an open [`Receiver`].
    receiving: Arc<Mutex<BTreeSet<AssignmentId>>>,
}

impl Spool {
    /// Opens the spool in the directory `dir`, which is created if it is not there.
    pub fn open(dir: &Path) -> Result<Self, SpoolError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(SpoolError::io("create", dir))?;
        let parent = dir.parent().unwrap_or(dir);
        sync_dir(parent).map_err(SpoolError::io("sync", parent))?;
        Ok(Self { dir: dir.into(), receiving: Arc::default() })
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

    /// The finished update `digest` for `assignment`, if it is here.
    pub fn find(&self, assignment: &AssignmentId, digest: &Digest) -> Result<Option<SpooledUpdate>, SpoolError> {
        let path = self.path(assignment, digest, State::Whole);
        Ok(file_bytes(&path)?.map(|bytes| SpooledUpdate {
            assignment: assignment.clone(),
            digest: *digest,
            path,
            bytes,
        }))
    }

    /// Everything that is here, in no order.
    pub fn list(&self) -> Result<Vec<Held>, SpoolError> {
        let mut held = Vec::new();
        self.for_each("", |name, path| {
            if let Some(bytes) = file_bytes(path)? {
                let whole = name.state == State::Whole;
                held.push(Held { assignment: name.assignment, digest: name.digest, bytes, whole });
            }
            Ok(())
        })?;
        Ok(held)
    }

    /// Removes all of a round's files, finished and not; an upload that is going on fails at its end.
    pub fn remove(&self, run: &RunId, round: RoundNumber) -> Result<(), SpoolError> {
        self.for_each(&round_prefix(run, round), |_, path| remove_file(path))
    }

    /// Removes all files of one assignment: for an update that was finished but never accepted.
    pub fn discard(&self, assignment: &AssignmentId) -> Result<(), SpoolError> {
        self.for_each(&assignment_prefix(assignment), |_, path| remove_file(path))
    }

    /// Says whether the announced update is already here, and removes what is unfinished of others.
    fn make_room(&self, announced: &Announced) -> Result<bool, SpoolError> {
        let mut whole = false;
        self.for_each(&assignment_prefix(&announced.assignment), |name, path| {
            match name.state {
                State::Whole if name.digest == announced.digest => whole = true,
                State::Whole => {
                    return Err(SpoolError::AlreadyHeld { assignment: name.assignment, held: name.digest });
                }
                State::Partial if name.digest != announced.digest => remove_file(path)?,
                State::Partial => {}
            }
            Ok(())
        })?;
        Ok(whole)
    }

    /// Goes through the files whose names start with `prefix`; strange names are not ours and are passed over.
    fn for_each(
        &self,
        prefix: &str,
        mut each: impl FnMut(FileName, &Path) -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError> {
        let entries = fs::read_dir(&self.dir).map_err(SpoolError::io("list", &self.dir))?;
        for entry in entries {
            let entry = entry.map_err(SpoolError::io("list", &self.dir))?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) else { continue };
            if let Some(name) = FileName::parse(name) {
                each(name, &entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, assignment: &AssignmentId, digest: &Digest, state: State) -> PathBuf {
        self.dir.join(FileName { assignment: assignment.clone(), digest: *digest, state }.to_string())
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

/// Removes a file that may be gone already.
fn remove_file(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SpoolError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
