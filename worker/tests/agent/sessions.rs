//! The stream: opened, kept, lost, opened again; and the few things for which it is not.

use std::time::Duration;

use polder_core::Timestamp;
use polder_proto::unwelcome;
use polder_security::{CertificateAuthority, Credentials};
use polder_worker::{State, WorkerError};
use tokio::io::AsyncWriteExt;
use tonic::{Code, Status};

use crate::support::coordinator::{HOUR, now};
use crate::support::{FakeCoordinator, Running, config, identity, soon};

#[tokio::test]
async fn a_coordinator_that_falls_silent_is_left_and_found_again() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.script().welcome.silence_ms = 200;
    let worker = Running::start(&coordinator);
    let first = coordinator.session().await;
    // It still reads; it only says nothing any more.
    coordinator.script().is_mute = true;
    let _second = coordinator.session().await;
    assert!(first.inbox.is_closed());
    coordinator.script().is_mute = false;
    worker.stop().await.1.unwrap();
}

#[tokio::test]
async fn heartbeats_say_how_busy_the_machine_is() {
    let mut coordinator = FakeCoordinator::start().await;
    let _worker = Running::start(&coordinator);
    let session = coordinator.session().await;
    let load = session.hello.load.clone().unwrap();
    assert_eq!((load.gpus[0].name.as_str(), load.gpus[0].utilization), ("scripted", Some(0.25)));
    assert_eq!(load.gpus[0].power_watts, None);
    coordinator.heartbeat().await;
    let heartbeat = coordinator.script().heartbeats[0].clone();
    assert!(heartbeat.load.unwrap().cpu_utilization <= 1.0);
}

#[tokio::test]
async fn a_worker_waits_for_a_coordinator_that_is_not_there_yet() {
    let mut coordinator = FakeCoordinator::down().await;
    let mut worker = Running::start(&coordinator);
    let away = worker.state.wait_for(|state| matches!(state, State::Away { .. }));
    let State::Away { reason } = soon("the worker notices", away).await.unwrap().clone() else { panic!("not away") };
    assert!(reason.contains("nothing listens at the coordinator's address"), "{reason}");
    coordinator.start_again().await;
    coordinator.session().await;
    soon("it is connected", worker.state.wait_for(|state| matches!(state, State::Connected { .. }))).await.unwrap();
}

#[tokio::test]
async fn trouble_at_the_coordinator_is_waited_out() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.script().refuse_sessions = Some(Status::unavailable("starting"));
    let mut worker = Running::start(&coordinator);
    soon("it is away", worker.state.wait_for(|state| matches!(state, State::Away { .. }))).await.unwrap();
    coordinator.script().refuse_sessions = None;
    coordinator.session().await;
}

#[tokio::test]
async fn a_worker_that_the_coordinator_will_not_have_ends_and_says_what_to_do() {
    let coordinator = FakeCoordinator::start().await;
    let refusal = unwelcome(Code::NotFound, "unknown_worker", "no worker `w` is enrolled");
    coordinator.script().refuse_sessions = Some(refusal);
    let error = Running::start(&coordinator).ended().await.unwrap_err();
    assert!(matches!(error, WorkerError::Unknown { .. }));
    let text = error.to_string();
    assert!(text.contains("no worker `w` is enrolled") && text.contains("credentials.pem"), "{text}");
    assert!(text.contains("polder token create --region eu-west"), "{text}");

    coordinator.script().refuse_sessions = Some(unwelcome(Code::InvalidArgument, "bad_capacity", "slots is 0"));
    let error = Running::start(&coordinator).ended().await.unwrap_err();
    assert_eq!(error.to_string(), "the coordinator refused: slots is 0");
}

/// The worker's reason to be away, once it has this in it.
async fn away(worker: &mut Running, reason: &str) {
    let is_away = |state: &State| matches!(state, State::Away { reason: said } if said.contains(reason));
    soon("the worker says why it is away", worker.state.wait_for(is_away)).await.unwrap();
}

#[tokio::test]
async fn what_answers_in_the_coordinators_place_does_not_end_a_worker_that_was_welcome() {
    let mut coordinator = FakeCoordinator::start().await;
    let mut worker = Running::start(&coordinator);
    let session = coordinator.session().await;
    // Its answer to a heartbeat comes after its Welcome.
    coordinator.heartbeat().await;
    coordinator.heartbeat().await;
    coordinator.script().refuse_sessions = Some(Status::permission_denied("proxy login required"));
    session.end();
    away(&mut worker, "proxy login required").await;
    coordinator.script().refuse_sessions = None;
    coordinator.session().await;
    coordinator.heartbeat().await;

    coordinator.kill();
    let proxy = coordinator.listener().await;
    let page = tokio::spawn(async move {
        loop {
            let (mut visitor, _) = proxy.accept().await.unwrap();
            let _ = visitor.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
            // What was sent is read, so that closing does not take the page back.
            let _ = visitor.shutdown().await;
            let _ = tokio::io::copy(&mut visitor, &mut tokio::io::sink()).await;
        }
    });
    away(&mut worker, "answers, but not with TLS").await;
    page.abort();
    assert!(page.await.unwrap_err().is_cancelled());
    coordinator.start_again().await;
    coordinator.session().await;

    let refusal = unwelcome(Code::NotFound, "unknown_worker", "no worker `w` is enrolled");
    coordinator.script().refuse_sessions = Some(refusal);
    coordinator.kill();
    coordinator.start_again().await;
    assert!(matches!(worker.ended().await, Err(WorkerError::Unknown { .. })));
}

/// A worker with these credentials, and how it ends.
async fn end_with(coordinator: &FakeCoordinator, credentials: &Credentials) -> String {
    let dir = tempfile::tempdir().unwrap();
    coordinator.write(dir.path(), credentials);
    let config = config(&dir);
    Running::build(dir, config).unwrap().ended().await.unwrap_err().to_string()
}

#[tokio::test]
async fn certificates_that_nobody_accepts_end_the_worker() {
    let coordinator = FakeCoordinator::start().await;
    let dir = tempfile::tempdir().unwrap();
    let other = CertificateAuthority::create_or_open(dir.path(), now()).unwrap();
    let text = end_with(&coordinator, &other.issue_client(&identity("w"), now(), HOUR).unwrap()).await;
    assert!(text.contains("is not our coordinator") && text.contains("--join TOKEN"), "{text}");

    let yesterday = Timestamp(now().0 - 24 * 3_600_000);
    let expired = coordinator.authority().issue_client(&identity("w"), yesterday, HOUR).unwrap();
    let text = end_with(&coordinator, &expired).await;
    assert!(text.contains("--name w --join TOKEN"), "{text}");
    assert!(text.contains("has expired") && text.contains("polder token create --region eu-west"), "{text}");
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_used_from_then_on() {
    let mut coordinator = FakeCoordinator::start().await;
    let dir = tempfile::tempdir().unwrap();
    let earlier = Timestamp(now().0 - 40 * 60_000);
    let old = coordinator.authority().issue_client(&identity("w"), earlier, HOUR).unwrap();
    assert!(old.needs_renewal(now()));
    coordinator.write(dir.path(), &old);
    let path = dir.path().join("credentials.pem");
    let config = config(&dir);
    let worker = Running::build(dir, config).unwrap();
    let session = coordinator.session().await;
    coordinator.renewed().await;
    soon("the new certificate is saved", async {
        while Credentials::load(&path).unwrap().expires_at() == old.expires_at() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!Credentials::load(&path).unwrap().needs_renewal(now()));
    // Good enough for the next session, and not renewed again.
    session.end();
    coordinator.session().await;
    assert_eq!(coordinator.script().renewals, 1);
    let (_dir, ended) = worker.stop().await;
    ended.unwrap();
}

#[tokio::test]
async fn a_worker_whose_coordinator_is_gone_goes_to_another_that_was_named_also_when_it_is_started_again() {
    let mut first = FakeCoordinator::start().await;
    let mut second = first.another().await;
    let named = vec!["no address".to_owned(), first.endpoint().to_string(), second.endpoint().to_string()];
    for coordinator in [&first, &second] {
        coordinator.script().welcome.endpoints = named.clone();
    }
    let worker = Running::start(&first);
    let _session = first.session().await;
    first.heartbeat().await;
    first.kill();
    second.session().await;
    let (dir, stopped) = worker.stop().await;
    stopped.unwrap();
    let saved = std::fs::read_to_string(dir.path().join("endpoints")).unwrap();
    assert_eq!(saved, format!("{}\n{}\n", first.endpoint(), second.endpoint()));
    let again = config(&dir);
    let _worker = Running::build(dir, again).unwrap();
    second.session().await;
    // And back, when it is the other's turn to be away.
    second.kill();
    first.start_again().await;
    first.session().await;
}

#[tokio::test]
async fn a_coordinator_of_another_protocol_is_said_to_be() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.script().welcome.protocol = 1000;
    let worker = Running::start(&coordinator);
    coordinator.session().await;
    let error = worker.ended().await.unwrap_err().to_string();
    assert!(error.contains("it speaks versions 1000 to 1000 of the protocol"), "{error}");

    let text = "it speaks versions 7 to 9 of the protocol";
    coordinator.script().refuse_sessions = Some(unwelcome(Code::FailedPrecondition, "no_common_protocol", text));
    let worker = Running::start(&coordinator);
    let error = worker.ended().await.unwrap_err().to_string();
    assert!(error.contains(text), "{error}");
}
