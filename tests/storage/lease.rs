//! One leads, and only who leads writes.

use std::sync::Arc;
use std::time::Duration;

use polder_coordinator::store::{Store, StoreError};
use polder_tests::eventually;
use sqlx::{Connection, PgConnection};

use crate::place::{Place, TTL, entries, line, member, on_each_database, recorded, replayed, told, until_waiting};

on_each_database!(
    terms_are_counted_over_restarts,
    an_earlier_term_writes_nothing,
    a_term_that_was_given_up_writes_nothing,
    the_leader_and_the_members_are_known,
);

async fn terms_are_counted_over_restarts(place: Place) {
    let mut last = 0;
    for _ in 0..3 {
        let (store, term) = place.leading("a").await;
        assert!(term.epoch > last, "{} after {last}", term.epoch);
        last = term.epoch;
        assert!(store.renew(term, TTL).await.unwrap());
    }
}

async fn an_earlier_term_writes_nothing(place: Place) {
    let (store, old) = place.leading("a").await;
    store.append(old, &entries(1..=2), &[line(None, "old")], &[]).await.unwrap();
    let new = store.try_lead(&member("a"), TTL).await.unwrap().unwrap();
    assert!(new.epoch > old.epoch);
    let error = store.append(old, &entries(3..=4), &[line(None, "late")], &[]).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { epoch } if epoch == old.epoch), "{error:?}");
    assert!(!error.is_passing());
    assert!(!store.renew(old, TTL).await.unwrap());
    assert!(!store.still_leads(old).await.unwrap() && store.still_leads(new).await.unwrap());
    store.step_down(old).await.unwrap();
    assert!(store.renew(new, TTL).await.unwrap(), "who led before cannot end another's term");
    assert_eq!(store.append(new, &entries(3..=3), &[line(None, "new")], &[]).await.unwrap(), 3);
    assert!(matches!(store.append(old, &entries(4..=4), &[], &[]).await, Err(StoreError::Fenced { .. })));
    assert_eq!(replayed(&store, 1).await, recorded(1..=3));
    assert_eq!(told(&store).await, ["old", "new"]);
}

async fn a_term_that_was_given_up_writes_nothing(place: Place) {
    let (store, term) = place.leading("a").await;
    store.append(term, &entries(1..=1), &[], &[]).await.unwrap();
    store.step_down(term).await.unwrap();
    assert_eq!(store.leader().await.unwrap(), None);
    assert!(matches!(store.append(term, &entries(2..=2), &[], &[]).await, Err(StoreError::Fenced { .. })));
    assert!(!store.renew(term, TTL).await.unwrap() && !store.still_leads(term).await.unwrap());
    let next = store.try_lead(&member("a"), TTL).await.unwrap().unwrap();
    assert_eq!(store.append(next, &entries(2..=2), &[], &[]).await.unwrap(), 2);
}

async fn the_leader_and_the_members_are_known(place: Place) {
    let store = place.open("a").await;
    assert_eq!((store.leader().await.unwrap(), store.members().await.unwrap()), (None, vec![]));
    store.announce(&member("a")).await.unwrap();
    let seen = store.members().await.unwrap();
    assert_eq!((seen.len(), &seen[0].member, seen[0].leads), (1, &member("a"), false));
    assert!(seen[0].seen_ms_ago < 60_000);

    let term = store.try_lead(&member("a"), TTL).await.unwrap().unwrap();
    let leader = store.leader().await.unwrap().unwrap();
    assert_eq!((leader.member, leader.epoch), (member("a"), term.epoch));
    assert!(leader.since_ms > 1_700_000_000_000);
    let mut moved = member("a");
    moved.endpoint = "elsewhere:1".into();
    store.announce(&moved).await.unwrap();
    let seen = store.members().await.unwrap();
    assert_eq!((seen.len(), &seen[0].member, seen[0].leads), (1, &moved, true));
}

/// Two coordinators over one PostgreSQL, where there is one.
async fn two() -> Option<(Place, Store, Store)> {
    let place = Place::postgres()?;
    let (a, b) = (place.open("a").await, place.open("b").await);
    Some((place, a, b))
}

#[tokio::test]
async fn while_one_leads_another_does_not() {
    let Some((_place, a, b)) = two().await else { return };
    let first = a.try_lead(&member("a"), TTL).await.unwrap().unwrap();
    assert_eq!(b.try_lead(&member("b"), TTL).await.unwrap(), None);
    assert_eq!(b.leader().await.unwrap().unwrap().member, member("a"));
    b.announce(&member("b")).await.unwrap();
    let leads: Vec<_> = a.members().await.unwrap().into_iter().map(|seen| (seen.member.id, seen.leads)).collect();
    assert_eq!(leads, [("a".into(), true), ("b".into(), false)]);

    a.step_down(first).await.unwrap();
    let second = b.try_lead(&member("b"), TTL).await.unwrap().unwrap();
    assert!(second.epoch > first.epoch);
    assert_eq!(a.try_lead(&member("a"), TTL).await.unwrap(), None);
    assert_eq!(b.append(second, &entries(1..=1), &[], &[]).await.unwrap(), 1);
    assert!(matches!(a.append(first, &entries(2..=2), &[], &[]).await, Err(StoreError::Fenced { .. })));
    assert_eq!(replayed(&a, 1).await, recorded(1..=1));
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends() {
    let Some((_place, a, b)) = two().await else { return };
    let short = Duration::from_millis(300);
    let old = a.try_lead(&member("a"), short).await.unwrap().unwrap();
    a.append(old, &entries(1..=1), &[], &[]).await.unwrap();
    let new = eventually("the lease ends", async || b.try_lead(&member("b"), TTL).await.unwrap()).await;
    assert!(!a.renew(old, TTL).await.unwrap());
    // As a process that slept through all of this would.
    assert!(matches!(a.append(old, &entries(2..=2), &[], &[]).await, Err(StoreError::Fenced { .. })));
    assert_eq!(b.append(new, &entries(2..=2), &[], &[]).await.unwrap(), 2);
    assert_eq!(replayed(&b, 1).await, recorded(1..=2));
}

#[tokio::test]
async fn a_lease_that_nobody_took_is_renewed_late() {
    let Some((_place, a, _b)) = two().await else { return };
    let term = a.try_lead(&member("a"), Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(a.leader().await.unwrap(), None);
    assert!(a.renew(term, TTL).await.unwrap());
    assert_eq!(a.leader().await.unwrap().unwrap().epoch, term.epoch);
}

#[tokio::test]
async fn a_server_s_clock_that_was_set_back_locks_nobody_out() {
    let Some((place, a, b)) = two().await else { return };
    let old = a.try_lead(&member("a"), TTL).await.unwrap().unwrap();
    assert_eq!(b.try_lead(&member("b"), TTL).await.unwrap(), None);
    place.sql("UPDATE lease SET expires_ms = expires_ms + 86400000").await;
    assert_eq!(b.leader().await.unwrap(), None);
    let new = b.try_lead(&member("b"), TTL).await.unwrap().unwrap();
    assert!(matches!(a.append(old, &entries(1..=1), &[], &[]).await, Err(StoreError::Fenced { .. })));
    assert_eq!(b.append(new, &entries(1..=1), &[], &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn of_many_that_try_at_once_one_leads() {
    let Some(place) = Place::postgres() else { return };
    let mut stores = Vec::new();
    for n in 0..8 {
        stores.push(Arc::new(place.open(&format!("m{n}")).await));
    }
    for turn in 1..=5_u64 {
        let tries: Vec<_> = stores
            .iter()
            .enumerate()
            .map(|(n, store)| {
                let store = Arc::clone(store);
                tokio::spawn(async move { (n, store.try_lead(&member(&format!("m{n}")), TTL).await.unwrap()) })
            })
            .collect();
        let mut led = Vec::new();
        for tried in tries {
            if let (n, Some(term)) = tried.await.unwrap() {
                led.push((n, term));
            }
        }
        assert_eq!(led.len(), 1, "turn {turn}: {led:?}");
        stores[led[0].0].step_down(led[0].1).await.unwrap();
    }
}

/// The next term begins after a write of the one before that is under way, and finds what it wrote.
#[tokio::test]
async fn a_takeover_waits_for_a_write_that_is_under_way() {
    let Some((place, a, b)) = two().await else { return };
    let old = a.try_lead(&member("a"), Duration::from_millis(100)).await.unwrap().unwrap();
    a.append(old, &entries(1..=1), &[], &[]).await.unwrap();
    // Somebody holds the number that the write needs, so that it stays open for as long as we like.
    let database = place.config("a").database.unwrap();
    let mut other = PgConnection::connect(&database).await.unwrap();
    let hold = "BEGIN; INSERT INTO journal (seq, at_ms, epoch, kind, event) VALUES (2, 0, 0, '', '')";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let a = Arc::new(a);
    let write = tokio::spawn({
        let a = Arc::clone(&a);
        async move { a.append(old, &entries(2..=3), &[line(None, "late but in time")], &[]).await }
    });
    until_waiting(&database, 1).await;
    eventually("the lease ends", async || b.leader().await.unwrap().is_none().then_some(())).await;
    let early = b.try_lead(&member("b"), TTL).await;
    assert!(matches!(&early, Err(error) if error.is_passing()), "{early:?}");
    assert!(!write.is_finished());
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(write.await.unwrap().unwrap(), 3);

    let new = eventually("the lease ends", async || b.try_lead(&member("b"), TTL).await.unwrap()).await;
    assert_eq!(replayed(&b, 1).await, recorded(1..=3));
    assert_eq!(b.append(new, &entries(4..=4), &[], &[]).await.unwrap(), 4);
    assert!(matches!(a.append(old, &entries(4..=4), &[], &[]).await, Err(StoreError::Fenced { .. })));
}

/// Leaders that overtake each other at random leave one journal without holes, each entry once, terms in order.
#[tokio::test]
async fn a_journal_of_many_terms_has_no_holes() {
    let Some(place) = Place::postgres() else { return };
    let mut tasks = Vec::new();
    for n in 0..4 {
        let store = place.open(&format!("m{n}")).await;
        tasks.push(tokio::spawn(contend(store, n)));
    }
    let mut written = 0;
    for task in tasks {
        written += task.await.unwrap();
    }
    let store = place.open("reader").await;
    let all = replayed(&store, 1).await;
    assert_eq!(all.len(), written);
    let texts: Vec<_> = all.iter().map(|recorded| recorded.entry.event_json.clone()).collect();
    let mut distinct = texts.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), texts.len(), "an entry is there twice");
    let epochs: Vec<u64> = texts.iter().map(|text| text.split('/').next().unwrap().parse().unwrap()).collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
}

/// Leads and writes until it is fenced, twenty times; gives how many entries it was told are there.
async fn contend(store: Store, n: u64) -> usize {
    let mut written = 0;
    let me = member(&format!("m{n}"));
    for _ in 0..20 {
        // No time at all: whoever tries next gets it, in the middle of what the one before writes.
        let Some(term) = store.try_lead(&me, Duration::ZERO).await.unwrap() else { continue };
        for at in 0.. {
            let mut entry = crate::place::entry(n);
            entry.event_json = format!("{}/{n}/{at}", term.epoch);
            match store.append(term, &[entry], &[], &[]).await {
                Ok(_) => written += 1,
                Err(StoreError::Fenced { .. }) => break,
                Err(error) => panic!("{error:?}"),
            }
            if at == 20 {
                break;
            }
        }
    }
    written
}
