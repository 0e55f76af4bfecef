//! What is the same for every database is tested in `tests/storage`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use polder_core::Digest;
use polder_core::digest::Algorithm;
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use super::*;

/// Opens the database beside the store, as a person would with the `sqlite3` program.
async fn tamper(dir: &Path, statement: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(dir.join("journal.sqlite")).connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_second_coordinator_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::local(dir.path())).await.unwrap();
    let error = Store::open(&StoreConfig::local(dir.path())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`{}` is in use by another coordinator; stop that one first, or give another directory",
            dir.path().display()
        )
    );
    drop(store);
    Store::open(&StoreConfig::local(dir.path())).await.unwrap();
}

#[tokio::test]
async fn a_newer_version_s_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(&StoreConfig::local(dir.path())).await.unwrap());
    tamper(
        dir.path(),
        "INSERT INTO _sqlx_migrations SELECT 7, 'later', installed_on, 1, x'00', 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    tamper(dir.path(), "UPDATE meta SET value = '9.8.7' WHERE key = 'written_by'").await;
    let error = Store::open(&StoreConfig::local(dir.path())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`{}` was written by polder 9.8.7 (format 7); this is polder {}, which reads up to format 2; start the \
             newer version, or give another directory or database",
            dir.path().display(),
            env!("CARGO_PKG_VERSION")
        )
    );
    let mut connection =
        SqliteConnectOptions::new().filename(dir.path().join("journal.sqlite")).connect().await.unwrap();
    let written_by: String =
        sqlx::query_scalar("SELECT value FROM meta WHERE key = 'written_by'").fetch_one(&mut connection).await.unwrap();
    assert_eq!(written_by, "9.8.7");
}

#[tokio::test]
async fn the_directory_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("deep/state");
    let store = Store::open(&StoreConfig::local(&state)).await.unwrap();
    assert_eq!(fs::metadata(store.dir()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn blobs_are_found_by_their_digest() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::local(dir.path())).await.unwrap();
    let blobs = store.blobs();
    assert_eq!(blobs.list().await.unwrap(), []);
    let policy = blobs.put(Algorithm::Sha256, Bytes::from_static(b"policy")).await.unwrap();
    // As `printf policy | sha256sum` prints it.
    assert_eq!(policy.hex(), "823412d1eacb67956220e532959f0104603057c88704863ca38e7cd188fda812");
    let model = blobs.put(Algorithm::Blake3, Bytes::from_static(b"model")).await.unwrap();
    assert_eq!(model, Digest::blake3(*blake3::hash(b"model").as_bytes()));
    assert_eq!(blobs.put(Algorithm::Blake3, Bytes::from_static(b"model")).await.unwrap(), model);

    assert_eq!(blobs.get(&model).await.unwrap(), "model");
    assert_eq!(blobs.get_range(&model, 1..3).await.unwrap(), "od");
    assert_eq!(blobs.get_range(&model, 3..300).await.unwrap(), "el");
    assert_eq!(blobs.size(&model).await.unwrap(), Some(5));
    assert_eq!(fs::read(blobs.path(&model)).unwrap(), b"model");
    assert_eq!(blobs.list().await.unwrap(), [model, policy]);

    let absent = Digest::blake3([7; 32]);
    assert_eq!(blobs.size(&absent).await.unwrap(), None);
    let error = blobs.get(&absent).await.unwrap_err();
    assert_eq!(error.to_string(), format!("there is no blob {absent}"));
    assert!(matches!(blobs.get_range(&absent, 0..1).await, Err(StoreError::BlobMissing { .. })));
}

#[tokio::test]
async fn a_corrupt_blob_is_an_error_and_storing_it_again_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::local(dir.path())).await.unwrap();
    let digest = store.blobs().put(Algorithm::Blake3, Bytes::from_static(b"model")).await.unwrap();
    fs::write(store.blobs().path(&digest), b"mOdel").unwrap();
    let found = Digest::blake3(*blake3::hash(b"mOdel").as_bytes());
    let error = store.blobs().get(&digest).await.unwrap_err();
    let StoreError::BlobCorrupt { kept, .. } = &error else { panic!("{error}") };
    assert_eq!(fs::read(kept).unwrap(), b"mOdel");
    assert_eq!(
        error.to_string(),
        format!(
            "blob {digest} is corrupt: its bytes have the digest {found}; its file is now `{}`; store the same bytes \
             again, or restore it from a backup",
            kept.display()
        )
    );
    assert_eq!(store.blobs().size(&digest).await.unwrap(), None);
    assert!(!store.blobs().holds(&digest).await.unwrap());
    store.blobs().put(Algorithm::Blake3, Bytes::from_static(b"model")).await.unwrap();
    assert_eq!(store.blobs().get(&digest).await.unwrap(), "model");
}

#[tokio::test]
async fn written_blobs_appear_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::local(dir.path())).await.unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let mut writer = store.blobs().writer().unwrap();
    writer.write(&bytes[..10]).unwrap();
    writer.write(&bytes[10..2_500_000]).unwrap();
    assert_eq!(store.blobs().list().await.unwrap(), []);
    writer.write(&bytes[2_500_000..]).unwrap();
    let (digest, size) = writer.finish().unwrap();
    assert_eq!((digest, size), (Digest::blake3(*blake3::hash(&bytes).as_bytes()), 3_000_000));
    assert_eq!(store.blobs().get(&digest).await.unwrap(), bytes);

    let mut writer = store.blobs().writer().unwrap();
    writer.write(&bytes).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(dir.path().join("incoming")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_killed_coordinator_left_half_written_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::local(dir.path())).await.unwrap();
    let digest = store.blobs().put(Algorithm::Blake3, Bytes::from_static(b"model")).await.unwrap();
    let mut writer = store.blobs().writer().unwrap();
    writer.write(b"half a mod").unwrap();
    // A kill runs no destructor: the file stays, and so would the temporary name of an interrupted `put`.
    let _ = Box::leak(Box::new(writer));
    let staged = dir.path().join("blobs/sha256").join(format!("{}#1", "ab".repeat(32)));
    fs::write(&staged, b"half a pol").unwrap();
    assert_eq!(fs::read_dir(dir.path().join("incoming")).unwrap().count(), 1);
    drop(store);

    let store = Store::open(&StoreConfig::local(dir.path())).await.unwrap();
    assert_eq!(fs::read_dir(dir.path().join("incoming")).unwrap().count(), 0);
    assert!(!staged.exists());
    assert_eq!(store.blobs().list().await.unwrap(), [digest]);
}
