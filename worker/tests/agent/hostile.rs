//! A coordinator that is not to be trusted.

use polder_proto::v1;
use polder_proto::v1::coordinator_message::Message as ToWorker;

use crate::support::session::assignment;
use crate::support::trainer::settings;
use crate::support::{FakeCoordinator, Running, model};

#[tokio::test]
async fn a_model_that_is_not_what_was_announced_fails_the_assignment() {
    let mut coordinator = FakeCoordinator::start().await;
    let worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    let good = model(1000);
    let file = good.to_safetensors();
    let mut flipped = file.clone();
    flipped[file.len() - 1] ^= 1;
    let cases = [
        ([file.clone(), vec![0; 4]].concat(), "longer than the"),
        (flipped, "digest is blake3:"),
        (vec![0xff; file.len()], "header would have"),
        (file[..2000].to_vec(), "the model ends after 2000 of"),
        (Vec::new(), "the model ends after 0 of"),
        (model(999).to_safetensors(), "by its header the model has"),
    ];
    for (round, (sent, reason)) in (1..).zip(cases) {
        coordinator.script().models.insert(good.digest().to_string(), sent);
        let said = session.fails(assignment(round, &good, &settings("add"))).await;
        assert!(said.contains(reason), "{said}");
    }
    let unknown = session.fails(assignment(20, &model(5), &settings("add"))).await;
    assert!(unknown.contains("no such model"), "{unknown}");
    assert_eq!(worker.gate.counts().started, 0);
}

#[tokio::test]
async fn messages_that_mean_nothing_are_survived() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.script().welcome = v1::Welcome::default();
    let good = model(12);
    coordinator.has(&good);
    let _worker = Running::start(&coordinator);
    let mut session = coordinator.session().await;
    let nobody = v1::Assignment { assignment: None, ..assignment(1, &good, &settings("add")) };
    session.tell(ToWorker::Assignment(nobody));
    let elsewhere = Some(v1::AssignmentId { run: "../../etc".into(), round: 1 });
    session.tell(ToWorker::Assignment(v1::Assignment {
        assignment: elsewhere.clone(),
        ..assignment(1, &good, &settings("add"))
    }));
    session.tell(ToWorker::Cancel(v1::Cancel { assignment: elsewhere, reason: "x".repeat(100_000) }));
    session.cancel(99);
    session.outbox.send(Ok(v1::CoordinatorMessage { message: None })).unwrap();
    session.tell(ToWorker::Welcome(v1::Welcome {
        coordinator_version: String::new(),
        heartbeat_ms: u32::MAX,
        silence_ms: u32::MAX,
        ..v1::Welcome::default()
    }));
    session.assign(assignment(1, &good, &settings("add"))).await;
    assert_eq!(coordinator.uploaded().await, 1);
}
