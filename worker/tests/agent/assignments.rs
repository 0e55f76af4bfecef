//! What a worker does with assignments: accepts, declines, trains, evaluates, fails, and stops when told.

use polder_core::policy::REASON_BYTES_MAX;
use polder_proto::v1;
use polder_proto::v1::coordinator_message::Message as ToWorker;
use polder_proto::v1::worker_message::Message as FromWorker;
use serde_json::json;

use crate::support::session::{assignment, id};
use crate::support::trainer::settings;
use crate::support::{FakeCoordinator, Running, Session, model};

/// A coordinator with a model of twelve parameters, a worker of it, and their session.
async fn connected() -> (FakeCoordinator, Running, Session) {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start(&coordinator);
    let session = coordinator.session().await;
    (coordinator, worker, session)
}

#[tokio::test]
async fn an_assignment_becomes_an_update() {
    let (mut coordinator, worker, mut session) = connected().await;
    assert_eq!(session.hello.datasets, ["numbers"]);
    assert_eq!(session.hello.trainers, ["scripted", "synthetic"]);
    assert_eq!((session.hello.slots, session.hello.holding.len()), (1, 0));
    session.assign(v1::Assignment { holdout: 0.25, ..assignment(1, &model(12), &settings("add")) }).await;
    assert_eq!(coordinator.uploaded().await, 1);

    assert!(coordinator.update(1).values().iter().all(|value| *value == 0.5));
    let header = coordinator.upload(1).headers.pop().unwrap();
    assert_eq!((header.examples, header.loss, header.accuracy), (12, Some(1.5), Some(0.5)));
    assert_eq!(header.evaluation.unwrap(), v1::Evaluation { examples: 3, loss: 2.0, accuracy: 0.5 });

    // A model that is here is not fetched again, and what is over is not held any more.
    session.assign(assignment(2, &model(12), &settings("add"))).await;
    assert_eq!(coordinator.uploaded().await, 2);
    assert_eq!(coordinator.script().fetches, [0]);
    session.assign(assignment(3, &model(12), &settings("fail"))).await;
    session.failed(3).await;
    coordinator.heartbeat().await;
    session.end();
    assert_eq!(coordinator.session().await.hello.holding, []);
    let stages: Vec<String> = coordinator.script().progress.iter().map(|progress| progress.stage.clone()).collect();
    for stage in ["fetching", "training", "uploading"] {
        assert!(stages.contains(&stage.to_owned()), "{stage} is not among {stages:?}");
    }
    worker.stop().await.1.unwrap();
}

#[tokio::test]
async fn an_evaluation_is_reported() {
    let (_coordinator, _worker, mut session) = connected().await;
    let evaluate = v1::Assignment { task: "evaluate".into(), ..assignment(1, &model(12), &settings("add")) };
    session.assign(evaluate).await;
    let FromWorker::Evaluation(report) = session.next().await else { panic!("no evaluation") };
    assert_eq!(report.assignment, Some(id(1)));
    assert_eq!(report.evaluation.unwrap(), v1::Evaluation { examples: 7, loss: 0.25, accuracy: 0.75 });
}

#[tokio::test]
async fn the_synthetic_trainer_changes_every_value() {
    let (mut coordinator, _worker, mut session) = connected().await;
    let synthetic = v1::Assignment { trainer: "synthetic".into(), ..assignment(1, &model(12), &json!({})) };
    session.assign(synthetic.clone()).await;
    coordinator.uploaded().await;
    assert!(coordinator.update(1).values().iter().all(|value| *value > 0.0 && *value < 0.01));
    let wrong = v1::Assignment { trainer_settings: r#"{"delay":1}"#.into(), ..synthetic.clone() };
    assert!(
        session.declined(v1::Assignment { assignment: Some(id(2)), ..wrong }).await.contains("unknown field `delay`")
    );

    // A wait that nobody wants any more ends at once.
    let slow = v1::Assignment { trainer_settings: r#"{"delay_ms":3600000}"#.into(), ..synthetic.clone() };
    session.assign(v1::Assignment { assignment: Some(id(3)), ..slow }).await;
    session.cancel(3);
    session.assign(v1::Assignment { assignment: Some(id(4)), ..synthetic }).await;
    assert_eq!(coordinator.uploaded().await, 4);
}

#[tokio::test]
async fn what_a_worker_cannot_do_is_declined_with_the_reason() {
    let mut coordinator = FakeCoordinator::start().await;
    let _worker = Running::start_with(&coordinator, |mut config| {
        config.model_bytes_max = 1000;
        config
    });
    let mut session = coordinator.session().await;
    let good = assignment(1, &model(12), &settings("add"));
    let mut declined = async |bad: v1::Assignment, reason: &str| {
        let said = session.declined(bad).await;
        assert!(said.contains(reason), "{said}");
        assert!(said.len() <= REASON_BYTES_MAX);
    };
    let with = |change: fn(&mut v1::Assignment)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    declined(with(|a| a.dataset = "letters".into()), "has no data set `letters`").await;
    declined(with(|a| a.trainer = "torch".into()), "has no trainer `torch`").await;
    declined(with(|a| a.trainer_settings = "{".into()), "`trainer_settings`").await;
    declined(with(|a| a.trainer_settings = r#"{"do":"dance"}"#.into()), "unknown variant `dance`").await;
    declined(with(|a| a.trainer_settings = " ".repeat(100_000)), "more than 65536 bytes").await;
    declined(with(|a| a.task = "dream".into()), "`dream` is unknown").await;
    declined(with(|a| a.holdout = f64::NAN), "`holdout`").await;
    declined(with(|a| a.model = "md5:00".into()), "`model`").await;
    declined(with(|a| a.model_bytes = u64::MAX), "takes 1000 at most").await;
}

#[tokio::test]
async fn slots_bound_what_runs_and_what_waits() {
    let (mut coordinator, worker, mut session) = connected().await;
    for round in 1..=10 {
        session.assign(assignment(round, &model(12), &settings("wait"))).await;
    }
    let reason = session.declined(assignment(11, &model(12), &settings("wait"))).await;
    assert!(reason.contains("10 assignments are held already and there are 1 slots"), "{reason}");
    worker.gate.open();
    for _ in 1..=10 {
        coordinator.uploaded().await;
    }
    assert_eq!(worker.gate.counts().most_running, 1);
}

#[tokio::test]
async fn a_trainer_that_fails_or_panics_takes_nothing_with_it() {
    let (mut coordinator, _worker, mut session) = connected().await;
    let reason = session.fails(assignment(1, &model(12), &settings("fail"))).await;
    assert!(reason.starts_with("training failed: the script says so; it was last at "), "{reason}");
    let reason = session.fails(assignment(2, &model(12), &settings("panic"))).await;
    assert!(reason.starts_with("the trainer panicked: the script says so; it was last at "), "{reason}");
    let reason = session.fails(assignment(3, &model(12), &settings("not-a-number"))).await;
    assert!(reason.contains("`weight`"), "{reason}");
    session.assign(assignment(4, &model(12), &settings("add"))).await;
    assert_eq!(coordinator.uploaded().await, 4);
}

#[tokio::test]
async fn a_cancelled_assignment_stops_and_is_forgotten() {
    let (mut coordinator, worker, mut session) = connected().await;
    session.assign(assignment(1, &model(12), &settings("wait"))).await;
    worker.gate.until("training starts", |counts| counts.running == 1).await;
    session.cancel(1);
    worker.gate.until("training stops", |counts| counts.cancelled == 1 && counts.running == 0).await;
    // Its name may be used again.
    worker.gate.open();
    session.assign(assignment(1, &model(12), &settings("wait"))).await;
    assert_eq!(coordinator.uploaded().await, 1);
}

#[tokio::test]
async fn an_assignment_that_comes_twice_is_carried_out_once() {
    let (mut coordinator, worker, mut session) = connected().await;
    session.assign(assignment(1, &model(12), &settings("wait"))).await;
    worker.gate.until("training starts", |counts| counts.running == 1).await;
    session.tell(ToWorker::Assignment(assignment(1, &model(12), &settings("wait"))));
    // The next thing it says is about another one.
    session.assign(assignment(2, &model(12), &settings("add"))).await;
    worker.gate.open();
    let mut uploaded = [coordinator.uploaded().await, coordinator.uploaded().await];
    uploaded.sort();
    assert_eq!(uploaded, [1, 2]);
    assert_eq!(worker.gate.counts().started, 2);
}

#[tokio::test]
async fn a_deadline_ends_training() {
    let (mut coordinator, worker, mut session) = connected().await;
    // Training begins before it, on a slow machine too.
    let short = v1::Assignment { deadline_in_ms: 3000, ..assignment(1, &model(12), &settings("wait")) };
    session.assign(short).await;
    worker.gate.until("training is told to stop", |counts| counts.cancelled == 1 && counts.running == 0).await;
    // One that lies beyond every clock is no deadline, and no reason to fall over.
    let endless = v1::Assignment { deadline_in_ms: u64::MAX, ..assignment(2, &model(12), &settings("add")) };
    session.assign(endless).await;
    assert_eq!(coordinator.uploaded().await, 2);
    session.end();
    let holding = coordinator.session().await.hello.holding;
    assert!(!holding.contains(&id(1)), "{holding:?}");
}
