//! A disk without a free byte is waited for, and nothing is half written.

use polder_coordinator::store::{Snapshot, Store, StoreConfig, StoreError};
use polder_tests::disk::Disk;

use crate::place::{TTL, entries, line, member, recorded, replayed, told};

#[allow(clippy::print_stderr)]
fn skipped(why: &str) {
    eprintln!("skipped: no disk is filled, because this machine mounts none for us: {why}");
}

#[tokio::test]
async fn what_does_not_fit_is_written_once_there_is_room() {
    let disk = match Disk::mount(24) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let config = StoreConfig::local(disk.path().join("state"));
    let store = Store::open(&config).await.unwrap();
    let term = store.try_lead(&member("a"), TTL).await.unwrap().unwrap();
    store.append(term, &entries(1..=1000), &[line(None, "before")], &[]).await.unwrap();

    disk.fill();
    // Some of it may fit into what the database has already; sooner or later it does not.
    let mut last = 1000;
    let error = loop {
        match store.append(term, &entries(last + 1..=last + 1000), &[line(None, "meanwhile")], &[]).await {
            Ok(seq) => last = seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }) && error.is_passing(), "{error:?}");
    let snapshot = Snapshot { seq: last, at_ms: 1, rules: 1, state: vec![7; 30_000_000].into() };
    assert!(store.write_snapshot(term, &snapshot).await.unwrap_err().is_passing());
    assert!(store.renew(term, TTL).await.unwrap(), "the lease needs no disk");
    assert_eq!(replayed(&store, 1).await, recorded(1..=last));
    let again = store.append(term, &entries(last + 1..=last + 1000), &[line(None, "meanwhile")], &[]).await;
    assert!(again.unwrap_err().is_passing());

    disk.clear();
    let seq = store.append(term, &entries(last + 1..=last + 1000), &[line(None, "meanwhile")], &[]).await.unwrap();
    assert_eq!(seq, last + 1000);
    drop(store);
    let store = Store::open(&config).await.unwrap();
    assert_eq!(replayed(&store, 1).await, recorded(1..=seq));
    assert_eq!(told(&store).await.len() as u64, seq / 1000);
}
