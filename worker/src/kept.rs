//! What of an assignment outlives the worker, so that one that was killed goes on where it was.
//!
//! | file | holds | written |
//! | --- | --- | --- |
//! | `updates/RUN.ROUND.update` | an update as the release policy let it out, and all that is sent with it | before it is sent if it was dear, else if sending takes long |
//! | `checkpoints/RUN.ROUND.checkpoint` | where training stood | every now and then, and when the worker is stopped |
//! | `checkpoints/RUN.ROUND.started` | how often training was begun | when training begins |
//!
//! Each is written beside its place, synced and renamed, sealed with a digest, and removed when the assignment is over: done,
//! cancelled, failed or too late. All of them together are bounded in bytes, and by the assignments that a worker holds in number.
//! What lies here at the start and cannot be gone on with is removed, with the reason in the log.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::effect::Assignment;
use polder_core::{AssignmentId, WorkerName};
use serde::{Deserialize, Serialize};

use crate::durable;

mod place;
mod update;

pub(crate) use place::Place;
pub(crate) use update::{KeptUpdate, Sent};

/// Another layout of the files gets another number.
const VERSION: u32 = 1;
/// Longest first line that is read, in bytes: an assignment with the longest settings there are, as JSON in JSON.
const HEAD_BYTES_MAX: u64 = 512 * 1024;
/// Most files that are looked at when the worker starts; it never leaves as many.
const FILES_MAX: usize = 16 * 1024;

/// Whose work this is: what was done for one federation is nothing to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bond {
    /// The fingerprint of the coordinator's authority.
    pub(crate) authority: String,
    pub(crate) worker: WorkerName,
}

/// The first line of every file.
#[derive(Debug, Serialize, Deserialize)]
struct Head<T> {
    version: u32,
    bond: Bond,
    assignment: Assignment,
    of: T,
}

/// All that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    updates: PathBuf,
    checkpoints: PathBuf,
    bond: Bond,
    bytes_max: u64,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    /// Bytes by file.
    files: BTreeMap<PathBuf, u64>,
    /// How often training was begun and not ended, by assignment, before the worker was started.
    begun: BTreeMap<AssignmentId, u32>,
}

/// What an earlier worker left, and can be gone on with.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) updates: Vec<KeptUpdate>,
    /// Assignments with a checkpoint.
    pub(crate) unfinished: Vec<Assignment>,
}

/// A first line and the place of its file.
type Opened<T> = (Head<T>, io::Take<io::BufReader<fs::File>>);

impl Kept {
    pub(crate) fn at(dir: &Path, bond: Bond, bytes_max: u64) -> Self {
        let (updates, checkpoints) = (dir.join("updates"), dir.join("checkpoints"));
        Self { updates, checkpoints, bond, bytes_max, used: Mutex::default() }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where `assignment` keeps what is its.
    pub(crate) fn place(self: &Arc<Self>, assignment: &Assignment) -> Arc<Place> {
        let begun = self.used().begun.remove(&assignment.id).unwrap_or(0);
        Arc::new(Place::new(self.clone(), assignment.clone(), begun))
    }

    /// What an earlier worker left; removes what is of no use, with a word in the log. Blocks while files are read.
    pub(crate) fn left(&self) -> Left {
        let mut left = Left::default();
        for path in files(&self.updates) {
            match self.read_update(&path) {
                Ok(update) => {
                    self.count(&path);
                    left.updates.push(update);
                }
                Err(error) => drop_file(&path, &error),
            }
        }
        for path in files(&self.checkpoints) {
            let taken = match path.extension().and_then(|ending| ending.to_str()) {
                Some("checkpoint") => self.read_checkpoint(&path).map(|assignment| {
                    self.count(&path);
                    left.unfinished.push(assignment);
                }),
                Some("started") => {
                    let begun = self.read_begun(&path);
                    // From now on it is kept in memory; if training begins again, it is written again.
                    remove(&path);
                    begun
                }
                _ => Err(io::Error::other("it is no file of this worker's")),
            };
            if let Err(error) = taken {
                drop_file(&path, &error);
            }
        }
        left
    }

    fn read_update(&self, path: &Path) -> io::Result<KeptUpdate> {
        let (head, file) = self.open(path)?;
        KeptUpdate::read(head.assignment, head.of, file)
    }

    fn read_checkpoint(&self, path: &Path) -> io::Result<Assignment> {
        let (head, _) = self.open::<()>(path)?;
        Ok(head.assignment)
    }

    fn read_begun(&self, path: &Path) -> io::Result<()> {
        let mut text = String::new();
        fs::File::open(path)?.take(HEAD_BYTES_MAX).read_to_string(&mut text)?;
        let head: Head<u32> = self.check(&text)?;
        self.used().begun.insert(head.assignment.id, head.of);
        Ok(())
    }

    /// Opens a sealed file after its first line, which must be ours.
    fn open<T: serde::de::DeserializeOwned>(&self, path: &Path) -> io::Result<Opened<T>> {
        let mut file = durable::open_sealed(path)?;
        let mut head = String::new();
        (&mut file).take(HEAD_BYTES_MAX).read_line(&mut head)?;
        Ok((self.check(&head)?, file))
    }

    fn check<T: serde::de::DeserializeOwned>(&self, head: &str) -> io::Result<Head<T>> {
        let head: Head<T> = serde_json::from_str(head).map_err(io::Error::other)?;
        if head.version != VERSION {
            return Err(io::Error::other("it is from another version of this program"));
        }
        if head.bond != self.bond || head.assignment.id.worker != self.bond.worker {
            return Err(io::Error::other("it was made for another federation, or as another worker"));
        }
        Ok(head)
    }

    fn head<T: Serialize>(&self, assignment: &Assignment, of: T) -> io::Result<String> {
        let head = Head { version: VERSION, bond: self.bond.clone(), assignment: assignment.clone(), of };
        serde_json::to_string(&head).map_err(io::Error::other)
    }

    /// Refuses what does not fit beside all the rest.
    fn must_have_room(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let used = self.used();
        let others = used.files.iter().filter(|(other, _)| *other != path).map(|(_, bytes)| bytes).sum::<u64>();
        if others.saturating_add(bytes) <= self.bytes_max {
            return Ok(());
        }
        let max = self.bytes_max;
        Err(io::Error::other(format!("with its {bytes} bytes more than the {max} allowed would be kept")))
    }

    fn count(&self, path: &Path) {
        let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
        self.used().files.insert(path.into(), bytes);
    }

    fn forget(&self, path: &Path) {
        remove(path);
        self.used().files.remove(path);
    }
}

/// The files of a directory; none if it is not there. What a write left half done is removed.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).take(FILES_MAX).collect();
    files.retain(|path| {
        let is_half = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_half {
            remove(path);
        }
        !is_half
    });
    files.sort();
    files
}

fn drop_file(path: &Path, error: &io::Error) {
    tracing::warn!("`{}` is removed: {error}", path.display());
    remove(path);
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("`{}` cannot be removed: {error}", path.display());
    }
}

#[cfg(test)]
pub(crate) mod tests;
