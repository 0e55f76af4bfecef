//! Small private files: written at once or not at all, readable by their owner only.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Largest key or certificate file that is read, in bytes; ours are below 4 KiB.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a private file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "`{}` holds a private key, but others than its owner may open it (mode {mode:o}); run `chmod 600 {}`",
        path.display(), path.display()
    )]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("`{}` is larger than {FILE_BYTES_MAX} bytes; it is not a file of ours", path.display())]
    TooLarge { path: PathBuf },
    #[error("`{}` is not text; it is not a file of ours, or it is damaged", path.display())]
    NotText { path: PathBuf },
}

/// Makes `dir` and what is above it; what is made is for its owner only.
pub(crate) fn create_dir(dir: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(failed("create directory", dir))
}

/// Puts `text` into a new file at `path`, durably. False if there is one already, which is left as it is.
pub(crate) fn create(path: &Path, text: &str) -> Result<bool, FileError> {
    match write_beside(path, text)?.persist_noclobber(path) {
        Ok(_) => sync_dir(path).map(|()| true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed("create", path)(error.error)),
    }
}

/// Puts `text` in place of whatever is at `path`, durably: a crash leaves the old file or the new one.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), FileError> {
    write_beside(path, text)?.persist(path).map_err(|error| failed("write", path)(error.error))?;
    sync_dir(path)
}

/// Reads a private file; one that others can open is refused rather than trusted.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    let file = File::open(path).map_err(failed("open", path))?;
    check_mode(path, &file)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.into() });
    }
    String::from_utf8(bytes).map_err(|_| FileError::NotText { path: path.into() })
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::Io { action, path: path.into(), source }
}

/// A synced temporary file in the directory of `path`; `tempfile` makes it with mode 0600.
fn write_beside(path: &Path, text: &str) -> Result<tempfile::NamedTempFile, FileError> {
    let mut file = tempfile::NamedTempFile::new_in(directory_of(path)).map_err(failed("write beside", path))?;
    file.write_all(text.as_bytes()).map_err(failed("write", path))?;
    file.as_file().sync_all().map_err(failed("sync", path))?;
    Ok(file)
}

/// A rename is durable once its directory is.
fn sync_dir(path: &Path) -> Result<(), FileError> {
    let dir = directory_of(path);
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), FileError> {
    use std::os::unix::fs::MetadataExt;

    let mode = file.metadata().map_err(failed("read the permissions of", path))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::TooOpen { path: path.into(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &File) -> Result<(), FileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_and_directories_are_for_their_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        create_dir(&dir).unwrap();
        let path = dir.join("key.pem");
        replace(&path, "secret").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&path)), (0o700, 0o600));
        assert_eq!(read(&path).unwrap(), "secret");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refusal = read(&path).unwrap_err().to_string();
        assert!(refusal.contains("(mode 640); run `chmod 600"), "{refusal}");
    }

    #[test]
    fn create_keeps_what_is_there_and_replace_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(create(&path, "first").unwrap());
        assert!(!create(&path, "second").unwrap());
        assert_eq!(read(&path).unwrap(), "first");
        replace(&path, "third").unwrap();
        assert_eq!(read(&path).unwrap(), "third");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file was left behind");
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(matches!(read(&path), Err(FileError::Io { action: "open", .. })));
        replace(&path, &"x".repeat(FILE_BYTES_MAX as usize + 1)).unwrap();
        assert!(matches!(read(&path), Err(FileError::TooLarge { .. })));
        replace(&path, "x").unwrap();
        fs::write(&path, [0xff, 0xfe]).unwrap();
        let refusal = read(&path).unwrap_err();
        assert!(matches!(refusal, FileError::NotText { .. }));
        assert!(refusal.to_string().contains(&path.display().to_string()));
    }
}
