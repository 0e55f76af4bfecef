//! What a released version left behind is taken up.

use std::path::Path;

use polder_coordinator::store::{Store, StoreError};
use polder_core::{Event, Federation, RunId, Timestamp};

use crate::place::{Place, entries, replayed, told};

/// A database as SQLite's `.dump` printed it.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../coordinator/tests/released").join(name);
    std::fs::read_to_string(&path).unwrap()
}

/// Replays the journal as the coordinator does at its start.
async fn federation(store: &Store) -> Federation {
    let mut federation = Federation::new();
    store
        .replay(1, |recorded| {
            let event: Event = serde_json::from_str(&recorded.entry.event_json).unwrap();
            federation.apply(Timestamp(recorded.entry.at_ms), event).unwrap();
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    federation
}

#[tokio::test]
async fn a_journal_of_0_1_0_is_taken_up() {
    let place = Place::sqlite();
    place.make(&fixture("0.1.0.sql")).await;
    let (store, term) = place.leading("a").await;
    let federation = federation(&store).await;
    let runs: Vec<_> = federation.runs.keys().map(RunId::as_str).collect();
    assert_eq!(runs, ["demo-7c9e04"]);
    let run = federation.runs.values().next().unwrap();
    assert_eq!(run.model.version, 3, "three rounds were committed");
    assert_eq!(federation.workers.len(), 3);
    assert!(!told(&store).await.is_empty());

    let before = replayed(&store, 1).await.len() as u64;
    assert_eq!(term.epoch, 1, "terms are counted from now on");
    assert_eq!(store.append(term, &entries(1..=1), &[], &[]).await.unwrap(), before + 1);
}
