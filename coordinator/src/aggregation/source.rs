//! A file of parameters that is read in place, by several threads at once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use polder_tensor::Layout;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::AggregationError;

/// Files that the rest of the coordinator may have open beside a round's updates.
const OTHER_FILES: u64 = 1024;

/// Raises this process's own limit of open files, if need be and as far as it may, so that thousands of updates can be
/// open at once. Where it may not, opening one of them fails and says so.
pub(super) fn make_room_for_files(files: usize) {
    let wanted = files as u64 + OTHER_FILES;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| wanted.min(maximum)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(files, %error, "the limit of open files could not be raised");
        }
    }
}

/// A model, an update or a state tensor on disk, known to have the layout it should have.
pub(super) struct Source {
    file: File,
    path: PathBuf,
    data_offset: u64,
}

impl Source {
    /// Opens the canonical file at `path`, whose header and length must be those of `layout`.
    pub(super) fn open(path: &Path, layout: &Layout) -> Result<Self, AggregationError> {
        let failed = |source: io::Error| AggregationError::Read { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
        let mut header = vec![0; layout.header().len()];
        let right = file.metadata().map_err(failed)?.len() == layout.file_bytes()
            && file.read_exact_at(&mut header, 0).map_err(failed).map(|()| header == layout.header())?;
        if right {
            Ok(Self { file, path: path.to_path_buf(), data_offset: layout.data_offset() })
        } else {
            Err(AggregationError::Shape { path: path.to_path_buf() })
        }
    }

    /// Fills `values` with the parameters from `start` on.
    pub(super) fn read(&self, start: usize, values: &mut [f32]) -> Result<(), AggregationError> {
        self.read_bytes(self.data_offset + 4 * start as u64, values)
    }

    /// Fills `words` with what lies at `offset` in the file, header or not.
    pub(super) fn read_bytes(&self, offset: u64, words: &mut [f32]) -> Result<(), AggregationError> {
        self.file
            .read_exact_at(bytemuck::cast_slice_mut(words), offset)
            .map_err(|source| AggregationError::Read { path: self.path.clone(), source })
    }
}
