//! Rounds with steered workers: what commits, what waits, and why.

use polder_core::spec::CohortSpec;
use polder_proto::v1::worker_message::Message;
use polder_proto::v1::{self};
use polder_tests::{Coordinator, Peer, Session, eventually, update};

async fn workers(coordinator: &Coordinator, count: usize) -> Vec<(Peer, Session)> {
    let mut workers = Vec::new();
    for index in 1..=count {
        let mut peer = Peer::enrolled(coordinator, &format!("eu-west-{index}")).await;
        let session = peer.session().await;
        workers.push((peer, session));
    }
    workers
}

fn cohort(size: u32, quorum: u32) -> CohortSpec {
    CohortSpec { size, over_selection: 0, quorum, staleness_max: 0, standbys: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_updates_become_their_weighted_mean() {
    let coordinator = Coordinator::start().await;
    let mut workers = workers(&coordinator, 2).await;
    let mut spec = coordinator.spec().await;
    spec.cohort = cohort(2, 2);
    let run = coordinator.submit(&spec).await.unwrap();
    for (index, (peer, session)) in workers.iter_mut().enumerate() {
        let assignment = session.assignment().await;
        let update = update::filled(1.0 + index as f32).to_safetensors();
        let id = assignment.assignment.unwrap();
        peer.upload(&id, &update, |header| header.examples = 10 + 20 * index as u64).await.unwrap();
    }
    let view = coordinator.ended(&run).await;
    assert_eq!((view.status.as_str(), view.model.version), ("completed", 1));
    // 0.5 + (10/40)·1 + (30/40)·2
    let expected = update::filled(2.25).digest();
    assert_eq!(view.model.digest, expected);
    let round = coordinator.round(&run, 1).await.unwrap();
    let weights: Vec<_> = round.cohort.iter().map(|seat| seat.weight).collect();
    assert_eq!(weights, [Some(0.25), Some(0.75)]);
    assert!(round.cohort.iter().all(|seat| !seat.chosen_because.is_empty()), "every choice has its reason");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_says_what_it_waits_for() {
    let coordinator = Coordinator::start().await;
    let mut spec = coordinator.spec().await;
    spec.cohort = cohort(2, 2);
    let run = coordinator.submit(&spec).await.unwrap();
    let waiting = coordinator.run(&run).await.waiting_for.unwrap();
    assert!(waiting.starts_with("2 free workers with data set `numbers`"), "{waiting}");
    assert!(waiting.contains("0 are connected"), "{waiting}");
    let mut workers = workers(&coordinator, 2).await;
    for (_, session) in &mut workers {
        session.assignment().await;
    }
    let waiting = coordinator.run(&run).await.waiting_for.unwrap();
    assert!(waiting.starts_with("0/2 updates in (quorum 2), 2 workers at it"), "{waiting}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_worker_does_not_hold_up_a_round_with_quorum() {
    let coordinator = Coordinator::start().await;
    let mut workers = workers(&coordinator, 2).await;
    let mut spec = coordinator.spec().await;
    spec.cohort = cohort(2, 1);
    let run = coordinator.submit(&spec).await.unwrap();
    let mut ids = Vec::new();
    for (_, session) in &mut workers {
        ids.push(session.assignment().await.assignment.unwrap());
    }
    let (mut stays, mut session) = workers.remove(0);
    drop(workers);
    stays.upload(&ids[0], &update::filled(1.0).to_safetensors(), |_| ()).await.unwrap();
    let ended = tokio::select! {
        ended = coordinator.ended(&run) => ended,
        _ = session.assignment() => unreachable!("nothing more is asked of the one that stayed"),
    };
    assert_eq!(ended.status, "completed");
    let round = coordinator.round(&run, 1).await.unwrap();
    assert_eq!(round.cohort[1].state, "lost");
    assert!(round.cohort[1].reason.as_ref().unwrap().contains("did not return"), "{round:?}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_coordinator_goes_on_in_the_same_round_with_what_it_had() {
    let coordinator = Coordinator::start().await;
    let mut workers = workers(&coordinator, 2).await;
    let mut spec = coordinator.spec().await;
    spec.cohort = cohort(2, 2);
    let run = coordinator.submit(&spec).await.unwrap();
    let mut ids = Vec::new();
    for (_, session) in &mut workers {
        ids.push(session.assignment().await.assignment.unwrap());
    }
    let (mut first, _) = workers.remove(0);
    let (second, _) = workers.remove(0);
    first.upload(&ids[0], &update::filled(1.0).to_safetensors(), |_| ()).await.unwrap();

    let dir = coordinator.stop().await;
    let coordinator = Coordinator::start_in(dir, Default::default()).await;
    let round = coordinator.round(&run, 1).await.unwrap();
    assert_eq!(round.cohort[0].state, "reported", "what was acknowledged is still there");

    let mut second = second.reconnected(&coordinator).await;
    let mut session = second.session_holding(vec![ids[1].clone()]).await;
    second.upload(&ids[1], &update::filled(2.0).to_safetensors(), |_| ()).await.unwrap();
    let ended = tokio::select! {
        ended = coordinator.ended(&run) => ended,
        _ = session.assignment() => unreachable!("what a worker holds is not sent again"),
    };
    assert_eq!((ended.status.as_str(), ended.rounds_abandoned), ("completed", 0));
    assert_eq!(ended.model.digest, update::filled(2.0).digest());
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_may_decline_and_the_round_says_why() {
    let coordinator = Coordinator::start().await;
    let mut workers = workers(&coordinator, 1).await;
    let (_, session) = &mut workers[0];
    let run = coordinator.submit(&coordinator.spec().await).await.unwrap();
    let assignment = session.assignment().await.assignment;
    let declined = v1::AssignmentDeclined { assignment, reason: "not during visiting hours".into() };
    session.send(Message::Declined(declined)).await;
    let round = eventually("the round is abandoned", async || {
        coordinator.round(&run, 1).await.filter(|round| round.phase == "abandoned")
    })
    .await;
    assert_eq!(round.cohort[0].state, "declined");
    assert_eq!(round.cohort[0].reason.as_deref(), Some("not during visiting hours"));
    assert!(round.reasons.last().unwrap().contains("a quorum can no longer come together"), "{round:?}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_tells_its_workers() {
    let coordinator = Coordinator::start().await;
    let mut workers = workers(&coordinator, 1).await;
    let (_, session) = &mut workers[0];
    let run = coordinator.submit(&coordinator.spec().await).await.unwrap();
    session.assignment().await;
    let request = v1::StopRunRequest { run: run.to_string(), reason: "wrong data".into() };
    coordinator.operator().await.stop_run(request).await.unwrap();
    let cancel = session.cancelled().await;
    assert!(cancel.reason.contains("wrong data"), "{}", cancel.reason);
    let view = coordinator.run(&run).await;
    assert_eq!((view.status.as_str(), view.model.version), ("stopped", 0));
    coordinator.stop().await;
}
