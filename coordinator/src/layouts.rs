//! The shapes of models, read once from their files' headers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use polder_core::Digest;
use polder_tensor::Layout;

use crate::store::{Blobs, StoreError};

/// Shapes kept; a run's models all have one shape, so few are ever needed.
const KEPT_MAX: usize = 64;

/// Why a model's shape is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("model {digest} has {bytes} bytes, but its header says {expected}")]
    Size { digest: Digest, bytes: u64, expected: u64 },
    #[error("model {digest} is not a safetensors file of float32 tensors")]
    Header { digest: Digest, source: polder_tensor::LayoutError },
}

#[derive(Clone)]
pub(crate) struct Layouts {
    blobs: Blobs,
    kept: Arc<Mutex<BTreeMap<Digest, Arc<Layout>>>>,
}

impl Layouts {
    pub(crate) fn new(blobs: Blobs) -> Self {
        Self { blobs, kept: Arc::default() }
    }

    /// The shape of the model `digest`.
    pub(crate) async fn of(&self, digest: &Digest) -> Result<Arc<Layout>, LayoutError> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layout) = kept().get(digest) {
            return Ok(layout.clone());
        }
        let read = Arc::new(self.read(digest).await?);
        let mut kept = kept();
        // Rounds of one run bring models of one shape under ever new names: they share it.
        let layout = kept.values().find(|known| **known == read).cloned().unwrap_or(read);
        if kept.len() >= KEPT_MAX {
            kept.pop_first();
        }
        kept.insert(*digest, layout.clone());
        Ok(layout)
    }

    async fn read(&self, digest: &Digest) -> Result<Layout, LayoutError> {
        let header = |source| LayoutError::Header { digest: *digest, source };
        let bytes = self.blobs.size(digest).await?.ok_or(StoreError::BlobMissing { digest: *digest })?;
        let start = self.blobs.get_range(digest, 0..8.min(bytes)).await?;
        let length = <[u8; 8]>::try_from(start.as_ref()).map_err(|_| LayoutError::Size {
            digest: *digest,
            bytes,
            expected: 8,
        })?;
        let prefix = Layout::prefix_bytes(length).map_err(header)? as u64;
        let prefix = self.blobs.get_range(digest, 0..prefix.min(bytes)).await?;
        let layout = Layout::parse(&prefix).map_err(header)?;
        let expected = layout.file_bytes();
        if expected == bytes { Ok(layout) } else { Err(LayoutError::Size { digest: *digest, bytes, expected }) }
    }
}
