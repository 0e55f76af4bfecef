//! Object stores that lose, damage or refuse what they should keep, or do not answer.

use std::fs;
use std::time::{Duration, Instant};

use polder_coordinator::store::StoreError;
use polder_core::digest::Algorithm;

use super::world::{World, assignment};

/// As the object store calls a blob.
fn key(name: &polder_core::Digest) -> String {
    format!("blobs/blake3/{}", name.hex())
}

#[tokio::test]
async fn an_object_that_was_tampered_with_is_refused_and_mended() {
    let world = World::directory().unwrap();
    let house = world.open("a").await;
    let blobs = house.store.blobs();
    let name = blobs.put(Algorithm::Blake3, "model".into()).await.unwrap();
    fs::write(world.objects().join(key(&name)), "mOdel").unwrap();
    house.wipe();
    let error = blobs.get(&name).await.unwrap_err();
    assert!(matches!(error, StoreError::ObjectCorrupt { .. }) && !error.is_passing(), "{error}");
    assert!(error.to_string().contains(&key(&name)), "{error}");
    blobs.put(Algorithm::Blake3, "model".into()).await.unwrap();
    house.wipe();
    assert_eq!(blobs.get(&name).await.unwrap(), "model");
}

#[tokio::test]
async fn a_lost_object_is_not_missed_while_it_is_here() {
    let world = World::directory().unwrap();
    let house = world.open("a").await;
    let blobs = house.store.blobs();
    let name = blobs.put(Algorithm::Blake3, "model".into()).await.unwrap();
    fs::remove_file(world.objects().join(key(&name))).unwrap();
    assert_eq!(blobs.get(&name).await.unwrap(), "model");
    house.wipe();
    assert!(matches!(blobs.get(&name).await, Err(StoreError::BlobMissing { .. })));
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_named_at_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    for (blobs, says) in [
        (format!("file://{}/file/blobs", dir.path().display()), "cannot be used"),
        ("s3://".to_owned(), "is no object store"),
        ("ftp://host/dir".to_owned(), "`ftp` is not supported"),
    ] {
        let config = polder_coordinator::store::StoreConfig {
            blobs: Some(blobs),
            ..polder_coordinator::store::StoreConfig::local(dir.path().join("a"))
        };
        let error = polder_coordinator::store::Store::open(&config).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// In the process that may start and stop the server.
mod s3 {
    use polder_tests::s3::S3;

    use super::super::world::{BUCKET, S3_PORT, model};
    use super::*;

    fn server() -> Option<S3> {
        let port = std::env::var(S3_PORT).ok()?.parse().unwrap();
        let s3 = S3::start_at(port).unwrap();
        s3.make_bucket(BUCKET);
        Some(s3)
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_waited_for_a_while() {
        let Some(mut s3) = server() else { return };
        let world = World::s3().unwrap();
        let house = world.open("a").await;
        let blobs = house.store.blobs();
        let kept = blobs.put(Algorithm::Blake3, "kept".into()).await.unwrap();
        s3.kill();

        let began = Instant::now();
        let error = blobs.put(Algorithm::Blake3, "model".into()).await.unwrap_err();
        assert!(error.is_passing(), "{error}");
        let error = house.receive(&assignment(1, "eu"), 1).unwrap_err();
        assert!(error.is_passing(), "{error}");
        assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
        // Nothing is referred to that is in one place only; what is here can be read.
        assert!(!house.store.blobs().path(&super::super::world::digest(b"model")).exists());
        assert!(house.spool.list().is_err(), "the object store was not asked");
        assert_eq!(blobs.get(&kept).await.unwrap(), "kept");

        // It comes back with nothing in it; the upload goes on where it stopped.
        s3.resume();
        s3.make_bucket(BUCKET);
        let bytes = super::super::world::update(1);
        let held = house.spool.status(&assignment(1, "eu"), &super::super::world::digest(&bytes)).unwrap();
        assert_eq!(held, bytes.len() as u64);
        let spooled = house.receive(&assignment(1, "eu"), 1).unwrap();
        let model = blobs.put(Algorithm::Blake3, "model".into()).await.unwrap();
        house.wipe();
        assert_eq!(blobs.get(&model).await.unwrap(), "model");
        assert!(house.spool.find(&spooled.assignment, &spooled.digest).unwrap().is_some());
        assert!(matches!(blobs.get(&kept).await, Err(StoreError::BlobMissing { .. })));
    }

    #[tokio::test]
    async fn one_download_serves_all_who_wait_for_it() {
        let Some(s3) = server() else { return };
        let world = World::s3().unwrap();
        let house = world.open("a").await;
        let name = house.store.blobs().put(Algorithm::Blake3, model().into()).await.unwrap();
        house.wipe();
        let asked: Vec<_> = (0..6)
            .map(|_| {
                let blobs = house.store.blobs().clone();
                tokio::spawn(async move { blobs.ensure_local(&name).await })
            })
            .collect();
        for one in asked {
            one.await.unwrap().unwrap();
        }
        let path = world.s3_path(&key(&name));
        let gets = || s3.requests().iter().filter(|line| line.contains("GET ") && line.contains(&path)).count();
        // 20 MB come in parts of 8 MiB; its log may be a line behind.
        polder_tests::eventually("the server's log", async || (gets() >= 3).then_some(())).await;
        assert_eq!(gets(), 3, "{:?}", s3.requests());
    }

    #[tokio::test]
    async fn a_wrong_object_is_refused() {
        let Some(s3) = server() else { return };
        let world = World::s3().unwrap();
        let house = world.open("a").await;
        let name = house.store.blobs().put(Algorithm::Blake3, "model".into()).await.unwrap();
        // Whoever has no credentials can put an object where there is none.
        house.store.blobs().remove(&name).await.unwrap();
        assert_eq!(s3.put(&world.s3_path(&key(&name)), b"mOdel"), 200);
        let error = house.store.blobs().get(&name).await.unwrap_err();
        assert!(matches!(error, StoreError::ObjectCorrupt { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_bucket_that_is_not_there_is_named_at_start() {
        let Some(_s3) = server() else { return };
        let dir = tempfile::tempdir().unwrap();
        let config = polder_coordinator::store::StoreConfig {
            blobs: Some("s3://nobodys/polder".into()),
            ..polder_coordinator::store::StoreConfig::local(dir.path().join("a"))
        };
        let error = polder_coordinator::store::Store::open(&config).await.unwrap_err().to_string();
        assert!(error.contains("s3://nobodys/polder cannot be used"), "{error}");
    }
}
