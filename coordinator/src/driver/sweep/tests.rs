use std::path::{Path, PathBuf};

use polder_core::Digest;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::driver::Standing;
use crate::handle::Request;
use crate::store::{Member, StoreConfig};

/// Answers questions about an empty federation, to which all rounds are over.
fn handle() -> CoordinatorHandle {
    let (inbox, mut requests) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            if let Request::Query(query) = request {
                query(&Federation::new());
            }
        }
    });
    CoordinatorHandle::new(inbox, watch::channel(0).1, watch::channel(Standing::default()).1)
}

/// An update in the object store, as another coordinator took it.
fn taken(shared: &Path) -> PathBuf {
    let folder = shared.join("spool/digits-1/4/eu-west-1");
    std::fs::create_dir_all(&folder).unwrap();
    let object = folder.join(Digest::blake3([7; 32]).hex());
    std::fs::write(&object, b"update").unwrap();
    object
}

#[tokio::test]
async fn only_who_leads_sweeps_the_object_store() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let blobs = Some(format!("file://{}", shared.display()));
    let store = Store::open(&StoreConfig { blobs, ..StoreConfig::local(dir.path().join("c")) }).await.unwrap();
    let me = Member { id: "me".into(), endpoint: "e:1".into(), peer: "p:1".into(), version: "0".into() };
    let lead = async || store.try_lead(&me, Duration::from_secs(60)).await.unwrap().unwrap();
    let (before, now) = (lead().await, lead().await);
    let spool = Spool::open(&dir.path().join("c/spool"), store.blobs().objects().cloned()).unwrap();
    let update = taken(&shared);
    let store = Arc::new(store);
    let sweep = |term| SharedSweep { spool: spool.clone(), store: store.clone(), term, handle: handle() };

    sweep(before).run().await;
    assert!(update.exists(), "it may be the next leader's");
    sweep(now).run().await;
    assert!(!update.exists());
    assert!(spool.rounds_stored().unwrap().is_empty());
}

#[tokio::test]
async fn of_a_round_that_is_over_nothing_stays_here() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("spool/digits-1/4");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("eu-west-1~{}.update", Digest::blake3([7; 32]).hex())), b"update").unwrap();
    let spool = Spool::open(&dir.path().join("spool"), None).unwrap();
    assert_eq!(spool.rounds_here().len(), 1);
    sweep_here(&spool, &Federation::new()).await;
    assert!(spool.rounds_here().is_empty());
    assert!(!dir.path().join("spool/digits-1").exists());
}
