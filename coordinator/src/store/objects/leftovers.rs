//! What killed coordinators leave in an object store that is a directory: objects that were not written to their end, and
//! empty folders. Others may be at work there: only what is old goes.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Objects;

/// Nobody writes to an object for so long.
const OLD: Duration = Duration::from_secs(60 * 60);

impl Objects {
    /// Removes leftovers below the folders `folders`.
    pub(crate) fn remove_leftovers(&self, folders: &[&str]) {
        let (Some(dir), Some(before)) = (self.dir(), SystemTime::now().checked_sub(OLD)) else { return };
        for folder in folders {
            if let Err(error) = sweep(&dir.join(folder), before) {
                tracing::warn!(%error, store = self.address(), "leftovers in the object store stay");
            }
        }
    }
}

fn sweep(dir: &Path, before: SystemTime) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        match sweep_entry(&entry?, before) {
            // Somebody else was first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            swept => swept?,
        }
    }
    Ok(())
}

fn sweep_entry(entry: &DirEntry, before: SystemTime) -> io::Result<()> {
    let metadata = entry.metadata()?;
    let is_old = metadata.modified()? < before;
    let path = entry.path();
    if metadata.is_dir() {
        sweep(&path, before)?;
        if is_old {
            // Works only if nothing is in it.
            let _ = fs::remove_dir(&path);
        }
    } else if metadata.is_file() && is_old && is_staged(&entry.file_name().to_string_lossy()) {
        tracing::info!(path = %path.display(), "removing an object that was not written to its end");
        fs::remove_file(&path)?;
    }
    Ok(())
}

/// While it is written, an object's name is followed by `#` and a number; no name has a `#` itself.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use object_store::path::Path as Key;

    use super::*;

    fn open(dir: &Path) -> Objects {
        Objects::open(&format!("file://{}", dir.display()).parse().unwrap()).unwrap()
    }

    fn age(path: &Path) {
        File::open(path).unwrap().set_modified(SystemTime::now() - 2 * OLD).unwrap();
    }

    #[test]
    fn only_old_leftovers_go() {
        let dir = tempfile::tempdir().unwrap();
        let objects = open(dir.path());
        let round = dir.path().join("spool/digits-1/4");
        fs::create_dir_all(round.join("gone")).unwrap();
        fs::create_dir_all(dir.path().join("mine/empty")).unwrap();
        for name in ["spool/digits-1/4/a#1", "spool/digits-1/4/b", "mine/c#1"] {
            fs::write(dir.path().join(name), "x").unwrap();
            age(&dir.path().join(name));
        }
        fs::write(round.join("a#2"), "x").unwrap();
        age(&round.join("gone"));
        age(&dir.path().join("mine/empty"));
        objects.remove_leftovers(&["blobs", "spool"]);
        assert!(!round.join("a#1").exists() && !round.join("gone").exists());
        for name in ["spool/digits-1/4/a#2", "spool/digits-1/4/b", "mine/c#1", "mine/empty"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn folders_go_with_their_last_object_and_come_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let objects = open(dir.path());
        let key = |of: &str| Key::from(format!("spool/digits-1/4/eu/{of}"));
        objects.put(&key("a"), "update".into()).unwrap();
        objects.put(&key("b"), "update".into()).unwrap();
        objects.delete_all(&Key::from("spool/digits-1/4")).unwrap();
        assert!(!dir.path().join("spool").exists());
        // Some come while others go.
        std::thread::scope(|scope| {
            for worker in ["a", "b", "c"] {
                let (objects, key) = (&objects, key(worker));
                scope.spawn(move || {
                    for _ in 0..100 {
                        objects.put(&key, "update".into()).unwrap();
                        assert_eq!(objects.get(&key, 0..6).unwrap(), "update");
                        objects.delete(&key).unwrap();
                    }
                });
            }
        });
        assert!(!dir.path().join("spool").exists());
    }
}
