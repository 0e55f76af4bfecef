//! Which files are known to hold the bytes that their names promise, and what becomes of those that do not.
//!
//! A file is read and hashed once for a process that has not written it itself, and again only when it has changed since:
//! its length, its times or its inode. One that is corrupt goes to `quarantine/`, where people can look at it and nobody
//! can use it; the oldest ones make room.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use polder_core::Digest;
use polder_core::digest::Algorithm;
use sha2::Digest as _;

use super::sync_dir;

/// Files remembered; beyond that, all of them are read again before their next use.
const KNOWN_MAX: usize = 1 << 16;
/// Corrupt files kept for people.
const QUARANTINED_MAX: usize = 8;
const READ_BYTES: usize = 1 << 20;

/// What is known of the files of one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Intact {
    quarantine: Arc<Path>,
    known: Arc<Mutex<BTreeMap<PathBuf, Stamp>>>,
    turns: Arc<(Mutex<BTreeSet<PathBuf>>, Condvar)>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What a look at a file has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Absent,
    Intact { bytes: u64 },
    Corrupt { found: Digest },
}

/// The right to replace a file, which nobody else has meanwhile.
pub(crate) struct Turn<'a> {
    intact: &'a Intact,
    path: PathBuf,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let (held, freed) = &*self.intact.turns;
        locked(held).remove(&self.path);
        freed.notify_all();
    }
}

impl Intact {
    pub(crate) fn new(quarantine: PathBuf) -> Self {
        Self { quarantine: quarantine.into(), known: Arc::default(), turns: Arc::default() }
    }

    /// Waits until nobody else replaces the file at `path`.
    pub(crate) fn turn(&self, path: &Path) -> Turn<'_> {
        let (held, freed) = &*self.turns;
        let mut held = locked(held);
        while !held.insert(path.to_path_buf()) {
            held = freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { intact: self, path: path.to_path_buf() }
    }

    /// Size of the file at `path` if it is known to be intact: costs a `stat`.
    pub(crate) fn known(&self, path: &Path) -> Option<u64> {
        let stamp = Stamp::of(&fs::metadata(path).ok()?);
        (locked(&self.known).get(path) == Some(&stamp)).then_some(stamp.bytes)
    }

    /// Looks whether the file at `path` has the digest that it should have; reads it only if that is not known.
    pub(crate) fn look(&self, path: &Path, digest: &Digest) -> io::Result<Look> {
        if let Some(bytes) = self.known(path) {
            return Ok(Look::Intact { bytes });
        }
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Absent),
            opened => opened?,
        };
        let stamp = Stamp::of(&file.metadata()?);
        let found = digest_of(&mut file, digest.algorithm)?;
        if found != *digest {
            return Ok(Look::Corrupt { found });
        }
        self.remember(path, stamp);
        Ok(Look::Intact { bytes: stamp.bytes })
    }

    /// This process has written the file at `path` and knows its digest.
    pub(crate) fn vouch(&self, path: &Path) {
        if let Ok(metadata) = fs::metadata(path) {
            self.remember(path, Stamp::of(&metadata));
        }
    }

    /// Somebody read other bytes than the file should hold, or it is gone: it is read again before its next use.
    pub(crate) fn forget(&self, path: &Path) {
        locked(&self.known).remove(path);
    }

    fn remember(&self, path: &Path, stamp: Stamp) {
        let mut known = locked(&self.known);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(path.to_path_buf(), stamp);
    }

    /// Takes the corrupt file at `path` out of use; gives where it is now.
    pub(crate) fn quarantine(&self, path: &Path) -> io::Result<PathBuf> {
        self.forget(path);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.quarantine)?;
        self.make_room()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kept = self.quarantine.join(format!("{name}.{:08x}", rand::random::<u32>()));
        fs::rename(path, &kept)?;
        for dir in [path.parent().unwrap_or(path), &self.quarantine] {
            sync_dir(dir)?;
        }
        Ok(kept)
    }

    fn make_room(&self) -> io::Result<()> {
        let mut held = Vec::new();
        for entry in fs::read_dir(&self.quarantine)? {
            let entry = entry?;
            held.push((entry.metadata()?.modified()?, entry.path()));
        }
        held.sort_unstable();
        let surplus = (held.len() + 1).saturating_sub(QUARANTINED_MAX);
        held.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A digest on its way, of either kind.
pub(crate) enum Hashing {
    Blake3(Box<blake3::Hasher>),
    Sha256(sha2::Sha256),
}

impl Hashing {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Blake3 => Self::Blake3(Box::default()),
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
        }
    }

    /// Takes the next bytes, on all threads of the current rayon pool if they are many.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => super::blobs::hash_into(hasher, bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Blake3(hasher) => Digest::blake3(*hasher.finalize().as_bytes()),
            Self::Sha256(hasher) => Digest::sha256(hasher.finalize().into()),
        }
    }
}

/// The digest of what is left to read of `source`.
pub(crate) fn digest_of(source: &mut impl Read, algorithm: Algorithm) -> io::Result<Digest> {
    let mut hashing = Hashing::new(algorithm);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(hashing.finish()),
            Ok(read) => hashing.take(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    struct World {
        dir: tempfile::TempDir,
        intact: Intact,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let intact = Intact::new(dir.path().join("quarantine"));
            Self { dir, intact }
        }

        fn write(&self, name: &str, bytes: &[u8]) -> (PathBuf, Digest) {
            let path = self.dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            (path, Digest::blake3(*blake3::hash(bytes).as_bytes()))
        }
    }

    #[test]
    fn a_file_is_read_again_when_it_has_changed() {
        let world = World::new();
        let (path, digest) = world.write("a", b"model");
        assert_eq!(world.intact.known(&path), None);
        assert_eq!(world.intact.look(&path, &digest).unwrap(), Look::Intact { bytes: 5 });
        assert_eq!(world.intact.known(&path), Some(5));

        // Of the same length, and dated as before.
        let before = fs::metadata(&path).unwrap();
        while fs::metadata(&path).map(|now| (now.ctime(), now.ctime_nsec())).unwrap()
            == (before.ctime(), before.ctime_nsec())
        {
            // The file system's clock ticks only every few milliseconds.
            world.write("a", b"mOdel");
            File::options().write(true).open(&path).unwrap().set_modified(before.modified().unwrap()).unwrap();
        }
        assert_eq!(world.intact.known(&path), None);
        assert!(matches!(world.intact.look(&path, &digest).unwrap(), Look::Corrupt { .. }));
        fs::remove_file(&path).unwrap();
        assert_eq!(world.intact.look(&path, &digest).unwrap(), Look::Absent);
    }

    #[test]
    fn the_quarantine_keeps_the_latest_files() {
        let world = World::new();
        for at in 0..QUARANTINED_MAX as u64 + 3 {
            let (path, _) = world.write(&format!("{at:02}"), b"bad");
            let dated = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + at);
            File::options().write(true).open(&path).unwrap().set_modified(dated).unwrap();
            let kept = world.intact.quarantine(&path).unwrap();
            assert!(kept.exists() && !path.exists());
        }
        let mut names: Vec<_> = fs::read_dir(world.dir.path().join("quarantine"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy()[..2].to_owned())
            .collect();
        names.sort_unstable();
        let latest: Vec<_> = (3..QUARANTINED_MAX + 3).map(|at| format!("{at:02}")).collect();
        assert_eq!(names, latest);
    }

    #[test]
    fn a_turn_is_waited_for() {
        let world = World::new();
        let path = world.dir.path().join("a");
        let first = world.intact.turn(&path);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| drop(world.intact.turn(&path)));
            assert!(!second.is_finished(), "two had their turn at once");
            drop(first);
            second.join().unwrap();
        });
    }
}
