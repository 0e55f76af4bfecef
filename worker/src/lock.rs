//! One worker a directory: two with the same certificate would end each other's sessions for ever.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::WorkerError;

const LOCK_FILE: &str = "lock";

/// Held while the worker runs; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock(#[expect(dead_code, reason = "held for its lock")] File);

impl DirectoryLock {
    /// Makes `dir`, for its owner only, if it is not there, and locks it.
    pub(crate) fn take(dir: &Path) -> Result<Self, WorkerError> {
        let failed = |source| WorkerError::Directory { path: dir.into(), source };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir).map_err(failed)?;
        let file = File::create(dir.join(LOCK_FILE)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(WorkerError::InUse { dir: dir.into() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
