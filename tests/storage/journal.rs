//! What was appended is there, in order, whole, once.

use std::future::Future;
use std::task::{Context, Waker};

use polder_coordinator::store::{JournalEntry, Prune, Snapshot, StoreError};
use polder_core::RunId;

use crate::place::{Place, closed, entries, entry, line, on_each_database, recorded, replayed, told};

on_each_database!(
    what_was_appended_is_replayed_after_a_restart,
    log_lines_are_read_by_run_and_place,
    a_failed_batch_leaves_nothing_and_the_next_one_works,
    a_cancelled_batch_is_there_whole_or_not_at_all,
    a_hole_is_an_error,
    any_text_is_kept,
    closed_rounds_are_found,
    what_is_covered_is_pruned_and_nothing_else,
    numbers_go_on_after_everything_was_pruned,
    a_newer_version_s_database_is_refused_and_left_alone,
    shared_values_are_those_of_who_came_first,
);

async fn what_was_appended_is_replayed_after_a_restart(place: Place) {
    let (store, term) = place.leading("a").await;
    assert_eq!(store.append(term, &[], &[], &[]).await.unwrap(), 0);
    assert_eq!(store.append(term, &entries(1..=1), &[], &[]).await.unwrap(), 1);
    assert_eq!(store.append(term, &entries(2..=2000), &[line(None, "x")], &[]).await.unwrap(), 2000);
    assert_eq!(store.append(term, &[], &[line(None, "y")], &[]).await.unwrap(), 2000);
    drop(store);

    let (store, term) = place.leading("a").await;
    assert_eq!(replayed(&store, 0).await, recorded(1..=2000));
    assert_eq!(replayed(&store, 1999).await, recorded(1999..=2000));
    assert_eq!(replayed(&store, 2001).await, []);
    assert_eq!(store.append(term, &entries(2001..=2001), &[], &[]).await.unwrap(), 2001);
    assert_eq!(told(&store).await, ["x", "y"]);
}

async fn log_lines_are_read_by_run_and_place(place: Place) {
    let (store, term) = place.leading("a").await;
    let lines = [line(Some("a"), "one"), line(Some("b"), "two\n'"), line(None, "three"), line(Some("a"), "four")];
    store.append(term, &[], &lines[..2], &[]).await.unwrap();
    store.append(term, &[], &lines[2..], &[]).await.unwrap();

    let all = store.log_lines(None, 0, 100).await.unwrap();
    assert_eq!(all.iter().map(|entry| &entry.line).collect::<Vec<_>>(), lines.iter().collect::<Vec<_>>());
    let a = RunId::new("a").unwrap();
    let of_a = store.log_lines(Some(&a), 0, 100).await.unwrap();
    assert_eq!(of_a.iter().map(|entry| entry.line.text.as_str()).collect::<Vec<_>>(), ["one", "four"]);
    assert_eq!(store.log_lines(Some(&a), of_a[0].seq, 100).await.unwrap(), of_a[1..]);
    assert_eq!(store.log_lines(Some(&a), 0, 1).await.unwrap(), of_a[..1]);
}

async fn a_failed_batch_leaves_nothing_and_the_next_one_works(place: Place) {
    let (store, term) = place.leading("a").await;
    store.append(term, &entries(1..=1), &[], &[]).await.unwrap();
    place.sql("CREATE UNIQUE INDEX once ON log (text)").await;
    let lines = [line(None, "yes"), line(None, "yes")];
    let error = store.append(term, &entries(2..=3), &lines, &[closed("a", 1, "{}")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Database { action: "written", .. }), "{error:?}");
    assert!(!error.is_passing());
    assert_eq!(store.append(term, &entries(2..=2), &[], &[]).await.unwrap(), 2);
    assert_eq!(replayed(&store, 1).await, recorded(1..=2));
    assert_eq!(told(&store).await, [""; 0]);
    assert_eq!(store.archived_round(&RunId::new("a").unwrap(), 1).await.unwrap(), None);
}

async fn a_cancelled_batch_is_there_whole_or_not_at_all(place: Place) {
    let (store, term) = place.leading("a").await;
    let (batch, lines) = (entries(1..=50), [line(None, "x")]);
    for polls in 1..=6 {
        let mut append = Box::pin(store.append(term, &batch, &lines, &[]));
        for _ in 0..polls {
            if append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(append);
        assert!(store.append(term, &entries(1..=1), &[], &[]).await.unwrap() > 0);
    }
    let mut left = replayed(&store, 1).await.into_iter().map(|recorded| recorded.entry).collect::<Vec<_>>();
    let mut whole = 0;
    while let Some(entry) = left.pop() {
        if entry.at_ms == batch[49].at_ms {
            let rest = left.split_off(left.len() - 49);
            assert_eq!(rest, batch[..49]);
            whole += 1;
        }
    }
    assert_eq!(told(&store).await.len(), whole);
}

async fn a_hole_is_an_error(place: Place) {
    let (store, term) = place.leading("a").await;
    store.append(term, &entries(1..=5), &[], &[]).await.unwrap();
    place.sql("DELETE FROM journal WHERE seq = 3").await;
    let error = store.replay(1, |_| Ok::<_, StoreError>(())).await.unwrap_err();
    let expected = "journal entry 3 is missing (the next one is 4); restore the directory from a backup";
    assert_eq!(error.to_string(), expected);
    assert!(!error.is_passing());
}

async fn any_text_is_kept(place: Place) {
    let (store, term) = place.leading("a").await;
    let text = "\u{1}tab\tquote\" back\\slash \u{1f33e} $1 ?1 %s";
    let odd = JournalEntry { at_ms: u64::MAX, kind: text.into(), event_json: text.into() };
    store.append(term, &[odd], &[line(None, text), line(None, "nu\0l")], &[closed("a", 1, text)]).await.unwrap();
    let found = replayed(&store, 1).await;
    assert_eq!((found[0].entry.kind.as_str(), found[0].entry.event_json.as_str()), (text, text));
    assert_eq!(found[0].entry.at_ms, i64::MAX as u64);
    // PostgreSQL keeps no NUL; it keeps everything else.
    let told: Vec<_> = told(&store).await.into_iter().map(|text| text.replace('\0', "\u{fffd}")).collect();
    assert_eq!(told, [text, "nu\u{fffd}l"]);
    assert_eq!(store.archived_round(&RunId::new("a").unwrap(), 1).await.unwrap().unwrap(), text);
}

async fn closed_rounds_are_found(place: Place) {
    let (store, term) = place.leading("a").await;
    let run = RunId::new("a").unwrap();
    store.append(term, &entries(1..=1), &[], &[closed("a", 1, "one"), closed("b", 1, "of b")]).await.unwrap();
    let rounds = [closed("a", 2, "two, at first"), closed("a", 1, "one again"), closed("a", 2, "two")];
    store.append(term, &entries(2..=2), &[], &rounds).await.unwrap();
    assert_eq!(store.archived_round(&run, 1).await.unwrap().as_deref(), Some("one again"));
    assert_eq!(store.archived_round(&run, 2).await.unwrap().as_deref(), Some("two"));
    assert_eq!(store.archived_round(&run, 3).await.unwrap(), None);
}

fn snapshot(seq: u64) -> Snapshot {
    Snapshot { seq, at_ms: 1000 + seq, rules: 1, state: format!("state after {seq}").into() }
}

async fn what_is_covered_is_pruned_and_nothing_else(place: Place) {
    let (store, term) = place.leading("a").await;
    let lines: Vec<_> = (0..20).map(|n| line(Some("a"), &n.to_string())).collect();
    let rounds: Vec<_> = (1..=5).map(|n| closed("a", n, "a")).chain([closed("b", 1, "b")]).collect();
    store.append(term, &entries(1..=6000), &lines, &rounds).await.unwrap();
    let all = Prune { journal_before_seq: u64::MAX, log_keep_lines: 0, rounds_keep_per_run: 2 };
    let pruned = store.prune(term, &all).await.unwrap();
    assert_eq!((pruned.entries, pruned.lines, pruned.rounds), (0, 19, 3), "without a snapshot every entry is needed");
    assert_eq!(told(&store).await, ["19"]);
    let a = RunId::new("a").unwrap();
    assert_eq!(store.archived_round(&a, 3).await.unwrap(), None);
    assert!(store.archived_round(&a, 4).await.unwrap().is_some());
    assert!(store.archived_round(&RunId::new("b").unwrap(), 1).await.unwrap().is_some());

    store.write_snapshot(term, &snapshot(5500)).await.unwrap();
    store.write_snapshot(term, &snapshot(5900)).await.unwrap();
    let some = Prune { journal_before_seq: 10, ..all };
    assert_eq!(store.prune(term, &some).await.unwrap().entries, 9);
    assert_eq!(store.prune(term, &all).await.unwrap().entries, 5491);
    assert_eq!(replayed(&store, 5501).await, recorded(5501..=6000));
    assert!(matches!(
        store.replay(1, |_| Ok::<_, StoreError>(())).await,
        Err(StoreError::JournalHole { expected: 1, found: 5501 })
    ));
}

async fn numbers_go_on_after_everything_was_pruned(place: Place) {
    let (store, term) = place.leading("a").await;
    store.append(term, &entries(1..=10), &[], &[]).await.unwrap();
    store.write_snapshot(term, &snapshot(10)).await.unwrap();
    let all = Prune { journal_before_seq: u64::MAX, log_keep_lines: 0, rounds_keep_per_run: 0 };
    assert_eq!(store.prune(term, &all).await.unwrap().entries, 10);
    drop(store);
    let (store, term) = place.leading("a").await;
    assert_eq!(store.append(term, &[entry(11)], &[], &[]).await.unwrap(), 11);
    assert_eq!(store.latest_snapshot().await.unwrap(), Some(snapshot(10)));
    assert_eq!(replayed(&store, 11).await, recorded(11..=11));
}

async fn a_newer_version_s_database_is_refused_and_left_alone(place: Place) {
    drop(place.open("a").await);
    place
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
             SELECT 70, 'later', installed_on, success, checksum, 0 FROM _sqlx_migrations WHERE version = 1; \
             UPDATE meta SET value = '9.8.7' WHERE key = 'written_by'",
        )
        .await;
    for _ in 0..2 {
        let error = polder_coordinator::store::Store::open(&place.config("a")).await.unwrap_err();
        let StoreError::Newer { written_by, format, .. } = &error else { panic!("{error:?}") };
        assert_eq!((written_by.as_str(), *format), ("9.8.7", 70));
        assert!(!error.is_passing());
        assert!(
            error.to_string().ends_with("start the newer version, or give another directory or database"),
            "{error}"
        );
    }
}

async fn shared_values_are_those_of_who_came_first(place: Place) {
    let store = place.open("a").await;
    assert_eq!(store.meta_get("ca").await.unwrap(), None);
    assert_eq!(store.meta_put_if_absent("ca", &[0, 159, 255]).await.unwrap(), [0, 159, 255]);
    assert_eq!(store.meta_put_if_absent("ca", b"late").await.unwrap(), [0, 159, 255]);
    drop(store);
    let store = place.open("a").await;
    assert_eq!(store.meta_get("ca").await.unwrap().unwrap(), [0, 159, 255]);
    assert_eq!(store.meta_all().await.unwrap(), [(String::from("ca"), vec![0, 159, 255])]);
}
