//! A disk that fills up stops intake with a reason, and nothing is lost by it: rounds wait and go on by themselves.

use polder_core::view::CoordinatorView;
use polder_proto::{refusal_word, v1};
use polder_tests::disk::Disk;
use polder_tests::{Coordinator, Peer, eventually, update};

use crate::released::HELLO_0_1_0;
use polder_coordinator::config::Times;
use polder_core::enrolment::Grant;
use prost::Message as _;

async fn view(coordinator: &Coordinator) -> CoordinatorView {
    let answer = coordinator.operator().await.get_coordinator(v1::GetCoordinatorRequest {}).await.unwrap();
    serde_json::from_str(&answer.into_inner().coordinator_json).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr)]
async fn a_full_disk_stops_intake_and_resumes_by_itself() {
    let disk = match Disk::mount(32) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("skipped: no disk of our own to fill: {why}");
            return;
        }
    };
    let dir = tempfile::tempdir_in(disk.path()).unwrap();
    let coordinator = Coordinator::start_in(dir, Times::default()).await;
    let mut peer = Peer::enrolled(&coordinator, "eu-west-1").await;
    let mut session = peer.session().await;
    let mut spec = coordinator.spec().await;
    spec.rounds = 2;
    let run = coordinator.submit(&spec).await.unwrap();
    let assignment = session.assignment().await.assignment.unwrap();
    assert!(view(&coordinator).await.intake.is_open);

    disk.fill();
    let reason = eventually("intake stops", async || view(&coordinator).await.intake.reason).await;
    assert!(reason.starts_with("the coordinator's disk is nearly full ("), "{reason}");
    let update = update::filled(1.0).to_safetensors();
    let refused = peer.upload(&assignment, &update, |_| ()).await.unwrap_err();
    assert_eq!(refusal_word(&refused), Some("storage_full"), "{refused}");
    assert!(refused.message().starts_with("the coordinator's disk is nearly full ("), "{refused}");
    // A worker of 0.1.0 would throw its update away for a word that it does not know.
    let hello = v1::Hello { holding: vec![assignment.clone()], ..v1::Hello::decode(HELLO_0_1_0).unwrap() };
    let mut session = peer.session_with(hello).await.unwrap();
    session.next().await.unwrap();
    let refused = peer.upload(&assignment, &update, |_| ()).await.unwrap_err();
    assert_eq!(refusal_word(&refused), Some("stalled"), "{refused}");
    let other = update::filled(3.0).to_safetensors();
    let refused = coordinator.upload_model(other.clone()).await.unwrap_err();
    assert_eq!(refusal_word(&refused), Some("storage_full"), "{refused}");
    // The journal has kept a little for itself: what happens is still recorded.
    coordinator.token(Grant::Operator { name: "ann".into() }, 60_000).await;

    // A run that is submitted now waits for its first round, and says for what.
    let waiting = coordinator.submit(&spec).await.unwrap();
    peer = Peer::enrolled(&coordinator, "eu-west-2").await;
    let mut second = peer.session().await;
    let reason = eventually("the run says what it waits for", async || {
        coordinator.run(&waiting).await.waiting_for.filter(|reason| reason.contains("disk is nearly full"))
    });
    reason.await;

    disk.clear();
    eventually("intake resumes", async || view(&coordinator).await.intake.is_open.then_some(())).await;
    let assigned = second.assignment().await.assignment.unwrap();
    assert_eq!(assigned.run, waiting.to_string(), "the round that waited goes on");
    coordinator.upload_model(other).await.unwrap();
    assert_eq!(coordinator.run(&run).await.rounds_abandoned, 0);
    drop((session, second));
    coordinator.stop().await;
}
