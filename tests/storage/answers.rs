//! A write whose answer is lost is there once: neither lost nor written again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use polder_coordinator::store::{Store, StoreError, Term};
use polder_tests::postgres::Postgres;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::place::{Place, entries, line, recorded, replayed, told};

/// A line to the server that can be told to lose the next answer.
struct Line {
    port: u16,
    loses: Arc<AtomicU32>,
}

impl Line {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let loses = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&loses);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&counter)));
            }
        });
        Self { port, loses }
    }

    /// The next so many answers are lost, and their connections with them.
    fn lose(&self, answers: u32) {
        self.loses.store(answers, Ordering::SeqCst);
    }
}

/// Copies both ways until an answer is to be lost.
async fn carry(mut client: TcpStream, mut server: TcpStream, loses: Arc<AtomicU32>) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(bytes) if bytes > 0 => server.write_all(&asked[..bytes]).await.unwrap_or(()),
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(bytes) if bytes > 0 => {
                    let lose = |left: u32| left.checked_sub(1);
                    if loses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
                        return;
                    }
                    client.write_all(&answered[..bytes]).await.unwrap_or(());
                }
                _ => return,
            },
        }
    }
}

/// A store that reaches its database over a line of ours.
async fn over_a_line() -> Option<(Place, Line, Store, Term)> {
    let postgres = Postgres::shared()?;
    let url = postgres.over_tcp(&postgres.database());
    let (user, rest) = url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let line = Line::to(server.into()).await;
    let place = Place::at(format!("{user}@127.0.0.1:{}/{name}", line.port));
    let (store, term) = place.leading("a").await;
    Some((place, line, store, term))
}

/// As the driver does: the same batch, until it works.
async fn append_until_it_works(store: &Store, term: Term, numbers: std::ops::RangeInclusive<u64>) -> u64 {
    let text = format!("{numbers:?}");
    polder_tests::eventually("the batch is written", async || {
        match store.append(term, &entries(numbers.clone()), &[line(None, &text)], &[]).await {
            Ok(seq) => Some(seq),
            Err(error) if error.is_passing() => None,
            Err(error) => panic!("{error:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_there_once() {
    let Some((_place, line, store, term)) = over_a_line().await else { return };
    append_until_it_works(&store, term, 1..=1).await;
    for at in 1..=10_u64 {
        let numbers = at * 3 - 1..=at * 3 + 1;
        let last = *numbers.end();
        // The first answer that is lost is the batch's own; the next ones, those to the looks that follow.
        line.lose(1 + (at % 5) as u32);
        assert_eq!(append_until_it_works(&store, term, numbers).await, last);
        line.lose(0);
    }
    assert_eq!(replayed(&store, 1).await, recorded(1..=31));
    assert_eq!(told(&store).await.len(), 11);
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_found_by_who_asks_again() {
    let Some((_place, line, store, term)) = over_a_line().await else { return };
    append_until_it_works(&store, term, 1..=1).await;
    // So many that the first call gives up.
    line.lose(20);
    let error = store.append(term, &entries(2..=3), &[], &[]).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    line.lose(0);
    assert_eq!(store.append(term, &entries(2..=3), &[], &[]).await.unwrap(), 3);
    assert_eq!(replayed(&store, 1).await, recorded(1..=3));
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_not_taken_for_another() {
    let Some((_place, line, store, term)) = over_a_line().await else { return };
    append_until_it_works(&store, term, 1..=1).await;
    line.lose(20);
    assert!(store.append(term, &entries(2..=3), &[], &[]).await.unwrap_err().is_passing());
    line.lose(0);
    // As many entries, but not the same: who lost the answer has given up on what it was about.
    assert_eq!(store.append(term, &entries(4..=5), &[], &[]).await.unwrap(), 5);
    let found = replayed(&store, 1).await.into_iter().map(|recorded| recorded.entry).collect::<Vec<_>>();
    assert_eq!(found, entries(1..=5));
}

#[tokio::test]
async fn sessions_that_are_ended_while_they_write_lose_nothing() {
    let Some(place) = Place::postgres() else { return };
    let (store, term) = place.leading("a").await;
    let database = place.config("a").database.unwrap();
    let ended = Arc::new(AtomicI64::new(0));
    let ender = tokio::spawn({
        let ended = Arc::clone(&ended);
        async move {
            let mut connection = PgConnection::connect(&database).await.unwrap();
            loop {
                let end = "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid() \
                    AND query LIKE 'WITH term%' AND state = 'active') AS ended";
                let now: i64 = sqlx::query_scalar(end).fetch_one(&mut connection).await.unwrap();
                ended.fetch_add(now, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let mut last = 0;
    while last < 100 || (ended.load(Ordering::SeqCst) < 100 && last < 10_000) {
        last += 1;
        assert_eq!(append_until_it_works(&store, term, last..=last).await, last);
    }
    ender.abort();
    assert_eq!(replayed(&store, 1).await, recorded(1..=last));
    assert_eq!(told(&store).await.len() as u64, last);
}

#[tokio::test]
async fn a_leader_that_lost_an_answer_and_its_lease_is_told_so() {
    let Some((place, line, store, term)) = over_a_line().await else { return };
    append_until_it_works(&store, term, 1..=1).await;
    line.lose(20);
    assert!(store.append(term, &entries(2..=3), &[], &[]).await.unwrap_err().is_passing());
    line.lose(0);
    store.step_down(term).await.unwrap();
    let (next, newer) = place.leading("b").await;
    assert!(matches!(store.append(term, &entries(2..=3), &[], &[]).await, Err(StoreError::Fenced { .. })));
    // It was written, though nobody heard of it: the next leader replays it.
    assert_eq!(replayed(&next, 1).await, recorded(1..=3));
    assert_eq!(next.append(newer, &entries(4..=4), &[], &[]).await.unwrap(), 4);
}
