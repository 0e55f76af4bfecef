//! Where an object store is: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///dir`.
//!
//! The address names no secret: credentials, endpoint and whatever else a provider's tools take come from the environment,
//! under the names that those tools use.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::Url;

/// Why text is not the address of an object store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no object store: {what}; give s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///DIR"
)]
pub struct AddressError {
    text: String,
    what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    S3,
    Gcs,
    Azure,
    Directory,
}

/// The address of an object store, checked as far as that goes without asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStoreUrl {
    provider: Provider,
    url: Url,
    prefix: Key,
}

impl FromStr for ObjectStoreUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // A password must not come back in an error.
        let shown = || text.rsplit('@').next().and_then(|text| text.split('?').next()).unwrap_or_default().to_owned();
        let refused = |what: &str| AddressError { text: shown(), what: what.to_owned() };
        let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
        let provider = match url.scheme() {
            "s3" | "s3a" => Provider::S3,
            "gs" => Provider::Gcs,
            "az" | "azure" | "abfs" | "abfss" => Provider::Azure,
            "file" => Provider::Directory,
            scheme => return Err(refused(&format!("`{scheme}` is not supported"))),
        };
        if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(refused("credentials and options belong into the environment"));
        }
        match (provider, url.host_str().unwrap_or_default()) {
            (Provider::Directory, "") => {}
            (Provider::Directory, _) => return Err(refused("a directory is given with three slashes")),
            (_, "") => return Err(refused("the bucket is missing")),
            _ => {}
        }
        let prefix = Key::from_url_path(url.path()).map_err(|error| refused(&error.to_string()))?;
        if provider == Provider::Directory && prefix.as_ref().is_empty() {
            return Err(refused("the directory is missing"));
        }
        Ok(Self { provider, url, prefix })
    }
}

impl fmt::Display for ObjectStoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)
    }
}

impl ObjectStoreUrl {
    /// One word for what it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.provider {
            Provider::S3 => "s3",
            Provider::Gcs => "gcs",
            Provider::Azure => "azure",
            Provider::Directory => "directory",
        }
    }

    /// Sets the client up; asks nobody yet.
    pub(super) fn connect(&self) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
        // The clients ask for it as soon as they are made.
        polder_security::tls::use_ring();
        let url = self.url.as_str();
        Ok(match self.provider {
            Provider::S3 => self.within(AmazonS3Builder::from_env().with_url(url).with_retry(retries()).build()?),
            Provider::Gcs => {
                self.within(GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retries()).build()?)
            }
            Provider::Azure => {
                self.within(MicrosoftAzureBuilder::from_env().with_url(url).with_retry(retries()).build()?)
            }
            Provider::Directory => Arc::new(self.directory()?),
        })
    }

    fn within(&self, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
        if self.prefix.as_ref().is_empty() {
            Arc::new(store)
        } else {
            Arc::new(PrefixStore::new(store, self.prefix.clone()))
        }
    }

    /// Where its files lie, if it is a directory.
    pub(super) fn path(&self) -> Option<PathBuf> {
        (self.provider == Provider::Directory).then(|| self.url.to_file_path().ok()).flatten()
    }

    fn directory(&self) -> Result<LocalFileSystem, object_store::Error> {
        let failed = |source: std::io::Error| object_store::Error::Generic {
            store: "the file system",
            source: Box::new(source),
        };
        let dir = self.path().ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?;
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        // Folders go with their last object: every update has one, and every term lists them all.
        Ok(LocalFileSystem::new_with_prefix(dir)?.with_fsync(true).with_automatic_cleanup(true))
    }
}

/// What a provider's hiccup needs, and no more: who waits is an upload, or a round.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 5,
        retry_timeout: Duration::from_secs(20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, kind, prefix) in [
            ("s3://models", "s3", ""),
            ("s3://models/polder/eu", "s3", "polder/eu"),
            ("gs://models/polder/", "gcs", "polder"),
            ("az://models/polder", "azure", "polder"),
            ("file:///srv/polder%20blobs", "directory", "srv/polder blobs"),
        ] {
            let url: ObjectStoreUrl = text.parse().unwrap();
            assert_eq!((url.kind(), url.prefix.as_ref()), (kind, prefix), "{text}");
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_secrets() {
        for (text, what) in [
            ("models", "relative URL without a base"),
            ("/srv/blobs", "relative URL without a base"),
            ("https://example.org/blobs", "`https` is not supported"),
            ("s3:///polder", "the bucket is missing"),
            ("file://srv/blobs", "three slashes"),
            ("file:///", "the directory is missing"),
            ("s3://key:hunter2@models/polder", "belong into the environment"),
            ("s3://models/polder?secret=hunter2", "belong into the environment"),
        ] {
            let error = text.parse::<ObjectStoreUrl>().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            assert!(error.contains("give s3://BUCKET/PREFIX"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
