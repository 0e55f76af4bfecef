//! Ending in order.

use crate::support::session::assignment;
use crate::support::trainer::settings;
use crate::support::{FakeCoordinator, Running, model, soon};

#[tokio::test]
async fn a_worker_that_stops_tells_its_trainer_and_closes_its_stream() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model(12), &settings("wait"))).await;
    worker.gate.until("training starts", |counts| counts.running == 1).await;
    let gate = worker.gate.clone();
    worker.stop().await.1.unwrap();
    assert_eq!((gate.counts().cancelled, gate.counts().running), (1, 0));
    assert!(soon("the stream ends", session.inbox.recv()).await.is_none());
}

#[tokio::test]
async fn a_trainer_that_will_not_stop_does_not_keep_the_worker() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model(12), &settings("wait-deaf"))).await;
    worker.gate.until("training starts", |counts| counts.running == 1).await;
    let gate = worker.gate.clone();
    worker.stop().await.1.unwrap();
    assert_eq!(gate.counts().running, 1);
    gate.open();
}

#[tokio::test]
async fn a_worker_stops_while_nobody_is_there() {
    let coordinator = FakeCoordinator::down().await;
    Running::start(&coordinator).stop().await.1.unwrap();
}
