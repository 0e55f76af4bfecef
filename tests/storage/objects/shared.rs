//! What holds wherever the copies that count are.

use std::fs;

use polder_coordinator::store::StoreError;
use polder_core::digest::Algorithm;

use super::world::{World, assignment, digest, files, model, update};

/// The same tests on each kind of store; one that is not there in this process has none.
macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        on_every_store!(@of local, $($test),*);
        on_every_store!(@of directory, $($test),*);
        on_every_store!(@of s3, $($test),*);
    };
    (@of $store:ident, $($test:ident),*) => {
        mod $store {
            $(#[tokio::test]
            async fn $test() {
                if let Some(world) = super::World::$store() {
                    super::$test(&world).await;
                }
            })*
        }
    };
}

on_every_store!(
    blobs_are_kept_found_and_removed,
    a_large_blob_goes_through_in_parts,
    a_corrupt_file_is_healed_or_named,
    a_new_directory_has_everything,
    many_who_want_one_blob_get_it,
    updates_are_kept_found_and_removed,
    an_update_that_rots_is_healed_or_named,
    an_upload_goes_on_in_its_directory,
    what_was_local_is_copied_once,
);

async fn blobs_are_kept_found_and_removed(world: &World) {
    let house = world.open("a").await;
    let blobs = house.store.blobs();
    let policy = blobs.put(Algorithm::Sha256, "policy".into()).await.unwrap();
    let model = blobs.put(Algorithm::Blake3, "model".into()).await.unwrap();
    assert_eq!(model, digest(b"model"));
    assert_eq!(blobs.get(&model).await.unwrap(), "model");
    assert_eq!(blobs.get_range(&model, 1..3).await.unwrap(), "od");
    assert_eq!(blobs.get_range(&model, 3..300).await.unwrap(), "el");
    assert!(blobs.get_range(&model, 6..7).await.is_err());
    assert_eq!(blobs.size(&model).await.unwrap(), Some(5));
    assert_eq!(blobs.list().await.unwrap(), [model, policy]);

    blobs.remove(&model).await.unwrap();
    blobs.remove(&model).await.unwrap();
    assert_eq!(blobs.list().await.unwrap(), [policy]);
    assert_eq!(blobs.size(&model).await.unwrap(), None);
    assert!(matches!(blobs.get(&model).await, Err(StoreError::BlobMissing { .. })));
    assert!(matches!(blobs.ensure_local(&model).await, Err(StoreError::BlobMissing { .. })));
}

async fn a_large_blob_goes_through_in_parts(world: &World) {
    let model = model();
    let house = world.open("a").await;
    let mut writer = house.store.blobs().writer().unwrap();
    model.chunks(3_000_000).for_each(|piece| writer.write(piece).unwrap());
    let (name, bytes) = writer.finish().unwrap();
    assert_eq!((name, bytes), (digest(&model), model.len() as u64));
    if world.is_shared() {
        house.wipe();
    }
    assert_eq!(house.store.blobs().size(&name).await.unwrap(), Some(bytes));
    let path = house.store.blobs().ensure_local(&name).await.unwrap();
    assert!(fs::read(path).unwrap() == model, "other bytes came back");
    assert_eq!(files(&house.store.dir().join("incoming")), 0);
}

async fn a_corrupt_file_is_healed_or_named(world: &World) {
    let house = world.open("a").await;
    let name = house.store.blobs().put(Algorithm::Blake3, "model".into()).await.unwrap();
    // As a restarted coordinator finds it, which has written nothing itself.
    drop(house);
    let house = world.open("a").await;
    let blobs = house.store.blobs();
    fs::write(blobs.path(&name), "mOdel").unwrap();
    let quarantine = house.store.dir().join("quarantine");
    if world.is_shared() {
        assert_eq!(blobs.get_range(&name, 0..5).await.unwrap(), "model");
        assert_eq!(fs::read(blobs.path(&name)).unwrap(), b"model");
        assert_eq!(files(&quarantine), 1);
        return;
    }
    let error = blobs.get_range(&name, 0..5).await.unwrap_err();
    let StoreError::BlobCorrupt { kept, .. } = &error else { panic!("{error}") };
    assert_eq!(fs::read(kept).unwrap(), b"mOdel");
    assert!(!blobs.holds(&name).await.unwrap());
    blobs.put(Algorithm::Blake3, "model".into()).await.unwrap();
    assert_eq!(blobs.get(&name).await.unwrap(), "model");
}

async fn a_new_directory_has_everything(world: &World) {
    let old = world.open("a").await;
    let name = old.store.blobs().put(Algorithm::Blake3, "model".into()).await.unwrap();
    let spooled = old.receive(&assignment(1, "eu"), 1).unwrap();
    let new = world.open("b").await;
    let there =
        (new.store.blobs().get(&name).await.ok(), new.spool.find(&spooled.assignment, &spooled.digest).unwrap());
    if !world.is_shared() {
        assert_eq!(there, (None, None));
        return;
    }
    assert_eq!(there.0.unwrap(), "model");
    assert_eq!(fs::read(there.1.unwrap().path).unwrap(), update(1));
    // And both go on with it.
    new.store.blobs().remove(&name).await.unwrap();
    assert_eq!(new.store.blobs().list().await.unwrap(), []);
    old.wipe();
    assert!(matches!(old.store.blobs().get(&name).await, Err(StoreError::BlobMissing { .. })));
}

async fn many_who_want_one_blob_get_it(world: &World) {
    let model = model();
    let house = world.open("a").await;
    let name = house.store.blobs().put(Algorithm::Blake3, model.clone().into()).await.unwrap();
    if world.is_shared() {
        house.wipe();
    }
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let blobs = house.store.blobs().clone();
            tokio::spawn(async move { blobs.get_range(&name, 19_000_000..20_000_003).await })
        })
        .collect();
    for one in asked {
        assert!(one.await.unwrap().unwrap() == model[19_000_000..], "other bytes came back");
    }
    assert_eq!(files(&house.store.dir().join("incoming")), 0);
}

async fn updates_are_kept_found_and_removed(world: &World) {
    let house = world.open("a").await;
    let (eu, us, later) = (assignment(1, "eu"), assignment(1, "us"), assignment(2, "eu"));
    let spooled: Vec<_> = [&eu, &us, &later].map(|assignment| house.receive(assignment, 1).unwrap()).into();
    for update in &spooled {
        assert_eq!(house.spool.find(&update.assignment, &update.digest).unwrap().as_ref(), Some(update));
    }
    if world.is_shared() {
        house.wipe();
    }
    assert_eq!(house.spool.list().unwrap().len(), 3);
    assert!(house.spool.list().unwrap().iter().all(|held| held.whole && held.bytes == spooled[0].bytes));

    house.spool.discard(&us).unwrap();
    assert_eq!(house.spool.find(&us, &spooled[1].digest).unwrap(), None);
    house.spool.remove(&eu.run, 1).unwrap();
    house.spool.remove(&eu.run, 1).unwrap();
    let left: Vec<_> = house.spool.list().unwrap().into_iter().map(|held| held.assignment).collect();
    assert_eq!(left, [later]);
}

async fn an_update_that_rots_is_healed_or_named(world: &World) {
    let house = world.open("a").await;
    let eu = assignment(1, "eu");
    let spooled = house.receive(&eu, 1).unwrap();
    drop(house);
    let house = world.open("a").await;
    fs::write(&spooled.path, update(2)).unwrap();
    let found = house.spool.find(&eu, &spooled.digest);
    if world.is_shared() {
        assert_eq!(fs::read(found.unwrap().unwrap().path).unwrap(), update(1));
    } else {
        let error = found.unwrap_err().to_string();
        assert!(error.starts_with("the update of digits-1/1/eu is corrupt"), "{error}");
    }
    assert_eq!(files(&house.store.dir().join("quarantine")), 1);
}

async fn an_upload_goes_on_in_its_directory(world: &World) {
    let house = world.open("a").await;
    let eu = assignment(1, "eu");
    let file = update(3);
    let announced = polder_coordinator::spool::Announced {
        assignment: eu.clone(),
        layout: std::sync::Arc::new(polder_tensor::Layout::parse(&file).unwrap()),
        digest: digest(&file),
        bytes: file.len() as u64,
    };
    let mut receiver = house.spool.resume(announced, 0).unwrap();
    receiver.write(&file[..5000]).unwrap();
    drop(receiver);
    drop(house);
    let house = world.open("a").await;
    assert_eq!(house.spool.status(&eu, &digest(&file)).unwrap(), 5000);
    house.receive(&eu, 3).unwrap();
    assert_eq!(house.spool.list().unwrap().len(), 1);
}

/// Who gives a directory an object store takes along what is in it.
async fn what_was_local_is_copied_once(world: &World) {
    if !world.is_shared() {
        return;
    }
    let eu = assignment(1, "eu");
    let (name, spooled) = {
        let alone = World::local().unwrap();
        let house = alone.open("a").await;
        let name = house.store.blobs().put(Algorithm::Blake3, "model".into()).await.unwrap();
        let spooled = house.receive(&eu, 1).unwrap();
        drop(house);
        fs::rename(alone.dir("a"), world.dir("a")).unwrap();
        (name, spooled)
    };
    let house = world.open("a").await;
    house.wipe();
    assert_eq!(house.store.blobs().get(&name).await.unwrap(), "model");
    assert!(house.spool.find(&eu, &spooled.digest).unwrap().is_some());
    drop(house);

    let alone = polder_coordinator::store::StoreConfig::local(world.dir("a"));
    let error = polder_coordinator::store::Store::open(&alone).await.unwrap_err().to_string();
    assert!(error.contains("are in the object store") && error.contains("give `--blobs "), "{error}");
}
