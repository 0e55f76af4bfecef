//! Models in and updates out, over connections that break and coordinators that go away.

use polder_proto::{CHUNK_BYTES, unwelcome};
use tonic::{Code, Status};

use crate::support::coordinator::MODEL_CHUNK;
use crate::support::session::{assignment, id};
use crate::support::trainer::settings;
use crate::support::{FakeCoordinator, Running, model};

/// Parameters of a model that takes several chunks each way.
const LARGE: usize = 200_000;

#[tokio::test]
async fn a_broken_download_is_resumed_where_it_stopped() {
    let mut coordinator = FakeCoordinator::start().await;
    let model = model(10_000);
    coordinator.has(&model);
    coordinator.script().cut_downloads.extend([5 * MODEL_CHUNK, 3 * MODEL_CHUNK + 7]);
    let _worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model, &settings("add"))).await;
    coordinator.uploaded().await;
    let (first, second) = (5 * MODEL_CHUNK as u64, 8 * MODEL_CHUNK as u64 + 7);
    assert_eq!(coordinator.script().fetches, [0, first, second]);
    assert!(coordinator.update(1).values().iter().all(|value| *value == 0.5));
}

#[tokio::test]
async fn a_broken_upload_is_resumed_where_it_stopped() {
    let mut coordinator = FakeCoordinator::start().await;
    let model = model(LARGE);
    coordinator.has(&model);
    coordinator.script().cut_uploads.extend([CHUNK_BYTES, 1]);
    let worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model, &settings("add"))).await;
    coordinator.uploaded().await;
    assert_eq!(coordinator.update(1).values().len(), LARGE);
    let offsets: Vec<u64> = coordinator.upload(1).headers.iter().map(|header| header.offset).collect();
    assert_eq!(offsets.len(), 3);
    assert!(offsets[0] == 0 && offsets[1] >= CHUNK_BYTES as u64 && offsets[2] > offsets[1], "{offsets:?}");
    assert_eq!(worker.gate.counts().started, 1);
}

#[tokio::test]
async fn a_coordinator_that_was_killed_gets_the_update_without_a_second_training() {
    let mut coordinator = FakeCoordinator::start().await;
    let model = model(LARGE);
    coordinator.has(&model);
    let worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model, &settings("wait"))).await;
    worker.gate.until("training starts", |counts| counts.running == 1).await;
    coordinator.kill();
    worker.gate.open();
    worker.gate.until("training ends", |counts| counts.finished == 1).await;
    // Killed once more, in the middle of the upload.
    coordinator.script().cut_uploads.push_back(CHUNK_BYTES);
    coordinator.start_again().await;
    assert_eq!(coordinator.session().await.hello.holding, [id(1)]);
    coordinator.uploaded().await;
    assert!(coordinator.update(1).values().iter().all(|value| *value == 0.5));
    assert_eq!(worker.gate.counts().started, 1);
}

#[tokio::test]
async fn a_failure_is_told_to_a_coordinator_that_was_away() {
    let mut coordinator = FakeCoordinator::start().await;
    let model = model(12);
    coordinator.has(&model);
    let worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model, &settings("wait-and-fail"))).await;
    worker.gate.until("training starts", |counts| counts.running == 1).await;
    coordinator.kill();
    worker.gate.open();
    worker.gate.until("training ends, tried twice", |counts| counts.finished == 2).await;
    coordinator.start_again().await;
    let mut session = coordinator.session().await;
    assert_eq!(session.hello.holding, [id(1)]);
    let reason = session.failed(1).await;
    assert!(reason.starts_with("training failed: the script says so"), "{reason}");
    coordinator.heartbeat().await;
    session.end();
    assert_eq!(coordinator.session().await.hello.holding, []);
}

#[tokio::test]
async fn a_report_that_may_not_have_been_heard_is_held_and_told_again() {
    let mut coordinator = FakeCoordinator::start().await;
    let model = model(12);
    coordinator.has(&model);
    coordinator.script().is_mute = true;
    let _worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    let reason = session.fails(assignment(1, &model, &settings("fail"))).await;
    session.end();
    let mut session = coordinator.session().await;
    assert_eq!(session.hello.holding, [id(1)]);
    assert_eq!(session.failed(1).await, reason);
    // Cancelled, as a coordinator does that had heard it the first time, it is said no more.
    session.cancel(1);
    session.end();
    assert_eq!(coordinator.session().await.hello.holding, []);
}

#[tokio::test]
async fn an_update_that_is_not_wanted_any_more_is_dropped() {
    let mut coordinator = FakeCoordinator::start().await;
    let model = model(12);
    coordinator.has(&model);
    let _worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    let refusals = [
        unwelcome(Code::FailedPrecondition, "round_closed", "the round is closed"),
        unwelcome(Code::AlreadyExists, "duplicate_update", "there is one already"),
        unwelcome(Code::PermissionDenied, "not_in_cohort", "not of the cohort"),
    ];
    for (round, refusal) in (1..).zip(refusals) {
        coordinator.script().refuse_uploads.insert(round, [refusal].into());
        session.assign(assignment(round, &model, &settings("add"))).await;
    }
    session.assign(assignment(4, &model, &settings("add"))).await;
    assert_eq!(coordinator.uploaded().await, 4);
    session.end();
    // Those of the others that were still on their way end like the rest; nothing is held or said of any of them.
    let mut session = coordinator.session().await;
    while !session.hello.holding.is_empty() {
        session.end();
        session = coordinator.session().await;
    }
    assert!((1..=4).all(|round| coordinator.upload(round).headers.len() == 1));
    session.assign(assignment(5, &model, &settings("add"))).await;
}

#[tokio::test]
async fn an_update_that_is_refused_for_what_it_is_fails_the_assignment() {
    let mut coordinator = FakeCoordinator::start().await;
    let model = model(12);
    coordinator.has(&model);
    let _worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    let refusal = unwelcome(Code::InvalidArgument, "bad_update", "too long");
    coordinator.script().refuse_uploads.insert(1, [refusal].into());
    let reason = session.fails(assignment(1, &model, &settings("add"))).await;
    assert_eq!(reason, "the coordinator refused the update: too long");
}

#[tokio::test]
async fn a_coordinator_in_trouble_is_tried_again() {
    let mut coordinator = FakeCoordinator::start().await;
    let model = model(12);
    coordinator.has(&model);
    let _worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    let trouble = [
        Status::internal("disk full"),
        unwelcome(Code::Aborted, "upload_busy", "another upload"),
        unwelcome(Code::Unavailable, "storage_away", "the object store does not answer"),
        unwelcome(Code::Aborted, "spooled_corrupt", "the update is corrupt"),
    ];
    coordinator.script().refuse_uploads.insert(1, trouble.into());
    session.assign(assignment(1, &model, &settings("add"))).await;
    coordinator.uploaded().await;
    assert_eq!(coordinator.upload(1).headers.len(), 5);
}

#[tokio::test]
async fn a_model_is_waited_for_while_the_object_store_is_away() {
    let mut coordinator = FakeCoordinator::start().await;
    let model = model(12);
    coordinator.has(&model);
    let away = unwelcome(Code::Unavailable, "storage_away", "the object store does not answer");
    coordinator.script().refuse_fetches = vec![away; 3].into();
    let _worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model, &settings("add"))).await;
    coordinator.uploaded().await;
    assert_eq!(coordinator.script().fetches.len(), 4);
}
