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
    #[error("could not {action} `{key}` in the object store {address}{}", to_mend(address, source))]
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
        f.write_str(self.word())
    }
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::List => "list",
            Self::Remove => "remove",
        }
    }
}

impl ObjectsError {
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Request { source, .. } if matches!(**source, object_store::Error::NotFound { .. }))
    }

    /// Whether the object is there already.
    pub(super) fn is_taken(&self) -> bool {
        use object_store::Error::{AlreadyExists, Precondition};
        matches!(self, Self::Request { source, .. } if matches!(**source, AlreadyExists { .. } | Precondition { .. }))
    }

    /// Whether it may pass: the store is away, slow or full, or does not take our credentials any more. Those were good
    /// when it was opened; they expire and are replaced, and no work is to be given up for that.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Request { source, .. } => self.is_away() || is_refusal(source),
            // What a directory says in this way is that it is none, or closed to us.
            Self::Unusable { address, source } => {
                let is_away = source.downcast_ref::<Self>().is_some_and(Self::is_away);
                is_full(&**source) || is_away && !address.starts_with("file:")
            }
            Self::File { .. } => false,
        }
    }

    fn is_away(&self) -> bool {
        use object_store::Error::{Generic, JoinError};
        matches!(self, Self::Request { source, .. } if matches!(**source, Generic { .. } | JoinError { .. }))
    }

    /// Whether a folder went while something came to it.
    pub(super) fn lost_its_folder(&self) -> bool {
        let Self::Request { source, .. } = self else { return false };
        matches!(**source, object_store::Error::Generic { .. })
            && io_kinds(&**source).any(|kind| kind == io::ErrorKind::NotFound)
    }

    /// Where its disk is full: what could not be done, and the cause.
    pub(crate) fn full(self) -> Result<Full, Self> {
        match self {
            Self::Request { action, address, key, source } if is_full(&*source) => {
                Ok(Full { action: action.word(), place: format!("{address}/{key}"), source })
            }
            other => Err(other),
        }
    }
}

/// What a full disk of an object store's kept us from.
pub(crate) struct Full {
    pub(crate) action: &'static str,
    pub(crate) place: String,
    pub(crate) source: Box<object_store::Error>,
}

fn is_refusal(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. })
}

/// Which credentials are to be mended, where they are what is wrong.
fn to_mend(address: &str, error: &object_store::Error) -> String {
    if !is_refusal(error) {
        return String::new();
    }
    let names = match address.split_once(':').map_or("", |(scheme, _)| scheme) {
        "s3" | "s3a" => "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or its role",
        "gs" => "GOOGLE_SERVICE_ACCOUNT, or its service account",
        "file" => "the owner and the mode of the directory",
        _ => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or its identity",
    };
    format!(
        ", which does not take this coordinator's credentials (any more): let them in again, or start it with good ones \
         ({names})"
    )
}

/// Whether the disk, or what this user may have of it, is full: somewhere among an error's causes.
pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    io_kinds(error).any(|kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

fn io_kinds<'error>(error: &'error (dyn Error + 'static)) -> impl Iterator<Item = io::ErrorKind> + 'error {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>().map(io::Error::kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::SpoolError;
    use crate::store::StoreError;

    fn request(address: &str, source: object_store::Error) -> ObjectsError {
        ObjectsError::Request {
            action: Action::Write,
            address: address.into(),
            key: "spool/a".into(),
            source: Box::new(source),
        }
    }

    #[test]
    fn credentials_that_are_not_taken_any_more_are_waited_for_and_named() {
        let denied = || object_store::Error::PermissionDenied { path: "a".into(), source: "403".into() };
        let unknown = || object_store::Error::Unauthenticated { path: "a".into(), source: "401".into() };
        for (address, source, names) in [
            ("s3://models/polder", denied(), "AWS_SECRET_ACCESS_KEY"),
            ("gs://models/polder", unknown(), "GOOGLE_SERVICE_ACCOUNT"),
            ("az://models/polder", unknown(), "AZURE_STORAGE_ACCOUNT_KEY"),
        ] {
            let error = request(address, source);
            assert!(error.is_passing(), "{error}");
            assert!(error.to_string().contains(names), "{error}");
        }
        let away = object_store::Error::Generic { store: "S3", source: "503".into() };
        let error = request("s3://models/polder", away).to_string();
        assert_eq!(error, "could not write `spool/a` in the object store s3://models/polder");
        let denied = Box::new(request("s3://models", denied()));
        let unusable = ObjectsError::Unusable { address: "s3://models".into(), source: denied };
        assert!(!unusable.is_passing(), "at start they were wrong from the beginning");
    }

    #[test]
    fn a_full_disk_below_an_object_store_is_called_so() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let full = || {
                let source = Box::new(io::Error::from(kind));
                request("file:///srv/blobs", object_store::Error::Generic { store: "LocalFileSystem", source })
            };
            let error = SpoolError::from(full());
            assert!(matches!(error, SpoolError::Full { .. }) && error.is_passing(), "{error}");
            assert!(error.to_string().contains("could not write `file:///srv/blobs/spool/a`"), "{error}");
            let error = StoreError::from(full());
            assert!(matches!(error, StoreError::Full { .. }) && error.is_passing(), "{error}");
            assert!(error.to_string().contains("could not write `file:///srv/blobs/spool/a`"), "{error}");
        }
    }
}
