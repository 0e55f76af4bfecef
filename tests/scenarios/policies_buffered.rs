//! Buffered rounds (`FedBuff`): a round closes with the updates it wants, and whoever was late counts in the next one, by age.

use polder_core::policy::PolicyRef;
use polder_core::spec::CohortSpec;
use polder_policy::builtin_named;
use polder_tests::{Coordinator, Peer, eventually, update};

#[tokio::test(flavor = "multi_thread")]
async fn a_late_update_counts_in_the_next_round_for_less() {
    let coordinator = Coordinator::start().await;
    let (mut quick, mut slow) =
        (Peer::enrolled(&coordinator, "eu-west-1").await, Peer::enrolled(&coordinator, "eu-west-2").await);
    let (mut of_quick, mut of_slow) = (quick.session().await, slow.session().await);
    let mut spec = coordinator.spec().await;
    spec.rounds = 2;
    spec.cohort = CohortSpec { size: 1, over_selection: 1, quorum: 1, staleness_max: 2, standbys: 0 };
    let fedbuff = builtin_named("fedbuff", None).unwrap();
    spec.aggregation = PolicyRef::new("fedbuff".parse().unwrap(), fedbuff.digest());
    let run = coordinator.submit(&spec).await.unwrap();

    let (first, late) = (of_quick.assignment().await, of_slow.assignment().await);
    let upload = update::filled(1.0).to_safetensors();
    quick.upload(&first.assignment.unwrap(), &upload, |_| ()).await.unwrap();
    eventually("round 1 commits", async || Some(coordinator.run(&run).await).filter(|run| run.model.version == 1))
        .await;

    // The other one still works on the model before, and nobody told it to stop.
    let late = late.assignment.unwrap();
    assert_eq!(late.round, 1);
    slow.upload(&late, &update::filled(2.0).to_safetensors(), |_| ()).await.unwrap();
    let ended = coordinator.ended(&run).await;
    assert_eq!((ended.status.as_str(), ended.model.version), ("completed", 2), "{ended:?}");

    let round = coordinator.round(&run, 2).await.unwrap();
    let seat = round.cohort.iter().find(|seat| seat.worker.as_str() == "eu-west-2").unwrap();
    assert_eq!((seat.assigned_in, seat.staleness), (Some(1), 1), "{seat:?}");
    // s(1) = 1 / sqrt(1 + 1), the paper's weight of an update that is one version behind
    let share = 2.0_f64.powf(-0.5) as f32;
    assert_eq!(seat.weight, Some(share));
    assert_eq!(ended.model.digest, update::filled(1.5 + share * 2.0).digest());
    assert!(seat.note.as_ref().unwrap().contains("1 versions behind"), "{seat:?}");
    coordinator.stop().await;
}
