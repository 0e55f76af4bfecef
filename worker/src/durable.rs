//! Files that a crash leaves either as they were or as they should be.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Take, Write};
use std::path::Path;

/// Bytes of the digest at a sealed file's end.
const SEAL_BYTES: u64 = 32;

/// Puts what `write` writes in place of whatever is at `path`: beside it first, then synced and renamed. Directories that are
/// missing are made, for their owner only. No file beside it may have its name with a dot before it.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    put(path, write, true)
}

/// The same for what is worth no wait for the disk: whole after a kill, but after a power cut it may be damaged.
pub(crate) fn replace_unsynced(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    put(path, write, false)
}

fn put(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>, is_synced: bool) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    create_dir(dir)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    let beside = dir.join(beside);
    let written = fill(&beside, write, is_synced).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What was half written is worth nothing, and is overwritten the next time if it cannot be removed now.
        let _ = fs::remove_file(&beside);
    }
    written?;
    // A rename is durable once its directory is.
    if is_synced { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// The same with a BLAKE3 digest of everything at its end, for files that [`open_sealed`] must find as they were written.
pub(crate) fn replace_sealed(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    replace(path, |file| {
        let mut sealing = Sealing { file, hasher: blake3::Hasher::new() };
        write(&mut sealing)?;
        let Sealing { file, hasher } = sealing;
        file.write_all(hasher.finalize().as_bytes())
    })
}

struct Sealing<'a> {
    file: &'a mut BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Write for Sealing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens what [`replace_sealed`] wrote, without its seal; a file that is not as it was written is an error. Reads it once to
/// know.
pub(crate) fn open_sealed(path: &Path) -> io::Result<Take<BufReader<File>>> {
    let mut file = File::open(path)?;
    let damaged = || io::Error::other("it is damaged: its digest is another");
    let bytes = file.metadata()?.len().checked_sub(SEAL_BYTES).ok_or_else(damaged)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader((&mut file).take(bytes))?;
    let mut seal = [0; SEAL_BYTES as usize];
    file.read_exact(&mut seal)?;
    if hasher.finalize() != seal {
        return Err(damaged());
    }
    file.rewind()?;
    Ok(BufReader::new(file).take(bytes))
}

fn fill(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>, is_synced: bool) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = BufWriter::new(options.open(path)?);
    write(&mut file)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    if is_synced { file.sync_all() } else { Ok(()) }
}

pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_is_read_as_it_was_written_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        replace_sealed(&path, |file| file.write_all(b"what was written")).unwrap();
        let mut read = String::new();
        open_sealed(&path).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "what was written");
        let whole = fs::read(&path).unwrap();
        for place in [0, 10, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(open_sealed(&path).is_err(), "byte {place} was flipped");
        }
        for length in [0, 31, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(open_sealed(&path).is_err(), "cut to {length} bytes");
        }
    }

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
