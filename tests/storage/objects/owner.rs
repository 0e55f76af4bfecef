//! An object store is one federation's, and a federation has one.

use std::fs;
use std::path::{Path, PathBuf};

use polder_coordinator::store::{Store, StoreConfig, StoreError};
use polder_core::digest::Algorithm;
use tempfile::TempDir;

struct Places(TempDir);

impl Places {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A federation's only coordinator, with its blobs in the directory `blobs`.
    fn config(&self, name: &str, blobs: &str) -> StoreConfig {
        let blobs = Some(format!("file://{}", self.path(blobs).display()));
        StoreConfig { blobs, ..StoreConfig::local(self.path(name)) }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_second_federation_on_an_object_store_is_refused() {
    let places = Places(tempfile::tempdir().unwrap());
    let first = Store::open(&places.config("a", "blobs")).await.unwrap();
    let model = first.blobs().put(Algorithm::Blake3, "model".into()).await.unwrap();
    let error = Store::open(&places.config("b", "blobs")).await.unwrap_err();
    assert!(matches!(error, StoreError::ObjectsOwned { .. }) && !error.is_passing(), "{error}");
    let (said, owner) = (error.to_string(), fs::read_to_string(places.path("blobs/owner")).unwrap());
    for named in [owner.split_once(' ').unwrap().0, "/a`", "/b`", "another prefix", "remove the object `owner`"] {
        assert!(said.contains(named), "{named} in {said}");
    }
    // It has what it needs elsewhere, and the first one what it had.
    drop(Store::open(&places.config("b", "others")).await.unwrap());
    drop(first);
    let first = Store::open(&places.config("a", "blobs")).await.unwrap();
    assert_eq!(first.blobs().get(&model).await.unwrap(), "model");
    drop(first);
    // The first one is gone for good.
    fs::remove_file(places.path("blobs/owner")).unwrap();
    Store::open(&places.config("c", "blobs")).await.unwrap();
    assert!(matches!(Store::open(&places.config("a", "blobs")).await, Err(StoreError::ObjectsOwned { .. })));
}

#[tokio::test]
async fn coordinators_of_one_database_have_one_object_store_and_it_may_move() {
    let places = Places(tempfile::tempdir().unwrap());
    drop(Store::open(&places.config("a", "blobs")).await.unwrap());
    let error = Store::open(&places.config("a", "elsewhere")).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, StoreError::BlobsOfOthers { .. }) && !error.is_passing(), "{said}");
    assert!(said.contains("/blobs, not file:///") && said.contains("/elsewhere; give `--blobs file:///"), "{said}");
    // Another machine's directory knows no better.
    fs::remove_file(places.path("a/objects")).unwrap();
    let error = Store::open(&StoreConfig::local(places.path("a"))).await.unwrap_err();
    assert!(matches!(error, StoreError::BlobsElsewhere { .. }), "{error}");

    copy(&places.path("blobs"), &places.path("elsewhere"));
    drop(Store::open(&places.config("a", "elsewhere")).await.unwrap());
    fs::remove_dir_all(places.path("blobs")).unwrap();
    let error = Store::open(&places.config("a", "blobs")).await.unwrap_err();
    assert!(matches!(error, StoreError::BlobsOfOthers { .. }), "it is where it has moved to: {error}");
}
