//! A file of parameters that is read in place, by several threads at once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use polder_tensor::Layout;

use super::AggregationError;

/// A model or an update on disk, known to have the layout it should have.
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
        let offset = self.data_offset + 4 * start as u64;
        self.file
            .read_exact_at(bytemuck::cast_slice_mut(values), offset)
            .map_err(|source| AggregationError::Read { path: self.path.clone(), source })
    }
}
