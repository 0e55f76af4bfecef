//! What an object store could not do.

use std::error::Error;
use std::fmt;
use std::io;

/// Why an object store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectsError {
    #[error(
        "the object store {address} cannot be used; check that it exists and that the environment has its credentials \
         and, for one of your own, its endpoint (for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT)"
    )]
    Unusable { address: String, source: Box<dyn Error + Send + Sync> },
    #[error("could not {action} `{key}` in the object store {address}")]
    Request { action: Action, address: String, key: String, source: Box<object_store::Error> },
    #[error("could not read the file to be stored as `{key}` in the object store {address}")]
    File { address: String, key: String, source: io::Error },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Write,
    List,
    Remove,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::List => "list",
            Self::Remove => "remove",
        })
    }
}

impl ObjectsError {
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Request { source, .. } if matches!(**source, object_store::Error::NotFound { .. }))
    }

    /// Whether it may pass by itself: the store is away, slow or full, rather than closed to us.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Request { source, .. } => {
                matches!(**source, object_store::Error::Generic { .. } | object_store::Error::JoinError { .. })
            }
            Self::Unusable { .. } | Self::File { .. } => false,
        }
    }
}

/// Whether the disk, or what this user may have of it, is full: somewhere among an error's causes.
pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}
