//! Rounds go by, and what nobody needs any more goes with them: models, and rounds from memory; what is asked for later is
//! found in the archive, also after a restart from a snapshot.

use polder_coordinator::config::Times;
use polder_core::RunId;
use polder_core::spec::RetentionSpec;
use polder_core::view::{CoordinatorView, ModelView};
use polder_proto::v1;
use polder_tests::{Coordinator, Peer, eventually, update};

const ROUNDS: u32 = 40;

async fn models(coordinator: &Coordinator, run: &RunId) -> Vec<ModelView> {
    let request = v1::ListModelsRequest { run: run.to_string() };
    let answer = coordinator.operator().await.list_models(request).await.unwrap().into_inner();
    answer.models_json.iter().map(|json| serde_json::from_str(json).unwrap()).collect()
}

async fn view(coordinator: &Coordinator) -> CoordinatorView {
    let answer = coordinator.operator().await.get_coordinator(v1::GetCoordinatorRequest {}).await.unwrap();
    serde_json::from_str(&answer.into_inner().coordinator_json).unwrap()
}

fn blobs(coordinator: &Coordinator) -> usize {
    std::fs::read_dir(coordinator.path().join("blobs/blake3")).unwrap().count()
}

async fn has_all_rounds(coordinator: &Coordinator, run: &RunId) {
    for number in 1..=ROUNDS {
        let round = coordinator.round(run, number).await.expect("every round is shown");
        assert_eq!((round.round, round.phase.as_str()), (number, "committed"));
        assert!(round.cohort.iter().all(|seat| seat.state == "reported" && seat.weight.is_some()), "{round:?}");
    }
    assert!(coordinator.round(run, ROUNDS + 1).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_nobody_needs_go_and_rounds_that_memory_forgot_are_shown() {
    let coordinator = Coordinator::start().await;
    let mut peer = Peer::enrolled(&coordinator, "eu-west-1").await;
    let mut session = peer.session().await;
    let mut spec = coordinator.spec().await;
    (spec.rounds, spec.retention) = (ROUNDS, RetentionSpec { models: 2 });
    let run = coordinator.submit(&spec).await.unwrap();
    let update = update::filled(1.0).to_safetensors();
    for _ in 0..ROUNDS {
        let assignment = session.assignment().await.assignment.unwrap();
        peer.upload(&assignment, &update, |_| ()).await.unwrap();
    }
    let ended = coordinator.ended(&run).await;
    assert_eq!((ended.status.as_str(), ended.rounds_committed), ("completed", u64::from(ROUNDS)));
    drop(session);

    let kept = models(&coordinator, &run).await;
    let kept: Vec<_> = kept.iter().map(|model| (model.version, model.kept_as.as_str())).collect();
    assert_eq!(kept, [(0, "submitted"), (39, "recent"), (40, "newest")]);
    eventually("other models are gone from the disk", async || (blobs(&coordinator) == 3).then_some(())).await;
    has_all_rounds(&coordinator, &run).await;

    let before = view(&coordinator).await;
    let dir = coordinator.stop().await;
    let coordinator = Coordinator::start_in(dir, Times::default()).await;
    let after = view(&coordinator).await;
    assert!(after.snapshot_seq >= before.journal_seq, "an orderly end leaves a snapshot: {before:?}, {after:?}");
    assert_eq!(after.invariant_violations, 0);
    assert_eq!(models(&coordinator, &run).await.len(), 3);
    has_all_rounds(&coordinator, &run).await;
    coordinator.stop().await;
}
