//! A full disk: said as such, nothing half-written is left, and it goes on when there is room again.

use std::fs;

use polder_coordinator::spool::{Spool, SpoolError};
use polder_coordinator::store::{Store, StoreConfig, StoreError};
use polder_core::digest::Algorithm;
use polder_tests::disk::Disk;

use super::world::{House, assignment, digest, files, update};

#[tokio::test]
#[allow(clippy::print_stderr)]
async fn a_full_disk_is_said_and_left_as_it_was() {
    let disk = match Disk::mount(2) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("skipped: no disk of our own: {why}");
            return;
        }
    };
    let dir = disk.path().join("a");
    // What else needs room lies elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("journal.sqlite"), dir.join("journal.sqlite")).unwrap();
    let store = Store::open(&StoreConfig::local(&dir)).await.unwrap();
    let spool = Spool::open(&dir.join("spool"), None).unwrap();
    let house = House { store, spool };
    let ballast = disk.path().join("ballast");
    // Room for the beginning of an update, and for nothing larger.
    fs::write(&ballast, vec![1; (2 << 20) - (90 << 10)]).unwrap();

    let eu = assignment(1, "eu");
    let error = house.receive(&eu, 1).unwrap_err();
    assert!(matches!(error, SpoolError::Full { .. }) && error.is_passing(), "{error}");
    assert_eq!(house.spool.status(&eu, &digest(&update(1))).unwrap(), 0);
    assert_eq!((house.spool.list().unwrap(), files(&dir.join("spool"))), (vec![], 0));

    let blobs = house.store.blobs();
    let error = blobs.put(Algorithm::Blake3, vec![7; 300_000].into()).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }) && error.is_passing(), "{error}");
    let mut writer = blobs.writer().unwrap();
    let error = writer.write(&[7; 300_000]).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    drop(writer);
    assert_eq!((files(&dir.join("incoming")), files(&dir.join("blobs"))), (0, 0));

    fs::remove_file(&ballast).unwrap();
    house.receive(&eu, 1).unwrap();
    let name = blobs.put(Algorithm::Blake3, vec![7; 300_000].into()).await.unwrap();
    assert_eq!(blobs.get(&name).await.unwrap(), vec![7; 300_000]);
}
