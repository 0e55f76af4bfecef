//! A journal that takes nothing for a while: everybody is told, nothing is acted upon, and it goes on by itself.

use polder_core::enrolment::Grant;
use polder_core::federation::Refusal;
use polder_core::{Event, Federation, Timestamp, TokenId};
use sqlx::{Connection, Executor, SqliteConnection};
use tokio_util::sync::CancellationToken;

use crate::handle::HandleError;
use crate::{Config, Coordinator, CoordinatorHandle};

fn token(name: &str) -> Event {
    let grant = Grant::Operator { name: "ann".into() };
    let token = TokenId::new(name).unwrap();
    Event::TokenCreated { token, secret_hash: "s".into(), grant, expires_at: Timestamp(u64::MAX) }
}

async fn is_stalled(handle: &CoordinatorHandle) {
    let error = handle.apply(token("second")).await.unwrap_err();
    let HandleError::Stalled { reason } = &error else { panic!("{error}") };
    assert!(reason.starts_with("the journal takes nothing: "), "{reason}");
    assert!(reason.ends_with("it goes on by itself when it can"), "{reason}");
    let asked = handle.ask(|federation: &Federation| federation.tokens.len()).await;
    assert!(matches!(asked, Err(HandleError::Stalled { .. })), "what the journal does not have nobody is told");
    let status = tonic::Status::from(error);
    assert_eq!((status.code(), polder_proto::refusal_word(&status)), (tonic::Code::Unavailable, Some("stalled")));
    let intake = handle.standing().borrow().intake();
    assert!(!intake.is_open && intake.since.is_some() && intake.reason.is_some(), "{intake:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_busy_stops_intake_with_a_reason_and_goes_on_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::build(Config::new(dir.path(), "127.0.0.1:0".parse().unwrap())).await.unwrap();
    let handle = coordinator.handle().unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(coordinator.run(shutdown.clone()));
    handle.apply(token("first")).await.unwrap();

    // Another program has the database to itself.
    let path = dir.path().join("journal.sqlite");
    let mut other = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    is_stalled(&handle).await;
    other.execute("ROLLBACK").await.unwrap();

    // What was asked for meanwhile happened after all, once.
    let mut standing = handle.standing();
    standing.wait_for(|standing| standing.stall.is_none()).await.unwrap();
    assert!(matches!(handle.apply(token("second")).await, Err(HandleError::Refused(Refusal::TokenExists { .. }))));
    assert_eq!(handle.ask(|federation: &Federation| federation.tokens.len()).await.unwrap(), 2);
    shutdown.cancel();
    drop(handle);
    running.await.unwrap().unwrap();
}
