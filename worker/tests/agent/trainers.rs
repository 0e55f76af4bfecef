//! Trainers that crash, hang and fail.

use std::time::Duration;

use crate::support::session::assignment;
use crate::support::trainer::settings;
use crate::support::{FakeCoordinator, Running, model, soon};
use polder_worker::WorkerError;

#[tokio::test]
async fn a_trainer_that_crashes_is_tried_again() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model(12), &settings("panic-once"))).await;
    coordinator.uploaded().await;
    assert!(coordinator.update(1).values().iter().all(|value| *value == 0.5));
    assert_eq!(worker.gate.counts().started, 2);
}

#[tokio::test]
async fn one_that_crashes_again_fails_the_assignment_with_what_it_last_said() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    let reason = session.fails(assignment(1, &model(12), &settings("panic"))).await;
    let expected = "the trainer panicked: the script says so; it was last at training, epoch 2 of 2, 50 %, loss 1.5000; it was \
                    tried 2 times";
    assert_eq!(reason, expected);
    assert_eq!(worker.gate.counts().started, 2);
    let reason = session.fails(assignment(2, &model(12), &settings("not-a-number"))).await;
    assert!(reason.contains("no finite number"), "{reason}");
    assert_eq!(worker.gate.counts().started, 3, "what comes of the arguments is not tried again");
}

#[tokio::test]
async fn a_trainer_that_hangs_is_left_behind_and_holds_nobody_up() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start_with(&coordinator, |mut config| {
        config.trainer_silence = Duration::from_millis(200);
        config
    });
    let mut session = coordinator.session().await;
    let reason = session.fails(assignment(1, &model(12), &settings("wait-deaf"))).await;
    assert!(reason.starts_with("the trainer hangs: it said nothing for "), "{reason}");
    assert!(reason.ends_with("it was tried 2 times"), "{reason}");
    // Its only slot is free again.
    session.assign(assignment(2, &model(12), &settings("add"))).await;
    assert_eq!(coordinator.uploaded().await, 2);
    worker.gate.open();
}

#[tokio::test]
async fn a_worker_whose_trainers_all_hang_ends_so_that_another_can_be_started() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start_with(&coordinator, |mut config| {
        config.trainer_silence = Duration::from_millis(100);
        config
    });
    let gate = worker.gate.clone();
    let mut session = coordinator.session().await;
    session.fails(assignment(1, &model(12), &settings("wait-deaf"))).await;
    session.assign(assignment(2, &model(12), &settings("wait-deaf"))).await;
    let ended = soon("the worker ends", worker.ended()).await;
    assert!(matches!(ended, Err(WorkerError::TrainersHang)), "{ended:?}");
    gate.open();
}

#[tokio::test]
async fn a_trainer_that_only_takes_long_does_not_hang() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start_with(&coordinator, |mut config| {
        config.trainer_silence = Duration::from_millis(1500);
        config
    });
    let mut session = coordinator.session().await;
    let slow = serde_json::json!({ "delay_ms": 2500 });
    let mut assignment = assignment(1, &model(12), &slow);
    assignment.trainer = "synthetic".into();
    session.assign(assignment).await;
    coordinator.uploaded().await;
    drop(worker);
}
