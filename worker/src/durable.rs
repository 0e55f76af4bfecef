//! Small files that a crash leaves either as they were or as they should be.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

/// Puts what `write` writes in place of whatever is at `path`: beside it first, then synced and renamed. Directories that are
/// missing are made, for their owner only. No file beside it may have its name with a dot before it.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    create_dir(dir)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    let beside = dir.join(beside);
    let written = fill(&beside, write).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What was half written is worth nothing, and is overwritten the next time if it cannot be removed now.
        let _ = fs::remove_file(&beside);
    }
    written?;
    // A rename is durable once its directory is.
    File::open(dir)?.sync_all()
}

fn fill(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = BufWriter::new(options.open(path)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn create_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/file");
        replace(&path, |file| file.write_all(b"first")).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"sec")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(root.path().join("a/b")).unwrap().count(), 1, "something was left behind");
        replace(&path, |file| file.write_all(b"third")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
    }
}
