//! Files on their way into a directory that has no name yet.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use polder_core::digest::Algorithm;

use super::{BackupError, Entry};
use crate::store::intact::Hashing;
use crate::store::sync_dir;

/// A directory that is being filled under another name. Dropped unfinished, it leaves nothing behind.
pub(super) struct Staging {
    staged: PathBuf,
    dir: PathBuf,
    is_done: bool,
}

impl Staging {
    /// For `dir`, which must be empty or not there.
    pub(super) fn for_dir(dir: &Path) -> Result<Self, BackupError> {
        match fs::read_dir(dir) {
            Ok(entries) => {
                if entries.count() > 0 {
                    return Err(BackupError::NotEmpty { dir: dir.to_path_buf() });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(BackupError::io("read", dir)(error)),
        }
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let staged = dir.with_file_name(format!(".{name}.partial-{:08x}", rand::random::<u32>()));
        make_dir(&staged)?;
        Ok(Self { staged, dir: dir.to_path_buf(), is_done: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.staged
    }

    /// Gives the directory its name, durably.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        sync_below(&self.staged).map_err(BackupError::io("sync", &self.staged))?;
        // Replaces an empty directory, and no other.
        fs::rename(&self.staged, &self.dir).map_err(BackupError::io("rename", &self.staged))?;
        self.is_done = true;
        let parent = match self.dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        sync_dir(parent).map_err(BackupError::io("sync", parent))
    }

    /// Makes a file of what `fill` writes, for this user alone, and says what the manifest is to say of it.
    pub(super) fn write<E: From<BackupError>>(
        &self,
        path: &str,
        fill: impl FnOnce(&mut Filling) -> Result<(), E>,
    ) -> Result<Entry, E> {
        let at = self.staged.join(path);
        if let Some(folder) = at.parent() {
            make_dir(folder)?;
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(&at);
        let file = file.map_err(BackupError::io("create", &at))?;
        let mut filling =
            Filling { file: io::BufWriter::new(file), hashing: Hashing::new(Algorithm::Blake3), bytes: 0 };
        let filled = fill(&mut filling);
        let Filling { mut file, hashing, bytes } = filling;
        let ended = filled.and_then(|()| {
            let synced = file.flush().and_then(|()| file.get_ref().sync_data());
            Ok(synced.map_err(BackupError::io("write", &at))?)
        });
        if let Err(error) = ended {
            // Another try makes it anew.
            let _ = fs::remove_file(&at);
            return Err(error);
        }
        Ok(Entry { path: path.to_owned(), bytes, digest: hashing.finish() })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_done
            && let Err(error) = fs::remove_dir_all(&self.staged)
        {
            tracing::warn!(path = %self.staged.display(), %error, "an unfinished directory could not be removed");
        }
    }
}

/// A file that is being written.
pub(super) struct Filling {
    file: io::BufWriter<File>,
    hashing: Hashing,
    bytes: u64,
}

impl Write for Filling {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.file.write_all(piece)?;
        self.hashing.take(piece);
        self.bytes += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn make_dir(dir: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(BackupError::io("create", dir))
}

fn sync_below(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_below(&entry.path())?;
        }
    }
    sync_dir(dir)
}
