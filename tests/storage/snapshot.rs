//! The newest snapshot that is intact is found, and a leader of the past leaves none.

use polder_coordinator::store::{Snapshot, StoreError};

use crate::place::{Place, TTL, entries, member, on_each_database};

on_each_database!(
    the_newest_snapshot_is_found_and_the_last_two_are_kept,
    a_damaged_snapshot_is_passed_over,
    a_large_snapshot_comes_back_as_it_went,
    a_term_that_is_over_writes_no_snapshot_and_prunes_nothing,
);

fn snapshot(seq: u64, state: &[u8]) -> Snapshot {
    Snapshot { seq, at_ms: 7, rules: 3, state: state.to_vec().into() }
}

async fn the_newest_snapshot_is_found_and_the_last_two_are_kept(place: Place) {
    let (store, term) = place.leading("a").await;
    assert_eq!(store.latest_snapshot().await.unwrap(), None);
    store.append(term, &entries(1..=9), &[], &[]).await.unwrap();
    for seq in [3, 5, 9] {
        store.write_snapshot(term, &snapshot(seq, b"first")).await.unwrap();
        store.write_snapshot(term, &snapshot(seq, b"second")).await.unwrap();
        assert_eq!(store.latest_snapshot().await.unwrap(), Some(snapshot(seq, b"second")));
    }
    place.sql("DELETE FROM snapshot WHERE seq = 9").await;
    assert_eq!(store.latest_snapshot().await.unwrap(), Some(snapshot(5, b"second")));
    place.sql("DELETE FROM snapshot WHERE seq = 5").await;
    assert_eq!(store.latest_snapshot().await.unwrap(), None);
}

async fn a_damaged_snapshot_is_passed_over(place: Place) {
    let (store, term) = place.leading("a").await;
    store.write_snapshot(term, &snapshot(3, b"old")).await.unwrap();
    store.write_snapshot(term, &snapshot(5, b"new")).await.unwrap();
    place.sql("UPDATE snapshot SET rules = 4 WHERE seq = 5").await;
    assert_eq!(store.latest_snapshot().await.unwrap(), Some(snapshot(3, b"old")));
    place.sql("UPDATE snapshot SET state = digest WHERE seq = 3").await;
    assert_eq!(store.latest_snapshot().await.unwrap(), None);
}

async fn a_large_snapshot_comes_back_as_it_went(place: Place) {
    let (store, term) = place.leading("a").await;
    let state: Vec<u8> = (0..20_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    store.write_snapshot(term, &snapshot(5, &state)).await.unwrap();
    assert!(store.latest_snapshot().await.unwrap() == Some(snapshot(5, &state)));
}

async fn a_term_that_is_over_writes_no_snapshot_and_prunes_nothing(place: Place) {
    let (store, old) = place.leading("a").await;
    store.append(old, &entries(1..=9), &[], &[]).await.unwrap();
    let new = store.try_lead(&member("a"), TTL).await.unwrap().unwrap();
    store.write_snapshot(new, &snapshot(5, b"new")).await.unwrap();
    let error = store.write_snapshot(old, &snapshot(6, b"old")).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error:?}");
    let all = polder_coordinator::store::Prune { journal_before_seq: 9, log_keep_lines: 1, rounds_keep_per_run: 1 };
    assert!(matches!(store.prune(old, &all).await, Err(StoreError::Fenced { .. })));
    assert_eq!(store.latest_snapshot().await.unwrap(), Some(snapshot(5, b"new")));
    assert_eq!(store.prune(new, &all).await.unwrap().entries, 5);
}
